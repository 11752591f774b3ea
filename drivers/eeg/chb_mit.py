"""CHB-MIT: scalp EEG of children with epilepsy, at 256 Hz, with the times of their seizures.

Shoeb 2009 (thesis, MIT); PhysioNet, doi 10.13026/C2K01R. The driver reads the files from a
folder and downloads nothing:

    chb01/chb01-summary.txt    times of files and of seizures
    chb01/chb01_01.edf         a recording of one to four hours

The summaries give clock times without dates. A file that starts earlier in the day than its
predecessor is placed on the next day, so each gap between files is the shortest possible.

Every patient is read in the same 18 bipolar channels, found by name. If two channels have one
name, the first counts. A channel of reversed polarity (P7-T7 for T7-P7) is negated. A file that
lacks a channel is left out and noted with the reason; its seizures stay in the table.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from drivers.eeg.edf import EdfFile, has_range, read_edf
from drivers.eeg.recordings import PatientRecordings, RecordedFile, SeizureTable
from drivers.folders import found_in, read_text, require_in_neuro_data
from neuro.base.text import shorten_list

CHANNELS = (
    "FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4",
    "F4-C4", "C4-P4", "P4-O2", "FP2-F8", "F8-T8", "T8-P8", "P8-O2", "FZ-CZ", "CZ-PZ",
)  # fmt: skip
DAY = 86_400.0
LONG = DAY / 2  # a gap above which days may be missing [s]
LATE = 1.0  # how far a seizure may end after its file [s]
TREE = "chb01/chb01-summary.txt and chb01/chb01_01.edf, one folder per patient"
CURE = "fetch chb-mit from physionet.org into $NEURO_DATA/chb-mit/"
LINES = {
    "file": r"File Name:\s*(\S+)",
    "start": r"File Start Time:\s*(\d+:\d+:\d+)",
    "stop": r"File End Time:\s*(\d+:\d+:\d+)",
    "count": r"Number of Seizures in File:\s*(\d+)",
    "seizure_start": r"Seizure\s*\d*\s*Start Time:\s*(\d+)\s*sec\w*",
    "seizure_stop": r"Seizure\s*\d*\s*End Time:\s*(\d+)\s*sec\w*",
}
TIMES = r".*(seizure|file (name|start|end)).*"  # an unread line that matches is an error


@dataclass(frozen=True, kw_only=True)
class SummaryEntry:
    """A file of a summary. start: [s] of the day. starts, stops: seizures, [s] of the file."""

    file: str
    start: float | None = None
    count: int | None = None
    starts: tuple[float, ...] = ()
    stops: tuple[float, ...] = ()


def find_patient(name: str) -> PatientRecordings:
    """Return the recordings of a patient in ``$NEURO_DATA/chb-mit/``.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_patient`.
    """
    folder = require_in_neuro_data(("chb-mit", "chbmit"), "CHB-MIT", CURE)
    return read_patient(folder / name)


def read_patient(folder: Path) -> PatientRecordings:
    """Return the recordings of the patient whose files are in ``folder``.

    Raises:
        FileNotFoundError: there is no such patient; the message lists those beside it.
        ValueError: the summary or a recording is damaged, or no file can be used; lists every
            problem.
    """
    name = folder.name
    if not (summary := folder / f"{name}-summary.txt").is_file():
        found = sorted(p.parent.name for p in folder.parent.glob("*/*-summary.txt"))
        raise FileNotFoundError(
            f"{folder.parent}: no patient {name}; expected {TREE}; found "
            f"{', '.join(found) or found_in(folder.parent)}; {CURE}"
        )
    entries = parse_summary(summary)
    if untimed := [e.file for e in entries if e.start is None]:
        why = f"the summary gives no start time of {_list_some(untimed)}, so no gap is known"
        raise ValueError(f"{folder}: {why}; choose another patient")
    starts = place_files(entries)
    files, rates, skipped = _open_files(folder, entries, starts)
    listed = {e.file for e in entries}
    for path in sorted(folder.glob("*.edf")):
        if path.name not in listed:
            skipped.append(f"{path.name} is left out: the summary does not name it")
    rows = [
        (starts[e.file] + a, starts[e.file] + b)
        for e in entries
        for a, b in zip(e.starts, e.stops, strict=True)
    ]
    start, stop = np.array(rows, np.float64).reshape(-1, 2).T
    if len(rates) != 1:
        why = f"files at {sorted(rates)} Hz; one rate is read" if rates else "no file is left"
        told = [f"{folder}: {why}; choose another patient:", *shorten_list(skipped)]
        raise ValueError("\n".join(told))
    return PatientRecordings(
        patient=name,
        files=tuple(files),
        channels=CHANNELS,
        rate=rates.pop(),
        seizures=SeizureTable(start=start, stop=stop),
        notes=(*skipped, *_note_gaps(entries, starts), *_note_overlaps(files)),
    )


def parse_summary(path: Path) -> list[SummaryEntry]:
    """Return one entry per file of a summary, in the summary's order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not text, or not a summary; lists every problem with its line.
    """
    read, problems = list[dict[str, list[str]]](), list[str]()
    for number, line in enumerate(read_text(path, CURE).splitlines(), 1):
        said = {k: re.fullmatch(p, line.strip(), re.IGNORECASE) for k, p in LINES.items()}
        found = next(((k, match[1]) for k, match in said.items() if match), None)
        if found is None:
            if re.fullmatch(TIMES, line, re.IGNORECASE):
                problems.append(f"line {number} is {line.strip()[:60]!r}, which is not read")
        elif found[0] == "file":
            read.append({k: [found[1]] if k == "file" else [] for k in LINES})
        elif not read:
            problems.append(f"line {number} belongs to no file")
        elif found[0] in ("start", "count") and read[-1][found[0]]:
            problems.append(f"line {number} is a second {found[0]} of {read[-1]['file'][0]}")
        else:
            read[-1][found[0]].append(found[1])
    entries = [_make_entry(own) for own in read]
    names = [e.file for e in entries]
    problems += [f"{n} stands there twice" for n in dict.fromkeys(names) if names.count(n) > 1]
    for e in entries:
        problems += _check_entry(e)
    if not entries:
        problems.append("it names no file")
    if problems:
        raise ValueError(f"{path}: {'; '.join(shorten_list(problems, 12))}; {CURE}")
    return entries


def _make_entry(read: dict[str, list[str]]) -> SummaryEntry:
    clock = [int(word) for text in read["start"] for word in text.split(":")]
    return SummaryEntry(
        file=read["file"][0],
        start=(clock[0] * 3600.0 + clock[1] * 60 + clock[2]) % DAY if clock else None,
        count=int(read["count"][0]) if read["count"] else None,
        starts=tuple(map(float, read["seizure_start"])),
        stops=tuple(map(float, read["seizure_stop"])),
    )


def _check_entry(e: SummaryEntry) -> Iterator[str]:
    if not len(e.starts) == len(e.stops) == e.count:
        yield (
            f"{e.file} has {e.count} seizures, with {len(e.starts)} starts and {len(e.stops)} "
            "ends"
        )
    elif not all(a < b for a, b in zip(e.starts, e.stops, strict=True)):
        yield f"{e.file}: a seizure ends before it starts"
    elif not all(a <= b for a, b in zip(e.stops, e.starts[1:], strict=False)):
        yield f"{e.file}: seizures overlap, or are not in order"


def place_files(entries: Sequence[SummaryEntry]) -> dict[str, float]:
    """Return when each file starts, by name [s after the start of the first file]."""
    starts, at = dict[str, float](), 0.0
    for e in entries:
        clock = e.start or 0.0
        if starts:
            clock += DAY * np.ceil(max(0.0, at - clock) / DAY)
        starts[e.file] = at = float(clock)
    first = next(iter(starts.values()), 0.0)
    return {name: start - first for name, start in starts.items()}


def _note_gaps(entries: Sequence[SummaryEntry], starts: Mapping[str, float]) -> Iterator[str]:
    for before, after in pairwise(entries):
        gap = starts[after.file] - starts[before.file]
        if gap > LONG:
            yield (
                f"{after.file} starts {gap / 3600:.1f} h after {before.file}: the summary "
                "has no dates, so it may be days more"
            )


def _note_overlaps(files: Sequence[RecordedFile]) -> Iterator[str]:
    for before, after in pairwise(files):
        if before.stop - after.start > LATE:
            yield (
                f"{after.path.name} starts {before.stop - after.start:.0f} s before "
                f"{before.path.name} ends: their windows overlap"
            )


def _open_files(
    folder: Path, entries: Sequence[SummaryEntry], starts: Mapping[str, float]
) -> tuple[list[RecordedFile], set[float], list[str]]:
    """Return the files that have all channels, their rates, and why others are left out."""
    files, skipped, problems = list[RecordedFile](), list[str](), list[str]()
    rates = set[float]()
    for e in entries:
        path = folder / e.file
        if not path.is_file():
            skipped.append(f"{e.file} is left out: it is not there; {CURE}")
            continue
        try:
            edf = read_edf(path)
        except ValueError as error:
            problems.append(str(error))
            continue
        if e.stops and max(e.stops) > edf.duration + LATE:
            problems.append(
                f"{path}: lasts {edf.duration:g} s, and the summary has a seizure until "
                f"{max(e.stops):g} s; {CURE}"
            )
        channels, signs, why = find_channels(edf, CHANNELS)
        if why:
            skipped.append(f"{e.file} is left out: {why}")
            continue
        rates.add(edf.signals[channels[0]].sampling_frequency)
        files.append(
            RecordedFile(
                path=path,
                duration=edf.duration,
                read=edf.read,
                start=starts[e.file],
                channels=channels,
                signs=signs,
            )
        )
    if problems:
        raise ValueError("\n".join(shorten_list(problems)))
    return files, rates, skipped


def find_channels(
    edf: EdfFile, wanted: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """Return the index and sign of each wanted channel, and what is wrong, or ""."""
    places = dict[str, tuple[int, int]]()
    for sign in (1, -1):  # channels of the wanted polarity take precedence
        for k, channel in enumerate(edf.signals):
            name = channel.label.upper().replace(" ", "")
            if sign < 0:
                name = "-".join(reversed(name.split("-")))
            places.setdefault(name, (k, sign))
    if absent := [name for name in wanted if name not in places]:
        return (), (), f"it lacks {_list_some(absent)}; channels are found by name"
    channels, signs = zip(*(places[name] for name in wanted), strict=True)
    found = [edf.signals[k] for k in channels]
    units = {c.physical_dimension.replace("µ", "u").lower() for c in found}
    if units != {"uv"}:
        return (), (), f"its unit is {_list_some(sorted(units))}, not uV"
    if unknown := [c.label for c in found if not has_range(c)]:
        return (), (), f"it says no range of {_list_some(unknown)}"
    if len({c.sampling_frequency for c in found}) != 1:
        return (), (), "its channels have different rates"
    return channels, signs, ""


def _list_some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{', '.join(names[:6])}{more}"

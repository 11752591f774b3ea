"""Two competitions of the American Epilepsy Society: intracranial EEG of dogs and of people.

Prediction (2014, "American Epilepsy Society Seizure Prediction Challenge"): ten minutes per
file, six consecutive files per hour. A preictal hour ends five minutes before a seizure, an
interictal hour is far from any. No file contains a seizure.

    Dog_1/Dog_1_preictal_segment_0001.mat    also interictal; Dog_1-5, Patient_1-2

Detection (2014, "UPenn and Mayo Clinic's Seizure Detection Challenge"): one second per file,
seizures from their first second to their last.

    Dog_1/Dog_1_ictal_segment_1.mat          also interictal; Dog_1-4, Patient_1-8

The test files of either competition have no public labels and are not read. All files are
MATLAB 5 files, which scipy reads (extra "eeg"). Damaged files crash scipy, so scipy runs in its
own process, which takes about 0.3 s to start. (pymatreader uses scipy too; h5py and mat73 read
only MATLAB 7.3 files.) The driver downloads nothing: the competitions are on kaggle.com. Rates
are as recorded (about 400 Hz, or 5000 Hz); nothing is resampled.

The files carry no times: consecutive files form a run, and each run is placed on its own day.
Axes: C channels, N samples.
"""

import math
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

import numpy as np
from jaxtyping import Float32

from drivers.eeg.recordings import PatientRecordings, RecordedFile, SeizureTable
from drivers.folders import found_in, require_in_neuro_data
from drivers.npz import read_npz
from neuro.base.extras import require_extra

Kind = Literal["preictal", "ictal", "interictal"]
SEQUENCE = 6  # files per hour
SECONDS = 600.0  # length of a file of the prediction set
HOUR, DAY = 3600.0, 86_400.0
LEAD = 300.0  # s from the end of a preictal hour to its seizure
LONGEST = 120  # time limit for reading files [s]
CURE = "fetch the competition's files from kaggle.com, and unpack them there"
NAME = re.compile(r"(?P<subject>.+)_(?P<kind>[a-z]+)_segment_(?P<number>\d+)\.mat")


@dataclass(frozen=True, kw_only=True, eq=False)
class EegSegment:
    """The contents of a file."""

    path: Path
    data: Float32[np.ndarray, "C N"]
    channels: tuple[str, ...]
    rate: float
    """Samples per second."""
    place: float | None
    """Start of the file in its hour (prediction) or seizure (detection) [s], if it says so."""


def find_patient(name: str) -> PatientRecordings:
    """Return recordings of a dog or patient in ``$NEURO_DATA/seizure-prediction/``.

    The seizures follow the preictal hours; no file contains them.

    Raises:
        FileNotFoundError: the set is not there, or has no files of that name.
        ValueError: files are missing or damaged.
    """
    what = "Kaggle's seizure prediction set"
    folder = require_in_neuro_data(("seizure-prediction",), what, CURE) / name
    files = list_files(folder, ("preictal", "interictal"))
    return _join(files, name, SECONDS, SEQUENCE, HOUR + LEAD)


def find_detection_folder() -> Path:
    """Return ``$NEURO_DATA/seizure-detection/``; raise a FileNotFoundError if it is absent."""
    what = "Kaggle's seizure detection set"
    return require_in_neuro_data(("seizure-detection",), what, CURE)


def find_detection(species: str, channels: int) -> Iterator[PatientRecordings]:
    """Yield the subjects of the detection set that have at least ``channels`` channels.

    Only the first ``channels`` of them are read. species: "Dog" or "Patient".

    Raises:
        FileNotFoundError: the set is not there, or has no such subject.
        ValueError: files are missing or damaged.
    """
    folder, none = find_detection_folder(), True
    for own in sorted(folder.glob(f"{species}_*")):
        files = list_files(own, ("ictal", "interictal"))
        if len(read_segments(files["interictal"][:1])[0].channels) >= channels:
            none = False
            yield _join(files, own.name, 1.0, len(files["interictal"]), 0.0, channels)
    if none:
        raise FileNotFoundError(
            f"{folder}: no {species} with {channels} channels; expected "
            f"{species}_1/{species}_1_ictal_segment_1.mat; found {found_in(folder)}; {CURE}"
        )


def _join(
    files: Mapping[Kind, Sequence[Path]],
    name: str,
    seconds: float,
    sequence: int,
    lead: float,
    channels: int | None = None,
) -> PatientRecordings:
    """Return the recordings of a subject, in runs of consecutive files.

    Each run is placed on its own day: first the preictal hours, or the seizures, then the
    interictal files, ``sequence`` per run. lead: from the start of a day to its seizure [s].
    """
    before, far = files.values()
    (about,) = read_segments(far[:1])
    runs, starts, last = list[list[Path]](), list[float](), -math.inf
    step = max(SEQUENCE, int(60 / seconds))  # more files at a time may not fit into memory
    for k in range(0, len(before), step):
        for own in read_segments(before[k : k + step]):
            if own.place is None:
                raise ValueError(f"{own.path}: it has no sequence and no latency; {CURE} again")
            if own.place != last + seconds:
                starts.append(DAY * len(runs) + own.place)
                runs.append([])
            runs[-1].append(own.path)
            last = own.place
    onset = DAY * np.arange(len(runs)) + lead
    seizures = SeizureTable(start=onset, stop=onset + [len(run) for run in runs])
    for k in range(0, len(far), sequence):
        starts.append(DAY * len(runs))
        runs.append(list(far[k : k + sequence]))
    names = about.channels[:channels]
    return PatientRecordings(
        patient=name,
        files=tuple(
            RecordedFile(
                path=run[0],
                duration=seconds * len(run),
                read=partial(read_run, tuple(run), round(seconds * about.rate)),
                start=start,
                channels=tuple(range(len(names))),
                signs=(1,) * len(names),
            )
            for run, start in zip(runs, starts, strict=True)
        ),
        channels=names,
        rate=about.rate,
        seizures=seizures,
    )


def read_run(
    paths: tuple[Path, ...], each: int, channels: Sequence[int], first: int, stop: int
) -> Float32[np.ndarray, "C N"]:
    """Return samples first ... stop - 1 of consecutive files with ``each`` samples per file.

    Raises:
        ValueError: a file is damaged, or has another number of samples or channels.
    """
    begin = first // each
    parts = _read_again(paths[begin : -(-stop // each)])
    for part in parts:
        if part.data.shape[1] != each or len(part.data) <= max(channels):
            raise ValueError(
                f"{part.path}: has {len(part.data)} channels of {part.data.shape[1]} samples; "
                f"expected at least {max(channels) + 1} of {each}, as in the subject's other "
                f"files; {CURE} again"
            )
    x = np.concatenate([part.data[list(channels)] for part in parts], 1)
    return np.asarray(x[:, first - begin * each : stop - begin * each])


def list_files(folder: Path, kinds: Sequence[Kind]) -> dict[Kind, tuple[Path, ...]]:
    """Return the files of a subject by kind, in the order of their numbers.

    Raises:
        FileNotFoundError: there are none; names the expected tree.
        ValueError: all files of a kind are missing, or some between others; lists each gap.
    """
    found = {kind: dict[int, Path]() for kind in kinds}
    for path in sorted(folder.glob("*.mat")):
        name = NAME.fullmatch(path.name)
        if name and name["subject"] == folder.name and name["kind"] in found:
            found[name["kind"]][int(name["number"])] = path
    if not any(found.values()):
        there = found_in(folder if folder.is_dir() else folder.parent)
        raise FileNotFoundError(
            f"{folder}: no files of {folder.name}; expected {folder.name}/{folder.name}_"
            f"{kinds[0]}_segment_1.mat and {kinds[1]} ones beside it; found {there}; {CURE}"
        )
    problems = [
        problem
        for kind, numbered in found.items()
        for problem in _list_gaps(folder.name, kind, sorted(numbered))
    ]
    if problems:
        raise ValueError("\n".join([f"{folder}: files are missing; {CURE}:", *problems]))
    return {k: tuple(own[n] for n in sorted(own)) for k, own in found.items()}


def _list_gaps(subject: str, kind: Kind, numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return [f"{subject} has no {kind} files"]
    absent = sorted(set(range(1, numbers[-1] + 1)) - set(numbers))
    some = ", ".join(str(n) for n in absent[:8])
    return [f"{subject} lacks {len(absent)} {kind} files: {some}"] if absent else []


def read_segments(paths: Sequence[Path]) -> list[EegSegment]:
    """Return the contents of files of either competition.

    Raises:
        ModuleNotFoundError: scipy is not installed.
        ValueError: a file is damaged, or lacks a field; lists every problem of the first one.
    """
    return [_make_segment(*own) for own in zip(paths, _read_fields(paths), strict=True)]


_read_again = lru_cache(maxsize=8)(read_segments)  # consecutive windows read the same file


def _make_segment(path: Path, fields: dict[str, np.ndarray]) -> EegSegment:
    problems = list[str]()
    data = _find_data(fields, problems)
    rate = _find_number(fields, ("sampling_frequency", "freq"), problems)
    channels = _list_names(fields.get("channels"), len(data), problems)
    place = _find_number(fields, ("latency",), None)
    sequence = _find_number(fields, ("sequence",), None)
    if sequence is not None:
        place = SECONDS * (sequence - 1)
        if sequence not in range(1, SEQUENCE + 1):
            problems.append(f"sequence is {sequence:g}, not 1 to {SEQUENCE}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}; {CURE} again")
    return EegSegment(path=path, data=data, channels=channels, rate=rate or 0.0, place=place)


def _read_fields(paths: Sequence[Path]) -> list[dict[str, np.ndarray]]:
    """Return the fields of each file, read by one run of :mod:`drivers.eeg.mat_child`."""
    with require_extra("eeg", "MATLAB files need scipy"):
        from drivers.eeg import mat_child  # late, because scipy is an extra
    if lost := [str(path) for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"{', '.join(lost)}: no such file; {CURE}")
    command = [sys.executable, str(mat_child.__file__), str(mat_child.MOST), *map(str, paths)]
    with NamedTemporaryFile(suffix=".npz") as answer:
        try:
            done = subprocess.run(
                command, stdout=answer, stderr=subprocess.PIPE, check=False, timeout=LONGEST
            )
            code, why = done.returncode, done.stderr.decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            code, why = 1, f"it was not read within {LONGEST} s"
        if code and len(paths) > 1:  # a crash does not name the file
            return [fields for path in paths for fields in _read_fields([path])]
        if code:
            why = why[-300:] or f"scipy crashed by signal {-code}"
            raise ValueError(f"{paths[0]}: no MATLAB 5 file ({why}); {CURE} again")
        names = [{f"{k}_{name}": name for name in mat_child.FIELDS} for k in range(len(paths))]
        every = tuple(key for own in names for key in own)
        found = read_npz(Path(answer.name), every, mat_child.MOST)
        return [{own[key]: found[key] for key in own if key in found} for own in names]


def _find_data(
    fields: dict[str, np.ndarray], problems: list[str]
) -> Float32[np.ndarray, "C N"]:
    data = fields.get("data")
    if data is None or data.ndim != 2:
        problems.append("it has no array of numbers, channels by samples, named data")
        return np.zeros((0, 0), np.float32)
    if not data.size:
        problems.append("data is empty")
    with np.errstate(over="ignore"):  # infinite values are refused with their channel
        return data.astype(np.float32)


def _find_number(
    fields: dict[str, np.ndarray], names: Sequence[str], problems: list[str] | None
) -> float | None:
    """Return the number in the first of ``names`` that has one.

    problems: receives a message if there is no number > 0; None: any number will do, or none.
    """
    for name in names:
        value = np.asarray(fields.get(name, ()))
        if value.size == 1 and np.isfinite(value).all():
            number = float(value.flat[0])
            if problems is None or number > 0:
                return number
    if problems is not None:
        problems.append(f"it has no number > 0 named {' or '.join(names)}")
    return None


def _list_names(names: np.ndarray | None, count: int, problems: list[str]) -> tuple[str, ...]:
    if names is None:
        return tuple(f"channel {k + 1}" for k in range(count))
    if len(names) != count:
        problems.append(f"it names {len(names)} channels, and has {count}")
    return tuple(names.tolist())

"""Two competitions of the American Epilepsy Society: intracranial EEG of dogs and of people.

Prediction (2014, "American Epilepsy Society Seizure Prediction Challenge"): ten minutes a file,
six files in sequence an hour, which ends five minutes before a seizure or is far from any.

    Dog_1/Dog_1_preictal_segment_0001.mat    also interictal, and test; Dog_1-5, Patient_1-2

Detection (2014, "UPenn and Mayo Clinic's Seizure Detection Challenge"): one second a file.

    Dog_1/Dog_1_ictal_segment_1.mat          also interictal, and test; Dog_1-4, Patient_1-8

The files are those of MATLAB 5, which scipy reads (extra "eeg"). Damaged files crash scipy, so
it runs in its own process, about 0.3 s per file. (pymatreader is scipy too; h5py and mat73 only
read the files of MATLAB 7.3.) The driver downloads nothing: the competitions are on kaggle.com.
Rates are as recorded (about 400 Hz, or 5000 Hz); nothing is resampled.
Axes: C channels, N samples.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64

from drivers.eeg.recordings import require_signals
from drivers.folders import found_in
from drivers.npz import read_npz
from neuro.base.extras import require_extra
from neuro.base.text import shorten_list

Competition = Literal["prediction", "detection"]
Kind = Literal["preictal", "ictal", "interictal", "test"]
KINDS: dict[Competition, tuple[Kind, ...]] = {
    "prediction": ("preictal", "interictal", "test"),
    "detection": ("ictal", "interictal", "test"),
}
TREE: dict[Competition, str] = {
    "prediction": "FOLDER/Dog_1/Dog_1_preictal_segment_0001.mat and interictal ones beside it",
    "detection": "FOLDER/Dog_1/Dog_1_ictal_segment_1.mat and interictal ones beside it",
}
SEQUENCE = 6  # files of an hour
LONGEST = 120  # seconds to read a file
CURE = "fetch the competition's files from kaggle.com, and unpack them there"
NAME = re.compile(r"(?P<subject>.+)_(?P<kind>[a-z]+)_segment_(?P<number>\d+)\.mat")


@dataclass(frozen=True, kw_only=True, eq=False)
class EegSegment:
    """What a file holds. rate: samples of a second.

    sequence: the place in its hour, 1 to 6 (prediction). latency: seconds since the start of
    the seizure (detection, ictal). None where the file does not say.
    """

    path: Path
    kind: Kind
    data: Float32[np.ndarray, "C N"]
    channels: tuple[str, ...]
    rate: float
    sequence: int | None
    latency: float | None


@dataclass(frozen=True, kw_only=True)
class EegSubject:
    """A dog or a patient: its files by kind, in the order of their numbers."""

    name: str
    files: dict[Kind, tuple[Path, ...]]


def list_subjects(folder: Path, competition: Competition) -> tuple[EegSubject, ...]:
    """Return the subjects in a folder.

    Raises:
        FileNotFoundError: there are none; names the expected tree.
        ValueError: a subject lacks a kind of files, or a file in the middle; lists every one.
    """
    found = dict[str, dict[Kind, dict[int, Path]]]()
    for path in sorted(folder.glob("*/*.mat")):
        name = NAME.fullmatch(path.name)
        for kind in KINDS[competition]:
            if name and name["kind"] == kind and name["subject"] == path.parent.name:
                own = found.setdefault(path.parent.name, {k: {} for k in KINDS[competition]})
                own[kind][int(name["number"])] = path
    if not found:
        raise FileNotFoundError(
            f"{folder}: no files of a subject; expected {TREE[competition]}; found "
            f"{found_in(folder)}; {CURE}"
        )
    problems = [
        problem
        for subject, kinds in found.items()
        for kind, numbered in kinds.items()
        for problem in _list_gaps(subject, kind, sorted(numbered))
    ]
    if problems:
        told = shorten_list(problems, 12)
        raise ValueError("\n".join([f"{folder}: files are missing; {CURE}:", *told]))
    return tuple(
        EegSubject(
            name=subject,
            files={k: tuple(own[n] for n in sorted(own)) for k, own in kinds.items()},
        )
        for subject, kinds in found.items()
    )


def _list_gaps(subject: str, kind: Kind, numbers: Sequence[int]) -> list[str]:
    if not numbers:
        return [f"{subject} has no {kind} files"] if kind != "test" else []
    absent = sorted(set(range(1, numbers[-1] + 1)) - set(numbers))
    some = ", ".join(str(n) for n in absent[:8])
    return [f"{subject} lacks {len(absent)} {kind} files: {some}"] if absent else []


def read_segment(path: Path) -> EegSegment:
    """Return what a file of either competition holds.

    Raises:
        ModuleNotFoundError: scipy is not installed.
        ValueError: the file is damaged, or lacks a field; or a channel is constant or holds
            what is no finite number. Lists every problem.
    """
    name = NAME.fullmatch(path.name)
    kinds = {kind for own in KINDS.values() for kind in own}
    if name is None or name["kind"] not in kinds:
        raise ValueError(
            f"{path}: not the name of a segment; expected SUBJECT_KIND_segment_NUMBER.mat with "
            f"KIND one of {', '.join(sorted(kinds))}"
        )
    fields = _read_fields(path)
    problems = list[str]()
    data = _find_data(fields, problems)
    rate = _find_number(fields, ("sampling_frequency", "freq"), problems)
    channels = _list_names(fields.get("channels"), len(data), problems)
    length = _find_number(fields, ("data_length_sec",), None)
    if length is not None and rate and abs(data.shape[1] / rate - length) > 1:
        problems.append(
            f"{data.shape[1]} samples at {rate:g} Hz are not the {length:g} s that it says"
        )
    sequence = _find_number(fields, ("sequence",), None)
    if sequence is not None and sequence not in range(1, SEQUENCE + 1):
        problems.append(f"sequence is {sequence:g}, not 1 to {SEQUENCE}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}; {CURE} again")
    require_signals(data, channels, str(path))
    kind: Kind = name["kind"]
    return EegSegment(
        path=path,
        kind=kind,
        data=data,
        channels=channels,
        rate=rate or 0.0,
        sequence=None if sequence is None else int(sequence),
        latency=_find_number(fields, ("latency",), None),
    )


def group_sequences(sequences: Iterable[int | None]) -> Int64[np.ndarray, " N"]:
    """Return the hour of each file, 0 first: a new one where the sequence restarts.

    sequences: of files in the order of their numbers.

    Raises:
        ValueError: a file has no sequence.
    """
    hours, hour, last = list[int](), -1, SEQUENCE
    for k, sequence in enumerate(sequences):
        if sequence is None:
            raise ValueError(f"file {k + 1} has no sequence; only the prediction set has them")
        hour += sequence <= last or hour < 0
        last = sequence
        hours.append(hour)
    return np.array(hours, np.int64)


def _read_fields(path: Path) -> dict[str, np.ndarray]:
    """Return the fields of a file that :mod:`drivers.eeg.mat_child` finds."""
    with require_extra("eeg", "MATLAB files need scipy"):
        from drivers.eeg import mat_child  # late: an extra
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {CURE}")
    with NamedTemporaryFile(suffix=".npz") as answer:
        command = [sys.executable, str(mat_child.__file__), str(path), str(mat_child.MOST)]
        try:
            done = subprocess.run(
                command,
                stdout=answer,
                stderr=subprocess.PIPE,
                check=False,
                timeout=LONGEST,
            )
            code, why = done.returncode, done.stderr.decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            code, why = 1, f"it was not read within {LONGEST} s"
        if code:
            why = why[-300:] or f"scipy crashed by signal {-code}"
            raise ValueError(f"{path}: no MATLAB 5 file ({why}); {CURE} again")
        return read_npz(Path(answer.name), mat_child.FIELDS, mat_child.MOST)


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
    """Return the number in the first field that is there. problems: where its absence goes."""
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

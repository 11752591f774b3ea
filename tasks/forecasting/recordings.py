"""Recordings with seizures as windows of two classes: soon before a seizure, far from any.

Windows of recordings, labelled by the seizures around them.

    ... | occurrence period, SOP | prediction horizon, SPH | seizure | ...
          preictal: class 1        neither                   neither, 4 h around it

An alarm in a preictal window says: a seizure starts after SPH, and before SPH + SOP. Windows
tile each file from its start, without overlap; none spans two files. Interictal windows, class
0, are far from every known seizure, also from those in files that cannot be read. All others
belong to no class. Periods as in Truong et al. 2018 (Neural Networks 105, 104-111).
Axes: N windows, C channels, E seizures.

Spectrograms of windows, computed when they are needed: no file of them is kept.

    X[c, t, f] = max(0, log10(|STFT(x[c])| + 1e-6))

Frames of a second every half second, Hann; so that a bin is about 1 Hz, whatever the rate. Bins
1-56, 64-116 and 124-128 are kept: without the mean, and the mains at 60 and 120 Hz with its
surroundings (Truong et al. 2018, Neural Networks 105, 104-111). 30 s at 256 Hz become 59 frames
of 114 bins. The released code for the sets of Kaggle takes the logarithm of complex numbers
first, so that their phase enters it; here it is the magnitude's.
Axes: N windows, C channels, T frames, F bins.

Windows of a patient in three parts, by seizure; and batches of equal classes.

Windows before one seizure stay together. Interictal windows are cut in time into as many equal
parts as there are seizures, and each goes with one of them, in the same order. The classes are
balanced in training alone: validation and test keep every window.
Axes: N windows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from drivers.eeg import PatientRecordings, SkippedRecording


@dataclass(frozen=True, kw_only=True)
class WindowRules:
    """Lengths [s]. seconds: of a window. sph: between the last preictal window and the seizure.

    sop: of the preictal period. distance: of interictal windows from every seizure. gap: the
    longest pause of the recording in a preictal period.
    """

    seconds: float = 30.0
    sph: float = 300.0
    sop: float = 1800.0
    distance: float = 4 * 3600.0
    gap: float = 60.0

    def __post_init__(self) -> None:
        least = {"seconds": 1.0, "sop": self.seconds}
        problems = [
            f"{f.name} is {getattr(self, f.name)} s; give at least {least.get(f.name, 0.0):g}"
            for f in fields(self)
            if not getattr(self, f.name) >= least.get(f.name, 0.0)
        ]
        if self.distance < self.sph + self.sop:
            problems.append(
                f"distance is {self.distance} s, within sph + sop; give at least "
                f"{self.sph + self.sop:g}"
            )
        if problems:
            raise ValueError("\n".join(["the windows do not hold together:", *problems]))


@dataclass(frozen=True, kw_only=True, eq=False)
class EegWindows:
    """Windows of a patient in their order in time. count: samples of each.

    file, first: where a window begins. label: 1 before a seizure, 0 far from any. seizure: the
    one that follows, -1 where none does.
    """

    count: int
    file: Int64[np.ndarray, " N"]
    first: Int64[np.ndarray, " N"]
    label: Int64[np.ndarray, " N"]
    seizure: Int64[np.ndarray, " N"]

    def take(self, indices: Int64[np.ndarray, " K"]) -> "EegWindows":
        """Return some of the windows."""
        return EegWindows(
            count=self.count,
            file=self.file[indices],
            first=self.first[indices],
            label=self.label[indices],
            seizure=self.seizure[indices],
        )


def count_samples(rate: float, seconds: float) -> int:
    """Return the samples of a window: whole half seconds of a rate that is rounded to even."""
    return round(2 * seconds) * (round(rate) // 2)


def label_windows(patient: PatientRecordings, rules: WindowRules) -> EegWindows:
    """Return the windows of both classes.

    Raises:
        ValueError: no seizure can be used, or no window is far from all; lists every reason.
    """
    usable, reasons = find_usable(patient, rules)
    count = count_samples(patient.rate, rules.seconds)
    rows = list[tuple[int, int, int, int]]()
    order = sorted(range(len(patient.files)), key=lambda k: patient.files[k].start)
    for k in order:
        own = patient.files[k]
        number = int(own.edf.duration * patient.rate) // count
        first = np.arange(number) * count
        start = own.start + first / patient.rate
        label, seizure = _label(patient, rules, usable, start, start + count / patient.rate)
        rows += [
            (k, int(first[n]), int(label[n]), int(seizure[n]))
            for n in np.flatnonzero(label >= 0)
        ]
    file, first, label, seizure = np.array(rows, np.int64).reshape(-1, 4).T
    problems = []
    if not (label == 1).any():
        known = reasons or ["it has no seizure"]
        problems.append("no usable seizure: " + "; ".join(known))
    if not (label == 0).any():
        problems.append(
            f"no window is {rules.distance / 3600:g} h from every seizure; give a smaller "
            "distance"
        )
    if problems:
        raise ValueError(f"{patient.patient}: {'; '.join(problems)}")
    return EegWindows(count=count, file=file, first=first, label=label, seizure=seizure)


def _label(
    patient: PatientRecordings,
    rules: WindowRules,
    usable: Bool[np.ndarray, " E"],
    start: np.ndarray,
    stop: np.ndarray,
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return the class of windows, -1 for none, and the seizure that follows."""
    onset, end = patient.seizures.start, patient.seizures.stop
    last = onset - rules.sph
    before = (start[:, None] >= last - rules.sop) & (stop[:, None] <= last) & usable
    near = (stop[:, None] > onset - rules.distance) & (start[:, None] < end + rules.distance)
    label = np.where(before.any(1), 1, np.where(near.any(1), -1, 0))
    if not len(onset):
        return label, np.full(len(start), -1, np.int64)
    return label, np.where(label == 1, before.argmax(1), -1)


def find_usable(
    patient: PatientRecordings, rules: WindowRules
) -> tuple[Bool[np.ndarray, " E"], list[str]]:
    """Return which seizures have a preictal period of their own, and why others have none."""
    usable, reasons = np.zeros(len(patient.seizures), bool), list[str]()
    for k, onset in enumerate(patient.seizures.start):
        before = patient.seizures.stop[k - 1] if k else -np.inf
        last = onset - rules.sph
        pause = _find_pause(patient, last - rules.sop, last)
        if onset - before < rules.sph + rules.sop:
            why = f"it starts {onset - before:.0f} s after the one before it"
        elif pause > rules.gap:
            why = f"its preictal period lacks {pause:.0f} s of recording at one place"
        else:
            usable[k] = True
            continue
        reasons.append(f"seizure {k + 1} at {onset:.0f} s: {why}")
    return usable, reasons


def _find_pause(patient: PatientRecordings, first: float, last: float) -> float:
    """Return the longest time between first and last that no file holds [s]."""
    longest, at = 0.0, first
    for file in sorted(patient.files, key=lambda f: f.start):
        if file.stop > at and file.start < last:
            longest, at = max(longest, file.start - at), file.stop
    return max(longest, last - at)


def label_all(
    patients: Iterable[PatientRecordings], rules: WindowRules
) -> tuple[list[tuple[PatientRecordings, EegWindows]], list[SkippedRecording]]:
    """Return the patients that have windows of both classes, and why others have none.

    Raises:
        ValueError: none has; lists the reason of each.
    """
    found, skipped = list[tuple[PatientRecordings, EegWindows]](), list[SkippedRecording]()
    for patient in patients:
        try:
            found.append((patient, label_windows(patient, rules)))
        except ValueError as error:
            skipped.append(SkippedRecording(name=patient.patient, why=str(error)))
    if not found:
        reasons = [s.why for s in skipped] or ["there is no patient"]
        raise ValueError("\n".join(["no patient has windows of both classes:", *reasons]))
    return found, skipped


def drop_unreadable(
    patient: PatientRecordings, windows: EegWindows
) -> tuple[EegWindows, list[SkippedRecording]]:
    """Return the windows without those in which a channel is constant, and these with reasons.

    Reads all of them once.
    """
    kept, skipped = list[int](), list[SkippedRecording]()
    for n in range(len(windows.label)):
        try:
            patient.read(int(windows.file[n]), int(windows.first[n]), windows.count)
            kept.append(n)
        except ValueError as error:
            skipped.append(
                SkippedRecording(name=f"{patient.patient}, window {n}", why=str(error))
            )
    return windows.take(np.array(kept, np.int64)), skipped


BINS = (*range(1, 57), *range(64, 117), *range(124, 129))
FLOOR = 1e-6


def list_bins(rate: float) -> list[int]:
    """Return the bins that a rate has, of those that are kept."""
    return [k for k in BINS if k <= 2 * (round(rate) // 2) // 2]


def compute_spectrogram(x: Float[Tensor, "*B L"], rate: float) -> Float[Tensor, "*B T F"]:
    """Return the spectrograms of signals [uV].

    rate: samples of a second.

    Raises:
        ValueError: a signal is shorter than a second, or the rate has none of the bins.
    """
    frame = 2 * (round(rate) // 2)
    if frame < 2 or x.shape[-1] < frame or not list_bins(rate):
        raise ValueError(
            f"{x.shape[-1]} samples at {rate:g} Hz: give at least a second, and at least 2 Hz"
        )
    flat = x.reshape(-1, x.shape[-1])
    window = torch.hann_window(frame, dtype=x.dtype, device=x.device)
    found = torch.stft(
        flat, frame, frame // 2, window=window, center=False, return_complex=True
    )
    size = (found.abs() + FLOOR).log10().clamp(min=0).mT
    kept = torch.tensor(list_bins(rate), device=x.device)
    out = size.index_select(-1, kept)
    return out.reshape(*x.shape[:-1], *out.shape[1:])


def read_spectrograms(
    patient: PatientRecordings, windows: EegWindows, indices: Int64[np.ndarray, " N"]
) -> Float32[Tensor, "N 1 C T F"]:
    """Return the spectrograms of some windows.

    Raises:
        ValueError: a channel is constant in one of them; lists every window.
    """
    signals, problems = list[np.ndarray](), list[str]()
    for n in indices:
        try:
            x = patient.read(int(windows.file[n]), int(windows.first[n]), windows.count)
            signals.append(x)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(["windows that cannot be read:", *problems]))
    return compute_spectrogram(torch.from_numpy(np.stack(signals)), patient.rate)[:, None]


def iterate_batches(
    patient: PatientRecordings,
    windows: EegWindows,
    indices: Int64[np.ndarray, " N"],
    batch: int,
) -> Iterator[tuple[Float32[Tensor, "N 1 C T F"], Int64[Tensor, " N"]]]:
    """Yield spectrograms and labels in the order of the indices; the last may be fewer."""
    for first in range(0, len(indices), batch):
        some = indices[first : first + batch]
        yield read_spectrograms(patient, windows, some), torch.from_numpy(windows.label[some])


LEAST = 3  # seizures: one to train on, to validate on, to test on


@dataclass(frozen=True, kw_only=True, eq=False)
class EegSplit:
    """Which windows belong to a part. seizures: those of the test."""

    train: Int64[np.ndarray, " N"]
    val: Int64[np.ndarray, " V"]
    test: Int64[np.ndarray, " T"]
    seizures: tuple[int, ...]


def leave_one_seizure_out(windows: EegWindows) -> list[EegSplit]:
    """Return a split for each seizure: it is tested on, the next one validated on.

    Raises:
        ValueError: there are fewer than three seizures, or interictal windows.
    """
    seizures, blocks = _list_blocks(windows)
    count = len(seizures)
    return [_join(blocks, seizures, [(k + 1) % count], [k]) for k in range(count)]


def _list_blocks(
    windows: EegWindows,
) -> tuple[list[int], list[Int64[np.ndarray, " N"]]]:
    """Return the seizures, and the windows that go with each, of both classes."""
    seizures = np.unique(windows.seizure[windows.label == 1]).tolist()
    far = np.flatnonzero(windows.label == 0)
    if len(seizures) < LEAST or len(far) < len(seizures):
        raise ValueError(
            f"{len(seizures)} seizures and {len(far)} interictal windows: give a patient with "
            f"at least {LEAST} usable seizures and as many interictal windows"
        )
    parts = np.array_split(far, len(seizures))
    blocks = [
        np.concatenate([np.flatnonzero(windows.seizure == k), part])
        for k, part in zip(seizures, parts, strict=True)
    ]
    return seizures, blocks


def _join(
    blocks: Sequence[Int64[np.ndarray, " N"]],
    seizures: Sequence[int],
    val: Sequence[int],
    test: Sequence[int],
) -> EegSplit:
    """Return the split with some blocks to validate and to test on."""
    train = [k for k in range(len(blocks)) if k not in val and k not in test]
    return EegSplit(
        train=np.sort(np.concatenate([blocks[k] for k in train])),
        val=np.sort(np.concatenate([blocks[k] for k in val])),
        test=np.sort(np.concatenate([blocks[k] for k in test])),
        seizures=tuple(seizures[k] for k in test),
    )


def draw_balanced(
    windows: EegWindows, train: Int64[np.ndarray, " N"], seed: int, epoch: int
) -> Int64[np.ndarray, " K"]:
    """Return windows of an epoch of training in random order, as many of either class.

    Every window of the rarer class is there once; of the other, others in each epoch.

    Raises:
        ValueError: a class has no window.
    """
    labels = windows.label[train]
    sizes = [int((labels == c).sum()) for c in (0, 1)]
    if min(sizes) == 0:
        raise ValueError(f"{sizes} windows of the classes to train on; give windows of both")
    rng = np.random.default_rng([seed, epoch])
    drawn = [rng.choice(train[labels == c], min(sizes), replace=False) for c in (0, 1)]
    return rng.permutation(np.concatenate(drawn))

"""Windows of recordings, labelled by the seizures around them.

    ... | occurrence period, SOP | prediction horizon, SPH | seizure | ...
          preictal: class 1        neither                   neither, 4 h around it

An alarm in a preictal window says: a seizure starts after SPH, and before SPH + SOP. Windows
tile each file from its start, without overlap; none spans two files. Interictal windows, class
0, are far from every known seizure, also from those in files that cannot be read. All others
belong to no class. Periods as in Truong et al. 2018 (Neural Networks 105, 104-111).
Axes: N windows, C channels, E seizures.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int64

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

"""Recordings with seizures, as windows of two classes: shortly before a seizure, far from any.

    ... | occurrence period, SOP | prediction horizon, SPH | seizure | ...
          preictal: class 1        neither                   neither, 4 h around it

An alarm in a preictal window says that a seizure starts after SPH and before SPH + SOP. Windows
tile each file from its start, without overlap, and stay within the file. Interictal windows,
class 0, are far from every known seizure, including those in unreadable files. All other
windows have no class. Periods as in Truong et al. 2018 (Neural Networks 105, 104-111).

Ictal windows have their middle in a seizure, one per second. Only a teacher sees them: a
detector learns to distinguish them from interictal windows, and then sees an ictal window of
the seizure that follows the student's preictal window. In the released code of Future-Guided
Learning, the teacher sees the student's own windows instead. Axes: N windows, E seizures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge
from jaxtyping import Bool, Int64

from drivers.eeg import PatientRecordings
from neuro.base.bounds import Count, Natural, NotNegative, Positive
from tasks.forecasting.config import Cells, ForecastConfig, Source
from tasks.forecasting.spectrograms import BINS, count_samples
from tasks.runs.task import Split

PREICTAL, INTERICTAL, ICTAL = 1, 0, 2
LEAST = 3  # seizures: one each for training, validation and test
TESTED = 0.35  # share of the seizures in the test, as published
UNUSED = (  # fields of a series that recordings do not use
    *("points", "lookback", "horizon", "teacher_horizon", "bins", "cells", "step", "settle"),
    *("tau", "train", "compared"),
)


@dataclass(frozen=True, kw_only=True)
class RecordingConfig(ForecastConfig):
    """A predictor of seizures in the recordings of one patient.

    The student sees the spectrogram of a window, and says whether a seizure begins after
    ``sph`` and before ``sph + sop``. The teacher, a detector, is a network of the same kind.
    """

    source: Source = "chb_mit"
    """Data set: "chb_mit", or "kaggle", whose teacher learns from the detection set."""
    patient: str = "chb01"
    """Folder of the patient."""
    tested: Natural = 0
    """Usable seizure to test on, from 1; 0 tests on the last 35 %, as published."""
    channels: Count = 18
    """Channels of the recordings."""
    seconds: Annotated[float, Ge(1)] = 30.0
    """Length of a window [s]."""
    sph: NotNegative = 300.0
    """Time between the last preictal window and the seizure [s]."""
    sop: Positive = 1800.0
    """Length of the preictal period [s]."""
    distance: NotNegative = 4 * 3600.0
    """Least time between an interictal window and every seizure [s]."""
    gap: NotNegative = 60.0
    """Longest pause of the recording in a preictal period [s]."""
    bins: Annotated[int, Ge(2)] = 2
    cells: Cells = "tanh"
    hidden: Count = 512
    layers: Count = 3
    teacher_hidden: Count = 512
    teacher_epochs: Count = 50
    batch: Count = 32
    epochs: Count = 25
    lr: Positive = 5e-4

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of channels, frames and bins of a spectrogram."""
        return self.channels, round(2 * self.seconds) - 1, len(BINS)

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        default = {field.name: field.default for field in fields(self)}
        wrong = {
            **{
                f"{name} is {getattr(self, name)}; it must be {default[name]} for recordings, "
                f"which do not use it. Use --set {name}={default[name]}.": (
                    getattr(self, name) != default[name]
                )
                for name in UNUSED
            },
            f"sop is {self.sop}; it must be >= seconds, {self.seconds}. Use a longer sop.": (
                self.sop < self.seconds
            ),
            f"distance is {self.distance}; it must be >= {self.sph + self.sop}, sph and sop. "
            "Use a longer distance.": self.distance < self.sph + self.sop,
            f"source is {self.source}; it must be a recording. Use neuro train "
            "forecasting:tiny.": self.source not in ("chb_mit", "kaggle"),
            "arm is population; it must be another for two classes, which have no places "
            "between them. Use --set arm=smoothing.": self.arm == "population",
            f"arm is {self.arm}; it must be another for kaggle, whose prediction set has no "
            "seizure that a teacher could see. Use --set arm=present.": (
                self.source == "kaggle" and self.arm in ("future", "shuffled")
            ),
        }
        found = [text for text, is_so in wrong.items() if is_so]
        return [*super().list_conflicts(), *found]


def chb_mit() -> RecordingConfig:
    """The published network on a patient of CHB-MIT, from $NEURO_DATA, taught by a detector."""
    return RecordingConfig()


def kaggle() -> RecordingConfig:
    """The published network on a dog of Kaggle's prediction set, from $NEURO_DATA."""
    return replace(chb_mit(), source="kaggle", patient="Dog_1", channels=16, arm="present")


@dataclass(frozen=True, kw_only=True, eq=False)
class EegWindows:
    """Windows of a patient: those of both classes in the order of time, then ictal ones."""

    count: int
    """Samples of each window."""
    file: Int64[np.ndarray, " N"]
    first: Int64[np.ndarray, " N"]
    """The first sample in the file."""
    label: Int64[np.ndarray, " N"]
    """PREICTAL, INTERICTAL or ICTAL."""
    seizure: Int64[np.ndarray, " N"]
    """The seizure that follows, or that an ictal window shows; -1: none."""

    def take(self, indices: Int64[np.ndarray, " K"]) -> "EegWindows":
        """Return some of the windows."""
        names = ("file", "first", "label", "seizure")
        return replace(self, **{name: getattr(self, name)[indices] for name in names})


def label_windows(
    patient: PatientRecordings, config: RecordingConfig
) -> tuple[EegWindows, list[str]]:
    """Return the windows of both classes and the ictal ones, and why seizures are unused."""
    usable, reasons = find_usable(patient, config)
    count = count_samples(patient.rate, config.seconds)
    seizures = [*zip(patient.seizures.start, patient.seizures.stop, strict=True)]
    rows, ictal = list[tuple[int, int, int, int]](), list[tuple[int, int, int, int]]()
    for k in sorted(range(len(patient.files)), key=lambda k: patient.files[k].start):
        own = patient.files[k]
        samples = int(own.duration * patient.rate)
        first = np.arange(samples // count) * count
        start = own.start + first / patient.rate
        label, seizure = _label(patient, config, usable, start, start + count / patient.rate)
        rows += [
            (k, int(first[n]), int(label[n]), int(seizure[n]))
            for n in np.flatnonzero(label >= 0)
        ]
        for e, (onset, end) in enumerate(seizures):
            at = np.arange(onset, end) - config.seconds / 2 - own.start
            at = np.round(at * patient.rate).astype(int)
            at = at[(at >= 0) & (at + count <= samples)]
            ictal += [(k, n, ICTAL, e) for n in at.tolist()]
    file, first, label, seizure = np.array(rows + ictal, np.int64).reshape(-1, 4).T
    windows = EegWindows(count=count, file=file, first=first, label=label, seizure=seizure)
    return windows, reasons


def _label(
    patient: PatientRecordings,
    config: RecordingConfig,
    usable: Bool[np.ndarray, " E"],
    start: np.ndarray,
    stop: np.ndarray,
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return each window's class (-1: none) and the seizure that follows (-1: none)."""
    onset, end = patient.seizures.start, patient.seizures.stop
    last = onset - config.sph
    before = (start[:, None] >= last - config.sop) & (stop[:, None] <= last) & usable
    near = (stop[:, None] > onset - config.distance) & (start[:, None] < end + config.distance)
    label = np.where(before.any(1), PREICTAL, np.where(near.any(1), -1, INTERICTAL))
    if not len(onset):
        return label, np.full(len(start), -1, np.int64)
    return label, np.where(label == PREICTAL, before.argmax(1), -1)


def find_usable(
    patient: PatientRecordings, config: RecordingConfig
) -> tuple[Bool[np.ndarray, " E"], list[str]]:
    """Return which seizures have their own preictal period, and reasons for the others."""
    usable, reasons = np.zeros(len(patient.seizures), bool), list[str]()
    for k, onset in enumerate(patient.seizures.start):
        before = patient.seizures.stop[k - 1] if k else -np.inf
        last = onset - config.sph
        pause = _find_pause(patient, last - config.sop, last)
        if onset - before < config.sph + config.sop:
            why = f"it starts {onset - before:.0f} s after the one before it"
        elif pause > config.gap:
            why = f"its preictal period lacks {pause:.0f} s of recording at one place"
        else:
            usable[k] = True
            continue
        reasons.append(f"seizure {k + 1} at {onset:.0f} s: {why}")
    return usable, reasons


def _find_pause(patient: PatientRecordings, first: float, last: float) -> float:
    """Return the longest gap in the recording between first and last [s]."""
    longest, at = 0.0, first
    for file in sorted(patient.files, key=lambda f: f.start):
        if file.stop > at and file.start < last:
            longest, at = max(longest, file.start - at), file.stop
    return max(longest, last - at)


def split_windows(windows: EegWindows, tested: int) -> dict[Split, Int64[np.ndarray, " N"]]:
    """Return the windows of both classes by split. tested: see :class:`RecordingConfig`.

    Windows before one seizure stay in one split. Interictal windows are cut in time into one
    equal part per seizure; each part joins the split of its seizure, in the same order.

    Raises:
        ValueError: there are fewer than three seizures, too few for ``tested``, or fewer
            interictal windows than seizures.
    """
    seizures = np.unique(windows.seizure[windows.label == PREICTAL])
    far, count = np.flatnonzero(windows.label == INTERICTAL), len(seizures)
    if count < LEAST or len(far) < count or tested > count:
        raise ValueError(
            f"{count} usable seizures and {len(far)} interictal windows, and tested is "
            f"{tested}: choose a patient with at least {LEAST} usable seizures and as many "
            "interictal windows, and a tested seizure among these"
        )
    blocks = [
        np.concatenate(
            [np.flatnonzero((windows.label == PREICTAL) & (windows.seizure == k)), part]
        )
        for k, part in zip(seizures, np.array_split(far, count), strict=True)
    ]
    last = max(1, int(TESTED * count))
    test = [tested - 1] if tested else [*range(count - last, count)]
    val = [tested % count] if tested else [count - last - 1]
    chosen: dict[Split, Sequence[int]] = {
        "train": [k for k in range(count) if k not in (*val, *test)],
        "val": val,
        "test": test,
    }
    return {
        split: np.sort(np.concatenate([blocks[k] for k in own]))
        for split, own in chosen.items()
    }


def find_later(
    windows: EegWindows, train: Int64[np.ndarray, " K"], ahead: int
) -> Int64[np.ndarray, " N"]:
    """Return the window that a teacher sees for each training window.

    For a preictal window it is an ictal window of the seizure that follows, each in turn. For
    an interictal window it is the interictal training window ``ahead`` places later, or the
    last one.

    Raises:
        ValueError: a seizure has no ictal window.
    """
    later = np.arange(len(windows.label))
    far = train[windows.label[train] == INTERICTAL]
    later[far] = far[np.minimum(np.arange(len(far)) + ahead, len(far) - 1)]
    before = train[windows.label[train] == PREICTAL]
    for k in np.unique(windows.seizure[before]):
        own = before[windows.seizure[before] == k]
        ictal = np.flatnonzero((windows.label == ICTAL) & (windows.seizure == k))
        if not len(ictal):
            raise ValueError(
                f"seizure {k + 1} is not recorded, so a teacher cannot see it; set arm=none"
            )
        later[own] = ictal[np.arange(len(own)) % len(ictal)]
    return later


def draw_balanced(
    windows: EegWindows, train: Int64[np.ndarray, " N"], seed: int, epoch: int
) -> Int64[np.ndarray, " K"]:
    """Return the windows of a training epoch in random order, equally many of both classes.

    Every window of the rarer class occurs once; the other class is sampled anew per epoch.

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

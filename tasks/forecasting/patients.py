"""A patient's windows for student and teacher, and the evaluation of a predictor of seizures.

Spectrograms are computed when a window is needed and are not stored. The classes are balanced
only in training: validation and test keep every window.
Axes: N or B windows, L values of a spectrogram: channels, frames and bins.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from drivers.eeg import BadSignalsError, PatientRecordings, chb_mit, kaggle
from neuro.base.text import shorten_list
from neuro.training import TrainError
from tasks.forecasting.alarms import Warnings
from tasks.forecasting.recordings import (
    ICTAL,
    INTERICTAL,
    EegWindows,
    RecordingConfig,
    draw_balanced,
    find_later,
    label_windows,
    split_windows,
)
from tasks.forecasting.seizures import measure_alarms, tabulate_events
from tasks.forecasting.spectrograms import HIGHEST, compute_spectrogram
from tasks.runs.configuration import require_sound
from tasks.runs.task import Findings, Split

T = TypeVar("T")
READERS = 4  # files read in parallel
HOUR = 3600.0  # s


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedRecordings:
    """The readable windows of a patient, by split."""

    patient: PatientRecordings
    windows: EegWindows
    parts: dict[Split, Int64[np.ndarray, " _"]]
    later: Int64[np.ndarray, " N"]
    """The window that a teacher sees for each; see :func:`find_later`."""
    unreadable: int
    """Windows that are left out: a channel is constant in them, or holds no number."""

    def list_ends(self, split: Split) -> Float64[np.ndarray, " N"]:
        """Return the time at which each window of a split ends [s]."""
        own = self.windows.take(self.parts[split])
        start = np.array([file.start for file in self.patient.files])[own.file]
        return np.asarray(start + (own.first + own.count) / self.patient.rate)


@lru_cache(maxsize=2)
def prepare_recordings(config: RecordingConfig) -> PreparedRecordings:
    """Return the windows of a configuration, after reading all of them once.

    Raises:
        FileNotFoundError: $NEURO_DATA does not hold the data set or the patient.
        ValueError: the configuration is wrong, a file is damaged, or the
            recordings do not fit the configuration.
    """
    require_sound(config)
    if config.source == "kaggle" and config.taught:
        kaggle.find_detection_folder()  # at once, not after minutes of reading
    patient = (chb_mit if config.source == "chb_mit" else kaggle).find_patient(config.patient)
    count = len(patient.channels)
    if count != config.channels or round(patient.rate) < 2 * HIGHEST:
        raise ValueError(
            f"{config.patient} has {count} channels at {patient.rate:g} Hz; channels is "
            f"{config.channels}, and the rate must be >= {2 * HIGHEST} Hz. Use --set "
            f"channels={count}, or another patient"
        )
    windows, reasons = label_windows(patient, config)
    # All are read once: of an unreadable one, a channel is constant or not finite.
    found = read_each(patient, windows, np.arange(len(windows.label)), lambda _: None)
    kept = np.array([error is None for error in found])
    windows, unreadable = windows.take(np.flatnonzero(kept)), int((~kept).sum())
    try:
        parts = split_windows(windows, config.tested)
        later = np.arange(len(windows.label))
        if config.arm in ("future", "shuffled"):
            ahead = round((config.sph + config.sop) / config.seconds)
            later = find_later(windows, parts["train"], ahead)
    except ValueError as error:
        told = "\n".join([f"{config.patient}: {error}", *shorten_list(reasons)])
        raise ValueError(told) from error
    return PreparedRecordings(
        patient=patient, windows=windows, parts=parts, later=later, unreadable=unreadable
    )


def read_each(
    patient: PatientRecordings,
    windows: EegWindows,
    rows: Int64[np.ndarray, " N"],
    use: Callable[[Tensor], T],
) -> list[T | BadSignalsError]:
    """Return ``use(signals)`` of each window, or the error that names its bad channels.

    Raises:
        ValueError: a file is damaged.
    """
    found = dict[int, T | BadSignalsError]()

    def read(file: int) -> None:
        for n in rows[windows.file[rows] == file].tolist():
            try:
                signals = patient.read(file, int(windows.first[n]), windows.count)
                found[n] = use(torch.from_numpy(signals))
            except BadSignalsError as error:
                found[n] = error

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, np.unique(windows.file[rows]).tolist()))
    return [found[n] for n in rows.tolist()]


def read_spectrograms(
    patient: PatientRecordings, windows: EegWindows, rows: Int64[np.ndarray, " N"]
) -> Float32[Tensor, "N L"]:
    """Return the spectrograms of some windows; unreadable windows are left out."""
    found = read_each(
        patient, windows, rows, lambda x: compute_spectrogram(x, patient.rate).flatten()
    )
    return torch.stack([x for x in found if isinstance(x, Tensor)])


def count_drawn(config: RecordingConfig) -> int:
    """Return the number of windows in a training epoch."""
    prepared = prepare_recordings(config)
    seed, train = config.seed_of_data, prepared.parts["train"]
    return len(draw_balanced(prepared.windows, train, seed, 0))


def iterate_batches(
    config: RecordingConfig, split: Split, epoch: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (spectrograms 1 B L, classes B, what the teacher sees B L).

    A training epoch is read at once, file by file: about 0.5 MB per window.
    """
    prepared = prepare_recordings(config)
    patient, windows, rows = prepared.patient, prepared.windows, prepared.parts[split]
    if split != "train":
        for some in np.split(rows, range(config.batch, len(rows), config.batch)):
            x = read_spectrograms(patient, windows, some)
            yield x[None], torch.from_numpy(windows.label[some]), x
        return
    rows = draw_balanced(windows, rows, config.seed_of_data, epoch)
    seen = prepared.later[rows]
    if config.arm == "shuffled":
        seen = np.random.default_rng([config.seed_of_data, epoch, 1]).permutation(seen)
    every = np.union1d(rows, seen)
    x = read_spectrograms(patient, windows, every)
    for k in range(0, len(rows) - config.batch + 1, config.batch):
        some = rows[k : k + config.batch]
        own, other = (np.searchsorted(every, r) for r in (some, seen[k : k + config.batch]))
        yield x[own][None], torch.from_numpy(windows.label[some]), x[other]


def read_detector(
    config: RecordingConfig,
) -> tuple[Float32[Tensor, "N L"], Int64[Tensor, " N"]]:
    """Return spectrograms and classes: ictal windows, and as many interictal ones.

    The windows belong to the training seizures. The prediction set records no seizures, so its
    detector learns from all subjects of the detection set that have enough channels.

    Raises:
        TrainError: no window lies in a seizure.
    """
    found = list(_read_detector(config, np.random.default_rng([config.seed_of_data, 2])))
    if len({int(labels[0]) for _, labels in found}) < 2:
        raise TrainError("no window lies in a seizure; set arm=none, or a smaller seconds")
    x, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return x, labels


def _read_detector(
    config: RecordingConfig, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield spectrograms and classes of each subject that a teacher learns from."""
    if config.source == "chb_mit":
        prepared = prepare_recordings(config)
        windows, train = prepared.windows, prepared.parts["train"]
        shown = np.isin(windows.seizure, windows.seizure[train]) & (windows.label == ICTAL)
        known = [(prepared.patient, windows, np.flatnonzero(shown), train)]
    else:
        known = []
        for patient in kaggle.find_detection(config.patient.split("_")[0], config.channels):
            own, _ = label_windows(patient, config)
            rows = np.arange(len(own.label))
            known.append((patient, own, np.flatnonzero(own.label == ICTAL), rows))
    for patient, windows, ictal, rows in known:
        far = rows[windows.label[rows] == INTERICTAL]
        far = rng.choice(far, min(len(far), len(ictal)), replace=False)
        for label, some in enumerate((far, ictal)):
            if len(some):
                x = read_spectrograms(patient, windows, some)
                yield x, torch.full((len(x),), label)


def report_patient(
    config: RecordingConfig,
    probability: Mapping[Split, Float64[np.ndarray, " N"]],
    values: Mapping[str, float],
) -> Findings:
    """Return the findings of a run. probability: that a seizure begins, of each window."""
    prepared = prepare_recordings(config)
    patient, windows = prepared.patient, prepared.windows
    about = Warnings(sph=config.sph, sop=config.sop, every=config.seconds)
    now = {split: prepared.list_ends(split) for split in probability}
    labels = windows.label[prepared.parts["test"]]
    found = measure_alarms(about, patient.seizures.start, now, probability, labels)
    events = found.list_values()
    del events["false_alarms"]  # which has another unit
    rate = HOUR * found.score.false_rate
    return Findings(
        values={**values, **events, "false_alarms_per_hour": rate},
        n=len(labels),
        counted="windows",
        facts={
            "arm": config.arm,
            "events": asdict(found.score),
            "threshold": found.threshold,
            "patient": config.patient,
            "unreadable": prepared.unreadable,
            "notes_on_recordings": patient.notes,
        },
        tables=(tabulate_events(found),),
        beside=found.list_baselines(),
        errors=found.list_errors(),
    )

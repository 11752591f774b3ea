"""A recording with seizures in windows of features, by split, for student and detector.

Axes: T samples, M windows of a recording, N of a student, F features.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int64

from drivers.series import EventTable, generate_patient
from tasks.forecasting.bins import Bins
from tasks.forecasting.seizures.config import SeizureConfig
from tasks.forecasting.seizures.features import describe_windows
from tasks.forecasting.seizures.periods import PeriodAlignment, align_periods, mark_ictal
from tasks.forecasting.windows import (
    PreparedSeries,
    SeriesWindows,
    find_range,
    require_series,
)
from tasks.runs.task import Split

CLIP = 4.0  # standard deviations, beyond which a feature is cut
TWO = Bins(low=-0.5, high=1.5, count=2)  # no and yes
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSeizures(PreparedSeries):
    """A recording in windows, by split; its values are features.

    detector: what a detector is trained on. now: when each of the student's windows ends.
    signal, seizures: the whole recording.
    """

    detector: dict[Split, SeriesWindows]
    now: dict[Split, Int64[np.ndarray, " N"]]
    signal: Float64[np.ndarray, " T"]
    seizures: EventTable

    @property
    def teaching(self) -> dict[Split, SeriesWindows]:
        """What a teacher is trained on."""
        return self.detector


NOT_READ = (  # fields that windows do not depend on
    *("arm", "alpha", "temperature", "sigma", "surprise", "cells", "layers", "hidden", "step"),
    *("settle", "tau", "teacher_hidden", "teacher_epochs", "compared", "batch", "epochs", "lr"),
)


def prepare_patient(config: SeizureConfig) -> PreparedSeizures:
    """Return the windows of a generated patient.

    Raises:
        ValueError: a part of the recording has no seizure that can be used.
    """
    default = SeizureConfig()
    return _prepare(replace(config, **{name: getattr(default, name) for name in NOT_READ}))


@lru_cache(maxsize=64)
def _prepare(config: SeizureConfig) -> PreparedSeizures:
    patient = generate_patient(config.points, config.seed_of_data, float(config.noise))
    name = f"patient {config.seed_of_data}"
    return prepare_recording(config, patient.signal, patient.seizures, name, patient.z)


def prepare_recording(
    config: SeizureConfig,
    signal: Float64[np.ndarray, " T"],
    seizures: EventTable,
    name: str,
    z: Float64[np.ndarray, " T"] | None = None,
) -> PreparedSeizures:
    """Return the windows of any recording. z: its slow variable, for channel "z".

    Raises:
        ValueError: the recording is constant, holds what is no number, or a part of it has no
            seizure that can be used; or channel is "z", and there is none.
    """
    require_series(signal, name)
    samples, sizes = len(signal), config.sizes
    starts = sizes.list_starts(samples)
    if config.channel == "z":
        if z is None:
            raise ValueError(f'{name} has no slow variable; set channel="dc"')
        features = z[starts + config.window - 1, None]
    else:
        features = describe_windows(signal, starts, config.window, config.baseline)
        features = features[:, : config.signals]
    ranges = {split: find_range(samples, split, sizes.gap) for split in SPLITS}
    rows = {split: align_periods(seizures, *ranges[split], samples, sizes) for split in SPLITS}
    rows["train"] = rows["train"].keep_last(config.train)
    first, last = ranges["train"]
    limit = first + round(config.labelled * (last - first))
    labelled = rows["train"].now + sizes.sph + sizes.sop <= limit
    labels = {split: own.labels for split, own in rows.items()}
    labels["train"] = np.where(labelled, labels["train"], -1)
    _require_both(labels, name)
    known = features[rows["train"].student[:, -1]]  # outside seizures, which are far from these
    scaled = (features - known.mean(0)) / np.maximum(known.std(0), 1e-9)
    scaled = np.clip(scaled, -CLIP, CLIP).astype(np.float32)
    ictal = mark_ictal(seizures, starts, config.window, samples)
    return PreparedSeizures(
        windows={
            split: SeriesWindows(
                own=scaled[own.student].reshape(len(own.now), -1),
                later=scaled[choose_period(config, own)],
                labels=labels[split],
            )
            for split, own in rows.items()
        },
        bins=TWO,
        mean=0.0,
        sd=1.0,
        low=-CLIP,
        high=CLIP,
        detector={
            split: _take(scaled, ictal, (starts >= a) & (starts + config.window <= b))
            for split, (a, b) in {**ranges, "train": (first, limit)}.items()
        },
        now={split: own.now for split, own in rows.items()},
        signal=signal,
        seizures=seizures,
    )


def choose_period(config: SeizureConfig, rows: PeriodAlignment) -> Int64[np.ndarray, "N O"]:
    """Return the windows that the teacher sees: of the whole period, or its middle."""
    if config.target == "event":
        return rows.period
    middle = rows.period.shape[1] // 2
    return rows.period[:, middle : middle + 1]


def _take(
    scaled: np.ndarray, ictal: Bool[np.ndarray, " M"], which: Bool[np.ndarray, " M"]
) -> SeriesWindows:
    own = scaled[which]
    return SeriesWindows(own=own, later=own, labels=ictal[which].astype(np.int64))


def _require_both(labels: dict[Split, Int64[np.ndarray, " N"]], name: str) -> None:
    """Raise a ValueError that lists the splits where all usable windows have one label."""
    wrong = []
    for split, own in labels.items():
        yes, no = int((own == 1).sum()), int((own == 0).sum())
        if not yes or not no:
            lacks = "no seizure" if no or not yes else "nothing but seizures"
            wrong.append(
                f"{name}, {split} part: {lacks} in the occurrence periods of its {yes + no} "
                "usable windows with labels"
            )
    if wrong:
        cure = "give more points, a larger labelled share, or another seed_of_data"
        raise ValueError("\n".join(["the recording cannot be used:", *wrong, cure]))

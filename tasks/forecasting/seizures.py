"""Seizures as events: windows of features, a detector that sees later, a predictor, alarms.

Features of a window of a recording: twelve without the baseline, and the window's mean.

    0       log of the variance
    1       log of the line length, the mean of |x[t] - x[t - 1]|
    2       excess kurtosis
    3-6     autocorrelation at lags of 1, 2, 4 and 8 samples
    7-11    log of the power in five bands, after a Hann taper: 1-2, 3-4, 5-8, 9-16 and 17-32
            periods per window of 64 samples; in other windows, periods of the same length
    12      mean of the window in the recording as measured (DC-coupled)

All but the last come from the recording without its baseline, the mean of the samples up to
now. This nearly removes a slow drift, which is informative. Axes: N windows, W samples.

The windows that a student sees, and the later windows of the occurrence period.

    student      K windows up to now, t
    excluded     a seizure in the last of them, or in t ... t + sph - 1
    label        whether a seizure begins in t + sph ... t + sph + sop - 1, the period
    teacher      windows whose middle lies in that occurrence period

A detector that knows the seizures answers "yes" to one of the teacher's windows if and only if
the label is "yes". The exceptions are seizures that begin less than a hop before the period's
end, after the middle of its last window. In the released code of Future-Guided Learning, the
teacher sees the student's own windows. Axes: M windows of a recording, N of a student.

Configurations of predictors of seizures: recording, windows, occurrence period.

A recording with seizures as windows of features, by split, for student and detector.

Axes: T samples, M windows of a recording, N of a student, F features.

Evaluation of a predictor of seizures, event by event, and a picture of its alarms.

The threshold of alarms is chosen only on validation. Axes: N windows.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import matplotlib as mpl
import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Bool, Float64, Int64
from matplotlib.figure import Figure

from drivers.series import EventTable, generate_patient
from neuro.base.bounds import Count, Natural
from neuro.plot import ACCENT, INK, LINE, MUTED, STYLE
from tasks.forecasting.alarms import (
    AlarmScore,
    Warnings,
    choose_threshold,
    compute_auc,
    raise_alarms,
    score_alarms,
)
from tasks.forecasting.config import ForecastConfig, Source
from tasks.forecasting.windows import (
    Bins,
    PreparedSeries,
    SeriesWindows,
    find_range,
    require_series,
)
from tasks.report.figures import save_png
from tasks.runs.task import Findings, Metric, Picture, Split, Table

LAGS = (1, 2, 4, 8)
BANDS = ((1, 3), (3, 5), (5, 9), (9, 17), (17, 33))  # of 64 samples
NAMES = (
    *("log variance", "log line length", "kurtosis"),
    *(f"autocorrelation {lag}" for lag in LAGS),
    *(f"power of band {k + 1}" for k in range(len(BANDS))),
    "mean",
)
LEAST = 1e-12  # least power, so that the log of silence is finite


def remove_baseline(x: Float64[np.ndarray, " T"], length: int) -> Float64[np.ndarray, " T"]:
    """Return a signal minus the mean of its last ``length`` samples, including the present one.

    The filter is causal: at the start the mean is over the samples so far.
    """
    total = np.concatenate([[0.0], np.cumsum(x)])
    stop = np.arange(1, len(x) + 1)
    start = np.maximum(stop - length, 0)
    return np.asarray(x - (total[stop] - total[start]) / (stop - start))


def describe_windows(
    x: Float64[np.ndarray, " T"], starts: Int64[np.ndarray, " N"], size: int, baseline: int
) -> Float64[np.ndarray, "N 13"]:
    """Return the features of windows of ``size`` samples that start at ``starts``."""
    where = starts[:, None] + np.arange(size)
    own, raw = remove_baseline(x, baseline)[where], x[where].mean(1)
    own = own - own.mean(1, keepdims=True)
    variance = np.maximum(np.square(own).mean(1), LEAST)
    line = np.maximum(np.abs(np.diff(own, axis=1)).mean(1), LEAST)
    kurtosis = (own**4).mean(1) / variance**2 - 3.0
    lagged = [(own[:, lag:] * own[:, :-lag]).sum(1) / size / variance for lag in LAGS]
    taper = np.hanning(size + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft(own * taper, axis=1)))
    edges = [(low * size // 64, high * size // 64) for low, high in BANDS]
    bands = [np.log(np.maximum(power[:, a:b].sum(1), LEAST)) for a, b in edges]
    return np.stack([np.log(variance), np.log(line), kurtosis, *lagged, *bands, raw], 1)


@dataclass(frozen=True, kw_only=True)
class PeriodSizes:
    """Sizes in samples; lookback in windows. hop: distance from one window to the next."""

    window: int
    hop: int
    lookback: int
    sph: int
    sop: int

    @property
    def gap(self) -> int:
        """Samples left out between two splits: from now to the end of the last window."""
        return self.sph + self.sop + self.window

    def list_starts(self, samples: int) -> Int64[np.ndarray, " M"]:
        """Return the first sample of every window of a recording."""
        return np.arange(0, max(0, samples - self.window + 1), self.hop)

    def list_offsets(self) -> Int64[np.ndarray, " O"]:
        """Return the offsets of the period's windows from the student's last one, in windows.

        Raises:
            ValueError: no window has its middle in the occurrence period.
        """
        half = self.window // 2
        first = -(-(self.sph + self.window - half) // self.hop)
        last = (self.sph + self.sop - 1 + self.window - half) // self.hop
        if last < first:
            raise ValueError(
                f"an occurrence period of {self.sop} samples, {self.sph} from now, has no "
                f"window in steps of {self.hop} in it; give a smaller hop, or a longer sop"
            )
        return np.arange(first, last + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class PeriodAlignment:
    """Matching rows. student, period: indices of windows. labels: 1 for yes.

    now: the first sample after the student's last window.
    """

    student: Int64[np.ndarray, "N K"]
    period: Int64[np.ndarray, "N O"]
    labels: Int64[np.ndarray, " N"]
    now: Int64[np.ndarray, " N"]

    def keep_last(self, count: int) -> "PeriodAlignment":
        """Return the last ``count`` rows at most; 0: all."""
        return PeriodAlignment(
            student=self.student[-count:],
            period=self.period[-count:],
            labels=self.labels[-count:],
            now=self.now[-count:],
        )


def align_periods(
    seizures: EventTable, start: int, stop: int, samples: int, sizes: PeriodSizes
) -> PeriodAlignment:
    """Return the rows of a student whose windows and periods lie in start ... stop - 1."""
    starts, offsets = sizes.list_starts(samples), sizes.list_offsets()
    last = np.arange(sizes.lookback - 1, max(sizes.lookback - 1, len(starts) - offsets[-1]))
    first = starts[last - sizes.lookback + 1]
    end = np.maximum(starts[last + offsets[-1]], starts[last] + sizes.sph + sizes.sop)
    last = last[(first >= start) & (end + sizes.window <= stop)]
    now = starts[last] + sizes.window
    ictal = np.concatenate([[0], np.cumsum(seizures.mark(samples))])
    free = ictal[now + sizes.sph] == ictal[now - sizes.window]
    last, now = last[free], now[free]
    bounds = now[:, None] + np.array([sizes.sph, sizes.sph + sizes.sop])
    before = np.searchsorted(seizures.start, bounds)
    return PeriodAlignment(
        student=last[:, None] + np.arange(1 - sizes.lookback, 1),
        period=last[:, None] + offsets,
        labels=np.asarray(before[:, 1] > before[:, 0], np.int64),
        now=now,
    )


def mark_ictal(
    seizures: EventTable, starts: Int64[np.ndarray, " M"], window: int, samples: int
) -> Bool[np.ndarray, " M"]:
    """Return which windows have their middle in a seizure."""
    return np.asarray(seizures.mark(samples)[starts + window // 2])


Channel = Literal["dc", "ac", "z"]
Target = Literal["event", "middle"]
SIGNALS: dict[Channel, int] = {"dc": len(NAMES), "ac": len(NAMES) - 1, "z": 1}
FIXED = ("source", "horizon", "teacher_horizon", "bins")  # fields of a series only


@dataclass(frozen=True, kw_only=True)
class SeizureConfig(ForecastConfig):
    """A predictor of seizures in the recording of one generated patient.

    The student sees windows up to now, and says whether a seizure begins in the occurrence
    period, which begins ``sph`` units of time from now and is ``sop`` long. The teacher is a
    detector: it sees one window, and says whether that is in a seizure.
    """

    source: Source = "epileptor"
    seed_of_data: Natural = 0
    """Seed of the patient and of the order of the windows."""
    points: Count = 80_000
    """Length of the recording [units of time], one sample each."""
    lookback: Count = 8
    """Windows that a student sees."""
    bins: Annotated[int, Ge(2)] = 2
    """Classes: no and yes."""
    step: Annotated[float, Gt(0), Le(1)] = 0.05
    noise: Annotated[float, Ge(0), Lt(1e6)] = 0.1
    """Standard deviation of the measurement noise [units of the signal]."""
    baseline: Count = 1000
    """Samples whose mean is removed from the signal."""
    channel: Channel = "dc"
    """Features: all ("dc"), all but the mean ("ac"), or the hidden slow variable ("z")."""
    window: Annotated[int, Ge(64)] = 64
    """Samples per window."""
    hop: Count = 32
    """Samples from one window to the next."""
    sph: Natural = 50
    """Time from now to the occurrence period [units of time]."""
    sop: Count = 250
    """Length of the occurrence period [units of time]."""
    target: Target = "event"
    """Answer of the teacher: the largest in the period ("event"), or that in its middle."""
    labelled: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the training part, from its start, that has labels."""
    batch: Count = 64
    epochs: Count = 30
    teacher_epochs: Count = 10

    @property
    def signals(self) -> int:
        """Number of features per window."""
        return SIGNALS[self.channel]

    @property
    def teacher_inputs(self) -> int:
        """Number of the detector's inputs: the features of one window."""
        return self.signals

    @property
    def sizes(self) -> PeriodSizes:
        """Sizes of windows and periods."""
        return PeriodSizes(
            window=self.window,
            hop=self.hop,
            lookback=self.lookback,
            sph=self.sph,
            sop=self.sop,
        )

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        default = {field.name: field.default for field in fields(self)}
        problems = [
            *super().list_conflicts(),
            *(
                f"{name} is {getattr(self, name)}; it must be {default[name]} for seizures, "
                f"which do not use it. Use --set {name}={default[name]}."
                for name in FIXED
                if getattr(self, name) != default[name]
            ),
        ]
        if self.arm == "population":
            problems.append(
                "arm is population; it must be another for two classes, which have no places "
                "between them. Use --set arm=smoothing."
            )
        try:
            self.sizes.list_offsets()
        except ValueError as error:
            problems.append(str(error))
        return problems


def seizures() -> SeizureConfig:
    """A spiking predictor of seizures, taught by a detector that sees later: some minutes."""
    return SeizureConfig()


def seizures_ann() -> SeizureConfig:
    """Its twin without spikes, as large as in the bench."""
    return replace(seizures(), cells="tanh", hidden=32, lr=1e-3)


def tiny_seizures() -> SeizureConfig:
    """A spiking predictor of seizures in a short recording: trains in seconds."""
    return replace(seizures(), points=40_000, hidden=32, epochs=4, lr=1e-2, compared=50)


CLIP = 4.0  # standard deviations at which a feature is clipped
TWO = Bins(low=-0.5, high=1.5, count=2)  # no and yes
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedSeizures(PreparedSeries):
    """A recording in windows of features, by split.

    detector: training data of the detector. now: times at which the student's windows end.
    signal, seizures: the whole recording.
    """

    detector: dict[Split, SeriesWindows]
    now: dict[Split, Int64[np.ndarray, " N"]]
    signal: Float64[np.ndarray, " T"]
    seizures: EventTable

    @property
    def teaching(self) -> dict[Split, SeriesWindows]:
        """The training data of the teacher."""
        return self.detector


NOT_READ = (  # fields that the windows do not depend on
    *("arm", "alpha", "temperature", "sigma", "surprise", "cells", "layers", "hidden", "step"),
    *("settle", "tau", "teacher_hidden", "teacher_epochs", "compared", "batch", "epochs", "lr"),
)


def prepare_patient(config: SeizureConfig) -> PreparedSeizures:
    """Return the windows of a generated patient.

    Raises:
        ValueError: a part of the recording has no usable seizure.
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
        ValueError: the recording is constant or not finite, a part of it has no usable seizure,
            or channel is "z" and ``z`` is None.
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
    """Return the windows that the teacher sees: the whole period, or its middle window."""
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
    """Raise a ValueError that lists the splits whose usable windows all have the same label."""
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


HOUR = 1000  # units of time; the equations of the Epileptor do not relate them to seconds
TIME = f"{HOUR} units of time"
EVENT_METRICS = tuple(
    replace(metric, meaning=meaning)
    for metric, meaning in {
        Metric(name="auc", format=".3f"): "windows before seizures above others (chance 0.5)",
        Metric(name="sensitivity", format=".1%"): "share of seizures that an alarm announces",
        Metric(name="false_alarms", better="lower", unit=f"in {TIME}"): "unfounded alarms",
        Metric(name="warning", better="lower", format=".1%"): "share of time under an alarm",
        Metric(name="improvement", format=".1%"): "sensitivity above that of random alarms",
    }.items()
)
FILE = "alarms.png"


@dataclass(frozen=True, kw_only=True)
class EventFindings:
    """Findings on the test split. threshold: chosen on validation. alarms: their times."""

    auc: float
    threshold: float
    alarms: tuple[float, ...]
    score: AlarmScore

    def list_values(self) -> dict[str, float]:
        """Return the metrics by name, as in :data:`EVENT_METRICS`."""
        return {
            "auc": self.auc,
            "sensitivity": self.score.sensitivity,
            "false_alarms": HOUR * self.score.false_rate,
            "warning": self.score.warning,
            "improvement": self.score.improvement,
        }

    def list_baselines(self) -> dict[str, dict[str, float]]:
        """Return the metrics of random alarms that warn for as long, by the baseline's name."""
        rate = self.score.chance
        return {self.name_chance(): {"sensitivity": rate, "warning": rate, "improvement": 0.0}}

    def list_errors(self) -> dict[str, dict[str, float]]:
        """Return the standard errors of what chance predicts, a binomial number."""
        error = math.sqrt(self.score.chance * (1 - self.score.chance) / self.score.events)
        return {self.name_chance(): {"sensitivity": error, "improvement": error}}

    def name_chance(self) -> str:
        """Return the baseline's name, with the probability that it does as well."""
        return f"random alarms as long, as good with probability {self.score.p:.2g}"


def measure_events(
    config: SeizureConfig,
    prepared: PreparedSeizures,
    probability: Mapping[Split, Float64[np.ndarray, " N"]],
) -> EventFindings:
    """Return the findings on the test, with a threshold chosen on validation.

    probability: that a seizure begins in the occurrence period, for each window of both splits.
    """
    about = Warnings(sph=float(config.sph), sop=float(config.sop), every=float(config.hop))
    onsets = prepared.seizures.start.astype(np.float64)
    now = {split: own.astype(np.float64) for split, own in prepared.now.items()}
    labels = prepared.windows["test"].labels
    return measure_alarms(about, onsets, now, probability, labels)


def measure_alarms(
    about: Warnings,
    onsets: Float64[np.ndarray, " E"],
    now: Mapping[Split, Float64[np.ndarray, " _"]],
    probability: Mapping[Split, Float64[np.ndarray, " _"]],
    labels: Int64[np.ndarray, " N"],
) -> EventFindings:
    """Return the findings on answers at times ``now``. onsets: of all. labels: of the test."""
    threshold = choose_threshold(now["val"], probability["val"], onsets, about)
    alarms = raise_alarms(now["test"], probability["test"], threshold, about.sop)
    return EventFindings(
        auc=compute_auc(probability["test"], labels),
        threshold=threshold,
        alarms=tuple(alarms.tolist()),
        score=score_alarms(alarms, now["test"], onsets, about),
    )


def tabulate_events(found: EventFindings) -> Table:
    """Return the counts of events and alarms as a table."""
    score = found.score
    return Table(
        title="Seizures and alarms",
        head=("", "number"),
        rows=[
            ("seizures predicted", f"{score.predicted} of {score.events}"),
            ("false alarms", f"{score.false} of {score.alarms}"),
        ],
        caption=f"The threshold, {found.threshold:.3g}, was chosen on validation. Random "
        "alarms that warn for as long predict at least as many seizures with probability "
        f"{score.p:.2g}.",
    )


def report_events(
    config: SeizureConfig,
    prepared: PreparedSeizures,
    probability: Mapping[Split, Float64[np.ndarray, " N"]],
    values: Mapping[str, float],
    folder: Path,
) -> Findings:
    """Return the findings of a run, with a picture. values: other metrics of the windows."""
    found = measure_events(config, prepared, probability)
    draw_alarms(config, prepared, probability["test"], found, folder / FILE)
    return Findings(
        values={**values, **found.list_values()},
        n=len(prepared.now["test"]),
        counted="windows",
        facts={"arm": config.arm, "events": asdict(found.score), "threshold": found.threshold},
        tables=(tabulate_events(found),),
        beside=found.list_baselines(),
        errors=found.list_errors(),
        pictures=(
            Picture(
                file=FILE,
                title="A recording and its alarms",
                example=True,
                caption="Test part (Epileptor, a sample per unit of time), seizures (shaded), "
                f"answers to {config.lookback} windows of {config.window} samples (does one "
                f"begin {config.sph} to {config.sph + config.sop} later?), alarms (triangles).",
            ),
        ),
    )


@mpl.rc_context(STYLE)
def draw_alarms(
    config: SeizureConfig,
    prepared: PreparedSeizures,
    probability: Float64[np.ndarray, " N"],
    found: EventFindings,
    path: Path,
) -> None:
    """Draw a recording with its seizures, the answers and the alarms."""
    now = prepared.now["test"]
    first, last = int(now[0]) - config.window, int(now[-1])
    figure = Figure((9.58, 3.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(np.arange(first, last), prepared.signal[first:last], color=INK, linewidth=0.4)
    top.set_ylabel("signal")
    for start, stop in zip(prepared.seizures.start, prepared.seizures.stop, strict=True):
        for ax in (top, bottom):
            ax.axvspan(start, stop, color=LINE, linewidth=0)
    bottom.plot(now, probability, ".", color=MUTED, markersize=2)
    bottom.axhline(found.threshold, color=LINE, linewidth=0.8)
    heights = np.full(len(found.alarms), 1.08)
    bottom.plot(np.array(found.alarms), heights, "v", color=ACCENT, markersize=5)
    bottom.set(xlabel="time [units]", ylabel="answer", xlim=(first, last), ylim=(-0.05, 1.2))
    save_png(figure, path)

"""What a predictor of seizures reaches, event by event, and a picture of its alarms.

The threshold of alarms is chosen on validation alone. Axes: N windows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from neuro.plot import ACCENT, INK, LINE, MUTED, STYLE
from tasks.forecasting.alarms import (
    AlarmScore,
    Warnings,
    choose_threshold,
    compute_auc,
    raise_alarms,
    score_alarms,
)
from tasks.forecasting.seizures.config import SeizureConfig
from tasks.forecasting.seizures.data import PreparedSeizures
from tasks.report.figures import save_png
from tasks.runs.task import Findings, Metric, Picture, Split, Table

HOUR = 1000  # units of time, which the equations of the Epileptor do not fit to seconds
EVENT_METRICS = (
    Metric(name="auc", format=".3f"),
    Metric(name="sensitivity", format=".1%"),
    Metric(name="false_alarms", better="lower", unit=f"in {HOUR} units of time"),
    Metric(name="warning", better="lower", format=".1%"),
    Metric(name="improvement", format=".1%"),
)
FILE = "alarms.png"


@dataclass(frozen=True, kw_only=True)
class EventFindings:
    """On the test split. threshold: chosen on validation. alarms: their times."""

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


def measure_events(
    config: SeizureConfig,
    prepared: PreparedSeizures,
    probability: Mapping[Split, Float64[np.ndarray, " N"]],
) -> EventFindings:
    """Return what the answers to validation and test reach together.

    probability: that a seizure begins in the occurrence period, of each window of both.
    """
    about = Warnings(sph=float(config.sph), sop=float(config.sop), every=float(config.hop))
    onsets = prepared.seizures.start.astype(np.float64)
    now = {split: own.astype(np.float64) for split, own in prepared.now.items()}
    threshold = choose_threshold(now["val"], probability["val"], onsets, about)
    alarms = raise_alarms(now["test"], probability["test"], threshold, about.sop)
    return EventFindings(
        auc=compute_auc(probability["test"], prepared.windows["test"].labels),
        threshold=threshold,
        alarms=tuple(alarms.tolist()),
        score=score_alarms(alarms, now["test"], onsets, about),
    )


def report_events(
    config: SeizureConfig,
    prepared: PreparedSeizures,
    probability: Mapping[Split, Float64[np.ndarray, " N"]],
    values: Mapping[str, float],
    folder: Path,
) -> Findings:
    """Return the findings of a run, with a picture. values: further metrics of the windows."""
    found = measure_events(config, prepared, probability)
    score = found.score
    draw_alarms(config, prepared, probability["test"], found, folder / FILE)
    return Findings(
        values={**values, **found.list_values()},
        n=len(prepared.now["test"]),
        counted="windows",
        facts={"arm": config.arm, "events": asdict(score), "threshold": found.threshold},
        tables=(
            Table(
                title="Events",
                head=("predictor", "predicted", "sensitivity", "false alarms", "warning"),
                rows=[
                    (
                        f"student, {config.arm}",
                        f"{score.predicted} of {score.events}",
                        f"{score.sensitivity:.1%}",
                        f"{HOUR * score.false_rate:.2f}",
                        f"{score.warning:.1%}",
                    ),
                    ("chance, as long a warning", "", f"{score.chance:.1%}", "", ""),
                ],
                caption=f"False alarms in {HOUR} units of time in which answers are given; the "
                f"threshold of {found.threshold:.3g} is that of validation. Warnings as long "
                f"at random predict at least as many seizures with probability {score.p:.2g}.",
            ),
        ),
        pictures=(
            Picture(
                file=FILE,
                title="Alarms",
                caption="The test part of the recording, its seizures (shaded), the "
                "answers of the predictor, and its alarms (triangles).",
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

"""The parts of ``neuro bench forecasting``, and their picture.

The judged metric, fixed before any training, is the squared error of the expectation. An arm is
compared with labels alone: same seeds, series, batches and initial weights. A difference counts
as shown if the exact sign-flip test of the pairs is below 5 %, which needs at least six pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from neuro.plot import ACCENT, INK, STYLE
from tasks.bench import experiment
from tasks.bench.experiment import Experiment
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.forecasting.baselines import EchoState, measure_free_runs
from tasks.forecasting.bench import series
from tasks.forecasting.bench.online import make_online_experiment
from tasks.forecasting.bench.seizures import make_seizure_experiment
from tasks.forecasting.bench.train import LABELS
from tasks.measures.statistics import summarise_seeds
from tasks.report.figures import save_png

SHOWN, DARK = 40, 25  # % of change with the full colour, and from which text is white
PUBLISHED, PUBLISHED_LSTM = 14.79, 13.37  # % sMAPE, Yik et al. 2025


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: trainings too short to judge."""
    return {
        **{part: series.make_part(part, quick) for part in series.ARMS_OF},
        "online": make_online_experiment(quick),
        "seizures": make_seizure_experiment(quick),
    }


def measure_anchor(options: BenchOptions) -> Iterator[Row]:
    """Yield the error of a free-running echo state network beside published errors."""
    network, offsets = EchoState(), 10
    if options.quick:
        network, offsets = EchoState(neurons=100), 2
    reached = summarise_seeds(measure_free_runs(network, offsets))
    name = "free run of 750 samples, 76 in a Lyapunov time"
    yield Row(
        case=name,
        subject=f"echo state network, {network.neurons} neurons",
        peer="echo state network of NeuroBench, published",
        unit="% sMAPE",
        ours=reached.mean,
        theirs=PUBLISHED,
        ratio=find_ratio(reached.mean, PUBLISHED),
        note=f"{name}: echo state network {reached.mean:.1f} ± {reached.sd:.1f} % over "
        f"{offsets} offsets; published {PUBLISHED} % of one, {PUBLISHED_LSTM} % of an LSTM",
        conditions={"seeds": list(reached.seeds), "versions": list_versions()},
    )


PARTS: Mapping[str, MeasurePart] = {"anchor": measure_anchor}  # has no trainings by seed


@mpl.rc_context(STYLE)
def draw(rows: list[Row], path: Path) -> None:
    """Draw the change of each arm's error against labels alone, by setting.

    Without settings of series, draw bars of the arms' metrics; without arms, the anchor.
    """
    arms = experiment.list_arms(rows)
    own = [row for row in arms if row.case.partition(": ")[0] in series.ARMS_OF]
    settings = list(dict.fromkeys(row.subject.partition(": ")[0] for row in own))
    figure = Figure((9.58, 1.8 + 0.42 * len(settings)), layout="constrained")
    if settings:
        draw_changes(figure, own, settings)
    elif arms:
        experiment.draw(rows, path)
        return
    for row in () if settings else rows:
        ax = figure.subplots()
        ax.barh([row.subject, row.peer], [row.ours or 0.0, row.theirs or 0.0], color=ACCENT)
        ax.set_xlabel(f"{row.case} [{row.unit}]", fontsize=8)
    save_png(figure, path)


def draw_changes(figure: Figure, rows: Sequence[Row], settings: Sequence[str]) -> None:
    """Draw a field per arm and setting, empty if the setting lacks the arm."""
    arms = [arm for arm in series.ARMS if arm not in (LABELS, series.SHUFFLED)]
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (metric, read_out) in zip(panels, series.READ_OUTS.items(), strict=True):
        reached = {row.subject: row.conditions["reached"].get(metric) for row in rows}
        means = {subject: own["mean"] for subject, own in reached.items() if own}
        shares = [
            [means.get(f"{s}: {arm}", np.nan) / means[f"{s}: {LABELS}"] for arm in arms]
            for s in settings
        ]
        table = 100 * (np.array(shares) - 1)
        image = ax.imshow(table, cmap="RdBu_r", vmin=-SHOWN, vmax=SHOWN, aspect="auto")
        for (y, x), value in np.ndenumerate(table):
            colour = "white" if abs(value) > DARK else INK
            text = "" if np.isnan(value) else f"{value:+.0f}"
            ax.text(x, y, text, ha="center", va="center", color=colour, fontsize=7)
        ax.set_xticks(range(len(arms)), arms, rotation=30, ha="right", fontsize=7)
        ax.set_yticks(range(len(settings)), settings, fontsize=7)
        ax.set_title(f"change of the squared error, {read_out} [%]", fontsize=8)
    figure.colorbar(image, ax=list(panels), shrink=0.8)

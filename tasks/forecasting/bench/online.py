"""Part ``online`` of the bench: students that go on learning as labels arrive, and a fixed one.

All learners of a seed begin with the same student, trained on labels alone. Then they pass the
test part of a series once. One series changes in the middle of that part: time then runs 1.5
times as fast. The learning rate lies between the best rates with and without the change on
seeds 100 and 101, which no row uses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import torch
from jaxtyping import Float64

from drivers.series import generate_lorenz
from tasks.bench.experiment import Experiment, Reached, Variants
from tasks.bench.rows import Row
from tasks.forecasting.bench.series import (
    AS_WIDE,
    GUIDED,
    SEEDS,
    SMALL,
    SMOOTHED,
    name_setting,
)
from tasks.forecasting.bench.train import (
    LABELS,
    UPDATES,
    list_arms,
    make_experiment,
    make_finding,
    measure_width,
    train_teacher,
)
from tasks.forecasting.config import Arm, ForecastConfig, guided_ann
from tasks.forecasting.data import SKIPPED, draw_start, make_series, prepare, prepare_series
from tasks.forecasting.evaluate import METRICS, UNIT, measure
from tasks.forecasting.network import ask_teacher, compute_loss
from tasks.forecasting.online import (
    OnlineRules,
    PageHinkley,
    StackedWindows,
    Weights,
    fit_test,
    learn_online,
    measure_squares,
    run_networks,
    stack_weights,
)
from tasks.measures.statistics import judge_pairs
from tasks.runs.task import Metric, TaskRun
from tasks.runs.trained_run import load_trained_model

STOPPED = "no learning"
BEHIND = ", behind an alarm"
CHANGES = "changes"  # ends the name of a setting whose series changes
FASTER = 1.5  # factor of the speed after the change
CHANGE = 0.9  # position in the series: the middle of the test part
LATE = Metric(name="mse_late", better="lower", unit=UNIT)  # in the second half of the test
RATE = 0.01
LEARNERS: Mapping[str, Arm] = {
    **{LABELS: "none", STOPPED: "none", GUIDED: "future"},
    **{SMOOTHED: "smoothing", AS_WIDE: "smoothing"},
    **{LABELS + BEHIND: "none", GUIDED + BEHIND: "future"},
}
COMPARED = (
    *((LABELS, STOPPED), (GUIDED, SMOOTHED), (GUIDED, AS_WIDE)),
    *((LABELS + BEHIND, LABELS), (GUIDED + BEHIND, GUIDED)),
)


def make_online_experiment(quick: bool) -> Experiment:
    """Return the experiment: the arm continues on labels alone, its variants otherwise."""
    base = replace(guided_ann(), **(SMALL if quick else {}))
    moving = replace(base, source="lorenz")
    lorenz, mackey_glass = (name_setting(config, "online") for config in (moving, base))
    series = {lorenz: moving, f"{lorenz}, {CHANGES}": moving, mackey_glass: base}
    seeds = SEEDS[:2] if quick else SEEDS
    return make_experiment(
        list_arms(series, {LABELS: {"arm": "none"}}),
        seeds,
        title="students that go on learning",
        run="forecasting:guided_ann",
        metrics=(*METRICS[:2], LATE, UPDATES),
        measures=partial(measure_learners, seeds),
        costs=lambda *_: {},  # the costs of the training before do not include the learning
        judge=partial(judge_learners, tuple(series)),
    )


def make_changing_series(config: ForecastConfig) -> Float64[np.ndarray, " N"]:
    """Return a Lorenz series that speeds up; before, it is that of the configuration."""
    first = round(CHANGE * config.points)
    before = generate_lorenz(first, start=draw_start(config.seed_of_data), skip=SKIPPED)
    x, y, z = (float(v) for v in before[-1])
    after = generate_lorenz(config.points - first + 1, start=(x, y, z), every=0.02 * FASTER)
    return np.concatenate([before[:, 0], after[1:, 0]])


def measure_learners(seeds: Sequence[int], run: TaskRun) -> Variants:
    """Return the metrics of each learner while the test part of the arm's series passes.

    seeds: of all students; one smoothing has the mean width of their teachers' answers.
    """
    config: ForecastConfig = run.config
    weights = stack_weights([load_trained_model(run)])
    sigma, drift = measure_width(config, seeds), fit_drift(config, weights)
    windows = make_windows(config, run.seed, CHANGES in run.folder.parent.name)
    return {
        "" if name == LABELS else f"then {name}": learn(
            name,
            replace(config, arm=arm, sigma=sigma if name == AS_WIDE else config.sigma),
            weights,
            windows,
            drift if name.endswith(BEHIND) else None,
        )
        for name, arm in LEARNERS.items()
    }


def fit_drift(config: ForecastConfig, weights: Weights) -> PageHinkley:
    """Return the most sensitive Page-Hinkley test without alarm on validation."""
    val = prepare(config).windows["val"]
    scores = run_networks(weights, torch.from_numpy(val.own)[None])[0]
    return fit_test(measure_squares(scores, torch.from_numpy(val.labels))[None])


def make_windows(config: ForecastConfig, seed: int, changes: bool) -> StackedWindows:
    """Return the test windows in the order of time, with the answers of the seed's teacher."""
    series = make_series(config.source, config.seed_of_data, config.points)
    if changes:
        series = make_changing_series(config)
    sizes = (config.bins, config.lookback, config.horizon, config.teacher_horizon)
    part = prepare_series(series, config.source, *sizes).windows["test"]
    taught = ask_teacher(train_teacher(config, seed), torch.from_numpy(part.later))
    return StackedWindows(
        x=torch.from_numpy(part.own)[None],
        labels=torch.from_numpy(part.labels)[None],
        taught=taught[None],
    )


def learn(
    name: str,
    config: ForecastConfig,
    weights: Weights,
    windows: StackedWindows,
    drift: PageHinkley | None,
) -> dict[str, float]:
    """Return the metrics of a learner, and the share of the steps at which it learns."""
    seen = windows if config.taught else replace(windows, taught=None)
    rate = 0.0 if name == STOPPED else RATE
    rules = OnlineRules(horizon=config.horizon, rate=rate, drift=drift)
    answers = learn_online(weights, seen, partial(compute_loss, config), rules)
    scores, labels = answers.scores[0], windows.labels[0]
    half = len(labels) // 2
    return {
        **measure(config, scores, labels),
        LATE.name: measure(config, scores[half:], labels[half:])["mse"],
        UPDATES.name: float(answers.learnt.double().mean()) if rate else 0.0,
    }


def judge_learners(settings: Sequence[str], reached: Reached) -> Iterator[Row]:
    """Yield comparisons of learners' errors, with the share of steps at which they learn."""
    for setting, sides in product(settings, COMPARED):
        plain = f"{setting}: {LABELS}"
        ours, theirs = (
            reached[plain if side == LABELS else f"{plain}, then {side}"] for side in sides
        )
        judged = judge_pairs([*ours["mse"].values()], [*theirs["mse"].values()], "lower")
        means = [float(np.mean([*own["mse"].values()])) for own in (ours, theirs)]
        share = float(np.mean([*ours[UPDATES.name].values()]))
        p = "" if judged.p is None else f", p = {judged.p:.3f}"
        note = f"{100 * judged.difference / means[1]:+.0f} % error{p}; "
        note += f"learns at {share:.0%} of the steps"
        name = f"online: {setting}: {sides[0]}, beside {sides[1]}"
        yield make_finding(name, sides, (means[0], means[1]), note)

"""Part ``online`` of the bench: students go on learning as labels arrive; one does not.

Every student is trained on labels alone before, and is the same in all arms. Then the test part
of the series goes by, once. In one setting the series changes in the middle of it: from then on
time runs faster by half. The rate of learning lies between those that were best with and
without the change on seeds 100 and 101, which no row has.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from drivers.series import generate_lorenz
from neuro.base.seeds import seeded
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results, make_key, read_results
from tasks.forecasting.bench.settings import (
    AS_WIDE,
    GUIDED,
    LABELS,
    SMOOTHED,
    ForecastScale,
    ForecastSetting,
    make_config,
)
from tasks.forecasting.bench.train import (
    FILE,
    SECONDS,
    UPDATES,
    Reached,
    describe,
    measure_width,
)
from tasks.forecasting.config import ForecastConfig, Source
from tasks.forecasting.data import SKIPPED, draw_start, make_series, prepare, prepare_series
from tasks.forecasting.ensemble import (
    Loss,
    StackedWindows,
    Weights,
    run_networks,
    stack_weights,
    stack_windows,
    teach_labels,
    train_networks,
    train_teachers,
)
from tasks.forecasting.evaluate import measure
from tasks.forecasting.network import build_student, build_teacher, compute_loss
from tasks.forecasting.online import (
    OnlineRules,
    PageHinkley,
    fit_test,
    learn_online,
    measure_squares,
)

STOPPED = "no learning"
BEHIND = ", behind an alarm"
FASTER = 1.5  # times, behind the change
CHANGE = 0.9  # of the series: in the middle of the test part
LATE = "mse_late"  # of the windows in the second half of the test part
RATE = 0.01
LEARNERS = {
    LABELS: "none",
    STOPPED: "none",
    GUIDED: "future",
    SMOOTHED: "smoothing",
    AS_WIDE: "smoothing",
    LABELS + BEHIND: "none",
    GUIDED + BEHIND: "future",
}


@dataclass(frozen=True, kw_only=True)
class OnlineSetting:
    """A series that goes by. changes: whether time runs faster from the middle of its test."""

    source: Source = "lorenz"
    lookback: int = 8
    horizon: int = 5
    changes: bool = False

    @property
    def name(self) -> str:
        """What tells it from others: "online: lorenz, L 8, H 5, changes"."""
        series = self.source.replace("_", " ")
        changes = ", changes" if self.changes else ""
        return f"online: {series}, L {self.lookback}, H {self.horizon}{changes}"


SETTINGS = (
    OnlineSetting(),
    OnlineSetting(changes=True),
    OnlineSetting(source="mackey_glass"),
)


def make_passing_series(
    setting: OnlineSetting, seed: int, points: int
) -> Float64[np.ndarray, " N"]:
    """Return the series; up to the change it is that of the configuration.

    Raises:
        ValueError: only the Lorenz system changes.
    """
    if not setting.changes:
        return make_series(setting.source, seed, points)
    if setting.source != "lorenz":
        raise ValueError(f"{setting.source} does not change; give lorenz, or changes=False")
    first = round(CHANGE * points)
    before = generate_lorenz(first, start=draw_start(seed), skip=SKIPPED)
    x, y, z = (float(v) for v in before[-1])
    after = generate_lorenz(points - first + 1, start=(x, y, z), every=0.02 * FASTER)
    return np.concatenate([before[:, 0], after[1:, 0]])


def train_online(setting: OnlineSetting, scale: ForecastScale, rate: float = RATE) -> Reached:
    """Return what every arm reaches on the test part, which goes by once."""
    windowed = ForecastSetting(
        source=setting.source, lookback=setting.lookback, horizon=setting.horizon
    )
    configs = [make_config(windowed, scale, LABELS, seed) for seed in scale.seeds]
    found = Reached()
    with limit_threads(1):
        students, teachers = list[nn.Module](), list[nn.Module]()
        for config in configs:
            with seeded(config.seed_of_data):
                students.append(build_student(config))
            with seeded(config.seed_of_data + 1_000_000):
                teachers.append(build_teacher(config))
        train_teachers(teachers, configs)
        own, val = (stack_windows(configs, split) for split in ("train", "val"))
        train_networks(students, configs, lambda _: own, val, teach_labels, configs[0].epochs)
        weights = stack_weights(students)
        windows = _stack_passing(setting, configs, stack_weights(teachers))
        test, sigma = _fit_drift(weights, val), measure_width(teachers, configs)
        wide = [replace(config, sigma=sigma) for config in configs]
        for arm in LEARNERS:
            begin = time.process_time()
            own_configs = wide if arm == AS_WIDE else configs
            found[arm] = _learn(arm, own_configs, weights, windows, test, rate)
            found[arm][SECONDS] = [time.process_time() - begin]
    return found


@torch.no_grad()
def _fit_drift(weights: Weights, val: StackedWindows) -> PageHinkley:
    """Return the test of changes that raises no alarm on validation."""
    scores = run_networks(weights, val.x)
    errors = [measure_squares(s, labels) for s, labels in zip(scores, val.labels, strict=True)]
    return fit_test(torch.stack(errors))


@torch.no_grad()
def _stack_passing(
    setting: OnlineSetting, configs: Sequence[ForecastConfig], teachers: Weights
) -> StackedWindows:
    """Return the windows of the test part in time, with what the teachers answer."""
    parts = []
    for config in configs:
        series = make_passing_series(setting, config.seed_of_data, config.points)
        sizes = (config.bins, config.lookback, config.horizon, config.teacher_horizon)
        prepared = prepare_series(series, setting.name, *sizes)
        if prepared.bins != prepare(config).bins:
            raise ValueError(f"{setting.name}: the series changes before its test part")
        parts.append(prepared.windows["test"])
    later = torch.from_numpy(np.stack([part.later for part in parts]))
    return StackedWindows(
        x=torch.from_numpy(np.stack([part.own for part in parts])),
        labels=torch.from_numpy(np.stack([part.labels for part in parts])),
        taught=run_networks(teachers, later),
    )


def _learn(
    arm: str,
    configs: Sequence[ForecastConfig],
    weights: Weights,
    windows: StackedWindows,
    test: PageHinkley,
    rate: float,
) -> dict[str, list[float]]:
    """Return the metrics of an arm, one value a seed."""
    config = replace(configs[0], arm=LEARNERS[arm])  # type: ignore[arg-type]
    seen = windows if config.taught else replace(windows, taught=None)
    rules = OnlineRules(
        horizon=config.horizon,
        rate=0.0 if arm == STOPPED else rate,
        drift=test if arm.endswith(BEHIND) else None,
    )
    answers = learn_online(weights, seen, _make_loss(config), rules)
    half = windows.labels.shape[1] // 2
    each = []
    for k, own in enumerate(configs):
        values = measure(own, answers.scores[k], windows.labels[k])
        late = measure(own, answers.scores[k, half:], windows.labels[k, half:])
        learnt = 0.0 if arm == STOPPED else float(answers.learnt[k].double().mean())
        each.append({**values, LATE: late["mse"], UPDATES: learnt})
    return {name: [values[name] for values in each] for name in each[0]}


def _make_loss(config: ForecastConfig) -> Loss:
    def compute(
        scores: Float[Tensor, "S B K"], labels: Tensor, taught: Tensor | None
    ) -> Float[Tensor, " S"]:
        return compute_loss(config, scores, labels, taught)

    return compute


def train_missing(folder: Path, scale: ForecastScale) -> dict[OnlineSetting, Reached]:
    """Return what the settings reach; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
    """

    def train(missing: list[OnlineSetting]) -> Iterator[tuple[OnlineSetting, Reached]]:
        for setting in missing:
            yield setting, train_online(setting, scale)

    return complete_results(folder / FILE, _list_abouts(), Reached, train, describe(scale))


def count_missing(folder: Path, scale: ForecastScale) -> int:
    """Return how many settings are still to be trained."""
    known, further = read_results(folder / FILE), describe(scale)
    return sum(make_key({**own, **further}) not in known for own in _list_abouts().values())


def _list_abouts() -> dict[OnlineSetting, dict[str, object]]:
    return {s: asdict(s) | {"part": "online"} for s in SETTINGS}

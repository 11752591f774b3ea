"""Training of the bench: arms in pairs, costs, what a shuffled teacher does, resumption."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro.base.seeds import seeded
from tasks.forecasting.bench import train
from tasks.forecasting.bench.settings import (
    ARMS,
    AS_WIDE,
    GATED,
    GUIDED,
    LABELS,
    POPULATION,
    QUICK,
    SMOOTHED,
    TWIN,
    ForecastScale,
    ForecastSetting,
)
from tasks.forecasting.bench.train import (
    OPERATIONS,
    SECONDS,
    SIGMA,
    TEACHER,
    UPDATES,
    Reached,
    count_cost,
    list_missing,
    train_all,
    train_setting,
)
from tasks.forecasting.config import tiny_ann
from tasks.forecasting.ensemble import train_teachers
from tasks.forecasting.network import build_teacher

SETTING = ForecastSetting(lookback=8, horizon=2)
SCALE = replace(QUICK, seeds=(0,), points=2000, epochs=12)  # of costs


@pytest.fixture(scope="module")
def timed() -> tuple[Reached, float]:
    begin = time.process_time()
    found = train_setting(SETTING, replace(SCALE, points=800, epochs=1))
    return found, time.process_time() - begin


@pytest.fixture(scope="module")
def reached(timed: tuple[Reached, float]) -> Reached:
    return timed[0]


def test_all_arms_the_teacher_and_the_baselines_are_measured(reached: Reached) -> None:
    assert list(reached) == [TEACHER, *ARMS, "constant", "persistence", "ridge"]
    for name, own in reached.items():
        assert all(len(values) == 1 for values in own.values())
        metrics = ["mse", "mse_argmax", "mse_median", "nll", SECONDS]
        metrics += [SIGMA] if name == AS_WIDE else []
        assert list(own) == (metrics if name in (TEACHER, *ARMS) else ["mse"])
        assert np.isfinite([values[0] for values in own.values()]).all()


def test_seconds_of_teacher_and_arms_are_parts_of_the_whole(
    timed: tuple[Reached, float],
) -> None:
    found, whole = timed
    parts = [own[SECONDS][0] for own in found.values() if SECONDS in own]
    assert len(parts) == 1 + len(ARMS)
    assert min(parts) > 0
    assert sum(parts) <= whole


def test_networks_side_by_side_are_measured_as_each_alone() -> None:
    configs = [replace(tiny_ann(), points=600, seed_of_data=seed) for seed in (0, 1)]
    teachers = [build_teacher(config) for config in configs]
    together = train._measure_all(teachers, configs, later=True)
    for k, (teacher, config) in enumerate(zip(teachers, configs, strict=True)):
        alone = train._measure_all([teacher], [config], later=True)
        assert {name: values[k] for name, values in together.items()} == {
            name: pytest.approx(values[0], rel=1e-4) for name, values in alone.items()
        }
    assert together["mse"][0] != pytest.approx(together["mse"][1], rel=1e-3)


def test_a_shuffled_teacher_ruins_the_student() -> None:
    """The windows of teacher and student belong together: this is how one sees it."""
    sizes = {"points": 2000, "lookback": 8, "horizon": 2, "batch": 64, "lr": 1e-2}
    config = replace(tiny_ann(), **sizes, epochs=15, teacher_epochs=15)  # type: ignore[arg-type]
    with seeded(0):
        teacher = build_teacher(config)
    train_teachers([teacher], [config])
    guided, shuffled = (
        train._train_arm([replace(config, arm=arm)], [teacher])["mse"][0]  # type: ignore[arg-type]
        for arm in ("future", "shuffled")
    )
    assert shuffled > 3 * guided
    assert guided < 3


def test_spiking_students_are_trained_beside_their_twin() -> None:
    setting = ForecastSetting(lookback=4, horizon=2, cells="lif")
    scale = replace(QUICK, seeds=(0,), points=600, epochs=1)
    found = train_setting(setting, scale)
    arms = (LABELS, GUIDED, SMOOTHED, AS_WIDE, POPULATION)
    assert list(found) == [TEACHER, *arms, TWIN, "constant", "persistence", "ridge"]
    for arm in arms:
        (operations,) = found[arm][OPERATIONS]
        assert operations > 64  # the first event alone reaches all neurons
        assert np.isfinite(found[arm]["mse"]).all()
    assert OPERATIONS not in found[TWIN]
    spiking, twin = (count_cost(setting, scale, arm) for arm in (LABELS, TWIN))
    assert spiking["parameters"] == 14 * 64 + 64 * 64 + 64 * 25
    assert (spiking["macs"], twin["macs"]) == (0, 4 * 48 + 48 * 48 + 48 * 25)


def test_a_larger_surprise_teaches_less() -> None:
    setting = ForecastSetting(lookback=2, horizon=3, gated=True, train=400)
    found = train_setting(setting, replace(SCALE, points=800, epochs=40))
    shares = [found[arm][UPDATES][0] for arm in GATED]
    assert shares == sorted(shares, reverse=True)
    assert 0 <= shares[-1] < shares[0] <= 1
    assert UPDATES not in found[GUIDED]


def test_costs_are_those_of_one_seed() -> None:
    plain, guided = (count_cost(SETTING, SCALE, arm) for arm in (LABELS, GUIDED))
    assert plain["parameters"] == 8 * 48 + 48 + 48 * 48 + 48 + 48 * 25 + 25
    assert plain["macs"] == 8 * 48 + 48 * 48 + 48 * 25
    steps = (1200 - 9) // 256
    assert plain["samples"] == guided["samples"] == 12 * steps * 256
    assert (plain["calls"], guided["calls"]) == (12 * steps, 36 * steps)
    assert count_cost(SETTING, SCALE, AS_WIDE)["calls"] == 24 * steps  # no answers, a width


def test_the_width_of_a_teacher_is_the_deviation_of_its_answers() -> None:
    """Two bins, whatever the window: a deviation by hand."""
    config = replace(tiny_ann(), points=600, bins=25)
    teacher = build_teacher(config)
    *_, last = (m for m in teacher.modules() if isinstance(m, torch.nn.Linear))
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-100.0)
        last.bias[[10, 14]] = torch.log(torch.tensor([0.25, 0.75]))
    assert train.measure_width([teacher], [config]) == pytest.approx(4 * (0.25 * 0.75) ** 0.5)


def test_a_smoothing_as_wide_as_the_teacher_takes_its_width(reached: Reached) -> None:
    (sigma,) = reached[AS_WIDE][SIGMA]
    assert sigma > 1  # a teacher of one epoch is uncertain
    assert reached[AS_WIDE]["mse"] != reached[SMOOTHED]["mse"]


def test_a_finished_setting_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ForecastSetting] = []

    def pretend(setting: ForecastSetting, _: ForecastScale) -> Reached:
        asked.append(setting)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {LABELS: {"mse": [1.0]}}

    monkeypatch.setattr(train, "train_setting", pretend)
    with pytest.raises(KeyboardInterrupt):
        train_all("grid", QUICK, tmp_path, 1)
    first, second = QUICK.settings["grid"]
    assert list_missing("grid", QUICK, tmp_path) == [second]
    found = train_all("grid", QUICK, tmp_path, 1)
    assert asked == [first, second, second]
    assert found == {s: {LABELS: {"mse": [1.0]}} for s in (first, second)}

"""What the bench trains."""

from dataclasses import asdict, replace

import pytest

from tasks.forecasting.bench.settings import (
    ARMS,
    AS_WIDE,
    FULL,
    GUIDED,
    LABELS,
    POPULATION,
    QUICK,
    SMOOTHED,
    TWIN,
    ForecastSetting,
    list_arms,
    list_seeds,
    make_config,
)
from tasks.runs.configuration import list_problems

PARTS = ("grid", "few", "lorenz", "paper", "gated", "spiking")


def test_settings_are_a_grid_few_windows_and_another_series() -> None:
    assert tuple(FULL.settings) == tuple(QUICK.settings) == PARTS
    assert [(s.lookback, s.horizon) for s in FULL.settings["grid"]] == [
        *((1, 2), (1, 5), (1, 10), (1, 15)),
        *((8, 2), (8, 5), (8, 10), (8, 15)),
    ]
    assert {s.train for s in FULL.settings["few"]} == {600}
    assert {s.source for s in FULL.settings["lorenz"]} == {"lorenz"}
    assert len(FULL.seeds) == 8  # six pairs are the least of which all to one side is p < 5 %
    names = [s.name for part in PARTS for s in FULL.settings[part]]  # type: ignore[index]
    assert len(names) == len(set(names))
    assert names[1] == "mackey glass, L 1, H 5"
    assert names[-1] == "mackey glass, L 8, H 5, spiking"
    assert names[8] == "mackey glass, L 12, H 5, 600 windows"


@pytest.mark.parametrize("scale", [FULL, QUICK])
def test_arms_of_a_seed_differ_in_the_arm_alone(scale: object) -> None:
    setting = ForecastSetting(lookback=8, horizon=5)
    plain = make_config(setting, scale, LABELS, 3)  # type: ignore[arg-type]
    assert plain.arm == "none"
    assert plain.seed_of_data == 3
    arms = [make_config(setting, scale, arm, 3) for arm in list_arms(setting)]  # type: ignore[arg-type]
    differ = [c for c, arm in zip(arms, list_arms(setting), strict=True) if arm != AS_WIDE]
    assert len({tuple(asdict(c).items()) for c in differ}) == len(ARMS) - 1
    assert {c.arm for c in arms} == {
        *("none", "future", "present", "shuffled"),
        *("smoothing", "population", "oracle"),
    }
    for config in arms:
        changed = {k for k, v in asdict(config).items() if v != asdict(plain)[k]}
        assert changed <= {"arm", "temperature"}


def test_the_grid_of_the_paper_has_its_horizons_bins_and_weights_of_labels() -> None:
    settings = FULL.settings["paper"]
    assert {(s.bins, s.horizon) for s in settings} == {
        (bins, horizon) for bins in (25, 50) for horizon in (2, 5, 8, 10, 12, 15)
    }
    assert {s.lookback for s in settings} == {1}
    assert settings[-1].name == "mackey glass, L 1, H 15, 50 bins"
    _, guided, alone, *codes = (
        make_config(settings[-1], FULL, arm, 0) for arm in list_arms(settings[-1])
    )
    assert (guided.alpha, guided.bins) == (0.5, 50)
    assert alone == replace(guided, alpha=0.0)
    assert [c.arm for c in codes] == ["smoothing", "population"]


def test_gated_arms_differ_in_the_surprise_alone() -> None:
    setting = FULL.settings["gated"][0]
    plain, guided, *gated = (make_config(setting, FULL, arm, 0) for arm in list_arms(setting))
    assert (plain.arm, guided.arm, guided.surprise) == ("none", "future", 0)
    assert [c.surprise for c in gated] == [0.01, 0.03, 0.1, 0.3]
    assert {replace(c, surprise=0.0) for c in gated} == {guided}


def test_every_training_of_the_bench_is_sound() -> None:
    for scale in (FULL, QUICK):
        for own in scale.settings.values():
            for setting in own:
                for arm in (*list_arms(setting), TWIN):
                    assert list_problems(make_config(setting, scale, arm, 0)) == []


def test_spiking_students_have_fewer_arms_and_seeds_and_a_twin_without_spikes() -> None:
    (spiking,) = FULL.settings["spiking"]
    assert list_arms(spiking) == (LABELS, GUIDED, SMOOTHED, AS_WIDE, POPULATION)
    assert list_seeds(spiking, FULL) == (0, 1, 2, 3, 4, 5)
    assert list_seeds(replace(spiking, cells="tanh"), FULL) == FULL.seeds
    twin = make_config(spiking, FULL, TWIN, 2)
    assert twin == make_config(replace(spiking, cells="tanh"), FULL, LABELS, 2)
    assert make_config(spiking, FULL, LABELS, 2).cells == "lif"

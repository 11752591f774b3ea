"""The bench of flow: arms differ in one field, and SiT trains for the same number of epochs."""

from dataclasses import asdict

import pytest

from tasks.flow.bench import (
    ARFLOW,
    ARMS,
    FREE_ARFLOW,
    FREE_SIT,
    GROUPED,
    MNIST,
    SIT,
    count_cost,
    list_experiments,
)
from tasks.flow.config import FlowConfig, tiny
from tasks.runs.configuration import list_problems


@pytest.mark.parametrize("quick", [False, True])
def test_arms_share_all_but_one_field_and_batches_of_all_lengths_have_as_many_images(
    quick: bool,
) -> None:
    varied = {"arm", "epochs", "images", "batch"}
    for experiment in list_experiments(quick).values():
        first: FlowConfig = next(iter(experiment.arms.values()))
        whole = max(config.batch * config.images for config in experiment.arms.values())
        for config in experiment.arms.values():
            assert list_problems(config) == []
            changed = {name: getattr(config, name) for name in varied}
            assert asdict(config) == asdict(first) | changed
            assert whole - 1 <= config.batch * config.images <= whole


def test_parts_have_the_arms_seeds_and_lengths_that_the_results_name() -> None:
    full = list_experiments(False)
    assert {part: len(e.seeds) for part, e in full.items()} == {
        **{"digits": 6, "seen": 3},
        **{"mnist": 3, "short": 1},
    }
    assert {name: c.arm for name, c in full["digits"].arms.items()} == ARMS
    assert [*full["mnist"].arms] == [SIT, ARFLOW, FREE_SIT, FREE_ARFLOW]
    assert full["mnist"].run == "flow:mnist"
    assert {c.epochs for c in full["mnist"].arms.values()} == {2}
    assert [c.images for c in full["short"].arms.values()] == [2, 3]
    assert [c.batch for c in full["short"].arms.values()] == [20, 13]
    assert {part: next(iter(e.arms.values())).lent for part, e in full.items()} == {
        **{"digits": True, "seen": False},
        **{"mnist": False, "short": False},
    }
    assert (MNIST.train, MNIST.steps) == (25_000, 10)
    assert full["digits"].arms[SIT].epochs == tiny().epochs == 14


def test_arms_stand_beside_sit_of_as_many_epochs() -> None:
    parts = list_experiments(False)
    assert parts["digits"].beside == {
        **{ARFLOW: (SIT,), FREE_SIT: (SIT,)},
        **{FREE_ARFLOW: (FREE_SIT,), GROUPED: (SIT,)},
    }
    assert parts["seen"].beside == {
        f"{ARFLOW}, {epochs} epochs": (f"{SIT}, {epochs} epochs",) for epochs in (3, 9, 27)
    }
    assert parts["short"].beside == {}


def test_costs_of_an_arm() -> None:
    cost = count_cost(list_experiments(False)["digits"].arms[SIT], {})
    assert cost["calls"] == 25
    assert cost["images seen"] == 14 * (3500 // 40) * 40
    assert cost["parameters"] == 104_740

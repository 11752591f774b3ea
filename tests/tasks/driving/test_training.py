from dataclasses import replace

import pytest
import torch
from driving_windows import make_window, small_config

from neuro.base.seeds import seeded
from tasks.driving.batch import DrivingBatch, make_batch
from tasks.driving.config import MAPPERS, DrivingConfig, Phase, find_phase
from tasks.driving.model import TASKS, Driver
from tasks.driving.presets import paper, small
from tasks.driving.task import compute_loss, list_frozen, list_tasks, make_schedule, plan

SMALL = small_config()


@pytest.fixture(scope="module")
def batch() -> DrivingBatch:
    return make_batch([make_window(SMALL, seed) for seed in range(2)])


def test_phases_follow_each_other_at_whole_epochs() -> None:
    config = small()
    total, begin = config.epochs, 0
    for phase in config.phases:
        for step in range(7 * phase.epochs):
            found, share = find_phase(config, (begin + step / 7) / total)
            assert found is phase
            assert share == pytest.approx(step / 7 / phase.epochs, abs=1e-8)
        begin += phase.epochs
    assert find_phase(config, 1.0) == (config.phases[-1], 1.0)


def test_stages_of_the_plan_are_the_phases_and_add_up() -> None:
    for config in (small(), paper(), SMALL):
        with torch.device("meta"):
            names = [n for n, p in Driver(config).named_parameters() if p.requires_grad]
        plan(config).check_stages(names, 10)
        assert [s.name for s in plan(config).stages] == [p.name for p in config.phases]


def test_the_weights_of_the_end_are_kept_not_those_nearest_to_recorded_paths() -> None:
    assert plan(small()).keep == "last"


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(
            SMALL, phases=tuple(replace(p, frozen=()) for p in SMALL.phases), depth_loss=False
        ),
    ],
)
def test_each_phase_trains_all_that_is_not_frozen_and_nothing_else(
    config: DrivingConfig, batch: DrivingBatch
) -> None:
    stages = plan(config).stages
    for k, phase in enumerate(config.phases):
        with seeded(0):
            model = Driver(config)
            torch.nn.init.normal_(model.planner.refinement.end.weight)
        for name, p in model.named_parameters():
            p.requires_grad_(p.requires_grad and not stages[k].is_frozen(name))
        with seeded(0):
            compute_loss(config, model, batch, (k + 0.1) / 3).backward()
        missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not missing, (phase.name, missing)


def test_tasks_of_a_phase() -> None:
    single, first, second, third = small().phases
    assert single.past == 1
    now = ("vehicle", "pedestrian", "lane", "drivable")
    assert list_tasks(small(), single) == (*now, "depth")
    assert list_tasks(small(), first) == now
    assert list_tasks(small(), second) == TASKS[:8]  # the encoder stays, and depth with it
    assert list_tasks(small(), third) == ("choice", "path")  # displaced, with heads that stay
    assert list_tasks(SMALL, SMALL.phases[-1]) == (*TASKS[:7], "choice", "path")
    assert "depth" not in list_tasks(replace(small(), depth_loss=False), single)
    assert list_tasks(paper(), paper().phases[1]) == TASKS[:7]


def test_frozen_are_the_parts_named_and_those_without_use() -> None:
    single, first, second, third = (set(list_frozen(small(), p)) for p in small().phases)
    assert {"prediction.*", "planner.*", "heads.parts.cost.*", "balance.flow"} <= single
    assert not {"encoder.*", "heads.parts.lane.*", "balance.depth"} & single
    assert first == {*single, "encoder.*", "balance.depth"}
    assert {"encoder.*", "planner.*", "heads.parts.cost.*", "balance.depth"} <= second
    assert "prediction.*" not in second
    assert {f"{part}.*" for part in MAPPERS} <= third
    assert {"balance.lane", "balance.depth", "balance.motion"} <= third
    assert not {"heads.parts.cost.*", "planner.*", "balance.choice", "balance.path"} & third
    parts = {"encoder.*", "prediction.*", "decoder.*"}
    third = set(list_frozen(SMALL, SMALL.phases[-1]))
    assert third == {*parts, "balance.depth", "balance.motion"}


def test_the_learning_rate_rises_and_falls_in_each_phase() -> None:
    phases = tuple(
        Phase(name=p.name, futures=p.futures, epochs=2, lr=lr)
        for p, lr in zip(SMALL.phases, (1e-2, 4e-3, 2e-3), strict=True)
    )
    config = replace(SMALL, phases=phases)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    schedule = make_schedule(config, optimizer, 60)
    rates = []
    for _ in range(60):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    for k, peak in enumerate((1e-2, 4e-3, 2e-3)):
        own = rates[20 * k : 20 * k + 20]
        assert own[0] < 1e-6 * peak
        assert max(own) == pytest.approx(peak, rel=0.05)
        assert own.index(max(own)) == 2
        assert own[-1] < 0.01 * peak


@pytest.mark.slow
def test_one_batch_can_be_learned_by_heart(batch: DrivingBatch) -> None:
    with seeded(0):
        model = Driver(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for k in range(12):
        with seeded(k):
            loss = compute_loss(SMALL, model, batch, 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]

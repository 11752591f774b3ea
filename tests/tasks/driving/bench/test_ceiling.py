"""Planners with true maps: what they are told, and what they take from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving_runs import SMALL, make_run, put_small
from driving_windows import make_window
from shapely.geometry import LineString, box as rectangle

from drivers.nuscenes.box import make_box
from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.world.instant import Ego, WorldInstant
from tasks.driving.batch import make_seen
from tasks.driving.bench import ceiling
from tasks.driving.bench.ceiling import (
    ARMS,
    KNOWN,
    WEIGHTS,
    draw_surroundings,
    inform_run,
    limit_speed,
    list_ceiling,
    make_ceiling_planner,
    set_arm,
)
from tasks.driving.bench.entrants import (
    Comparison,
    digest_trained,
    load_planner,
    open_comparison,
)
from tasks.driving.config import DrivingConfig
from tasks.driving.presets import paper, small

# The car stands at (100, 50) and looks to the north; a road of 8 m runs there, with a divider.
ROAD = RoadMap(
    location="boston-seaport",
    size=(200.0, 200.0),
    drivable=[rectangle(96, 0, 104, 200)],
    lanes={},
    lane_dividers=[LineString([(100, 0), (100, 200)])],
    road_dividers=[],
    crossings=[],
    walkways=[],
    stop_lines=[],
)
CAR = make_box("car", "vehicle.car", (100.0, 62.0, np.pi / 2), (4.0, 2.0, 1.5), 4.0)
CONE = make_box("cone", "movable_object.trafficcone", (100.0, 55.0, 0.0), (0.5, 0.5, 1.0), 0.0)


def see(*boxes: object) -> WorldInstant:
    ego = Ego(x=100.0, y=50.0, yaw=np.pi / 2, speed=4.0)
    return WorldInstant(time=0.0, ego=ego, boxes=boxes, braking=frozenset(), lights=())  # type: ignore[arg-type]


def cells_of(config: DrivingConfig, mask: torch.Tensor) -> np.ndarray:
    """Return the middles of the cells of a mask of the grid or of the road."""
    grid = config.grid if mask.shape == config.grid.shape else config.road
    return grid.centres()[mask.bool().numpy()]


def test_others_go_on_with_constant_velocity() -> None:
    found = draw_surroundings(small(), see(CAR, CONE), ROAD)
    assert found.occupied.shape == (1, 6, 48, 48)
    for k, frame in enumerate(found.occupied[0]):
        x, y = cells_of(small(), frame).T
        assert x.mean() == pytest.approx(12 + 2 * (k + 1), abs=0.51)  # by 2 m each half second
        assert np.abs(y).max() < 1.6
    assert not draw_surroundings(small(), see(CONE), ROAD).occupied.any()  # as the labels


@pytest.mark.parametrize("step", [1.0, 0.5])
def test_the_road_is_that_of_the_map_at_the_edge_of_its_cells(step: float) -> None:
    config = set_arm(small(), "target", step)
    found = draw_surroundings(config, see(), ROAD)
    assert found.drivable.shape == (1, round(48 / step), round(48 / step))
    assert found.lane.shape == (1, 48, 48)
    road, lane = (cells_of(config, m[0])[:, 1] for m in (found.drivable, found.lane))
    assert np.abs(road).max() == 4 - step / 2
    assert len(road) == round(48 / step) * round(8 / step)
    assert 0 < np.abs(lane).max() < 1.6


def test_cells_of_the_road_divide_those_of_any_grid() -> None:
    assert set_arm(paper(), "target", 0.5).road.step == 0.5  # its grid has cells of 0.5 m
    assert set_arm(paper(), "target", 0.25).road.step == 0.25
    for step in (1.0, 0.4):
        with pytest.raises(ValueError, match=f"road of {step:g} m do not divide .* 0.5 m; n"):
            set_arm(paper(), "target", step)
    found = list_ceiling(Comparison(runs={"driving:paper": ()}, config=paper()))
    assert [e.name for e in found] == [
        f"true maps, {navigation}, road in cells of 0.5 m"
        for navigation in ("command", "target")
    ]


def test_what_changes_the_plans_of_an_arm_makes_it_another_entrant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def list_digests(config: DrivingConfig) -> set[str]:
        found = list_ceiling(Comparison(runs={"driving:small": ()}, config=config))
        return {e.digest for e in found}

    before = list_digests(small())
    shorter = replace(small(), future=5, phases=(replace(small().phases[-1], futures=5),))
    assert before.isdisjoint(list_digests(shorter))
    monkeypatch.setattr(ceiling, "WEIGHTS", {**WEIGHTS, "comfort": 0.5})
    assert before.isdisjoint(list_digests(small()))


def test_a_place_costs_what_lies_beyond_the_way_at_the_limit() -> None:
    grid = small().grid
    found = limit_speed(grid, 2)
    i, j = grid.cells(np.array([9.5, 0.5]))
    away = np.hypot(9.5, 0.5)  # 4 m are reached in half a second, 8 m in one
    assert found[:, i, j].tolist() == pytest.approx([away - 4, away - 8])
    assert not found[:, *grid.cells(np.array([3.5, 0.5]))].any()


def test_a_ceiling_planner_stays_on_the_road_and_stops_behind_a_car() -> None:
    arm = set_arm(small(), "target", 0.5)
    plan = make_ceiling_planner(arm).plan
    seen = make_seen([make_window(SMALL)])
    seen = seen._replace(
        ego=seen.ego._replace(speed=torch.tensor([4.0]), target=torch.tensor([[12.0, 0.0]]))
    )
    free, blocked = (
        plan(seen, see(*boxes), ROAD)
        for boxes in ((), (replace(CAR, x=100.0, y=58.0, vy=0.0),))
    )
    assert free.shape == (1, 6, 3)
    assert free[0, :, 1].abs().max() < 1.0
    assert free[0, -1, 0] > blocked[0, -1, 0] + 2
    assert blocked[0, -1, 0] + 1.44 + 2.042 < 8 - 2  # its front stays behind the rear


@pytest.mark.slow
def test_a_run_may_be_given_some_of_the_true_maps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    identity = digest_trained(run)
    seen = make_seen([make_window(SMALL)])
    plain = load_planner(run, identity)
    driver = plain.model
    true = draw_surroundings(SMALL, see(CAR), ROAD)
    assert torch.equal(inform_run(run, identity, ()).plan(seen, see(CAR), ROAD), plain(seen))
    for names in KNOWN.values():
        path = inform_run(run, identity, names).plan(seen, see(CAR), ROAD)
        with torch.no_grad():
            maps = driver(seen, known={name: getattr(true, name) for name in names})
        assert torch.equal(path, maps.plan.path)
        assert not torch.equal(maps.plan.costs.total, driver(seen).plan.costs.total)


def test_there_is_each_arm_once_and_each_run_with_each_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_small(monkeypatch)
    comparison = open_comparison([make_run(tmp_path / f"{k}", seed=k) for k in (0, 1)])
    found = list_ceiling(comparison)
    assert [(e.name, e.seed) for e in found] == [
        *((f"true maps, {n}, road in cells of {s:g} m", 0) for n, s in ARMS),
        *((f"driving:small, true {what}", seed) for seed in (0, 1) for what in KNOWN),
    ]
    assert len({e.digest for e in found}) == len(found)
    assert all((e.size is None) == e.name.startswith("true") for e in found)

"""The way ahead of recorded drives: on lanes, without the times of the drive."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import LineString, Polygon

from drivers.nuscenes.geometry import leave_frame
from drivers.nuscenes.lane_graph import LaneGraph, make_lane_graph
from drivers.nuscenes.road_map import Lane
from drivers.nuscenes.route import find_route
from drivers.nuscenes.window import ROUTE_LENGTH, find_target, measure_foresight, name_command
from drivers.nuscenes.world.drive import locate_target
from drivers.nuscenes.world.lane_table import LaneTable
from drivers.nuscenes.world.populate import populate
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.state import EGO, World, WorldState
from drivers.nuscenes.world.traffic import step_traffic

WIDTH = 3.5
RADIUS = 10.0  # [m] of the turns


def straight(x0: float, x1: float, y: float = 0.0) -> np.ndarray:
    x = np.linspace(x0, x1, round(2 * (x1 - x0)) + 1)
    return np.stack([x, np.full_like(x, y), 0 * x], 1)


def bend(side: int) -> np.ndarray:
    """Return a quarter of a circle from (50, 0) to the left (1) or to the right (-1)."""
    a = np.linspace(0, np.pi / 2, 41)
    x, y = 50 + RADIUS * np.sin(a), side * RADIUS * (1 - np.cos(a))
    return np.stack([x, y, side * a], 1)


def leave(side: int) -> np.ndarray:
    """Return a road of 60 m that leads aside, behind a bend."""
    y = side * (RADIUS + np.linspace(0, 60, 121))
    return np.stack([np.full_like(y, 50 + RADIUS), y, np.full_like(y, side * np.pi / 2)], 1)


def make_graph(*lanes: tuple[str, np.ndarray, tuple[str, ...]]) -> LaneGraph:
    return make_lane_graph(
        {
            token: Lane(token=token, polygon=Polygon(), centreline=line, outgoing=outgoing)
            for token, line, outgoing in lanes
        }
    )


# Two lanes side by side to x = 50, where the right one forks; opposite traffic beside them.
JUNCTION = make_graph(
    ("in", straight(0, 50), ("to left", "through", "to right")),
    ("beside", straight(0, 50, WIDTH), ("beside through",)),
    ("beside through", straight(50, 70, WIDTH), ("beside on",)),
    ("beside on", straight(70, 200, WIDTH), ()),
    ("to left", bend(1), ("left",)),
    ("through", straight(50, 70), ("on",)),
    ("to right", bend(-1), ("right",)),
    ("left", leave(1), ()),
    ("on", straight(70, 120), ()),
    ("right", leave(-1), ()),
    ("opposite", np.add(straight(0, 50, 2 * WIDTH)[::-1], [0, 0, np.pi]), ()),
)
WAYS = {
    "left": np.concatenate([straight(10, 50), bend(1), leave(1)]),
    "forward": straight(10, 120),
    "right": np.concatenate([straight(10, 50), bend(-1), leave(-1)]),
}
EMPTY = make_graph()


def drive(way: np.ndarray, at: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the poses at distances along a way of (x, y, yaw)."""
    along = np.concatenate([[0], np.hypot(*np.diff(way[:, :2], axis=0).T).cumsum()])
    return np.stack([np.interp(at, along, way[:, k]) for k in range(3)], 1)


def shift(poses: np.ndarray, aside: float | np.ndarray) -> np.ndarray:
    """Return poses moved to their left."""
    x, y, yaw = poses.T
    return np.stack([x - aside * np.sin(yaw), y + aside * np.cos(yaw), yaw], 1)


def find_global(graph: LaneGraph, poses: np.ndarray) -> np.ndarray:
    """Return the points of a route in the global frame."""
    route = find_route(graph, poses).astype(np.float64)
    return leave_frame(np.column_stack([route, np.zeros(len(route))]), poses[0])[:, :2]


def test_a_route_is_61_points_a_metre_apart_from_beside_the_car() -> None:
    route = find_route(JUNCTION, shift(drive(WAYS["forward"], [0, 4, 8, 12]), 0.5))
    assert route.dtype == np.float32
    assert len(route) == ROUTE_LENGTH + 1 == 61
    np.testing.assert_allclose(route, [[k, -0.5] for k in range(61)], atol=1e-5)


@pytest.mark.parametrize("turn", ["left", "forward", "right"])
def test_the_route_takes_the_turn_of_the_drive(turn: str) -> None:
    poses = drive(WAYS[turn], np.arange(0, 95, 3.0))
    expected = drive(WAYS[turn], np.arange(61.0))
    np.testing.assert_allclose(find_global(JUNCTION, poses), expected[:, :2], atol=0.02)
    late = drive(WAYS[turn], np.arange(38, 95, 3.0))  # 2 m before the junction
    assert name_command(find_target(find_route(JUNCTION, late), 4.0)) == turn


STEPS = st.lists(st.floats(0.0, 4.0), min_size=5, max_size=20).filter(lambda s: sum(s) > 1)


@settings(max_examples=20)
@given(steps=STEPS, aside=st.floats(-0.9, 0.9), turn=st.sampled_from(sorted(WAYS)))
def test_neither_speed_nor_stops_nor_the_place_in_the_lane_change_the_route(
    steps: list[float], aside: float, turn: str
) -> None:
    """Any speeds up to 8 m/s along the same way, repeated to its end."""
    at = np.concatenate([[0.0], np.cumsum(steps * 90)])
    at = at[at < 90]
    steady = find_global(JUNCTION, drive(WAYS[turn], np.arange(0.0, 90.1, 2.0)))
    other = find_global(JUNCTION, shift(drive(WAYS[turn], at), aside))
    np.testing.assert_allclose(other, steady, atol=0.01)


def test_a_car_that_waits_before_its_turn_is_told_the_turn() -> None:
    """For longer than the future of any window."""
    waits = np.concatenate([np.full(20, 35.0), np.arange(36, 80, 1.5)])
    trembling = drive(WAYS["left"], waits)
    trembling[:20, :2] += np.random.default_rng(0).normal(0, 0.05, (20, 2))
    trembling[:20, 2] += np.random.default_rng(1).normal(0, 0.01, 20)
    route = find_route(JUNCTION, trembling)
    assert name_command(find_target(route, 0.0)) == "forward"
    assert name_command(find_target(route, 4.0)) == "left"
    assert route[40, 1] > 20


def test_a_change_of_lane_is_made_within_five_metres_between_the_lanes() -> None:
    x = np.arange(2.0, 130.0, 3.0)
    y = WIDTH * np.clip((x - 10) / 30, 0, 1)  # over the line at 25 m
    poses = np.stack([x, y, 0 * x], 1)
    route = find_global(JUNCTION, poses)
    assert route[:, 1].min() > -1e-5
    assert route[:, 1].max() < WIDTH + 1e-5
    between = route[(route[:, 1] > 0.01) & (route[:, 1] < WIDTH - 0.01), 0]
    assert 20 < between.min() < between.max() < 32
    assert np.ptp(between) < 5
    assert np.allclose(route[route[:, 0] > 33, 1], WIDTH, atol=1e-5)
    apart = np.hypot(*np.diff(route, axis=0).T)
    assert apart.max() < 1 + 1e-4
    assert apart.min() > 0.7


def test_a_drive_that_avoids_an_obstacle_stays_in_its_lane() -> None:
    x = np.arange(2.0, 130.0, 3.0)
    y = 1.6 * np.exp(-(((x - 30) / 8) ** 2))
    route = find_global(JUNCTION, np.stack([x, y, 0 * x], 1))
    np.testing.assert_allclose(route[:, 1], 0, atol=1e-5)


def test_behind_the_end_of_the_recording_the_straightest_lane_continues() -> None:
    for end in (3.0, 20.0, 40.0):  # on "in", whose outgoing lanes are three
        poses = drive(WAYS["left"], np.append(np.arange(0.0, end, 2.0), end)[: int(end)])
        route = find_global(JUNCTION, poses)
        np.testing.assert_allclose(route[:, 1], 0, atol=1e-5)
    standing = find_global(JUNCTION, np.repeat(drive(WAYS["left"], [5.0]), 4, 0))
    np.testing.assert_allclose(standing, [[15 + k, 0] for k in range(61)], atol=1e-5)
    turning = find_global(JUNCTION, drive(WAYS["left"], np.arange(30.0, 55.0, 2.0)))
    expected = drive(WAYS["left"], np.arange(30.0, 91.0))[:, :2]
    np.testing.assert_allclose(turning, expected, atol=0.02)


def test_behind_the_last_lane_the_route_goes_straight_on() -> None:
    route = find_route(JUNCTION, drive(straight(100, 120), [0, 5, 10, 15]))
    np.testing.assert_allclose(route, [[k, 0] for k in range(61)], atol=1e-5)


def test_without_lanes_the_route_is_the_driven_way_and_goes_straight_on() -> None:
    for graph in (EMPTY, JUNCTION):
        way = WAYS["left"] + [0.0, 100.0, 0.0]
        poses = drive(way, np.arange(0.0, 52.1, 1.0))
        found = find_global(graph, poses)
        expected = drive(way, np.arange(53.0))[:, :2]
        np.testing.assert_allclose(found[:53], expected, atol=0.05)
        ahead = np.diff(found[53:], axis=0)
        np.testing.assert_allclose(ahead, np.broadcast_to(ahead[0], ahead.shape), atol=1e-4)
    standing = find_route(EMPTY, np.repeat([[3.0, 4.0, 1.0]], 9, 0))
    np.testing.assert_allclose(standing, [[k, 0] for k in range(61)], atol=1e-5)


def test_a_lane_that_continues_itself_is_driven_as_often_as_it_was() -> None:
    turn = np.linspace(0, 2 * np.pi, 241)
    circle = np.stack([6 * np.sin(turn), 6 * (1 - np.cos(turn)), turn], 1)
    graph = make_graph(("circle", circle, ("circle", "out")), ("out", straight(0, 90), ()))
    way = np.concatenate([circle[30:], circle[1:], straight(0, 90)[1:]])
    poses = drive(way, np.arange(0.0, 120.0, 1.5))
    route = find_global(graph, poses)
    # Seven eighths of a lap of 37.7 m, and most of the next one.
    assert np.linalg.norm(route - [0, 6], axis=1) == pytest.approx(6, abs=0.1)
    end = 2 * np.pi * 30 / 240 + 60 / 6
    assert route[-1] == pytest.approx([6 * np.sin(end), 6 - 6 * np.cos(end)], abs=0.1)


def test_lanes_of_another_heading_do_not_count() -> None:
    across = np.array([[25.0, y, np.pi / 2] for y in np.arange(-30.0, 60.0, 2.0)])
    route = find_route(JUNCTION, across)
    np.testing.assert_allclose(route, [[k, 0] for k in range(61)], atol=1e-5)
    against = drive(WAYS["forward"], [40.0])[:, :2] - [[2.0 * k, 0] for k in range(20)]
    backwards = np.column_stack([against, np.full(20, np.pi)])
    route = find_route(JUNCTION, shift(backwards, 0.4))
    np.testing.assert_allclose(route, [[k, 0] for k in range(61)], atol=1e-5)


def test_a_standing_car_is_on_a_lane_within_45_degrees_of_its_heading() -> None:
    for turned, ends in ((40, [90.0, 0.0]), (50, None)):
        pose = np.array([30.0, 0.0, np.radians(turned)])
        ahead = 60 * np.array([np.cos(pose[2]), np.sin(pose[2])])
        route = find_global(JUNCTION, np.repeat(pose[None], 4, 0))
        np.testing.assert_allclose(route[0], [30, 0], atol=1e-5)
        np.testing.assert_allclose(route[-1], ends or pose[:2] + ahead, atol=1e-5)


def test_the_way_leads_from_a_car_park_onto_the_lane() -> None:
    yard = np.array([[25.0, y, np.pi / 2] for y in np.linspace(-20, -4, 17)])
    a = np.linspace(0, np.pi / 2, 9)
    corner = np.stack([29 - 4 * np.cos(a), -4 + 4 * np.sin(a), np.pi / 2 - a], 1)
    way = np.concatenate([yard, corner[1:], straight(29.5, 110)])
    route = find_global(JUNCTION, drive(way, np.arange(0.0, 90.0, 2.0)))
    np.testing.assert_allclose(route[:15, 0], 25, atol=0.05)
    np.testing.assert_allclose(route[28:, 1], 0, atol=1e-4)
    away = shapely.distance(LineString(way[:, :2]), shapely.points(route))
    assert away.max() < 1.0  # the corner is cut where the lane begins
    assert np.hypot(*np.diff(route, axis=0).T).min() > 0.7


def test_a_recording_ends_at_a_hole() -> None:
    at = [*np.arange(0.0, 30.0, 2.0), *np.arange(70.0, 100.0, 2.0)]
    route = find_global(JUNCTION, drive(WAYS["left"], at))
    np.testing.assert_allclose(route[:, 1], 0, atol=1e-5)


def simulate(seed: int) -> tuple[World, list[WorldState]]:
    """Return the states of a generated drive of 16 s, half a second apart."""
    roads = make_roads([7, seed])
    world, state = populate(roads, seed)
    states = []
    for step in range(160):
        if step % 5 == 0:
            states.append(state)
        state = step_traffic(world, state)
    return world, states


def keeps_lane(table: LaneTable, states: list[WorldState]) -> bool:
    """Return whether an ego in the middle of its lane goes on without a change of lanes."""
    lanes = [int(state.route[EGO, 0]) for state in states]
    linked = [a == b or b in table.outgoing[a] for a, b in pairwise(lanes)]
    return all(linked) and abs(states[0].aside[EGO]) < 0.5


@pytest.mark.slow
def test_recorded_targets_are_those_of_the_navigation() -> None:
    compared, commands = 0, set()
    for seed in (4, 18):
        world, states = simulate(seed)
        graph = make_lane_graph(world.roads.map.lanes)
        poses = np.array([[s.ego.x, s.ego.y, s.ego.yaw] for s in states])
        along = np.concatenate([[0], np.hypot(*np.diff(poses[:, :2], axis=0).T).cumsum()])
        for k, state in enumerate(states):
            far = measure_foresight(state.ego.speed)
            if along[-1] - along[k] < far + 5 or not keeps_lane(world.table, states[k:]):
                continue
            found = find_target(find_route(graph, poses[k:]), state.ego.speed)
            assert found == pytest.approx(locate_target(world, state), abs=0.3)
            assert name_command(found) == name_command(locate_target(world, state))
            compared += 1
            commands.add(name_command(found))
    assert compared > 30
    assert commands == {"left", "forward", "right"}

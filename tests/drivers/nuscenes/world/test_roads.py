"""Places are whole: lanes lead on, areas fit, and nobody has green against another."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from shapely import unary_union
from shapely.geometry import LineString, Point

from drivers.nuscenes.world.network import make_network
from drivers.nuscenes.world.roads import Roads, make_roads

SEEDS = range(6)
place = cache(make_roads)
each_place = pytest.mark.parametrize("seed", SEEDS)


@each_place
def test_every_lane_leads_on_to_lanes_that_begin_where_it_ends(seed: int) -> None:
    lanes = place(seed).map.lanes
    for lane in lanes.values():
        assert lane.outgoing
        for after in lane.outgoing:
            assert lane.token in lanes[after].incoming
            here, there = lane.centreline[-1], lanes[after].centreline[0]
            np.testing.assert_allclose(here[:2], there[:2], atol=1e-9)
            assert abs(np.sin((here[2] - there[2]) / 2)) < 0.02
        for before in lane.incoming:
            assert lane.token in lanes[before].outgoing


@each_place
def test_centrelines_are_even_smooth_and_drivable(seed: int) -> None:
    for lane in place(seed).map.lanes.values():
        x, y, yaw = lane.centreline.T
        step = np.hypot(np.diff(x), np.diff(y))
        assert 0.45 < step.min() <= step.max() < 0.55
        assert np.abs(np.diff(yaw) / step).max() < 1 / 5  # a car turns on 5 m
        middle = (yaw[1:] + yaw[:-1]) / 2
        np.testing.assert_allclose(np.diff(x) / step, np.cos(middle), atol=0.01)
        np.testing.assert_allclose(np.diff(y) / step, np.sin(middle), atol=0.01)
        assert lane.polygon.contains(Point(*lane.centreline[len(x) // 2, :2]))


@each_place
def test_lanes_junctions_and_crossings_are_drivable_and_walkways_are_not(seed: int) -> None:
    road_map = place(seed).map
    drivable = unary_union(road_map.drivable).buffer(0.3)
    inside = [lane.polygon for lane in road_map.lanes.values()]
    inside += [*road_map.intersections, *road_map.stop_lines]
    for area in inside:
        assert area.is_valid
        assert area.difference(drivable).area < 0.5
    for area in road_map.walkways:
        assert area.intersection(unary_union(road_map.drivable)).area < 1e-6
    width, height = road_map.size
    x0, y0, x1, y1 = drivable.bounds
    assert min(x0, y0, width - x1, height - y1) > 30


@each_place
def test_neighbours_are_lanes_of_one_direction_side_by_side(seed: int) -> None:
    roads = place(seed)
    assert {b: a for a, b in roads.left.items()} == roads.right
    assert roads.left  # each of these places has a road of two lanes
    for token, left in roads.left.items():
        here, there = (roads.map.lanes[t].centreline[0] for t in (token, left))
        across = (there - here)[:2] @ [-np.sin(here[2]), np.cos(here[2])]
        assert 3.3 <= across <= 3.7
        divider = roads.map.lanes[token].left
        assert divider is not None
        assert divider.equals(roads.map.lanes[left].right)


@each_place
def test_ways_that_cross_are_conflicts_on_both_sides(seed: int) -> None:
    roads = place(seed)
    ways = {t: lane for t, lane in roads.map.lanes.items() if lane.connector}
    assert set(roads.conflicts) == set(ways)
    lines = {t: LineString(way.centreline[:, :2]) for t, way in ways.items()}
    for token, others in roads.conflicts.items():
        for other in set(ways) - {token}:
            assert (other in others) == (token in roads.conflicts[other])
            same = ways[token].incoming == ways[other].incoming
            if same:
                assert other not in others
            elif lines[token].crosses(lines[other]):
                assert other in others


def test_lights_give_green_to_opposite_arms_alone_then_yellow_then_red() -> None:
    roads = next(r for r in map(place, range(20)) if r.signals)
    signal = roads.signals[0]
    at = signal.start + np.array([0.01, signal.green - 0.01, signal.green + 0.01])
    assert [signal.colour_at(t) for t in at] == ["green", "green", "yellow"]
    assert signal.colour_at(signal.start + signal.green + 2.51) == "red"
    assert signal.colour_at(signal.start - 0.01) == "red"
    light = signal.light_at(signal.start + 0.01)
    assert (light.x, light.y, light.lanes) == (signal.x, signal.y, signal.lanes)
    for time in np.arange(0, 40, 0.5):
        going = [
            roads.map.lanes[s.lanes[0]].centreline[-1]
            for s in roads.signals
            if s.colour_at(time) != "red"
        ]
        for a in going:
            for b in going:
                if np.hypot(*(a - b)[:2]) < 40:  # of the same junction
                    assert abs(np.cos(a[2] - b[2])) > 0.5


def test_walks_cross_the_road_between_two_walkways() -> None:
    for seed in SEEDS:
        for walk in place(seed).walks:
            line = LineString(walk.points)
            drivable = unary_union(place(seed).map.drivable)
            middle = line.interpolate((walk.enter + walk.leave) / 2)
            assert 6 < walk.leave - walk.enter < 26
            assert unary_union(place(seed).map.drivable).buffer(3.1).contains(middle)
            for end in (walk.enter - 1.0, walk.leave + 1.0):
                assert not drivable.contains(line.interpolate(end))


def test_a_seed_makes_one_place() -> None:
    def numbers(roads: Roads) -> np.ndarray:
        return np.concatenate([lane.centreline for lane in roads.map.lanes.values()])

    here, again = make_roads(3), make_roads(3)
    assert np.array_equal(numbers(here), numbers(again))
    assert not np.array_equal(numbers(here)[:40], numbers(place(4))[:40])


def test_places_differ_in_heading_lanes_and_topology() -> None:
    networks = [make_network(np.random.default_rng(seed)) for seed in range(40)]
    assert {len(n.junctions) for n in networks} >= {2, 4, 5}
    lanes = {road.lanes for n in networks for road in n.roads}
    assert {(1, 1), (2, 2), (3, 3)} <= lanes
    first = [n.roads[0].line[0, 2] for n in networks]
    assert np.histogram(np.mod(first, np.pi), 6, (0, np.pi))[0].min() > 0
    turns = [np.abs(np.diff(r.line[:, 2])).max() / 0.5 for n in networks for r in n.roads]
    assert 1 / 60 < np.median(turns) < max(turns) < 1 / 15  # radii [m]


def test_stop_lines_lie_where_drivers_wait() -> None:
    for lane in place(0).map.lanes.values():
        if lane.connector:
            assert np.isnan(lane.stop_line)
            continue
        length = sum(np.hypot(*(b - a)[:2]) for a, b in pairwise(lane.centreline))
        assert 0.999 < length - lane.stop_line < 5.301
        i = round(lane.stop_line / 0.5)
        at = Point(*lane.centreline[i, :2])
        assert min(area.distance(at) for area in place(0).map.stop_lines) < 0.1

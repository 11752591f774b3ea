"""Lanes beside each other along a road, straight in exact numbers, bent by laws."""

import numpy as np
import pytest
from shapely.geometry import LineString

from drivers.nuscenes.road_map import Lane
from drivers.nuscenes.world.network import (
    Line,
    Road,
    lay_lanes,
    make_strip,
    measure,
    paint_stop_line,
    resample,
    reverse,
)

STRAIGHT = resample(np.array([[0.0, 0.0], [100.0, 0.0]]))
ROAD = Road(start=0, end=1, line=STRAIGHT, lanes=(2, 1), width=3.5, median=2.0, speed=11.0)
STOPS = [(60.0, 5.0), (100.0, 1.0)]  # two sections, 60 and 40 m long


def bend(radius: float, angle: float) -> Line:
    """Return an arc to the left from (0, 0) ahead along x."""
    turned = np.linspace(0, angle, 400)
    return resample(np.stack([radius * np.sin(turned), radius * (1 - np.cos(turned))], 1))


def coordinates(line: LineString | None) -> np.ndarray:
    assert line is not None
    return np.array(line.coords)


def test_the_length_of_a_line_is_that_of_its_steps() -> None:
    assert measure(np.array([[0.0, 0, 0], [3, 4, 9], [3, 10, -9]])) == 11.0


def test_a_strip_lies_between_two_distances_to_the_left() -> None:
    strip = make_strip(STRAIGHT, 1.0, -2.0)
    assert strip.bounds == pytest.approx((0.0, -2.0, 100.0, 1.0))
    assert strip.area == pytest.approx(300.0)
    # A ring: (R + 2)^2 - (R - 1)^2 of R = 30 over half the angle; left is inside.
    ring = make_strip(bend(30.0, 1.0), 1.0, -2.0)
    assert ring.area == pytest.approx((32**2 - 29**2) / 2, rel=1e-3)
    assert ring.is_valid


def test_lanes_lie_side_by_side_from_the_middle_outward() -> None:
    sections = lay_lanes(ROAD, STRAIGHT, True, "road-0", STOPS)
    assert [[lane.token for lane in lanes] for lanes in sections] == [
        ["road-0-0-0", "road-0-0-1"],
        ["road-0-1-0", "road-0-1-1"],
    ]
    for lanes, (first, last) in zip(sections, ((0.0, 60.0), (60.0, 100.0)), strict=True):
        for lane, (inner, outer) in zip(lanes, ((-1.0, -4.5), (-4.5, -8.0)), strict=True):
            assert lane.polygon.bounds == pytest.approx((first, outer, last, inner))
            middle = [first, (inner + outer) / 2, 0.0], [last, (inner + outer) / 2, 0.0]
            np.testing.assert_allclose(lane.centreline[[0, -1]], middle, atol=1e-9)
            np.testing.assert_allclose(np.diff(lane.centreline[:, 0]), 0.5, atol=1e-9)
            left = coordinates(lane.left)[[0, -1]]
            np.testing.assert_allclose(left, [[first, inner], [last, inner]], atol=1e-9)
            assert (lane.speed_limit, lane.connector) == (11.0, False)
        np.testing.assert_allclose(coordinates(lanes[0].right), coordinates(lanes[1].left))
        assert lanes[1].right is None  # the kerb is not painted
    assert [lane.stop_line for lanes in sections for lane in lanes] == pytest.approx(
        [55.0, 55.0, 39.0, 39.0]
    )


def test_lanes_of_the_other_direction_lie_on_their_right() -> None:
    ((lane,),) = lay_lanes(ROAD, reverse(STRAIGHT), False, "back", [(100.0, 2.0)])
    assert lane.token == "back-0-0"
    assert lane.polygon.bounds == pytest.approx((0.0, 1.0, 100.0, 4.5))
    ends = [[100.0, 2.75], [0.0, 2.75]]
    np.testing.assert_allclose(lane.centreline[[0, -1], :2], ends, atol=1e-9)
    np.testing.assert_allclose(np.cos(lane.centreline[:, 2]), -1)
    assert lane.right is None


def test_in_a_bend_sections_join_and_outer_lanes_are_longer() -> None:
    line = bend(30.0, 1.2)
    one, two = lay_lanes(ROAD, line, True, "bend", [(18.0, 3.0), (36.0, 3.0)])
    for before, after, radius in zip(one, two, (32.75, 36.25), strict=True):
        here, there = before.centreline[-1], after.centreline[0]
        np.testing.assert_allclose(here[:2], there[:2], atol=1e-9)
        assert here[2] == pytest.approx(there[2], abs=0.5 / 30)  # the turn of one step
        length = measure(before.centreline) + measure(after.centreline)
        assert length == pytest.approx(1.2 * radius, rel=1e-3)
        assert before.stop_line == pytest.approx(measure(before.centreline) - 3.0)
        assert before.polygon.intersection(after.polygon).area < 1e-6
    assert one[0].polygon.intersection(one[1].polygon).area < 1e-6


@pytest.mark.parametrize(("at", "first"), [(8.0, 8.0), (8.2, 8.0), (8.3, 8.5)])
def test_a_stop_line_is_half_a_metre_deep_and_as_wide_as_asked_for(
    at: float, first: float
) -> None:
    lane = Lane(
        token="a", polygon=make_strip(STRAIGHT, 1.75, -1.75), centreline=STRAIGHT, stop_line=at
    )
    line = paint_stop_line(lane, 3.5)
    assert line.bounds == pytest.approx((first, -1.75, first + 0.5, 1.75))
    assert line.area == pytest.approx(1.75)

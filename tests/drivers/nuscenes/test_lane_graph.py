"""The graph of centre-lines: what is near, what is ahead."""

from pathlib import Path

import numpy as np
import pytest
from nuscenes_files import LOCATION, ROAD, along, make_map, write_map
from shapely.geometry import Polygon

from drivers.nuscenes.hd_map import load_road_map
from drivers.nuscenes.lane_graph import NONE, make_lane_graph
from drivers.nuscenes.road_map import Lane


def lane(token: str, points: list[tuple[float, float, float]], *outgoing: str) -> Lane:
    return Lane(
        token=token,
        polygon=Polygon(),
        centreline=np.array(points, np.float64).reshape(-1, 3),
        outgoing=outgoing,
    )


FORK = make_lane_graph(
    {
        one.token: one
        for one in (
            lane("in", [(0, 0, 0), (10, 0, 0)], "left", "ahead", "lost", "pathless"),
            lane("left", [(10, 0, 0), (15, 5, np.pi / 2), (15, 10, np.pi / 2)]),
            lane("ahead", [(10, 0, 0), (20, -1, -0.2)], "left"),
            lane("pathless", []),
        )
    }
)


def test_lanes_with_a_path_are_numbered_and_linked() -> None:
    assert FORK.tokens == ("in", "left", "ahead")
    assert FORK.outgoing == ((1, 2), (), (1,))
    np.testing.assert_allclose(FORK.length, [10, np.hypot(5, 5) + 5, np.hypot(10, 1)])


def test_a_fork_continues_straightest() -> None:
    assert FORK.choose_straightest(0) == 2
    assert FORK.choose_straightest(1) == NONE


def test_a_part_of_a_lane_has_its_ends_and_its_corners() -> None:
    np.testing.assert_allclose(FORK.cut(0, 2.5, 10.0), [[2.5, 0], [10, 0]])
    bend = np.hypot(5, 5)
    np.testing.assert_allclose(
        FORK.cut(1, bend / 2, bend + 1), [[12.5, 2.5], [15, 5], [15, 6]], atol=1e-9
    )
    np.testing.assert_allclose(FORK.cut(2, 0.0, 0.0), [[10, 0], [10, 0]])


def test_near_lanes_and_their_headings_are_found() -> None:
    place, found = FORK.find_near(np.array([[5.0, 2.0], [15.0, 11.5], [50.0, 0.0]]), 3.0)
    assert sorted(zip(place.tolist(), found.tolist(), strict=True)) == [(0, 0), (1, 1)]
    yaw = FORK.find_yaw(np.array([0, 1, 1, 2]), np.array([10.0, 0.0, 8.0, 3.0]))
    np.testing.assert_allclose(yaw, [0, 0, np.pi / 2, 0])


def test_a_lane_has_the_headings_of_its_own_ends() -> None:
    """Not those of the lane before it, nor of the point before its end."""
    starts = FORK.find_yaw(np.arange(3), np.zeros(3))
    assert starts.tolist() == [0.0, 0.0, 0.0]
    assert [FORK.find_end_yaw(k) for k in range(3)] == [0.0, np.pi / 2, -0.2]


def test_a_map_without_lanes_is_an_empty_graph() -> None:
    empty = make_lane_graph({})
    assert empty.tokens == ()
    assert [len(part) for part in empty.find_near(np.zeros((2, 2)), 3.0)] == [0, 0]


def test_the_lanes_of_a_file_are_a_graph(tmp_path: Path) -> None:
    write_map(tmp_path, make_map())
    graph = make_lane_graph(load_road_map(tmp_path, LOCATION).lanes)
    assert graph.tokens == ("lane0", "lane_connector0")
    assert graph.outgoing == ((1,), ())
    np.testing.assert_allclose(graph.length, [200, 20])
    np.testing.assert_allclose(graph.cut(0, 0.0, 0.2)[0], along([[-150, -2]])[0])
    assert graph.find_end_yaw(1) == pytest.approx(ROAD)

"""A written map is read again, and is the same to a few centimetres."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jaxtyping import Float64
from shapely.geometry import Polygon
from straight_road import make_scene, make_straight_road

pytest.importorskip("nuscenes")

from nuscenes.map_expansion.arcline_path_utils import discretize_lane

from drivers.nuscenes.hd_map import load_road_map
from drivers.nuscenes.road_map import Lane, RoadMap
from drivers.nuscenes.world.roads import make_roads
from drivers.nuscenes.world.write.expansion import (
    AWAY,
    TOLERANCE,
    Place,
    Row,
    describe_maps,
    find_bounds,
    fit_arcs,
    lay_out,
    round_areas,
)
from drivers.nuscenes.world.write.names import make_token

ROADS = make_roads(5)


@pytest.fixture(scope="module")
def place() -> Place:
    lights = [signal.light_at(0.0) for signal in ROADS.signals]
    (offset,), _ = lay_out([ROADS.map])
    return Place(key="a", road_map=ROADS.map, lights=lights, offset=offset)


@pytest.fixture(scope="module")
def root(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("map")
    path = root / "maps" / "expansion" / "boston-seaport.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(describe_maps([place], (400.0, 300.0))))
    return root


@pytest.fixture(scope="module")
def found(root: Path) -> RoadMap:
    return load_road_map(root, "boston-seaport")


@pytest.mark.parametrize(
    "layer",
    [
        *("drivable", "crossings", "walkways", "stop_lines", "intersections"),
        *("lane_dividers", "road_dividers"),
    ],
)
def test_areas_and_lines_are_the_same(found: RoadMap, place: Place, layer: str) -> None:
    told, read = getattr(ROADS.map, layer), getattr(found, layer)
    assert len(told) == len(read)
    for one, other in zip(told, read, strict=True):
        assert place.shift(one).hausdorff_distance(other) < TOLERANCE + 0.005
        assert other.area == pytest.approx(one.area, rel=0.02)


@pytest.mark.parametrize("seed", [0, 5, 7])
def test_all_areas_are_sound_as_they_are_written(seed: int) -> None:
    (offset,), _ = lay_out([make_roads(seed).map])
    place = Place(key="a", road_map=make_roads(seed).map, lights=[], offset=offset)
    written = describe_maps([place], (400.0, 300.0))
    nodes = {node["token"]: (node["x"], node["y"]) for node in written["node"]}
    for row in written["polygon"]:
        rings = [row["exterior_node_tokens"], *(hole["node_tokens"] for hole in row["holes"])]
        shell, *holes = [[nodes[token] for token in ring] for ring in rings]
        area = Polygon(shell, holes)
        assert area.is_valid
        assert area.area > 0.1


def test_what_is_next_to_nothing_is_left_out() -> None:
    square = Polygon([(0, 0), (9.0004, 0), (9, 9), (0, 9)])
    holes = [[(k, 1), (k + side, 1), (k + side, 1 + side)] for k, side in ((1, 1), (4, 0.01))]
    sliver = Polygon([(0, 0), (9, 0), (9, 0.002)])
    (kept,) = round_areas([Polygon(square.exterior, holes), sliver])
    assert kept.equals(Polygon([(0, 0), (9, 0), (9, 9), (0, 9)], holes[:1]))


def find_token(lane: Lane) -> str:
    return make_token("lane_connector" if lane.connector else "lane", f"a/{lane.token}")


def test_lanes_lead_where_they_led(found: RoadMap, place: Place) -> None:
    assert len(found.lanes) == len(ROADS.map.lanes)
    for lane in ROADS.map.lanes.values():
        read = found.lanes[find_token(lane)]
        assert read.connector == lane.connector
        followers = {find_token(ROADS.map.lanes[token]) for token in lane.outgoing}
        assert set(read.outgoing) == followers
        assert read.polygon.area == pytest.approx(lane.polygon.area, rel=0.03)
        line = lane.centreline + np.array([*place.offset, 0.0])
        gaps = np.linalg.norm(read.centreline[:, None, :2] - line[None, :, :2], axis=2)
        assert gaps.min(axis=1).max() < 0.3  # points half a metre apart
        turned = read.centreline[:, 2] - line[gaps.argmin(axis=1), 2]
        assert np.abs(np.angle(np.exp(1j * turned))).max() < 0.05


def test_a_stop_line_names_the_light_of_its_lane(root: Path) -> None:
    content = json.loads((root / "maps" / "expansion" / "boston-seaport.json").read_text())
    assert len(content["traffic_light"]) == len(ROADS.signals)
    named = [row["traffic_light_tokens"] for row in content["stop_line"]]
    assert {token for tokens in named for token in tokens} == {
        row["token"] for row in content["traffic_light"]
    }


def test_nodes_are_shared_and_all_are_used(root: Path) -> None:
    content = json.loads((root / "maps" / "expansion" / "boston-seaport.json").read_text())
    at = {(row["x"], row["y"]) for row in content["node"]}
    assert len(at) == len(content["node"])
    assert min(min(point) for point in at) >= 0


def test_maps_of_one_location_do_not_touch() -> None:
    maps = [make_straight_road(), ROADS.map, make_straight_road(), make_straight_road()]
    offsets, (width, height) = lay_out(maps)
    squares = []
    for road_map, offset in zip(maps, offsets, strict=True):
        assert (offset == np.round(offset)).all()
        low, high = find_bounds(road_map)
        assert (low + offset >= 0).all()
        assert (high + offset <= [width, height]).all()
        squares.append((*(low + offset), *(high + offset)))
    for i, (x0, y0, x1, y1) in enumerate(squares):
        for u0, v0, u1, v1 in squares[:i]:
            assert x1 < u0 or u1 < x0 or y1 < v0 or v1 < y0


def test_a_light_of_another_map_is_refused() -> None:
    lights = make_scene(2).instants[0].lights
    place = Place(key="c", road_map=ROADS.map, lights=lights, offset=np.zeros(2))
    with pytest.raises(ValueError, match="c: a light names lane 'lane-0-0', which is not on"):
        describe_maps([place], (400.0, 400.0))


def test_a_scene_may_have_no_lights() -> None:
    scene = make_scene(2)
    place = Place(key="b", road_map=scene.road_map, lights=[], offset=np.zeros(2))
    content = describe_maps([place], (200.0, 200.0))
    assert content["traffic_light"] == []
    assert content["stop_line"][0]["traffic_light_tokens"] == []


def make_line(curvature: Float64[np.ndarray, " P"], yaw: float) -> Float64[np.ndarray, "P+1 3"]:
    """Return points half a metre apart, from a curvature between each two."""
    yaws = yaw + np.concatenate([[0], 0.5 * curvature.cumsum()])
    middle = (yaws[1:] + yaws[:-1]) / 2
    x = np.concatenate([[3], 3 + 0.5 * np.cos(middle).cumsum()])
    y = np.concatenate([[-2], -2 + 0.5 * np.sin(middle).cumsum()])
    return np.stack([x, y, yaws], 1)


def measure_miss(line: Float64[np.ndarray, "P 3"], arcs: list[Row]) -> float:
    """Return by how much the devkit's points of the arcs miss the line."""
    found = np.array(discretize_lane(arcs, 0.1))
    fine = np.linspace(0, 1, 20)[:, None, None]
    dense = (line[:-1, :2] + fine * np.diff(line[:, :2], axis=0)).reshape(-1, 2)
    return float(np.linalg.norm(found[:, None, :2] - dense, axis=2).min(axis=1).max())


@pytest.mark.parametrize("curvature", [0.0, 0.05, -0.05, 0.2])
def test_a_circle_is_one_arc(curvature: float) -> None:
    line = make_line(np.full(20, curvature), 2.5)
    (arc,) = fit_arcs(line)
    assert sum(arc["segment_length"]) == pytest.approx(10, rel=1e-2)
    assert arc["start_pose"] == pytest.approx(line[0], abs=1e-4)
    assert arc["end_pose"] == pytest.approx(line[-1], abs=1e-2)
    if curvature:
        assert arc["radius"] == pytest.approx(1 / abs(curvature), rel=1e-2)
        assert arc["shape"] == ("LSL" if curvature > 0 else "RSR")
    assert measure_miss(line, [arc]) < 0.02


@given(st.lists(st.floats(-0.15, 0.15), min_size=1, max_size=4), st.floats(-3.1, 3.1))
@settings(max_examples=15)
def test_any_line_is_followed_by_few_arcs(curvatures: list[float], yaw: float) -> None:
    line = make_line(np.repeat(curvatures, 12), yaw)
    arcs = fit_arcs(line)
    assert measure_miss(line, arcs) < 1.5 * AWAY
    assert len(arcs) <= 4 * len(curvatures)
    assert arcs[-1]["end_pose"][:2] == pytest.approx(line[-1, :2], abs=1e-3)
    ends = [arc["end_pose"][:2] for arc in arcs[:-1]]
    assert ends == [arc["start_pose"][:2] for arc in arcs[1:]]


def test_yaws_may_turn_past_pi() -> None:
    line = make_line(np.full(30, 0.1), 3.0)
    assert len(fit_arcs(line)) == 1
    line[:, 2] = (line[:, 2] + np.pi) % (2 * np.pi) - np.pi
    assert len(fit_arcs(line)) == 1


def test_a_point_is_no_line() -> None:
    with pytest.raises(ValueError, match="a line of 1 points has no middle; give two or more"):
        fit_arcs(np.zeros((1, 3)))

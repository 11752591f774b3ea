import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from nuscenes_files import LOCATION, ROAD, MapRows, along, make_map, rectangle, write_map
from shapely.affinity import scale
from shapely.geometry import Point, Polygon, box

from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.hd_map import cover_areas, load_road_map, rasterise
from drivers.nuscenes.problem import NuScenesError
from drivers.nuscenes.road_map import RoadMap

GRID = GroundGrid(x=(-24.0, 24.0), y=(-24.0, 24.0), step=0.5)
DEVKIT = {
    "drivable_area": "drivable", "ped_crossing": "crossings", "walkway": "walkways",
    "stop_line": "stop_lines", "lane_divider": "lane_dividers", "road_divider": "road_dividers",
}  # fmt: skip


@pytest.fixture(scope="module")
def road_map(data_set: Path) -> RoadMap:
    return load_road_map(data_set, LOCATION)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


def ask_devkit(root: Path, layer: str, pose: np.ndarray, grid: GroundGrid = GRID) -> np.ndarray:
    """Return the devkit's mask with the axes of the grid; TypeError where it fails."""
    api = pytest.importorskip("nuscenes.map_expansion.map_api")
    (x0, x1), (y0, y1) = grid.x, grid.y
    patch = (float(pose[0]), float(pose[1]), y1 - y0, x1 - x0)
    devkit = api.NuScenesMap(str(root), LOCATION)
    found = devkit.get_map_mask(patch, np.degrees(pose[2]), [layer], grid.shape[::-1])
    return np.asarray(found[0]).T.astype(bool)


def test_a_road_map_holds_what_the_file_says(road_map: RoadMap) -> None:
    assert road_map.location == LOCATION
    assert road_map.size == (400.0, 400.0)
    assert [len(p.interiors) for p in road_map.drivable] == [0, 1]
    assert road_map.drivable[1].area == pytest.approx(80 * 51 - 100)
    assert len(road_map.lane_dividers) == 2
    assert [len(getattr(road_map, k)) for k in ("crossings", "walkways", "stop_lines")] == [
        1
    ] * 3
    assert [p.area for p in road_map.intersections] == [pytest.approx(20 * 16)]


def test_lanes_are_linked_and_say_where_to_stop(road_map: RoadMap) -> None:
    lane, through = road_map.lanes["lane0"], road_map.lanes["lane_connector0"]
    assert lane.outgoing == ("lane_connector0",)
    assert through.incoming == ("lane0",)
    assert (lane.connector, through.connector) == (False, True)
    assert lane.left is not None
    assert lane.left.length == pytest.approx(200)
    assert (lane.right, through.left) == (None, None)  # nothing is painted
    assert lane.stop_line == pytest.approx(191.0)  # from -150 m to the near side of the line
    assert np.isnan(through.stop_line)
    assert np.isnan(lane.speed_limit)
    np.testing.assert_allclose(lane.centreline[0], [*along([[-150, -2]])[0], ROAD], atol=1e-9)
    np.testing.assert_allclose(lane.centreline[-1, :2], along([[50, -2]])[0], atol=1e-6)
    steps = np.linalg.norm(np.diff(lane.centreline[:, :2], axis=0), axis=1)
    assert 0.4 < steps.min() <= steps.max() < 0.6


@pytest.mark.parametrize("layer", DEVKIT)
def test_masks_are_those_of_the_devkit(layer: str, data_set: Path, road_map: RoadMap) -> None:
    rng = np.random.default_rng(3)
    for _ in range(3):
        x, y = along([[rng.uniform(20, 50), rng.uniform(-40, 5)]])[0]
        pose = np.array([x, y, rng.uniform(-3, 3)])
        ours = rasterise(road_map, GRID, pose, [DEVKIT[layer]])[DEVKIT[layer]]
        np.testing.assert_array_equal(ours, ask_devkit(data_set, layer, pose))


stars = st.lists(st.floats(0.3, 1), min_size=5, max_size=9)
places = st.tuples(st.floats(20, 60), st.floats(20, 60))


def make_star(radii: list[float], at: tuple[float, float], size: float) -> np.ndarray:
    """Return an outline that is seen whole from its middle, and so does not cross itself."""
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.asarray(at) + size * np.array(radii)[:, None] * around


@given(stars, stars, places, places, st.floats(-3.1, 3.1))
@settings(max_examples=15)
def test_random_areas_with_holes_are_those_of_the_devkit(
    folder: Path,
    outer: list[float],
    inner: list[float],
    at: tuple[float, float],
    ego: tuple[float, float],
    yaw: float,
) -> None:
    rows = MapRows()
    rows.area("drivable_area", make_star(outer, at, 30.0), [make_star(inner, at, 5.0)])
    rows.area("walkway", make_star(inner, ego, 20.0))
    write_map(folder, rows.rows)
    pose = np.array([*ego, yaw])
    masks = rasterise(load_road_map(folder, LOCATION), GRID, pose, ["drivable", "walkways"])
    np.testing.assert_array_equal(masks["drivable"], ask_devkit(folder, "drivable_area", pose))
    np.testing.assert_array_equal(masks["walkways"], ask_devkit(folder, "walkway", pose))


@given(stars, stars, places, places, st.floats(-3.1, 3.1))
@settings(max_examples=15)
def test_areas_cover_the_cells_whose_middle_they_hold(
    outer: list[float],
    inner: list[float],
    at: tuple[float, float],
    ego: tuple[float, float],
    yaw: float,
) -> None:
    polygons = [
        Polygon(make_star(outer, at, 30.0), [make_star(inner, at, 5.0)]),
        Polygon(make_star(inner, ego, 20.0)),
    ]
    grid = GroundGrid(x=(-8.0, 24.0), y=(-16.0, 16.0), step=2.0)
    found = cover_areas(polygons, grid, np.array([*ego, yaw]))
    c, s = np.cos(yaw), np.sin(yaw)
    for i in range(16):
        for j in range(16):
            x, y = -8 + 2 * i + 1, -16 + 2 * j + 1
            middle = Point(ego[0] + c * x - s * y, ego[1] + s * x + c * y)
            assert found[i, j] == any(p.intersects(middle) for p in polygons)
    # The mirror image of a map is covered in the mirror image of the grid.
    other = [scale(p, 1, -1, origin=(0, 0)) for p in polygons]
    mirrored = cover_areas(other, grid, np.array([ego[0], -ego[1], -yaw]))
    np.testing.assert_array_equal(mirrored, found[:, ::-1])


def test_edges_of_areas_are_on_average_where_they_are() -> None:
    grid, pose = GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=1.0), np.zeros(3)
    for edge in np.arange(0.05, 1, 0.1):
        covered = cover_areas([box(-20, -4 + edge, 20, 3 + edge)], grid, pose)
        assert covered.sum(1).tolist() == [7] * 16  # as wide as it is, at whatever place
        assert covered[0].argmax() == 4 + (edge > 0.5)
    assert not cover_areas([], grid, pose).any()
    assert not cover_areas([box(20, 0, 30, 9)], grid, pose).any()
    two = cover_areas([box(-20, -3, 0.5, 2), box(0.5, -3, 20, 2)], grid, pose)
    assert two.sum(1).tolist() == [5] * 16  # no gap between two areas that meet at a middle


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=20)
def test_areas_of_the_devkit_are_wider_ahead_and_to_the_left(
    folder: Path, first: float, last: float
) -> None:
    """By 0.5 to 1.5 cells; behind and to the right they end within half a cell."""
    rows = MapRows()
    x0, x1 = 45 + GRID.step * first, 58 + GRID.step * last
    rows.area("drivable_area", [[x0, x0], [x1, x0], [x1, x1], [x0, x1]])
    write_map(folder, rows.rows)
    pose = np.array([50.0, 50.0, 0.0])
    mask = ask_devkit(folder, "drivable_area", pose)
    for axis in (0, 1):
        (cells,) = np.nonzero(mask.any(1 - axis))
        start, end = (50 - 24 + GRID.step * edge for edge in (cells[0], cells[-1] + 1))
        assert abs(start - x0) <= GRID.step * 0.5 + 1e-9
        assert 0.5 - 1e-9 <= (end - x1) / GRID.step <= 1.5 + 1e-9
    exact = cover_areas([box(x0, x0, x1, x1)], GRID, pose)
    assert not (exact & ~mask).any()


def make_hairpin() -> dict[str, Any]:
    """Return a map with one divider that leaves the ground around (50, 50) and comes back."""
    rows = MapRows()
    rows.line("lane_divider", [[30, 45], [90, 45], [90, 55], [30, 55]])
    return rows.rows


def test_a_line_that_comes_back_is_drawn_where_the_devkit_fails(tmp_path: Path) -> None:
    write_map(tmp_path, make_hairpin())
    pose = np.array([50.0, 50.0, 0.0])
    with pytest.raises(TypeError, match="not iterable"):
        ask_devkit(tmp_path, "lane_divider", pose)
    mask = rasterise(load_road_map(tmp_path, LOCATION), GRID, pose)["lane_dividers"]
    # The same line as two, which the devkit draws.
    rows = MapRows()
    rows.line("lane_divider", [[30, 45], [90, 45]])
    rows.line("lane_divider", [[90, 55], [30, 55]])
    write_map(tmp_path, rows.rows)
    np.testing.assert_array_equal(mask, ask_devkit(tmp_path, "lane_divider", pose))
    assert mask[50, 38]  # 1 m ahead, 5 m to the right
    assert mask[50, 58]
    assert not mask[50, 48]


def test_a_hole_of_one_area_does_not_cut_into_another(tmp_path: Path) -> None:
    rows = MapRows()
    rows.area("drivable_area", [[45, 45], [55, 45], [55, 55], [45, 55]])
    around = [[30, 30], [70, 30], [70, 70], [30, 70]]
    rows.area("drivable_area", around, [[[40, 40], [60, 40], [60, 60], [40, 60]]])
    write_map(tmp_path, rows.rows)
    mask = rasterise(load_road_map(tmp_path, LOCATION), GRID, np.array([50.0, 50.0, 0.0]))
    assert mask["drivable"][48, 48]
    assert not mask["drivable"][48 + 16, 48]  # 8 m ahead: in the hole alone


def test_a_grid_may_lie_ahead_of_the_car(road_map: RoadMap) -> None:
    pose = np.array([*along([[0.0, -2.1]])[0], ROAD + 0.3])
    whole = rasterise(road_map, GRID, pose)
    ahead = rasterise(road_map, GroundGrid(x=(4.0, 24.0), y=(-10.0, 12.0), step=0.5), pose)
    for layer, mask in ahead.items():
        # At the edges the ground is cut elsewhere.
        assert (mask[2:-2, 2:-2] != whole[layer][58:94, 30:70]).mean() < 0.05


def test_layers_have_names(road_map: RoadMap) -> None:
    with pytest.raises(ValueError, match="no layer 'lanes' in a road map; there are drivable"):
        rasterise(road_map, GRID, np.zeros(3), ["lanes"])


def test_an_outline_that_crosses_itself_is_cut_into_parts_with_a_warning(
    tmp_path: Path,
) -> None:
    rows = MapRows()
    rows.area("drivable_area", [[40, 40], [60, 60], [60, 40], [40, 60]])  # a bow tie
    write_map(tmp_path, rows.rows)
    with pytest.warns(UserWarning, match="boston-seaport.json: 1 polygons cross themselves"):
        found = load_road_map(tmp_path, LOCATION)
    assert sum(part.area for part in found.drivable) == pytest.approx(200)


def test_a_link_to_a_lane_that_is_not_there_is_left_out_with_a_warning(tmp_path: Path) -> None:
    rows = make_map()
    rows["connectivity"]["lane0"]["outgoing"].append("lost")
    write_map(tmp_path, rows)
    with pytest.warns(UserWarning, match="1 links lead to lanes that are not there .*: lost"):
        found = load_road_map(tmp_path, LOCATION)
    assert found.lanes["lane0"].outgoing == ("lane_connector0",)


def drop(rows: dict[str, Any], *keys: Any) -> None:
    for key in keys[:-1]:
        rows = rows[key]
    del rows[keys[-1]]


def put(rows: dict[str, Any], value: Any, *keys: Any) -> None:
    for key in keys[:-1]:
        rows = rows[key]
    rows[keys[-1]] = value


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda m: drop(m, "version"), "version: is of version 1.0, expected 1.3"),
        (lambda m: put(m, "1.2", "version"), "is of version 1.2, expected 1.3"),
        (lambda m: drop(m, "canvas_edge"), "canvas_edge is None, expected width, height"),
        (lambda m: drop(m, "carpark_area"), "carpark_area: the layer is missing"),
        (lambda m: drop(m, "connectivity"), "connectivity: the layer is missing"),
        (lambda m: drop(m, "node", 0, "token"), "node: a record has no token"),
        (lambda m: put(m, None, "node", 0, "x"), "n0 node: x or y is no finite number"),
        (lambda m: drop(m, "polygon", 0, "holes"), "p0 polygon: holes is missing"),
        (lambda m: put(m, ["n0"], "polygon", 0, "exterior_node_tokens"), "has 1 nodes"),
        (
            lambda m: put(m, "p0", "drivable_area", 0, "polygon_token")
            or drop(m, "drivable_area", 0, "polygon_tokens"),
            "drivable_area0 drivable_area: polygon_tokens is missing",
        ),
        (
            lambda m: put(m, ["lost"], "line", 0, "node_tokens"),
            "node_tokens names lost, which is no node",
        ),
        (
            lambda m: drop(m, "lane", 0, "left_lane_divider_segments"),
            "left_lane_divider_segments is no list of tokens",
        ),
        (
            lambda m: put(m, "XXL", "arcline_path_3", "lane0", 0, "shape"),
            "lane0 arcline_path_3: is no list of start_pose",
        ),
        (lambda m: drop(m, "connectivity", "lane0", "incoming"), "has no lists of incoming"),
        (lambda m: put(m, "n1", "node", 0, "token"), "node: 1 tokens stand twice"),
        (lambda m: drop(m, "stop_line", 0, "ped_crossing_tokens"), "tokens is missing"),
    ],
)  # fmt: skip
def test_a_damaged_map_is_refused_by_name(damage: Any, told: str, tmp_path: Path) -> None:
    rows = json.loads(json.dumps(make_map()))
    damage(rows)
    write_map(tmp_path, rows)
    with pytest.raises(NuScenesError) as error:
        load_road_map(tmp_path, LOCATION)
    assert any(told in f"{p.token} {p.field}: {p.what}" for p in error.value.problems)


def test_a_map_that_is_missing_or_no_json_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(NuScenesError, match=r"boston-seaport.json: is missing; unpack the map"):
        load_road_map(tmp_path, LOCATION)
    write_map(tmp_path, [])  # type: ignore[arg-type]
    with pytest.raises(NuScenesError, match=r"is no JSON object; fetch the map expansion 1.3"):
        load_road_map(tmp_path, LOCATION)
    (tmp_path / "maps/expansion" / f"{LOCATION}.json").write_text("{")
    with pytest.raises(NuScenesError, match="is no JSON: "):
        load_road_map(tmp_path, LOCATION)


def test_a_line_without_nodes_is_no_divider(tmp_path: Path) -> None:
    rows = MapRows()
    rows.line("lane_divider", [])
    rows.line("lane_divider", [[30, 45], [90, 45]])
    write_map(tmp_path, rows.rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_road_map(tmp_path, LOCATION).lane_dividers) == 1


def test_what_only_touches_the_ground_is_not_drawn(tmp_path: Path) -> None:
    rows = MapRows()
    rows.area("drivable_area", rectangle(-10, 10, -5, 5))
    rows.area("walkway", [[74, 74], [80, 74], [80, 80], [74, 80]])  # at a corner of the ground
    write_map(tmp_path, rows.rows)
    masks = rasterise(
        load_road_map(tmp_path, LOCATION), GRID, np.array([50.0, 50.0, 0.0]), ["walkways"]
    )
    assert not masks["walkways"].any()

import numpy as np
import pytest
from shapely import unary_union
from shapely.geometry import MultiPoint, Point, Polygon, box as rectangle
from straight_road import make_straight_road

from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.schema import CATEGORIES
from drivers.nuscenes.world.render.ground import LEVELS, TEXEL
from drivers.nuscenes.world.render.kernels import Look
from drivers.nuscenes.world.render.scenery import BARK, REACH, Scenery, draw_trees, make_scenery

ROAD = make_straight_road()


@pytest.fixture(scope="module")
def scenery() -> Scenery:
    return make_scenery(ROAD, 1)


def name_at(scenery: Scenery, x: float, y: float) -> str:
    return CATEGORIES[scenery.ground.find_labels(np.array([[x, y]], np.float64))[0]]


def colour_at(scenery: Scenery, x: float, y: float) -> np.ndarray:
    column, row = ((np.array([x, y]) - scenery.ground.origin) / TEXEL).astype(int)
    return scenery.ground.levels[0][row, column].astype(float)


def test_the_ground_has_the_class_of_the_map_to_the_texel(scenery: Scenery) -> None:
    names = [name_at(scenery, 100, y) for y in (88.7, 89.3, 92.7, 93.3, 106.7, 107.3, 111.3)]
    road, walk, soil = "flat.driveable_surface", "flat.sidewalk", "flat.terrain"
    assert names == [soil, walk, walk, road, road, walk, soil]
    assert name_at(scenery, -1e4, 1e4) == soil


def test_paint_lies_where_the_map_says(scenery: Scenery) -> None:
    asphalt = np.median([colour_at(scenery, x, 95) for x in range(100, 140)], axis=0)
    dash, gap = colour_at(scenery, 1.5, 96.5), colour_at(scenery, 5.0, 96.5)
    assert dash.mean() > 1.4 * asphalt.mean()
    assert gap.mean() < 1.2 * asphalt.mean()
    middle = colour_at(scenery, 120, 100)
    assert middle[0] > middle[2] * 2  # yellow
    assert colour_at(scenery, 57.75, 95).mean() > 1.4 * asphalt.mean()  # the stop line
    across = np.array([colour_at(scenery, 62, y).mean() for y in np.arange(93.5, 99.5, 0.1)])
    white = across > 1.4 * asphalt.mean()
    assert 0.4 < white.mean() < 0.75
    assert (np.diff(white.astype(int)) != 0).sum() >= 10  # stripes along the road


def test_each_level_of_the_ground_is_half_as_fine(scenery: Scenery) -> None:
    shapes = np.array([level.shape[:2] for level in scenery.ground.levels])
    assert len(shapes) == LEVELS
    assert (shapes[1:] == shapes[:-1] // 2).all()
    means = [level.mean() for level in scenery.ground.levels]
    assert means == pytest.approx([means[0]] * LEVELS, rel=0.02)


def test_trees_stand_in_half_of_the_direct_light(scenery: Scenery) -> None:
    trees, style = draw_trees(scenery, np.array([100.0, 100.0]), 60.0), scenery.style
    bark = trees.colour[trees.look == int(Look.PLAIN)]
    light = style.ambient + style.direct / 2
    assert len(bark)
    np.testing.assert_allclose(bark, np.broadcast_to(light * np.array(BARK), bark.shape))


def test_nothing_stands_on_a_road_or_a_walkway(scenery: Scenery) -> None:
    ways = unary_union([*ROAD.drivable, *ROAD.walkways])
    solid = scenery.solid
    corners = np.concatenate([solid.corner, solid.corner + solid.u, solid.corner + solid.v])
    assert not any(ways.intersects(Point(*corner[:2])) for corner in corners)
    assert not any(ways.intersects(Point(x, y)) for x, y in scenery.trees[:, :2])
    houses = solid.pick(solid.look == Look.WINDOWS)
    assert len(houses) > 80
    assert len(scenery.trees) > 15
    far = [ways.distance(Point(*corner[:2])) for corner in houses.corner]
    assert 4 < min(far) < max(far) < REACH + 15


def test_houses_do_not_stand_in_one_another(scenery: Scenery) -> None:
    solid = scenery.solid
    walls = solid.pick(solid.look == Look.WINDOWS).corner[:, :2].reshape(-1, 4, 2)
    outlines = [MultiPoint(house).convex_hull for house in walls]
    shared = [a.intersection(b).area for i, a in enumerate(outlines) for b in outlines[:i]]
    assert max(shared) < 0.15 * min(outline.area for outline in outlines)


def test_crowns_are_turned_to_who_looks(scenery: Scenery) -> None:
    eye = np.array([50.0, 98.0])
    trees = draw_trees(scenery, eye, 60.0)
    away = trees.corner[:, :2] + trees.u[:, :2] / 2 - eye
    assert (np.hypot(*away.T) < 60).all()
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    assert (trees.normal[:, :2] * away / distance).sum(axis=1) == pytest.approx(-1)
    assert (trees.colour >= 0).all()
    assert (trees.colour <= 255).all()


def test_the_seed_decides(scenery: Scenery) -> None:
    again, other = make_scenery(ROAD, 1), make_scenery(ROAD, 4)
    assert np.array_equal(again.ground.levels[0], scenery.ground.levels[0])
    assert np.array_equal(again.solid.corner, scenery.solid.corner)
    assert np.array_equal(again.trees, scenery.trees)
    assert not np.array_equal(other.ground.levels[0], scenery.ground.levels[0])
    assert other.style.reach != scenery.style.reach


def make_map(drivable: list[Polygon]) -> RoadMap:
    return RoadMap(
        location="boston-seaport",
        size=(60.0, 60.0),
        drivable=drivable,
        lanes={},
        lane_dividers=[],
        road_dividers=[],
        crossings=[],
        walkways=[],
        stop_lines=[],
    )


def test_a_hole_in_the_road_is_no_road() -> None:
    hole = rectangle(20, 20, 40, 40)
    found = make_scenery(make_map([rectangle(0, 0, 60, 60).difference(hole)]), 0)
    assert name_at(found, 30, 30) == "flat.terrain"
    assert name_at(found, 10, 30) == "flat.driveable_surface"


def test_a_map_without_roads_is_refused() -> None:
    with pytest.raises(ValueError, match="boston-seaport has no drivable area to render"):
        make_scenery(make_map([]), 0)

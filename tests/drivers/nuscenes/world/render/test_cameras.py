from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import UInt8
from straight_road import head, make_box, make_scene, make_straight_road

from drivers.nuscenes.box import Box
from drivers.nuscenes.rig import CAMERAS, Camera
from drivers.nuscenes.world.instant import Ego, WorldInstant
from drivers.nuscenes.world.render import (
    Scenery,
    draw_instant,
    make_scenery,
    measure_visibility,
    render_cameras,
    render_depth,
    render_image,
)
from drivers.nuscenes.world.rig import make_rig
from drivers.nuscenes.world.signals import Light

EGO = Ego(x=40.0, y=98.25, yaw=0.0, speed=8.0)
EYE = 41.7  # x of the front camera
RIG = make_rig()
FRONT = RIG[CAMERAS.index("CAM_FRONT")]
CAR = make_box("car", "vehicle.car", 60.0, 98.25)


@pytest.fixture(scope="module")
def scenery() -> Scenery:
    return make_scenery(make_straight_road(), 2)


def make_instant(
    *boxes: Box, ego: Ego = EGO, braking: str = "", light: str = ""
) -> WorldInstant:
    lights = [
        Light(x=70.0, y=98.25, z=3.0, yaw=np.pi, colour=colour, lanes=())
        for colour in ("red", "green")
        if colour == light
    ]
    return WorldInstant(
        time=0.0, ego=ego, boxes=boxes, braking=frozenset({braking}), lights=lights
    )


def find_depth(
    scenery: Scenery, *boxes: Box, camera: Camera = FRONT, ego: Ego = EGO
) -> np.ndarray:
    faces = draw_instant(scenery, make_instant(*boxes, ego=ego))
    return render_depth(scenery, faces, camera, ego)


def picture(scenery: Scenery, instant: WorldInstant) -> UInt8[np.ndarray, "H W 3"]:
    return render_image(scenery, draw_instant(scenery, instant), FRONT, instant.ego)


@pytest.mark.slow
def test_the_depth_of_the_road_follows_from_the_height_of_the_camera(scenery: Scenery) -> None:
    depth = find_depth(scenery)
    rows = np.arange(60, 90)
    exact = 1.5 * 126.6 / (rows + 0.5 - 45)
    assert depth[60:90, 80] == pytest.approx(exact, rel=1e-6)
    assert np.isinf(depth[0, 75:85]).any()  # sky over the road


def test_the_back_of_a_car_has_its_depth_in_the_pixels_that_it_covers(scenery: Scenery) -> None:
    depth = find_depth(scenery, CAR)
    back = 60.0 - 4.6 / 2 - EYE
    row, column = 45 + int(126.6 * (1.5 - 0.65) / back), 80
    assert depth[row, column] == pytest.approx(back, abs=0.06)
    seen = np.abs(depth[row] - back) < 0.1
    assert seen.sum() == pytest.approx(126.6 * 1.9 / back, abs=2)
    assert seen.nonzero()[0].mean() == pytest.approx(79.5, abs=0.5)


def test_a_car_to_the_left_is_in_the_left_camera_alone(scenery: Scenery) -> None:
    left = replace(CAR, x=44.0, y=103.0)
    for camera in RIG:
        with_car = find_depth(scenery, left, camera=camera)
        same = np.array_equal(with_car, find_depth(scenery, camera=camera))
        assert same == (camera.channel not in ("CAM_FRONT_LEFT", "CAM_BACK_LEFT"))


def test_a_turned_ego_sees_what_lies_ahead_of_it(scenery: Scenery) -> None:
    """The same relative place gives the same depth, whatever the heading."""
    ego = Ego(x=100.0, y=98.0, yaw=np.pi / 3, speed=0.0)
    car = replace(CAR, x=100 + 20 * np.cos(ego.yaw), y=98 + 20 * np.sin(ego.yaw), yaw=ego.yaw)
    depth = find_depth(scenery, car, ego=ego)
    straight = find_depth(scenery, CAR)
    near = straight < 17
    same = np.isclose(depth[near], straight[near], rtol=1e-4)
    assert same.mean() > 0.999  # a pixel on an outline may fall to either side


def test_the_order_of_boxes_does_not_matter(scenery: Scenery) -> None:
    boxes = make_scene(2).instants[0].boxes
    ahead = picture(scenery, make_instant(*boxes))
    assert np.array_equal(ahead, picture(scenery, make_instant(*boxes[::-1])))


def redness(image: UInt8[np.ndarray, "H W 3"]) -> int:
    r, g, b = image.astype(int).transpose(2, 0, 1)
    return int(((r > 160) & (r > 2 * g) & (r > 2 * b)).sum())


def test_a_camera_sees_which_lamp_of_a_light_shines(scenery: Scenery) -> None:
    """The light is 28.3 m ahead, 1.5 m above the camera: red in row 36, green in row 40."""
    for colour, z in (("red", 3.55), ("green", 2.45)):
        image = picture(scenery, make_instant(light=colour)).astype(int)
        row = 45 - 126.6 * (z - 1.5) / (70 - EYE)
        column = 79.5
        r, g, _ = image[int(row), int(column)]
        assert (r > 1.8 * g) == (colour == "red")
        assert (g > 1.5 * r) == (colour == "green")


def test_brake_lights_are_seen(scenery: Scenery) -> None:
    near = replace(CAR, x=52.0)
    assert redness(picture(scenery, make_instant(near))) == 0
    assert redness(picture(scenery, make_instant(near, braking="car"))) > 8


def test_six_images_come_in_the_order_of_the_rig(scenery: Scenery) -> None:
    instant = make_instant(CAR)
    images = render_cameras(scenery, RIG, instant)
    assert images.shape == (6, 90, 160, 3)
    assert np.array_equal(images[1], picture(scenery, instant))
    assert len({image.tobytes() for image in images}) == 6
    assert images.std(axis=(1, 2, 3)).min() > 10


def visible(scenery: Scenery, *boxes: Box) -> list[float]:
    faces = draw_instant(scenery, make_instant(*boxes))
    depths = [render_depth(scenery, faces, camera, EGO) for camera in RIG]
    return measure_visibility(boxes, RIG, EGO, depths).tolist()


def test_visibility_is_the_part_of_a_box_that_nothing_hides(scenery: Scenery) -> None:
    bus = replace(make_box("bus", "vehicle.bus.rigid", 60.0, 98.25), length=4.0)
    walker = make_box("walker", "human.pedestrian.adult", 75.0, 98.25)
    assert visible(scenery, CAR) == [1.0]
    assert visible(scenery, walker) == [1.0]
    assert visible(scenery, bus, walker) == [1.0, 0.0]
    aside = replace(bus, y=98.25 + 1.4)  # its right side is on the line of sight to the walker
    free, half = visible(scenery, aside, walker)
    assert free == 1.0
    assert 0.3 < half < 0.7


def test_a_box_in_no_image_is_not_visible(scenery: Scenery) -> None:
    """Below all cameras: a small thing right beside the rear wheel."""
    cone = replace(make_box("c", "movable_object.trafficcone", 40.6, 96.9), height=0.2, z=0.1)
    assert visible(scenery, head(cone, 0.0, 0.0)) == [0.0]


def test_evening_and_noon_differ_by_the_seed() -> None:
    road, instant = make_straight_road(), make_instant(CAR)
    means = [picture(make_scenery(road, seed), instant).mean() for seed in range(6)]
    assert max(means) > 1.3 * min(means)

from dataclasses import replace

import numpy as np
import pytest
from straight_road import make_box

from drivers.nuscenes.schema import CATEGORIES
from drivers.nuscenes.world.render.faces import Faces, light_faces
from drivers.nuscenes.world.render.figures import BRAKE, TAIL, draw_boxes, draw_lights
from drivers.nuscenes.world.render.kernels import Look
from drivers.nuscenes.world.signals import Light

CAR = make_box("a", "vehicle.car", 10.0, 20.0, yaw=0.5)
DRAWN = [c for c in CATEGORIES if c.startswith(("vehicle.", "human.", "movable", "animal"))]


def list_corners(faces: Faces) -> np.ndarray:
    c, u, v = faces.corner, faces.u, faces.v
    return np.concatenate([c, c + u, c + v, c + u + v])


@pytest.mark.parametrize("category", DRAWN[:-1])
def test_a_figure_fills_its_box_and_stays_in_it(category: str) -> None:
    box = replace(CAR, category=category)
    faces = draw_boxes([box], frozenset())
    assert set(faces.owner) == {0}
    assert set(faces.label) == {CATEGORIES.index(category)}
    points = list_corners(faces.pick(faces.look != Look.SHADOW)) - [box.x, box.y, box.z]
    c, s = np.cos(box.yaw), np.sin(box.yaw)
    own = points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    half = np.array([box.length, box.width, box.height]) / 2
    reach = np.abs(own).max(axis=0) / half
    assert (reach < 1).all()
    assert reach[2] > 0.97
    assert (reach > 0.5).all()


def test_faces_of_a_figure_are_seen_from_outside() -> None:
    faces = draw_boxes([replace(CAR, yaw=0.0)], frozenset())
    body = faces.pick(faces.look == Look.PLAIN)
    middle = body.corner + (body.u + body.v) / 2 - [CAR.x, CAR.y, 0]
    sides = body.normal[:, 2] == 0
    outward = (middle[:, :2] * body.normal[:, :2])[sides].sum(axis=1)
    assert (outward > 0).all()


def test_stop_lamps_shine_while_the_car_brakes() -> None:
    calm = draw_boxes([CAR], frozenset({"b"}))
    brakes = draw_boxes([CAR], frozenset({"a"}))
    dark = (calm.colour == TAIL).all(axis=1)
    bright = (brakes.colour == BRAKE).all(axis=1)
    assert dark.sum() == bright.sum() == 2
    assert np.array_equal(dark, bright)
    assert (brakes.look[bright] == Look.GLOW).all()
    assert (calm.look[dark] == Look.PLAIN).all()
    behind = brakes.corner[bright][:, :2] - [CAR.x, CAR.y]
    assert (behind @ [np.cos(0.5), np.sin(0.5)] < -2).all()


def test_a_car_keeps_its_paint_and_others_have_others() -> None:
    paints = set()
    for name in "abcdefgh":
        one = draw_boxes([replace(CAR, instance=name)], frozenset())
        moved = draw_boxes([replace(CAR, instance=name, x=0.0)], frozenset())
        assert np.array_equal(one.colour, moved.colour)
        assert (one.colour >= 0).all()
        paints.add(tuple(one.colour[8]))
    assert len(paints) > 4


def test_each_face_tells_to_which_box_it_belongs() -> None:
    faces = draw_boxes([CAR, make_box("w", "human.pedestrian.adult", 0.0, 0.0)], frozenset())
    counts = np.bincount(faces.owner)
    assert counts[1] == 25  # four blocks and a shadow
    assert (np.diff(faces.owner) >= 0).all()


def test_what_cannot_be_drawn_is_refused_by_name() -> None:
    for category in ("vehicle.spaceship", "flat.sidewalk"):
        with pytest.raises(ValueError, match=f"box a: category '{category}' is none that can"):
            draw_boxes([replace(CAR, category=category)], frozenset())


def test_nothing_to_draw_is_no_faces() -> None:
    assert len(draw_boxes([], frozenset())) == len(draw_lights([])) == 0


@pytest.mark.parametrize(("colour", "z"), [("red", 5.55), ("yellow", 5.0), ("green", 4.45)])
def test_one_lamp_of_a_traffic_light_shines_and_it_faces_the_drivers(
    colour: str, z: float
) -> None:
    light = Light(x=30.0, y=2.0, z=5.0, yaw=np.pi, colour=colour, lanes=())
    faces = draw_lights([light])
    (shines,) = np.flatnonzero(faces.look == Look.GLOW)
    middle = faces.corner[shines] + (faces.u + faces.v)[shines] / 2
    assert middle == pytest.approx([29.99, 2.0, z])
    assert faces.normal[shines] == pytest.approx([-1, 0, 0])
    hue = {"red": (1, 0, 0), "yellow": (1, 1, 0), "green": (0, 1, 0)}[colour]
    assert tuple(int(c > 190) for c in faces.colour[shines]) == hue


def test_faces_turned_to_the_sun_are_brighter_and_lamps_do_not_care() -> None:
    light = Light(x=0.0, y=0.0, z=5.0, yaw=0.0, colour="red", lanes=())
    faces = draw_lights([light])
    lit = light_faces(faces, np.array([1.0, 0, 0]), 0.4, 0.5)
    ratio = lit.colour / faces.colour
    front, back, lamp = (
        faces.normal[:, 0] > 0.9,
        faces.normal[:, 0] < -0.9,
        faces.look == Look.GLOW,
    )
    assert ratio[front & ~lamp] == pytest.approx(0.9)
    assert ratio[back] == pytest.approx(0.4)
    assert ratio[lamp] == pytest.approx(1.0)

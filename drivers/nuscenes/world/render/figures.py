"""Shapes of road users and traffic lights: templates stretched into their boxes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import cos, sin
from zlib import crc32

import numpy as np
from jaxtyping import Float64, Int64

from drivers.nuscenes.box import Box
from drivers.nuscenes.schema import CATEGORIES
from drivers.nuscenes.world.render.faces import (
    Faces,
    join_faces,
    make_faces,
    make_sides,
    no_faces,
)
from drivers.nuscenes.world.render.kernels import Look
from drivers.nuscenes.world.signals import Colour, Light

PAINTS = np.array(
    [
        [228, 228, 230], [40, 42, 46], [150, 153, 158], [96, 100, 108], [170, 24, 28],
        [28, 62, 140], [214, 190, 60], [32, 96, 66], [180, 108, 40], [120, 20, 60],
    ],
    dtype=np.float64,
)  # fmt: skip
CLOTHES = np.array(
    [
        [190, 40, 40], [40, 70, 160], [230, 230, 225], [235, 190, 50], [50, 120, 70],
        [60, 55, 60],
    ],
    dtype=np.float64,
)  # fmt: skip
GLASS, TYRE, RUBBER = (38.0, 46.0, 58.0), (24.0, 24.0, 26.0), (48.0, 48.0, 52.0)
SKIN, STEEL, ORANGE = (206.0, 160.0, 130.0), (92.0, 96.0, 100.0), (240.0, 110.0, 20.0)
WHITE, TAIL, BRAKE = (250.0, 246.0, 225.0), (150.0, 16.0, 20.0), (255.0, 40.0, 40.0)
BOARD, UNLIT = (26.0, 28.0, 28.0), (62.0, 62.0, 60.0)
LAMP = 0.5  # [m] across: larger than life, so that it stays visible in few pixels
LAMPS: dict[Colour, tuple[float, tuple[float, float, float]]] = {
    "red": (0.55, (255.0, 30.0, 20.0)),
    "yellow": (0.0, (255.0, 200.0, 30.0)),
    "green": (-0.55, (40.0, 255.0, 110.0)),
}  # height above the middle lamp [m], colour
PAINT, CLOTH, STOP = 0, 1, 2  # parts whose colour depends on the box
Triple = tuple[float, float, float]  # a colour, or a point


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """Faces in a box of size 1: x from -0.5 (back) to 0.5, y to the left, z from 0 up.

    part: PAINT, CLOTH or STOP, whose colour depends on the box; -1: ``colour`` holds it.
    """

    shape: Float64[np.ndarray, "K 3 3"]
    colour: Float64[np.ndarray, "K 3"]
    look: Int64[np.ndarray, " K"]
    part: Int64[np.ndarray, " K"]


class _Sketch:
    """Collects the faces of a template."""

    def __init__(self, shadow: bool = True) -> None:
        self.shapes: list[np.ndarray] = []
        self.colours: list[Triple | int] = []
        self.looks: list[Look] = []
        if shadow:
            ground = [[-0.55, -0.55, 0.0], [1.1, 0.0, 0.0], [0.0, 1.1, 0.0]]
            self.add(np.array(ground), (0.0, 0.0, 0.0), Look.SHADOW)

    def add(self, shape: np.ndarray, colour: Triple | int, look: Look = Look.PLAIN) -> None:
        self.shapes.append(shape)
        self.colours.append(colour)
        self.looks.append(look)

    def block(
        self, low: Triple, high: Triple, colour: Triple | int, sides: Triple | int | None = None
    ) -> "_Sketch":
        """Add a block; sides: colour of its four upright faces if it differs."""
        for k, shape in enumerate(make_sides(low, high)):
            self.add(shape, colour if sides is None or k > 3 else sides)
        return self

    def wheels(self, places: Iterable[float], size: tuple[float, float], y: float) -> "_Sketch":
        """Add discs on the left and on the right, at these places along the box."""
        long, high = size
        for x in places:
            left = [[x + long / 2, y, 0.01], [-long, 0, 0], [0, 0, high]]
            right = [[x - long / 2, -y, 0.01], [long, 0, 0], [0, 0, high]]
            self.add(np.array(left), TYRE, Look.DISC)
            self.add(np.array(right), TYRE, Look.DISC)
        return self

    def lamps(self, z: float, size: tuple[float, float]) -> "_Sketch":
        """Add head lamps at the front and stop lamps at the back."""
        wide, high = size
        for y in (-0.46, 0.46 - wide):
            front = [[0.492, y, z], [0, wide, 0], [0, 0, high]]
            back = [[-0.492, y + wide, z], [0, -wide, 0], [0, 0, high]]
            self.add(np.array(front), WHITE)
            self.add(np.array(back), STOP)
        return self

    def done(self) -> Template:
        parts = [c if isinstance(c, int) else -1 for c in self.colours]
        colours = [(0.0, 0.0, 0.0) if isinstance(c, int) else c for c in self.colours]
        return Template(
            shape=np.array(self.shapes, np.float64),
            colour=np.array(colours, np.float64),
            look=np.array(self.looks, np.int64),
            part=np.array(parts, np.int64),
        )


# Templates stay 1 % inside their box, so that all their points lie in it.
_CAR = (
    _Sketch()
    .block((-0.47, -0.45, 0.01), (0.47, 0.45, 0.2), RUBBER)
    .block((-0.49, -0.48, 0.18), (0.49, 0.48, 0.58), PAINT)
    .block((-0.4, -0.42, 0.58), (0.2, 0.42, 0.95), PAINT, GLASS)
    .block((-0.42, -0.43, 0.93), (0.12, 0.43, 0.99), PAINT)
    .wheels((-0.31, 0.31), (0.16, 0.42), 0.488)
    .lamps(0.38, (0.22, 0.15))
    .done()
)
_TRUCK = (
    _Sketch()
    .block((-0.47, -0.44, 0.01), (0.47, 0.44, 0.16), RUBBER)
    .block((-0.49, -0.49, 0.16), (0.26, 0.49, 0.99), (205.0, 205.0, 200.0))
    .block((0.28, -0.47, 0.14), (0.49, 0.47, 0.78), PAINT)
    .block((0.32, -0.475, 0.48), (0.492, 0.475, 0.7), PAINT, GLASS)
    .wheels((-0.34, -0.2, 0.36), (0.11, 0.27), 0.494)
    .lamps(0.18, (0.14, 0.07))
    .done()
)
_BUS = (
    _Sketch()
    .block((-0.48, -0.45, 0.01), (0.48, 0.45, 0.12), RUBBER)
    .block((-0.49, -0.48, 0.12), (0.49, 0.48, 0.99), PAINT)
    .block((-0.47, -0.485, 0.45), (0.492, 0.485, 0.8), PAINT, GLASS)
    .wheels((-0.3, 0.34), (0.09, 0.28), 0.49)
    .lamps(0.18, (0.16, 0.09))
    .done()
)
_RIDER = (
    _Sketch()
    .block((-0.36, -0.08, 0.18), (0.34, 0.08, 0.44), PAINT)
    .block((-0.2, -0.3, 0.42), (0.1, 0.3, 0.84), CLOTH)
    .block((-0.12, -0.18, 0.1), (0.12, 0.18, 0.42), RUBBER)
    .block((-0.06, -0.16, 0.84), (0.12, 0.16, 0.99), SKIN)
    .block((0.26, -0.48, 0.5), (0.32, 0.48, 0.56), STEEL)
    .wheels((-0.3, 0.3), (0.38, 0.38), 0.06)
    .done()
)
_PERSON = (
    _Sketch()
    .block((-0.25, 0.06, 0.01), (0.1, 0.36, 0.46), RUBBER)
    .block((-0.1, -0.36, 0.01), (0.25, -0.06, 0.46), RUBBER)
    .block((-0.28, -0.44, 0.44), (0.28, 0.44, 0.82), CLOTH)
    .block((-0.18, -0.22, 0.82), (0.2, 0.22, 0.99), SKIN)
    .done()
)
_CONE = (
    _Sketch()
    .block((-0.48, -0.48, 0.01), (0.48, 0.48, 0.1), RUBBER)
    .block((-0.3, -0.3, 0.1), (0.3, 0.3, 0.45), ORANGE)
    .block((-0.22, -0.22, 0.45), (0.22, 0.22, 0.7), WHITE)
    .block((-0.14, -0.14, 0.7), (0.14, 0.14, 0.99), ORANGE)
    .done()
)
_BARRIER = (
    _Sketch()
    .block((-0.45, -0.48, 0.01), (0.45, 0.48, 0.4), ORANGE)
    .block((-0.3, -0.49, 0.4), (0.3, 0.49, 0.7), WHITE)
    .block((-0.25, -0.49, 0.7), (0.25, 0.49, 0.99), ORANGE)
    .done()
)
# A category takes the template of its longest prefix.
TEMPLATES = {
    "human": _PERSON,
    "animal": _PERSON,
    "vehicle": _CAR,
    "vehicle.truck": _TRUCK,
    "vehicle.construction": _TRUCK,
    "vehicle.trailer": _TRUCK,
    "vehicle.bus": _BUS,
    "vehicle.bicycle": _RIDER,
    "vehicle.motorcycle": _RIDER,
    "movable_object": _BARRIER,
    "static_object": _BARRIER,
    "movable_object.trafficcone": _CONE,
}


def draw_boxes(boxes: Sequence[Box], braking: frozenset[str]) -> Faces:
    """Return the faces of road users and things, in the frame of the boxes, with shadows.

    The colours of one instance are the same in every frame. braking: instances whose stop
    lamps shine.

    Raises:
        ValueError: a box of a category that nuScenes does not have.
    """
    alike: dict[str, list[int]] = {}
    for number, box in enumerate(boxes):
        known = [name for name in TEMPLATES if box.category.startswith(name)]
        if box.category not in CATEGORIES or not known:
            raise ValueError(
                f"box {box.instance}: category {box.category!r} is none that can be drawn; "
                f"take one that starts with {', '.join(TEMPLATES)} and is of nuScenes"
            )
        alike.setdefault(max(known, key=len), []).append(number)
    drawn = [
        _draw_alike(TEMPLATES[name], np.array(numbers), [boxes[k] for k in numbers], braking)
        for name, numbers in alike.items()
    ]
    return join_faces([no_faces(), *drawn])


def _draw_alike(
    template: Template,
    numbers: Int64[np.ndarray, " B"],
    boxes: Sequence[Box],
    braking: frozenset[str],
) -> Faces:
    """Return the faces of B boxes of one template; numbers: of the boxes among all."""
    number, count = len(boxes), len(template.shape)
    size = np.array([(b.length, b.width, b.height) for b in boxes])
    placed = template.shape * size[:, None, None]
    c, s = np.cos([b.yaw for b in boxes]), np.sin([b.yaw for b in boxes])
    zero, one = np.zeros(number), np.ones(number)
    turns = np.array([[c, s, zero], [-s, c, zero], [zero, zero, one]]).transpose(2, 0, 1)
    placed = placed @ turns[:, None]
    placed[:, :, 0] += np.array([(b.x, b.y, b.z - b.height / 2) for b in boxes])[:, None]
    brakes = np.array([b.instance in braking for b in boxes])
    own = np.stack([_dress(b.instance) for b in boxes])
    own[:, STOP] = np.where(brakes[:, None], BRAKE, TAIL)
    colour = np.where(template.part[:, None] >= 0, own[:, template.part], template.colour)
    shines = brakes[:, None] & (template.part == STOP)
    faces = make_faces(
        placed.reshape(-1, 3, 3),
        colour.reshape(-1, 3),
        np.where(shines, int(Look.GLOW), template.look).ravel(),
        np.repeat([CATEGORIES.index(b.category) for b in boxes], count),
    )
    return replace(faces, owner=np.repeat(numbers, count))


def _dress(instance: str) -> Float64[np.ndarray, "3 3"]:
    """Return the colours of an instance: PAINT, CLOTH, and room for STOP."""
    hue = crc32(instance.encode())
    paint = PAINTS[hue % len(PAINTS)] * (0.85 + 0.3 * (hue % 97) / 97)
    return np.stack([paint, CLOTHES[hue % len(CLOTHES)], np.zeros(3)])


def turn(vectors: Float64[np.ndarray, "... 3"], yaw: float) -> Float64[np.ndarray, "... 3"]:
    """Return vectors turned about the z axis."""
    c, s = cos(yaw), sin(yaw)
    turned: Float64[np.ndarray, "... 3"] = vectors @ np.array(
        [[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]
    )
    return turned


def draw_lights(lights: Sequence[Light]) -> Faces:
    """Return the faces of traffic lights: a board with three lamps of which one shines."""
    return join_faces([no_faces(), *(_draw_light(light) for light in lights)])


def _draw_light(light: Light) -> Faces:
    """Return a board on a rod, with visible lamps 1 cm before it."""
    sketch = _Sketch(shadow=False).block((-0.12, -0.4, -0.95), (0.0, 0.4, 0.95), BOARD)
    sketch.block((-0.1, -0.05, 0.95), (-0.02, 0.05, 3.0), STEEL)
    for name, (z, colour) in LAMPS.items():
        disc = [[0.01, -LAMP / 2, z - LAMP / 2], [0, LAMP, 0], [0, 0, LAMP]]
        if name == light.colour:
            sketch.add(np.array(disc), colour, Look.GLOW)
        else:
            sketch.add(np.array(disc), UNLIT, Look.DISC)
    template = sketch.done()
    shape = turn(template.shape, light.yaw)
    shape[:, 0] += [light.x, light.y, light.z]
    label = np.full(len(shape), CATEGORIES.index("static.manmade"))
    return make_faces(shape, template.colour, template.look, label)

"""Fixed bodies beside the roads: houses, trees, lamp posts."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from drivers.nuscenes.road_map import RoadMap
from drivers.nuscenes.schema import CATEGORIES
from drivers.nuscenes.world.render.faces import (
    Faces,
    join_faces,
    light_faces,
    make_faces,
    make_sides,
    no_faces,
)
from drivers.nuscenes.world.render.figures import turn
from drivers.nuscenes.world.render.ground import TEXEL, Ground, paint_map
from drivers.nuscenes.world.render.kernels import Look
from drivers.nuscenes.world.render.style import Style, make_style

CELL = 1.0  # [m], of the plan of free places
TREE_GAP, POST_GAP = 8.0, 26.0  # [m] between trees, between posts
HOUSES, TREES = 0.04, 0.02  # share of the candidate cells
REACH = 45.0  # [m]: largest distance of a body from the road
STEEL, BARK = (92.0, 96.0, 100.0), (92.0, 72.0, 54.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenery:
    """The fixed parts of a place: ground, houses and posts, trees, light.

    solid: houses and posts, in the light of the style. trees: x, y of each tree, its height and
    the width of its crown [m].
    """

    style: Style
    ground: Ground
    solid: Faces
    trees: Float64[np.ndarray, "K 4"]


def make_scenery(road_map: RoadMap, seed: int) -> Scenery:
    """Return the scenery of a road map; the same map and seed give the same scenery.

    Raises:
        ValueError: the map has no drivable area.
    """
    rng = np.random.default_rng(seed)
    style = make_style(rng)
    ground = paint_map(road_map, style, rng)
    # Metres of each cell of the plan from roads and walkways.
    every = round(CELL / TEXEL)
    way = ground.labels != CATEGORIES.index("flat.terrain")
    coarse = cv2.dilate(way.astype(np.uint8), np.ones((every, every), np.uint8))
    away = cv2.distanceTransform(1 - coarse[::every, ::every], cv2.DIST_L2, 5)
    distance: Float32[np.ndarray, "Y X"] = away * np.float32(CELL)
    free = _Plan(ground)
    avenue = _plant_trees(distance, free, (2.0, 5.0), rng)
    houses = _build_houses(distance, free, style, rng)
    wood = _plant_trees(distance, free, (5.0, REACH), rng)
    posts = _set_posts(distance, free, rng)
    solid = light_faces(
        join_faces([no_faces(), *houses, *posts]), style.sun, style.ambient, style.direct
    )
    trees = np.concatenate([avenue, wood])
    return Scenery(style=style, ground=ground, solid=solid, trees=trees)


def draw_trees(scenery: Scenery, eye: Float64[np.ndarray, "2"], reach: float) -> Faces:
    """Return the trees within reach [m] of an eye, their crowns turned towards it."""
    away = scenery.trees[:, :2] - eye
    near = np.hypot(*away.T) < reach
    (x, y, height, width), (ax, ay) = scenery.trees[near].T, away[near].T
    distance, zero = np.hypot(ax, ay) + 1e-9, np.zeros(near.sum())
    across_x, across_y = -ay / distance, ax / distance  # to the viewer's left
    shapes = []
    for wide, low, tall in (
        (0.06 * height, zero, 0.45 * height),
        (width, 0.3 * height, 0.7 * height),
    ):
        u = np.stack([-across_x * wide, -across_y * wide, zero], 1)
        corner = np.stack([x, y, low], 1) - u / 2
        shapes.append(np.stack([corner, u, np.stack([zero, zero, tall], 1)], 1))
    number, style = int(near.sum()), scenery.style
    tint = 0.75 + 0.5 * np.modf(x * 0.37 + y * 0.71)[0].clip(-0.5, 1)[:, None]
    light = style.ambient + 0.5 * style.direct
    faces = make_faces(
        np.concatenate(shapes),
        light * np.concatenate([np.tile(BARK, (number, 1)), style.leaves * tint]),
        np.repeat([int(Look.PLAIN), int(Look.LEAVES)], number),
        np.full(2 * number, CATEGORIES.index("static.vegetation")),
    )
    which = np.tile(near.nonzero()[0], 2)
    return replace(faces, cells=np.stack([which, which], 1).astype(np.float64))


class _Plan:
    """The free cells of a place, of size CELL; rows along y."""

    def __init__(self, ground: Ground) -> None:
        every = round(CELL / TEXEL)
        shape = ground.labels[::every, ::every].shape
        self.free: Bool[np.ndarray, "Y X"] = np.ones(shape, bool)
        self.origin = ground.origin

    def claim(self, row: int, column: int, radius: float) -> bool:
        """Occupy a square of this half side [m] if all of it is free; return whether it was."""
        r = int(np.ceil(radius / CELL))
        window = self.free[max(0, row - r) : row + r + 1, max(0, column - r) : column + r + 1]
        if not window.all():
            return False
        window[:] = False
        return True

    def locate(self, row: int, column: int) -> Float64[np.ndarray, "2"]:
        """Return the middle of a cell in the global frame."""
        x, y = self.origin
        return np.array([x + CELL * (column + 0.5), y + CELL * (row + 0.5)])


def _pick_cells(
    distance: Float32[np.ndarray, "Y X"],
    between: tuple[float, float],
    share: float,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Return a random share of the cells (row, column) between two distances from the roads."""
    cells = np.argwhere((distance > between[0]) & (distance < between[1]))
    order = rng.permutation(len(cells))[: int(share * len(cells))]
    picked: list[list[int]] = cells[order].tolist()
    return picked


def _build_houses(
    distance: Float32[np.ndarray, "Y X"], free: _Plan, style: Style, rng: np.random.Generator
) -> list[Faces]:
    """Return houses along the roads that face them."""
    smooth = cv2.GaussianBlur(distance, (0, 0), 4)
    down, right = cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    houses = []
    for row, column in _pick_cells(distance, (8.0, REACH), HOUSES, rng):
        if not free.free[row, column]:
            continue
        depth, width = rng.uniform(8, 14), rng.uniform(9, 22)
        radius = np.hypot(depth, width) / 2
        if distance[row, column] < radius + 2 or not free.claim(row, column, 0.8 * radius):
            continue
        yaw = float(np.arctan2(down[row, column], right[row, column]))
        height = float(rng.choice([6, 9, 12, 18, 27], p=[0.25, 0.3, 0.2, 0.15, 0.1]))
        low, high = (-depth / 2, -width / 2, 0.0), (depth / 2, width / 2, height)
        shape = turn(make_sides(low, high), yaw)
        shape[:, 0, :2] += free.locate(row, column)
        wall = style.walls[rng.integers(len(style.walls))]
        faces = _make_solid(shape, wall, "static.manmade")
        sides = np.linalg.norm(faces.u, axis=1)
        cells = np.stack([np.round(sides / 3), np.full(6, round(height / 3))], 1)
        look = np.array([Look.WINDOWS] * 4 + [Look.PLAIN] * 2, np.int64)
        houses.append(replace(faces, look=look, cells=np.maximum(cells, 1.0)))
    return houses


def _plant_trees(
    distance: Float32[np.ndarray, "Y X"],
    free: _Plan,
    between: tuple[float, float],
    rng: np.random.Generator,
) -> Float64[np.ndarray, "K 4"]:
    """Return trees between two distances from the road, at least TREE_GAP apart."""
    trees = [
        [*free.locate(row, column), height, height * rng.uniform(0.45, 0.75)]
        for row, column in _pick_cells(distance, between, TREES, rng)
        if free.claim(row, column, TREE_GAP / 2)
        for height in [rng.uniform(3.5, 9.0)]
    ]
    return np.array(trees, np.float64).reshape(-1, 4)


def _set_posts(
    distance: Float32[np.ndarray, "Y X"], free: _Plan, rng: np.random.Generator
) -> list[Faces]:
    """Return lamp posts close to the roads."""
    posts, placed = [], np.zeros((0, 2))
    for row, column in _pick_cells(distance, (0.5, 2.0), 1.0, rng):
        place = free.locate(row, column)
        if len(placed) and np.hypot(*(placed - place).T).min() < POST_GAP:
            continue
        placed = np.concatenate([placed, place[None]])
        shape = make_sides((-0.08, -0.08, 0.0), (0.08, 0.08, 7.0))
        shape[:, 0, :2] += place
        posts.append(_make_solid(shape, np.array(STEEL), "static.manmade"))
    return posts


def _make_solid(
    shape: Float64[np.ndarray, "6 3 3"], colour: Float64[np.ndarray, "3"], label: str
) -> Faces:
    return make_faces(
        shape,
        np.tile(colour, (len(shape), 1)),
        np.full(len(shape), int(Look.PLAIN)),
        np.full(len(shape), CATEGORIES.index(label)),
    )

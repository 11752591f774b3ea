"""The errors of trivial forecasts, which measure how hard scenes are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from drivers.nuscenes.box import Box
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.world.instant import KEYFRAME_STEPS, Ego, WorldInstant, WorldScene
from drivers.nuscenes.world.sight import find_overlaps
from drivers.nuscenes.world.simulate import stack_boxes

GRID = GroundGrid(x=(-24.0, 24.0), y=(-24.0, 24.0), step=1.0)
HORIZON = 6  # forecast frames of 0.5 s
STATIC = 4  # frames after which the present is compared with the future
MOVING = 0.5  # [m/s]
AROUND = 50.0  # [m] from the ego


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """Errors of trivial forecasts over all keyframes with 3 s after them.

    distance: between the ego and an ego of constant velocity, averaged over 3 s (ST-P3's L2),
    [m]. collisions: share of the positions of constant velocity in 3 s that touch a box. met:
    share of its drives with a collision. static: intersection over union of the vehicles around
    the ego (48 x 48 m, cells of 1 m) now and 2 s later. moving: share of moving road users
    within 50 m; cones and barriers do not count.
    """

    distance: float
    collisions: float
    met: float
    static: float
    moving: float


@dataclass(frozen=True, kw_only=True)
class SceneForecasts:
    """The trivial forecasts of a scene.

    distances: mean distance of constant velocity over 3 s, of each keyframe with 3 s after it
    [m]. touches: whether its position touches a box in each frame. common, union: cells that
    vehicles cover now and 2 s later, now or 2 s later. moving: whether each road user moves.
    """

    distances: list[float]
    touches: list[list[bool]]
    common: int
    union: int
    moving: list[bool]


def forecast_scene(scene: WorldScene) -> SceneForecasts:
    """Return the trivial forecasts of a scene."""
    frames = scene.instants[::KEYFRAME_STEPS]
    distances, touches, common, union = [], [], 0, 0
    for now in range(len(frames) - HORIZON):
        ego = frames[now].ego
        after = frames[now + 1 : now + 1 + HORIZON]
        guesses = [_keep_velocity(ego, (k + 1) / 2) for k in range(HORIZON)]
        pairs = list(zip(guesses, after, strict=True))
        away = [np.hypot(g.x - f.ego.x, g.y - f.ego.y) for g, f in pairs]
        distances.append(float(np.mean(away)))
        touches.append([_touches(g, f) for g, f in pairs])
        here, there = (_draw(ego, frames[now + k]) for k in (0, STATIC))
        common += int((here & there).sum())
        union += int((here | there).sum())
    moving = [
        bool(np.hypot(box.vx, box.vy) > MOVING)
        for frame in frames
        for box in frame.boxes
        if (box.is_vehicle or box.is_pedestrian) and _is_near(box, frame.ego)
    ]
    return SceneForecasts(
        distances=distances, touches=touches, common=common, union=union, moving=moving
    )


def measure_difficulty(scenes: Sequence[SceneForecasts]) -> Difficulty:
    """Return the errors of the trivial forecasts of scenes.

    Raises:
        ValueError: no keyframe has 3 s after it.
    """
    distances = [distance for scene in scenes for distance in scene.distances]
    if not distances:
        raise ValueError(
            f"measure_difficulty: no keyframe has {HORIZON} others after it; give longer scenes"
        )
    touches = [row for scene in scenes for row in scene.touches]
    common, union = (sum(getattr(s, name) for s in scenes) for name in ("common", "union"))
    return Difficulty(
        distance=float(np.mean(distances)),
        collisions=float(np.mean(touches)),
        met=float(np.any(touches, 1).mean()),
        static=common / max(union, 1),
        moving=float(np.mean([moves for scene in scenes for moves in scene.moving])),
    )


def _keep_velocity(ego: Ego, time: float) -> Ego:
    way = ego.speed * time
    return Ego(
        x=ego.x + way * np.cos(ego.yaw),
        y=ego.y + way * np.sin(ego.yaw),
        yaw=ego.yaw,
        speed=ego.speed,
    )


def _touches(ego: Ego, instant: WorldInstant) -> bool:
    pairs = find_overlaps(stack_boxes([ego.box, *instant.boxes]))
    return bool((pairs == 0).any())


def _draw(ego: Ego, instant: WorldInstant) -> Bool[np.ndarray, "X Y"]:
    """Return which cells around a pose are covered by vehicles."""
    c, s = np.cos(ego.yaw), np.sin(ego.yaw)
    centres = GRID.centres()
    x = ego.x + c * centres[..., 0] - s * centres[..., 1]
    y = ego.y + s * centres[..., 0] + c * centres[..., 1]
    mask = np.zeros(GRID.shape, bool)
    for box in instant.boxes:
        if box.is_vehicle and _is_near(box, ego):
            dx, dy, c, s = x - box.x, y - box.y, np.cos(box.yaw), np.sin(box.yaw)
            ahead, aside = np.abs(c * dx + s * dy), np.abs(c * dy - s * dx)
            mask |= (ahead < box.length / 2) & (aside < box.width / 2)
    return mask


def _is_near(box: Box, ego: Ego) -> bool:
    return bool(np.hypot(box.x - ego.x, box.y - ego.y) < AROUND)

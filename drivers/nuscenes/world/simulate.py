"""Simulated scenes: a rule-driven ego in traffic."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import shapely
from jaxtyping import Float64
from shapely import unary_union

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import outline_box
from drivers.nuscenes.world.instant import KEYFRAME_STEPS, WorldInstant, WorldScene
from drivers.nuscenes.world.populate import populate
from drivers.nuscenes.world.poses import show
from drivers.nuscenes.world.roads import Roads, make_roads
from drivers.nuscenes.world.sight import find_overlaps
from drivers.nuscenes.world.traffic import step_traffic

WARM_UP = 20  # steps before the first instant
TRIES = 50
NEAR = 80.0  # [m] around the ego: boxes within it must not overlap
SHORTEST = 25.0  # [m]: least distance of the ego in 10 s


def simulate_scene(
    seed: int | Sequence[int], keyframes: int = 20, roads: Roads | None = None
) -> WorldScene:
    """Return a sound scene: no boxes overlap, and the ego stays on the road and makes progress.

    seed: equal seeds give equal scenes. keyframes: their number; they are 0.5 s apart. roads:
    the place; None: a new place from the same seed.

    Raises:
        ValueError: fewer than two keyframes.
        RuntimeError: no sound scene in 50 tries.
    """
    if keyframes < 2:
        raise ValueError(f"simulate_scene: a scene has 2 keyframes or more, got {keyframes}")
    numbers = [seed] if isinstance(seed, int) else list(seed)
    for attempt in range(TRIES):
        scene = _simulate([*numbers, attempt], KEYFRAME_STEPS * (keyframes - 1) + 1, roads)
        if scene is not None:
            return scene
    raise RuntimeError(f"simulate_scene: no sound scene of seed {seed} in {TRIES} tries")


def _simulate(seed: Sequence[int], count: int, roads: Roads | None) -> WorldScene | None:
    """Return the scene of a seed, None if it is not sound."""
    roads = roads or make_roads(seed)
    world, state = populate(roads, int(np.random.default_rng(seed).integers(2**31)))
    drivable = unary_union(roads.map.drivable).buffer(0.05)
    shapely.prepare(drivable)
    instants: list[WorldInstant] = []
    for step in range(WARM_UP + count):
        if step >= WARM_UP:
            instant = replace(show(world, state), time=len(instants) / 10)
            if not is_sound(instant, drivable):
                return None
            instants.append(instant)
        state = step_traffic(world, state)
    way = sum(i.ego.speed for i in instants) / 10
    if way < SHORTEST * count / 100:
        return None
    return WorldScene(
        road_map=roads.map,
        instants=instants,
        description=f"{len(instants[0].boxes)} others, {way:.0f} m, seed {list(seed)}",
    )


def is_sound(instant: WorldInstant, drivable: shapely.Geometry) -> bool:
    """Return whether the ego is on the road and no two boxes near it overlap."""
    ego = instant.ego.box
    near = [b for b in instant.boxes if np.hypot(b.x - ego.x, b.y - ego.y) < NEAR]
    if len(find_overlaps(stack_boxes([ego, *near]))):
        return False
    return bool(drivable.contains(outline_box(ego)))


def stack_boxes(boxes: Sequence[Box]) -> Float64[np.ndarray, "M 5"]:
    """Return the rectangles of boxes: x, y, yaw, half length, half width."""
    return np.array([(b.x, b.y, b.yaw, b.length / 2, b.width / 2) for b in boxes])

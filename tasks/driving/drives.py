"""Disturbed drives for training: windows of states that recorded drives do not reach.

The rules drive through training worlds, while disturbances of a second or more shift their path
sideways or change its speed (DART, Laskey et al. 2017). The path to learn is the one that the
rules plan from the resulting state. A drive ends like a course. If it ends in a collision or
off the road, its last two seconds are dropped, because no path is right there.
Axes: B windows, F future frames.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from drivers.nuscenes.window import FRAME
from drivers.nuscenes.world.drive import drive, locate_target, plan_by_rules, start
from drivers.nuscenes.world.poses import show
from tasks.driving.batch import DrivingBatch, Observation
from tasks.driving.closed_loop import (
    SeenFrame,
    find_end,
    look_around,
    make_cameras,
    make_view,
)
from tasks.driving.config import DrivingConfig
from tasks.driving.displace import go_along
from tasks.driving.sampler import EgoState, find_moves, find_reach, shift_aside

NUMBER = 5  # first number of the seeds, which keeps them distinct from other seeds
LIMIT = 30.0  # [s] longest drive
DROPPED = 4  # windows dropped before a bad end
POOL = 30  # least number of windows to draw from at random; one or two drives give them
SIDE = 3.0  # [m] largest shift; half of the disturbances have one
PACES = (0.0, 0.5, 0.75, 1.25, 1.5)  # factors on the speed; two in five disturbances have one
HELD = (2, 7)  # shortest and longest disturbance [frames]


class DisturbedWindow(NamedTuple):
    """A window of a disturbed drive; B is 1."""

    seen: Observation
    path: Float[Tensor, "1 F 3"]


def disturb_path(
    path: Float64[np.ndarray, "F 3"], speed: float, side: float, pace: float
) -> Float64[np.ndarray, "F 3"]:
    """Return a path driven at ``pace`` times its speed and shifted left by ``side`` [m].

    The shift ends after the distance of 3 s at the initial ``speed`` [m/s], at least 8 m.
    """
    planned = torch.from_numpy(path)[None]
    way = pace * find_moves(planned[..., :2]).norm(dim=-1).cumsum(1)
    paced, shift = go_along(planned, way)[:, None], torch.tensor([[side]], dtype=planned.dtype)
    length = find_reach(torch.tensor([speed], dtype=planned.dtype))
    moved = shift_aside(paced, way[:, None], shift, length[:, None])
    return np.asarray(moved[0, 0].numpy())


def drive_disturbed(
    config: DrivingConfig, seed: Sequence[int], looks: bool = True
) -> list[DisturbedWindow]:
    """Drive with one seed; return a window for each frame that has a complete past.

    looks: whether to render images; if not, windows have no cameras (N is 0).
    """
    rng = np.random.default_rng(seed)
    course = start(seed)
    scenery = int(rng.integers(2**31))
    cameras = make_cameras(course, scenery, config.image) if looks else None
    world, state = course.world, course.state
    windows: list[DisturbedWindow] = []
    frames: list[SeenFrame] = []
    left, side, pace = 0, 0.0, 1.0
    instants = [show(world, state)]
    for _ in range(round(LIMIT / FRAME)):
        seen = look_around(cameras, instants, config.source.sweeps)
        frames = [*frames, seen][-config.past :]
        path = driven = plan_by_rules(world, state, config.future)
        if len(frames) == config.past:
            view = make_view(frames, cameras, locate_target(world, state))
            windows.append(DisturbedWindow(view, torch.from_numpy(path).float()[None]))
            if left == 0:
                left = int(rng.integers(*HELD, endpoint=True))
                side = float(rng.uniform(-SIDE, SIDE)) if rng.random() < 0.5 else 0.0
                pace = float(rng.choice(PACES)) if rng.random() < 0.4 else 1.0
            left -= 1
            driven = disturb_path(path, state.ego.speed, side, pace)
        states = drive(world, state, driven)
        instants = [instants[-1], *(show(world, s) for s in states)]
        state = states[-1]
        end = find_end(course, state, instants, tolerance=0.0)
        if end:
            return windows if end == "completed" else windows[:-DROPPED]
    return windows


def stream_windows(
    config: DrivingConfig, epoch: int, row: int, count: int, looks: bool = True
) -> Iterator[DisturbedWindow]:
    """Yield ``count`` shuffled windows for one row of the batches of a training epoch.

    Each row has its own drives, so the result does not depend on which process reads the row.
    """
    seed = [NUMBER, config.source.seed, epoch, row]
    rng = np.random.default_rng(seed)
    pool: list[DisturbedWindow] = []
    number = 0
    for left in range(count, 0, -1):
        while len(pool) < min(POOL, left):
            pool += drive_disturbed(config, [*seed, number], looks)
            number += 1
        last, k = len(pool) - 1, int(rng.integers(len(pool)))
        pool[k], pool[last] = pool[last], pool[k]
        yield pool.pop()


def replace_windows(
    batch: DrivingBatch,
    chosen: Bool[Tensor, " B"],
    streams: Sequence[Iterator[DisturbedWindow]],
) -> DrivingBatch:
    """Replace the chosen windows of a batch by the next windows from the streams of their rows.

    Only the path of the truth is new; true maps and depth stay those of the replaced window.
    """
    rows = chosen.nonzero()[:, 0].tolist()
    if not rows:
        return batch
    new = [next(streams[row]) for row in rows]

    def put(values: Tensor, parts: list[Tensor]) -> Tensor:
        out = values.clone()
        out[rows] = torch.cat(parts).to(values)
        return out

    seen, truth = batch
    names = ("images", "sweeps", "intrinsic", "to_ego", "to_present")
    ego = EgoState(*(put(x, [w.seen.ego[k] for w in new]) for k, x in enumerate(seen.ego)))
    frames = {
        name: put(getattr(seen, name), [getattr(w.seen, name) for w in new]) for name in names
    }
    path = put(truth.path, [w.path for w in new])
    return DrivingBatch(
        seen._replace(**frames, ego=ego), truth._replace(path=path, shown=truth.shown | chosen)
    )

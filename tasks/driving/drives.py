"""Drives that are disturbed, for training: windows of states that no recorded car gets into.

Who imitates recorded drives knows nothing of where his own errors take him (DART, Laskey et al.
2017). Here the rules drive through worlds of training, but for a second or more at a time what
they plan is moved to a side, or driven faster, slower or not at all. The path to be learned is
what the rules plan from where that has led. A drive ends as a course does; where it ends
with a collision or off the road, its last two seconds are left out: no path is right there.
Axes: B windows, F future frames.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor

from drivers.nuscenes.window import FRAME
from drivers.nuscenes.world.drive import drive, navigate, plan_by_rules, start
from drivers.nuscenes.world.instant import WorldInstant
from drivers.nuscenes.world.poses import show
from tasks.driving.batch import DrivingBatch, Seen
from tasks.driving.closed_loop import find_end, make_view, open_eyes
from tasks.driving.config import DrivingConfig
from tasks.driving.displace import go_along
from tasks.driving.sampler import EgoState, find_moves, find_reach, shift_aside

NUMBER = 5  # in front of the seeds of these drives, which no course and no data set has
LIMIT = 30.0  # [s] of a drive
LOST = 4  # windows before a bad end
POOL = 30  # windows at least, of a drive or two, of which one is drawn
SIDE = 3.0  # [m] aside at most, in half of the disturbances
PACES = (0.0, 0.5, 0.75, 1.25, 1.5)  # times the speed of the rules, in two of five
HELD = (2, 7)  # frames that a disturbance lasts


class Driven(NamedTuple):
    """A window of a drive; B is 1."""

    seen: Seen
    path: Float[Tensor, "1 F 3"]


def disturb_path(
    path: Float64[np.ndarray, "F 3"], speed: float, side: float, pace: float
) -> Float64[np.ndarray, "F 3"]:
    """Return a path driven at ``pace`` times its speed, and moved to the left by ``side`` [m].

    It moves over the way of 3 s at ``speed`` [m/s], that of its start.
    """
    given = torch.from_numpy(path)[None]
    way = pace * find_moves(given[..., :2]).norm(dim=-1).cumsum(1)
    paced, shift = go_along(given, way)[:, None], torch.tensor([[side]], dtype=given.dtype)
    length = find_reach(torch.tensor([speed], dtype=given.dtype))
    moved = shift_aside(paced, way[:, None], shift, length[:, None])
    return np.asarray(moved[0, 0].numpy())


def drive_disturbed(
    config: DrivingConfig, seed: Sequence[int], looks: bool = True
) -> list[Driven]:
    """Return the windows of the drive of a seed, one a frame from when there is a past.

    looks: whether images are rendered; without, windows have no cameras (N is 0).
    """
    rng = np.random.default_rng(seed)
    course = start(seed)
    scenery = int(rng.integers(2**31))
    eyes = open_eyes(course, scenery, config.image) if looks else None
    world, state = course.world, course.state
    found: list[Driven] = []
    frames: list[tuple[WorldInstant, UInt8[np.ndarray, "N 3 H W"] | None]] = []
    left, side, pace = 0, 0.0, 1.0
    before = show(world, state)
    for _ in range(round(LIMIT / FRAME)):
        taken = eyes.take(before) if eyes else None
        frames = [*frames, (before, taken)][-config.past :]
        path = driven = plan_by_rules(world, state, config.future)
        if len(frames) == config.past:
            view = make_view(frames, eyes, navigate(world, state))
            found.append(Driven(view, torch.from_numpy(path).float()[None]))
            if left == 0:
                left = int(rng.integers(*HELD, endpoint=True))
                side = float(rng.uniform(-SIDE, SIDE)) if rng.random() < 0.5 else 0.0
                pace = float(rng.choice(PACES)) if rng.random() < 0.4 else 1.0
            left -= 1
            driven = disturb_path(path, state.ego.speed, side, pace)
        states = drive(world, state, driven)
        instants = [before, *(show(world, s) for s in states)]
        state, before = states[-1], instants[-1]
        end = find_end(course, state, instants, tolerance=0.0)
        if end:
            return found if end == "completed" else found[:-LOST]
    return found


def stream_windows(
    config: DrivingConfig, epoch: int, row: int, count: int, looks: bool = True
) -> Iterator[Driven]:
    """Yield ``count`` windows for a row of the batches of an epoch of training, mixed.

    Each row has drives of its own, so that no process needs those of another one.
    """
    seed = [NUMBER, config.source.seed, epoch, row]
    rng = np.random.default_rng(seed)
    pool: list[Driven] = []
    number = 0
    for left in range(count, 0, -1):
        while len(pool) < min(POOL, left):
            pool += drive_disturbed(config, [*seed, number], looks)
            number += 1
        last, k = len(pool) - 1, int(rng.integers(len(pool)))
        pool[k], pool[last] = pool[last], pool[k]
        yield pool.pop()


def replace_windows(
    batch: DrivingBatch, chosen: Bool[Tensor, " B"], streams: Sequence[Iterator[Driven]]
) -> DrivingBatch:
    """Return a batch in which the next of a row's stream stands in the place of a chosen one.

    Of its truth there is the path alone; maps and depth stay those of what was there.
    """
    rows = chosen.nonzero()[:, 0].tolist()
    if not rows:
        return batch
    new = [next(streams[row]) for row in rows]

    def put(given: Tensor, parts: list[Tensor]) -> Tensor:
        made = given.clone()
        made[rows] = torch.cat(parts).to(given)
        return made

    seen, truth = batch
    names = ("images", "intrinsic", "to_ego", "to_present")
    ego = EgoState(*(put(x, [w.seen.ego[k] for w in new]) for k, x in enumerate(seen.ego)))
    frames = {
        name: put(getattr(seen, name), [getattr(w.seen, name) for w in new]) for name in names
    }
    path = put(truth.path, [w.path for w in new])
    return DrivingBatch(
        seen._replace(**frames, ego=ego), truth._replace(path=path, shown=truth.shown | chosen)
    )

"""Candidate paths: where the car could be in the next frames.

    x' = v cos(yaw), y' = v sin(yaw), yaw' = v k        v = max(0, v0 + a t)

"anchored": v0 is the measured speed; a from -4 to 2 m/s^2, from -1/2 - 2 v0 where that is more:
braking harder than a slow car can would only be standing still once more. The curvature k moves
from the measured one (yaw rate by speed) to another within 1.5 s, and the path shifts sideways,
both by the command. To a side it shifts by up to a lane, and so far that it is 1.5 m aside
after the way of 3 s: the command says that the way is 2 m aside there, and costs do not know
it. Half of those to a side keep lane and curvature before they turn, until 5 m of that way are
left at most, and shift by less, as their way is shorter: a car that waits behind another at a
crossing stays on the road. Forward it shifts by up to 2.5 m, and that other curvature is a
share of the measured one and a bend, the sharper the slower the car is: who turns by mistake
can turn back.
"clothoid": as SAD, v0 is the measured speed with p = 0.2, else from 0 to 15 m/s, a from -3 to
7 m/s^2; a circle of the measured curvature with p = 0.2, else a clothoid k = k0 + s / A^2 with
A from 6 to 80 m, 40 % to the left and to the right each, 20 % straight; of all, sorted by where
they end, the command takes a third, three times.

What is random is drawn once, from the seed of the sampler: equal inputs have equal candidates,
whatever else is in the batch. Axes: B windows, M candidates, F frames, K small steps.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from drivers.nuscenes.window import FRAME
from tasks.driving.config import DrivingConfig

COMMANDS = ("left", "forward", "right")
STEPS = 5  # small steps in a frame
BRAKING, THRUST = -4.0, 2.0  # [m/s^2] between which accelerations lie
LANE = 4.0  # [m] by which a path may shift to a side, a little more than a lane
LITTLE = 2.5  # [m], the same of one that goes on forward
LEAST_ASIDE = 1.5  # [m] to the side, where that is the command
TURNING = 5.0  # [m] of way that are left to get there, at least
SHARPEST = 0.25  # [1 / m] curvature of a turn at a crossing
GENTLE, SHARP = 0.03, 0.1  # [1 / m] curvature of a road ahead: if it is driven fast, slowly
PUSH = 2.0  # [m/s^2] to a side, up to which what is slower may bend more
SLOW = 1.0  # [m/s] below which a yaw rate tells no curvature


class EgoState(NamedTuple):
    """What the car knows of itself: speed [m/s], yaw rate [rad/s], number of the command."""

    speed: Float[Tensor, " B"]
    yaw_rate: Float[Tensor, " B"]
    command: Int64[Tensor, " B"]

    @property
    def curvature(self) -> Float[Tensor, " B"]:
        """How it turns now [1 / m]."""
        return (self.yaw_rate / self.speed.clamp(min=SLOW)).clamp(-SHARPEST, SHARPEST)


class Sampler(nn.Module):
    """Draws candidates; it has nothing to train."""

    draws: Tensor

    def __init__(self, config: DrivingConfig, seed: int = 0) -> None:
        super().__init__()
        self.kind = config.planner.sampler
        self.frames = config.future
        draws = spread_points(config.planner.candidates, 4, seed)
        self.register_buffer("draws", torch.tensor(draws, dtype=torch.float32), False)

    def forward(self, ego: EgoState) -> Float[Tensor, "B M F 3"]:
        """Return candidates (x, y, yaw) in the ego frame [m, rad]."""
        if self.kind == "anchored":
            return sample_anchored(ego, self.draws, self.frames)
        return sample_clothoids(ego, self.draws, self.frames)


def spread_points(number: int, axes: int, seed: int) -> Float[np.ndarray, "number axes"]:
    """Return points that fill the unit cube evenly: an additive recurrence from a random start.

    Source: Roberts 2018, "The unreasonable effectiveness of quasirandom sequences".
    """
    root = 2.0
    for _ in range(60):  # the root of x^(axes + 1) = x + 1
        root = (1 + root) ** (1 / (axes + 1))
    start = np.random.default_rng(seed).random(axes)
    steps = root ** -np.arange(1.0, axes + 1)
    return np.asarray((start + np.outer(np.arange(number), steps)) % 1.0)


def drive_along(
    speed: Float[Tensor, "B M K"], curvature: Float[Tensor, "B M K"], dt: float
) -> Float[Tensor, "B M K 3"]:
    """Return (x, y, yaw) after each small step from the origin; speed: in each step."""
    turn = speed * curvature * dt
    yaw = turn.cumsum(-1)
    middle = yaw - turn / 2
    x = (speed * middle.cos()).cumsum(-1) * dt
    y = (speed * middle.sin()).cumsum(-1) * dt
    return torch.stack([x, y, yaw], -1)


def _make_speeds(
    start: Float[Tensor, "B M"], acceleration: Float[Tensor, "B M"], times: Float[Tensor, " K"]
) -> Float[Tensor, "B M K"]:
    """Return the speed in the middle of each small step, from the times at their ends [s]."""
    middle = times - times[0] / 2
    return (start[..., None] + acceleration[..., None] * middle).clamp(min=0)


def _make_times(frames: int, like: Tensor) -> Float[Tensor, " K"]:
    dt = FRAME / STEPS
    return dt * torch.arange(1, STEPS * frames + 1, device=like.device, dtype=like.dtype)


def sample_anchored(
    ego: EgoState, draws: Float[Tensor, "M 4"], frames: int
) -> Float[Tensor, "B M F 3"]:
    """Return candidates that start at the measured speed and curvature.

    The first of them keeps both.
    """
    times = _make_times(frames, ego.speed)
    first = torch.arange(len(draws), device=draws.device) == 0
    hardest = (-0.5 - 2 * ego.speed[:, None]).clamp(min=BRAKING)
    a = torch.where(first, 0.0, hardest + (THRUST - hardest) * draws[:, 0])
    speed = _make_speeds(ego.speed[:, None].expand_as(a), a, times)
    now, reach = ego.curvature[:, None], find_reach(ego.speed)[:, None]
    side = (1 - ego.command)[:, None].to(a)  # 1 left, 0 forward, -1 right
    late = (2 * draws[:, 3] - 1).clamp(min=0)
    begin = torch.where(side == 0, 0.0, late * (reach - TURNING))
    length = reach - begin
    bend = 2 * draws[:, 1] - 1
    most = (PUSH / ego.speed.square()).clamp(GENTLE, SHARP)[:, None]
    ahead = most * bend * bend.abs() + now * draws[:, 3]
    turning = SHARPEST * draws[:, 1].square().expand_as(a)
    aim = torch.where(side == 0, ahead, side * turning)
    swing = 2 * draws[:, 2] - 1
    either = LITTLE * swing * swing.abs().sqrt()
    # A curvature that rises from 0 for the first half of a way w leads 7 / 24 k w^2 aside.
    missing = LEAST_ASIDE - 7 / 24 * turning * length.square()
    aside = torch.maximum(LANE * draws[:, 2] * length / reach, missing)
    shift = torch.where(side == 0, either, side * aside)
    aim, shift = torch.where(first, now, aim), torch.where(first, 0.0, shift)
    since = speed.cumsum(-1) * (FRAME / STEPS) - begin[..., None]
    later = 2 * since / length[..., None]
    share = torch.where((begin > 0)[..., None], later, times / 1.5).clamp(0, 1)
    curvature = now[..., None] + (aim - now)[..., None] * share
    path = drive_along(speed, curvature, FRAME / STEPS)
    moved = shift_aside(path, since, shift, length)
    return moved[..., STEPS - 1 :: STEPS, :]


def find_moves(path: Float[Tensor, "*B F K"]) -> Float[Tensor, "*B F K"]:
    """Return by how much a path changes from frame to frame, the first from the origin."""
    return path.diff(dim=-2, prepend=torch.zeros_like(path[..., :1, :]))


def find_reach(speed: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the way [m] over which a path changes to a side: that of 3 s, 8 m at least."""
    return (3 * speed).clamp(min=8.0)


def shift_aside(
    path: Float[Tensor, "B M K 3"],
    way: Float[Tensor, "B M K"],
    shift: Float[Tensor, "B M"],
    length: Float[Tensor, "B #M"],
) -> Float[Tensor, "B M K 3"]:
    """Return paths that move to the left by ``shift`` [m], smoothly over a way of ``length``.

    The change ends with the heading it began with. way: driven since it began [m].
    """
    u = (way / length[..., None]).clamp(0, 1)
    aside = shift[..., None] * u**3 * (10 - 15 * u + 6 * u**2)
    slope = shift[..., None] * 30 * u**2 * (1 - u) ** 2 / length[..., None]
    x, y, yaw = path.unbind(-1)
    moved = (x - aside * yaw.sin(), y + aside * yaw.cos(), yaw + slope.atan())
    return torch.stack(moved, -1)


def sample_clothoids(
    ego: EgoState, draws: Float[Tensor, "M 4"], frames: int
) -> Float[Tensor, "B M F 3"]:
    """Return the candidates of SAD and ST-P3, but for the curvature.

    Theirs takes the angle of the steering wheel for that of the wheels.
    """
    times = _make_times(frames, ego.speed)
    many, batch = len(draws), len(ego.speed)
    keeps = draws[:, 3] < 0.2
    start = torch.where(keeps, ego.speed[:, None], 15 * (draws[:, 3] - 0.2) / 0.8)
    speed = _make_speeds(start, (10 * draws[:, 0] - 3).expand(batch, -1), times)
    way = speed.cumsum(-1) * (FRAME / STEPS)
    number = torch.arange(many, device=draws.device)
    left, right = number < 0.4 * many, number >= 0.6 * many
    side = left.to(speed) - right.to(speed)
    circle = draws[:, 1] < 0.2
    now = torch.where(left | right, ego.curvature[:, None], 0.0)
    scale = 6 + 74 * draws[:, 2]
    rate = torch.where(circle, 0.0, side / scale.square())
    curvature = now[..., None] + rate[:, None] * way
    path = drive_along(speed, curvature, FRAME / STEPS)[..., STEPS - 1 :: STEPS, :]
    order = path[:, :, -1, 1].argsort(1, descending=True)
    third = math.ceil(many / 3)
    place = (ego.command * third).clamp(max=many - third)[:, None]
    chosen = order.gather(1, place + number % third)
    return path.gather(1, chosen[..., None, None].expand(-1, -1, *path.shape[2:]))

"""Sample candidate paths of the car for the next frames.

    x' = v cos(yaw), y' = v sin(yaw), yaw' = v k        v = max(0, v0 + a t)

"anchored": v0 is the measured speed. a ranges from max(-4, -1/2 - 2 v0) to 2 m/s^2; stronger
braking of a slow car would only add candidates that stand still. The command determines how the
curvature k changes within 1.5 s from the measured one (yaw rate / speed), and how the path
shifts sideways:

- Turn. Let D be the distance driven in 3 s. The path shifts by up to a lane and is at least
  1.5 m aside after D: the command means that the route is 2 m aside there, which no cost knows.
  Half of the turning candidates first keep lane and curvature, until at least 5 m of D remain,
  and then shift less: a car that waits behind another at a crossing stays on the road.
- Forward. The path shifts by up to 2.5 m. The new curvature is a share of the measured one plus
  a bend, which is sharper for slower cars, so that a car can correct a wrong turn.

"clothoid": as in SAD, v0 is the measured speed with p = 0.2, else from 0 to 15 m/s; a is from
-3 to 7 m/s^2. The path is a circle of the measured curvature with p = 0.2, else a clothoid
k = k0 + s / A^2 with A from 6 to 80 m; 40 % turn left, 40 % right, 20 % go straight. The
candidates are sorted by their lateral ends; the command selects a third, repeated three times.

The seed of the sampler determines all draws: equal inputs give equal candidates in any batch.
Axes: B windows, M candidates, F frames, K small steps.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from drivers.nuscenes.window import ASIDE, FRAME
from tasks.driving.config import DrivingConfig, Navigation

COMMANDS = ("left", "forward", "right")
STEPS = 5  # small steps per frame
BRAKING, THRUST = -4.0, 2.0  # [m/s^2] range of accelerations
LANE = 4.0  # [m] largest shift in a turn, slightly more than a lane
LITTLE = 2.5  # [m] largest shift at the command "forward"
LEAST_ASIDE = 1.5  # [m] least shift in a turn
TURNING = 5.0  # [m] least distance over which a turn shifts
SHARPEST = 0.25  # [1 / m] largest curvature of a turn at a crossing
GENTLE, SHARP = 0.03, 0.1  # [1 / m] largest bend at "forward", for fast and for slow cars
PUSH = 2.0  # [m/s^2] lateral acceleration of the largest bend at speeds in between
SLOW = 1.0  # [m/s] least speed by which the yaw rate is divided


class EgoState(NamedTuple):
    """The state of the car and its navigation.

    speed: [m/s]. yaw_rate: [rad/s].
    target: point (x, y) on the route ahead, in the ego frame [m]
    (:func:`drivers.nuscenes.window.find_target`).
    """

    speed: Float[Tensor, " B"]
    yaw_rate: Float[Tensor, " B"]
    target: Float[Tensor, "B 2"]

    @property
    def command(self) -> Int64[Tensor, " B"]:
        """The index of the command, which is a turn if the target lies at least 2 m aside."""
        aside = self.target[:, 1]
        return 1 - (aside >= ASIDE).long() + (aside <= -ASIDE).long()

    @property
    def curvature(self) -> Float[Tensor, " B"]:
        """The present curvature [1 / m]."""
        return (self.yaw_rate / self.speed.clamp(min=SLOW)).clamp(-SHARPEST, SHARPEST)


FAR = 20.0  # [m], unit of targets as network inputs
NAVIGATION: Mapping[Navigation, int] = {"command": len(COMMANDS), "target": len(COMMANDS) + 2}


def encode_navigation(ego: EgoState, navigation: Navigation) -> Float[Tensor, "B K"]:
    """Return network inputs: the one-hot command and, for "target", also the target."""
    command = F.one_hot(ego.command, len(COMMANDS)).to(ego.target)
    return command if navigation == "command" else torch.cat([command, ego.target / FAR], 1)


class Sampler(nn.Module):
    """Samples candidate paths; the sampler has no trained parameters."""

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
    """Return evenly spread points in the unit cube, by an additive recurrence.

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
    """Return (x, y, yaw) after each small step from the origin, at constant speed per step."""
    turn = speed * curvature * dt
    yaw = turn.cumsum(-1)
    middle = yaw - turn / 2
    x = (speed * middle.cos()).cumsum(-1) * dt
    y = (speed * middle.sin()).cumsum(-1) * dt
    return torch.stack([x, y, yaw], -1)


def _make_speeds(
    start: Float[Tensor, "B M"], acceleration: Float[Tensor, "B M"], times: Float[Tensor, " K"]
) -> Float[Tensor, "B M K"]:
    """Return the speed in the middle of each small step; ``times`` are their ends [s]."""
    middle = times - times[0] / 2
    return (start[..., None] + acceleration[..., None] * middle).clamp(min=0)


def _make_times(frames: int, like: Tensor) -> Float[Tensor, " K"]:
    dt = FRAME / STEPS
    return dt * torch.arange(1, STEPS * frames + 1, device=like.device, dtype=like.dtype)


def sample_anchored(
    ego: EgoState, draws: Float[Tensor, "M 4"], frames: int
) -> Float[Tensor, "B M F 3"]:
    """Return candidates that start at measured speed and curvature; the first keeps both."""
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
    # A curvature that rises from 0 over the first half of a way w shifts by 7 / 24 k w^2.
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
    """Return the changes of a path per frame; the first is relative to the origin."""
    return path.diff(dim=-2, prepend=torch.zeros_like(path[..., :1, :]))


def find_reach(speed: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the distance [m] over which a path shifts: that of 3 s, at least 8 m."""
    return (3 * speed).clamp(min=8.0)


def shift_aside(
    path: Float[Tensor, "B M K 3"],
    way: Float[Tensor, "B M K"],
    shift: Float[Tensor, "B M"],
    length: Float[Tensor, "B #M"],
) -> Float[Tensor, "B M K 3"]:
    """Shift paths smoothly to the left by ``shift`` [m], over a distance of ``length`` [m].

    The shift leaves the heading at its end unchanged. way: distance driven since the start of
    the shift [m].
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
    """Return the candidates of SAD and ST-P3, with a corrected curvature.

    Their code takes the angle of the steering wheel for that of the road wheels.
    """
    times = _make_times(frames, ego.speed)
    count, batch = len(draws), len(ego.speed)
    keeps = draws[:, 3] < 0.2
    start = torch.where(keeps, ego.speed[:, None], 15 * (draws[:, 3] - 0.2) / 0.8)
    speed = _make_speeds(start, (10 * draws[:, 0] - 3).expand(batch, -1), times)
    way = speed.cumsum(-1) * (FRAME / STEPS)
    number = torch.arange(count, device=draws.device)
    left, right = number < 0.4 * count, number >= 0.6 * count
    side = left.to(speed) - right.to(speed)
    circle = draws[:, 1] < 0.2
    now = torch.where(left | right, ego.curvature[:, None], 0.0)
    scale = 6 + 74 * draws[:, 2]
    rate = torch.where(circle, 0.0, side / scale.square())
    curvature = now[..., None] + rate[:, None] * way
    path = drive_along(speed, curvature, FRAME / STEPS)[..., STEPS - 1 :: STEPS, :]
    order = path[:, :, -1, 1].argsort(1, descending=True)
    third = math.ceil(count / 3)
    place = (ego.command * third).clamp(max=count - third)[:, None]
    chosen = order.gather(1, place + number % third)
    return path.gather(1, chosen[..., None, None].expand(-1, -1, *path.shape[2:]))

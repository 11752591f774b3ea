"""Tracking of a path: linear-quadratic regulators drive a kinematic bicycle.

The errors from a reference, e metres to the left and p radians of heading, change with the way
by
    de/ds = p,  dp/ds = k - k_ref.
The curvature k that minimises the integral of e^2 / D^4 + (k - k_ref)^2 is
    k = k_ref - e / D^2 - sqrt(2) p / D,
and likewise in time the acceleration for errors of distance and speed. The bicycle's position
is its rear axle: x' = v cos yaw, y' = v sin yaw, yaw' = v k.
"""

from dataclasses import dataclass
from math import cos, hypot, sin, sqrt

import numpy as np
from jaxtyping import Float64
from scipy.interpolate import CubicSpline

from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.window import FRAME
from drivers.nuscenes.world.instant import STEP, Ego

REACH = (3.0, 0.6)  # D: metres, and seconds of the way driven
PROMPT = 0.6  # [s]: the same for the regulator of speed
HARDEST, STRONGEST = 8.0, 3.5  # [m/s^2] of braking and of speeding up
TIGHTEST = 0.2  # [1/m]: front wheels at 27 degrees
TURN = 0.25  # [1/m/s]: largest change of the curvature
SLOW = 0.5  # [m/s]: a slower path has no direction


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """A planned path in the global frame.

    start: the ego at the time of the plan. spline: (x, y) by seconds since then. last: end of
    the plan [s], at which the car stops.
    """

    start: Ego
    spline: CubicSpline
    last: float


def make_trajectory(ego: Ego, path: Float64[np.ndarray, "F 3"]) -> Trajectory:
    """Return the trajectory of a path.

    path: (x, y, yaw) in the present ego frame, 0.5 s apart, first after 0.5 s; the yaw is
    ignored, because the points determine it.

    Raises:
        ValueError: no points, or points that are not finite.
    """
    if not len(path) or not np.isfinite(path).all():
        raise ValueError(
            f"make_trajectory: a path has one finite (x, y, yaw) or more, got {path.tolist()}"
        )
    c, s = cos(ego.yaw), sin(ego.yaw)
    x, y = ego.x + path[:, 0] * c - path[:, 1] * s, ego.y + path[:, 0] * s + path[:, 1] * c
    points = np.concatenate([[[ego.x, ego.y]], np.stack([x, y], 1)])
    times = FRAME * np.arange(len(points))
    velocity = np.array([ego.speed * c, ego.speed * s])
    spline = CubicSpline(times, points, bc_type=((1, velocity), "not-a-knot"))
    return Trajectory(start=ego, spline=spline, last=float(times[-1]))


def follow_trajectory(ego: Ego, trajectory: Trajectory, since: float) -> Ego:
    """Return the ego 0.1 s later, ``since`` seconds after the trajectory was planned."""
    time = min(since + STEP / 2, trajectory.last)
    (x, y), (vx, vy), (ax, ay) = (trajectory.spline(time, n) for n in range(3))
    pace = hypot(vx, vy) if since < trajectory.last else 0.0
    if vx * cos(ego.yaw) + vy * sin(ego.yaw) < 0:
        pace = 0.0  # a car does not reverse
    if pace > SLOW:
        c, s = vx / pace, vy / pace
        bend, push = (vx * ay - vy * ax) / pace**3, (vx * ax + vy * ay) / pace
    else:  # a standing path keeps the direction of the car
        c, s, bend, push = cos(ego.yaw), sin(ego.yaw), 0.0, 0.0
    dx = ego.x + STEP / 2 * ego.speed * cos(ego.yaw) - x
    dy = ego.y + STEP / 2 * ego.speed * sin(ego.yaw) - y
    ahead, aside = dx * c + dy * s, dy * c - dx * s
    turned = wrap_angle(ego.yaw - np.arctan2(s, c))
    reach = REACH[0] + REACH[1] * ego.speed
    wanted = bend - aside / reach**2 - sqrt(2) * turned / reach
    change = float(np.clip(wanted, -TIGHTEST, TIGHTEST)) - ego.curvature
    curvature = ego.curvature + float(np.clip(change, -TURN * STEP, TURN * STEP))
    acceleration = push - ahead / PROMPT**2 - sqrt(2) * (ego.speed - pace) / PROMPT
    acceleration = float(np.clip(acceleration, -HARDEST, STRONGEST))
    return drive_bicycle(ego, acceleration, curvature)


def drive_bicycle(ego: Ego, acceleration: float, curvature: float) -> Ego:
    """Return the ego after 0.1 s of constant acceleration [m/s^2] and curvature [1/m].

    A standing car does not reverse.
    """
    speed = max(0.0, ego.speed + acceleration * STEP)
    way = (ego.speed + speed) / 2 * STEP
    middle = ego.yaw + way * curvature / 2
    return Ego(
        x=ego.x + way * cos(middle),
        y=ego.y + way * sin(middle),
        yaw=ego.yaw + way * curvature,
        speed=speed,
        acceleration=(speed - ego.speed) / STEP,
        curvature=curvature,
    )

"""Checks that the CAN bus covers each scene and agrees with the poses."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.integrate import trapezoid

from drivers.nuscenes.can_bus import (
    UNRECORDED,
    CanBus,
    make_bus_problem,
    read_can_bus,
    read_messages,
)
from drivers.nuscenes.check.sensors import Pose, list_ego_poses, measure_motion
from drivers.nuscenes.fields import Content, shorten
from drivers.nuscenes.geometry import wrap_angle
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import are_numbers
from drivers.nuscenes.tables import is_scene_name

MOVING = 2.0  # [m/s]: slower speeds are not compared
RATIO = 1.5  # largest ratio of two speeds that should be equal
TURNED = np.radians(30)  # largest difference of two turns that should be equal


def find_can_problems(content: Content, root: Path) -> Iterator[Problem]:
    """Yield the scenes whose CAN bus is missing, damaged, or from another drive."""
    if not (root / "can_bus").is_dir():
        what, cure = "is missing", "unpack the CAN bus expansion there; windows need it"
        yield Problem(table="can_bus", what=what, cure=cure)
        return
    poses = list_ego_poses(content)
    turns = []
    for row in content.rows("scene", "name"):
        name = row["name"]
        if not is_scene_name(name):
            continue
        if name not in UNRECORDED:
            yield from _find_bad_route(root, name)
        try:
            bus = read_can_bus(root, name)
            track = poses.get(row["token"], [])
            time = np.array([t for t, _ in track], np.int64)
            if not time.size:
                continue
            speed, _ = bus.motion_at(time)
            bus.steering_at(time)
        except NuScenesError as error:
            yield from error.problems
            continue
        problems = list(find_other_motion(bus, speed, track))
        yield from problems
        if all(problem.field != "rotation_rate" for problem in problems):
            turns.append(_measure_turn(bus, track))
    yield from find_other_turns(np.array(turns, np.float64).reshape(-1, 2))


def _find_bad_route(root: Path, scene: str) -> Iterator[Problem]:
    """Yield a problem if the devkit cannot read the route, which windows do not need."""
    try:
        route = read_messages(root, scene, "route")
    except NuScenesError as error:
        yield from error.problems
        return
    for k, point in enumerate(route):
        if not are_numbers(point, 2):
            what = f"point {k} is {shorten(point)}, expected x, y [m]"
            yield make_bus_problem(
                scene, "route", what, cure="fetch the CAN bus expansion again"
            )
            return


def find_other_motion(
    bus: CanBus, speed: Float64[np.ndarray, " P"], track: Sequence[Pose]
) -> Iterator[Problem]:
    """Yield the disagreements between a scene's CAN bus and its poses.

    speed: speed from the CAN bus at the times of ``track``.
    """
    _, driven = measure_motion(track)
    mean = (speed[1:] + speed[:-1]) / 2
    fast = driven > MOVING
    ratio = float(np.median(mean[fast] / driven[fast])) if fast.any() else 1.0
    if not 1 / RATIO < ratio < RATIO:
        what = f"vel[0] is {ratio:.2g} times the speed of the poses"
        yield make_bus_problem(bus.scene, "pose", what, "vel", "write m/s, forward first")
    turned, truly = _measure_turn(bus, track)
    apart = float(wrap_angle(np.array([turned - truly]))[0])
    if abs(apart) > TURNED:
        what = f"rotation_rate[2] and the poses are {np.degrees(apart):.0f} deg apart"
        cure = "write rad/s, to the left"
        yield make_bus_problem(bus.scene, "pose", what, "rotation_rate", cure)


def _measure_turn(bus: CanBus, track: Sequence[Pose]) -> tuple[float, float]:
    """Return the car's turn to the left by the CAN bus and by its poses [rad]."""
    inside = (bus.time >= track[0][0]) & (bus.time <= track[-1][0])
    turned = trapezoid(bus.yaw_rate[inside], bus.time[inside] / 1e6)
    heading = np.unwrap([pose[2] for _, pose in track])
    return float(turned), float(heading[-1] - heading[0])


def find_other_turns(turns: Float64[np.ndarray, "S 2"]) -> Iterator[Problem]:
    """Yield a problem if the turns of all scenes together have the wrong sign.

    The test takes all scenes because a single scene may turn too little.
    turns: turn of each scene by the CAN bus and by the poses [rad].
    """
    turned, truly = turns.T
    if (truly**2).sum() > (TURNED / 2) ** 2 and (turned * truly).sum() < 0:
        slope = (turned * truly).sum() / (truly**2).sum()
        what = f"over all scenes rotation_rate[2] is {slope:.2g} times the turning of the poses"
        cure = "write rad/s, to the left"
        yield Problem(table="can_bus", field="rotation_rate", what=what, cure=cure)

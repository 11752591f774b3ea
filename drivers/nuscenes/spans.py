"""Find the windows of a data set: consecutive valid keyframes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from drivers.nuscenes.can_bus import read_can_bus
from drivers.nuscenes.check.can import find_other_motion
from drivers.nuscenes.check.sensors import (
    FASTEST,
    MICROSECONDS,
    Pose,
    find_calibration_problems,
    find_other_lens,
    find_outside,
    is_paced,
    measure_motion,
)
from drivers.nuscenes.fields import collect, find_field_problems
from drivers.nuscenes.geometry import LEAN, flatten
from drivers.nuscenes.images import read_image, read_lidar, scaled_size
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.tables import Keyframe, Shot, Tables
from drivers.nuscenes.window import ImageSize

CHANNELS = (*CAMERAS, LIDAR)
SKIP = "mend it, or leave it out (neuro train --skip-bad)"


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSpan:
    """A window: T = S+F keyframes of one scene, by the tokens of their samples.

    time: [us]. poses: flat pose of the ego at each, in the global frame. speed: [m/s].
    yaw_rate: [rad/s].
    """

    scene: str
    location: str
    tokens: tuple[str, ...]
    time: Int64[np.ndarray, " T"]
    poses: Float64[np.ndarray, "T 3"]
    speed: Float64[np.ndarray, " T"]
    yaw_rate: Float64[np.ndarray, " T"]


def require_calibrations(tables: Tables) -> None:
    """Raise unless each sensor has a valid calibration and the direction of its name.

    Raises:
        NuScenesError: lists all problems.
    """
    sensors = {n: getattr(tables.nuscenes, n) for n in ("sensor", "calibrated_sensor")}
    problems = find_field_problems(sensors)
    problems += find_calibration_problems(collect(sensors, problems))
    if problems:
        raise NuScenesError(problems)


def find_spans(
    tables: Tables, scene: str, length: int, image: ImageSize, *, decode: bool
) -> tuple[list[WindowSpan], list[Problem]]:
    """Return the windows of a scene with valid keyframes, and the problems of the others.

    decode: read every file, instead of checking that it exists.
    """
    try:
        tokens = tables.list_keyframes(scene)
        if len(tokens) < length:
            what = f"{scene} has {len(tokens)} keyframes, past and future need {length}"
            raise NuScenesError([_problem("scene", tables.scenes[scene], "nbr_samples", what)])
        frames, problems = _read_frames(tables, tokens, image, decode)
        known = sorted(frames)
        time = np.array([frames[k].shots[LIDAR].timestamp for k in known], np.int64)
        poses = np.array([flatten(frames[k].shots[LIDAR].ego) for k in known]).reshape(-1, 3)
        track = list(zip(time.tolist(), poses, strict=True))
        _require_speed(tables.scenes[scene], track)
        bus = read_can_bus(tables.root, scene)
        speed, yaw_rate = bus.motion_at(time)
        if other := list(find_other_motion(bus, speed, track)) if track else []:
            raise NuScenesError(other)
    except NuScenesError as error:
        return [], list(error.problems)
    location = tables.location(scene)
    follows = []  # whether the next valid keyframe comes half a second later
    for first, after, step in zip(known, known[1:], np.diff(time).tolist(), strict=False):
        follows.append(after == first + 1 and is_paced(step))
        if after == first + 1 and not is_paced(step):
            what = f"the next keyframe is {step / 1e6} s later"
            problems.append(_problem("sample", tokens[first], "timestamp", what))
    spans = []
    for k in range(len(known) - length + 1):
        if all(follows[k : k + length - 1]):
            part = slice(k, k + length)
            names = tuple(tokens[i] for i in known[part])
            spans.append(
                WindowSpan(
                    scene=scene, location=location, tokens=names, time=time[part],
                    poses=poses[part], speed=speed[part], yaw_rate=yaw_rate[part],
                )
            )  # fmt: skip
    return spans, problems


def _read_frames(
    tables: Tables, tokens: Sequence[str], image: ImageSize, decode: bool
) -> tuple[dict[int, Keyframe], list[Problem]]:
    """Return the valid keyframes by their index in the scene, and the problems of others."""
    frames: dict[int, Keyframe] = {}
    problems: list[Problem] = []
    for k, token in enumerate(tokens):
        try:
            frame = tables.read_keyframe(token, CHANNELS)
            for shot in frame.shots.values():
                _require_sound(shot, token, image, decode)
            frames[k] = frame
        except NuScenesError as error:
            problems += error.problems
    return frames, problems


def _require_sound(shot: Shot, token: str, image: ImageSize, decode: bool) -> None:
    low, high = MICROSECONDS
    if not low <= shot.timestamp < high:
        what = f"{shot.channel} is at {shot.timestamp}, no time in microseconds"
        raise NuScenesError([_problem("sample", token, "timestamp", what)])
    if shot.ego[2, 2] < np.cos(LEAN):
        what = f"the car leans by {np.degrees(np.arccos(shot.ego[2, 2])):.0f} deg"
        raise NuScenesError([_problem("sample", token, "rotation", what)])
    if not shot.path.is_file():
        raise NuScenesError([_problem("sample", token, str(shot.path), "is missing")])
    if shot.channel != LIDAR:
        scaled_size(image, shot.width, shot.height, shot.path)
        what = find_outside(shot.intrinsic, shot.width, shot.height)
        what = what or find_other_lens(shot.channel, shot.intrinsic, shot.width)
        if what:
            raise NuScenesError([_problem("sample", token, "camera_intrinsic", what)])
    if decode:
        _ = read_lidar(shot.path) if shot.channel == LIDAR else read_image(shot.path)


def _require_speed(token: str, track: Sequence[Pose]) -> None:
    _, speed = measure_motion(track)
    if speed.size and speed.max() > FASTEST:
        what = f"the car drives at {speed.max():.0f} m/s"
        raise NuScenesError([_problem("scene", token, "ego_pose", what)])


def _problem(table: str, token: str, field: str, what: str) -> Problem:
    return Problem(table=table, token=token, field=field, what=what, cure=SKIP)

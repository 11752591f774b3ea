"""The CAN bus of a scene: speed, yaw rate and steering of the car.

``can_bus/<scene>_pose.json`` (50 Hz) and ``<scene>_steeranglefeedback.json`` (100 Hz) are lists
of messages. Their utime is [us] since 1970, like the timestamps of the tables.

Source: nuScenes, "CAN bus expansion" (python-sdk/nuscenes/can_bus/README.md of the devkit).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from drivers.nuscenes.fields import shorten
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import are_numbers, describe_escape, read_json

# Scenes without a CAN bus, which the devkit refuses: can_blacklist of its NuScenesCanBus.
UNRECORDED = frozenset(
    f"scene-{n:04}" for n in (*range(161, 169), *range(170, 177), *range(309, 315))
)
GAP = 250_000  # [us] largest time to the nearest message: about 12 messages of the pose
CURE = "fetch the CAN bus expansion again, or leave the scene out (neuro train --skip-bad)"


@dataclass(frozen=True, kw_only=True, eq=False)
class CanBus:
    """The recorded motion of the car in a scene: M messages of the pose, K of the wheel.

    time: times of the pose messages [us]. speed, acceleration: forward [m/s, m/s^2].
    yaw_rate: [rad/s]. position: (x, y) in the global frame [m].
    steering_time: times of the wheel messages [us].
    steering: angle of the steering wheel, not of the road wheels [rad].
    """

    scene: str
    time: Int64[np.ndarray, " M"]
    speed: Float64[np.ndarray, " M"]
    acceleration: Float64[np.ndarray, " M"]
    yaw_rate: Float64[np.ndarray, " M"]
    position: Float64[np.ndarray, "M 2"]
    steering_time: Int64[np.ndarray, " K"]
    steering: Float64[np.ndarray, " K"]

    def motion_at(
        self, time: Int64[np.ndarray, " S"]
    ) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " S"]]:
        """Interpolate speed [m/s] and yaw rate [rad/s] linearly at each time [us].

        Raises:
            NuScenesError: no pose message lies within a quarter of a second of a time.
        """
        self._require_near("pose", self.time, time)
        return np.interp(time, self.time, self.speed), np.interp(time, self.time, self.yaw_rate)

    def steering_at(self, time: Int64[np.ndarray, " S"]) -> Float64[np.ndarray, " S"]:
        """Return the angle of the steering wheel [rad] at each time [us].

        Raises:
            NuScenesError: no wheel message lies within a quarter of a second of a time.
        """
        self._require_near("steeranglefeedback", self.steering_time, time)
        return np.interp(time, self.steering_time, self.steering)

    def _require_near(
        self, message: str, known: Int64[np.ndarray, " M"], time: Int64[np.ndarray, " S"]
    ) -> None:
        after = np.searchsorted(known, time).clip(1, max(len(known) - 1, 1))
        near = np.minimum(
            np.abs(known[after - 1] - time),
            np.abs(known[after.clip(max=len(known) - 1)] - time),
        )
        for worst in np.flatnonzero(near > GAP)[:1]:
            what = f"no message within {GAP / 1e6} s of {time[worst]} us"
            raise NuScenesError([make_bus_problem(self.scene, message, what, field="utime")])


def can_bus_file(scene: str, message: str) -> Path:
    """Return the path of a scene's message file, relative to the root of the data set."""
    return Path("can_bus") / f"{scene}_{message}.json"


def read_can_bus(root: Path, scene: str) -> CanBus:
    """Return the CAN bus of a scene of the data set in ``root``.

    Raises:
        NuScenesError: a file is missing or damaged, or the devkit refuses to read it.
    """
    if scene in UNRECORDED and (root / can_bus_file(scene, "pose")).exists():
        what = "the devkit refuses it: nuScenes recorded no CAN bus of this scene"
        cure = "give the scene another name, or leave it out (neuro train --skip-bad)"
        raise NuScenesError([make_bus_problem(scene, "pose", what, cure=cure)])
    pose = _read(root, scene, "pose", {"vel": 3, "accel": 3, "rotation_rate": 3, "pos": 3})
    wheel = _read(root, scene, "steeranglefeedback", {"value": 0})
    return CanBus(
        scene=scene,
        time=pose["utime"],
        speed=pose["vel"][:, 0],
        acceleration=pose["accel"][:, 0],
        yaw_rate=pose["rotation_rate"][:, 2],
        position=pose["pos"][:, :2],
        steering_time=wheel["utime"],
        steering=wheel["value"],
    )


def read_messages(root: Path, scene: str, message: str) -> list[Any]:
    """Return a scene's messages of one kind.

    Raises:
        NuScenesError: the file is missing, or does not contain a list.
    """
    name = can_bus_file(scene, message)
    if escapes := describe_escape(str(name)):
        cure = "name scenes scene-0000"
        raise NuScenesError([make_bus_problem(scene, message, escapes, cure=cure)])
    try:
        rows = read_json(root / name)
    except FileNotFoundError:
        known = ": nuScenes recorded none" if scene in UNRECORDED else ""
        cure = (
            "unpack the CAN bus expansion into can_bus/, or leave the scene out "
            "(neuro train --skip-bad)"
        )
        what = f"is missing{known}"
        raise NuScenesError([make_bus_problem(scene, message, what, cure=cure)]) from None
    except ValueError as error:
        raise NuScenesError([make_bus_problem(scene, message, str(error))]) from None
    if not isinstance(rows, list) or not rows:
        raise NuScenesError([make_bus_problem(scene, message, "holds no list of messages")])
    return rows


def _read(
    root: Path, scene: str, message: str, fields: dict[str, int]
) -> dict[str, np.ndarray]:
    """Return columns of messages. fields: list length of each field by name, 0 for a number."""
    rows = read_messages(root, scene, message)
    for k, row in enumerate(rows):
        for field, n in {"utime": 0, **fields}.items():
            value = row.get(field) if isinstance(row, dict) else None
            if not are_numbers([value] if n == 0 else value, max(n, 1)):
                what = f"message {k} has {shorten(value)}, expected {n or 'a number'}"
                what += " numbers" if n else ""
                raise NuScenesError([make_bus_problem(scene, message, what, field=field)])
    columns = {field: np.array([row[field] for row in rows], np.float64) for field in fields}
    time = np.array([int(row["utime"]) for row in rows], np.int64)
    if (np.diff(time) < 0).any():
        k = int((np.diff(time) < 0).argmax()) + 1
        what = f"message {k} is older than the one before it"
        raise NuScenesError([make_bus_problem(scene, message, what, field="utime")])
    return {"utime": time, **columns}


def make_bus_problem(
    scene: str, message: str, what: str, field: str = "", cure: str = CURE
) -> Problem:
    """Return a problem with a scene's messages of one kind."""
    name = str(can_bus_file(scene, message))
    return Problem(table=name, token=scene, field=field, what=what, cure=cure)

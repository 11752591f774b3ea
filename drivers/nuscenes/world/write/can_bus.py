"""Messages of the car's own sensors, as files of the CAN bus expansion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from drivers.nuscenes.world.instant import STEP, WHEELBASE, Ego
from drivers.nuscenes.world.write.files import round_metres, to_quaternion

STEERING_RATIO = 15.0  # angle of the steering wheel over angle of the front wheels
POSE_HZ, STEERING_HZ, MONITOR_HZ = 50, 100, 2
GRAVITY = 9.81  # [m/s^2]
WHEEL = 1.95  # [m]: circumference of a wheel
ROUTE_STEP = 1.0  # [m] between points of the route

Message = dict[str, Any]


def describe_drive(
    egos: Sequence[Ego], start: int, offset: Float64[np.ndarray, "2"]
) -> Mapping[str, Any]:
    """Return the content of each file of a scene by name of its message.

    egos: every 0.1 s. start: time of the first [us]. offset: from the frame of the egos to
    that of the map [m]. "steeranglefeedback" is the angle of the steering wheel, left positive
    [rad]: :data:`STEERING_RATIO` times that of the front wheels.
    """
    track = _Track(egos, offset)
    messages: dict[str, Any] = {
        "pose": track.list_poses(start),
        "steeranglefeedback": track.list_steering(start),
        "vehicle_monitor": track.list_monitor(start),
    }
    return {**messages, "route": track.list_route(), "meta": _summarise(messages)}


class _Track:
    """The drive, interpolated between its instants."""

    def __init__(self, egos: Sequence[Ego], offset: Float64[np.ndarray, "2"]) -> None:
        self.at = STEP * np.arange(len(egos))
        columns = ("x", "y", "yaw", "speed", "acceleration", "curvature")
        self.rows = np.array([[getattr(ego, name) for ego in egos] for name in columns])
        self.rows[:2] += offset[:, None]
        self.rows[2] = np.unwrap(self.rows[2])

    def list_poses(self, start: int) -> list[Message]:
        return [
            {
                "accel": round_metres(acceleration, speed * speed * curvature, GRAVITY),
                "orientation": to_quaternion(yaw),
                "pos": round_metres(x, y, 0.0),
                "rotation_rate": [0.0, 0.0, round(speed * curvature, 5)],
                "utime": start + round(time * 1e6),
                "vel": round_metres(speed, 0.0, 0.0),
            }
            for time, (x, y, yaw, speed, acceleration, curvature) in self._rows(POSE_HZ)
        ]

    def list_steering(self, start: int) -> list[Message]:
        return [
            {"utime": start + round(time * 1e6), "value": _steer(row[5])}
            for time, row in self._rows(STEERING_HZ)
        ]

    def list_monitor(self, start: int) -> list[Message]:
        """Return messages with speed in km/h and yaw rate in deg/s, nuScenes' units here."""
        return [
            {
                "available_distance": 100,
                "battery_level": 80,
                "brake": int(max(0.0, -acceleration) * 20),
                "brake_switch": 2 if acceleration < -0.3 else 1,
                "gear_position": 7,
                "left_signal": int(curvature > 0.03),
                "rear_left_rpm": round(speed / WHEEL * 60, 2),
                "rear_right_rpm": round(speed / WHEEL * 60, 2),
                "right_signal": int(curvature < -0.03),
                "steering": round(float(np.degrees(_steer(curvature))), 2),
                "steering_speed": 0.0,
                "throttle": int(max(0.0, acceleration) * 100),
                "utime": start + round(time * 1e6),
                "vehicle_speed": round(speed * 3.6, 3),
                "yaw_rate": round(float(np.degrees(speed * curvature)), 3),
            }
            for time, (_, _, _, speed, acceleration, curvature) in self._rows(MONITOR_HZ)
        ]

    def list_route(self) -> list[list[float]]:
        """Return the driven way, a point about every metre."""
        along = np.concatenate([[0], np.hypot(*np.diff(self.rows[:2])).cumsum()])
        at = np.arange(0, along[-1] + ROUTE_STEP, ROUTE_STEP)
        x, y = (np.interp(at, along, row) for row in self.rows[:2])
        return [round_metres(*point) for point in zip(x.tolist(), y.tolist(), strict=True)]

    def _rows(self, hertz: int) -> Any:
        """Return (time, (x, y, yaw, speed, acceleration, curvature)) at a rate."""
        times = np.arange(int(self.at[-1] * hertz + 1e-6) + 1) / hertz
        rows = np.stack([np.interp(times, self.at, row) for row in self.rows], 1)
        return zip(times.tolist(), rows.tolist(), strict=True)


def _steer(curvature: float) -> float:
    return round(STEERING_RATIO * float(np.arctan(WHEELBASE * curvature)), 4)


def _summarise(messages: Mapping[str, Sequence[Message]]) -> dict[str, Any]:
    """Return number, frequency and statistics of the messages of each kind."""
    summary = {}
    for name, rows in messages.items():
        times = [row["utime"] for row in rows]
        span = (times[-1] - times[0]) / 1e6
        summary[name] = {
            "message_count": len(rows),
            "message_freq": round((len(rows) - 1) / span, 3) if span else 0.0,
            "timespan": span,
            "var_stats": {
                key: _describe_values(np.array([row[key] for row in rows], np.float64))
                for key in rows[0]
                if key != "utime"
            },
        }
    return summary


def _describe_values(values: Float64[np.ndarray, "P *K"]) -> dict[str, Any]:
    """Return maximum, mean, minimum and standard deviation over time of each entry."""
    return {
        name: np.round(of(values, axis=0), 4).tolist()
        for name, of in (("max", np.max), ("mean", np.mean), ("min", np.min), ("std", np.std))
    }

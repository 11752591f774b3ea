"""Transform rotations, poses and boxes between frames.

A *flat pose* (x, y, yaw) [m, m, rad] places a frame on the ground: a point p of the frame is
R(yaw) p + (x, y) in the outer frame. A *transform* is a 4 x 4 matrix from a frame to its outer
frame. A quaternion is (w, x, y, z), of length 1. Axes: P poses or points.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float64
from scipy.spatial.transform import Rotation
from shapely.geometry import Polygon

from drivers.nuscenes.box import Box

Angle = TypeVar("Angle", float, np.ndarray)
UNIT = 1e-3  # largest allowed deviation of a quaternion's length from 1
LEAN = np.radians(15)  # largest allowed tilt of the car or a box


def rotation_matrix(
    quaternion: Sequence[float | int] | Float[np.ndarray, "4"],
) -> Float64[np.ndarray, "3 3"]:
    """Return the matrix of a quaternion (w, x, y, z).

    Raises:
        ValueError: the length of the quaternion is not 1.
    """
    w, x, y, z = (float(v) for v in quaternion)
    length = float(np.linalg.norm([w, x, y, z]))
    if not abs(length - 1) <= UNIT:
        raise ValueError(
            f"quaternion {[w, x, y, z]} is of length {length:.4g}, expected 1; "
            "write it as (w, x, y, z) of a rotation"
        )
    matrix: Float64[np.ndarray, "3 3"] = Rotation.from_quat([x, y, z, w]).as_matrix()
    return matrix


def make_transform(
    translation: Sequence[float | int] | Float[np.ndarray, "3"],
    quaternion: Sequence[float | int] | Float[np.ndarray, "4"],
) -> Float64[np.ndarray, "4 4"]:
    """Return the transform of a frame at ``translation`` [m] with this rotation.

    Raises:
        ValueError: the length of the quaternion is not 1.
    """
    transform = np.eye(4)
    transform[:3, :3] = rotation_matrix(quaternion)
    transform[:3, 3] = translation
    return transform


def invert_transform(transform: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """Return the inverse transform, from the outer frame into the frame."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def move_points(
    transform: Float64[np.ndarray, "4 4"], points: Float[np.ndarray, "*P 3"]
) -> Float64[np.ndarray, "*P 3"]:
    """Transform points (x, y, z) from a frame to its outer frame."""
    moved: Float64[np.ndarray, "*P 3"] = points @ transform[:3, :3].T + transform[:3, 3]
    return moved


def heading(rotation: Float64[np.ndarray, "3 3"]) -> float:
    """Return the direction of the x axis of a frame on the ground [rad], in [-pi, pi]."""
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def flatten(transform: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "3"]:
    """Return the flat pose of a frame: position and heading."""
    x, y = transform[:2, 3]
    return np.array([x, y, heading(transform[:3, :3])])


def lift(pose: Float[np.ndarray, "3"], z: float = 0.0) -> Float64[np.ndarray, "4 4"]:
    """Return the transform of a flat pose at height ``z`` [m]."""
    x, y, yaw = (float(v) for v in pose)
    transform = np.eye(4)
    transform[:2, :2] = turn(yaw)
    transform[:3, 3] = x, y, z
    return transform


def turn(yaw: float) -> Float64[np.ndarray, "2 2"]:
    """Return the matrix of a counter-clockwise rotation on the ground [rad]."""
    return np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])


def wrap_angle(angle: Angle) -> Angle:
    """Return an angle, or angles of any shape, in [-pi, pi) [rad]."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def enter_frame(
    poses: Float[np.ndarray, "*P 3"], frame: Float[np.ndarray, "3"]
) -> Float64[np.ndarray, "*P 3"]:
    """Transform flat poses from the outer frame into a flat ``frame``."""
    return _join(
        (poses[..., :2] - frame[:2]) @ turn(float(frame[2])), poses[..., 2:] - frame[2]
    )


def leave_frame(
    poses: Float[np.ndarray, "*P 3"], frame: Float[np.ndarray, "3"]
) -> Float64[np.ndarray, "*P 3"]:
    """Transform flat poses from a flat ``frame`` to the outer frame."""
    return _join(
        poses[..., :2] @ turn(float(frame[2])).T + frame[:2], poses[..., 2:] + frame[2]
    )


def box_into_frame(box: Box, frame: Float[np.ndarray, "3"]) -> Box:
    """Transform a box and its velocity into a flat ``frame``, without changing z."""
    x, y, yaw = enter_frame(np.array([box.x, box.y, box.yaw]), frame)
    vx, vy = np.array([box.vx, box.vy]) @ turn(float(frame[2]))
    return replace(box, x=float(x), y=float(y), yaw=float(yaw), vx=float(vx), vy=float(vy))


def box_footprint(box: Box) -> Float64[np.ndarray, "4 2"]:
    """Return the corners of a box on the ground [m], counter-clockwise from the front left."""
    ahead, beside = box.length / 2, box.width / 2
    corners = np.array([[ahead, beside], [-ahead, beside], [-ahead, -beside], [ahead, -beside]])
    footprint: Float64[np.ndarray, "4 2"] = corners @ turn(box.yaw).T + [box.x, box.y]
    return footprint


def outline_box(box: Box) -> Polygon:
    """Return the footprint of a box as a polygon."""
    return Polygon(box_footprint(box))


def box_corners(box: Box) -> Float64[np.ndarray, "8 3"]:
    """Return the corners of a box [m]: the footprint at the bottom, then at the top."""
    footprint = box_footprint(box)
    bottom, top = box.z - box.height / 2, box.z + box.height / 2
    return np.concatenate([np.column_stack([footprint, np.full(4, z)]) for z in (bottom, top)])


def _join(
    position: Float64[np.ndarray, "*P 2"], yaw: Float64[np.ndarray, "*P 1"]
) -> Float64[np.ndarray, "*P 3"]:
    return np.concatenate([position, wrap_angle(yaw)], axis=-1)

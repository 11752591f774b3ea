"""The six cameras and the lidar of the simulated car, at their places on nuScenes' cars."""

from math import cos, pi, radians, sin

import numpy as np
from jaxtyping import Float64

from drivers.nuscenes.rig import CAMERAS, Camera

# Forward, to the left [m], yaw [deg], of nuScenes' cars; focal length in pixels of 1600.
MOUNTS: dict[str, tuple[float, float, float, float]] = {
    "CAM_FRONT_LEFT": (1.52, 0.49, 55.0, 1266.0),
    "CAM_FRONT": (1.70, 0.0, 0.0, 1266.0),
    "CAM_FRONT_RIGHT": (1.52, -0.49, -55.0, 1266.0),
    "CAM_BACK_LEFT": (1.05, 0.48, 110.0, 1266.0),
    "CAM_BACK": (0.03, 0.0, 180.0, 809.0),
    "CAM_BACK_RIGHT": (1.05, -0.48, -110.0, 1266.0),
}
CAMERA_HEIGHT = 1.5  # [m]
WIDTH, HEIGHT = 160, 90  # pixels
REAL_WIDTH = 1600
LIDAR = "LIDAR_TOP"
LIDAR_PLACE, LIDAR_YAW = (0.94, 0.0, 1.84), -pi / 2  # the x axis points to the right


def make_rig(width: int = WIDTH, height: int = HEIGHT) -> tuple[Camera, ...]:
    """Return the six cameras, in the order of CAMERAS, with images of this size.

    Raises:
        ValueError: a size below one pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f"images of {width} x {height} pixels; give at least 1 x 1")
    return tuple(_make_camera(name, width, height) for name in CAMERAS)


def _make_camera(channel: str, width: int, height: int) -> Camera:
    x, y, degrees, focal = MOUNTS[channel]
    yaw, f = radians(degrees), focal * width / REAL_WIDTH
    to_ego = np.eye(4)
    # Columns: the camera's right, down and forward in the ego frame.
    to_ego[:3, :3] = [[sin(yaw), 0, cos(yaw)], [-cos(yaw), 0, sin(yaw)], [0, -1, 0]]
    to_ego[:3, 3] = x, y, CAMERA_HEIGHT
    return Camera(
        channel=channel,
        intrinsic=np.array([[f, 0, width / 2], [0, f, height / 2], [0, 0, 1.0]]),
        to_ego=to_ego,
        width=width,
        height=height,
    )


def lidar_to_ego() -> Float64[np.ndarray, "4 4"]:
    """Return the transform from the frame of LIDAR_TOP to the ego frame."""
    x, y, z = LIDAR_PLACE
    out = flat_to_global(x, y, LIDAR_YAW)
    out[2, 3] = z
    return out


def flat_to_global(x: float, y: float, yaw: float) -> Float64[np.ndarray, "4 4"]:
    """Return the transform from the flat ego frame at a pose to the global frame."""
    c, s = cos(yaw), sin(yaw)
    out = np.eye(4)
    out[:2, :2] = [[c, -s], [s, c]]
    out[:2, 3] = x, y
    return out

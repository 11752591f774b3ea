"""The cameras of a car, in the order of all arrays."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

CAMERAS = (
    "CAM_FRONT_LEFT",
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_LEFT",
    "CAM_BACK",
    "CAM_BACK_RIGHT",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A pinhole camera on a car.

    channel: name of the camera.
    intrinsic: projects points of the camera frame (x right, y down, z forward) to pixels.
    to_ego: transform from the camera frame to the ego frame.
    width, height: size of the image [pixels].
    """

    channel: str
    intrinsic: Float[np.ndarray, "3 3"]
    to_ego: Float[np.ndarray, "4 4"]
    width: int
    height: int

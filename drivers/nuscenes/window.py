"""A window: S past and present frames of a drive, and what comes in the F frames after them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8

Command = Literal["left", "forward", "right"]
FRAME = 0.5  # [s] between keyframes
ASIDE = 2.0  # [m] to the left or right at the last future frame: a turn, as in ST-P3


def name_command(path: Float[np.ndarray, "F 3"]) -> Command:
    """Return what the navigation would say of a path in the present ego frame."""
    aside = path[-1, 1]
    return "left" if aside >= ASIDE else "right" if aside <= -ASIDE else "forward"


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """What a model sees of a drive, and the truth about it.

    The present frame is number S - 1. "present" is the flat ego frame of that instant (of
    LIDAR_TOP's timestamp). T: all S+F frames.

    Seen:
      images: RGB, resized and cropped. intrinsic: of the resized and cropped image.
      to_ego: from each camera to the ego frame of its frame s (at LIDAR_TOP's timestamp).
      to_present: from the ego frame of frame s to the present one (flat: x, y and yaw only).
      speed: [m/s] at each past and present frame. yaw_rate: [rad/s].
      command: what the navigation says.
    Truth, in the present ego frame, masks on the bird's-eye grid:
      vehicle, pedestrian: of each past and present, and each future frame.
      instance: number of the vehicle at each cell, 0 none; one number a vehicle in all frames.
      drivable, lane: of the present frame; lane: dividers.
      depth: [m] along the camera's axis, NaN where nothing was measured; at the feature stride.
      path: (x, y, yaw) of the ego at each future frame. past: at past and present ones.
    """

    token: str  # of the sample of the present frame
    scene: str
    images: UInt8[np.ndarray, "S N 3 H W"]
    intrinsic: Float32[np.ndarray, "S N 3 3"]
    to_ego: Float32[np.ndarray, "S N 4 4"]
    to_present: Float32[np.ndarray, "S 4 4"]
    speed: Float32[np.ndarray, " S"]
    yaw_rate: Float32[np.ndarray, " S"]
    command: Command
    vehicle: Bool[np.ndarray, "T X Y"]
    pedestrian: Bool[np.ndarray, "T X Y"]
    instance: Int32[np.ndarray, "T X Y"]
    drivable: Bool[np.ndarray, "X Y"]
    lane: Bool[np.ndarray, "X Y"]
    depth: Float32[np.ndarray, "S N h w"]
    path: Float32[np.ndarray, "F 3"]
    past: Float32[np.ndarray, "S 3"]


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """How a camera's image becomes a model's input: scaled, then cut at the top.

    height, width: of the result. scale: by which the image shrinks; crop: rows cut off above,
    after scaling. The principal point of the intrinsics moves with them.
    """

    height: int
    width: int
    scale: float
    crop: int

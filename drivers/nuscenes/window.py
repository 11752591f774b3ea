"""A window: S past and present frames of a drive, and the truth of F future frames."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8

from neuro.base.bounds import Count, Natural, Positive, list_wrong_fields

Command = Literal["left", "forward", "right"]
FRAME = 0.5  # [s] between keyframes
FORESIGHT, LEAST = 3.0, 8.0  # [s], [m]: a target lies 3 s ahead, and at least 8 m
ROUTE_LENGTH, ROUTE_STEP = 60.0, 1.0  # [m]: enough for a target at 20 m/s
ASIDE = 2.0  # [m] least lateral offset of the target of a turn


def measure_foresight(speed: float) -> float:
    """Return the distance of a target along the route [m], at a speed [m/s].

    It is the distance driven in 3 s, at least 8 m and at most the length of a route, 60 m.
    """
    return min(max(FORESIGHT * speed, LEAST), ROUTE_LENGTH)


def find_target(route: Float[np.ndarray, "R 2"], speed: float) -> tuple[float, float]:
    """Return the target (x, y) [m] of a route (:class:`Window`) at a speed [m/s]."""
    at = measure_foresight(speed) / ROUTE_STEP
    x, y = (float(np.interp(at, np.arange(len(route)), route[:, k])) for k in (0, 1))
    return x, y


def name_command(target: tuple[float, float]) -> Command:
    """Return the navigation command of a target in the present ego frame."""
    _, aside = target
    return "left" if aside >= ASIDE else "right" if aside <= -ASIDE else "forward"


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """The inputs of a model, and the true values of its outputs.

    The present frame is number S - 1. "present" is the flat ego frame of that frame, at
    LIDAR_TOP's timestamp. T: all S+F frames. R: points of a route.

    Inputs:
      images: RGB, resized and cropped. intrinsic: of the resized and cropped image.
      sweeps: the L images of each camera before that of a frame, oldest first. They have no
        own pose: features computed from them are lifted with the pose of the frame.
      to_ego: from each camera to the ego frame of its frame s (at LIDAR_TOP's timestamp).
      to_present: from the ego frame of frame s to the present one (flat: x, y and yaw only).
      speed: [m/s] at each past and present frame. yaw_rate: [rad/s].
      route: points ahead along the lanes of the map, which begin beside the car and are
        :data:`ROUTE_STEP` apart (:func:`drivers.nuscenes.route.find_route`).
      target: the point of the route that is 3 s ahead at the present speed, at least 8 m.
      command: left or right if the target lies at least 2 m to that side, else forward.
    Truth, in the present ego frame. Masks lie on the bird's-eye grid; that of the drivable area
    has its own grid (U, V), which may be finer:
      vehicle, pedestrian: of each past, present and future frame.
      instance: number of the vehicle at each cell, the same in all frames; 0 is background.
      drivable, lane: of the present frame; lane: dividers.
      depth: [m] along the camera's axis, NaN without a measurement; at the feature stride.
      path: (x, y, yaw) of the ego at each future frame.
      past: (x, y, yaw) of the ego at each past and present frame.
    """

    token: str  # sample of the present frame
    scene: str
    images: UInt8[np.ndarray, "S N 3 H W"]
    sweeps: UInt8[np.ndarray, "S N L 3 H W"]
    intrinsic: Float32[np.ndarray, "S N 3 3"]
    to_ego: Float32[np.ndarray, "S N 4 4"]
    to_present: Float32[np.ndarray, "S 4 4"]
    speed: Float32[np.ndarray, " S"]
    yaw_rate: Float32[np.ndarray, " S"]
    route: Float32[np.ndarray, "R 2"]
    target: Float32[np.ndarray, "2"]
    command: Command
    vehicle: Bool[np.ndarray, "T X Y"]
    pedestrian: Bool[np.ndarray, "T X Y"]
    instance: Int32[np.ndarray, "T X Y"]
    drivable: Bool[np.ndarray, "U V"]
    lane: Bool[np.ndarray, "X Y"]
    depth: Float32[np.ndarray, "S N h w"]
    path: Float32[np.ndarray, "F 3"]
    past: Float32[np.ndarray, "S 3"]


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The size of a model's input: a camera image, scaled and then cropped at the top.

    The principal point of the intrinsics moves accordingly.

    Raises:
        ValueError: an image without pixels, or a scale or a crop out of range.
    """

    height: Count
    """Height of the result [pixels]."""
    width: Count
    """Width of the result [pixels]."""
    scale: Positive
    """Factor on the size of the image."""
    crop: Natural
    """Rows to remove at the top after scaling [pixels]."""
    decode: Literal["full", "reduced"] = "full"
    """Decoding of JPEG files: full, or reduced by 2, 4 or 8 where that is large enough."""
    # Reduced images of 1600 x 900 at scale 0.3 take half the time; their pixels differ by up to
    # 9 of 255, by less than 1 on average.

    def __post_init__(self) -> None:
        if wrong := list_wrong_fields(self):
            raise ValueError("\n".join(["the size of images cannot be used:", *wrong]))

"""Bird's-eye labels: the cells of vehicles and pedestrians.

SAD and ST-P3 use FIERY's labels, and so do we: past and present frames contain the visible
boxes (visibility above 1), future frames only boxes that were visible before. We draw the boxes
of all frames in the present ego frame. SAD draws in the ego frame of each frame and warps the
pixels, with the sign of the car's lateral motion reversed; its corners round half a cell too
far ahead and to the left (docs/driving.md lists the differences). Axes: T = S+F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32, Int64

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import box_footprint, box_into_frame
from drivers.nuscenes.grid import GroundGrid

HIDDEN = 1  # visibility of a box of which 0-40 % are visible


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Masks per frame; ``instance`` has the number of the vehicle at each cell, or 0."""

    vehicle: Bool[np.ndarray, "T X Y"]
    pedestrian: Bool[np.ndarray, "T X Y"]
    instance: Int32[np.ndarray, "T X Y"]


def draw_labels(
    frames: Sequence[Sequence[Box]],
    seen: int,
    present: Float[np.ndarray, "3"],
    grid: GroundGrid,
) -> Labels:
    """Return the labels of ``frames``, whose boxes are in the global frame.

    seen: number of past and present frames. present: flat pose of the ego in the present frame.
    A box covers the cells of its corners and all cells between these.
    """
    vehicle, pedestrian, instance = np.zeros((3, len(frames), *grid.shape), np.int32)
    numbers: dict[str, int] = {}
    walkers: set[str] = set()
    for t, boxes in enumerate(frames):
        for box in boxes:
            if t < seen and box.visibility == HIDDEN:
                continue
            if box.is_vehicle and (t < seen or box.instance in numbers):
                number = numbers.setdefault(box.instance, len(numbers) + 1)
                cells = _cover(box, present, grid)
                vehicle[t][cells] = 1
                instance[t][cells] = number
            elif box.is_pedestrian and (t < seen or box.instance in walkers):
                walkers.add(box.instance)
                pedestrian[t][_cover(box, present, grid)] = 1
    return Labels(vehicle=vehicle > 0, pedestrian=pedestrian > 0, instance=instance)


def _cover(
    box: Box, present: Float[np.ndarray, "3"], grid: GroundGrid
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return the cells of the grid that a box covers, as an index of a mask.

    The whole box is drawn before the grid cuts it, because OpenCV shifts the edges of polygons
    at the border of a mask.
    """
    corners = grid.cells(box_footprint(box_into_frame(box, present)))
    if (corners.max(axis=0) < 0).any() or (corners.min(axis=0) >= grid.shape).any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = corners.min(axis=0)
    drawn = np.zeros(corners.max(axis=0) - first + 1, np.uint8)
    # OpenCV expects axis 1 first.
    cv2.fillPoly(drawn, [(corners - first)[:, ::-1].astype(np.int32)], (1,))
    x, y = (np.argwhere(drawn) + first).T
    inside = (x >= 0) & (x < grid.shape[0]) & (y >= 0) & (y < grid.shape[1])
    return x[inside], y[inside]

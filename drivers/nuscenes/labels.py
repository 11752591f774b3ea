"""Bird's-eye labels: the cells of vehicles and pedestrians, and the motion of vehicles.

As in SAD and ST-P3, which use FIERY's labels, past and present frames hold visible boxes (not
visibility 1), and future frames only boxes seen before. We draw the boxes of all frames in the
present ego frame. SAD draws in each ego frame and warps the pixels, and its corners round half
a cell too far ahead and to the left. Axes: T = S+F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64

from drivers.nuscenes.box import Box
from drivers.nuscenes.geometry import box_footprint, box_into_frame
from drivers.nuscenes.grid import GroundGrid

HIDDEN = 1  # visibility of a box with 0-40 % visible
SIGMA = 3.0  # cells, of the heat map around the middle of a vehicle


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Masks of each frame; instance: number of the vehicle at each cell, 0 without one."""

    vehicle: Bool[np.ndarray, "T X Y"]
    pedestrian: Bool[np.ndarray, "T X Y"]
    instance: Int32[np.ndarray, "T X Y"]


@dataclass(frozen=True, kw_only=True, eq=False)
class InstanceTargets:
    """Targets of a network for the vehicles; NaN outside them.

    centre: exp(-d^2 / sigma^2) at d cells from the nearest middle of a vehicle. offset: from a
    cell of a vehicle to its middle [cells]. flow: from the middle of the vehicle at a cell to
    its middle one frame later [cells], without ego motion.
    """

    centre: Float32[np.ndarray, "T X Y"]
    offset: Float32[np.ndarray, "T 2 X Y"]
    flow: Float32[np.ndarray, "T 2 X Y"]


def draw_labels(
    frames: Sequence[Sequence[Box]],
    seen: int,
    present: Float[np.ndarray, "3"],
    grid: GroundGrid,
) -> Labels:
    """Return the labels of ``frames`` of boxes in the global frame.

    seen: number of past and present frames. present: flat pose of the ego.
    A box covers the cells of its corners, and those between them.
    """
    masks = np.zeros((3, len(frames), *grid.shape), np.int32)
    vehicle, pedestrian, instance = masks
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


def make_instance_targets(instance: Int32[np.ndarray, "T X Y"]) -> InstanceTargets:
    """Return the targets of a network from masks in the present ego frame.

    The middle of a vehicle is the mean of its cells; FIERY rounds it to a cell.
    """
    shape = instance.shape
    centre = np.zeros(shape, np.float32)
    offset, flow = np.full((2, shape[0], 2, *shape[1:]), np.nan, np.float32)
    cells = np.stack(np.meshgrid(*map(np.arange, shape[1:]), indexing="ij")).astype(np.float32)
    for number in np.unique(instance[instance > 0]):
        before = None  # mask and middle in the previous frame, if the vehicle is there
        for t, mask in enumerate(instance == number):
            if not mask.any():
                before = None
                continue
            middle = cells[:, mask].mean(axis=1)
            away = middle[:, None, None] - cells
            centre[t] = np.maximum(centre[t], np.exp(-(away**2).sum(axis=0) / SIGMA**2))
            offset[t][:, mask] = away[:, mask]
            if before is not None:
                flow[t - 1][:, before[0]] = (middle - before[1])[:, None]
            before = mask, middle
    return InstanceTargets(centre=centre, offset=offset, flow=flow)


def _cover(
    box: Box, present: Float[np.ndarray, "3"], grid: GroundGrid
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Return the cells of the grid that a box covers, as an index of a mask.

    Draws the whole box first, because OpenCV moves the edges of polygons at the border.
    """
    corners = grid.cells(box_footprint(box_into_frame(box, present)))
    if (corners.max(axis=0) < 0).any() or (corners.min(axis=0) >= grid.shape).any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = corners.min(axis=0)
    drawn = np.zeros(corners.max(axis=0) - first + 1, np.uint8)
    # OpenCV names axis 1 first.
    cv2.fillPoly(drawn, [(corners - first)[:, ::-1].astype(np.int32)], (1,))
    x, y = (np.argwhere(drawn) + first).T
    inside = (x >= 0) & (x < grid.shape[0]) & (y >= 0) & (y < grid.shape[1])
    return x[inside], y[inside]

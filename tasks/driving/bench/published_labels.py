"""The labels of SAD and ST-P3, which took FIERY's: drawn in each ego frame, then warped.

    cell of a corner        round((x - x0) / step)
    source of a cell (x, y) of the present frame, in a frame with the motion (tx, ty, a) to it:
        published           (x cos a + y sin a - tx, y cos a - x sin a + ty)
        exact               ((x - tx) cos a + (y - ty) sin a, (y - ty) cos a - (x - tx) sin a)

A box fills the polygon of the cells of its corners, and a warp reads the nearest cell. The
published cell is half a cell too far ahead and to the left: x lies in cell floor((x - x0) /
step). The published source turns first and has the sideways motion with the other sign. Both
sources agree on a circular arc; after a change of lanes they are twice its width apart.
Published motions of several past frames also multiply the steps in reverse order.

    offset      round(middle) - cell
    flow        round(middle of the next frame's mask, warped to this frame) - round(middle)

in cells, along the axes of the frame's own ego frame; in later frames the warp moves these
numbers without turning them. Here they are those of the present frame. 255: no value.
Source: the code of FIERY and ST-P3 (stp3/datas/NuscenesData.py, utils/geometry.py,
utils/instance.py, trainer.py), described, not copied.
Axes: T = S+F frames, X and Y cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float64, Int32, Shaped
from pyquaternion import Quaternion

from drivers.nuscenes.geometry import flatten, invert_transform
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.labels import HIDDEN, Labels
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.tables import Keyframe, Tables
from drivers.nuscenes.window import Command
from tasks.driving.losses import SIGMA

NOTHING = 255.0  # of offset and flow
ASIDE = 2.0  # [m] least distance to the side of "left" and "right"


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedLabels(Labels):
    """Masks of each frame, and targets of the present one; their axes are along X and Y."""

    centre: Float64[np.ndarray, "X Y"]
    offset: Float64[np.ndarray, "2 X Y"]
    flow: Float64[np.ndarray, "2 X Y"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelProcedure:
    """How labels are made on a ``grid``, as published by default.

    true_cells: round corners down to their cells. true_motion: warp by the exact motion.

    Raises:
        ValueError: the grid is not a square around the car, which the published warp needs.
    """

    grid: GroundGrid
    true_cells: bool = False
    true_motion: bool = False

    def __post_init__(self) -> None:
        (x0, x1), (y0, y1) = self.grid.x, self.grid.y
        if not x1 == y1 == -x0 == -y0:
            raise ValueError(
                "LabelProcedure: published labels need a square grid around the car, got x "
                f"from {x0} to {x1} m and y from {y0} to {y1} m"
            )

    def draw(self, tables: Tables, tokens: Sequence[str], seen: int) -> PublishedLabels:
        """Return the labels of the keyframes ``tokens`` in the present ego frame.

        seen: number of past and present frames.
        """
        frames = [tables.read_keyframe(token, (LIDAR,)) for token in tokens]
        own = self.draw_own(tables, frames, seen)
        motions = self.find_motions(frames, seen)

        def warp_all(masks: Shaped[np.ndarray, "T X Y"]) -> Shaped[np.ndarray, "T X Y"]:
            warped = (self.warp(masks[t], motion) for t, motion in enumerate(motions))
            return np.stack([*warped])

        now = seen - 1
        (back,) = self.find_motions(frames[now : seen + 1], 1)[1:]
        return PublishedLabels(
            vehicle=warp_all(own.vehicle),
            pedestrian=warp_all(own.pedestrian),
            instance=warp_all(own.instance),
            **make_targets(own.instance[now], self.warp(own.instance[seen], back)),
        )

    def draw_own(self, tables: Tables, frames: Sequence[Keyframe], seen: int) -> Labels:
        """Return the labels of each frame in its own ego frame."""
        masks = np.zeros((3, len(frames), *self.grid.shape), np.int32)
        vehicle, pedestrian, instance = masks
        vehicles: dict[str, int] = {}
        walkers: set[str] = set()
        for t, frame in enumerate(frames):
            ego = flatten(frame.shots[LIDAR].ego)
            for token in tables.get("sample", frame.token)["anns"]:
                row = tables.get("sample_annotation", token)
                kind, name = row["category_name"], row["instance_token"]
                if t < seen and int(row["visibility_token"]) == HIDDEN:
                    continue
                if t >= seen and name not in (*vehicles, *walkers):
                    continue
                corners = self._find_corners(tables, token, ego)
                if "vehicle" in kind:
                    number = vehicles.setdefault(name, len(vehicles) + 1)
                    cv2.fillPoly(vehicle[t], [corners], (1,))
                    cv2.fillPoly(instance[t], [corners], (number,))
                elif "human" in kind:
                    walkers.add(name)
                    cv2.fillPoly(pedestrian[t], [corners], (1,))
        return Labels(vehicle=vehicle > 0, pedestrian=pedestrian > 0, instance=instance)

    def _find_corners(
        self, tables: Tables, token: str, ego: Float64[np.ndarray, "3"]
    ) -> Int32[np.ndarray, "4 2"]:
        """Return the cells of the bottom corners of a box, axis 1 first as in OpenCV."""
        box = tables.nuscenes.get_box(token)
        box.translate(np.array([-ego[0], -ego[1], 0.0]))
        box.rotate(Quaternion(axis=[0, 0, 1], angle=-ego[2]))
        origin = np.array([self.grid.x[0], self.grid.y[0]])
        cells = (box.bottom_corners()[:2].T - origin) / self.grid.step
        whole = np.floor(cells) if self.true_cells else np.round(cells)
        return np.ascontiguousarray(whole[:, ::-1].astype(np.int32))

    def find_motions(
        self, frames: Sequence[Keyframe], seen: int
    ) -> list[Float64[np.ndarray, "3"]]:
        """Return the motion (x, y [m], yaw [rad]) from each frame to the present one."""
        now = seen - 1
        poses = [frame.shots[LIDAR].ego for frame in frames]
        steps = [invert_transform(b) @ a for a, b in pairwise(poses)]
        past = [steps[t:now] for t in range(now)]
        if self.true_motion:  # the last step is the outermost factor
            past = [factors[::-1] for factors in past]
        back = [invert_transform(step) for step in steps[now:]]
        future = [back[:t] for t in range(len(back) + 1)]
        return [flatten(reduce(np.matmul, k, np.eye(4))) for k in (*past, *future)]

    def warp(
        self, mask: Shaped[np.ndarray, "*C X Y"], motion: Float64[np.ndarray, "3"]
    ) -> Shaped[np.ndarray, "*C X Y"]:
        """Return a mask of a frame in the present one: that of the nearest cell, 0 outside."""
        tx, ty, yaw = motion
        x, y = np.moveaxis(self.grid.centres(), -1, 0)
        cos, sin = np.cos(yaw), np.sin(yaw)
        if self.true_motion:
            x, y = (x - tx) * cos + (y - ty) * sin, (y - ty) * cos - (x - tx) * sin
        else:
            x, y = x * cos + y * sin - tx, y * cos - x * sin + ty
        i, j = np.moveaxis(self.grid.cells(np.stack([x, y], -1)), -1, 0)
        nx, ny = self.grid.shape
        inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
        out = np.zeros_like(mask)
        out[..., inside] = mask[..., i[inside], j[inside]]
        return out


def make_targets(
    instance: Int32[np.ndarray, "X Y"], after: Int32[np.ndarray, "X Y"]
) -> dict[str, Float64[np.ndarray, "*C X Y"]]:
    """Return centre, offset and flow of the instances in a frame.

    after: the instances of the next frame, warped to this one.
    """
    cells = np.indices(instance.shape).astype(np.float64)
    centre = np.zeros(instance.shape)
    offset, flow = (np.full((2, *instance.shape), NOTHING) for _ in range(2))
    for number in np.unique(instance[instance > 0]):
        covered = instance == number
        middle = np.round(cells[:, covered].mean(1))
        away = middle[:, None, None] - cells
        centre = np.maximum(centre, np.exp(-np.square(away).sum(0) / SIGMA**2))
        offset[:, covered] = away[:, covered]
        if (next_covered := after == number).any():
            step = np.round(cells[:, next_covered].mean(1)) - middle
            flow[:, covered] = step[:, None]
    return {"centre": centre, "offset": offset, "flow": flow}


def read_published_path(tables: Tables, tokens: Sequence[str], seen: int) -> np.ndarray:
    """Return the future positions (x to the right, y ahead) of LIDAR_TOP in its present frame.

    F 2, [m].
    """
    shots = [tables.read_keyframe(token, (LIDAR,)).shots[LIDAR] for token in tokens]
    poses = [shot.ego @ shot.to_ego for shot in shots]
    enter = invert_transform(poses[seen - 1])
    return np.array([(enter @ pose)[:2, 3] for pose in poses[seen:]])


def name_published_command(path: np.ndarray) -> Command:
    """Return the command of a path of LIDAR_TOP (F 2)."""
    right = path[-1, 0]
    return "right" if right >= ASIDE else "left" if right <= -ASIDE else "forward"

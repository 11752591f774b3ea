"""The visible fraction of each box in the cameras: nuScenes' visibility."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from drivers.nuscenes.box import Box
from drivers.nuscenes.rig import Camera
from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.render.faces import make_sides
from drivers.nuscenes.world.render.figures import turn
from drivers.nuscenes.world.rig import flat_to_global

NEAR = 0.2  # [m] along the axis of a camera
GRID = (np.arange(6) + 0.5) / 6  # places of the test points along each side of a face
SLACK = 0.15  # [m + 3 % of the depth]: bodies stand back from their boxes


def measure_visibility(
    boxes: Sequence[Box],
    rig: Sequence[Camera],
    ego: Ego,
    depths: Sequence[Float32[np.ndarray, "H W"]],
) -> Float64[np.ndarray, " K"]:
    """Return the visible fraction of each box over all cameras, 0..1.

    For each side that faces a camera, 36 points are looked up in the depth image. The fraction
    is that of the unoccluded among the points inside images. A box in no image has 0.
    """
    tested, seen = np.zeros(len(boxes)), np.zeros(len(boxes))
    sides = np.stack([_place_sides(box) for box in boxes]) if boxes else np.zeros((0, 6, 3, 3))
    corner, u, v = sides[:, :, 0], sides[:, :, 1], sides[:, :, 2]
    s, t = (a.ravel()[:, None] for a in np.meshgrid(GRID, GRID))
    points = corner[:, :, None] + s * u[:, :, None] + t * v[:, :, None]
    normal = np.cross(u, v)
    for camera, depth in zip(rig, depths, strict=True):
        to_global = flat_to_global(ego.x, ego.y, ego.yaw) @ camera.to_ego
        eye = to_global[:3, 3]
        box, side = np.nonzero(((eye - corner) * normal).sum(axis=2) > 0)
        places = (points[box, side] - eye) @ (to_global[:3, :3] @ camera.intrinsic.T)
        z = places[..., 2]
        ahead = np.maximum(z, NEAR)
        column = np.floor(places[..., 0] / ahead).astype(np.int64)
        row = np.floor(places[..., 1] / ahead).astype(np.int64)
        inside = (z > NEAR) & (column >= 0) & (column < camera.width)
        inside &= (row >= 0) & (row < camera.height)
        free = np.zeros_like(inside)
        free[inside] = depth[row[inside], column[inside]] > z[inside] * 0.97 - SLACK
        tested += np.bincount(box, inside.sum(axis=1), len(boxes))
        seen += np.bincount(box, free.sum(axis=1), len(boxes))
    fraction: Float64[np.ndarray, " K"] = seen / np.maximum(tested, 1)
    return fraction


def _place_sides(box: Box) -> Float64[np.ndarray, "6 3 3"]:
    """Return corner, u and v of the sides of a box, in the global frame."""
    half = np.array([box.length, box.width, box.height]) / 2
    sides = turn(make_sides((-half).tolist(), half.tolist()), box.yaw)
    sides[:, 0] += [box.x, box.y, box.z]
    return sides

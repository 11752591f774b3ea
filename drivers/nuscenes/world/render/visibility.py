"""Which part of each box the cameras see: what nuScenes calls visibility."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from drivers.nuscenes.box import Box
from drivers.nuscenes.rig import Camera
from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.render.faces import make_sides
from drivers.nuscenes.world.render.figures import turn
from drivers.nuscenes.world.rig import flat_to_global

GRID = (np.arange(6) + 0.5) / 6  # places of the test points along each side of a face
SLACK = 0.15  # [m + 3 % of the depth]: bodies stand back from their boxes


def measure_visibility(
    boxes: Sequence[Box],
    rig: Sequence[Camera],
    ego: Ego,
    depths: Sequence[Float32[np.ndarray, "H W"]],
) -> Float64[np.ndarray, " K"]:
    """Return the fraction of each box that is seen over all cameras, 0..1.

    Of the sides that face a camera, 36 points each are looked up in its depth image: those
    in an image count, those that nothing hides are seen. A box in no image: 0.
    """
    asked, seen = np.zeros(len(boxes)), np.zeros(len(boxes))
    for camera, depth in zip(rig, depths, strict=True):
        to_global = flat_to_global(ego.x, ego.y, ego.yaw) @ camera.to_ego
        eye, axes = to_global[:3, 3], to_global[:3, :3]
        for k, box in enumerate(boxes):
            points = (_spread_points(box, eye) - eye) @ axes
            points = points[points[:, 2] > 0.2]
            places = points @ camera.intrinsic.T
            pixels = np.floor(places[:, :2] / places[:, 2:]).astype(np.int64)
            inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
            column, row = pixels[inside].T
            z = points[inside, 2]
            asked[k] += inside.sum()
            seen[k] += (depth[row, column] > z * 0.97 - SLACK).sum()
    fraction: Float64[np.ndarray, " K"] = seen / np.maximum(asked, 1)
    return fraction


def _spread_points(box: Box, eye: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "P 3"]:
    """Return points on the sides of a box that face the eye."""
    half = np.array([box.length, box.width, box.height]) / 2
    sides = turn(make_sides((-half).tolist(), half.tolist()), box.yaw)
    sides[:, 0] += [box.x, box.y, box.z]
    corner, u, v = sides.swapaxes(0, 1)
    facing = ((eye - corner) * np.cross(u, v)).sum(axis=1) > 0
    s, t = (a.ravel()[:, None, None] for a in np.meshgrid(GRID, GRID))
    spread: Float64[np.ndarray, "P 3"] = (corner + s * u + t * v)[:, facing].reshape(-1, 3)
    return spread

"""A lidar on the roof: rings of beams, cast on the ground and on faces."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from drivers.nuscenes.world.instant import Ego
from drivers.nuscenes.world.render import kernels
from drivers.nuscenes.world.render.faces import Faces
from drivers.nuscenes.world.render.scenery import Scenery
from drivers.nuscenes.world.rig import flat_to_global, lidar_to_ego

# Elevation of each ring; rings that reach far lie closer together.
RINGS = np.radians([-18, -10, -7, -5.2, -4, -3.1, -2.4, -1.8, -1.2, -0.6, 0, 0.8, 1.8, 3.5])
COLUMNS = 56  # beams of a ring; each ring starts a little after the one below
RANGE = 55.0  # [m]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """One turn of the lidar.

    points: x (right), y (forward), z (up) [m] in the frame of LIDAR_TOP, intensity, ring.
    labels: class of nuScenes-lidarseg of each point. owner: index of its box, -1 without one.
    """

    points: Float32[np.ndarray, "P 5"]
    labels: UInt8[np.ndarray, " P"]
    owner: Int64[np.ndarray, " P"]


def scan_around(scenery: Scenery, faces: Faces, ego: Ego) -> Scan:
    """Return the points of beams from the ego's roof within :data:`RANGE`."""
    to_ego = lidar_to_ego()
    to_global = flat_to_global(ego.x, ego.y, ego.yaw) @ to_ego
    rays, ring = _make_beams()
    eye = to_global[:3, 3]
    middle = faces.corner + (faces.u + faces.v) / 2
    reach = (np.linalg.norm(faces.u, axis=1) + np.linalg.norm(faces.v, axis=1)) / 2
    near = faces.pick(np.linalg.norm(middle - eye, axis=1) - reach < RANGE)
    depth, hit = np.empty(len(rays)), np.empty(len(rays), np.int64)
    kernels.cast_rays(eye.copy(), rays @ to_global[:3, :3].T, near.solids, depth, hit)
    seen = depth < RANGE
    depth, hit, rays, ring = depth[seen], hit[seen], rays[seen], ring[seen]
    points = rays * depth[:, None]
    ground = hit == kernels.GROUND
    flat = (points @ to_global[:3, :3].T + eye)[ground, :2]
    labels, owner = np.empty(len(hit), np.uint8), np.full(len(hit), -1)
    labels[ground] = scenery.ground.find_labels(flat)
    labels[~ground] = near.label[hit[~ground]]
    owner[~ground] = near.owner[hit[~ground]]
    intensity = np.where(ground, 20.0, 60.0) * np.exp(-depth / RANGE)
    return Scan(
        points=np.column_stack([points, intensity, ring]).astype(np.float32),
        labels=labels,
        owner=owner,
    )


def _make_beams() -> tuple[Float64[np.ndarray, "P 3"], Int64[np.ndarray, " P"]]:
    """Return directions of length 1 in the frame of the lidar, and the ring of each."""
    ring, column = (a.ravel() for a in np.indices((len(RINGS), COLUMNS)))
    around = (column + ring * 0.381966 % 1) * 2 * np.pi / COLUMNS  # parts of the golden ratio
    level = np.cos(RINGS[ring])
    rays = np.stack([level * np.sin(around), level * np.cos(around), np.sin(RINGS[ring])], 1)
    return rays, ring

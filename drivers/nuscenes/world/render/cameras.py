"""Camera images and depth of a place at an instant, from any pose of the ego."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from drivers.nuscenes.rig import Camera
from drivers.nuscenes.world.instant import Ego, WorldInstant
from drivers.nuscenes.world.render import kernels
from drivers.nuscenes.world.render.faces import Faces, join_faces, light_faces
from drivers.nuscenes.world.render.figures import draw_boxes, draw_lights
from drivers.nuscenes.world.render.ground import TEXEL
from drivers.nuscenes.world.render.scenery import Scenery, draw_trees
from drivers.nuscenes.world.rig import flat_to_global

SAMPLES = 2  # along each side of a pixel
SIGHT = 150.0  # [m]: farther faces are not drawn


def render_cameras(
    scenery: Scenery, rig: Sequence[Camera], instant: WorldInstant
) -> UInt8[np.ndarray, "N H W 3"]:
    """Return the RGB images of a rig's cameras, which must have one size.

    Raises:
        ValueError: a box of a category that nuScenes does not have.
    """
    faces = draw_instant(scenery, instant)
    return np.stack([render_image(scenery, faces, c, instant.ego) for c in rig])


def draw_instant(scenery: Scenery, instant: WorldInstant) -> Faces:
    """Return all lit faces around the ego, in the global frame."""
    style, eye = scenery.style, np.array([instant.ego.x, instant.ego.y])
    moving = join_faces(
        [draw_boxes(instant.boxes, instant.braking), draw_lights(instant.lights)]
    )
    lit = light_faces(moving, style.sun, style.ambient, style.direct)
    standing = join_faces([lit, scenery.solid])
    near = np.hypot(*(standing.corner[:, :2] - eye).T) < SIGHT
    return join_faces([standing.pick(near), draw_trees(scenery, eye, SIGHT)])


def render_image(
    scenery: Scenery, faces: Faces, camera: Camera, ego: Ego
) -> UInt8[np.ndarray, "H W 3"]:
    """Return the RGB image of one camera, with these faces and the ground."""
    picture = _paint(scenery, faces, camera, ego, SAMPLES)
    image = np.empty((camera.height, camera.width, 3), np.uint8)
    kernels.develop(picture, scenery.style.horizon, scenery.style.reach, image)
    return image


def render_depth(
    scenery: Scenery, faces: Faces, camera: Camera, ego: Ego
) -> Float32[np.ndarray, "H W"]:
    """Return the depth at the middle of each pixel, along the camera's axis [m]; sky: inf."""
    depth = _paint(scenery, faces, camera, ego, 1).depth
    depth[depth >= kernels.FAR] = np.inf
    single: Float32[np.ndarray, "H W"] = depth.astype(np.float32)
    return single


def _paint(
    scenery: Scenery, faces: Faces, camera: Camera, ego: Ego, samples: int
) -> kernels.Painting:
    k = camera.intrinsic
    lens = np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]]) * samples
    to_global = flat_to_global(ego.x, ego.y, ego.yaw) @ camera.to_ego
    view = kernels.CameraView(to_global[:3, 3].copy(), to_global[:3, :3].copy(), lens)
    size = camera.height * samples, camera.width * samples
    picture = kernels.Painting(np.empty((*size, 3)), np.empty(size))
    sky = np.stack([scenery.style.zenith, scenery.style.horizon])
    ground = scenery.ground
    kernels.paint_ground(
        view, kernels.Texture(ground.origin, TEXEL, ground.levels, sky), picture
    )
    kernels.paint_faces(view, faces.solids, picture)
    return picture

"""Compiled pictures and laser beams: the first face or ground that a straight ray meets.

A ray leaves the eye in a direction whose length is the unit of depth. A pixel's direction has
length 1 along the axis of the camera, so that its depth is measured along that axis.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from neuro.ops.jit import bare, inlined, kernel


class Look(IntEnum):
    """The surface of a face. DISC and LEAVES are empty outside an ellipse."""

    PLAIN = 0
    DISC = 1
    LEAVES = 2
    WINDOWS = 3
    GLOW = 4  # a disc that shines by itself
    SHADOW = 5  # darkens the ground


NEAR = 0.2  # [m]: nearer faces are invisible
FAR = 1e9  # depth of the sky
DARK = 0.55  # brightness of the ground in a shadow
PLAIN, LEAVES = int(Look.PLAIN), int(Look.LEAVES)
WINDOWS, SHADOW = int(Look.WINDOWS), int(Look.SHADOW)
SKY, GROUND = -2, -1  # faces count from 0

Vector = tuple[float, float, float]


class CameraView(NamedTuple):
    """A camera's pose. eye: [m]. turn: the camera's axes in columns. lens: fx, fy, cx, cy."""

    eye: np.ndarray
    turn: np.ndarray
    lens: np.ndarray


class Texture(NamedTuple):
    """The ground. origin: global position of its first corner [m]. texel: [m].

    levels: RGB, rows along y, columns along x, each with half the resolution of the one before.
    sky: colour at the zenith and at the horizon.
    """

    origin: np.ndarray
    texel: float
    levels: tuple[np.ndarray, ...]
    sky: np.ndarray


class Solids(NamedTuple):
    """The arrays of :class:`drivers.nuscenes.world.render.faces.Faces` that painting needs."""

    corner: np.ndarray
    u: np.ndarray
    v: np.ndarray
    colour: np.ndarray
    look: np.ndarray
    cells: np.ndarray


class Painting(NamedTuple):
    """RGB and depth of each sample of a picture."""

    colour: np.ndarray
    depth: np.ndarray


@inlined
def cross(a: Vector, b: Vector) -> Vector:
    """Return the cross product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@inlined
def dot(a: Vector, b: Vector) -> float:
    """Return the scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def divide(a: Vector, by: float) -> Vector:
    """Return a vector divided by a number."""
    return a[0] / by, a[1] / by, a[2] / by


@inlined
def to_camera(turn: np.ndarray, a: Vector) -> Vector:
    """Return a vector in the axes of a camera, the columns of ``turn``."""
    return (
        turn[0, 0] * a[0] + turn[1, 0] * a[1] + turn[2, 0] * a[2],
        turn[0, 1] * a[0] + turn[1, 1] * a[1] + turn[2, 1] * a[2],
        turn[0, 2] * a[0] + turn[1, 2] * a[1] + turn[2, 2] * a[2],
    )


@inlined
def take(rows: np.ndarray, k: int) -> Vector:
    """Return a row of an array of vectors."""
    return rows[k, 0], rows[k, 1], rows[k, 2]


@inlined
def scramble(i: int, j: int, k: int) -> float:
    """Return a pseudorandom number in 0..1, a hash of three integers."""
    mixed = (i * 374761393 + j * 668265263 + k * 2246822519) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 16)) / 2147483648.0


@inlined
def is_hole(look: int, s: float, t: float, cells: np.ndarray) -> bool:
    """Return whether a face is empty at this place: outside an ellipse, between leaves."""
    if look in (PLAIN, WINDOWS, SHADOW):
        return False
    radius = 4 * ((s - 0.5) ** 2 + (t - 0.5) ** 2)
    if look == LEAVES:
        return radius > 0.55 + 0.45 * scramble(int(s * 9), int(t * 9), int(cells[0]))
    return radius > 1


@inlined
def find_shade(look: int, s: float, t: float, cells: np.ndarray) -> float:
    """Return the brightness of a place of a face: dark panes, light and dark leaves."""
    if look == WINDOWS:
        x, y = s * cells[0], t * cells[1]
        across, up = x - np.floor(x), y - np.floor(y)
        if 0.2 < across < 0.8 and 0.25 < up < 0.8:
            return 0.35 + 0.3 * scramble(int(x), int(y), int(cells[0]))
        return 1.0
    if look == LEAVES:
        return 0.65 + 0.5 * scramble(int(s * 9), int(t * 9), int(cells[0]))
    return 1.0


@bare
def find_extent(
    c: Vector, u: Vector, v: Vector, lens: np.ndarray
) -> tuple[float, float, float, float]:
    """Return left, right, upper and lower end of a face in the picture; inf, -inf if unseen.

    The outline is cut at the depth NEAR.
    """
    left, right, upper, lower = np.inf, -np.inf, np.inf, -np.inf
    for k in range(4):
        s1, t1 = 1.0 if k == 1 or k == 2 else 0.0, 1.0 if k >= 2 else 0.0
        s2, t2 = 1.0 if k < 2 else 0.0, 1.0 if k == 1 or k == 2 else 0.0
        z1, z2 = c[2] + s1 * u[2] + t1 * v[2], c[2] + s2 * u[2] + t2 * v[2]
        if z1 < NEAR and z2 < NEAR:
            continue
        cut = (NEAR - z1) / (z2 - z1) if (z1 < NEAR) != (z2 < NEAR) else 0.0
        for end in range(2):
            at = float(end)
            if (z1 if end == 0 else z2) < NEAR:
                at = cut
            s, t = s1 + at * (s2 - s1), t1 + at * (t2 - t1)
            z = max(NEAR, c[2] + s * u[2] + t * v[2])
            x = lens[0] * (c[0] + s * u[0] + t * v[0]) / z + lens[2]
            y = lens[1] * (c[1] + s * u[1] + t * v[1]) / z + lens[3]
            left, right = min(left, x), max(right, x)
            upper, lower = min(upper, y), max(lower, y)
    return left, right, upper, lower


@bare
def paint_ground(view: CameraView, ground: Texture, picture: Painting) -> None:
    """Paint sky and ground into an empty picture, with a dark horizon beyond the texture."""
    fx, fy, cx, cy = view.lens
    eye, turn, sky = view.eye, view.turn, ground.sky
    colour, depth = picture
    for row in range(depth.shape[0]):
        b = (row + 0.5 - cy) / fy
        for column in range(depth.shape[1]):
            a = (column + 0.5 - cx) / fx
            dx = turn[0, 0] * a + turn[0, 1] * b + turn[0, 2]
            dy = turn[1, 0] * a + turn[1, 1] * b + turn[1, 2]
            dz = turn[2, 0] * a + turn[2, 1] * b + turn[2, 2]
            if dz >= 0:
                mix = min(1.0, 2.5 * dz / np.sqrt(dx * dx + dy * dy + dz * dz))
                for c in range(3):
                    colour[row, column, c] = sky[1, c] + mix * (sky[0, c] - sky[1, c])
                depth[row, column] = FAR
                continue
            t = -eye[2] / dz
            depth[row, column] = t
            # A pixel sees a patch t / f wide and t / (f * slope) long: the level between.
            patch = t / fx / np.sqrt(-dz)
            sample_ground(ground, eye[0] + t * dx, eye[1] + t * dy, patch, colour[row, column])


@bare
def sample_ground(ground: Texture, x: float, y: float, patch: float, out: np.ndarray) -> None:
    """Interpolate the texture at a place, on the level with texels of about a patch [m]."""
    level = 0
    while level < len(ground.levels) - 1 and patch > 1.4 * ground.texel * 2**level:
        level += 1
    image, size = ground.levels[level], ground.texel * 2**level
    across, down = (x - ground.origin[0]) / size - 0.5, (y - ground.origin[1]) / size - 0.5
    i, j = int(np.floor(down)), int(np.floor(across))
    if i < 0 or j < 0 or i >= image.shape[0] - 1 or j >= image.shape[1] - 1:
        for c in range(3):
            out[c] = ground.sky[1, c] * 0.6
        return
    v, u = down - i, across - j
    for c in range(3):
        low = (1 - u) * image[i, j, c] + u * image[i, j + 1, c]
        high = (1 - u) * image[i + 1, j, c] + u * image[i + 1, j + 1, c]
        out[c] = (1 - v) * low + v * high


@bare
def paint_faces(view: CameraView, solids: Solids, picture: Painting) -> None:
    """Paint the faces over a picture where they are nearer than its depth."""
    eye, turn = view.eye, view.turn
    for p in range(solids.corner.shape[0]):
        corner, u, v = take(solids.corner, p), take(solids.u, p), take(solids.v, p)
        away = (corner[0] - eye[0], corner[1] - eye[1], corner[2] - eye[2])
        if dot(cross(u, v), away) < 0:
            paint_face(
                view.lens,
                (to_camera(turn, away), to_camera(turn, u), to_camera(turn, v)),
                p,
                solids,
                picture,
            )


@bare
def paint_face(
    lens: np.ndarray,
    shape: tuple[Vector, Vector, Vector],
    p: int,
    solids: Solids,
    picture: Painting,
) -> None:
    """Paint face p; shape: its corner, u and v in the frame of the camera."""
    fx, fy, cx, cy = lens
    c, u, v = shape
    colour, depth = picture
    left, right, upper, lower = find_extent(c, u, v, lens)
    height, width = depth.shape
    first = int(np.ceil(min(max(left, 0.0), width + 1.0) - 0.5))
    last = int(np.floor(min(max(right, -1.0), float(width)) - 0.5))
    above = int(np.ceil(min(max(upper, 0.0), height + 1.0) - 0.5))
    below = int(np.floor(min(max(lower, -1.0), float(height)) - 0.5))
    n = cross(u, v)
    square, distance = dot(n, n), dot(n, c)
    along_u, along_v = divide(cross(v, n), square), divide(cross(n, u), square)
    off_u, off_v = dot(along_u, c), dot(along_v, c)
    look, cells = solids.look[p], solids.cells[p]
    slack = 0.05 if look == SHADOW else 0.0  # a shadow lies on the ground, not before it
    for row in range(above, below + 1):
        b = (row + 0.5 - cy) / fy
        for column in range(first, last + 1):
            ray = ((column + 0.5 - cx) / fx, b, 1.0)
            slope = dot(n, ray)
            if slope >= 0:
                continue
            t = distance / slope
            if t < NEAR or t > depth[row, column] + slack:
                continue
            s1, s2 = t * dot(along_u, ray) - off_u, t * dot(along_v, ray) - off_v
            if s1 < 0 or s1 > 1 or s2 < 0 or s2 > 1 or is_hole(look, s1, s2, cells):
                continue
            if look == SHADOW:
                for k in range(3):
                    colour[row, column, k] *= DARK
                continue
            depth[row, column] = t
            shade = find_shade(look, s1, s2, cells)
            for k in range(3):
                colour[row, column, k] = solids.colour[p, k] * shade


@bare
def cast_rays(
    eye: np.ndarray, rays: np.ndarray, solids: Solids, depth: np.ndarray, hit: np.ndarray
) -> None:
    """Find the first body that each ray (dx, dy, dz) meets.

    depth: in lengths of the ray. hit: index of the face, GROUND or SKY.
    """
    for r in range(rays.shape[0]):
        depth[r] = -eye[2] / rays[r, 2] if rays[r, 2] < 0 else FAR
        hit[r] = GROUND if rays[r, 2] < 0 else SKY
    for p in range(solids.corner.shape[0]):
        corner, u, v = take(solids.corner, p), take(solids.u, p), take(solids.v, p)
        c = (corner[0] - eye[0], corner[1] - eye[1], corner[2] - eye[2])
        n = cross(u, v)
        distance = dot(n, c)
        look, cells = solids.look[p], solids.cells[p]
        if distance >= 0 or look == SHADOW:
            continue
        square = dot(n, n)
        along_u, along_v = divide(cross(v, n), square), divide(cross(n, u), square)
        off_u, off_v = dot(along_u, c), dot(along_v, c)
        for r in range(rays.shape[0]):
            ray = take(rays, r)
            slope = dot(n, ray)
            if slope >= 0 or distance <= depth[r] * slope:
                continue
            t = distance / slope
            s1, s2 = t * dot(along_u, ray) - off_u, t * dot(along_v, ray) - off_v
            if 0 <= s1 <= 1 and 0 <= s2 <= 1 and not is_hole(look, s1, s2, cells):
                depth[r], hit[r] = t, p


@kernel
def develop(picture: Painting, haze: np.ndarray, reach: float, image: np.ndarray) -> None:
    """Average the samples of each pixel into an image of bytes, seen through haze.

    haze: its colour; reach: depth [m] at which it takes 1 - 1/e of the colour of things.
    """
    colour, depth = picture
    samples = depth.shape[0] // image.shape[0]
    total = np.empty(3)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            total[:] = 0.5 * samples * samples  # half a step of a byte: rounds
            for i in range(row * samples, (row + 1) * samples):
                for j in range(column * samples, (column + 1) * samples):
                    clear = np.exp(-depth[i, j] / reach) if depth[i, j] < FAR else 1.0
                    for k in range(3):
                        total[k] += haze[k] + clear * (colour[i, j, k] - haze[k])
            for k in range(3):
                image[row, column, k] = min(255.0, max(0.0, total[k] / (samples * samples)))

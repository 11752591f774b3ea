"""Compiled pictures and laser beams: which face, or which ground, a straight ray meets first.

A ray leaves the eye in some direction, whose length is the unit of depth: a pixel's direction
has length 1 along the axis of the camera, so its depth is the one along that axis.
"""

import numpy as np

from drivers.nuscenes.world.render.faces import Look
from neuro.ops.jit import inlined, kernel

NEAR = 0.2  # [m]; nothing nearer is seen
FAR = 1e9  # depth of the sky
PLAIN, LEAVES = int(Look.PLAIN), int(Look.LEAVES)
WINDOWS, SHADOW = int(Look.WINDOWS), int(Look.SHADOW)
SKY, GROUND = -2, -1  # faces count from 0


Vector = tuple[float, float, float]


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
    """Return a vector in the axes of a camera, which are the columns of turn."""
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
def scramble(i: int, j: int, p: int) -> float:
    """Return a number in 0..1 that looks random but is the same for the same three."""
    mixed = (i * 374761393 + j * 668265263 + p * 2246822519) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0x7FFFFFFF
    return (mixed ^ (mixed >> 16)) / 2147483648.0


@inlined
def is_hole(look: int, s: float, t: float, p: int) -> bool:
    """Say whether nothing is at this place of a face: outside an ellipse, between leaves."""
    if look == PLAIN or look == WINDOWS or look == SHADOW:
        return False
    radius = 4 * ((s - 0.5) ** 2 + (t - 0.5) ** 2)
    if look == LEAVES:
        return radius > 0.55 + 0.45 * scramble(int(s * 9), int(t * 9), p)
    return radius > 1


@inlined
def find_shade(look: int, s: float, t: float, columns: float, rows: float, p: int) -> float:
    """Return how bright a place of a face is: dark panes of windows, light and dark leaves."""
    if look == WINDOWS:
        x, y = s * columns, t * rows
        across, up = x - np.floor(x), y - np.floor(y)
        if 0.2 < across < 0.8 and 0.25 < up < 0.8:
            return 0.35 + 0.3 * scramble(int(x), int(y), p)
        return 1.0
    if look == LEAVES:
        return 0.65 + 0.5 * scramble(int(s * 9), int(t * 9), p)
    return 1.0


@kernel
def find_extent(
    c: Vector, du: Vector, dv: Vector, lens: np.ndarray
) -> tuple[float, float, float, float]:
    """Return left, right, upper and lower end of a face in the picture; inf, -inf if unseen.

    Its outline is cut where it comes nearer than NEAR.
    """
    left, right, upper, lower = np.inf, -np.inf, np.inf, -np.inf
    for k in range(4):
        s1, t1 = 1.0 if k == 1 or k == 2 else 0.0, 1.0 if k >= 2 else 0.0
        s2, t2 = 1.0 if k < 2 else 0.0, 1.0 if k == 1 or k == 2 else 0.0
        z1, z2 = c[2] + s1 * du[2] + t1 * dv[2], c[2] + s2 * du[2] + t2 * dv[2]
        if z1 < NEAR and z2 < NEAR:
            continue
        cut = (NEAR - z1) / (z2 - z1) if (z1 < NEAR) != (z2 < NEAR) else 0.0
        for end in range(2):
            at = float(end)
            if (z1 if end == 0 else z2) < NEAR:
                at = cut
            s, t = s1 + at * (s2 - s1), t1 + at * (t2 - t1)
            z = max(NEAR, c[2] + s * du[2] + t * dv[2])
            x = lens[0] * (c[0] + s * du[0] + t * dv[0]) / z + lens[2]
            y = lens[1] * (c[1] + s * du[1] + t * dv[1]) / z + lens[3]
            left, right = min(left, x), max(right, x)
            upper, lower = min(upper, y), max(lower, y)
    return left, right, upper, lower


@kernel
def paint_ground(
    eye: np.ndarray,
    turn: np.ndarray,
    lens: np.ndarray,
    origin: np.ndarray,
    texel: float,
    levels: tuple[np.ndarray, ...],
    sky: np.ndarray,
    colour: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Paint sky and ground into an empty picture.

    eye: of the camera [m]; turn: its axes as columns; lens: (fx, fy, cx, cy) in pixels.
    origin: global position of the texture's first corner; texel: [m]; levels: RGB (rows along y,
    columns along x), each half as fine as the one before. sky: colour at the zenith and at the
    horizon; the horizon's is the colour of the ground beyond the texture, too.
    """
    fx, fy, cx, cy = lens
    height, width = depth.shape
    top = len(levels) - 1
    for row in range(height):
        b = (row + 0.5 - cy) / fy
        for column in range(width):
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
            level = 0
            while level < top and patch > 1.4 * texel * 2**level:
                level += 1
            image, size = levels[level], texel * 2**level
            x = (eye[0] + t * dx - origin[0]) / size - 0.5
            y = (eye[1] + t * dy - origin[1]) / size - 0.5
            i, j = int(np.floor(y)), int(np.floor(x))
            if i < 0 or j < 0 or i >= image.shape[0] - 1 or j >= image.shape[1] - 1:
                for c in range(3):
                    colour[row, column, c] = sky[1, c] * 0.6
                continue
            v, u = y - i, x - j
            for c in range(3):
                low = (1 - u) * image[i, j, c] + u * image[i, j + 1, c]
                high = (1 - u) * image[i + 1, j, c] + u * image[i + 1, j + 1, c]
                colour[row, column, c] = (1 - v) * low + v * high


@kernel
def paint_faces(
    eye: np.ndarray,
    turn: np.ndarray,
    lens: np.ndarray,
    corner: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    rgb: np.ndarray,
    look: np.ndarray,
    cells: np.ndarray,
    colour: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Paint the faces over a picture where they are nearer than what it shows."""
    fx, fy, cx, cy = lens
    height, width = depth.shape
    for p in range(corner.shape[0]):
        away = (corner[p, 0] - eye[0], corner[p, 1] - eye[1], corner[p, 2] - eye[2])
        if dot(cross(take(u, p), take(v, p)), away) >= 0:
            continue
        c = to_camera(turn, away)
        du, dv = to_camera(turn, take(u, p)), to_camera(turn, take(v, p))
        left, right, upper, lower = find_extent(c, du, dv, lens)
        first = int(np.ceil(min(max(left, 0.0), width + 1.0) - 0.5))
        last = int(np.floor(min(max(right, -1.0), float(width)) - 0.5))
        above = int(np.ceil(min(max(upper, 0.0), height + 1.0) - 0.5))
        below = int(np.floor(min(max(lower, -1.0), float(height)) - 0.5))
        if first > last or above > below:
            continue
        n = cross(du, dv)
        square = dot(n, n)
        along_u, along_v = divide(cross(dv, n), square), divide(cross(n, du), square)
        distance = dot(n, c)
        off_u, off_v = dot(along_u, c), dot(along_v, c)
        kind = look[p]
        for row in range(above, below + 1):
            b = (row + 0.5 - cy) / fy
            for column in range(first, last + 1):
                a = (column + 0.5 - cx) / fx
                slope = n[0] * a + n[1] * b + n[2]
                if slope >= 0:
                    continue
                t = distance / slope
                if t < NEAR or t > depth[row, column] + (0.05 if kind == SHADOW else 0.0):
                    continue
                s1 = t * (along_u[0] * a + along_u[1] * b + along_u[2]) - off_u
                s2 = t * (along_v[0] * a + along_v[1] * b + along_v[2]) - off_v
                if s1 < 0 or s1 > 1 or s2 < 0 or s2 > 1 or is_hole(kind, s1, s2, p):
                    continue
                if kind == SHADOW:
                    for k in range(3):
                        colour[row, column, k] *= 0.55
                    continue
                depth[row, column] = t
                shade = find_shade(kind, s1, s2, cells[p, 0], cells[p, 1], p)
                for k in range(3):
                    colour[row, column, k] = rgb[p, k] * shade


@kernel
def cast_rays(
    eye: np.ndarray,
    rays: np.ndarray,
    corner: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    look: np.ndarray,
    depth: np.ndarray,
    hit: np.ndarray,
) -> None:
    """Find what each ray (dx, dy, dz) meets first: depth in lengths of the ray, and which face."""
    for r in range(rays.shape[0]):
        depth[r] = -eye[2] / rays[r, 2] if rays[r, 2] < 0 else FAR
        hit[r] = GROUND if rays[r, 2] < 0 else SKY
    for p in range(corner.shape[0]):
        c = (corner[p, 0] - eye[0], corner[p, 1] - eye[1], corner[p, 2] - eye[2])
        n = cross(take(u, p), take(v, p))
        distance = dot(n, c)
        if distance >= 0 or look[p] == SHADOW:
            continue
        square = dot(n, n)
        along_u = divide(cross(take(v, p), n), square)
        along_v = divide(cross(n, take(u, p)), square)
        off_u, off_v = dot(along_u, c), dot(along_v, c)
        for r in range(rays.shape[0]):
            ray = take(rays, r)
            slope = dot(n, ray)
            if slope >= 0 or distance <= depth[r] * slope:
                continue
            t = distance / slope
            s1, s2 = t * dot(along_u, ray) - off_u, t * dot(along_v, ray) - off_v
            if 0 <= s1 <= 1 and 0 <= s2 <= 1 and not is_hole(look[p], s1, s2, p):
                depth[r], hit[r] = t, p


@kernel
def develop(
    colour: np.ndarray, depth: np.ndarray, haze: np.ndarray, reach: float, image: np.ndarray
) -> None:
    """Average the samples of each pixel into an image of bytes, seen through haze.

    haze: its colour; reach: depth [m] at which it takes 1 - 1/e of the colour of things.
    """
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

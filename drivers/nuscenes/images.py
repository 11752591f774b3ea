"""Read images and lidar points from files, and prepare them for a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8
from PIL import Image

from drivers.image_files import DAMAGE, open_image
from drivers.nuscenes.geometry import invert_transform, move_points
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import read_bytes, require_file
from drivers.nuscenes.tables import Shot
from drivers.nuscenes.window import ImageSize

COLUMNS = 5  # numbers per lidar point: x, y, z [m], intensity (0..255), ring (0..31)
RINGS = 32
NEAR = 1.0  # [m] least depth at which a lidar point counts, as in the devkit
CURE = "fetch the file again, or leave its sample out (neuro train --skip-bad)"


def read_image(path: Path) -> Image.Image:
    """Return the decoded RGB image of a camera.

    Raises:
        NuScenesError: the file is missing or damaged.
    """
    with _open_image(path) as opened:
        return opened.convert("RGB")


def read_small_image(path: Path, size: ImageSize) -> UInt8[np.ndarray, "3 H W"]:
    """Return the image of a camera at the size of a model's input.

    Raises:
        NuScenesError: the file is missing or damaged, or the result does not have ``size``.
    """
    with _open_image(path) as opened:
        scaled = scaled_size(size, *opened.size, path)
        if size.decode == "reduced":
            opened.draft("RGB", scaled)  # affects only JPEG files
        return _scale_and_crop(opened.convert("RGB"), scaled, size.crop)


@contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image; turn errors of opening and decoding into a NuScenesError."""
    try:
        require_file(path)
    except FileNotFoundError:
        raise NuScenesError([_problem(path, "is missing")]) from None
    except ValueError as error:
        raise NuScenesError([_problem(path, str(error))]) from None
    try:
        with open_image(path) as opened:
            yield opened
    except NuScenesError:
        raise
    except DAMAGE as error:
        raise NuScenesError([_problem(path, f"is no image: {error}")]) from None


def shrink_image(image: Image.Image, size: ImageSize, path: Path) -> UInt8[np.ndarray, "3 H W"]:
    """Scale an image bilinearly and crop its top, for a model.

    Raises:
        NuScenesError: the result does not have this ``size``.
    """
    return _scale_and_crop(image, scaled_size(size, *image.size, path), size.crop)


def _scale_and_crop(
    image: Image.Image, scaled: tuple[int, int], crop: int
) -> UInt8[np.ndarray, "3 H W"]:
    small = image if image.size == scaled else image.resize(scaled, Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small)[crop:].transpose(2, 0, 1))


def scaled_size(size: ImageSize, width: int, height: int, path: Path) -> tuple[int, int]:
    """Return width and height [pixels] of a scaled image before cropping.

    Raises:
        NuScenesError: the cropped image does not have this ``size``.
    """
    scaled = round(width * size.scale), round(height * size.scale)
    if scaled != (size.width, size.height + size.crop):
        what = (
            f"{width} x {height} pixels, scaled by {size.scale} and cut by {size.crop} rows, "
            f"are {scaled[0]} x {scaled[1] - size.crop}, asked for {size.width} x {size.height}"
        )
        cure = "change scale, crop, width and height of ImageSize so that they fit"
        raise NuScenesError([_problem(path, what, cure)])
    return scaled


def shrink_intrinsic(shot: Shot, size: ImageSize) -> Float64[np.ndarray, "3 3"]:
    """Return the intrinsics of a scaled and cropped image, in which pixel k covers k to k + 1.

    Raises:
        NuScenesError: the shot is not from a camera, or its image does not result in ``size``.
    """
    if shot.intrinsic is None or shot.intrinsic.shape != (3, 3):
        cure = "neuro data check nuscenes lists all mistakes"
        raise NuScenesError([_problem(shot.path, f"{shot.channel} has no intrinsics", cure)])
    width, height = scaled_size(size, shot.width, shot.height, shot.path)
    scale = np.diag([width / shot.width, height / shot.height, 1.0])
    shrunk: Float64[np.ndarray, "3 3"] = scale @ shot.intrinsic
    shrunk[1, 2] -= size.crop
    return shrunk


def read_lidar(path: Path) -> Float32[np.ndarray, "P 5"]:
    """Return the points of a lidar: x, y, z in the sensor's frame [m], intensity, ring.

    Raises:
        NuScenesError: the file is missing or damaged.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise NuScenesError([_problem(path, "is missing")]) from None
    except ValueError as error:
        raise NuScenesError([_problem(path, str(error))]) from None
    if not data or len(data) % (4 * COLUMNS):
        what = f"{len(data)} bytes are no points of {COLUMNS} float32"
        raise NuScenesError([_problem(path, what)])
    points = np.frombuffer(data, "<f4").reshape(-1, COLUMNS)
    ring = points[:, 4]
    if (
        not np.isfinite(points).all()
        or not ((ring >= 0) & (ring < RINGS) & (ring % 1 == 0)).all()
    ):
        what = f"holds points that are none: a ring is a whole number below {RINGS}"
        raise NuScenesError(
            [_problem(path, what, "write x, y, z, intensity, ring of each point")]
        )
    return points.astype(np.float32)


def measure_depth(
    points: Float[np.ndarray, "P 3"],
    camera: Float64[np.ndarray, "4 4"],
    intrinsic: Float64[np.ndarray, "3 3"],
    size: ImageSize,
    stride: int,
) -> Float32[np.ndarray, "h w"]:
    """Return the depth [m] of the nearest point in each patch of an image, NaN without points.

    points: positions in the outer frame of ``camera``, which is the transform from the camera.
    Depth is measured along the camera's axis. A patch has ``stride`` x ``stride`` pixels.
    """
    depth = np.full((size.height // stride, size.width // stride), np.inf, np.float32)
    ahead = move_points(invert_transform(camera), points)
    ahead = ahead[ahead[:, 2] > NEAR]
    u, v, z = intrinsic @ ahead.T
    column, row = np.floor(u / z / stride).astype(int), np.floor(v / z / stride).astype(int)
    inside = (column >= 0) & (column < depth.shape[1]) & (row >= 0) & (row < depth.shape[0])
    np.minimum.at(depth, (row[inside], column[inside]), z[inside].astype(np.float32))
    depth[np.isinf(depth)] = np.nan
    return depth


def _problem(path: Path, what: str, cure: str = CURE) -> Problem:
    return Problem(table=str(path), what=what, cure=cure)

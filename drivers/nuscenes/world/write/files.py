"""Writers of files: JPEG, lidar points and their labels, JSON, PNG; digits of numbers."""

import json
from math import cos, sin
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16

QUALITY = 60  # of the JPEG files; optimised Huffman tables make them smaller


def write_image(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB image as JPEG.

    Raises:
        OSError: the file cannot be written.
    """
    _write(path, encode_image(image))


def encode_image(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Return an RGB image as JPEG.

    Raises:
        OSError: OpenCV cannot encode it.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    done, data = cv2.imencode(".jpg", image[..., ::-1], options)
    if not done:
        raise OSError(f"OpenCV cannot encode an image of shape {image.shape}")
    return bytes(data.tobytes())


def write_array(path: Path, array: np.ndarray) -> None:
    """Write the numbers of an array, little-endian: points of a scan, or their classes."""
    _write(path, array.astype(array.dtype.newbyteorder("<")).tobytes())


def write_panoptic(path: Path, labels: UInt16[np.ndarray, " P"]) -> None:
    """Write 1000 times the class, plus the number of the instance, of each point."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, data=labels)


def write_json(path: Path, content: Any) -> None:
    """Write JSON without spaces."""
    _write(path, json.dumps(content, separators=(",", ":"), allow_nan=False).encode())


def write_mask(path: Path, mask: UInt8[np.ndarray, "H W"]) -> None:
    """Write a mask as PNG.

    Raises:
        OSError: the file cannot be written.
    """
    done, data = cv2.imencode(".png", mask)
    if not done:
        raise OSError(f"{path}: OpenCV cannot encode a mask of shape {mask.shape}")
    _write(path, data.tobytes())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def round_metres(*values: float) -> list[float]:
    """Return lengths [m] rounded to millimetres."""
    return [round(float(v), 3) for v in values]


def to_quaternion(yaw: float) -> list[float]:
    """Return (w, x, y, z) of a rotation about the z axis."""
    return [round(cos(yaw / 2), 6), 0.0, 0.0, round(sin(yaw / 2), 6)]

"""Writers of files: JPEG, lidar points and their labels, JSON, PNG."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16

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


def write_points(path: Path, points: Float32[np.ndarray, "P 5"]) -> None:
    """Write a scan as .pcd.bin: x, y, z, intensity and ring of each point, little-endian."""
    _write(path, points.astype("<f4").tobytes())


def write_lidarseg(path: Path, labels: UInt8[np.ndarray, " P"]) -> None:
    """Write the class of each point."""
    _write(path, labels.tobytes())


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

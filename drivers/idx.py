"""The IDX file format of MNIST: read and write arrays of unsigned bytes.

A file is, big-endian: two zero bytes, the type (8: unsigned byte), the number of axes, one
32-bit length an axis, then the bytes in C order. It may be compressed with gzip.
Source: the description that LeCun et al. published with MNIST.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
CURE = "fetch the file again"


def read(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Return the array in an IDX file of ``axes`` axes; gzip is told by the content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the gzip stream is damaged, the magic number is another, or bytes are
            missing or left over.
    """
    data = _content(path)
    expected = struct.pack(">HBB", 0, UNSIGNED_BYTE, axes)
    if data[:4] != expected:
        raise ValueError(
            f"{path}: wrong magic at offset 0: found 0x{data[:4].hex()}, expected "
            f"0x{expected.hex()} (IDX, unsigned bytes, {axes} axes); {CURE}, or check that "
            "images and labels are not exchanged"
        )
    start = 4 + 4 * axes
    if len(data) < start:
        raise ValueError(
            f"{path}: truncated header: found {len(data)} bytes, expected {start}; {CURE}"
        )
    shape = struct.unpack(f">{axes}I", data[4:start])
    found, wanted = len(data) - start, math.prod(shape)
    if found != wanted:
        what = "truncated" if found < wanted else f"{found - wanted} trailing bytes"
        raise ValueError(
            f"{path}: {what}: found {found} bytes after the header, expected {wanted} for "
            f"shape {shape}; {CURE}"
        )
    # A copy, since torch takes only memory that may be written.
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def write(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write an array as an IDX file, with gzip if the name ends in ``.gz``.

    The file appears whole or not at all.
    """
    header = struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    data = header + array.tobytes()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # equal arrays make equal files
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path}: unreadable gzip of {len(data)} bytes ({error}); {CURE}"
        ) from error

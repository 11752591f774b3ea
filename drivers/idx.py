"""The IDX file format of MNIST: read arrays of unsigned bytes.

A big-endian file holds two zero bytes, the type (8: unsigned byte), the number of axes, a
32-bit length per axis, then the bytes in C order. It may be compressed with gzip.
Source: the description that LeCun et al. published with MNIST.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
PIECE = 2**20  # bytes to unpack at once
CURE = "fetch the file again"


def read(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Return the array in an IDX file with ``axes`` axes; recognise gzip by its content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the gzip stream is damaged, the magic number is wrong, or the file has too
            few or too many bytes.
    """
    start = 4 + 4 * axes
    with _open(path) as file:
        header = _take(path, file, start)
        expected = struct.pack(">HBB", 0, UNSIGNED_BYTE, axes)
        if header[:4] != expected:
            raise ValueError(
                f"{path}: wrong magic at offset 0: found 0x{header[:4].hex()}, expected "
                f"0x{expected.hex()} (IDX, unsigned bytes, {axes} axes); {CURE}, or check that "
                "images and labels are not exchanged"
            )
        if len(header) < start:
            raise ValueError(
                f"{path}: truncated header: found {len(header)} bytes, expected {start}; {CURE}"
            )
        shape = struct.unpack(f">{axes}I", header[4:])
        expected_size = math.prod(shape)
        data = _take(path, file, expected_size + 1)
    if len(data) != expected_size:
        fault, size = "truncated", str(len(data))
        if len(data) > expected_size:  # the stream may be endless, so do not count the rest
            fault, size = "trailing bytes", f"more than {expected_size}"
        raise ValueError(
            f"{path}: {fault}: found {size} bytes after the header, expected {expected_size} "
            f"for shape {shape}; {CURE}"
        )
    # A bytearray is writable, as torch requires.
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def _open(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file; recognise gzip by its first bytes."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.open(file) as content:
            yield content


def _take(path: Path, file: BufferedIOBase, size: int) -> bytearray:
    """Return the next ``size`` bytes, or fewer at the end; unpack no more than these."""
    data = bytearray()
    try:
        while len(data) < size and (piece := file.read(min(PIECE, size - len(data)))):
            data += piece
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path}: unreadable gzip of {path.stat().st_size} bytes ({error}); {CURE}"
        ) from error
    return data

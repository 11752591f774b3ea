"""The IDX file format of MNIST: read and write arrays of unsigned bytes.

A file is, big-endian: two zero bytes, the type (8: unsigned byte), the number of axes, one
32-bit length an axis, then the bytes in C order. It may be compressed with gzip.
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

from neuro.io.store import write_bytes

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
PIECE = 2**20  # bytes that are unpacked at once
CURE = "fetch the file again"


def read(path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Return the array in an IDX file of ``axes`` axes; gzip is told by the content.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the gzip stream is damaged, the magic number is another, or bytes are
            missing or left over.
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
        wanted = math.prod(shape)
        data = _take(path, file, wanted + 1)
    if len(data) != wanted:
        what, found = "truncated", str(len(data))
        if len(data) > wanted:  # how many more is not known: what follows may be endless
            what, found = "trailing bytes", f"more than {wanted}"
        raise ValueError(
            f"{path}: {what}: found {found} bytes after the header, expected {wanted} for "
            f"shape {shape}; {CURE}"
        )
    # Not of the bytes themselves, since torch takes only memory that may be written.
    return np.frombuffer(data, np.uint8).reshape(shape)


def write(path: Path, array: UInt8[np.ndarray, "..."]) -> None:
    """Write an array as an IDX file, with gzip if the name ends in ``.gz``.

    The file appears whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    header = struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    data = header + array.tobytes()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # equal arrays make equal files
    write_bytes(path, data)


@contextmanager
def _open(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file for its content; gzip is told by its first bytes."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.open(file) as content:
            yield content


def _take(path: Path, file: BufferedIOBase, size: int) -> bytearray:
    """Return the next bytes, ``size`` of them if there are so many, and unpack no more."""
    data = bytearray()
    try:
        while len(data) < size and (piece := file.read(min(PIECE, size - len(data)))):
            data += piece
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"{path}: unreadable gzip of {path.stat().st_size} bytes ({error}); {CURE}"
        ) from error
    return data

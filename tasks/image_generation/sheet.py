"""Sheets of images as PNG files: rows of samples side by side.

PNG: a signature, then chunks of length, name, bytes and CRC; the pixels of all rows, each
behind a byte 0 (unfiltered), compressed with zlib (ISO/IEC 15948).
Axes: N images, C colours (1 or 3), H height, W width.
"""

import struct
import zlib

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

GREY, COLOUR = 0, 2  # kinds of pixels in PNG


def sheet(images: Float[Tensor, "N C H W"], columns: int) -> bytes:
    """Return a PNG of images in -1..1, ``columns`` a row, in their order.

    Raises:
        ValueError: the last row is not full.
    """
    n, colours, height, width = images.shape
    if n % columns:
        raise ValueError(f"{n} images do not fill rows of {columns}; leave {n % columns} out")
    pixels = ((images.detach().cpu().numpy() + 1) * 127.5).round().clip(0, 255)
    grid = pixels.reshape(-1, columns, colours, height, width).transpose(0, 3, 1, 4, 2)
    return png(grid.reshape(-1, columns * width, colours).astype(np.uint8))


def beside(one: Float[Tensor, "N C H W"], other: Float[Tensor, "N C H W"]) -> Tensor:
    """Return 2 N images, those of ``one`` each followed by its own of ``other``."""
    return torch.stack([one, other], 1).flatten(0, 1)


def png(pixels: UInt8[np.ndarray, "H W C"]) -> bytes:
    """Return an image file; C is 1 (grey) or 3 (red, green, blue)."""
    height, width, colours = pixels.shape
    kind = GREY if colours == 1 else COLOUR
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))
    body = zlib.compress(rows.tobytes(), 9)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*c) for c in chunks)


def _chunk(name: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)

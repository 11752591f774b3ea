"""Images resized and scaled to -1..1, and sheets of images.

Axes: N images, C colours, H height, W width.
"""

import io

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor


def scale_images(
    images: UInt8[np.ndarray, "N C H W"], side: int
) -> Float[Tensor, "N C side side"]:
    """Return images as numbers in -1..1, resized by bilinear interpolation."""
    return resize_images(torch.from_numpy(images.astype(np.float32) / 127.5 - 1), side)


def resize_images(x: Float[Tensor, "N C H W"], side: int) -> Float[Tensor, "N C side side"]:
    """Return images resized by bilinear interpolation if their size differs."""
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def draw_sheet(images: Float[Tensor, "N C H W"], columns: int, scale: int = 1) -> bytes:
    """Return a PNG of images in -1..1, ``columns`` per row, in order.

    scale: side of the square that shows one pixel.

    Raises:
        ValueError: the last row is not full.
    """
    n, colours, height, width = images.shape
    if n % columns:
        raise ValueError(
            f"{n} images do not fill rows of {columns}; drop {n % columns} of them"
        )
    pixels = ((images.detach().cpu().numpy() + 1) * 127.5).round().clip(0, 255)
    grid = pixels.reshape(-1, columns, colours, height, width).transpose(0, 3, 1, 4, 2)
    flat = grid.reshape(-1, columns * width, colours).astype(np.uint8)
    flat = flat.repeat(scale, 0).repeat(scale, 1)
    file = io.BytesIO()
    Image.fromarray(flat[..., 0] if colours == 1 else flat).save(file, "PNG")
    return file.getvalue()


def interleave(a: Float[Tensor, "N C H W"], b: Float[Tensor, "N C H W"]) -> Tensor:
    """Return 2 N images, alternately from ``a`` and ``b``."""
    return torch.stack([a, b], 1).flatten(0, 1)

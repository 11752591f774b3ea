"""Augmentations: random changes of images that preserve their class.

Each takes unsigned bytes and a NumPy generator, and returns images of the same shape.
Axes: N images, C colours, H height, W width.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

Images = UInt8[np.ndarray, "N C H W"]


def shifted(images: Images, most: int, rng: np.random.Generator) -> Images:
    """Shift each image by up to ``most`` pixels in both directions; fill with 0."""
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)))
    height, width = images.shape[2:]
    moves = rng.integers(0, 2 * most + 1, (len(images), 2))
    out = np.empty_like(images)
    for k, (y, x) in enumerate(moves):
        out[k] = padded[k, :, y : y + height, x : x + width]
    return out


def flipped(images: Images, rng: np.random.Generator) -> Images:
    """Mirror half of the images, left to right."""
    mirror = rng.random(len(images)) < 0.5
    return np.where(mirror[:, None, None, None], images[..., ::-1], images)


def warped(
    images: Images,
    rng: np.random.Generator,
    degrees: float = 30.0,
    shift: float = 0.15,
    scale: tuple[float, float] = (0.85, 1.11),
) -> Images:
    """Rotate, shift and scale images with bilinear interpolation; fill with 0.

    The defaults are those of Fang et al. 2021 for MNIST.

    Args:
        images: unsigned bytes.
        rng: random generator.
        degrees: largest rotation in either direction.
        shift: largest shift in either direction, as a share of the side.
        scale: smallest and largest scale.
    """
    n = len(images)
    angle = np.deg2rad(rng.uniform(-degrees, degrees, n))
    size = rng.uniform(*scale, n)
    move = rng.uniform(-2 * shift, 2 * shift, (n, 2))  # the grid is from -1 to 1
    height, width = images.shape[2:]
    stretch = height / width
    matrix = np.empty((n, 2, 3), np.float32)
    matrix[:, 0, 0] = matrix[:, 1, 1] = np.cos(angle) / size
    matrix[:, 0, 1] = -np.sin(angle) / size * stretch
    matrix[:, 1, 0] = np.sin(angle) / size / stretch
    matrix[:, :, 2] = -(matrix[:, :, :2] @ move[:, :, None])[..., 0]
    grid = F.affine_grid(torch.from_numpy(matrix), list(images.shape), align_corners=False)
    moved = F.grid_sample(torch.from_numpy(images).float(), grid, align_corners=False)
    return moved.round().clamp(0, 255).to(torch.uint8).numpy()

"""The linear path from noise to an image, its velocity and its score.

    x_t = t x_1 + (1 - t) e        u = x_1 - e        t: 0 is noise, 1 the image

Axes: I images of a sequence, B samples, C channels, Y X pixels or latents.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "*B C Y X"]


def draw_times(images: int, samples: int, device: torch.device) -> Float[Tensor, "I B"]:
    """Draw uniform times, ascending in each sequence: its first image is the noisiest."""
    return torch.rand(images, samples, device=device).sort(0).values


def mix(x: Images, noise: Images, t: Float[Tensor, "*B"]) -> Images:
    """Return x_t."""
    t = t[..., None, None, None]
    return t * x + (1 - t) * noise


def scale_score(x: Images, velocity: Images, t: float) -> Images:
    """Return (1 - t) score of x_t = -e = t u - x_t, which is finite at t = 1 too."""
    return t * velocity - x

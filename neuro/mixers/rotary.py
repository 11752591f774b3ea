"""Rotary positions (Su et al. 2021, arXiv 2104.09864): q.k depends only on the distance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BASE = 10_000.0


def rotate(x: Float[Tensor, "T B H K"], first: Int[Tensor, " B"]) -> Float[Tensor, "T B H K"]:
    """Return x with channels j and j + K/2 rotated by position * BASE^(-2 j / K).

    first: the position of the first token of each sample.
    """
    half = x.shape[-1] // 2
    # In float64, because float32 gives wrong angles at a position of 1e6.
    speeds = BASE ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    position = first + torch.arange(len(x), device=x.device)[:, None]
    angle = position[..., None, None] * speeds
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first_half, second_half = torch.split(x, half, -1)
    return torch.cat(
        [first_half * cos - second_half * sin, second_half * cos + first_half * sin], -1
    )

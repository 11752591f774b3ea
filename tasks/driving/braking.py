"""Brake on the chosen path.

The planner decides on path and speed in sequence (Kant and Zucker 1986).
Axes: B windows, F frames, V speeds: the planned one, then braking by RATES.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from drivers.nuscenes.window import FRAME
from tasks.driving.displace import go_along
from tasks.driving.sampler import find_moves

RATES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # [m/s^2]
UNSURE = 0.3  # lower probabilities of occupancy count as 0


def brake_along(
    path: Float[Tensor, "B F 3"], speed: Float[Tensor, " B"]
) -> Float[Tensor, "B V F 3"]:
    """Return a path at the planned speed, then while braking at each of the RATES.

    speed: at its start [m/s]. No variant is ahead of the planned path in any frame.
    """
    planned = find_moves(path[..., :2]).norm(dim=-1).cumsum(1)[:, None]
    times = FRAME * torch.arange(1, path.shape[1] + 1, device=path.device)
    rate = torch.tensor(RATES, device=path.device)[:, None]
    start = speed[:, None, None]
    until = torch.minimum(times, start / rate)
    way = torch.minimum(start * until - rate * until**2 / 2, planned)
    ways = torch.cat([planned, way], 1)
    flat = path.repeat_interleave(ways.shape[1], 0)
    return go_along(flat, ways.flatten(0, 1)).view(*ways.shape, 3)


def doubt(occupied: Float[Tensor, "B F X Y"]) -> Float[Tensor, "B F X Y"]:
    """Rescale probabilities so that UNSURE becomes 0 and 1 stays 1."""
    return ((occupied - UNSURE) / (1 - UNSURE)).clamp(min=0)

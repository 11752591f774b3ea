"""Heads: from spikes of the decoder to maps of each frame.

Each is conv 3x3, norm, ReLU, conv 1x1, real-valued and on the host. A class is one logit:
its sigmoid is the soft-max of the two that SAD has. The head of the cost volume may look
farther, by dilated convolutions, and is then told the place of each cell: which lane is its
own, a car knows by where it is. Axes: T frames, B windows, X and Y cells.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from drivers.nuscenes.grid import Grid
from tasks.driving.config import CHANNELS, Config

PRESENT = ("lane", "drivable")  # maps of the present frame alone


class Heads(nn.Module):
    """All heads, by name."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        given, middle = config.state_channels, config.heads
        self.parts = nn.ModuleDict()
        for name, channels in CHANNELS.items():
            dilations = config.planner.dilations if name == "cost" else ()
            place = [AddPlace(config.grid)] if dilations else []
            layers = [*place, *_convolve(given + 2 * len(place), middle, 1)]
            for dilation in dilations:
                layers += _convolve(middle, middle, dilation)
            self.parts[name] = nn.Sequential(*layers, nn.Conv2d(middle, channels, 1))

    def forward(
        self, x: Float[Tensor, "T B C X Y"], names: tuple[str, ...]
    ) -> dict[str, Float[Tensor, "T2 B K X Y"]]:
        """Return the maps of some heads; the first frame of x is the present one.

        Logits of vehicle, pedestrian, lane and drivable, and of the heat of instances' centres;
        offset to an instance's centre and flow to its next place, along X and Y [cells]; cost.
        Those of PRESENT have one frame.
        """
        out = {}
        for name in names:
            frames = x[:1] if name in PRESENT else x
            y: Tensor = self.parts[name](frames.flatten(0, 1))
            out[name] = y.reshape(*frames.shape[:2], *y.shape[1:])
        return out


class AddPlace(nn.Module):
    """Adds two channels: the place of each cell along X and Y, from -1 to 1."""

    place: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        axes = (torch.linspace(-1, 1, n) for n in grid.shape)
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        self.register_buffer("place", place, persistent=False)

    def forward(self, x: Float[Tensor, "B C X Y"]) -> Float[Tensor, "B C2 X Y"]:
        """Return all channels."""
        return torch.cat([x, self.place.expand(len(x), -1, -1, -1)], 1)


def _convolve(given: int, made: int, dilation: int) -> list[nn.Module]:
    return [
        nn.Conv2d(given, made, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(made),
        nn.ReLU(),
    ]

"""Heads: from spikes of the decoder to maps of each frame.

Each is conv 3x3, norm, ReLU, conv 1x1, real-valued and on the host. A class is one logit:
its sigmoid is the soft-max of the two that SAD has. Axes: T frames, B windows, X and Y cells.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from tasks.driving.config import Config

CHANNELS: Mapping[str, int] = {
    "vehicle": 1,
    "pedestrian": 1,
    "lane": 1,
    "drivable": 1,
    "centre": 1,
    "offset": 2,
    "flow": 2,
    "cost": 1,
}
PRESENT = ("lane", "drivable")  # maps of the present frame alone


class Heads(nn.Module):
    """All heads, by name."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        given, middle = config.state_channels, config.heads
        self.parts = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv2d(given, middle, 3, padding=1, bias=False),
                    nn.BatchNorm2d(middle),
                    nn.ReLU(),
                    nn.Conv2d(middle, channels, 1),
                )
                for name, channels in CHANNELS.items()
            }
        )

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

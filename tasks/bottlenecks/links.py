"""Links, which carry the channels of a boundary from chip to chip, and gates, which close them.

Axes: N ticks of samples, C channels, H height, W width.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.neurons import IF
from neuro.nn.layers import Spiking
from tasks.bottlenecks.config import VALUE_BITS, Link


def make_link(link: Link, channels: int) -> nn.Module:
    """Return the module of a link."""
    if link == "spikes":
        return Spiking(IF())
    if link == "float":
        return FloatLink()
    return Quantiser(channels, VALUE_BITS[link])


class FloatLink(nn.Module):
    """Sends 32-bit values unchanged. It has no node in a Graph: no chip here sends them."""

    def forward(self, x: Float[Tensor, "N C *S"]) -> Float[Tensor, "N C *S"]:
        """Return ``x``."""
        return x


class Quantiser(nn.Module):
    """A uniform quantiser with a trained range for each channel.

        q = round(clamp((x - low) / step, 0, 2^bits - 1))
        y = low + step q

    The gradient passes the rounding unchanged (straight through), so step and low have the
    gradients of LSQ (Esser et al. 2020). The range begins as that of the activity
    (:func:`tasks.bottlenecks.boundary.initialise_boundary`), or as -4 to 4 in a network with
    random weights.
    """

    def __init__(self, channels: int, bits: int) -> None:
        super().__init__()
        self.levels = 2**bits - 1
        self.low = nn.Parameter(torch.full((channels,), -4.0))
        self.step = nn.Parameter(torch.full((channels,), 8.0 / self.levels))

    def extra_repr(self) -> str:
        """Return the number of levels."""
        return f"{self.levels + 1} levels"

    @torch.no_grad()
    def set_range(self, low: Float[Tensor, " C"], high: Float[Tensor, " C"]) -> None:
        """Set the range of each channel's levels to ``low`` ... ``high``."""
        self.low.copy_(low)
        self.step.copy_((high - low).clamp(min=1e-6) / self.levels)

    def forward(self, x: Float[Tensor, "N C *S"]) -> Float[Tensor, "N C *S"]:
        """Return the nearest level of each value."""
        low, step = (p.reshape(-1, *[1] * (x.dim() - 2)) for p in (self.low, self.step))
        level = ((x - low) / step).clamp(0, self.levels)
        rounded = level + (level.round() - level).detach()
        return low + step * rounded


class Gates(nn.Module):
    """A gate from 0 (closed) to 1 for each channel, with the hard concrete distribution.

        s = sigmoid((log u - log(1 - u) + a) / beta)      u uniform, in training
        gate = clamp(s (zeta - gamma) + gamma, 0, 1)
        P(gate > 0) = sigmoid(a - beta log(-gamma / zeta))

    a = SPEED raw, where raw is trained: Adam moves a parameter by about the learning rate per
    step, and a gate closes only at a < -2.4. In evaluation, s = sigmoid(a). Source: Louizos et
    al. 2018 (arXiv 1712.01312).
    """

    BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
    SPEED = 20.0

    def __init__(self, channels: int, start: float = 2.0) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.full((channels,), start / self.SPEED))

    @property
    def a(self) -> Float[Tensor, " C"]:
        """The logit of each gate."""
        return self.SPEED * self.raw

    def forward(self, x: Float[Tensor, "N C *S"]) -> Float[Tensor, "N C *S"]:
        """Return each channel times its gate; in training all samples share one draw."""
        return x * self.draw().reshape(-1, *[1] * (x.dim() - 2))

    def draw(self) -> Float[Tensor, " C"]:
        """Return the gates: drawn in training, fixed in evaluation."""
        if self.training:
            u = torch.rand_like(self.raw).clamp(1e-6, 1 - 1e-6)
            s = torch.sigmoid((u.log() - (1 - u).log() + self.a) / self.BETA)
        else:
            s = torch.sigmoid(self.a)
        return (s * (self.ZETA - self.GAMMA) + self.GAMMA).clamp(0, 1)

    def expect_open(self) -> Float[Tensor, " C"]:
        """Return the probability that each gate is open."""
        shift = self.BETA * math.log(-self.GAMMA / self.ZETA)
        return torch.sigmoid(self.a - shift)

    def find_open(self) -> Any:
        """Return the channels that are open in evaluation; at least the strongest one."""
        gates = torch.sigmoid(self.a.detach()) * (self.ZETA - self.GAMMA) + self.GAMMA
        number = max(1, int((gates > 0).sum()))
        return gates.argsort(descending=True, stable=True)[:number].sort().values

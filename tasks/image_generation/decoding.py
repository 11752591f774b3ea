"""Combine the pixel currents of T ticks into one image, on the host.

    membrane     x = tanh(sum_t 0.8^(T-1-t) X[t])              FSVAE (Kamata et al. 2022)
    attention    x = tanh(sum_t A[t] X[t])                     TAID (Qiu et al. 2023)
        A = sigmoid(W m), m[t] the mean of X[t] over H and W, W of T x T: as in its code
    drawn        x = tanh(sum_t w[t] a[t] X[t])
        a = sigmoid(MLP(m)), m[t] the mean over C, H and W, w T numbers: as its figure draws it

The figure shows a squeeze to one number per tick, an MLP and "a learnable matrix". We read the
MLP as T-T-T with a ReLU between, and the matrix as a factor per tick that starts at 1. The
paper weights spikes, its code the currents X of the last convolution; we follow the code.
Axes: T ticks, B samples, C channels, H height, W width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tasks.image_generation.config import GenerationConfig

Currents = Float[Tensor, "T B C H W"]
Image = Float[Tensor, "B C H W"]


class Membrane(nn.Module):
    """The last value of the integrators (decay 0.8) at the end of the decoder."""

    def forward(self, currents: Currents) -> Image:
        """Return the image, in -1..1."""
        return torch.tanh(currents[-1])


class Attention(nn.Module):
    """A weight for each tick and channel of each sample."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self.mix = nn.Linear(ticks, ticks, bias=False)

    def weights(self, currents: Currents) -> Float[Tensor, "T B C"]:
        """Return A."""
        return torch.sigmoid(self.mix(currents.mean((3, 4)).movedim(0, -1)).movedim(-1, 0))

    def forward(self, currents: Currents) -> Image:
        """Return the image, in -1..1."""
        return torch.tanh((self.weights(currents)[..., None, None] * currents).sum(0))


class DrawnAttention(nn.Module):
    """A weight for each tick of each sample."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(ticks, ticks), nn.ReLU(), nn.Linear(ticks, ticks))
        self.factor = nn.Parameter(torch.ones(ticks))

    def weights(self, currents: Currents) -> Float[Tensor, "T B"]:
        """Return w a."""
        a = torch.sigmoid(self.mlp(currents.mean((2, 3, 4)).T))
        return (self.factor * a).T

    def forward(self, currents: Currents) -> Image:
        """Return the image, in -1..1."""
        return torch.tanh((self.weights(currents)[..., None, None, None] * currents).sum(0))


def make_decoding(config: GenerationConfig) -> nn.Module:
    """Return the module that turns the currents of the decoder into images."""
    if config.model == "membrane":
        return Membrane()
    make = Attention if config.model == "attention" else DrawnAttention
    return make(config.ticks)

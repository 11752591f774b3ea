"""The stacks of the spiking VAE: plain torch layers, tdBN and LIF neurons.

    u[t] = u[t-1] / 4 + I[t]      o[t] = 1 if u[t] >= 0.2 else 0      u[t] = 0 where o[t] = 1

A batch norm over ticks and samples follows each convolution and linear layer; its gain starts
at alpha x 0.2 (tdBN, Zheng et al. 2021). Then come LIF neurons (Kamata et al. 2022; TAID uses
the same). Differences: our neurons also fire at u = 0.2, and the gradient does not pass through
their reset. Our gain is one number per channel, theirs a trained factor times a constant.
Layers before a norm have no bias, because the norm has one.
Axes: T ticks, B samples, C channels, H height, W width, Z bits of the latent.
"""

import math
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.neurons import LI, LIF
from neuro.nn.layers import DT, Spiking, Stack
from tasks.images.generation.config import GenerationConfig

THRESHOLD = 0.2
KERNEL: dict[str, Any] = {"kernel_size": 3, "padding": 1, "stride": 2}


def window(distance: Tensor) -> Tensor:
    """Return 1 where the membrane is within 0.5 of zero, as in the published code.

    The usual window is around the threshold. distance: membrane - threshold.
    """
    return (distance + THRESHOLD).abs_().lt_(0.5)  # in place, to save memory


def make_neurons() -> Spiking:
    """Return LIF neurons that keep a quarter of their membrane from tick to tick."""
    tau = Seconds(DT / math.log(4))
    return Spiking(LIF(tau=tau, threshold=THRESHOLD, reset="hard", surrogate=window))


def make_encoder(config: GenerationConfig) -> Stack:
    """Return the Stack from images T B C H W to spikes T B Z."""
    layers: dict[str, nn.Module] = {}
    for k, (inputs, outputs) in enumerate(pairwise((config.colours, *config.channels)), 1):
        layers[f"conv{k}"] = nn.Conv2d(inputs, outputs, bias=False, **KERNEL)
        layers[f"norm{k}"] = _norm(nn.BatchNorm2d(outputs))
        layers[f"lif{k}"] = make_neurons()
    layers["flat"] = nn.Flatten()
    return Stack(**layers, **_dense("out", 4 * config.channels[-1], config.latent))


def make_bernoulli(inputs: int, config: GenerationConfig) -> Stack:
    """Return the Stack from inputs T B * to ``copies`` draws of each latent bit, T B (Z K)."""
    sizes = (inputs, 2 * config.latent, 4 * config.latent, config.copies * config.latent)
    layers: dict[str, nn.Module] = {}
    for k in range(3):
        layers |= _dense(str(k + 1), sizes[k], sizes[k + 1], alpha=2.0)
    return Stack(**layers)


def make_decoder(config: GenerationConfig) -> Stack:
    """Return the Stack from spikes T B Z to the pixel currents, T B C H W.

    It ends in leaky integrators, which :mod:`tasks.images.generation.vae` reads: with decay
    0.8 for the membrane decoder, otherwise without memory, so that they show the current of
    each tick.
    """
    widest = config.channels[-1]
    layers = _dense("in", config.latent, 4 * widest)
    layers["shape"] = nn.Unflatten(1, (widest, 2, 2))
    widths = (*reversed(config.channels), config.channels[0])
    for k, (inputs, outputs) in enumerate(pairwise(widths), 1):
        up = nn.ConvTranspose2d(inputs, outputs, output_padding=1, bias=False, **KERNEL)
        layers[f"up{k}"] = up
        layers[f"norm{k}"] = _norm(nn.BatchNorm2d(outputs))
        layers[f"lif{k}"] = make_neurons()
    # The paper has a transposed convolution: at stride 1 a convolution with a flipped kernel.
    layers["head"] = nn.Conv2d(config.channels[0], config.colours, 3, padding=1)
    # exp(-1000) is 0 in every precision.
    tau = DT / math.log(1 / 0.8) if config.model == "membrane" else DT / 1000
    layers["image"] = Spiking(LI(tau=Seconds(tau)))
    return Stack(**layers)


def _dense(name: str, inputs: int, outputs: int, alpha: float = 1.0) -> dict[str, nn.Module]:
    return {
        f"fc_{name}": nn.Linear(inputs, outputs, bias=False),
        f"norm_{name}": _norm(nn.BatchNorm1d(outputs), alpha),
        f"lif_{name}": make_neurons(),
    }


def _norm(norm: nn.Module, alpha: float = 1.0) -> nn.Module:
    nn.init.constant_(norm.get_parameter("weight"), alpha * THRESHOLD)
    return norm

"""Networks for images: blocks of convolutions and pools, dense layers, an output.

    {conv - batch norm - ALIF | pool} x n -> {dropout - dense - ALIF} x m -> dense -> output

The output is a leaky read-out, or a vote: the mean rate of several firing neurons per class.
With a ReLU for each ALIF and a run of one tick it is an ANN, which neuro convert takes.
Axes: T ticks, B batch, K classes, V voters per class.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.base.bounds import ADDED, Count, Natural, NotNegative, Share
from neuro.base.units import Seconds, Ticks
from neuro.neurons import ALIF, LI
from neuro.nn.counted_relu import CountedReLU
from neuro.nn.layers import DT, Residual, Spiking, Stack
from neuro.spikes.codes import direct, rate


@runtime_checkable
class InputCode(Protocol):
    """The fields of a configuration that :func:`stimulus` reads, see :class:`NetConfig`."""

    @property
    def ticks(self) -> int:
        """Length of a run."""

    @property
    def code(self) -> Literal["rate", "direct"]:
        """How pixels become spikes."""


SAYS = {  # whether the neurons spike -> a sentence of the report
    True: "All layers in between are spiking neurons.",
    False: "No layer spikes: it is an ANN with ReLUs, which neuro convert makes spike.",
}


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """A network for images, and the code of its input."""

    ticks: Count = 8
    """Length of a run [ticks]."""
    code: Literal["rate", "direct"] = "rate"
    """Code of a pixel: spikes ("rate"), or its value at every tick ("direct")."""
    blocks: tuple[Natural, ...] = (12, 0, 24, 0)
    """Channels of each convolution; 0 is a pool of 2 x 2."""
    first: Count = 3
    """Side of the kernels of the first convolution; the others have 3 [pixels]."""
    padded: bool = True
    """Whether convolutions keep the size of maps."""
    norm: bool = True
    """Whether a batch norm follows each convolution."""
    pool: Literal["average", "max"] = "average"
    """What a pool takes of its values."""
    hidden: tuple[Count, ...] = ()
    """Neurons of each hidden dense layer."""
    dropout: tuple[Share, ...] = ()
    """Probability of a dropout in front of each of the first dense layers."""
    vote: Natural = 0
    """Firing neurons per class that vote; 0 is a leaky read-out."""
    threshold: Literal["learned", "fixed"] = "learned"
    """Whether the network learns its thresholds; it always learns its leaks."""
    beta: NotNegative = 0.0
    """Rise of a threshold with each spike [weight units]."""
    neuron: Literal["alif", "relu", "counted"] = field(default="alif", metadata=ADDED)
    """Spiking neurons, or the ReLUs of an ANN; "counted" ReLUs have ``levels`` steps."""
    levels: Count = field(default=8, metadata=ADDED)
    """Steps of a counted ReLU."""
    residual: bool = field(default=False, metadata=ADDED)
    """Whether a convolution that keeps width and size adds its input to its output."""


def build(
    config: NetConfig, image: tuple[int, int, int], classes: int, dt: Seconds = DT
) -> Stack:
    """Return a new network for images C H W. Input T B C H W, output T B K (T B K V)."""
    net = Stack(**dict(_modules(config, image, classes, dt)))
    for name, p in net.named_parameters():
        if name.endswith(".threshold") and config.threshold == "fixed":
            p.requires_grad_(False)
    return net


def _modules(
    config: NetConfig, image: tuple[int, int, int], classes: int, dt: Seconds
) -> Iterator[tuple[str, nn.Module]]:
    channels, *sides = image
    convolutions = pools = 0
    for width in config.blocks:
        if width == 0:
            pools += 1
            sides = [side // 2 for side in sides]
            kind = nn.AvgPool2d if config.pool == "average" else nn.MaxPool2d
            yield f"pool{pools}", kind(2)
            continue
        convolutions += 1
        size = 3 if convolutions > 1 else config.first
        parts: dict[str, nn.Module] = {
            f"conv{convolutions}": _conv(channels, width, size, config)
        }
        if config.norm:
            parts[f"norm{convolutions}"] = nn.BatchNorm2d(width)
        if config.residual and config.padded and channels == width:
            parts = {f"res{convolutions}": Residual(Stack(**parts), nn.Identity())}
        yield from parts.items()
        yield f"{config.neuron}{convolutions}", _make_neuron(config, dt)
        channels, sides = width, sides if config.padded else [s - size + 1 for s in sides]
    yield "flat", nn.Flatten()
    width = channels * math.prod(sides)
    for k, neurons in enumerate(config.hidden):
        if k < len(config.dropout):
            yield f"drop{k + 1}", nn.Dropout(config.dropout[k])
        yield f"fc{k + 1}", nn.Linear(width, neurons, bias=False)
        yield f"dense{k + 1}", _make_neuron(config, dt)
        width = neurons
    if len(config.dropout) > len(config.hidden):
        yield "drop", nn.Dropout(config.dropout[-1])
    yield "fc", nn.Linear(width, classes * max(config.vote, 1), bias=False)
    readout = _make_neuron(config, dt) if config.vote else Spiking(LI(tau=Seconds(0.02)), dt)
    yield "readout", readout


def _make_neuron(config: NetConfig, dt: Seconds) -> nn.Module:
    """Return the module behind a layer of weights."""
    if config.neuron == "alif":
        return Spiking(ALIF(threshold=0.5, beta=config.beta), dt)
    return nn.ReLU() if config.neuron == "relu" else CountedReLU(config.levels)


def _conv(inputs: int, outputs: int, size: int, config: NetConfig) -> nn.Conv2d:
    """Return a convolution without bias, so that silent inputs cost nothing."""
    padding = size // 2 if config.padded else 0
    conv = nn.Conv2d(inputs, outputs, size, padding=padding, bias=False)
    if not config.norm:
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (inputs * size * size)))
    return conv


def stimulus(images: Float[Tensor, "B C H W"], config: InputCode) -> Float[Tensor, "T B C H W"]:
    """Encode images with values from 0 to 1 for a network."""
    ticks = Ticks(config.ticks)
    return rate(images, ticks) if config.code == "rate" else direct(images, ticks)


def scores(y: Float[Tensor, "T B N"], classes: int = 10) -> Float[Tensor, "B K"]:
    """Return the mean over the ticks and over the voters of each class."""
    return y.mean(0).reshape(y.shape[1], classes, -1).mean(2)


def loss(
    config: NetConfig, y: Float[Tensor, "T B N"], labels: Int64[Tensor, " B"], classes: int = 10
) -> Float[Tensor, ""]:
    """Return the cross-entropy of a read-out, or the mean squared error of a vote."""
    s = scores(y, classes)
    if not config.vote:
        return F.cross_entropy(s, labels)
    return F.mse_loss(s, F.one_hot(labels, s.shape[1]).to(s))

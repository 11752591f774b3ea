"""Networks for images: blocks of convolutions and pools, dense layers, an answer.

    {conv - batch norm - ALIF | pool} x n -> {dropout - dense - ALIF} x m -> dense -> answer

The answer is a leaky read-out, or a vote: the mean rate of some firing neurons a class.
Axes: T ticks, B batch, K classes, V voters a class.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.codes import direct, rate
from neuro.neurons import ALIF, LI
from neuro.nn.layers import Spiking, Stack
from neuro.units import Seconds, Ticks


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """A network for images, and the code that its input is in.

    ticks: length of a run. code: "rate": evenly spaced spikes, the brighter the more; "direct":
    the image itself at every tick, which a host turns into the spikes of the first population.
    blocks: channels of each convolution; 0 is a pool of 2 x 2. first: side of the kernels of
    the first convolution, others have 3. padded: whether maps keep their size. norm: whether a
    batch norm follows each convolution. pool: of averages or of maxima.
    hidden: neurons of dense layers. dropout: in front of the first so many dense layers, by
    that probability. vote: firing neurons a class; 0: a leaky read-out.
    threshold: whether thresholds are "learned" or "fixed"; leaks are learned. beta: rise of a
    threshold at a spike [weight units].
    """

    ticks: int = 8
    code: Literal["rate", "direct"] = "rate"
    blocks: tuple[int, ...] = (12, 0, 24, 0)
    first: int = 3
    padded: bool = True
    norm: bool = True
    pool: Literal["average", "max"] = "average"
    hidden: tuple[int, ...] = ()
    dropout: tuple[float, ...] = ()
    vote: int = 0
    threshold: Literal["learned", "fixed"] = "learned"
    beta: float = 0.0


def build(config: NetConfig, image: tuple[int, int, int], classes: int) -> Stack:
    """Return a fresh network for images C H W. Input T B C H W, output T B K (T B K V)."""
    net = Stack(**dict(_modules(config, image, classes)))
    for name, p in net.named_parameters():
        if name.endswith(".threshold") and config.threshold == "fixed":
            p.requires_grad_(False)
    return net


def _modules(
    config: NetConfig, image: tuple[int, int, int], classes: int
) -> Iterator[tuple[str, nn.Module]]:
    channels, *sides = image
    cells = ALIF(threshold=0.5, beta=config.beta)
    convolutions = pools = 0
    for made in config.blocks:
        if made == 0:
            pools += 1
            sides = [side // 2 for side in sides]
            kind = nn.AvgPool2d if config.pool == "average" else nn.MaxPool2d
            yield f"pool{pools}", kind(2)
            continue
        convolutions += 1
        size = 3 if convolutions > 1 else config.first
        yield f"conv{convolutions}", _conv(channels, made, size, config)
        if config.norm:
            yield f"norm{convolutions}", nn.BatchNorm2d(made)
        yield f"alif{convolutions}", Spiking(cells)
        channels, sides = made, sides if config.padded else [s - size + 1 for s in sides]
    yield "flat", nn.Flatten()
    width = channels * math.prod(sides)
    for k, made in enumerate(config.hidden):
        if k < len(config.dropout):
            yield f"drop{k + 1}", nn.Dropout(config.dropout[k])
        yield f"fc{k + 1}", nn.Linear(width, made, bias=False)
        yield f"dense{k + 1}", Spiking(cells)
        width = made
    if len(config.dropout) > len(config.hidden):
        yield "drop", nn.Dropout(config.dropout[-1])
    yield "fc", nn.Linear(width, classes * max(config.vote, 1), bias=False)
    yield "readout", Spiking(cells if config.vote else LI(tau=Seconds(0.02)))


def _conv(given: int, made: int, size: int, config: NetConfig) -> nn.Conv2d:
    """Return a convolution without bias: silence in, silence out, and nothing to compute."""
    padding = size // 2 if config.padded else 0
    conv = nn.Conv2d(given, made, size, padding=padding, bias=False)
    if not config.norm:
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (given * size * size)))
    return conv


def stimulus(images: Float[Tensor, "B C H W"], config: NetConfig) -> Float[Tensor, "T B C H W"]:
    """Return images of values from 0 to 1 in the code of a network."""
    ticks = Ticks(config.ticks)
    return rate(images, ticks) if config.code == "rate" else direct(images, ticks)


def scores(y: Float[Tensor, "T B N"], classes: int = 10) -> Float[Tensor, "B K"]:
    """Return the mean over the ticks, and over the voters of each class."""
    return y.mean(0).reshape(y.shape[1], classes, -1).mean(2)


def loss(
    config: NetConfig, y: Float[Tensor, "T B N"], labels: Int64[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of a read-out's scores; of votes, their mean squared error."""
    answer = scores(y)
    if not config.vote:
        return F.cross_entropy(answer, labels)
    return F.mse_loss(answer, F.one_hot(labels, answer.shape[1]).to(answer))

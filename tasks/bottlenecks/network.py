"""Residual classifiers, with a narrow layer at each cut.

    image -> conv - norm - cells -> {block | narrow} x n -> mean of the image - dense -> answer
    block:   cells(conv - norm - cells - conv - norm (x) + shortcut(x))
    narrow:  conv 1 x 1 (C to k) - link - conv 1 x 1 (k to C)

A narrow layer is between two blocks, so that both the body and the shortcut of the next block
read its output. Axes: T ticks, B batch, C channels.
"""

from collections.abc import Iterator

from torch import nn

from neuro.base.units import Seconds
from neuro.neurons import ALIF, LI
from neuro.nn.layers import Residual, Spiking, Stack, list_steps
from tasks.bottlenecks.config import (
    WIDER,
    BottleneckConfig,
    count_channels,
    find_side,
    find_stage,
)
from tasks.bottlenecks.links import Gates, make_link
from tasks.runs.configuration import require_sound


def build(config: BottleneckConfig, image: tuple[int, int, int], classes: int) -> Stack:
    """Return a new network. Input T B C H W, output T B classes.

    Raises:
        ValueError: the configuration is wrong; lists every problem.
    """
    require_sound(config)
    return Stack(**dict(_list_modules(config, image, classes)))


def _list_modules(
    config: BottleneckConfig, image: tuple[int, int, int], classes: int
) -> Iterator[tuple[str, nn.Module]]:
    first = config.channels[0]
    yield "conv", _conv(image[0], first, 3)
    yield "norm", nn.BatchNorm2d(first)
    yield "cells", make_cells(config)
    widths = dict(zip(config.narrow.after, config.narrow.widths, strict=True))
    if 0 in widths:
        yield name_boundary(0), make_boundary(config, first, widths[0])
    last = sum(config.blocks)
    for k in range(1, last + 1):
        stride = 1 + (find_stage(config, k) > find_stage(config, k - 1))
        inputs, outputs = (count_channels(config, n) for n in (k - 1, k))
        yield f"block{k}", _make_block(config, inputs, outputs, stride)
        if k in widths:
            yield name_boundary(k), make_boundary(config, outputs, widths[k])
    yield "pool", nn.AvgPool2d(find_side(config, image[1], last))
    yield "flat", nn.Flatten()
    spiking = config.cells == "lif"  # a bias beside means of an image is too large for a chip
    yield "fc", nn.Linear(count_channels(config, last), classes, bias=not spiking)
    if spiking:
        yield "readout", Spiking(LI(tau=Seconds(0.02)))


def make_cells(config: BottleneckConfig) -> nn.Module:
    """Return a population, or its twin without spikes.

    The leak is trained. The threshold is fixed, because the norms in front already scale the
    input, and a trained threshold can fall to 0.
    """
    if config.cells == "relu":
        return nn.ReLU()
    cells = Spiking(ALIF(threshold=0.5))
    cells.get_parameter("threshold").requires_grad_(False)
    return cells


def _make_block(config: BottleneckConfig, inputs: int, outputs: int, stride: int) -> Stack:
    layers = [_conv(inputs, outputs, 3, stride), _conv(outputs, outputs, 3)]
    if config.shape == "deep":
        inner = outputs // WIDER
        layers = [_conv(inputs, inner, 1), _conv(inner, inner, 3, stride)]
        layers.append(_conv(inner, outputs, 1))
    body: dict[str, nn.Module] = {}
    for k, conv in enumerate(layers, 1):
        body |= {f"conv{k}": conv, f"norm{k}": nn.BatchNorm2d(conv.out_channels)}
        if k < len(layers):
            body[f"cells{k}"] = make_cells(config)
    shortcut = None
    if inputs != outputs or stride > 1:
        shortcut = Stack(conv=_conv(inputs, outputs, 1, stride), norm=nn.BatchNorm2d(outputs))
    return Stack(sum=Residual(Stack(**body), shortcut), cells=make_cells(config))


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def make_boundary(config: BottleneckConfig, channels: int, width: int) -> Stack:
    """Return the narrow layer of a cut: compress, link, gates if configured, expand.

    For pruning, where channels cross unchanged, compress and expand are not trained.
    """
    narrow = config.narrow
    compress, expand = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)
    for layer in (compress, expand):
        layer.requires_grad_(narrow.begin != "channels")
    gates = {"gates": Gates(width)} if narrow.gated else {}
    return Stack(compress=compress, link=make_link(narrow.link, width), **gates, expand=expand)


def name_boundary(after: int) -> str:
    """Return the name of the narrow layer after ``after`` blocks."""
    return f"narrow{after}"


def list_boundaries(model: nn.Module) -> dict[str, Stack]:
    """Return the narrow layers of a network by name, from the first to the last."""
    return {
        name: module
        for name, module in list_steps(model)
        if name.startswith("narrow") and isinstance(module, Stack)
    }


def split_before(model: nn.Module, name: str) -> Stack:
    """Return the modules in front of module ``name`` as a network; the modules are shared."""
    steps = list_steps(model)
    end = next(k for k, (other, _) in enumerate(steps) if other == name)
    return Stack(**dict(steps[:end]))

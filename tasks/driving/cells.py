"""Layers that all parts of the network share: neurons and membrane-shortcut blocks.

    y = x + norm(conv(s(x)))                                        s: spikes of its membranes
    z = y + norm(conv(s(norm(conv(s(y))))))

Blocks add currents, and their convolutions take spikes (MS-ResNet, Hu et al. 2024). In a Graph
a shortcut is an additional edge. Axes: T ticks (repetitions of an image, or frames of a drive),
B samples, C channels, H height, W width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.neurons import LIF, Neuron
from neuro.neurons.neuron import Untrained
from neuro.neurons.surrogate import Surrogate, arctan
from neuro.nn import Residual, Spiking, Stack
from neuro.nn.layers import DT
from tasks.driving.config import Cells

RATE = 0.15  # usual spikes per tick


def sigmoid_slope(distance: Tensor) -> Tensor:
    """Return the derivative of sigmoid(4 x), the surrogate of SAD's backbones."""
    y = torch.sigmoid(4 * distance)
    return 4 * y * (1 - y)


SURROGATES: Mapping[str, Surrogate] = {"arctan": arctan, "sigmoid": sigmoid_slope}


def make_lif(cells: Cells) -> LIF:
    """Return the LIF model of a configuration."""
    tau = Seconds(-DT / math.log(cells.decay))
    surrogate = SURROGATES[cells.surrogate]
    return LIF(tau=tau, threshold=cells.threshold, reset=cells.reset, surrogate=surrogate)


def draw_weights(weight: Tensor, current: float = 1.0) -> None:
    """Draw initial weights, in place, for a layer that takes spikes and has no norm after it.

    current: standard deviation of the current into a membrane at :data:`RATE`.
    """
    nn.init.normal_(weight, std=current * (weight[0].numel() * RATE) ** -0.5)


class RectifierState(NamedTuple):
    """The last output v; later ticks do not use it."""

    v: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Rectifier(Untrained):
    """y[t] = max(0, x[t]): the ANN twin's replacement for the neurons in the loop of a Graph.

    It returns real values but declares that it fires, because a loop must contain a model that
    fires. It has no normal form, so only torch's clock executes it.
    """

    fires: ClassVar[bool] = True

    def initial(self, x: Tensor) -> RectifierState:
        """Return zeros."""
        return RectifierState(torch.zeros_like(x))

    def step(
        self,
        x: Tensor,
        state: RectifierState,  # noqa: ARG002
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Tensor, RectifierState]:
        """Return (output, state)."""
        y = torch.relu(x)
        return y, RectifierState(y)


def make_neuron(cells: Cells) -> Neuron:
    """Return the neuron model for a Graph."""
    return Rectifier() if cells.kind == "relu" else make_lif(cells)


def make_cells(cells: Cells) -> nn.Module:
    """Return a layer of neurons, or a ReLU for the ANN twin."""
    return nn.ReLU() if cells.kind == "relu" else Spiking(make_lif(cells))


def run_stack(stack: Stack, x: Tensor) -> Tensor:
    """Return the output of a Stack from rest."""
    y: Tensor = stack(x)[0]
    return y


def convolve(
    cells: Cells, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> dict[str, nn.Module]:
    """Return neurons, the convolution of their spikes, and a norm."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=padding, dilation=dilation, bias=False
    )
    return {"cells": make_cells(cells), "conv": conv, "norm": nn.BatchNorm2d(outputs)}


def make_block(
    cells: Cells, inputs: int, outputs: int, middle: int, stride: int = 1
) -> Residual:
    """Return a block of two convolutions, with a third on the shortcut if the size changes."""
    down = convolve(cells, inputs, middle, stride=stride)
    up = convolve(cells, middle, outputs)
    body = Stack(
        **{f"{name}1": module for name, module in down.items()},
        **{f"{name}2": module for name, module in up.items()},
    )
    if stride == 1 and inputs == outputs:
        return Residual(body, None)
    return Residual(body, Stack(**convolve(cells, inputs, outputs, 1, stride)))

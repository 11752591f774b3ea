"""The layers that all parts share: neurons by configuration, and membrane-shortcut blocks.

    y = x + norm(conv(s(x)))                                        s: spikes of its membranes
    z = y + norm(conv(s(norm(conv(s(y))))))

What goes from block to block is a current, which is added up; what each convolution takes are
spikes (MS-ResNet, Hu et al. 2024). In a Graph a shortcut is one more edge. Axes: T ticks (of an
image, or the frames of a drive), B samples, C channels, H height, W width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from neuro.neurons import LIF, Neuron
from neuro.neurons.surrogate import Surrogate, arctan
from neuro.nn import Residual, Spiking, Stack
from neuro.nn.layers import DT
from neuro.units import Seconds
from tasks.driving.config import Cells

RATE = 0.15  # of spikes, as a share of ticks


def sigmoid_slope(distance: Tensor) -> Tensor:
    """Return the derivative of sigmoid(4 x): that of SAD's backbones."""
    y = torch.sigmoid(4 * distance)
    return 4 * y * (1 - y)


SURROGATES: Mapping[str, Surrogate] = {"arctan": arctan, "sigmoid": sigmoid_slope}


def make_lif(cells: Cells) -> LIF:
    """Return the model of the neurons."""
    tau = Seconds(-DT / math.log(cells.decay))
    surrogate = SURROGATES[cells.surrogate]
    return LIF(tau=tau, threshold=cells.threshold, reset=cells.reset, surrogate=surrogate)


def draw_weights(weight: Tensor, current: float = 1.0) -> None:
    """Draw first weights, in place, for a layer of spikes without a norm behind it.

    current: the standard deviation of what they bring a membrane, at the usual rate.
    """
    nn.init.normal_(weight, std=current * (weight[0].numel() * RATE) ** -0.5)


class RectifierState(NamedTuple):
    """Nothing that matters later; v: the last output."""

    v: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Rectifier:
    """y[t] = max(0, x[t]), where the twin without spikes has its neurons in a Graph's loop.

    It says that it fires, as a loop must hold what does, and puts out real values. It has no
    normal form: every executor but torch's clock refuses it.
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

    def free(self) -> dict[str, Tensor]:
        """Return that nothing is trained."""
        return {}

    def bind(self, free: dict[str, Tensor]) -> "Rectifier":  # noqa: ARG002
        """Return this model."""
        return self


def make_neuron(cells: Cells) -> Neuron:
    """Return the model of the neurons in a Graph."""
    return Rectifier() if cells.kind == "relu" else make_lif(cells)


def make_cells(cells: Cells) -> nn.Module:
    """Return neurons as a layer, or for the twin without spikes its ReLU."""
    return nn.ReLU() if cells.kind == "relu" else Spiking(make_lif(cells))


def convolve(
    cells: Cells, given: int, made: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> dict[str, nn.Module]:
    """Return neurons, the convolution of their spikes, and a norm."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(
        given, made, kernel, stride, padding=padding, dilation=dilation, bias=False
    )
    return {"cells": make_cells(cells), "conv": conv, "norm": nn.BatchNorm2d(made)}


def make_block(cells: Cells, given: int, made: int, middle: int, stride: int = 1) -> Residual:
    """Return a block of two convolutions; where its size changes, the shortcut has one too."""
    down = convolve(cells, given, middle, stride=stride)
    up = convolve(cells, middle, made)
    body = Stack(
        **{f"{name}1": module for name, module in down.items()},
        **{f"{name}2": module for name, module in up.items()},
    )
    same = stride == 1 and given == made
    return Residual(body, None if same else Stack(**convolve(cells, given, made, 1, stride)))

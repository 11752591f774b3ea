"""What torch layers are as nodes of a Graph."""

from typing import Any

import numpy as np
import torch
from torch import nn

from neuro.graph import AvgPool2d, Conv1d, Conv2d, ConvTranspose2d, Node
from neuro.neurons import ALIF


def convolution(module: Any, weight: np.ndarray, bias: np.ndarray | None) -> Node:
    """Return the node of a convolution with these weights in place of its own."""
    if isinstance(module, nn.Conv1d):
        (stride,), (padding,) = map(each, (module.stride, module.padding))
        return Conv1d(weight=weight, bias=bias, stride=stride, padding=padding)
    pairs = {"stride": pair(module.stride), "padding": pair(module.padding)}
    if isinstance(module, nn.Conv2d):
        return Conv2d(weight=weight, bias=bias, **pairs)
    far = pair(module.output_padding)
    return ConvTranspose2d(weight=weight, bias=bias, output_padding=far, **pairs)


def any_spike(module: nn.MaxPool2d) -> tuple[AvgPool2d, ALIF]:
    """Return the nodes that make of binary spikes what a maximum makes.

    The mean of a window, and a cell without memory that fires if there was any spike.
    """
    size, stride = pair(module.kernel_size), pair(module.stride)
    cell = ALIF(leak=1.0, threshold=0.5 / (size[0] * size[1]), reset="hard")
    return AvgPool2d(kernel=size, stride=stride), cell


def pair(value: Any) -> tuple[int, int]:
    """Return a size as (height, width)."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def each(value: Any) -> tuple[Any, ...]:
    """Return a size as a tuple, one number an axis where it has several."""
    return value if isinstance(value, tuple) else (value,)


def numbers(tensor: torch.Tensor | None) -> Any:
    """Return a parameter as an array."""
    return None if tensor is None else tensor.detach().cpu().numpy()


def fold(weight: Any, bias: Any, norm: Any, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias with the batch norm of evaluation multiplied in.

    axis: of the weight, along which the channels lie that the norm sees.
    Computed in float64, rounded to the precision of the weight.
    """
    mean, var = (
        norm.running_mean.double().cpu().numpy(),
        norm.running_var.double().cpu().numpy(),
    )
    scale = 1 / np.sqrt(var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.detach().double().cpu().numpy()
    shift = ((0.0 if bias is None else bias) - mean) * scale
    if norm.affine:
        shift = shift + norm.bias.detach().double().cpu().numpy()
    folded = weight * scale.reshape(-1, *[1] * (weight.ndim - 1 - axis))
    return folded.astype(weight.dtype), shift.astype(weight.dtype)

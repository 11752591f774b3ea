"""Factors of values: as a node of their own, or folded into the weights behind them.

Axes: C channels.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import to_numpy
from neuro.graph.connections import Dense, Shape, Sparse, Weighted
from neuro.graph.convolutions import Conv1d, Conv2d, ConvTranspose2d
from neuro.graph.nodes import Node


def narrow(weight: Any) -> np.ndarray:
    """Return a weight in float32 if that preserves its values, else in float64."""
    wide = to_numpy(weight) if isinstance(weight, Tensor) else np.asarray(weight)
    with np.errstate(over="ignore"):
        single = wide.astype(np.float32)
    return single if np.array_equal(single.astype(np.float64), wide, equal_nan=True) else wide


def make_scale_node(shape: Shape, scale: np.ndarray, shift: np.ndarray | None) -> Node | None:
    """Return a node for y = scale x + shift, each of ``shape``, or None if there is none."""
    if len(shape) not in (1, 2, 3):
        return None
    size, given = shape[0], [scale] if shift is None else [scale, shift]
    rows = [np.broadcast_to(x, shape).reshape(size, -1) for x in given]
    if any((x != x[:, :1]).any() for x in rows):
        return None
    weight, *moved = (narrow(x[:, 0]) for x in rows)
    bias = moved[0] if moved else None
    if len(shape) == 1:
        places = np.arange(size)
        return Sparse.from_coo(places, places, weight, shape=(size, size), bias=bias)
    kind = Conv1d if len(shape) == 2 else Conv2d
    return kind(weight=weight.reshape(-1, *[1] * len(shape)), bias=bias, groups=size)


def scale_inputs(node: Weighted, factor: Float[np.ndarray, " _"]) -> Weighted:
    """Return a node that computes from x what ``node`` computes from factor x.

    factor: one for all values, or one per channel of the input; the values of a channel follow
        each other in the input of a Dense. The new weights are float64.
    """
    weight = np.asarray(node.weight, np.float64)
    if factor.size == 1:
        return node.with_weight(weight * factor.item(), node.bias)
    if isinstance(node, Dense):
        wide = factor.repeat(weight.shape[1] // factor.size)
    elif isinstance(node, ConvTranspose2d):
        wide = factor.reshape(-1, 1, 1, 1)
    elif isinstance(node, Conv1d | Conv2d):
        outputs, inputs = weight.shape[:2]  # each group of outputs has its own inputs
        group = np.arange(outputs) // (outputs // node.groups)
        own = factor[group[:, None] * inputs + np.arange(inputs)]
        wide = own.reshape(outputs, inputs, *[1] * (weight.ndim - 2))
    else:
        raise TypeError(f"a {type(node).__name__} has no channels to scale")
    return node.with_weight(weight * wide, node.bias)

"""What a linear node makes of its input: the one place where torch computes it.

Axes: K cases.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neuro.graph.connections import (
    AvgPool2d,
    Concat,
    Connection,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Slot,
    Sparse,
    Unflatten,
    Upsample,
)


def through(
    node: Connection | Slot,
    x: Float[Tensor, "K ..."],
    weight: Any = None,
    bias: Tensor | None = None,
) -> Float[Tensor, "K ..."]:
    """Return the output of a node for K cases (K, *shape).

    weight, bias: tensors in the place of the node's own and in the dtype of ``x``; weight is
        None for a node that has none. Delays of synapses are left out. A Concat returns ``x``:
        its edges are joined by who knows them, or each goes through its Slot.
    """
    match node:
        case Dense():
            y = F.linear(x, weight, bias)
        case Sparse():
            y = _synapses(node, x, weight)
            y = y if bias is None else y + bias
        case Conv1d():
            y = F.conv1d(x, weight, bias, node.stride, node.padding)
        case Conv2d():
            y = F.conv2d(x, weight, bias, node.stride, node.padding)
        case ConvTranspose2d():
            far = node.output_padding
            y = F.conv_transpose2d(x, weight, bias, node.stride, node.padding, far)
        case AvgPool2d():
            y = F.avg_pool2d(x, node.kernel, node.stride)
        case Upsample():
            high, wide = node.scale
            y = x.repeat_interleave(high, -2).repeat_interleave(wide, -1)
        case Concat():
            y = x
        case Slot():
            y = x.new_zeros((len(x), *node.shape))
            y[:, node.first : node.first + x.shape[1]] = x
        case _:
            y = x.reshape(len(x), *(node.shape if isinstance(node, Unflatten) else (-1,)))
    return y


def weight_of(node: Connection | Slot, dtype: torch.dtype) -> Tensor | None:
    """Return the weight of a node as a tensor, None if it has none."""
    weight = getattr(node, "weight", None)
    return None if weight is None else torch.tensor(weight, dtype=dtype)


def bias_of(node: Connection, dtype: torch.dtype) -> Tensor | None:
    """Return the bias of a node as a tensor, None if it has none."""
    bias = getattr(node, "bias", None)
    return None if bias is None else torch.tensor(bias, dtype=dtype)


def _synapses(node: Sparse, x: Tensor, weight: Tensor) -> Tensor:
    places = np.stack([node.target, node.source])
    matrix = torch.sparse_coo_tensor(
        torch.as_tensor(places, device=x.device),
        weight,
        (*node.shape, node.at.size - 1),
        check_invariants=False,  # the Graph has checked them
    )
    y: Tensor = torch.sparse.mm(matrix, x.T)
    return y.T

"""The impulse response of a chain of linear nodes, as a list of synapses or as a matrix.

Axes: E synapses, N input values and M output values, both in C order; K impulses.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuro.graph.connections import (
    Connection,
    Dense,
    Reshaping,
    Shape,
    Slot,
    Weighted,
    apply_connection,
    find_output_shape,
)

IMPULSES = 256  # most impulses at a time, and
VALUES = 2**22  # most output values at a time: both bound the memory

LinearChain = Sequence[Connection | Slot]


class SynapseList(NamedTuple):
    """Synapses, sorted by source, then by target."""

    source: Int[np.ndarray, " E"]
    target: Int[np.ndarray, " E"]
    weight: Float[np.ndarray, " E"]


def list_synapses(
    chain: LinearChain, input_shape: Shape, *, zeros: bool = False, limit: int | None = None
) -> SynapseList:
    """Return a chain's synapses in float64, without biases and delays of synapses.

    Args:
        chain: the linear nodes, in order.
        input_shape: shape of the chain's input.
        zeros: also list weights of zero; products with padding are never synapses. Otherwise
            list the sums over the paths through the chain that are not zero.
        limit: the list may end once it has more synapses than this.
    """
    full = [
        node.with_weight(np.ones_like(node.weight), None)
        if isinstance(node, Weighted)
        else node
        for node in chain
    ]
    ones = iterate_impulse_responses(full, input_shape) if zeros else None
    sources, targets, weights, count = [], [], [], 0
    for first, y in iterate_impulse_responses(chain, input_shape):
        source, target = np.nonzero(y if ones is None else next(ones)[1])
        sources.append((source + first).astype(np.int32))
        targets.append(target.astype(np.int32))
        weights.append(y[source, target])
        count += source.size
        if limit is not None and count > limit:
            break
    return SynapseList(*map(np.concatenate, (sources, targets, weights)))


def to_matrix(chain: LinearChain, input_shape: Shape) -> Float[np.ndarray, "M N"]:
    """Return a chain as a float64 matrix, without biases and delays of synapses."""
    return np.asarray(
        np.concatenate([y for _, y in iterate_impulse_responses(chain, input_shape)]).T
    )


def iterate_impulse_responses(
    chain: LinearChain, input_shape: Shape
) -> Iterator[tuple[int, Float[np.ndarray, "K M"]]]:
    """Yield (index of the first input, responses to unit impulses at it and the next ones)."""
    shape = input_shape
    for node in chain:
        shape = find_output_shape(node, shape)
    together = max(1, min(IMPULSES, VALUES // math.prod(shape)))
    chain = list(chain)
    while chain and isinstance(chain[0], Reshaping):  # an impulse remains an impulse
        input_shape = find_output_shape(chain.pop(0), input_shape)
    size = math.prod(input_shape)
    for first in range(0, size, together):
        cases = range(first, min(first + together, size))
        x, rest = _first_responses(chain, input_shape, cases)
        for node in rest:
            x = apply_connection(node, x)
        yield first, x.flatten(1).numpy()


def _first_responses(
    chain: LinearChain, input_shape: Shape, cases: range
) -> tuple[Tensor, LinearChain]:
    """Return the first node's responses to impulses at ``cases``, and the remaining nodes."""
    if chain and isinstance(chain[0], Dense):  # impulses would cost size squared
        return torch.as_tensor(np.array(chain[0].weight[:, cases].T, np.float64)), chain[1:]
    x = torch.zeros((len(cases), math.prod(input_shape)), dtype=torch.float64)
    x[range(len(cases)), cases] = 1
    return x.reshape(-1, *input_shape), chain

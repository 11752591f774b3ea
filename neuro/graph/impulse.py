"""The impulse response of a chain of linear nodes: its synapses one by one, or as a matrix.

Axes: E synapses, N values of the input, M of the output, both in C order; K impulses.
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

IMPULSES = 256  # at a time, and
VALUES = 2**22  # what they become at a time: both bound the memory

LinearChain = Sequence[Connection | Slot]


class SynapseList(NamedTuple):
    """Synapses, sorted by source, then by target."""

    source: Int[np.ndarray, " E"]
    target: Int[np.ndarray, " E"]
    weight: Float[np.ndarray, " E"]


def list_synapses(
    chain: LinearChain, input_shape: Shape, *, zeros: bool = False, limit: int | None = None
) -> SynapseList:
    """Return the synapses of a chain in float64, biases and delays of synapses left out.

    Args:
        zeros: also list weights of zero; products with padding are no synapses. Else list
            the sums over the paths through the chain that are not zero.
        limit: of synapses; where there are more, the list ends somewhere above it.
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
    """Return a chain as a float64 matrix, biases and delays of synapses left out."""
    return np.asarray(
        np.concatenate([y for _, y in iterate_impulse_responses(chain, input_shape)]).T
    )


def iterate_impulse_responses(
    chain: LinearChain, input_shape: Shape
) -> Iterator[tuple[int, Float[np.ndarray, "K M"]]]:
    """Yield (first input, what unit impulses at it and the next ones become)."""
    shape = input_shape
    for node in chain:
        shape = find_output_shape(node, shape)
    together = max(1, min(IMPULSES, VALUES // math.prod(shape)))
    chain = list(chain)
    while chain and isinstance(chain[0], Reshaping):  # an impulse stays one
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
    """Return what the first node makes of impulses at ``cases``, and the nodes behind it."""
    if chain and isinstance(chain[0], Dense):  # its columns: impulses would cost size squared
        return torch.as_tensor(np.array(chain[0].weight[:, cases].T, np.float64)), chain[1:]
    x = torch.zeros((len(cases), math.prod(input_shape)), dtype=torch.float64)
    x[range(len(cases)), cases] = 1
    return x.reshape(-1, *input_shape), chain

"""The synapses of every linear node one by one, for the oracle: loops over definitions."""

import math
from typing import NamedTuple

import numpy as np

from neuro.graph import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Graph,
    Node,
    Sparse,
    Upsample,
)

Shape = tuple[int, ...]


class Synapse(NamedTuple):
    """One target of a source. delay: on top of the edge's [ticks]."""

    target: int
    weight: float
    delay: int = 0


Synapses = list[list[Synapse]]


def biases(node: Node, size: int) -> list[float]:
    """Return what a connection adds to each of its values every tick."""
    bias = getattr(node, "bias", None)
    if bias is None:
        return [0.0] * size
    return [float(bias[k * len(bias) // size]) for k in range(size)]


def synapses(graph: Graph, name: str) -> Synapses:
    """Return for every source of a connection its synapses; C order."""
    node, shape = graph.nodes[name], graph.shapes[name]
    given = graph.shapes[graph.into(name)[0].source]
    match node:
        case Dense():
            columns = node.weight.T
            return [[Synapse(k, float(w)) for k, w in enumerate(row)] for row in columns]
        case Sparse():
            return _listed(node)
        case Conv1d():
            kernel = node.weight[:, :, None]
            row, out = (given[0], 1, given[1]), (shape[0], 1, shape[1])
            return _convolved(kernel, row, out, (1, node.stride), (0, node.padding))
        case Conv2d():
            return _convolved(node.weight, given, shape, node.stride, node.padding)
        case ConvTranspose2d():
            return _painted(node, given, shape)
        case AvgPool2d():
            return _pooled(node, given, shape)
        case Upsample():
            return _repeated(node, given, shape)
    return [[Synapse(j, 1.0)] for j in range(math.prod(shape))]


def _listed(node: Sparse) -> Synapses:
    found = []
    for j in range(len(node.at) - 1):
        row = range(node.at[j], node.at[j + 1])
        delay = [0 if node.delay is None else int(node.delay[k]) for k in row]
        found.append(
            [
                Synapse(int(node.target[k]), float(node.weight[k]), d)
                for k, d in zip(row, delay, strict=True)
            ]
        )
    return found


def _convolved(
    weight: np.ndarray, given: Shape, shape: Shape, stride: Shape, padding: Shape
) -> Synapses:
    found: Synapses = [[] for _ in range(math.prod(given))]
    _, _, high, wide = weight.shape
    for co, row, column, ci, ky, kx in np.ndindex(*shape, given[0], high, wide):
        y, x = row * stride[0] + ky - padding[0], column * stride[1] + kx - padding[1]
        if 0 <= y < given[1] and 0 <= x < given[2]:
            target = _flat((co, row, column), shape)
            found[_flat((ci, y, x), given)].append(
                Synapse(target, float(weight[co, ci, ky, kx]))
            )
    return found


def _painted(node: ConvTranspose2d, given: Shape, shape: Shape) -> Synapses:
    found: Synapses = [[] for _ in range(math.prod(given))]
    for ci, y, x, co, ky, kx in np.ndindex(*given, *node.weight.shape[1:]):
        row = y * node.stride[0] + ky - node.padding[0]
        column = x * node.stride[1] + kx - node.padding[1]
        if 0 <= row < shape[1] and 0 <= column < shape[2]:
            target = _flat((co, row, column), shape)
            found[_flat((ci, y, x), given)].append(
                Synapse(target, float(node.weight[ci, co, ky, kx]))
            )
    return found


def _pooled(node: AvgPool2d, given: Shape, shape: Shape) -> Synapses:
    """Return weights of 1: the sum over a window is divided in the end."""
    found: Synapses = [[] for _ in range(math.prod(given))]
    for c, row, column, ky, kx in np.ndindex(*shape, *node.kernel):
        place = (c, row * node.stride[0] + ky, column * node.stride[1] + kx)
        found[_flat(place, given)].append(Synapse(_flat((c, row, column), shape), 1.0))
    return found


def _repeated(node: Upsample, given: Shape, shape: Shape) -> Synapses:
    found: Synapses = [[] for _ in range(math.prod(given))]
    for c, row, column in np.ndindex(*shape):
        place = (c, row // node.scale[0], column // node.scale[1])
        found[_flat(place, given)].append(Synapse(_flat((c, row, column), shape), 1.0))
    return found


def _flat(place: Shape, shape: Shape) -> int:
    return int(np.ravel_multi_index(place, shape))

"""Synapses one by one: conversion from and to other nodes, and splitting them by delay."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Int

from neuro.base.units import Ticks
from neuro.graph.connections import (
    Connection,
    Dense,
    Flatten,
    Sparse,
    Weighted,
    find_output_shape,
)
from neuro.graph.graph import Graph
from neuro.graph.impulse import list_synapses
from neuro.graph.nodes import Edge
from neuro.graph.validate import GraphError


class Unrolled(NamedTuple):
    """A Graph without delays of single synapses. origin: maps its new edges to the old ones."""

    graph: Graph
    origin: Mapping[Edge, Edge]


def to_dense(node: Sparse) -> Dense:
    """Return the same connection as a matrix; parallel synapses are summed.

    Raises:
        ValueError: synapses have their own delays, which a matrix cannot hold.
    """
    if node.delay is not None:
        raise ValueError("a Sparse with delays is no matrix; apply unroll_delays(graph) first")
    weight = np.zeros((*node.shape, node.input_length), node.weight.dtype)
    np.add.at(weight, (node.indices, node.source), node.weight)
    return Dense(weight=weight, bias=node.bias)


def write_out_synapses(node: Connection, input_shape: tuple[int, ...]) -> Sparse:
    """Return the synapses of a linear node for inputs of this shape, without its bias.

    A weight of zero is a synapse; a product with padding is not. Values are flattened in C
    order.
    """
    source, target, weight = list_synapses([node], input_shape, zeros=True)
    kept = node.weight.dtype if isinstance(node, Weighted) else np.float32
    shape = (math.prod(find_output_shape(node, input_shape)), math.prod(input_shape))
    return Sparse.from_coo(source, target, weight.astype(kept), shape=shape)


def unroll_delays(graph: Graph) -> Unrolled:
    """Return the same network with one Sparse node per delay, and the delay on its edges.

    One node becomes parts "name@delay" that are added in a Flatten with the old name, so that
    everything after it stays unchanged.

    Raises:
        GraphError: another node has the name of a part.
    """
    late = {
        name: node
        for name, node in graph.nodes.items()
        if isinstance(node, Sparse) and node.delay is not None
    }
    if not late:
        return Unrolled(graph, {})
    nodes = dict(graph.nodes)
    edges = [e for e in graph.edges if e.target not in late]
    origin = {}
    for name, node in late.items():
        nodes[name] = Flatten()
        for delay, synapses in _parts(node).items():
            part = f"{name}@{delay}"
            if part in nodes:
                raise GraphError([f"{part}: is the name of a part of {name}; rename the node"])
            nodes[part] = synapses
            edges.append(Edge(part, name))
            for e in graph.into(name):
                new = Edge(e.source, part, Ticks(e.delay + delay))
                origin[new] = e
                edges.append(new)
    return Unrolled(replace(graph, nodes=nodes, edges=tuple(edges)), origin)


def make_delays(waits: Int[np.ndarray, " N"]) -> Sparse:
    """Return a node that delays each of N values by its own number of ticks."""
    each, one = np.arange(waits.size), np.ones(waits.size, np.float32)
    return Sparse.from_coo(each, each, one, shape=(waits.size, waits.size), delay=waits)


def only_delays(node: object) -> TypeGuard[Sparse]:
    """Say whether a node does nothing but delay each value, as :func:`make_delays` does."""
    if not isinstance(node, Sparse) or node.bias is not None or node.delay is None:
        return False
    each = np.arange(node.input_length)
    same = np.array_equal(node.source, each) and np.array_equal(node.indices, each)
    return same and node.shape == (each.size,) and bool((node.weight == 1).all())


def reaches_all(node: object) -> TypeGuard[Sparse]:
    """Say whether each source of a Sparse reaches every target once, all after one delay.

    A DelayedLinear with axonal delays becomes such a node; engines run it as fast as a Dense.
    """
    if not isinstance(node, Sparse) or node.indices.size != node.input_length * node.shape[0]:
        return False
    late = None if node.delay is None else node.delay.reshape(-1, *node.shape)
    alike = late is None or bool((late == late[:, :1]).all())
    targets = node.indices.reshape(-1, *node.shape)
    return alike and bool((targets == np.arange(*node.shape)).all())


def leave_out_delays(graph: Graph) -> Graph:
    """Return a graph with a Flatten in the place of each node that only delays values."""
    late = {name: Flatten() for name, node in graph.nodes.items() if only_delays(node)}
    return replace(graph, nodes={**graph.nodes, **late}) if late else graph


def _parts(node: Sparse) -> dict[int, Sparse]:
    """Return the synapses of each delay as one node; the first node has the bias."""
    delay, source = np.asarray(node.delay), node.source
    parts: dict[int, Sparse] = {}
    for k in np.unique(delay) if delay.size else [0]:
        here = delay == k
        parts[int(k)] = replace(
            node,
            indptr=np.searchsorted(source[here], np.arange(node.indptr.size)),
            indices=node.indices[here],
            weight=node.weight[here],
            delay=None,
            bias=None if parts else node.bias,
        )
    return parts

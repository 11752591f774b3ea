"""What simulators of neurons are given: a network, where it starts, its input, how long.

All of them get the same synapses, weights and membranes. Axes: N cells.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.graph import Edge, Graph, Input, Sparse
from neuro.graph.paths import find_bias
from neuro.neurons import LI, LIF
from neuro.spikes import Events
from neuro.units import Seconds, ticks
from tasks.peers.networks import PeerNetwork, silence

CELLS = "cells"  # the population of every network here


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchProblem:
    """A network with cells of one kind. membranes: where they start [mV], by population."""

    graph: Graph
    membranes: Mapping[str, Float[np.ndarray, " N"]]
    inputs: Mapping[str, Events]
    duration: Seconds

    @property
    def cell(self) -> LIF:
        """The parameters of the cells."""
        node = self.graph.nodes[CELLS]
        if not isinstance(node, LIF):
            raise TypeError(f"{CELLS} must be LIF, got {type(node).__name__}")
        return node

    @property
    def size(self) -> int:
        """The number of cells."""
        return self.graph.size(CELLS)

    @property
    def v_inf(self) -> Float[np.ndarray, " N"]:
        """Where the drive alone leads the membranes [mV]."""
        drive = find_bias(self.graph, CELLS, [])[0]
        return np.asarray(drive / -np.expm1(-self.graph.dt / self.cell.tau))


class Projection(NamedTuple):
    """Synapses from a source into the cells. tau: of their current [s]; None: v jumps.

    delay: [s].
    """

    name: str
    source: str
    synapses: Sparse
    tau: float | None
    delay: float


def recurrent(network: PeerNetwork, duration: Seconds) -> BenchProblem:
    """Return a network that keeps itself active."""
    inputs = silence(network.graph, ticks(duration, network.graph.dt))
    return BenchProblem(
        graph=network.graph, membranes=network.membranes, inputs=inputs, duration=duration
    )


def kicked(network: PeerNetwork, inputs: int, weight: float, duration: Seconds) -> BenchProblem:
    """Return a network into which ``inputs`` spikes come from outside, each into one cell.

    Ticks and cells are drawn from a fixed seed. weight: of each spike [mV].
    """
    graph, n = network.graph, network.graph.size(CELLS)
    one_to_one = Sparse(
        indptr=np.arange(n + 1),
        indices=np.arange(n, dtype=np.int32),
        weight=np.full(n, weight),
        shape=(n,),
    )
    nodes = {**graph.nodes, "outside": Input(shape=(n,)), "kick": one_to_one}
    edges = (*graph.edges, Edge("outside", "kick"), Edge("kick", CELLS))
    problem = recurrent(network, duration)
    length = ticks(duration, graph.dt)
    drawn = np.random.default_rng(0).choice(length * n, inputs, replace=False)
    tick, cell = (column.astype(np.int32) for column in np.divmod(np.sort(drawn), n))
    outside = Events(np.zeros_like(tick), tick, cell, np.ones(inputs), (length, 1, n))
    return replace(
        problem,
        graph=replace(graph, nodes=nodes, edges=edges),
        inputs={**problem.inputs, "outside": outside},
    )


def beside_silent(problem: BenchProblem, times: int) -> BenchProblem:
    """Return the same cells, synapses and input among ``times`` as many cells.

    The others receive no spikes, and rest at half the threshold.
    """
    graph, n, rest = problem.graph, problem.size, 0.5 * float(problem.cell.threshold)
    more = (times - 1) * n
    nodes = dict(graph.nodes)
    for name, node in nodes.items():
        if not isinstance(node, Sparse):
            continue
        indptr = node.indptr
        if any(e.source == CELLS for e in graph.into(name)):
            indptr = np.concatenate([indptr, np.full(more, indptr[-1])])
        drive = node.bias
        if drive is not None:
            still = -np.expm1(-graph.dt / problem.cell.tau) * rest
            drive = np.concatenate([drive, np.full(more, still)])
        nodes[name] = replace(node, indptr=indptr, shape=(n + more,), bias=drive)
    membranes = {CELLS: np.concatenate([problem.membranes[CELLS], np.full(more, rest)])}
    return replace(problem, graph=replace(graph, nodes=nodes), membranes=membranes)


def iterate_projections(problem: BenchProblem) -> Iterator[Projection]:
    """Yield the synapses into the cells, by connection."""
    graph = problem.graph
    for source in (*graph.inputs, CELLS):
        for edge in graph.out_of(source):
            node = graph.nodes[edge.target]
            if not isinstance(node, Sparse):
                raise TypeError(f"{edge.target} must be Sparse, got {type(node).__name__}")
            for onward in graph.out_of(edge.target):
                target = graph.nodes[onward.target]
                tau = float(target.tau) if isinstance(target, LI) else None
                if node.indices.size:
                    delay = (edge.delay + onward.delay) * graph.dt
                    yield Projection(edge.target, source, node, tau, delay)

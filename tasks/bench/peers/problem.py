"""The problem that all simulators get: a network, its initial state, its input, its duration.

All simulators get the same synapses, weights and membranes. Axes: N neurons.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from neuro.base.units import Seconds, ticks
from neuro.graph import Edge, Graph, Input, Sparse
from neuro.graph.paths import find_bias
from neuro.neurons import LI, LIF
from neuro.spikes import Events
from tasks.bench.peers.networks import PeerNetwork, silence

CELLS = "cells"  # the population of networks with only one


@dataclass(frozen=True, kw_only=True, eq=False)
class BenchProblem:
    """A network with neurons of one kind. membranes: initial values [mV], by population.

    Neurons are numbered consecutively through the populations, in their order.
    """

    graph: Graph
    membranes: Mapping[str, Float[np.ndarray, " N"]]
    inputs: Mapping[str, Events]
    duration: Seconds

    @property
    def cell(self) -> LIF:
        """The parameters that all neurons share."""
        cells = [self.graph.nodes[name] for name in self.graph.firing]
        first = cells[0]
        if not isinstance(first, LIF):
            raise TypeError(f"cells must be LIF, got {type(first).__name__}")
        kinds = {(c.tau, c.threshold, c.refractory) if isinstance(c, LIF) else c for c in cells}
        if len(kinds) > 1:
            raise ValueError(f"cells must be of one kind, got {len(kinds)}")
        return first

    @property
    def first_cells(self) -> dict[str, int]:
        """The number of the first neuron of each population."""
        sizes = [self.graph.size(name) for name in self.graph.firing]
        return dict(zip(self.graph.firing, np.cumsum([0, *sizes]).tolist(), strict=False))

    @property
    def size(self) -> int:
        """The number of neurons."""
        return sum(self.graph.size(name) for name in self.graph.firing)

    @property
    def start(self) -> Float[np.ndarray, " N"]:
        """The initial membranes [mV]."""
        return np.concatenate([self.membranes[name] for name in self.graph.firing])

    @property
    def v_inf(self) -> Float[np.ndarray, " N"]:
        """The steady state of the membranes under the drive alone [mV]."""
        drive = [find_bias(self.graph, name, [])[0] for name in self.graph.firing]
        return np.asarray(np.concatenate(drive) / -np.expm1(-self.graph.dt / self.cell.tau))


class Projection(NamedTuple):
    """Synapses from an Input or a population into a population.

    tau: of their current [s]; None: v jumps. delay: [s], without delays of single synapses.
    """

    name: str
    source: str
    target: str
    synapses: Sparse
    tau: float | None
    delay: float


def recurrent(network: PeerNetwork, duration: Seconds) -> BenchProblem:
    """Return a network whose activity sustains itself."""
    inputs = silence(network.graph, ticks(duration, network.graph.dt))
    return BenchProblem(
        graph=network.graph, membranes=network.membranes, inputs=inputs, duration=duration
    )


def kicked(network: PeerNetwork, inputs: int, weight: float, duration: Seconds) -> BenchProblem:
    """Return a network that gets ``inputs`` spikes from outside, each into one neuron.

    Ticks and neurons are drawn from a fixed seed. weight: of each spike [mV].
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


def iterate_projections(problem: BenchProblem) -> Iterator[Projection]:
    """Yield the synapses onto the neurons, by connection."""
    graph = problem.graph
    for source in (*graph.inputs, *graph.firing):
        for edge in graph.out_of(source):
            node = graph.nodes[edge.target]
            if not isinstance(node, Sparse):
                raise TypeError(f"{edge.target} must be Sparse, got {type(node).__name__}")
            for onward in graph.out_of(edge.target):
                target, tau = onward.target, None
                current = graph.nodes[target]
                if isinstance(current, LI):
                    tau, target = float(current.tau), graph.out_of(target)[0].target
                if node.indices.size:
                    delay = (edge.delay + onward.delay) * graph.dt
                    yield Projection(edge.target, source, target, node, tau, delay)


class Synapses(NamedTuple):
    """Single synapses. source, target: numbers of neurons, or of an Input. delay: [s]."""

    source: Int[np.ndarray, " E"]
    target: Int[np.ndarray, " E"]
    weight: Float[np.ndarray, " E"]
    delay: Float[np.ndarray, " E"]


def list_synapses(problem: BenchProblem, projections: Iterable[Projection]) -> Synapses:
    """Return the synapses of some projections, one projection after the other."""
    first, dt, columns = problem.first_cells, problem.graph.dt, []
    for p in projections:
        own = 0 if p.synapses.delay is None else p.synapses.delay * dt
        source = p.synapses.source + first.get(p.source, 0)
        delay = np.broadcast_to(p.delay + own, source.shape)
        columns.append((source, p.synapses.indices + first[p.target], p.synapses.weight, delay))
    return Synapses(*(np.concatenate(column) for column in zip(*columns, strict=True)))

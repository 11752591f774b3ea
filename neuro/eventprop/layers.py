"""A feed-forward Graph as layers that EventProp can differentiate, or a list of problems.

A layer's inputs are paths from the spikes of other layers, directly, through one Dense, or
through one Sparse whose delays depend on the source alone.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from neuro.base.units import Seconds
from neuro.eventprop.spiking import LIFParameters, compute_lift, find_peak
from neuro.graph import Dense, Edge, Graph, Host, Input, Sparse
from neuro.graph.requirements import problems_of_poisson
from neuro.graph.sparse import to_dense
from neuro.neurons import Dynamics, Neuron, Reset, has_normal_form, is_neuron


class EventPropError(ValueError):
    """A network without exact gradients; ``problems`` lists each such part with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["EventProp cannot differentiate this network:", *problems]))
        self.problems = problems


class Path(NamedTuple):
    """A connection from ``source`` through a matrix: a Dense or a Sparse (None: direct).

    delay: how long the spikes of each source neuron wait [s].
    """

    source: str
    matrix: str | None
    delay: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A population and its inputs.

    cell: parameters of a LIF; None for a read-out, which has leak [1/s] and gain.
    rows: one row of weights per source neuron of each path, in the order of the paths (R N).
    """

    name: str
    paths: tuple[Path, ...]
    rows: np.ndarray
    cell: LIFParameters | None
    leak: float
    gain: float = 1.0


def build_layers(graph: Graph) -> tuple[Layer, ...]:
    """Return the populations of a Graph with their inputs, sources first.

    Raises:
        EventPropError: the network has parts without exact gradients; lists all.
    """
    problems = _problems(graph)
    if problems:
        raise EventPropError(problems)
    return tuple(_layer(graph, name) for name in graph.populations)


def _problems(graph: Graph) -> list[str]:
    problems = problems_of_poisson(graph, "gradients need spikes that are given")
    problems += [
        f"loop {' -> '.join(group)}: no adjoint for loops here; use surrogate gradients"
        for group in graph.components
        if len(group) > 1 or any(e.source == e.target == group[0] for e in graph.edges)
    ]
    for name, node in graph.nodes.items():
        if is_neuron(node):
            problems += [f"{name}: {why}" for why in _problems_of(node, graph.dt)]
            if name in graph.currents:
                problems.append(
                    f"{name}: an LI that feeds others; use LIF(tau_syn=...) instead"
                )
        elif isinstance(node, Host):
            kind = type(node).__name__
            problems.append(f"{name}: {kind} has no spike times; use surrogate gradients")
        elif isinstance(node, Dense | Sparse):
            problems += [f"{name}: {why}" for why in _problems_of_matrix(graph, name, node)]
        elif not isinstance(node, Input):
            kind = type(node).__name__
            problems.append(f"{name}: {kind} has no adjoint here; write it as one Dense")
    return problems


def _problems_of(node: Neuron, dt: Seconds) -> list[str]:
    kind = type(node).__name__
    if not has_normal_form(node):
        return [f"{kind} has no spike times; use surrogate gradients"]
    if node.free():  # only weights have gradients
        return [f"{kind} has no adjoint here; use LIF(tau_syn=..., reset='hard')"]
    try:
        k = node.dynamics(dt)
    except ValueError as error:
        return [f"{error}"]
    if not node.fires:
        single = np.size(k.rate) == np.size(k.gain) == 1 and k.rate_syn is None
        return [] if single else [f"an {kind} needs one tau and one gain here"]
    return _problems_of_dynamics(k)


def _problems_of_dynamics(k: Dynamics) -> list[str]:
    """Explain why a firing population has no exact gradient; empty if it has one."""
    problems = []
    if k.rate_syn is None:
        problems.append(
            "with delta synapses a spike coincides with an input spike, and its time has no "
            "derivative; give it tau_syn"
        )
    if k.reset != Reset.HARD:
        problems.append(f"the {k.reset} reset has no adjoint here; use reset='hard'")
    elif k.reset_to.any():
        problems.append("a reset to a value has no adjoint here; reset to rest (reset_to=None)")
    if k.beta.any():
        problems.append("an adaptation has no adjoint here; use LIF(tau_syn=..., reset='hard')")
    if k.refractory:
        problems.append("a refractory period has no adjoint here; use refractory=0")
    if any(p is not None and p.size > 1 for p in (k.rate, k.rate_syn, k.gain)):
        problems.append("its neurons need one tau and one tau_syn")
    return problems


def _problems_of_matrix(graph: Graph, name: str, node: Dense | Sparse) -> list[str]:
    problems = []
    if node.bias is not None:
        problems.append("a bias acts at every time; use an Input neuron that spikes once")
    for behind in (graph.nodes[e.target] for e in graph.out_of(name)):
        if isinstance(behind, Dense | Sparse):
            pair = f"a {type(behind).__name__} behind a {type(node).__name__}"
            problems.append(f"{pair}; multiply their weights into one")
    late = node.delay if isinstance(node, Sparse) else None
    if late is not None and (_waits(node)[node.source] != late).any():  # type: ignore[union-attr]
        problems.append(
            "synapses of one source differ in delay; give each source one delay, as "
            "DelayedLinear(kind='axonal') does"
        )
    return problems


def _waits(node: Dense | Sparse) -> np.ndarray:
    """Return the longest delay of each source's synapses [ticks]."""
    waits = np.zeros(node.input_length, np.int64)
    if isinstance(node, Sparse) and node.delay is not None:
        np.maximum.at(waits, node.source, node.delay)
    return waits


def _rows(node: Dense | Sparse) -> np.ndarray:
    """Return the weights by source (in, out)."""
    if isinstance(node, Sparse):
        node = to_dense(replace(node, delay=None))
    return node.weight.T


def _layer(graph: Graph, name: str) -> Layer:
    node = graph.nodes[name]
    paths = tuple(path for edge in graph.into(name) for path in _paths(graph, edge))
    size = graph.size(name)
    blocks = [
        np.eye(size) if p.matrix is None else _rows(graph.nodes[p.matrix])  # type: ignore[arg-type]
        for p in paths
    ]
    k = node.dynamics(graph.dt)  # type: ignore[union-attr]
    leak, gain = float(k.rate.item()), float(k.gain.item())
    cell = None
    if k.rate_syn is not None:
        fade = float(k.rate_syn.item())
        threshold = np.array(np.broadcast_to(k.threshold, graph.shapes[name]).ravel())
        top = compute_lift(leak, fade, find_peak(leak, fade, 0.0, 1.0)) if leak else 1 / fade
        cell = LIFParameters(leak, fade, gain * push(leak, fade, graph.dt), threshold, top)
    rows = np.ascontiguousarray(np.concatenate(blocks), np.float64)
    return Layer(name=name, paths=paths, rows=rows, cell=cell, leak=leak, gain=gain)


def _paths(graph: Graph, edge: Edge) -> list[Path]:
    matrix = graph.nodes[edge.source]
    if not isinstance(matrix, Dense | Sparse):
        return [
            Path(edge.source, None, np.full(graph.size(edge.source), edge.delay * graph.dt))
        ]
    return [
        Path(e.source, edge.source, (e.delay + edge.delay + _waits(matrix)) * graph.dt)
        for e in graph.into(edge.source)
    ]


def push(leak: float, fade: float, dt: float) -> float:
    """Return dV/dt per unit of current [1/s] for which V at ticks equals the clock's V.

    It is (fade - leak) / (a - c) with a = exp(-leak dt), c = exp(-fade dt): an arrival of
    weight w then raises V from 0 to w within one tick.
    leak, fade: decay rates of V and of the current [1/s].
    dt: length of a tick [s].
    """
    gap = fade - leak
    return math.exp(fade * dt) * (gap / math.expm1(gap * dt) if gap else 1 / dt)

"""A feed-forward Graph as layers that EventProp can differentiate, or the list of why not.

The inputs of a layer are paths from the spikes of another one, each through one Dense or none.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neuro.eventprop.spiking import Cell, compute_lift, find_peak
from neuro.graph import Dense, Edge, Graph, Host, Input
from neuro.neurons import Neuron, Reset, has_normal_form, is_neuron
from neuro.units import Seconds


class EventPropError(ValueError):
    """A network without exact gradients here; ``problems`` lists each part with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["EventProp cannot differentiate this network:", *problems]))
        self.problems = problems


class Path(NamedTuple):
    """From the spikes of ``source`` through a Dense (None: straight), ``delay`` later [s]."""

    source: str
    dense: str | None
    delay: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A population and its inputs.

    cell: parameters of a LIF; None: a read-out, with its leak [1/s] and gain.
    rows: one row of weights for each source neuron of each path, in their order (R N).
    """

    name: str
    paths: tuple[Path, ...]
    rows: np.ndarray
    cell: Cell | None
    leak: float
    gain: float = 1.0


def build_layers(graph: Graph) -> tuple[Layer, ...]:
    """Return the populations of a Graph with their inputs, sources first.

    Raises:
        EventPropError: lists all that has no exact gradient here.
    """
    problems = _problems(graph)
    if problems:
        raise EventPropError(problems)
    return tuple(_layer(graph, name) for name in graph.populations)


def _problems(graph: Graph) -> list[str]:
    found = [
        f"loop {' -> '.join(group)}: no adjoint for loops here; use surrogate gradients"
        for group in graph.components
        if len(group) > 1 or any(e.source == e.target == group[0] for e in graph.edges)
    ]
    for name, node in graph.nodes.items():
        if is_neuron(node):
            found += [f"{name}: {why}" for why in _problems_of(node, graph.dt)]
            if name in graph.currents:
                found.append(f"{name}: an LI that feeds others; use LIF(tau_syn=...) instead")
        elif isinstance(node, Host):
            kind = type(node).__name__
            found.append(f"{name}: {kind} has no spike times; use surrogate gradients")
        elif isinstance(node, Dense):
            found += [f"{name}: {why}" for why in _problems_of_dense(graph, name, node)]
        elif not isinstance(node, Input):
            kind = type(node).__name__
            found.append(f"{name}: {kind} is not known here; write it as one Dense")
    return found


def _problems_of(node: Neuron, dt: Seconds) -> list[str]:
    kind = type(node).__name__
    if not has_normal_form(node):
        return [f"{kind} has no spike times; use surrogate gradients"]
    if node.free():  # there are gradients of weights alone
        return [f"{kind} has no adjoint here; use LIF(tau_syn=..., reset='hard')"]
    try:
        k = node.dynamics(dt)
    except ValueError as error:
        return [f"{error}"]
    if not node.fires:
        single = np.size(k.rate) == np.size(k.gain) == 1 and k.rate_syn is None
        return [] if single else [f"an {kind} with one tau and one gain for all is needed"]
    found = []
    if k.rate_syn is None:
        found.append(
            "with delta synapses a spike falls on an input spike and has no time of its own to "
            "differentiate; give it tau_syn"
        )
    if k.reset != Reset.HARD:
        found.append(f"the {k.reset} reset has no adjoint here; use reset='hard'")
    if k.beta.any():
        found.append("an adaptation has no adjoint here; use LIF(tau_syn=..., reset='hard')")
    if k.refractory:
        found.append("a refractory period has no adjoint here; use refractory=0")
    if any(p is not None and p.size > 1 for p in (k.rate, k.rate_syn, k.gain)):
        found.append("one tau and one tau_syn for all its neurons are needed")
    return found


def _problems_of_dense(graph: Graph, name: str, node: Dense) -> list[str]:
    found = []
    if node.bias is not None:
        found.append("a bias pushes all the time; use an Input neuron that spikes once instead")
    if any(isinstance(graph.nodes[e.target], Dense) for e in graph.out_of(name)):
        found.append("a Dense behind a Dense; multiply their weights into one")
    return found


def _layer(graph: Graph, name: str) -> Layer:
    node = graph.nodes[name]
    if not has_normal_form(node):
        raise TypeError(f"{name} has no normal form")
    paths = tuple(path for edge in graph.into(name) for path in _paths(graph, edge))
    size = graph.size(name)
    blocks = [np.eye(size) if p.dense is None else _weight(graph, p.dense).T for p in paths]
    k = node.dynamics(graph.dt)
    leak, gain = float(k.rate.item()), float(k.gain.item())
    cell = None
    if k.rate_syn is not None:
        fade = float(k.rate_syn.item())
        threshold = np.array(np.broadcast_to(k.threshold, graph.shapes[name]).ravel())
        top = compute_lift(leak, fade, find_peak(leak, fade, 0.0, 1.0)) if leak else 1 / fade
        cell = Cell(leak, fade, gain * push(leak, fade, graph.dt), threshold, top)
    rows = np.ascontiguousarray(np.concatenate(blocks), np.float64)
    return Layer(name=name, paths=paths, rows=rows, cell=cell, leak=leak, gain=gain)


def _paths(graph: Graph, edge: Edge) -> list[Path]:
    if not isinstance(graph.nodes[edge.source], Dense):
        return [Path(edge.source, None, edge.delay * graph.dt)]
    return [
        Path(e.source, edge.source, (e.delay + edge.delay) * graph.dt)
        for e in graph.into(edge.source)
    ]


def _weight(graph: Graph, name: str) -> np.ndarray:
    node = graph.nodes[name]
    if not isinstance(node, Dense):
        raise TypeError(f"{name} is no Dense")
    return np.asarray(node.weight, np.float64)


def push(leak: float, fade: float, dt: float) -> float:
    """Return dV/dt per unit of current [1/s] with which V at ticks equals V of the clock.

    It is (fade - leak) / (a - c) with a = exp(-leak dt), c = exp(-fade dt): an arrival of
    weight w raises V from 0 to w within one tick. leak, fade: decay rates of V and of the
    current [1/s]. dt: [s].
    """
    gap = fade - leak
    return math.exp(fade * dt) * (gap / math.expm1(gap * dt) if gap else 1 / dt)

"""Lowering of a Graph whose neurons already compute in Loihi's integers: nothing is rounded.

Each population keeps its registers, each connection its whole weights. A chain of nodes between
two populations is a Dense or a Conv2d; before it and behind it each value may have its own
delay (:func:`neuro.graph.sparse.make_delays`).

Sigma-delta neurons with a spike_exp compute in fixed point: their messages are multiples of
2^-spike_exp, their sums and states of 2^-(spike_exp + 6), those of an LI behind them of 2^-12.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from lava_export.population import (
    BIAS_MANTISSA_BITS,
    MESSAGE_BITS,
    NO_MEMORY,
    STATE_LIMIT,
    Population,
    as_int32,
)
from lava_export.program import LoihiConnection, LoihiProgram, list_separate_parts
from neuro.base.units import Ticks
from neuro.graph import Conv2d, Dense, Edge, Flatten, Graph, Node, Unflatten
from neuro.graph.partition import assign_lags, find_tight_loops
from neuro.graph.requirements import problems_on_a_clock
from neuro.graph.sparse import only_delays
from neuro.io.graph_digest import digest_graph
from neuro.neurons import LI, Delta, LoihiLI, SigmaDelta
from neuro.neurons.normal_form import as_array

WEIGHT_UNIT_EXPONENT = 6  # a weight unit is 2^6 units of v
WHOLE = 2**BIAS_MANTISSA_BITS  # biases from here on are even
STATE_EXP = 6  # of sigma-delta neurons, as netx of lava-dl sets it
OF_SUM = 2.0**12  # units of a read-out of changes for 1 of the graph


class IntegerChain(NamedTuple):
    """The nodes between two populations, by name, and all their edges as one."""

    edge: Edge
    nodes: Mapping[str, Node]

    @property
    def synapses(self) -> str:
        """The name of the first Dense or Conv2d; "" without one."""
        kinds = (n for n, node in self.nodes.items() if isinstance(node, Dense | Conv2d))
        return next(kinds, "")

    @property
    def name(self) -> str:
        """The name of the connection."""
        return self.synapses or f"{self.edge.source}->{self.edge.target}"


def is_in_integers(graph: Graph) -> bool:
    """Say whether a graph has neurons in Loihi's integers."""
    return any(
        isinstance(graph.nodes[name], LoihiLI) or _has_exponent(graph.nodes[name])
        for name in graph.populations
    )


def _has_exponent(node: Any) -> bool:
    return isinstance(node, Delta | SigmaDelta) and node.spike_exp is not None


def _find_scale(node: Any) -> float:
    """Return how many units of the states of a sigma-delta neuron stand for 1 of the graph."""
    return OF_SUM if isinstance(node, LI) else 2.0 ** (node.spike_exp + STATE_EXP)


def _find_factor(graph: Graph, edge: Edge) -> float:
    """Return the integer weight between two populations that stands for 1 of the graph."""
    source, target = graph.nodes[edge.source], graph.nodes[edge.target]
    if not isinstance(target, LI | SigmaDelta):
        return 1.0
    return _find_scale(target) / 2.0 ** (getattr(source, "spike_exp", None) or 0)


def list_problems_of_integers(graph: Graph) -> list[str]:
    """Return what keeps a graph with such neurons from being a program, each with its cure."""
    problems = problems_on_a_clock(graph)
    coded = any(_has_exponent(graph.nodes[name]) for name in graph.populations)
    for name in graph.populations:
        node = graph.nodes[name]
        if coded:
            problems += [f"{name}: {problem}" for problem in _check_coder(node)]
        elif not isinstance(node, LoihiLI):
            problems.append(
                f"{name}: a {type(node).__name__} beside neurons in Loihi's integers, which "
                "have no common unit; use LoihiLIF and LoihiLI alone"
            )
        elif ((abs(as_array(node.bias)) >= WHOLE) & (as_array(node.bias) % 2 != 0)).any():
            problems.append(f"{name}: an odd bias beyond {WHOLE} needs 14 bits; make it even")
    if coded and problems:  # without exponents there are no integer weights to check
        return problems
    chains = _find_chains(graph)
    for chain in chains:
        problems += [f"{chain.name}: {problem}" for problem in _check_chain(graph, chain)]
    problems += find_tight_loops(graph, [chain.edge for chain in chains])
    names = [*graph.inputs, *graph.populations]
    return problems + list_separate_parts(names, [chain.edge[:2] for chain in chains])


def lower_integers(graph: Graph, ticks: int | None = None) -> LoihiProgram:
    """Return the program of a graph without problems (:func:`list_problems_of_integers`).

    Raises:
        ProgramError: the program is inconsistent.
    """
    chains, names = _find_chains(graph), [*graph.inputs, *graph.populations]
    lag = assign_lags(names, [chain.edge for chain in chains])
    return LoihiProgram(
        populations=tuple(_make_population(graph, name, lag[name]) for name in names),
        connections=tuple(c for chain in chains for c in _connect(graph, chain, lag)),
        ticks=ticks,
        digest=digest_graph(graph),
    )


def _make_population(graph: Graph, name: str, lag: int) -> Population:
    """Return an input, or a population with the registers of its neurons."""
    node, shape = graph.nodes[name], graph.shapes[name]
    if isinstance(node, LI | Delta | SigmaDelta):
        return _make_coder(node, Population(name=name, kind="sigma", shape=shape, lag=lag))
    if not isinstance(node, LoihiLI):
        bits = getattr(node, "message_bits", 0)
        return Population(name=name, kind="input", shape=shape, message_bits=bits)
    values = {key: as_array(getattr(node, key, 0.0)) for key in ("du", "dv", "vth", "bias")}
    registers: dict[str, Any] = {
        key: as_int32(v if v.size == 1 else np.broadcast_to(v, shape).ravel())
        for key, v in values.items()
    }
    registers |= {k: v[:1] for k, v in registers.items() if (v == v[0]).all()}
    bias = registers.pop("bias")
    wide = (bias < -WHOLE) | (bias >= WHOLE)
    one = all(v.size == 1 for v in registers.values()) and registers["dv"][0] < NO_MEMORY
    return Population(
        name=name,
        kind=("lif" if one else "alif") if node.fires else "li",
        shape=shape,
        lag=lag,
        **registers,
        bias_mant=as_int32(np.where(wide, bias // 2, bias)),
        bias_exp=as_int32(WEIGHT_UNIT_EXPONENT + wide),
        reset_interval=int(node.reset_interval),
        reset_offset=int(node.reset_offset),
    )


def _check_coder(node: Any) -> Iterator[str]:
    """Yield what keeps a neuron from a network of sigma-delta neurons with a spike_exp."""
    if isinstance(node, LI) and np.isinf(as_array(node.tau)).all():
        if (as_array(node.gain) != 1).any():
            yield "an LI with a gain; multiply the weights before it instead"
        return
    if not _has_exponent(node):
        yield (
            f"a {type(node).__name__} beside sigma-delta neurons with a spike_exp; give all a "
            "spike_exp, and end in SigmaDelta or LI(tau=math.inf)"
        )
        return
    scale = _find_scale(node)
    for key in ("threshold", "bias"):
        values = as_array(getattr(node, key, 0.0))
        if (values * scale % 1 != 0).any() or (abs(values) * scale >= STATE_LIMIT).any():
            yield (
                f"{key} {values.ravel()[0]:g} has no 24 bits in units of 1/{scale:g}; round it "
                f"to such units, below {STATE_LIMIT / scale:g}"
            )
    if np.ptp(as_array(node.threshold)):
        yield "thresholds of several values, Lava's has one; give all the same"


def _make_coder(node: LI | Delta | SigmaDelta, plain: Population) -> Population:
    """Return a population of sigma-delta neurons, or their read-out; plain: the read-out."""
    scale = _find_scale(node)
    if isinstance(node, LI):
        return replace(plain, scale=scale)
    bias = np.broadcast_to(as_array(getattr(node, "bias", 0.0)), plain.shape).ravel() * scale
    return replace(
        plain,
        kind="delta" if isinstance(node, Delta) else "sigma_delta",
        scale=scale,
        vth=as_int32(as_array(node.threshold).ravel()[:1] * scale),
        bias_mant=as_int32(bias[:1] if np.ptp(bias) == 0 else bias),
        message_bits=MESSAGE_BITS,
        spike_exp=node.spike_exp or 0,
        state_exp=STATE_EXP,
        cumulative=node.cumulative,
        relu=getattr(node, "relu", True),
    )


def _find_chains(graph: Graph) -> list[IntegerChain]:
    """Return the chains of nodes that end at the populations."""
    found = []
    for edge in (e for target in graph.populations for e in graph.into(target)):
        nodes, delay, first = dict[str, Node](), int(edge.delay), edge
        while first.source not in (*graph.inputs, *graph.populations):
            nodes = {first.source: graph.nodes[first.source], **nodes}
            first, *_ = graph.into(first.source)
            delay += first.delay
        found.append(IntegerChain(Edge(first.source, edge.target, Ticks(delay)), nodes))
    return found


def _check_chain(graph: Graph, chain: IntegerChain) -> Iterator[str]:
    """Yield what is no chain of delays around one layer of whole weights."""
    if any(len(graph.into(name)) > 1 for name in chain.nodes):
        yield "several edges meet before a population; let them meet there"
    for name, node in chain.nodes.items():
        if isinstance(node, Flatten | Unflatten) or only_delays(node):
            continue
        if name != chain.synapses or not isinstance(node, Dense | Conv2d):
            yield f"{name}, a {type(node).__name__}; a chain has one Dense or one Conv2d"
        elif node.bias is not None:
            yield "a bias of synapses; give it to the neurons, as LoihiLIF(bias=...)"
        elif (node.weight * (factor := _find_factor(graph, chain.edge)) % 1 != 0).any():
            unit = "whole numbers" if factor == 1 else f"multiples of 1/{factor:g}"
            yield f"weights are no {unit}; round them"


def _connect(
    graph: Graph, chain: IntegerChain, lag: Mapping[str, int]
) -> Iterator[LoihiConnection]:
    """Yield the connections of a chain: two if it is dense with odd weights.

    A dense connection keeps even weights only where signs are mixed: a second one adds 1 to the
    odd ones.
    """
    source, target, delay = chain.edge
    late, side, factor = dict[str, Any](), "delays_in", _find_factor(graph, chain.edge)
    for name, node in chain.nodes.items():
        side = "delays_out" if name == chain.synapses else side
        if only_delays(node):
            late[side] = as_int32(late.get(side, 0) + np.asarray(node.delay))
    plain = LoihiConnection(
        name=chain.name,
        source=source,
        target=target,
        kind="identity",
        weight=as_int32(np.full(graph.size(source), factor)),
        sign_mode="excitatory",
        extra=lag[target] - lag[source] + delay - 1,
        **late,
    )
    synapses = chain.nodes.get(chain.synapses)
    if isinstance(synapses, Conv2d):
        keys = ("stride", "padding", "dilation", "groups")
        yield replace(
            plain,
            kind="conv",
            weight=as_int32(synapses.weight * factor),
            sign_mode="mixed",
            shape=graph.input_shape(chain.synapses),
            **{key: getattr(synapses, key) for key in keys},
        )
    elif isinstance(synapses, Dense):
        odd = as_int32(synapses.weight * factor % 2)
        even = as_int32(synapses.weight * factor - odd)
        yield replace(plain, kind="dense", weight=even, sign_mode="mixed")
        if odd.any():
            yield replace(plain, kind="dense", weight=odd, name=f"{chain.name} odd")
    else:
        yield plain

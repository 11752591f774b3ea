"""Lowering of a Graph whose neurons already compute in Loihi's integers: nothing is rounded.

Each population keeps its registers, each connection its whole weights. A chain of nodes between
two populations is a Dense or a Conv2d; before it and behind it each value may have its own
delay, which is a Sparse of ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lava_export.population import BIAS_MANTISSA_BITS, Kind, as_int32
from lava_export.program import (
    NO_MEMORY,
    LoihiConnection,
    LoihiProgram,
    Population,
    list_separate_parts,
)
from neuro.base.units import Ticks
from neuro.graph import Conv2d, Dense, Edge, Flatten, Graph, Sparse, Unflatten
from neuro.graph.partition import assign_lags, find_tight_loops
from neuro.graph.requirements import problems_on_a_clock
from neuro.graph.sparse import only_delays
from neuro.io.graph_digest import digest_graph
from neuro.neurons import LoihiLI, LoihiLIF
from neuro.neurons.normal_form import as_array

WEIGHT_UNIT_EXPONENT = 6  # a weight unit is 2^6 units of v


@dataclass(kw_only=True, eq=False)
class _Chain:
    """The nodes between two populations. delay: of all their edges [ticks]."""

    source: str
    target: str
    names: list[str]
    nodes: list[Any]
    delay: int

    @property
    def edge(self) -> Edge:
        """The chain as one edge."""
        return Edge(self.source, self.target, Ticks(self.delay))

    @property
    def name(self) -> str:
        """The name of the connection: that of its synapses."""
        pairs = zip(self.names, self.nodes, strict=True)
        synapses = [name for name, node in pairs if isinstance(node, Dense | Conv2d)]
        return "+".join(synapses or self.names) or f"{self.source}->{self.target}"


def is_in_integers(graph: Graph) -> bool:
    """Say whether a graph has neurons in Loihi's integers."""
    return any(isinstance(graph.nodes[name], LoihiLI) for name in graph.populations)


def list_problems_of_integers(graph: Graph) -> list[str]:
    """Return what keeps a graph with such neurons from being a program, each with its cure."""
    problems = problems_on_a_clock(graph)
    chains = _find_chains(graph)
    for name in graph.populations:
        if not isinstance(graph.nodes[name], LoihiLI):
            problems.append(
                f"{name}: a {type(graph.nodes[name]).__name__} beside neurons in Loihi's "
                "integers, which have no common unit; use LoihiLIF and LoihiLI alone"
            )
            continue
        bias = as_array(graph.nodes[name].bias)
        if ((np.abs(bias) >= 2**BIAS_MANTISSA_BITS) & (bias % 2 != 0)).any():
            problems.append(
                f"{name}: odd biases beyond 4095 have more than 13 bits; make them even"
            )
    for chain in chains:
        problems += [f"{chain.name}: {problem}" for problem in _check_chain(graph, chain)]
    names = [*graph.inputs, *graph.populations]
    problems += find_tight_loops(graph, [chain.edge for chain in chains])
    return problems + list_separate_parts(names, [(c.source, c.target) for c in chains])


def lower_integers(graph: Graph, ticks: int | None = None) -> LoihiProgram:
    """Return the program of a graph without problems (:func:`list_problems_of_integers`).

    Raises:
        ProgramError: the program is inconsistent.
    """
    chains = _find_chains(graph)
    names = [*graph.inputs, *graph.populations]
    lag = assign_lags(names, [chain.edge for chain in chains])
    inputs = [
        Population(
            name=name,
            kind="input",
            shape=graph.shapes[name],
            message_bits=getattr(graph.nodes[name], "message_bits", 0),
        )
        for name in graph.inputs
    ]
    own = [_make_population(graph, name, lag[name]) for name in graph.populations]
    return LoihiProgram(
        populations=(*inputs, *own),
        connections=tuple(c for chain in chains for c in _connect(graph, chain, lag)),
        ticks=ticks,
        digest=digest_graph(graph),
    )


def _make_population(graph: Graph, name: str, lag: int) -> Population:
    """Return a population with the registers of its neurons."""
    node, shape = graph.nodes[name], graph.shapes[name]
    if not isinstance(node, LoihiLI):
        raise TypeError(f"{name} is no population in Loihi's integers")
    values = {key: as_array(getattr(node, key)) for key in ("du", "dv", "bias")}
    values["vth"] = as_array(node.vth) if isinstance(node, LoihiLIF) else np.zeros(())
    registers = {
        key: as_int32(v if v.size == 1 else np.broadcast_to(v, shape).ravel())
        for key, v in values.items()
    }
    registers |= {k: v[:1] for k, v in registers.items() if (v == v[0]).all()}
    bias = registers.pop("bias")
    wide = np.abs(bias) >= 2**BIAS_MANTISSA_BITS
    one = all(v.size == 1 for v in registers.values()) and registers["dv"][0] < NO_MEMORY
    kind: Kind = "lif" if one else "alif"
    return Population(
        name=name,
        kind=kind if node.fires else "li",
        shape=shape,
        lag=lag,
        **registers,
        bias_mant=as_int32(np.where(wide, bias // 2, bias)),
        bias_exp=as_int32(WEIGHT_UNIT_EXPONENT + wide),
        reset_interval=int(node.reset_interval),
        reset_offset=int(node.reset_offset),
    )


def _find_chains(graph: Graph) -> list[_Chain]:
    """Return the chains of nodes that end at the populations."""
    found = []
    for target in graph.populations:
        for last in graph.into(target):
            edge, names, delay = last, list[str](), int(last.delay)
            while edge.source not in (*graph.inputs, *graph.populations):
                names.insert(0, edge.source)
                edge, *_ = graph.into(edge.source)
                delay += edge.delay
            nodes = [graph.nodes[name] for name in names]
            found.append(
                _Chain(source=edge.source, target=target, names=names, nodes=nodes, delay=delay)
            )
    return found


def _check_chain(graph: Graph, chain: _Chain) -> Iterator[str]:
    """Yield what is no chain of delays around one layer of whole weights."""
    plain = [n for n in chain.nodes if not isinstance(n, Flatten | Unflatten)]
    synapses = [n for n in plain if not only_delays(n)]
    if any(len(graph.into(name)) > 1 for name in chain.names):
        yield "several edges meet here; let them meet at the population"
    if len(synapses) > 1 or not all(isinstance(n, Dense | Conv2d) for n in synapses):
        kinds = ", ".join(type(n).__name__ for n in synapses)
        yield f"{kinds} between two populations; one Dense or one Conv2d stands there"
        return
    for node in synapses:
        if getattr(node, "bias", None) is not None:
            yield "a bias of synapses; give it to the neurons, as LoihiLIF(bias=...)"
        if (node.weight != np.rint(node.weight)).any():
            yield "weights are no whole numbers; round them"


def _connect(graph: Graph, chain: _Chain, lag: dict[str, int]) -> Iterator[LoihiConnection]:
    """Yield the connections of a chain: two if it is dense with odd weights.

    A dense connection keeps even weights only where signs are mixed: a second one adds 1 to the
    odd ones.
    """
    at = next((k for k, n in enumerate(chain.nodes) if isinstance(n, Dense | Conv2d)), None)
    late: dict[str, np.ndarray] = {}
    for k, node in enumerate(chain.nodes):
        if isinstance(node, Sparse) and node.delay is not None:
            side = "delays_in" if at is None or k < at else "delays_out"
            late[side] = late.get(side, 0) + node.delay.astype(np.int64)
    first = LoihiConnection(
        name=chain.name,
        source=chain.source,
        target=chain.target,
        kind="identity",
        weight=as_int32(np.ones(graph.size(chain.source))),
        sign_mode="excitatory",
        extra=lag[chain.target] - lag[chain.source] + chain.delay - 1,
        **{side: as_int32(waits) for side, waits in late.items()},
    )
    if at is None:
        yield first
        return
    node = chain.nodes[at]
    if isinstance(node, Conv2d):
        (before,) = graph.into(chain.names[at])
        keys = ("stride", "padding", "dilation", "groups")
        yield replace(
            first,
            kind="conv",
            weight=as_int32(node.weight),
            sign_mode="mixed",
            shape=graph.shapes[before.source],
            **{key: getattr(node, key) for key in keys},
        )
        return
    weight = as_int32(node.weight)
    odd = as_int32(weight % 2)
    even = as_int32(weight - odd)
    yield replace(first, kind="dense", weight=even, sign_mode="mixed")
    if odd.any():
        yield replace(first, kind="dense", weight=odd, name=f"{chain.name} odd")

"""Lowering of a Graph with graded spikes to a GradedProgram: the only step that rounds floats.

Values are rounded to 2^-16, gains to 15 bits with an exponent common to their norm, the scale
of each ternary sum to 16 bits with its own exponent, and the shares of a gate to 2^-18.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lava_export.graded.program import GradedProgram, Kind, NeuronGroup
from lava_export.lower import LowerError
from lava_export.processes.fixed_point import FRACTION, GATE, LIMIT
from neuro.graph import (
    Concat,
    CountSpikes,
    Dense,
    Graph,
    Input,
    Multiply,
    Node,
    Pointwise,
    RMSNorm,
)
from neuro.graph.requirements import require_graph
from neuro.io.graph_digest import digest_graph
from neuro.neurons import LI, GatedLI

GAIN_BITS = 15
SCALE_BITS = 16
# What a kind takes and gives: counts of spikes or sums of weights; all other kinds: values.
TAKES: dict[Kind, str] = {"synapses": "counts", "scale": "sums"}
GIVES: dict[Kind, str] = {"synapses": "sums", "spikes": "counts"}


def is_graded(graph: Graph) -> bool:
    """Return whether :func:`lower_graded` takes a graph: it counts spikes or has gates only."""
    nodes = graph.nodes.values()
    of_gates = all(isinstance(node, Input | GatedLI | LI) for node in nodes)
    return any(isinstance(node, CountSpikes) for node in nodes) or (
        of_gates and any(isinstance(node, GatedLI) for node in nodes)
    )


def lower_graded(graph: Graph) -> GradedProgram:
    """Return the program of a graph with ternary synapses that read counts of spikes.

    Raises:
        TypeError: the value is no Graph.
        LowerError: lists every node that cannot be lowered, with its cure.
    """
    require_graph(graph)
    problems, kinds = [], dict[str, Kind]()
    for name in graph.nodes:
        kind = _find_kind(graph, name)
        if isinstance(kind, list):
            problems += [f"{name}: {problem}" for problem in kind]
        else:
            kinds[name] = kind
    if not problems:
        problems += [
            f"{e.target}: takes {TAKES.get(kinds[e.target], 'values')}, and {e.source} gives "
            f"{GIVES.get(kinds[e.source], 'values')}; a Dense goes from CountSpikes to an LI"
            for e in graph.edges
            if TAKES.get(kinds[e.target], "values") != GIVES.get(kinds[e.source], "values")
        ]
        problems += list(_list_sources(graph, kinds))
    if problems:
        raise LowerError(problems)
    groups = dict[str, NeuronGroup]()
    for name in graph.order:
        sources = tuple(e.source for e in graph.into(name))
        late = max((groups[s].lag for s in sources), default=0)
        groups[name] = NeuronGroup(
            name=name,
            kind=kinds[name],
            size=graph.size(name),
            sources=sources,
            lag=late + (kinds[name] == "synapses"),
            **_round(graph, name, graph.nodes[name]),
        )
    return GradedProgram(groups=tuple(groups.values()), digest=digest_graph(graph))


def _list_sources(graph: Graph, kinds: dict[str, Kind]) -> Iterator[str]:
    """Yield the problems of edges: delays, several inputs, synapses with several sources."""
    yield from (
        f"{e.target}: an edge of delay {e.delay}; only a GatedLI remembers, use delay 0"
        for e in graph.edges
        if e.delay
    )
    if list(kinds.values()).count("input") > 1:
        yield "a program has one input; join them before"
    for name, kind in kinds.items():
        if kind == "synapses" and len(graph.into(name)) > 1:
            yield f"{name}: counts of several sources; give each a Dense of its own"


KINDS: dict[type, Kind] = {
    Input: "input",
    Dense: "synapses",
    RMSNorm: "norm",
    CountSpikes: "spikes",
    LI: "scale",
    Concat: "join",
    GatedLI: "gated",
    Multiply: "multiply",
}
FUNCTIONS: dict[str, Kind] = {"identity": "add", "silu": "silu"}


def _find_kind(graph: Graph, name: str) -> Kind | list[str]:
    """Return the kind of group that a node becomes, or a list of why it becomes none."""
    node = graph.nodes[name]
    if isinstance(node, Pointwise) and node.function in FUNCTIONS:
        return FUNCTIONS[node.function]
    if type(node) not in KINDS:
        return [
            f"no microcode here for a {type(node).__name__}; there is some for RMSNorm, "
            "CountSpikes, LI, GatedLI, Multiply, Concat, and Pointwise of silu and identity"
        ]
    problems = []
    if isinstance(node, Dense):
        if not np.isin(node.weight, (-1, 0, 1)).all():
            problems.append(
                "weights are not -1, 0 and 1; put their scale into the gain of the LI"
            )
        if node.bias is not None:
            problems.append("ternary synapses have no bias")
    if isinstance(node, CountSpikes):
        whole = node.threshold * 2**FRACTION
        if not whole.is_integer() or not 1 <= whole < LIMIT:
            problems = [
                f"threshold {node.threshold} is no multiple of 2^-{FRACTION} in 24 bits; use a "
                "power of 2, or 3 times one"
            ]
    if isinstance(node, LI):
        if _hands_on(graph, name, node):
            return "add"
        problems = _list_scale_problems(graph, node)
    return problems or KINDS[type(node)]


def _hands_on(graph: Graph, name: str, node: LI) -> bool:
    """Return whether an LI only passes on a sum of values, without memory or gain."""
    sums = any(isinstance(graph.nodes[e.source], Dense) for e in graph.into(name))
    plain = np.ndim(node.gain) == 0 and float(node.gain) == 1
    return not sums and plain and not node.coefficients(graph.dt).decay.any()


def _list_scale_problems(graph: Graph, node: LI) -> list[str]:
    if node.coefficients(graph.dt).decay.any():
        return ["an LI that remembers; a membrane of sums has a tau far below dt"]
    if np.ndim(node.gain) or not 0 < float(node.gain) < 2**10:
        return ["gains of its own for each neuron, or one outside 0 ... 1024; give one"]
    return []


def _round(graph: Graph, name: str, node: Node) -> dict[str, Any]:
    """Return the numbers and the array of a node's group, as keyword arguments."""
    match node:
        case Dense():
            return {"array": (2 * node.weight).astype(np.int8)}
        case RMSNorm():
            return _round_norm(node)
        case CountSpikes():
            whole = int(node.threshold * 2**FRACTION)
            return {"numbers": {"ticks": node.ticks, "threshold": whole}}
        case LI() if not _hands_on(graph, name, node):
            gain = float(node.gain) / 2 * 2**FRACTION  # weights are doubled
            exponent = max(SCALE_BITS - math.frexp(gain)[1], 0)
            return {"numbers": {"mantissa": round(gain * 2**exponent), "exponent": exponent}}
        case GatedLI():
            rest = np.rint((1 - np.asarray(node.floor, np.float64)) * 2**GATE)
            size = graph.size(name)
            return {"array": np.broadcast_to(rest.astype(np.int32).ravel(), (size,)).copy()}
    return {}


def _round_norm(node: RMSNorm) -> dict[str, Any]:
    """Return gains times the root of their number, as whole numbers, with their exponent."""
    size = node.gain.size
    gains = node.gain.astype(np.float64).ravel() * math.sqrt(size)
    largest = float(np.abs(gains).max())
    shift = GAIN_BITS - (math.frexp(largest)[1] if largest else 0)
    shift = min(max(shift, 0), 30)
    return {
        "numbers": {"shift": shift, "eps": round(node.eps * size * 4.0**FRACTION)},
        "array": np.rint(gains * 2.0**shift).astype(np.int32),
    }

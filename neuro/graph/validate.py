"""What makes a Graph well formed: wiring and values; every problem with a cure."""

import graphlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

import numpy as np
from torch import Tensor

from neuro.arguments import is_whole
from neuro.graph.connections import Concat, Sparse
from neuro.graph.host_ops import Host
from neuro.graph.nodes import Edge, Input, Node, Topology
from neuro.neurons import GatedLI, is_leaky_integrator, is_neuron
from neuro.neurons.normal_form import as_array
from neuro.text import escape

Hosted = Host | GatedLI  # no chip runs them, and they have a value a tick: a host computes them


class GraphError(ValueError):
    """A Graph that cannot run; ``problems`` lists each reason with its cure.

    what: what is wrong, or cannot be done, in a sentence.
    """

    def __init__(
        self, problems: list[str], what: str = "the graph does not hold together"
    ) -> None:
        self.what = what
        self.problems = [escape(problem) for problem in problems]  # names may hold anything
        super().__init__("\n".join([f"{what}:", *self.problems]))


def get_kind(node: Node) -> str:
    """Return the class name of a node, as messages show it."""
    return type(node).__name__


def problems_of_wiring(graph: Topology) -> list[str]:
    """Return what is wrong with names, delays, loops and loose ends."""
    problems = _edges_that_lead_nowhere(graph)
    if not 0 < graph.dt < np.inf:
        problems.append(f"dt must be > 0 s and finite, got {graph.dt}; 1e-3 is usual")
    if not any(isinstance(n, Input) for n in graph.nodes.values()):
        problems.append("no Input: add one, Input(shape=...)")
    if problems:
        return problems
    loose = [p for name in graph.nodes for p in _loose_ends(graph, name)]
    return (loose or _out_of_reach(graph)) + _loops_that_never_fire(graph)


def _edges_that_lead_nowhere(graph: Topology) -> list[str]:
    problems = [
        f"node {name!r}: a name is not empty and holds no '.' or '/' and nothing that cannot "
        "be printed; rename it"
        for name in graph.nodes
        if not name or "." in name or "/" in name or not name.isprintable()
    ]
    times = Counter(graph.edges)
    for e in graph.edges:
        if times[e] > 1:
            joins = isinstance(graph.nodes.get(e.target), Concat)
            cure = "add up the weights behind it" if joins else "multiply the weights"
            problems.append(
                f"edge {e.source} -> {e.target} of delay {e.delay} is there "
                f"{times[e]} times; keep one and {cure}"
            )
        for name in (e.source, e.target):
            if name not in graph.nodes:
                known = ", ".join(graph.nodes)
                problems.append(
                    f"edge {e.source} -> {e.target}: no node {name!r}; have {known}"
                )
        if not is_whole(e.delay) or e.delay < 0:
            problems.append(
                f"edge {e.source} -> {e.target}: delay {e.delay!r} is not a whole number of "
                "ticks >= 0; convert seconds with neuro.units.ticks"
            )
    return list(dict.fromkeys(problems))


def _loose_ends(graph: Topology, name: str) -> list[str]:
    node, ins, outs = graph.nodes[name], graph.into(name), graph.out_of(name)
    problems = []
    if isinstance(node, Input) and ins:
        problems.append(f"{name}: an Input takes no edge; remove {ins[0].source} -> {name}")
    if not isinstance(node, Input) and not any(e.source != name for e in ins):
        problems.append(f"{name}: no edge feeds this {get_kind(node)}; connect or remove it")
    if is_leaky_integrator(node):
        problems += [
            f"{name}: an {get_kind(node)} is a current or a read-out, it feeds populations and "
            f"host nodes only; use LIF or ALIF before {e.target}, or put {e.target} before "
            f"{name}"
            for e in outs
            for target in [graph.nodes[e.target]]
            if not (is_neuron(target) or isinstance(target, Host))
        ]
    if not is_neuron(node) and not outs:
        problems.append(f"{name}: nothing follows this {get_kind(node)}; end with a LI or LIF")
    return problems


def _out_of_reach(graph: Topology) -> list[str]:
    waiting = list(graph.inputs)
    reached = set(waiting)
    while waiting:
        new = {e.target for e in graph.out_of(waiting.pop())} - reached
        reached |= new
        waiting += new
    lost = [name for name in graph.nodes if name not in reached]
    return [f"{', '.join(lost)}: no Input reaches them; connect or remove them"] if lost else []


def _loops_that_never_fire(graph: Topology) -> list[str]:
    passive = {n for n, node in graph.nodes.items() if not (is_neuron(node) and node.fires)}
    cycle = find_cycle(graph, [e for e in graph.edges if {e.source, e.target} <= passive])
    if not cycle:
        return []
    return [f"loop {' -> '.join(cycle)} holds no LIF or ALIF; put one into it"]


def find_cycle(graph: Topology, edges: Iterable[Edge]) -> list[str]:
    """Return the names along one cycle of ``edges``, the first twice; none without a cycle."""
    sorter = graphlib.TopologicalSorter({n: [] for n in graph.nodes})
    for e in edges:
        sorter.add(e.target, e.source)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def problems_of_values(graph: Topology) -> list[str]:
    """Return parameters that may change or are not finite, and synapses that are no rows."""
    problems = []
    for name, node in graph.nodes.items():
        problems += [
            f"{name}.{field}: is a tensor that is trained, and a Graph never changes; give its "
            "values, tensor.detach(), or trace a Stack with Spiking(model)"
            for field in (f.name for f in fields(node))
            if isinstance(value := getattr(node, field), Tensor) and value.requires_grad
        ]
        for field in ("weight", "bias", "threshold", "leak", "beta", "rho", "gain", "floor"):
            value = getattr(node, field, None)
            if value is None:
                continue
            bad = ~np.isfinite(as_array(value))
            if bad.any():
                where = (
                    f" (first at {tuple(map(int, np.argwhere(bad)[0]))})" if bad.ndim else ""
                )
                problems.append(
                    f"{name}.{field}: {int(bad.sum())} of {bad.size} values are NaN or infinite"
                    f"{where}; look at what they were computed from; where they were trained, "
                    "lower the learning rate or clip the gradient"
                )
        if isinstance(node, Sparse):
            problems += [f"{name}: {problem}" for problem in _problems_of_synapses(node)]
    return problems


def _problems_of_synapses(node: Sparse) -> list[str]:
    columns = {"indices": node.indices, "weight": node.weight, "delay": node.delay}
    shapes = {k: c.shape for k, c in columns.items() if c is not None}
    synapses = node.indices.size
    cure = "make it with Sparse.from_coo"
    if set(shapes.values()) != {(synapses,)}:
        return [f"Sparse needs one entry a synapse in every column, got {shapes}; {cure}"]
    ends = node.indptr
    rows = ends.ndim == 1 and ends.size > 1 and ends[0] == 0 and ends[-1] == synapses
    if not rows or (np.diff(ends) < 0).any():
        return [f"Sparse.indptr must rise from 0 to the {synapses} synapses, (in + 1,); {cure}"]
    problems = []
    outside = (node.indices < 0) | (node.indices >= np.prod(node.shape))
    if outside.any():
        problems.append(
            f"{int(outside.sum())} targets like {node.indices[outside][0]} are not among the "
            f"{node.shape} outputs; make Sparse.shape larger"
        )
    if node.delay is not None and (node.delay < 0).any():
        problems.append(
            f"{int((node.delay < 0).sum())} delays are < 0 ticks; a spike acts after its source"
        )
    if not _sorted_rows(node):
        problems.append(f"a row of Sparse is not sorted by (delay, target); {cure}")
    return problems


def _sorted_rows(node: Sparse) -> bool:
    """Say whether (delay, target) never falls within a row."""
    falls = node.indices[1:] < node.indices[:-1]
    if node.delay is not None:
        later, same = node.delay[1:] > node.delay[:-1], node.delay[1:] == node.delay[:-1]
        falls = ~later & (falls | ~same)
    starts = node.indptr[(node.indptr > 0) & (node.indptr < node.indices.size)]
    falls[starts - 1] = False
    return not falls.any()

"""Checks that a Graph is well formed: wiring, values and shapes; every problem has a cure."""

import graphlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from heapq import heappop, heappush

import numpy as np
from torch import Tensor

from neuro.base.arguments import is_whole
from neuro.base.text import escape
from neuro.graph.connections import Concat, Connection, Shape, Sparse
from neuro.graph.host_ops import Host, halve_shape
from neuro.graph.nodes import Edge, Input, Node, Poisson, Topology
from neuro.neurons import GatedLI, find_misfit, is_leaky_integrator, is_neuron
from neuro.neurons.normal_form import as_array
from neuro.ops.poisson import MOST_MEAN

Hosted = Host | GatedLI  # a host computes these, one value per tick; no chip runs them

FROM_COO = "make it with Sparse.from_coo"
UNSORTED = f"a row of Sparse is not sorted by (target, delay); {FROM_COO}"
CHUNK = 2**22  # synapses checked together, which bounds the memory of the check


class GraphError(ValueError):
    """A Graph that cannot run; ``problems`` lists each reason with its cure.

    what: a sentence that says what is wrong or cannot be done.
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
    """List problems of names, delays, loops and loose ends."""
    problems = _edges_that_lead_nowhere(graph)
    if not 0 < graph.dt < np.inf:
        problems.append(f"dt must be > 0 s and finite, got {graph.dt}; 1e-3 is usual")
    if not any(isinstance(n, Input) for n in graph.nodes.values()):
        problems.append("no Input: add one, Input(shape=...), or a Poisson")
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
                "ticks >= 0; convert seconds with neuro.ticks"
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
    waiting = list(graph.sources)
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
    """Return the names along one cycle of ``edges``, the first name twice; [] if none."""
    sorter = graphlib.TopologicalSorter({n: [] for n in graph.nodes})
    for e in edges:
        sorter.add(e.target, e.source)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def problems_of_values(graph: Topology) -> list[str]:
    """List parameters that may change or are not finite, and synapses that form no rows."""
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
            finite = np.isfinite(as_array(value))
            if not finite.all():
                bad = ~finite
                where = (
                    f" (first at {tuple(map(int, np.argwhere(bad)[0]))})" if bad.ndim else ""
                )
                problems.append(
                    f"{name}.{field}: {int(bad.sum())} of {bad.size} values are NaN or infinite"
                    f"{where}; look at what they were computed from; where they were trained, "
                    "lower the learning rate or clip the gradient"
                )
        if isinstance(node, Sparse):
            problems += [f"{name}: {problem}" for problem in list_problems_of_synapses(node)]
        if isinstance(node, Poisson) and np.max(node.rate, initial=0) * graph.dt > MOST_MEAN:
            problems.append(
                f"{name}.rate: is {np.max(node.rate):g} Hz, {np.max(node.rate) * graph.dt:g} "
                f"events per tick; at most {MOST_MEAN:g} can be drawn: use a shorter dt"
            )
    return problems


def list_problems_of_synapses(node: Sparse) -> list[str]:
    """List problems of a Sparse node's rows; [UNSORTED] if only their order is wrong."""
    columns = {"indices": node.indices, "weight": node.weight, "delay": node.delay}
    shapes = {k: c.shape for k, c in columns.items() if c is not None}
    synapses = node.indices.size
    if set(shapes.values()) != {(synapses,)}:
        return [f"Sparse needs one entry a synapse in every column, got {shapes}; {FROM_COO}"]
    ends = node.indptr
    rows = ends.ndim == 1 and ends.size > 1 and ends[0] == 0 and ends[-1] == synapses
    if not rows or (np.diff(ends) < 0).any():
        return [
            f"Sparse.indptr must rise from 0 to the {synapses} synapses, (in + 1,); {FROM_COO}"
        ]
    problems = []
    outputs = int(np.prod(node.shape))
    if synapses and not 0 <= node.indices.min() <= node.indices.max() < outputs:
        outside = (node.indices < 0) | (node.indices >= outputs)
        problems.append(
            f"{int(outside.sum())} targets like {node.indices[outside][0]} are not among the "
            f"{node.shape} outputs; make Sparse.shape larger"
        )
    if node.delay is not None and node.delay.min(initial=0) < 0:
        problems.append(
            f"{int((node.delay < 0).sum())} delays are < 0 ticks; a spike acts after its source"
        )
    if not _sorted_rows(node):
        problems.append(UNSORTED)
    return problems


def _sorted_rows(node: Sparse) -> bool:
    """Say whether (target, delay) never decreases within a row."""
    starts = node.indptr[(node.indptr > 0) & (node.indptr < node.indices.size)] - 1
    for first in range(0, node.indices.size - 1, CHUNK):
        here = slice(first, first + CHUNK + 1)
        target = node.indices[here]
        falls = target[1:] < target[:-1]
        if node.delay is not None:
            delay = node.delay[here]
            falls |= (target[1:] == target[:-1]) & (delay[1:] < delay[:-1])
        low, high = np.searchsorted(starts, (first, first + falls.size))
        falls[starts[low:high] - first] = False
        if falls.any():
            return False
    return True


def infer_shapes(graph: Topology, order: Sequence[str]) -> dict[str, Shape]:
    """Return the shape of every node; raise one GraphError that lists every mismatch.

    order: all names; among nodes whose shape can be inferred, the first in this order is next.
    """
    shapes: dict[str, Shape] = {}
    problems: list[str] = []
    pending = _Pending(graph, order)
    while (name := pending.pop(joins_in_loops=not problems)) is not None:
        out = _shape_of(graph, name, shapes)
        if isinstance(out, str):
            problems.append(f"{name}: {out}")
            continue
        shapes[name] = out
        pending.add_targets(name)
        if min(out, default=1) < 1:
            what = "its output" if graph.into(name) else "Input.shape"
            problems.append(f"{name}: {what} must be >= 1, got {out}")
    if problems:
        raise GraphError(problems)
    problems = _disagreements(graph, shapes)
    if problems:
        raise GraphError(problems)
    return shapes


class _Pending:
    """The nodes whose shape comes next: Inputs, their targets, and last a Concat in a loop.

    Both heaps hold positions in the graph's order. A Concat is ready once the shapes of all its
    sources are known; a Concat in a loop waits for its own shape.
    """

    def __init__(self, graph: Topology, order: Sequence[str]) -> None:
        self._graph, self._names = graph, order
        self._place = {name: k for k, name in enumerate(order)}
        self._missing = {
            name: len({e.source for e in graph.into(name)}) if isinstance(node, Concat) else 1
            for name, node in graph.nodes.items()
        }
        self._inputs = sorted((self._place[n] for n in graph.sources), reverse=True)
        self._ready: list[int] = []
        self._waiting: list[int] = []
        self._done: set[int] = set()

    def add_targets(self, name: str) -> None:
        """Note that the shape of ``name`` is known."""
        for target in dict.fromkeys(e.target for e in self._graph.out_of(name)):
            self._missing[target] -= 1
            heap = self._ready if self._missing[target] <= 0 else self._waiting
            heappush(heap, self._place[target])

    def pop(self, joins_in_loops: bool) -> str | None:
        """Return the next node, or None if no further shape can be inferred.

        joins_in_loops: whether the node may be a Concat that waits for its own shape.
        """
        if self._inputs:
            return self._take(self._inputs.pop())
        for heap in (self._ready, self._waiting):
            while heap:
                if heap[0] in self._done:
                    heappop(heap)
                elif heap is self._ready or joins_in_loops:
                    return self._take(heappop(heap))
                else:
                    return None
        return None

    def _take(self, place: int) -> str:
        self._done.add(place)
        return self._names[place]


def _shape_of(graph: Topology, name: str, shapes: dict[str, Shape]) -> Shape | str:
    """Return the next node's shape, or what is wrong with its inputs."""
    node = graph.nodes[name]
    if isinstance(node, Input):
        return node.shape
    known = [e.source for e in graph.into(name) if e.source in shapes]
    if isinstance(node, Concat):
        out = _joined_shape(graph, name, shapes)
    else:
        known = known[:1]
        out = output_shape(node, shapes[known[0]])
    return f"{out} (input from {', '.join(known)})" if isinstance(out, str) else out


def _disagreements(graph: Topology, shapes: dict[str, Shape]) -> list[str]:
    """List edges whose shape differs from the shapes that the node already receives."""
    problems = []
    for name, node in graph.nodes.items():
        if not isinstance(node, Concat):
            continue
        out = _joined_shape(graph, name, shapes)
        if isinstance(out, str):
            problems.append(f"{name}: {out}")
        elif out != shapes[name]:
            problems.append(
                f"{name}: its edges bring {out}, the connection behind it takes "
                f"{shapes[name]}; change the weight of that connection"
            )
    for e in graph.edges:
        node = graph.nodes[e.target]
        if not isinstance(node, Concat) and (
            output_shape(node, shapes[e.source]) != shapes[e.target]
        ):
            problems.append(
                f"edge {e.source} -> {e.target}: brings shape {shapes[e.source]}, which does "
                f"not add to the other inputs of {e.target} (it puts out {shapes[e.target]}); "
                "insert a Dense, Conv2d or Flatten that makes the shapes equal"
            )
    return problems


def _joined_shape(graph: Topology, name: str, shapes: dict[str, Shape]) -> Shape | str:
    """Return the shape of a Concat, or what is wrong with it.

    In a loop, where its shape determines a source's shape, it has the length that the
    connection directly after it takes.
    """
    sources = [e.source for e in graph.into(name)]
    known = [shapes[n] for n in sources if n in shapes]
    if () in known:
        return "Concat joins along the first axis, one input has none; use Input.shape (1,)"
    if len({shape[1:] for shape in known}) > 1:
        return (
            "Concat joins along the first axis and needs all others equal, got "
            f"{', '.join(map(str, known))}; pool or upsample to one size, or put a Flatten "
            "before each"
        )
    if len(known) == len(sources):
        return (sum(shape[0] for shape in known), *known[0][1:])
    behind = (graph.nodes[e.target] for e in graph.out_of(name))
    lengths = [node.input_length for node in behind if isinstance(node, Connection)]
    length = next((n for n in lengths if n), 0)
    if length:
        return (length, *known[0][1:])
    missing = ", ".join(n for n in sources if n not in shapes)
    return (
        f"Concat in a loop: its length depends on {missing}, whose shape depends on it; put a "
        "Dense, a Sparse or a convolution right behind it"
    )


def output_shape(node: Node, input_shape: Shape) -> Shape | str:
    """Return the output shape of a node for an input shape, or what is wrong with it."""
    if isinstance(node, Connection | Host):
        return node.output_shape(input_shape)
    own = halve_shape("GatedLI", input_shape) if isinstance(node, GatedLI) else input_shape
    return own if isinstance(own, str) else find_misfit(node, own) or own  # type: ignore[arg-type]

"""The shape of every node of a Graph, inferred from its inputs."""

from collections.abc import Sequence
from heapq import heappop, heappush

from neuro.graph.connections import Concat, Connection, Shape
from neuro.graph.host_ops import Host, halve_shape
from neuro.graph.nodes import Input, Node, Topology
from neuro.graph.validate import GraphError
from neuro.neurons import GatedLI, find_misfit


def infer_shapes(graph: Topology, order: Sequence[str]) -> dict[str, Shape]:
    """Return the shape of every node, or raise one GraphError with every mismatch.

    order: all names; of several nodes whose shape is known, the first comes first.
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
    """The nodes whose shape is next: Inputs, what follows from them, a Concat in a loop last.

    Both heaps hold places in the order of the graph. A Concat follows once all of its edges
    bring a known shape; one in a loop waits for itself.
    """

    def __init__(self, graph: Topology, order: Sequence[str]) -> None:
        self._graph, self._names = graph, order
        self._place = {name: k for k, name in enumerate(order)}
        self._missing = {
            name: len({e.source for e in graph.into(name)}) if isinstance(node, Concat) else 1
            for name, node in graph.nodes.items()
        }
        self._inputs = sorted((self._place[n] for n in graph.inputs), reverse=True)
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
        """Return the next node, None where no further shape follows.

        joins_in_loops: whether that may be a Concat that waits for itself.
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
    """Return the shape of a node that is next, or what is wrong with its inputs."""
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
    """Return where an edge brings a shape that does not go with those known before it."""
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

    Inside a loop, where its own shape decides that of a source, it is as long as the connection
    right behind it takes.
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

"""The shape of every node of a Graph, inferred from its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuro.connections import Concat, ConvTranspose2d, Sparse
from neuro.graph_checks import GraphError, kind
from neuro.node_shapes import Shape, output_shape

if TYPE_CHECKING:
    from neuro.graph import Graph, Node


def infer_shapes(graph: Graph) -> dict[str, Shape]:
    """Return the shape of every node, or raise one GraphError with every mismatch."""
    shapes: dict[str, Shape] = {}
    problems: list[str] = []
    pending = list(graph.order)
    while pending:
        name = _next(graph, pending, shapes)
        if not name or (problems and _in_a_loop(graph, name, shapes)):
            break
        pending.remove(name)
        if kind(graph.nodes[name]) == "Input":
            shapes[name] = tuple(graph.nodes[name].shape)  # type: ignore[union-attr]
            if min(shapes[name], default=1) < 1:
                problems.append(f"{name}: Input.shape must be >= 1, got {shapes[name]}")
            continue
        known = [e.source for e in graph.into(name) if e.source in shapes]
        if isinstance(graph.nodes[name], Concat):
            out = _joined_shape(graph, name, shapes)
        else:
            known = known[:1]
            out = output_shape(graph.nodes[name], shapes[known[0]])
        if isinstance(out, str):
            problems.append(f"{name}: {out} (input from {', '.join(known)})")
        else:
            shapes[name] = out
    if problems:
        raise GraphError(problems)
    problems = _disagreements(graph, shapes)
    if problems:
        raise GraphError(problems)
    return shapes


def _next(graph: Graph, pending: list[str], shapes: dict[str, Shape]) -> str:
    """Return an Input, else a node whose shape follows from those known, else a Concat."""
    inputs = [n for n in pending if kind(graph.nodes[n]) == "Input"]
    begun = [n for n in pending if any(e.source in shapes for e in graph.into(n))]
    ready = [n for n in begun if not _in_a_loop(graph, n, shapes)]
    return next(iter([*inputs, *ready, *begun]), "")


def _in_a_loop(graph: Graph, name: str, shapes: dict[str, Shape]) -> bool:
    """Say whether a node is a Concat that still waits for one of its edges."""
    waits = any(e.source not in shapes for e in graph.into(name))
    return waits and isinstance(graph.nodes[name], Concat)


def _disagreements(graph: Graph, shapes: dict[str, Shape]) -> list[str]:
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


def _joined_shape(graph: Graph, name: str, shapes: dict[str, Shape]) -> Shape | str:
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
    behind = [_inputs_of(graph.nodes[e.target]) for e in graph.out_of(name)]
    length = next((n for n in behind if n), 0)
    if length:
        return (length, *known[0][1:])
    missing = ", ".join(n for n in sources if n not in shapes)
    return (
        f"Concat in a loop: its length depends on {missing}, whose shape depends on it; put a "
        "Dense, a Sparse or a convolution right behind it"
    )


def _inputs_of(node: Node) -> int:
    """Return the length of the first axis that the weights of a node take, 0 if it has none."""
    if isinstance(node, Sparse):
        return int(node.at.size - 1)
    axis = 0 if isinstance(node, ConvTranspose2d) else 1
    weight = getattr(node, "weight", np.zeros(0))
    return int(weight.shape[axis]) if weight.ndim > axis else 0

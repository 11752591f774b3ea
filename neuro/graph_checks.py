"""What makes a Graph well formed: wiring, finite values, shapes; every problem with a cure."""

from __future__ import annotations

import graphlib
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro.neurons import ALIF, LI, LIF
from neuro.neurons.base import as_array

if TYPE_CHECKING:
    from neuro.graph import Graph, Node

Shape = tuple[int, ...]


class GraphError(ValueError):
    """A Graph that no executor could run; ``problems`` lists each reason with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the graph does not hold together:", *problems]))
        self.problems = problems


def kind(node: Node) -> str:
    """Return the class name of a node, as messages show it."""
    return type(node).__name__


def is_population(node: Node) -> bool:
    """Say whether a node holds neurons."""
    return isinstance(node, (LIF, ALIF, LI))


def problems_of_wiring(graph: Graph) -> list[str]:
    """Return what is wrong with names, delays, loops and loose ends."""
    found = _edges_that_lead_nowhere(graph)
    if not 0 < graph.dt < np.inf:
        found.append(f"dt must be > 0 s and finite, got {graph.dt}; 1e-3 is usual")
    if not any(kind(n) == "Input" for n in graph.nodes.values()):
        found.append("no Input: add one, Input(shape=...)")
    if found:
        return found
    loose = [p for name in graph.nodes for p in _loose_ends(graph, name)]
    return (loose or _out_of_reach(graph)) + _loops_that_cannot_run(graph)


def _edges_that_lead_nowhere(graph: Graph) -> list[str]:
    found = [
        f"node {name!r}: a name is not empty and holds no '.' or '/'; rename it"
        for name in graph.nodes
        if not name or "." in name or "/" in name
    ]
    for e in graph.edges:
        if graph.edges.count(e) > 1:
            found.append(
                f"edge {e.source} -> {e.target} of delay {e.delay} is there "
                f"{graph.edges.count(e)} times; keep one and multiply the weights"
            )
        for name in (e.source, e.target):
            if name not in graph.nodes:
                known = ", ".join(graph.nodes)
                found.append(f"edge {e.source} -> {e.target}: no node {name!r}; have {known}")
        if not isinstance(e.delay, (int, np.integer)) or e.delay < 0:
            found.append(
                f"edge {e.source} -> {e.target}: delay {e.delay!r} is not a whole number of "
                "ticks >= 0; convert seconds with neuro.units.ticks"
            )
    return list(dict.fromkeys(found))


def _loose_ends(graph: Graph, name: str) -> list[str]:
    node, ins, outs = graph.nodes[name], graph.into(name), graph.out_of(name)
    found = []
    if kind(node) == "Input" and ins:
        found.append(f"{name}: an Input takes no edge; remove {ins[0].source} -> {name}")
    if kind(node) != "Input" and not any(e.source != name for e in ins):
        found.append(f"{name}: no edge feeds this {kind(node)}; connect or remove it")
    if isinstance(node, LI) and outs:
        found.append(f"{name}: an LI is a read-out; use LIF or ALIF before {outs[0].target}")
    if not is_population(node) and not outs:
        found.append(f"{name}: nothing follows this {kind(node)}; end with a LI or LIF")
    return found


def _out_of_reach(graph: Graph) -> list[str]:
    reached = set(graph.inputs)
    for _ in graph.nodes:
        reached |= {e.target for e in graph.edges if e.source in reached}
    lost = [name for name in graph.nodes if name not in reached]
    return [f"{', '.join(lost)}: no Input reaches them; connect or remove them"] if lost else []


def _loops_that_cannot_run(graph: Graph) -> list[str]:
    found = []
    cycle = _cycle(graph, [e for e in graph.edges if e.delay == 0])
    if cycle:
        found.append(
            f"zero-delay loop {' -> '.join(cycle)}; give one of its edges a delay of >= 1 tick"
        )
    passive = {n for n, node in graph.nodes.items() if not is_population(node)}
    cycle = _cycle(graph, [e for e in graph.edges if {e.source, e.target} <= passive])
    if cycle:
        found.append(
            f"loop {' -> '.join(cycle)} holds no population; put a LIF or ALIF into it"
        )
    return found


def _cycle(graph: Graph, edges: list[Any]) -> list[str]:
    sorter = graphlib.TopologicalSorter({n: [] for n in graph.nodes})
    for e in edges:
        sorter.add(e.target, e.source)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def problems_of_values(graph: Graph) -> list[str]:
    """Return the parameters that are not finite numbers."""
    found = []
    for name, node in graph.nodes.items():
        for field in ("weight", "bias", "threshold", "leak", "beta", "rho"):
            value = getattr(node, field, None)
            if value is None:
                continue
            bad = ~np.isfinite(as_array(value))
            if bad.any():
                where = (
                    f" (first at {tuple(map(int, np.argwhere(bad)[0]))})" if bad.ndim else ""
                )
                found.append(
                    f"{name}.{field}: {int(bad.sum())} of {bad.size} values are NaN or infinite"
                    f"{where}; train with a lower learning rate or clip the gradient"
                )
    return found


def feed_forward_order(graph: Graph) -> tuple[str, ...]:
    """Return the nodes, sources first along zero-delay edges, else in the order given."""
    waiting = {n: {e.source for e in graph.into(n) if e.delay == 0} for n in graph.nodes}
    order: list[str] = []
    while waiting:
        ready = next(n for n, needs in waiting.items() if not needs)
        order.append(ready)
        del waiting[ready]
        for needs in waiting.values():
            needs.discard(ready)
    return tuple(order)


def loops(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """Return the strongly connected components, sources first, each in feed-forward order."""
    reach = {n: {n} for n in graph.nodes}
    for _ in graph.nodes:
        for e in graph.edges:
            reach[e.source] |= reach[e.target]
    groups = {
        n: tuple(m for m in graph.order if m in reach[n] and n in reach[m]) for n in graph.nodes
    }
    sorter = graphlib.TopologicalSorter({groups[n]: set() for n in graph.order})
    for e in graph.edges:
        if groups[e.source] != groups[e.target]:
            sorter.add(groups[e.target], groups[e.source])
    return tuple(sorter.static_order())


def infer_shapes(graph: Graph) -> dict[str, Shape]:
    """Return the shape of every node, or raise one GraphError with every mismatch."""
    shapes: dict[str, Shape] = {}
    problems: list[str] = []
    pending = list(graph.order)
    while pending:
        name = next((n for n in pending if any(e.source in shapes for e in graph.into(n))), "")
        name = next((n for n in pending if kind(graph.nodes[n]) == "Input"), name)
        if not name:
            break
        pending.remove(name)
        if kind(graph.nodes[name]) == "Input":
            shapes[name] = tuple(graph.nodes[name].shape)  # type: ignore[union-attr]
            if min(shapes[name], default=1) < 1:
                problems.append(f"{name}: Input.shape must be >= 1, got {shapes[name]}")
            continue
        known = next(e.source for e in graph.into(name) if e.source in shapes)
        out = output_shape(graph.nodes[name], shapes[known])
        if isinstance(out, str):
            problems.append(f"{name}: {out} (input from {known})")
        else:
            shapes[name] = out
    if problems:
        raise GraphError(problems)
    for e in graph.edges:
        out = output_shape(graph.nodes[e.target], shapes[e.source])
        if out != shapes[e.target]:
            problems.append(
                f"edge {e.source} -> {e.target}: brings shape {shapes[e.source]}, which does "
                f"not add to the other inputs of {e.target} (it puts out {shapes[e.target]}); "
                "insert a Dense, Conv2d or Flatten that makes the shapes equal"
            )
    if problems:
        raise GraphError(problems)
    return shapes


def output_shape(node: Node, given: Shape) -> Shape | str:
    """Return the output shape of a node for an input shape, or what is wrong with it."""
    if is_population(node):
        return _population_shape(node, given)
    if kind(node) == "Flatten":
        return (int(np.prod(given)),)
    infer = {"Dense": _dense_shape, "Conv2d": _conv_shape, "AvgPool2d": _pool_shape}
    return infer[kind(node)](node, given)


def _dense_shape(node: Node, given: Shape) -> Shape | str:
    weight, bias = node.weight, node.bias  # type: ignore[union-attr]
    if weight.ndim != 2:
        return f"Dense.weight must be (out, in), got shape {weight.shape}"
    if given != (weight.shape[1],):
        cure = "put a Flatten before it" if len(given) > 1 else "change its weight"
        return f"Dense takes {(weight.shape[1],)}, got {given}; {cure}"
    if bias is not None and bias.shape != weight.shape[:1]:
        return f"Dense.bias must be {weight.shape[:1]}, got {bias.shape}"
    return (int(weight.shape[0]),)


def _conv_shape(node: Node, given: Shape) -> Shape | str:
    weight, bias = node.weight, node.bias  # type: ignore[union-attr]
    if weight.ndim != 4:
        return f"Conv2d.weight must be (C_out, C_in, kH, kW), got shape {weight.shape}"
    if len(given) != 3 or given[0] != weight.shape[1]:
        return (
            f"Conv2d takes ({weight.shape[1]}, H, W), got {given}; change its weight or input"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        return f"Conv2d.bias must be {weight.shape[:1]}, got {bias.shape}"
    size = _windows(given, weight.shape[2:], node.stride, node.padding)  # type: ignore[union-attr]
    return (int(weight.shape[0]), *size) if isinstance(size, tuple) else size


def _pool_shape(node: Node, given: Shape) -> Shape | str:
    if len(given) != 3:
        return f"AvgPool2d takes (C, H, W), got {given}"
    size = _windows(given, node.kernel, node.stride, (0, 0))  # type: ignore[union-attr]
    return (given[0], *size) if isinstance(size, tuple) else size


def _windows(given: Shape, kernel: Shape, stride: Shape, padding: Shape) -> Shape | str:
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        return (
            f"kernel {tuple(kernel)} and stride {tuple(stride)} must be >= 1, padding "
            f"{tuple(padding)} >= 0"
        )
    size = tuple(
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(given[1:], kernel, stride, padding, strict=True)
    )
    if min(size) < 1:
        return f"kernel {tuple(kernel)} does not fit into {given}; use a smaller one or pad"
    return size


def _population_shape(node: Node, given: Shape) -> Shape | str:
    for field in ("tau", "tau_syn", "leak", "threshold", "beta", "rho"):
        value = getattr(node, field, None)
        if value is None:
            continue
        try:
            fits = np.broadcast_shapes(np.shape(value), given) == given
        except ValueError:
            fits = False
        if not fits:
            return (
                f"{kind(node)}.{field} of shape {np.shape(value)} does not broadcast to "
                f"{given}; use one number, or one a channel as (C, 1, 1)"
            )
    return given

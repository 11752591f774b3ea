"""The shape of every node of a Graph, inferred from its inputs."""

import math
from collections.abc import Sequence
from dataclasses import fields
from heapq import heappop, heappush

import numpy as np

from neuro.graph.connections import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    Sparse,
    Unflatten,
    Upsample,
)
from neuro.graph.host_ops import Host, half
from neuro.graph.nodes import Input, Node, Topology
from neuro.graph.validate import GraphError, kind
from neuro.neurons import GatedLI

Shape = tuple[int, ...]


def infer_shapes(graph: Topology, order: Sequence[str]) -> dict[str, Shape]:
    """Return the shape of every node, or raise one GraphError with every mismatch.

    order: all names; of several nodes whose shape can be told, the first is told first.
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
        if isinstance(graph.nodes[name], Input) and min(out, default=1) < 1:
            problems.append(f"{name}: Input.shape must be >= 1, got {out}")
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
        """Return the next node, None where no other can be told.

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


def output_shape(node: Node, given: Shape) -> Shape | str:
    """Return the output shape of a node for an input shape, or what is wrong with it."""
    if isinstance(node, Host):
        return node.output_shape(given)
    match node:
        case Dense():
            return _dense_shape(node, given)
        case Sparse():
            return _sparse_shape(node, given)
        case Conv1d():
            return _conv1d_shape(node, given)
        case Conv2d():
            return _conv_shape(node, given)
        case ConvTranspose2d():
            return _transposed_shape(node, given)
        case AvgPool2d():
            return _pool_shape(node, given)
        case Upsample():
            return _upsampled_shape(node, given)
        case Flatten() | Unflatten():
            return _reshaped(node, given)
    return _population_shape(node, given)


def _dense_shape(node: Dense, given: Shape) -> Shape | str:
    weight, bias = node.weight, node.bias
    if weight.ndim != 2:
        return f"Dense.weight must be (out, in), got shape {weight.shape}"
    if given != (weight.shape[1],):
        cure = "put a Flatten before it" if len(given) > 1 else "change its weight"
        return f"Dense takes {(weight.shape[1],)}, got {given}; {cure}"
    if bias is not None and bias.shape != weight.shape[:1]:
        return f"Dense.bias must be {weight.shape[:1]}, got {bias.shape}"
    return (int(weight.shape[0]),)


def _sparse_shape(node: Sparse, given: Shape) -> Shape | str:
    inputs, shape = node.at.size - 1, node.shape
    bias = node.bias
    if len(shape) != 1 or shape[0] < 1:
        return f"Sparse.shape must be (out,), got {shape}"
    if given != (inputs,):
        cure = "put a Flatten before it" if len(given) > 1 else "change the length of Sparse.at"
        return f"Sparse takes {(inputs,)}, got {given}; {cure}"
    if bias is not None and bias.shape != shape:
        return f"Sparse.bias must be {shape}, got {bias.shape}"
    return shape


def _misfit(
    node: Conv1d | Conv2d | ConvTranspose2d, given: Shape, axes: str, into: int = 1
) -> str:
    """Return what is wrong with a kernel of these axes, of which ``into`` counts C_in."""
    weight, bias = node.weight, node.bias
    names = axes.split()
    if weight.ndim != len(names):
        return f"{kind(node)}.weight must be ({', '.join(names)}), got shape {weight.shape}"
    inputs, outputs = weight.shape[into], weight.shape[1 - into]
    if len(given) != len(names) - 1 or given[0] != inputs:
        image = "H, W" if len(names) == 4 else "L"
        return (
            f"{kind(node)} takes ({inputs}, {image}), got {given}; change its weight or input"
        )
    if bias is not None and bias.shape != (outputs,):
        return f"{kind(node)}.bias must be {(outputs,)}, got {bias.shape}"
    return ""


def _conv_shape(node: Conv2d, given: Shape) -> Shape | str:
    wrong = _misfit(node, given, "C_out C_in kH kW")
    if wrong:
        return wrong
    weight = node.weight
    size = _windows(given, weight.shape[2:], node.stride, node.padding)
    return (int(weight.shape[0]), *size) if isinstance(size, tuple) else size


def _conv1d_shape(node: Conv1d, given: Shape) -> Shape | str:
    wrong = _misfit(node, given, "C_out C_in k")
    if wrong:
        return wrong
    weight = node.weight
    size = _windows(given, weight.shape[2:], (node.stride,), (node.padding,))
    return (int(weight.shape[0]), *size) if isinstance(size, tuple) else size


def _transposed_shape(node: ConvTranspose2d, given: Shape) -> Shape | str:
    wrong = _misfit(node, given, "C_in C_out kH kW", into=0)
    if wrong:
        return wrong
    kernel = node.weight.shape[2:]
    stride, padding, far = node.stride, node.padding, node.output_padding
    if min(*kernel, *stride) < 1 or min(*padding, *far) < 0:
        return (
            f"kernel {kernel} and stride {stride} must be >= 1, padding {padding} and "
            f"output_padding {far} >= 0"
        )
    if any(f >= s for f, s in zip(far, stride, strict=True)):
        return f"output_padding {far} must be below stride {stride}"
    size = tuple(
        (n - 1) * s - 2 * p + k + f
        for n, k, s, p, f in zip(given[1:], kernel, stride, padding, far, strict=True)
    )
    if min(size) < 1:
        return f"padding {padding} takes away all that a kernel {kernel} paints; use less"
    return (int(node.weight.shape[1]), *size)


def _upsampled_shape(node: Upsample, given: Shape) -> Shape | str:
    scale = node.scale
    if len(given) != 3:
        return f"Upsample takes (C, H, W), got {given}"
    if min(scale) < 1:
        return f"Upsample.scale must be >= 1, got {scale}"
    return (given[0], given[1] * scale[0], given[2] * scale[1])


def _reshaped(node: Flatten | Unflatten, given: Shape) -> Shape | str:
    if isinstance(node, Flatten):
        return (math.prod(given),)
    n = math.prod(node.shape)
    if min(node.shape, default=0) < 1 or given != (n,):
        cure = "put a Flatten before it" if len(given) > 1 else "change its shape"
        return f"Unflatten.shape {node.shape} holds ({n},), got {given}; {cure}"
    return node.shape


def _pool_shape(node: AvgPool2d, given: Shape) -> Shape | str:
    if len(given) != 3:
        return f"AvgPool2d takes (C, H, W), got {given}"
    size = _windows(given, node.kernel, node.stride, (0, 0))
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
    if isinstance(node, GatedLI):
        own = half("GatedLI", given)
        if isinstance(own, str):
            return own
        given = own
    for field in (f.name for f in fields(node)):
        value = getattr(node, field)
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

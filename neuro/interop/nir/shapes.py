"""The order in which the nodes of a NIR network compute, and the shapes of their inputs.

A loop needs a delay of one tick: on a depth-first walk from the inputs, every edge that closes
a loop acts one tick late. The delay then moves upstream from that edge, past linear nodes with
no other target, to the neurons. A bias on that path then acts in every tick.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import numpy as np

from neuro.interop.nir.file import NirError
from neuro.interop.nir.nodes import (
    NEURONS,
    POINTWISE,
    NirNetwork,
    NirNode,
    describe,
    walk_back_edges,
)

Shape = tuple[int, ...]

MOST_VALUES = 2**28  # of the input, the output, or a kernel with its gaps
CORRECT = "correct it, or read with ignore_declared_shapes=True"


@dataclass(frozen=True, kw_only=True, eq=False)
class NirPlan:
    """The plan by which a network computes a tick.

    late: edges that act one tick late.
    order: all nodes, each after its sources on the other edges.
    inputs: shape of each node's input.
    outputs: shape of each node's output.
    """

    network: NirNetwork
    late: frozenset[tuple[str, str]]
    order: tuple[str, ...]
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]

    def sources(self, name: str) -> list[tuple[str, int]]:
        """Return the sources of a node with their delays [ticks]; Delay nodes add none."""
        return [(a, int((a, name) in self.late)) for a in self.network.into(name)]


def plan(network: NirNetwork, *, declared: bool, what: str) -> NirPlan:
    """Return the plan by which a network computes.

    Args:
        network: the checked network.
        declared: whether to check the shapes that Outputs, convolutions and Flattens state.
        what: the start of an error message.

    Raises:
        NirError: shapes do not match; lists every problem.
    """
    late = find_late_edges(network)
    sorter: TopologicalSorter[str] = TopologicalSorter({name: [] for name in network.nodes})
    for a, b in network.edges:
        closes = _breaks_loops(network.nodes[a]) and _reaches(network, b, a)
        if (a, b) not in late and not closes:
            sorter.add(b, a)
    order = tuple(sorter.static_order())
    inputs: dict[str, Shape] = {}
    outputs: dict[str, Shape] = {}
    problems: list[str] = []
    # A neuron knows its shape: a loop through a neuron can be checked in this order.
    for name in order:
        node = network.nodes[name]
        known = [outputs[a] for a in network.into(name) if a in outputs]
        taken = known[0] if known else find_own_shape(node)
        if taken is None:
            continue
        out = _bound(taken, find_output_shape(node, taken, declared=declared))
        if isinstance(out, str):
            problems.append(f"{describe(name, node)}: {out}")
            continue
        inputs[name], outputs[name] = taken, out
    for a, b in network.edges:
        if a in outputs and b in inputs and outputs[a] != inputs[b]:
            problems.append(
                f"edge {a} -> {b}: brings shape {outputs[a]}, {b} takes {inputs[b]}; shapes "
                "that add up are equal"
            )
    if problems:
        raise NirError(problems, what)
    lost = [name for name in order if name not in outputs]
    if lost:
        raise NirError([f"{', '.join(lost)}: no Input reaches them; connect or remove"], what)
    return NirPlan(network=network, late=late, order=order, inputs=inputs, outputs=outputs)


def _bound(taken: Shape, out: Shape | str) -> Shape | str:
    """Return the shape of a node's output, or what is wrong with the shape or its size."""
    if isinstance(out, str) or max(math.prod(taken), math.prod(out)) <= MOST_VALUES:
        return out
    return f"takes {taken}, puts out {out}: more than {MOST_VALUES} values; correct them"


def _reaches(network: NirNetwork, start: str, end: str) -> bool:
    """Return whether a path along the edges leads from ``start`` to ``end``."""
    seen, waiting = {start}, [start]
    while waiting:
        new = {*network.out_of(waiting.pop())} - seen
        seen |= new
        waiting += new
    return end in seen


def _breaks_loops(node: NirNode) -> bool:
    """Return whether a node delays all its input."""
    return node.kind == "Delay" and bool((node.values["delay"] > 0).all())


def find_late_edges(network: NirNetwork) -> frozenset[tuple[str, str]]:
    """Return the edges that act one tick late; every loop then has a delay."""
    instant = tuple(e for e in network.edges if not _breaks_loops(network.nodes[e[0]]))
    tops = sorted(n for n in network.nodes if network.nodes[n].kind == "Input")
    late = set(walk_back_edges(instant, [*tops, *sorted(network.nodes)], lambda _: True))
    while True:
        moved = {
            (a, b)
            for a, b in late
            if network.nodes[a].kind not in (*NEURONS, "Input") and len(network.out_of(a)) == 1
        }
        if not moved:
            return frozenset(late)
        late = late - moved | {(a, b) for b, _ in moved for a in network.into(b)}


def find_own_shape(node: NirNode) -> Shape | None:
    """Return the input shape that a node states; None if it accepts any shape."""
    if node.kind in ("Input", "Output"):
        return tuple(map(int, np.ravel(node.values["shape"])))
    if node.kind in POINTWISE:
        shapes = {v.shape for v in node.values.values() if np.size(v) > 1}
        return next(iter(shapes)) if len(shapes) == 1 else None
    if node.kind in ("Affine", "Linear") and np.ndim(node.values["weight"]) >= 2:
        weight = node.values["weight"]
        return (*weight.shape[:-2], weight.shape[-1])
    return None


def find_output_shape(node: NirNode, taken: Shape, *, declared: bool) -> Shape | str:
    """Return the shape of a node's output for an input shape, or what is wrong."""
    kind, values = node.kind, node.values
    if kind in POINTWISE:
        shapes = {v.shape for v in values.values() if np.size(v) > 1}
        if len(shapes) > 1:
            return f"its parameters have shapes {_join(shapes)}; they must be equal"
        own = next(iter(shapes), taken)
        if own != taken:
            return f"has parameters of shape {own} and takes {taken}; reshape one of them"
        return taken
    if kind in ("Input", "Output"):
        own = find_own_shape(node)
        if min(taken, default=1) < 1:
            return f"shape {taken} must be >= 1"
        if own != taken and declared:
            return f"states shape {own} and takes {taken}; {CORRECT}"
        return taken
    if kind in ("Affine", "Linear"):
        return _find_linear_shape(values, taken)
    if kind == "Flatten":
        return _find_flat_shape(values, taken, declared=declared)
    if kind in ("Conv1d", "Conv2d"):
        return _find_convolved_shape(node, taken, declared=declared)
    return _find_pooled_shape(values, taken)


def _join(shapes: set[Shape]) -> str:
    return " and ".join(map(str, sorted(shapes)))


def _find_linear_shape(values: Mapping[str, Any], taken: Shape) -> Shape | str:
    weight, bias = values["weight"], values.get("bias")
    if weight.ndim < 2:
        return f"weight must be (..., out, in), got shape {weight.shape}"
    if taken != (*weight.shape[:-2], weight.shape[-1]):
        return f"weight {weight.shape} is (..., out, in) and it takes {taken}; reshape one"
    out = (*weight.shape[:-2], weight.shape[-2])
    if bias is not None and bias.shape != out:
        return f"bias must be {out}, got {bias.shape}"
    return tuple(map(int, out))


def _find_flat_shape(values: Mapping[str, Any], taken: Shape, *, declared: bool) -> Shape | str:
    own = values["input_type"]
    if declared and own is not None and tuple(np.ravel(own)) != taken:
        return (
            f"states input_type {tuple(map(int, np.ravel(own)))} and takes {taken}; {CORRECT}"
        )
    first, last = (int(values[k]) for k in ("start_dim", "end_dim"))
    axes = len(taken)
    first, last = (k + axes if k < 0 else k for k in (first, last))
    if not 0 <= first <= last < axes:
        return (
            f"start_dim {values['start_dim']} to end_dim {values['end_dim']} are no axes of "
            f"{taken}; NIR counts them without the batch"
        )
    return (*taken[:first], math.prod(taken[first : last + 1]), *taken[last + 1 :])


def get_steps(node: NirNode, axes: int) -> dict[str, tuple[Any, ...]]:
    """Return kernel, stride, dilation and padding (before, after) by axis of the image."""
    values = node.values

    def by_axis(name: str) -> tuple[int, ...]:
        given = tuple(map(int, np.ravel(values[name])))
        return given * axes if len(given) == 1 else given

    if "weight" in values:
        kernel, dilation = tuple(values["weight"].shape[2:]), by_axis("dilation")
    else:
        kernel, dilation = by_axis("kernel_size"), (1,) * axes
    stride = by_axis("stride")
    padding: tuple[tuple[int, int], ...]
    if isinstance(values["padding"], str):
        spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=False)]
        same = values["padding"] == "same"
        padding = tuple((n // 2, n - n // 2) if same else (0, 0) for n in spans)
    else:
        padding = tuple((n, n) for n in by_axis("padding"))
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def _find_windows(node: NirNode, taken: Shape, axes: int) -> Shape | str:
    """Return the number of windows along each axis of an image, or what is wrong."""
    steps = get_steps(node, axes)
    wrong = [k for k, v in steps.items() if len(v) != axes]
    if wrong:
        return f"{wrong[0]} must be one number or {axes}, got {len(steps[wrong[0]])}"
    kernel, dilation = steps["kernel"], steps["dilation"]
    least = min(*kernel, *steps["stride"], *dilation)
    if least < 1 or min(map(min, steps["padding"])) < 0:
        return "kernel, stride and dilation must be >= 1, padding >= 0"
    if math.prod(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)) > MOST_VALUES:
        spans = f"spans more than {MOST_VALUES} values; shrink it"
        return f"kernel {kernel} of dilation {dilation} {spans}"
    same = isinstance(node.values["padding"], str) and node.values["padding"] == "same"
    if same and max(steps["stride"]) > 1:
        return "padding 'same' needs stride 1; give numbers"
    windows = []
    for size, k, s, d, (before, after) in zip(
        taken[1:], *(steps[n] for n in ("kernel", "stride", "dilation", "padding")), strict=True
    ):
        windows.append((size + before + after - d * (k - 1) - 1) // s + 1)
    if min(windows) < 1:
        return f"kernel {steps['kernel']} does not fit into {taken}; pad, or take a smaller one"
    return tuple(windows)


def _find_convolved_shape(node: NirNode, taken: Shape, *, declared: bool) -> Shape | str:
    values, axes = node.values, 1 if node.kind == "Conv1d" else 2
    weight, bias, own = values["weight"], values["bias"], values["input_shape"]
    if weight.ndim != axes + 2:
        return f"weight must have {axes + 2} axes, got shape {weight.shape}"
    groups = int(np.ravel(values["groups"])[0]) if np.size(values["groups"]) == 1 else 0
    if groups < 1 or weight.shape[0] % groups:
        return f"groups {values['groups']} must be one number that divides {weight.shape[0]}"
    if len(taken) != axes + 1 or taken[0] != weight.shape[1] * groups:
        image = "L" if axes == 1 else "H, W"
        return f"takes ({weight.shape[1] * groups}, {image}), got {taken}; reshape one"
    if bias is not None and bias.shape != weight.shape[:1]:
        return f"bias must be {weight.shape[:1]}, got {bias.shape}"
    if declared and own is not None:
        given = tuple(map(int, np.ravel(own)))
        if (given * axes if len(given) == 1 else given) != taken[1:]:
            return f"states input_shape {given} and takes {taken}; {CORRECT}"
    windows = _find_windows(node, taken, axes)
    return windows if isinstance(windows, str) else (int(weight.shape[0]), *windows)


def _find_pooled_shape(values: Mapping[str, Any], taken: Shape) -> Shape | str:
    if len(taken) != 3:
        return f"takes (C, H, W), got {taken}"
    windows = _find_windows(NirNode(kind="SumPool2d", values=values), taken, 2)
    return windows if isinstance(windows, str) else (taken[0], *windows)

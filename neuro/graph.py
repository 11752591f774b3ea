"""A spiking network as a value: frozen nodes, edges with delays in ticks, one dt.

Edges into one node add up (a residual connection is two edges). Shapes are inferred from the
inputs. What does not fit is refused with a cure, all problems at once.
Axes: C channels, H height, W width; images are ``C H W``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from neuro.graph_checks import (
    GraphError,
    feed_forward_order,
    infer_shapes,
    loops,
    problems_of_values,
    problems_of_wiring,
)
from neuro.neurons import ALIF, LI, LIF
from neuro.units import Seconds, Ticks

__all__ = [
    "AvgPool2d",
    "Connection",
    "Conv2d",
    "Dense",
    "Edge",
    "Flatten",
    "Graph",
    "GraphError",
    "Input",
    "Node",
    "Population",
]


def _read_only(array: np.ndarray) -> np.ndarray:
    out = np.array(array, np.float32)
    out.setflags(write=False)
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """A source of spikes. shape: of one tick of one sample, e.g. (1, 28, 28)."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """All-to-all: y = weight x + bias. weight: (out, in). bias: (out,), added every tick."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _read_only(self.weight))
        if self.bias is not None:
            object.__setattr__(self, "bias", _read_only(self.bias))


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d:
    """Cross-correlation, as torch's. weight: (C_out, C_in, kH, kW). bias: (C_out,)."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _read_only(self.weight))
        if self.bias is not None:
            object.__setattr__(self, "bias", _read_only(self.bias))


@dataclass(frozen=True, kw_only=True, eq=False)
class AvgPool2d:
    """Mean over windows; what does not fill a window is left out. kernel, stride: (H, W)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten:
    """C order: (C, H, W) to (C H W,)."""


Connection = Dense | Conv2d | AvgPool2d | Flatten
Population = LIF | ALIF | LI
Node = Input | Connection | Population


class Edge(NamedTuple):
    """What ``source`` emits at tick t reaches ``target`` at tick t + delay."""

    source: str
    target: str
    delay: Ticks = Ticks(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network.

    nodes: by name. Populations come from :mod:`neuro.neurons`.
    edges: zero-delay edges must not close a loop; a loop needs >= 1 tick and a population.
    dt: length of a tick [s].
    shapes: of one tick of one sample, by node (derived).
    order: node names, sources first along zero-delay edges (derived).
    components: the same names in groups, in an order in which each group needs only earlier
        ones; a group of more than one node, or one with an edge to itself, is a loop (derived).

    Raises:
        GraphError: lists every problem found, each with its cure.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    dt: Seconds
    shapes: Mapping[str, tuple[int, ...]] = field(init=False)
    order: tuple[str, ...] = field(init=False)
    components: tuple[tuple[str, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", dict(self.nodes))
        object.__setattr__(self, "edges", tuple(self.edges))
        problems = problems_of_wiring(self) + problems_of_values(self)
        if problems:
            raise GraphError(problems)
        plain = (Edge(e.source, e.target, Ticks(int(e.delay))) for e in self.edges)
        object.__setattr__(self, "edges", tuple(plain))
        object.__setattr__(self, "order", feed_forward_order(self))
        object.__setattr__(self, "shapes", infer_shapes(self))
        object.__setattr__(self, "components", loops(self))

    def into(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that end at ``name``, in their order."""
        return tuple(e for e in self.edges if e.target == name)

    def out_of(self, name: str) -> tuple[Edge, ...]:
        """Return the edges that start at ``name``, in their order."""
        return tuple(e for e in self.edges if e.source == name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the Input nodes."""
        return tuple(n for n, node in self.nodes.items() if isinstance(node, Input))

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations, read-outs included, sources first."""
        return tuple(n for n in self.order if isinstance(self.nodes[n], Population))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the populations that feed nothing outside their own loop."""
        loop = {n: group for group in self.components for n in group}
        return tuple(
            n
            for n in self.populations
            if not any(e.source in loop[n] and e.target not in loop[n] for e in self.edges)
        )

    def size(self, name: str) -> int:
        """Return the number of neurons, or of values a tick, of a node."""
        return int(np.prod(self.shapes[name], dtype=np.int64))

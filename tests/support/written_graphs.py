"""Graphs from a line of text, for tests."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from neuro.base.units import Seconds, Ticks
from neuro.graph import Dense, Edge, Graph, GraphError, Input, Node
from neuro.neurons import LIF

DT = Seconds(1e-3)


def lif() -> LIF:
    return LIF(tau=math.inf)


def dense(out: int, into: int) -> Dense:
    return Dense(weight=np.ones((out, into)))


def read_edges(text: str, draw: Callable[[int], Ticks] = Ticks) -> tuple[Edge, ...]:
    """Read "a>b b>c:2": an edge from a to b, and one from b to c of two ticks.

    A delay of 1? is drawn, from 1 tick on; one of ? from 0 on.
    """
    found = []
    for word in text.split():
        ends, _, delay = word.partition(":")
        source, target = ends.split(">")
        late = draw if delay.endswith("?") else Ticks
        found.append(Edge(source, target, late(int(delay.rstrip("?") or 0))))
    return tuple(found)


def wire(text: str, nodes: dict[str, Node], dt: float = DT) -> Graph:
    return Graph(nodes=nodes, edges=read_edges(text), dt=Seconds(dt))


def chain(dt: float = DT, **nodes: Node) -> Graph:
    """Return a graph of nodes each of which feeds the next."""
    return wire(" ".join(f"{a}>{b}" for a, b in pairwise(nodes)), nodes, dt)


def problems(text: str, nodes: dict[str, Node], dt: float = DT) -> list[str]:
    with pytest.raises(GraphError) as error:
        wire(text, nodes, dt)
    assert str(error.value).splitlines()[0] == "the graph does not hold together:"
    assert str(error.value).splitlines()[1:] == error.value.problems
    return error.value.problems


def populations(names: str, size: int = 2, **more: Node) -> dict[str, Node]:
    return {"x": Input(shape=(size,)), **{name: lif() for name in names}, **more}

"""Networks for tests of imports, as users write them: tests copy this file."""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from neuro import LI, Spiking, Stack
from neuro.base.units import Seconds
from neuro.graph import Dense, Edge, Graph, Input
from neuro.interop.imported import ImportedNetwork, MappedNode, run_clock
from neuro.neurons import DiscreteLIF

Reset = Literal["soft", "hard"]


def graph(reset: Reset = "hard", threshold: float = 0.5) -> Graph:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(6,)),
        "fc1": Dense(weight=rng.normal(0.2, 0.5, (8, 6))),
        "hidden": DiscreteLIF(decay=0.75, threshold=threshold, reset=reset),
        "fc2": Dense(weight=rng.normal(0.2, 0.5, (3, 8))),
        "out": DiscreteLIF(decay=0.875, threshold=threshold, reset=reset),
    }
    edges = tuple(Edge(a, b) for a, b in pairwise(nodes))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


def network(own: Graph, other: Graph) -> ImportedNetwork:
    return ImportedNetwork(
        graph=own,
        library="some library 1.2",
        mapping=(
            MappedNode(
                node="hidden", source="Neuron(beta=0.75)", became="DiscreteLIF(decay=0.75)"
            ),
        ),
        choices={"reset": "hard, of the next tick"},
        run_source=lambda inputs: run_clock(other, inputs),
    )


def make() -> ImportedNetwork:
    return network(graph(), graph())


def soft() -> ImportedNetwork:
    return network(graph("soft"), graph("soft"))


def wrong() -> ImportedNetwork:
    return network(graph(), graph(threshold=0.51))


def silent() -> ImportedNetwork:
    return network(graph(threshold=1e6), graph(threshold=1e6))


def dull() -> ImportedNetwork:
    """Return one that fires only at values well above 1."""
    return network(graph(threshold=10.0), graph(threshold=10.0))


def shown() -> ImportedNetwork:
    """Return one that shows an image in 7 ticks."""
    return replace(make(), ticks=7, static=True)


def placed() -> ImportedNetwork:
    """Return one that names a line of this file."""
    line = f"linear at {Path(__file__).resolve()}:7"
    return replace(make(), mapping=(MappedNode(node="fc1", source=line, became="Dense"),))


def two_inputs() -> Graph:
    nodes = {
        "left": Input(shape=(2, 3)),
        "right": Input(shape=(2, 3)),
        "spikes": DiscreteLIF(decay=0.5, threshold=0.5),
    }
    edges = (Edge("left", "spikes"), Edge("right", "spikes"))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


def two_outputs() -> Graph:
    nodes = {
        "x": Input(shape=(2,)),
        "one": DiscreteLIF(decay=0.5, threshold=0.5),
        "other": DiscreteLIF(decay=0.5, threshold=0.5),
    }
    return Graph(nodes=nodes, edges=(Edge("x", "one"), Edge("x", "other")), dt=Seconds(1e-3))


def stack() -> Stack:
    return Stack(
        fc=nn.Linear(6, 4, bias=False),
        spikes=Spiking(DiscreteLIF(decay=0.5, threshold=0.25)),
        last=nn.Linear(4, 2, bias=False),
        out=Spiking(LI(tau=0.02)),
    )


def needs(size: int) -> nn.Module:
    return nn.Linear(size, 3)


def returns_text() -> str:
    return "a network"


def breaks() -> None:
    raise KeyError("weights")


def ends() -> None:
    sys.exit(0)


def no_neuron() -> nn.Module:
    return nn.Linear(6, 3)


def empty() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(3))


GRAPH = graph()


def write_networks(folder: Path) -> Path:
    """Copy the functions above into a file of a user; return it."""
    path = folder / "nets.py"
    path.write_bytes(Path(__file__).read_bytes())
    return path


def draw_stimulus(ticks: int = 12, samples: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes T B 6 and labels B."""
    rng = np.random.default_rng(1)
    return rng.random((ticks, samples, 6)) < 0.4, rng.integers(0, 3, samples)

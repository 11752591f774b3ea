"""Random networks of every kind of node, for laws that must hold on all of them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from written_graphs import DT, read_edges

from neuro.base.units import Seconds, Ticks
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Node,
    Sparse,
)
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF
from neuro.spikes import Events, to_events


def random_graph(
    seed: int, *, dyadic: bool = True, for_chip: bool = False, for_lava: bool = False
) -> Graph:
    """Return a small image network: convolutions, pools, a residual, loops, read-out.

    It ends in listed synapses with delays of their own, currents and a refractory population.

    dyadic: weights are multiples of 2^-8, so that their float32 sums are exact.
    for_chip: leaves out what no mapping to a chip knows, which is that end.
    for_lava: leaves out a delay after a bias, and a bias before a current, too.
    """
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        scale = 1.6 / math.sqrt(np.prod(shape[1:]))
        w = rng.normal(0.1, scale, shape) * (rng.random(shape) < 0.9)
        return np.round(w * 256) / 256 if dyadic else w

    def bias(n: int) -> np.ndarray | None:
        return weight(n, 1)[:, 0] / 4 if rng.random() < 0.4 else None

    def neuron(channels: int | None = None) -> Node:
        shape = (channels, 1, 1) if channels and rng.random() < 0.5 else ()
        reset: Literal["soft", "hard"] = "soft" if rng.random() < 0.5 else "hard"
        if rng.random() < 0.5:
            leak = rng.uniform(0.2, 1, shape).astype(np.float32)
            return ALIF(
                leak=leak if shape else float(leak),
                threshold=0.25,
                beta=float(rng.choice([0.0, 0.125])),
                rho=float(rng.choice([0.5, 0.95])),
                reset=reset,
            )
        if rng.random() < 0.4:
            return _tick_neuron(rng, reset)
        tau = float(rng.choice([math.inf, 0.02, 0.004]))
        tau_syn = float(rng.choice([0.003, 0.01])) if rng.random() < 0.4 else None
        return LIF(tau=tau, threshold=0.5, reset=reset, tau_syn=tau_syn)

    def delay(least: int = 0) -> Ticks:
        return Ticks(int(rng.choice([least, least, least + 1, least + 2])))

    size = int(rng.integers(6, 9))
    kernel, stride, padding = int(rng.integers(2, 4)), int(rng.integers(1, 3)), 1
    made = (size + 2 - kernel) // stride + 1
    pool, step = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    left = (made - pool) // step + 1
    flat = 3 * left * left
    nodes: dict[str, Node] = {
        "x": Input(shape=(2, size, size)),
        "conv": Conv2d(
            weight=weight(3, 2, kernel, kernel),
            bias=bias(3),
            stride=(stride, stride),
            padding=(padding, padding),
        ),
        "first": neuron(3),
        "again": Conv2d(weight=weight(3, 3, 3, 3), padding=(1, 1)),
        "second": neuron(3),
        "pool": AvgPool2d(kernel=(pool, pool), stride=(step, step)),
        "flat": Flatten(),
        "fc": Dense(weight=weight(4, flat), bias=bias(4)),
        "third": neuron(),
        "back": Dense(weight=weight(4, 4)),
        "out": Dense(weight=weight(3, 4)),
        "readout": LI(tau=0.01),
    }
    edges = read_edges(
        f"x>conv:? conv>first:{0 if for_lava else '?'} first>again:? again>second "
        "first>second "  # a residual, straight from population to population
        "second>pool:? pool>flat flat>fc fc>third third>back:1? back>third third>out "
        "out>readout",
        delay,
    )
    if rng.random() < 0.5:  # a loop through two populations
        nodes["top_down"] = Conv2d(weight=weight(3, 3, 1, 1))
        edges += read_edges("second>top_down:2? top_down>first", delay)
    if for_lava:
        nodes["conv"] = _without_bias(nodes["conv"], before=nodes["first"])
        nodes["fc"] = _without_bias(nodes["fc"], before=nodes["third"])
    elif not for_chip:
        more, wires = _listed_and_physical(rng, weight, delay)
        nodes |= more
        edges += wires
    return Graph(nodes=nodes, edges=edges, dt=DT)


def _tick_neuron(rng: np.random.Generator, reset: Literal["soft", "hard"]) -> DiscreteLIF:
    """Return a population with a reset to or by a value, or none."""
    to, by = (float(rng.choice(values)) for values in ([-0.25, 0.0, 0.25], [0.0, 0.25, 0.75]))
    return DiscreteLIF(
        decay=float(rng.choice([1.0, 0.75])),
        gain=float(rng.choice([0.5, 1.0])),
        threshold=0.5,
        rest=float(rng.choice([0.0, 0.125])),
        strict=bool(rng.random() < 0.5),
        reset=reset,
        reset_to=to if reset == "hard" else None,
        reset_by=by if reset == "soft" else None,
    )


def _without_bias(node: Node, before: Node) -> Node:
    """Return a connection without its bias, if a current follows."""
    late = isinstance(node, Conv2d | Dense) and getattr(before, "tau_syn", None)
    return replace(node, bias=None) if late else node  # type: ignore[call-arg]


def _listed_and_physical(
    rng: np.random.Generator, weight: Callable[..., np.ndarray], delay: Callable[..., Ticks]
) -> tuple[dict[str, Node], tuple[Edge, ...]]:
    """Return refractory cells, driven through listed synapses and currents."""
    refractory = Seconds(float(rng.integers(0, 3)) * DT)
    nodes: dict[str, Node] = {
        "excite": _listed(rng, abs(weight(9, 3)[:, 0]), rng.random() < 0.5),
        "inhibit": _listed(rng, -abs(weight(5, 3)[:, 0]), rng.random() < 0.5),
        "fast": LI(tau=0.003, gain=0.5),
        "slow": LI(tau=0.008),
        "cells": LIF(tau=0.01, threshold=0.25, reset="hard", refractory=refractory),
    }
    edges = "third>excite:? cells>excite:1? cells>inhibit:1? excite>fast inhibit>slow "
    return nodes, read_edges(edges + "fast>cells:? slow>cells cells>out:?", delay)


def _listed(rng: np.random.Generator, weight: np.ndarray, late: bool) -> Sparse:
    """Return synapses among 4 neurons, parallel ones included; late: with their own delays."""
    source, target, delay = (rng.integers(0, n, weight.size) for n in (4, 4, 3))
    return Sparse.from_coo(source, target, weight, shape=(4, 4), delay=delay if late else None)


def joined_graph(
    seed: int, *, steady: bool = True, listed: bool = True, dyadic: bool = True
) -> Graph:
    """Return a network that joins images in a loop, flat values in a loop, and populations.

    A tick is 2^-10 s, so that what arrives together does so in continuous time too.

    steady: some connections have a bias. listed: synapses have delays of their own.
    dyadic: weights are multiples of 2^-8 and resets are hard. Then a crossing that a bias
    brings about can fall on an arrival: where the bias is just the threshold, or where two
    cells of one bias start from 0 a whole number of ticks apart. Else weights have all their
    digits, are weaker, and resets are soft: no membrane starts from 0 a second time by an
    arrival, and such ties have probability 0.
    """
    rng = np.random.default_rng(seed)
    reset = "hard" if dyadic else "soft"

    def weight(*shape: int) -> np.ndarray:
        w = rng.normal(0.1, 1.6 / math.sqrt(np.prod(shape[1:])), shape)
        return np.round(w * 256) / 256 if dyadic else (w - 0.1) / 4

    def bias(n: int) -> np.ndarray | None:
        scale = 8 if dyadic else 2
        return weight(n, 1)[:, 0] / scale if steady and rng.random() < 0.7 else None

    def cells(tau: float | np.ndarray = 0.01) -> LIF:
        return LIF(tau=tau, threshold=0.5, reset=reset)

    def delay(least: int = 0) -> Ticks:
        return Ticks(int(least + rng.integers(0, 3)))

    late = int(rng.integers(0, 3))
    out: Node = Dense(weight=weight(4, 57), bias=bias(4))
    if listed:
        source, target, own = (rng.integers(0, n, 99) for n in (57, 4, 3))
        w = weight(99, 9)[:, 0]
        out = Sparse.from_coo(source, target, w, shape=(4, 57), delay=own, bias=bias(4))
    nodes: dict[str, Node] = {
        "x": Input(shape=(2, 4, 4)),
        "y": Input(shape=(1, 4, 4)),
        "images": Concat(),
        "conv": Conv2d(weight=weight(3, 8, 3, 3), bias=bias(3), padding=(1, 1)),
        "first": cells(rng.choice([0.004, 0.02], (3, 1, 1))),
        "pool": AvgPool2d(kernel=(2, 2), stride=(2, 2)),
        "flat": Flatten(),
        "fc": Dense(weight=weight(5, 12), bias=bias(5)),
        "second": cells(),
        "line": Flatten(),
        "values": Concat(),
        "out": out,
        "third": cells(),
        "all": Concat(),
        "last": cells(rng.choice([0.004, 0.02], 14)),
        "read": Dense(weight=weight(2, 14)),
        "readout": LI(tau=0.01),
    }
    edges = read_edges(
        f"x>images:{late} first>images:1? y>images:? x>images:{late + 1} images>conv:? "
        "conv>first first>pool pool>flat flat>fc fc>second second>values:? third>values:1? "
        "first>line line>values values>out out>third third>all second>all:? fc>all all>last "
        "last>read read>readout",
        delay,
    )
    return Graph(nodes=nodes, edges=edges, dt=Seconds(2**-10))


def stimulus(graph: Graph, seed: int, ticks: int = 15, samples: int = 2) -> dict[str, Events]:
    """Return random spikes for the inputs of a graph."""
    rng = np.random.default_rng(seed)
    return {
        name: to_events(
            (rng.random((ticks, samples, graph.size(name))) < 0.3).astype(np.float32)
        )
        for name in graph.inputs
    }

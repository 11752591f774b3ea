"""Small recurrent networks of every kind in continuous time, and how runs are compared."""

import math
from dataclasses import replace

import numpy as np
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import Exact, simulate
from neuro.graph import Dense, Graph, Input, Node, Sparse
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF
from neuro.spikes import Events, Times, to_events
from neuro.spikes.record import Record

DT = Seconds(2**-10)
CLOCK = Exact(budget=20_000)

PLAIN = ("delta", "no leak", "one current", "two currents", "three currents", "equal currents")
UNEVEN = ("per neuron", "adaptive", "adaptive currents", "deltas and currents")
RESETS = ("resets to and by values",)
KINDS = (*PLAIN, *UNEVEN, *RESETS)


def model(
    kind: str, rng: np.random.Generator, size: int, **common: object
) -> LIF | ALIF | DiscreteLIF:
    """Return a population of a kind."""
    if kind in RESETS:
        to, by = float(rng.choice([-0.5, 0.25, 0.75])), float(rng.choice([0.375, 0.625, 1.5]))
        return DiscreteLIF(
            decay=float(rng.choice([0.75, 0.9375, 1.0])),
            gain=0.53,  # no ties of a drive with arrivals
            decay_syn=rng.choice([None, 0.5]),
            threshold=1.0,
            rest=float(rng.choice([0.0, 0.25])),
            reset_to=to if common["reset"] == "hard" else None,
            reset_by=by if common["reset"] == "soft" else None,
            **common,
        )
    if kind.startswith("adaptive"):
        rho = float(rng.choice([0.0, 0.5, 0.97, 1.0]))
        leak = float(rng.choice([0.02, 0.3]))
        beta = 0.25 * leak if rho else 0.0
        return ALIF(leak=leak, threshold=leak, beta=beta, rho=rho, **common)
    tau = rng.choice([0.003, 0.02], size) if kind == "per neuron" else 0.01
    tau = math.inf if kind == "no leak" else tau
    ratio = {"one current": 0.4, "equal currents": 1.0, "per neuron": 0.5}.get(kind)
    return LIF(tau=tau, tau_syn=None if ratio is None else ratio * tau, **common)


def currents(kind: str) -> dict[str, Node]:
    """Return the LIs that feed the cells of a kind."""
    taus = {
        "two currents": (0.005, 0.02),
        "three currents": (0.002, 0.005, 0.03),
        "adaptive currents": (0.004,),
        "deltas and currents": (0.006, 0.01),
    }
    return {f"i{k}": LI(tau=tau, gain=0.5) for k, tau in enumerate(taus.get(kind, ()))}


def network(
    kind: str, seed: int, *, loop: int = 1, drive: float = 0.0, refractory: float = 0.0
) -> Graph:
    """Return 3 inputs -> 5 cells, recurrent, -> 4 cells -> 2 LIs; hard or soft reset.

    loop: least delay inside a loop [ticks]. drive: bias of all cells, in thresholds a tick.
    Weights are multiples of 2^-8.
    """
    rng = np.random.default_rng(seed)
    reset = "soft" if rng.random() < 0.5 else "hard"
    common = {"reset": reset, "refractory": Seconds(refractory)}
    cells, late = model(kind, rng, 5, **common), model(kind, rng, 4, **common)

    mild = {"one current": 0.4, "equal currents": 0.25, "per neuron": 0.4}
    mild = mild.get(kind, 0.6 if kind.endswith("currents") else 1.0)

    def weight(*shape: int, scale: float = 0.5) -> np.ndarray:
        return np.round(rng.normal(0.3, 1.0, shape) * scale * mild * 256) / 256

    def listed(out: int, given: int, number: int, bias: bool = False) -> Sparse:
        source, target = rng.integers(0, given, number), rng.integers(0, out, number)
        delay = loop + rng.integers(0, 3, number)
        steady = np.full(out, drive) if bias and drive else None
        w = weight(number, scale=0.25) - np.round(0.1 * mild * 256) / 256  # it calms down
        shape = (out, given)
        return Sparse.from_coo(source, target, w, shape=shape, delay=delay, bias=steady)

    nodes: dict[str, Node] = {
        "x": Input(shape=(3,)),
        "fc": Dense(weight=weight(5, 3), bias=np.full(5, drive) if drive else None),
        "cells": cells,
        "back": listed(5, 5, 12),
        "on": Dense(weight=weight(4, 5), bias=np.full(4, drive) if drive else None),
        "late": late,
        "loop": listed(5, 4, 8),
        "read": Dense(weight=weight(2, 4)),
        "out": LI(tau=0.01),
    }
    edges = f"x>fc cells>back cells>on:{loop} on>late late>loop late>read:2 read>out"
    ports = currents(kind)
    nodes |= ports
    ends = [*ports] or ["cells"]
    for name in ports:
        edges += f" {name}>cells"
    for k, source in enumerate(("fc", "back", "loop")):
        edges += f" {source}>{ends[k % len(ends)]}"
    if kind == "deltas and currents":
        edges += " x>also also>cells"
        nodes["also"] = Dense(weight=weight(5, 3))
    return wire(edges, nodes, DT)


def on_ticks(seed: int, ticks: int = 16, samples: int = 1, graded: bool = False) -> Events:
    """Return random spikes for 3 inputs at the ends of ticks; graded: of any sign and size."""
    rng = np.random.default_rng(seed)
    raster = (rng.random((ticks, samples, 3)) < 0.4).astype(np.float32)
    raster[ticks // 2 :] *= rng.random((ticks - ticks // 2, 1, 1)) < 0.5
    return to_events(raster * rng.integers(-4, 9, raster.shape) / 4 if graded else raster)


def at_any_time(
    seed: int, ticks: int = 16, samples: int = 1, graded: bool = False, spikes: int = 20
) -> Times:
    """Return random spikes for 3 inputs."""
    rng = np.random.default_rng(seed)
    sample = rng.integers(0, samples, spikes).astype(np.int32)
    time = rng.uniform(0, 0.8 * ticks * DT, spikes)
    neuron = rng.integers(0, 3, spikes).astype(np.int32)
    value = rng.integers(-4, 9, spikes) / 4 if graded else np.ones(spikes)
    order = np.lexsort((neuron, time, sample))
    return Times(*(c[order] for c in (sample, time, neuron, value)), (ticks, samples, 3))


def run(graph: Graph, train: Events | Times, clock: Exact = CLOCK, **more: object) -> Record:
    """Return the Record of a run."""
    return simulate(graph, dict.fromkeys(graph.inputs, train), clock, **more)[0]


def by_neuron(times: Times) -> Times:
    """Return spikes in the order of (sample, neuron, time)."""
    order = np.lexsort((times.time, times.neuron, times.sample))
    return Times(*(column[order] for column in times[:4]), times.shape)


def agree(one: Record, other: Record, tolerance: float = 1e-12) -> None:
    """Require the same spikes, times and values within ``tolerance`` [s, weight units]."""
    assert one.times.keys() == other.times.keys()
    for name in one.times:
        a, b = by_neuron(one.times[name]), by_neuron(other.times[name])
        np.testing.assert_array_equal(a.sample, b.sample, name)
        np.testing.assert_array_equal(a.neuron, b.neuron, name)
        np.testing.assert_allclose(a.time, b.time, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_array_equal(a.value, b.value, name)
    for name in one.values:
        want = other.values[name]
        np.testing.assert_allclose(one.values[name], want, rtol=0, atol=1e-12 + 100 * tolerance)


def same(one: Record, other: Record) -> None:
    """Require the same spikes bit for bit, in any order of equal times."""
    assert one.times.keys() == other.times.keys()
    for name in one.times:
        for a, b in zip(by_neuron(one.times[name]), by_neuron(other.times[name]), strict=True):
            np.testing.assert_array_equal(a, b, name)


def with_nodes(graph: Graph, **nodes: Node) -> Graph:
    """Return a graph with some nodes replaced."""
    return replace(graph, nodes={**graph.nodes, **nodes})

"""Published recurrent networks as Graphs, on which simulators of spiking neurons are compared.

Weights and membranes are in mV. Membranes are shifted so that reset is 0: a threshold is the
distance from reset to threshold, a drive the distance from reset to rest. The drive is the bias
of a Sparse connection. Every network depends only on its seed.
Axes: N neurons; the first 80 % of them excite, the others inhibit.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from neuro.base.units import Seconds, Ticks, ticks
from neuro.events import Clock, Exact, Grid, simulate
from neuro.events.engine import State
from neuro.events.exact.state import make_rest_state
from neuro.graph import Dense, Edge, Graph, Input, Node, Sparse
from neuro.graph.random import fixed_probability, join_inputs
from neuro.neurons import LI, LIF
from neuro.neurons.li import psc_gain
from neuro.spikes import Events

MS = 1e-3  # s
DT = Seconds(0.1 * MS)
TAU = Seconds(20 * MS)  # of the membranes of every network here


class PeerNetwork(NamedTuple):
    """A Graph and its initial membranes [mV], by population."""

    graph: Graph
    membranes: Mapping[str, Float[np.ndarray, " N"]]


def cuba(seed: int, n: int = 4000, p: float = 0.02) -> PeerNetwork:
    """Return benchmark 2 of Brette et al. 2007, in the form of Brian's CUBA example.

    LIF with two exponential currents (5 ms excitatory, 10 ms inhibitory; 1.62 and -9 mV), rest
    -49, threshold -50, reset -60 mV, refractory 5 ms; here with a delay of 1.5 ms. Its activity
    sustains itself at about 5.8 Hz.
    """
    rng = np.random.default_rng(seed)
    excitatory, inhibitory = _kinds(n)
    nodes: dict[str, Node] = {
        **_drive(n, v_inf=11.0, dt=DT),
        "cells": LIF(tau=TAU, threshold=10.0, reset="hard", refractory=Seconds(5 * MS)),
        "exc": join_inputs(
            fixed_probability(excitatory, n, p, 1.62, rng), make_no_synapses(inhibitory, n)
        ),
        "inh": join_inputs(
            make_no_synapses(excitatory, n), fixed_probability(inhibitory, n, p, -9.0, rng)
        ),
        "ge": LI(tau=5 * MS, gain=psc_gain(Seconds(5 * MS), TAU, DT)),
        "gi": LI(tau=10 * MS, gain=psc_gain(Seconds(10 * MS), TAU, DT)),
    }
    delay = ticks(Seconds(1.5 * MS), DT)
    edges = (
        *_DRIVEN,
        Edge("cells", "exc", delay),
        Edge("cells", "inh", delay),
        Edge("exc", "ge"),
        Edge("inh", "gi"),
        Edge("ge", "cells"),
        Edge("gi", "cells"),
    )
    return PeerNetwork(Graph(nodes=nodes, edges=edges, dt=DT), {"cells": rng.uniform(0, 10, n)})


def delta(seed: int, n: int = 4000, p: float = 0.02, v_inf: float = 21.0) -> PeerNetwork:
    """Return a network of voltage jumps under constant drive.

    Threshold 20, reset 0, jumps of 0.2 and -1 mV, refractory 2 ms, delay 1.5 ms. v_inf: the
    steady state under the drive alone [mV]; 21 gives about 15 Hz, below 20 activity dies out.
    """
    rng = np.random.default_rng(seed)
    cell = LIF(tau=TAU, threshold=20.0, reset="hard", refractory=Seconds(2 * MS))
    synapses = _random(n, p, 0.2, -1.0, rng)
    return _jumps(rng, synapses, cell, v_inf, delay=Seconds(1.5 * MS))


def brette4(seed: int, n: int = 4000, p: float = 0.02) -> PeerNetwork:
    """Return benchmark 4 of Brette et al. 2007: voltage jumps at exact spike times.

    Rest -49, threshold -50, reset -60 mV, jumps of 0.25 and -2.25 mV, refractory 5 ms, delay
    0.125 ms, which is its tick as well.
    """
    rng, dt = np.random.default_rng(seed), Seconds(0.125 * MS)
    cell = LIF(tau=TAU, threshold=10.0, reset="hard", refractory=Seconds(5 * MS))
    synapses = _random(n, p, 0.25, -2.25, rng)
    return _jumps(rng, synapses, cell, 11.0, delay=dt, dt=dt)


def feed_forward(seed: int, *, layers: tuple[int, int, int] = (784, 512, 10)) -> PeerNetwork:
    """Return a classifier's size and activity: two Dense layers of LIF, dt 1 ms.

    With 5 % active inputs, 3.4 % of the hidden neurons fire per tick.
    """
    rng = np.random.default_rng(seed)
    inputs, hidden, outputs = layers
    nodes: dict[str, Node] = {
        "in": Input(shape=(inputs,)),
        "fc1": Dense(weight=rng.normal(0, 1 / np.sqrt(0.05 * inputs), (hidden, inputs))),
        "hidden": LIF(tau=TAU, threshold=3.0),
        "fc2": Dense(weight=rng.normal(0, 1 / np.sqrt(0.05 * hidden), (outputs, hidden))),
        "out": LIF(tau=TAU, threshold=3.0),
    }
    edges = tuple(Edge(a, b) for a, b in pairwise(nodes))
    return PeerNetwork(Graph(nodes=nodes, edges=edges, dt=Seconds(1 * MS)), {})


def silence(graph: Graph, duration: Ticks) -> dict[str, Events]:
    """Return inputs without spikes, which set the duration of a network that drives itself."""
    no, none = np.zeros(0, np.int32), np.zeros(0)
    return {
        name: Events(no, no, no, none, (duration, 1, graph.size(name))) for name in graph.inputs
    }


def start(
    graph: Graph,
    membranes: Mapping[str, Float[np.ndarray, " N"]],
    clock: Clock = Exact(),  # noqa: B008
) -> State:
    """Return the initial state with these membranes and everything else at rest."""
    state: State = make_rest_state(graph, 1)
    if isinstance(clock, Grid):  # after a tick without spikes, none are in transit
        state = simulate(graph, silence(graph, Ticks(1)), clock)[1]
    neurons = {name: np.zeros_like(old) for name, old in state.neurons.items()}
    for name, v in membranes.items():
        neurons[name][0, 0] = v
    return replace(state, neurons=neurons)


def make_no_synapses(inputs: int, outputs: int) -> Sparse:
    """Return a connection without synapses, for a bias alone or beside others."""
    return Sparse(
        indptr=np.zeros(inputs + 1, np.int64),
        indices=np.zeros(0, np.int32),
        weight=np.zeros(0),
        shape=(outputs,),
    )


# An Input sets the run's length: this one never spikes, its connection carries the drive.
_DRIVEN = (Edge("start", "drive"), Edge("drive", "cells"))


def _drive(n: int, v_inf: float, dt: Seconds) -> dict[str, Node]:
    return {
        "start": Input(shape=(1,)),
        "drive": replace(make_no_synapses(1, n), bias=_bias(n, v_inf, dt)),
    }


def _bias(n: int, v_inf: float, dt: Seconds) -> Float[np.ndarray, " N"]:
    """Return the bias per tick with which membranes settle at ``v_inf`` [mV]."""
    return np.full(n, -np.expm1(-dt / TAU) * v_inf)


def _kinds(n: int) -> tuple[int, int]:
    """Return the numbers of excitatory and inhibitory neurons."""
    return n * 4 // 5, n - n * 4 // 5


def _random(n: int, p: float, excite: float, inhibit: float, rng: Generator) -> Sparse:
    excitatory, inhibitory = _kinds(n)
    return join_inputs(
        fixed_probability(excitatory, n, p, excite, rng),
        fixed_probability(inhibitory, n, p, inhibit, rng),
    )


def _jumps(
    rng: Generator, synapses: Sparse, cell: LIF, v_inf: float, delay: Seconds, dt: Seconds = DT
) -> PeerNetwork:
    n = synapses.shape[0]
    nodes: dict[str, Node] = {**_drive(n, v_inf, dt), "cells": cell, "recurrent": synapses}
    edges = (
        *_DRIVEN,
        Edge("cells", "recurrent", ticks(delay, dt)),
        Edge("recurrent", "cells"),
    )
    membranes = {"cells": rng.uniform(0, cell.threshold, n)}
    return PeerNetwork(Graph(nodes=nodes, edges=edges, dt=dt), membranes)

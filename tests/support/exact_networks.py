"""Networks and stimuli in continuous time, for the tests of EventProp."""

import math
from collections.abc import Sequence

import numpy as np
from written_graphs import chain, wire

from neuro.base.units import Seconds
from neuro.graph import Dense, Graph, Input, Node
from neuro.neurons import LI, LIF
from neuro.spikes import Times

DT = Seconds(1e-3)
T = 40


def times(*trains: Sequence[tuple[float, int]], size: int) -> Times:
    """Return one sample a train of (time [s], neuron)."""
    rows = [(b, t, n) for b, train in enumerate(trains) for t, n in sorted(train)]
    sample, time, neuron = np.array(rows, float).reshape(-1, 3).T
    columns = (sample.astype(np.int32), time, neuron.astype(np.int32), np.ones(len(rows)))
    return Times(*columns, (T, len(trains), size))


def drawn(rng: np.random.Generator, samples: int, size: int) -> Times:
    """Return one or two spikes of every neuron in the first three quarters of the run."""
    trains = [
        [(t, n) for n in range(size) for t in rng.uniform(0, 0.75 * T * DT, rng.integers(1, 3))]
        for _ in range(samples)
    ]
    return times(*trains, size=size)


def one_neuron(weight: float, **model: object) -> Graph:
    """Return input -> LIF, with one synapse."""
    return chain(
        input=Input(shape=(1,)),
        fc=Dense(weight=np.array([[weight]])),
        out=LIF(reset="hard", **model),
    )


def network(seed: int, ratio: float = 0.25) -> Graph:
    """Return 3 inputs -> 4 LIF -> (2 LIF, 2 LI), with delays, a skip and a shared Dense.

    ratio: of tau_syn to tau. All neurons fire, most of them more than once.
    """
    rng = np.random.default_rng(seed)

    def dense(out: int, given: int, mean: float) -> Dense:
        return Dense(weight=mean * rng.uniform(0.2, 1.8, (out, given)))

    tau = rng.uniform(0.005, 0.03)
    nodes: dict[str, Node] = {
        "input": Input(shape=(3,)),
        "fc1": dense(4, 3, 0.13 / ratio**0.6),  # alike in effect for any ratio
        "hidden": LIF(tau=tau, tau_syn=ratio * tau, reset="hard"),
        "fc2": dense(2, 4, 0.1),
        "skip": dense(2, 3, 0.05),
        "out": LIF(tau=math.inf, tau_syn=0.004, reset="hard", threshold=np.array([1.0, 1.3])),
        "fc3": dense(2, 4, 1.0),
        "read": LI(tau=0.01, gain=0.5),
    }
    return wire(
        "input>fc1 fc1>hidden hidden>fc2:2 fc2>out "
        "input>skip:3 skip>out skip>read hidden>fc3 fc3>read:1 out>read",
        nodes,
    )


def changed(graph: Graph, name: str, at: tuple[int, ...], step: float) -> Graph:
    """Return the network with one weight changed."""
    weight = np.array(graph.nodes[name].weight)  # type: ignore[union-attr]
    weight[at] += step
    nodes = {**graph.nodes, name: Dense(weight=weight)}
    return Graph(nodes=nodes, edges=graph.edges, dt=graph.dt)

"""The cortical microcircuit of Potjans and Diesmann 2014 as a Graph: 1 mm^2 of cortex.

Four layers, each with an excitatory and an inhibitory population: 77,169 LIF neurons and 0.3
billion synapses. Numbers are those of the authors' NEST code (pynest/examples/Potjans_2014).
Currents are given as steady-state voltages: 1 pA is tau_m / C_m = 0.04 mV.
A constant drive of the same mean replaces the Poisson background.
Axes of tables: 8 targets, 8 sources.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neuro.base.units import Seconds, Ticks, ticks
from neuro.graph import Edge, Graph, Input, Node, Sparse
from neuro.graph.random import fixed_total
from neuro.neurons import LI, LIF
from neuro.neurons.li import psc_gain
from tasks.bench.peers.networks import DT, MS, PeerNetwork, make_no_synapses

NAMES = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)
NEURONS = dict(zip(NAMES, SIZES, strict=True))
PROBABILITY = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)  # that a pair of neurons has at least one synapse
EXTERNAL = dict(zip(NAMES, (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100), strict=True))
EXTERNAL_RATE = 8.0  # 1/s, of each of these external synapses
TAU, TAU_SYN, REFRACTORY = Seconds(10 * MS), Seconds(0.5 * MS), Seconds(2 * MS)
THRESHOLD = 15.0  # mV above rest, which is the reset as well
WEIGHT = 87.8 * 0.04  # mV; L4E -> L23E twice that, inhibitory ones -4 times
WEIGHT_SPREAD, DELAY_SPREAD = 0.1, 0.5  # standard deviations over means
DELAY = {"E": 1.5 * MS, "I": 0.75 * MS}  # s, by the last letter of the source
MEMBRANE = (7.0, 5.0)  # mV above rest, mean and deviation; the authors take 7 and 10


def microcircuit(
    scale: float, seed: int, *, delay: Seconds | None = None, late: Ticks = Ticks(0)
) -> PeerNetwork:
    """Return the network with a share ``scale`` of its neurons, each with its full in-degree.

    A connection is one Sparse "SOURCE to TARGET": float32 weights, uint16 delays, 10 bytes per
    synapse. Its spikes go through the LI "current of TARGET", the drive is the bias of
    "drive of TARGET". Normal weights of the wrong sign and delays below half a tick are drawn
    again, as NEST does.

    Args:
        scale: from 0.001 to 1.
        delay: the one delay of all synapses [s]; None: they are drawn, in ticks of 0.1 ms.
        late: added delay, on the edges. A spike acts a tick earlier with ``Grid()`` than in
            NEST and Brian2: one tick makes them agree.

    Raises:
        ValueError: scale is out of its range.
    """
    if not 0.001 <= scale <= 1:
        raise ValueError(f"scale must be from 0.001 to 1, got {scale}; 0.1 is a tenth")
    rng = np.random.default_rng(seed)
    gain = psc_gain(TAU_SYN, TAU, DT)
    cell = LIF(tau=TAU, threshold=THRESHOLD, reset="hard", refractory=REFRACTORY)
    nodes: dict[str, Node] = {"start": Input(shape=(1,))}
    edges, membranes = [], {}
    sizes = {name: round(n * scale) for name, n in NEURONS.items()}
    for name, size in sizes.items():
        current, drive = f"current of {name}", f"drive of {name}"
        nodes |= {drive: _make_drive(name, size), current: LI(tau=TAU_SYN, gain=gain)}
        nodes[name] = cell
        edges += [Edge("start", drive), Edge(drive, name), Edge(current, name)]
        membranes[name] = rng.normal(*MEMBRANE, size)
    on_edges = Ticks(late + (0 if delay is None else ticks(delay, DT)))
    for (source, target), synapses in count_synapses(scale).items():
        name = f"{source} to {target}"
        mean = WEIGHT * (2 if (source, target) == ("L4E", "L23E") else 1)
        mean *= 1 if source.endswith("E") else -4
        weights = _draw_normal(rng, mean, WEIGHT_SPREAD, 0.0)
        delays = _draw_normal(rng, DELAY[source[-1]] / DT, DELAY_SPREAD, 0.5)
        sized = sizes[source], sizes[target], synapses
        nodes[name] = fixed_total(*sized, weights, rng, delays if delay is None else None)
        edges += [Edge(source, name, on_edges), Edge(name, f"current of {target}")]
    return PeerNetwork(Graph(nodes=nodes, edges=tuple(edges), dt=DT), membranes)


def count_synapses(scale: float) -> dict[tuple[str, str], int]:
    """Return the numbers of synapses by (source, target), without empty connections.

    This number of synapses, drawn with replacement, connects a pair with the published
    probability.
    """
    n = np.array([*NEURONS.values()], np.float64)
    full = np.log1p(-PROBABILITY) / np.log1p(-1 / np.outer(n, n))
    whole = np.rint(full * scale).astype(np.int64)
    return {
        (source, target): int(whole[t, s])
        for t, target in enumerate(NEURONS)
        for s, source in enumerate(NEURONS)
        if whole[t, s]
    }


def _make_drive(name: str, size: int) -> Sparse:
    """Return a connection without synapses whose bias replaces the Poisson background."""
    mean = EXTERNAL[name] * EXTERNAL_RATE * TAU_SYN * WEIGHT  # mV
    bias = np.full(size, -np.expm1(-DT / TAU) * mean)
    return replace(make_no_synapses(1, size), bias=bias)


def _draw_normal(
    rng: np.random.Generator, mean: float, spread: float, least: float
) -> Callable[[int], np.ndarray]:
    """Return a function that draws normal numbers of the sign of ``mean``, above ``least``.

    spread: standard deviation over mean.
    least: exclusive lower bound of absolute values. Exclusive, because among a third of a
    billion delays some are exactly 0.5, which would be rounded to 0.
    """

    def draw(size: int) -> np.ndarray:
        x = rng.standard_normal(size, np.float32) * (spread * abs(mean)) + mean
        below = x * np.sign(mean) <= least
        if below.any():
            x[below] = draw(int(below.sum()))
        return x

    return draw

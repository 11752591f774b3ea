"""Random networks of nodes that put out values every tick: host nodes and gated integrators."""

import numpy as np
from written_graphs import DT, read_edges

from neuro.base.units import Ticks
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv2d,
    Dense,
    Exceeds,
    Flatten,
    Graph,
    Input,
    Multiply,
    Node,
    Outer,
    Pointwise,
    Softmax,
    Sparse,
)
from neuro.neurons import LI, LIF, GatedLI
from neuro.spikes import Events, to_events


def valued_graph(seed: int, *, smooth: bool = True, listed: bool = True) -> Graph:
    """Return a network that lifts features into depth, mixes them in a loop, and samples.

    smooth: with exponentials. Without, all values are multiples of powers of two, so that
        their sums are exact, and a ReLU or a current stands where one would.
    listed: synapses that lead to a host node have delays of their own.
    """
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        w = rng.normal(0.1, 1.6 / np.sqrt(np.prod(shape[1:])), shape)
        return np.round(w * 64) / 64

    def bias(n: int) -> np.ndarray | None:
        return weight(n, 1)[:, 0] / 4 if rng.random() < 0.6 else None

    def delay(least: int = 0) -> Ticks:
        return Ticks(int(least + rng.integers(0, 3)))

    def cells(threshold: float = 0.5) -> LIF:
        return LIF(tau=0.01, threshold=threshold, reset="hard")

    def point(function: str) -> Pointwise:
        return Pointwise(function=function if smooth else "relu")

    probability: Node = Dense(weight=weight(3, 4), bias=bias(3))
    if listed:
        source, target, own = (rng.integers(0, n, 9) for n in (4, 3, 3))
        w = weight(9, 2)[:, 0]
        probability = Sparse.from_coo(source, target, w, shape=(3, 4), delay=own, bias=bias(3))
    floor = rng.choice([0.0, 0.25, 0.5], (4,))
    nodes: dict[str, Node] = {
        "x": Input(shape=(2, 3, 4)),
        "u": Input(shape=(3,)),
        "depth": Conv2d(weight=weight(3, 2, 3, 3), bias=bias(3), padding=(1, 1)),
        "bins": Softmax(axis=int(rng.integers(-3, 3))) if smooth else point("relu"),
        "features": Conv2d(weight=weight(2, 2, 1, 1), bias=bias(2)),
        "both": Concat(),
        "lift": Outer(first=3),
        "voxels": cells(0.25),
        "line": Flatten(),
        "fc": Dense(weight=weight(4, 72), bias=bias(4)),
        "first": cells(),
        "mix": Dense(weight=weight(8, 4), bias=bias(8)),
        "mixer": GatedLI(floor=floor) if smooth else Multiply(),
        "gate": Dense(weight=weight(4, 4), bias=bias(4)),
        "opened": point("silu"),
        "pair": Concat(),
        "product": Multiply(),
        "back": Dense(weight=weight(4, 4)),
        "slow": LI(tau=0.008) if smooth else LI(tau=np.inf),
        "squashed": point("tanh"),
        "probability": probability,
        "likely": point("sigmoid"),
        "against": Concat(),
        "drawn": Exceeds(),
        "out": Dense(weight=weight(4, 3)),
        "second": cells(),
        "same": Flatten(),
        "passed": point("tanh"),
        "read": Dense(weight=weight(4, 4), bias=bias(4)),
        "readout": GatedLI(floor=0.25) if smooth else LI(tau=0.01),
        "pool": AvgPool2d(kernel=(2, 2), stride=(1, 2)),
        "pooled": point("silu"),
        "seen": LI(tau=0.01),
    }
    edges = read_edges(
        "x>depth:? depth>bins:? x>features bins>both features>both:? both>lift:? "
        "lift>voxels:? "  # straight into a population, of four axes
        "lift>line line>fc fc>first:? "
        "first>mix:1? mix>mixer first>gate:1? gate>opened "  # a loop through host nodes
        "mixer>pair:? opened>pair pair>product product>back:? back>first "
        "first>slow slow>squashed:? squashed>probability mixer>squashed "
        "probability>likely likely>against u>against:? against>drawn drawn>out "
        "product>second out>second second>same:? same>passed passed>read read>readout "
        "bins>pool pool>pooled pooled>seen",
        delay,
    )
    return Graph(nodes=nodes, edges=edges, dt=DT)


def valued_stimulus(seed: int, ticks: int = 12, samples: int = 2) -> dict[str, Events]:
    """Return random spikes for x, and uniform numbers for u."""
    rng = np.random.default_rng(seed)
    spikes = rng.random((ticks, samples, 24)) < 0.4
    numbers = rng.integers(0, 64, (ticks, samples, 3)) / 64
    return {"x": to_events(spikes.astype(np.float64)), "u": to_events(numbers)}

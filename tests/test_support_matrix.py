"""Which executor runs which node: the table of docs/support_matrix.md, made here and held.

An entry that starts to pass, or to be refused, fails. To write the table anew:

    PYTHONPATH=. python tests/test_support_matrix.py
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from lava_together import run_together

from lava_export import LavaFailed, LowerError, available, lower, reference
from neuro import (
    ALIF,
    LI,
    LIF,
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    CountSpikes,
    Delta,
    Dense,
    DiscreteLIF,
    Edge,
    Exceeds,
    Flatten,
    GatedLI,
    Graph,
    Input,
    LIFReset,
    LoihiLI,
    LoihiLIF,
    MaxPool2d,
    Multiply,
    Outer,
    Pointwise,
    Poisson,
    RMSNorm,
    Seconds,
    SigmaDelta,
    Softmax,
    Sparse,
    TernaryLIF,
    Ticks,
    Unflatten,
    Upsample,
    to_events,
)
from neuro.eventprop import EventPropError
from neuro.eventprop.layers import build_layers
from neuro.events import Exact, simulate
from neuro.graph import GraphError
from neuro.interop.nest_plan import NestError, plan
from neuro.nn import replay
from neuro.spikes import Events, of_sample, to_times
from neuro.spikes.record import Record

PAGE = Path(__file__).parents[1] / "docs" / "support_matrix.md"
DT = Seconds(1e-3)
TICKS = 12
YES, NO = "yes", "–"
IMPORTS = "## What an import reads"  # the table behind, of tests/test_import_matrix.py
REFUSALS = (GraphError, LowerError, EventPropError, NestError)
rng = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return rng.integers(-3, 6, shape) / 4.0


def lif(**changed: object) -> LIF:
    return LIF(**{"tau": 0.01, "reset": "hard", **changed})  # type: ignore[arg-type]


def through(*nodes: object, shape: tuple[int, ...] = (4,), delay: int = 0) -> Graph:
    """Return the graph input -> nodes, one after the other; ``delay`` on the last edge."""
    named = {"input": Input(shape=shape)} | {f"n{k}": node for k, node in enumerate(nodes)}
    names = list(named)
    pairs = pairwise(names)
    edges = [Edge(a, b, Ticks(delay if b == names[-1] else 0)) for a, b in pairs]
    return Graph(nodes=named, edges=tuple(edges), dt=DT)  # type: ignore[arg-type]


def sparse(delay: bool = False) -> Sparse:
    source, target = np.divmod(np.arange(12), 3)
    late = np.arange(12) % 3 if delay else None
    return Sparse.from_coo(source, target, weights(12) + 0.125, shape=(3, 4), delay=late)


def looped(neuron: LIF, delay: int) -> Graph:
    nodes = {"input": Input(shape=(4,)), "w": Dense(weight=weights(3, 4)), "n": neuron}
    nodes["back"] = Dense(weight=weights(3, 3) / 4)
    edges = [Edge("input", "w"), Edge("w", "n"), Edge("n", "back")]
    return Graph(nodes=nodes, edges=(*edges, Edge("back", "n", Ticks(delay))), dt=DT)


def residual(neuron: LIF) -> Graph:
    nodes = {"input": Input(shape=(3,)), "w": Dense(weight=weights(3, 3)), "n": neuron}
    edges = (Edge("input", "w"), Edge("w", "n"), Edge("input", "n"))
    return Graph(nodes=nodes, edges=edges, dt=DT)


def drawn(neuron: LIF) -> Graph:
    graph = through(Dense(weight=weights(3, 4)), neuron)
    source = Poisson(rate=700.0, shape=(4,), seed=1)
    return replace(graph, nodes={**graph.nodes, "input": source})


def joined(neuron: LIF) -> Graph:
    nodes = {
        "input": Input(shape=(4,)),
        "a": Dense(weight=weights(2, 4)),
        "b": Dense(weight=weights(3, 4)),
        "join": Concat(),
        "n": neuron,
    }
    edges = [("input", "a"), ("input", "b"), ("a", "join"), ("b", "join"), ("join", "n")]
    return Graph(nodes=nodes, edges=tuple(Edge(*e) for e in edges), dt=DT)


MAP = (2, 6, 6)
CASES: Mapping[str, Callable[[LIF], Graph]] = {
    "LIF, hard reset": lambda _: through(Dense(weight=weights(3, 4)), lif()),
    "LIF, soft reset": lambda _: through(Dense(weight=weights(3, 4)), lif(reset="soft")),
    "LIF, synaptic current": lambda _: through(Dense(weight=weights(3, 4)), lif(tau_syn=0.005)),
    "LIF, refractory period": lambda _: through(
        Dense(weight=weights(3, 4)), lif(refractory=Seconds(2e-3))
    ),
    "LIF, no leak": lambda _: through(Dense(weight=weights(3, 4)), lif(tau=math.inf)),
    "ALIF": lambda _: through(Dense(weight=weights(3, 4)), ALIF(leak=0.25)),
    "ALIF, adaptation": lambda _: through(
        Dense(weight=weights(3, 4)), ALIF(leak=0.25, beta=0.5)
    ),
    "LIFReset": lambda _: through(
        Dense(weight=weights(3, 4)), LIFReset(tau=0.02, interval=Ticks(5))
    ),
    "TernaryLIF": lambda _: through(Dense(weight=weights(3, 4)), TernaryLIF(tau=0.02)),
    "Delta": lambda _: through(
        Delta(threshold=0.5), Dense(weight=weights(3, 4)), SigmaDelta(threshold=0.1)
    ),
    "SigmaDelta": lambda _: through(Dense(weight=weights(3, 4)), SigmaDelta(threshold=0.1)),
    "LoihiLIF, LoihiLI": lambda _: through(
        Dense(weight=4 * weights(5, 4)),
        LoihiLIF(vth=3.0, du=900.0),
        Dense(weight=4 * weights(2, 5)),
        LoihiLI(dv=300.0),
    ),
    "DiscreteLIF": lambda _: through(
        Dense(weight=weights(3, 4)), DiscreteLIF(decay=0.75, reset="hard", rest=-0.25)
    ),
    "DiscreteLIF, strict threshold": lambda _: through(
        Dense(weight=weights(3, 4)), DiscreteLIF(decay=0.75, reset="hard", strict=True)
    ),
    "DiscreteLIF, reset to a value": lambda _: through(
        Dense(weight=weights(3, 4)), DiscreteLIF(decay=0.75, reset="hard", reset_to=-0.5)
    ),
    "DiscreteLIF, reset by a value": lambda _: through(
        Dense(weight=weights(3, 4)), DiscreteLIF(decay=0.75, reset_by=0.5)
    ),
    "DiscreteLIF, no reset": lambda _: through(
        Dense(weight=weights(3, 4)), DiscreteLIF(decay=0.75, reset_by=0.0)
    ),
    "LI, read-out": lambda n: through(
        Dense(weight=weights(5, 4)), n, Dense(weight=weights(2, 5)), LI(tau=0.02)
    ),
    "LI, synaptic current": lambda n: through(Dense(weight=weights(3, 4)), LI(tau=0.005), n),
    "GatedLI": lambda _: through(Dense(weight=weights(6, 4)), GatedLI()),
    "Poisson": drawn,
    "Dense with bias": lambda n: through(Dense(weight=weights(3, 4), bias=weights(3)), n),
    "Sparse": lambda n: through(sparse(), n),
    "Sparse, delays of synapses": lambda n: through(sparse(delay=True), n),
    "Conv1d": lambda n: through(Conv1d(weight=weights(3, 2, 3), padding=1), n, shape=(2, 7)),
    "Conv2d": lambda n: through(
        Conv2d(weight=weights(3, 2, 3, 3), stride=(2, 2), padding=(1, 1)), n, shape=MAP
    ),
    "ConvTranspose2d": lambda n: through(
        ConvTranspose2d(weight=weights(2, 3, 2, 2), stride=(2, 2)), n, shape=MAP
    ),
    "AvgPool2d": lambda n: through(
        AvgPool2d(kernel=(2, 2), stride=(2, 2)), replace(n, threshold=0.5), shape=MAP
    ),
    "Upsample": lambda n: through(Upsample(scale=(2, 2)), n, shape=(2, 3, 3)),
    "Flatten, Unflatten": lambda n: through(
        Flatten(), Dense(weight=weights(8, 8)), Unflatten(shape=(2, 2, 2)), n, shape=(2, 2, 2)
    ),
    "Concat": joined,
    "edges that add up (residual)": residual,
    "edge with a delay": lambda n: through(Dense(weight=weights(3, 4)), n, delay=2),
    "loop with a delay": lambda n: looped(n, 2),
    "loop without a delay": lambda n: looped(n, 0),
    "Softmax": lambda n: through(Softmax(), Dense(weight=weights(3, 4)), n),
    "Outer": lambda n: through(Outer(first=2), Flatten(), Dense(weight=weights(3, 4)), n),
    "Multiply": lambda n: through(Multiply(), Dense(weight=weights(3, 2)), n),
    "Pointwise": lambda n: through(Pointwise(function="silu"), Dense(weight=weights(3, 4)), n),
    "Exceeds": lambda n: through(Exceeds(), Dense(weight=weights(3, 2)), n),
    "RMSNorm": lambda n: through(
        RMSNorm(gain=weights(4), eps=1e-6), Dense(weight=weights(3, 4)), n
    ),
    "CountSpikes": lambda n: through(
        CountSpikes(ticks=4, threshold=0.75), Dense(weight=weights(3, 4)), n
    ),
    "MaxPool2d": lambda n: through(
        MaxPool2d(kernel=(2, 2), stride=(1, 1)),
        Flatten(),
        Dense(weight=weights(3, 2)),
        n,
        shape=(1, 2, 3),
    ),
}


def stimulus(graph: Graph, ticks: int = TICKS, samples: int = 2) -> dict[str, Events]:
    draw = np.random.default_rng(1)
    shape = (ticks, samples, graph.size("input"))
    raster = to_events((draw.random(shape) < 0.5).astype(np.float64))
    return dict.fromkeys(graph.inputs, raster)


def run_reference(graph: Graph) -> None:
    reference.run(lower(graph, ticks=TICKS), stimulus(graph), ticks=TICKS)


def plan_for_nest(graph: Graph) -> None:
    trains = {n: to_times(of_sample(e, 0), graph.dt) for n, e in stimulus(graph).items()}
    plan(graph, trains, {}, ticks=TICKS)


EXECUTORS: Mapping[str, Callable[[Graph], object]] = {
    "clock (torch)": lambda graph: replay(graph, stimulus(graph), ticks=TICKS),
    "events, grid": lambda graph: simulate(graph, stimulus(graph), ticks=TICKS),
    "events, exact": lambda graph: simulate(graph, stimulus(graph), Exact(), ticks=TICKS),
    "EventProp": build_layers,
    "chip integers": run_reference,
    "NEST": plan_for_nest,
}


# What stands around the other nodes; two executors ask for more than a LIF with hard reset.
NEURONS = {"EventProp": lif(tau_syn=0.005), "NEST": lif(refractory=DT)}


def entry(execute: Callable[[Graph], object], graph: Graph) -> str:
    """Return whether an executor runs a graph, or refuses it as it should."""
    try:
        execute(graph)
    except REFUSALS:
        return NO
    return YES


def row(case: str) -> list[str]:
    make = CASES[case]
    return [
        entry(execute, make(NEURONS.get(name, lif()))) for name, execute in EXECUTORS.items()
    ]


def table() -> dict[str, list[str]]:
    """Return the entries of the page, by node."""
    lines = PAGE.read_text().partition(IMPORTS)[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert rows[0][1:] == list(EXECUTORS)
    return {name: entries for name, *entries in rows[1:]}


def page() -> str:
    head = ["node", *EXECUTORS]
    rows = [[case, *row(case)] for case in CASES]
    written = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    rule = "|" + "---|" * len(head)
    about, *_ = PAGE.read_text().partition("| node |")
    _, imports, others = PAGE.read_text().partition(IMPORTS)
    table = "\n".join([written[0], rule, *written[1:]])
    return f"{about}{table}\n\n{imports}{others}"


@pytest.mark.parametrize("case", CASES)
def test_each_executor_runs_what_the_table_says_and_refuses_the_rest(case: str) -> None:
    assert row(case) == table()[case]


def test_the_table_has_every_node_and_no_other() -> None:
    assert list(table()) == list(CASES)


@pytest.mark.parametrize("case", [c for c, found in table().items() if found[0] == YES])
def test_what_runs_on_the_clock_has_the_same_spikes_on_the_grid(case: str) -> None:
    graph = CASES[case](lif())
    one = replay(graph, stimulus(graph), ticks=TICKS)
    other, _ = simulate(graph, stimulus(graph), ticks=TICKS)
    for name, events in one.spikes.items():
        assert all(map(np.array_equal, events[:3], other.spikes[name][:3])), name


@pytest.fixture(scope="module")
def on_lava() -> dict[str, tuple[Record, Record | LavaFailed]]:
    """Return what integers and Lava make of all that can be lowered; Lava in one child."""
    if not available():
        pytest.skip("lava-nc is not installed: make setup")
    ticks = 2 * TICKS  # of one sample: Lava builds a network for each
    cases = [case for case in CASES if can_be_lowered(case)]
    graphs = [CASES[case](lif()) for case in cases]
    jobs = [(lower(g, ticks=ticks), stimulus(g, ticks, samples=1), ticks) for g in graphs]
    ours = [reference.run(*job) for job in jobs]
    return dict(zip(cases, zip(ours, run_together(jobs), strict=True), strict=True))


def can_be_lowered(case: str) -> bool:
    return dict(zip(EXECUTORS, table()[case], strict=True))["chip integers"] == YES


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.parametrize("case", [c for c in CASES if can_be_lowered(c)])
def test_lava_runs_bit_for_bit_what_can_be_lowered(
    case: str, on_lava: dict[str, tuple[Record, Record | LavaFailed]]
) -> None:
    ours, theirs = on_lava[case]
    if isinstance(theirs, LavaFailed):
        pytest.fail(str(theirs))
    assert ours.spikes.keys() == theirs.spikes.keys()
    for name, events in ours.spikes.items():
        assert all(map(np.array_equal, events, theirs.spikes[name]))
    assert ours.values.keys() == theirs.values.keys()
    for name, values in ours.values.items():
        assert np.array_equal(values, theirs.values[name])


if __name__ == "__main__":
    PAGE.write_text(page())

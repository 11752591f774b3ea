"""Graphs of Lava's stock neurons in integers: exact where integers are, else close and told."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lava_export import list_breaches, load_program, lower, make_scaling_table, reference
from lava_export.binary import BinaryChipProgram
from lava_export.lower import LowerError
from lava_export.program import LoihiProgram
from lava_export.run import available, run
from neuro.base.units import Seconds, Ticks
from neuro.events import simulate
from neuro.graph import Conv2d, Dense, Edge, GradedInput, Graph, Input
from neuro.neurons import LI, LIF, Delta, LIFReset, SigmaDelta, TernaryLIF
from neuro.spikes import Events, to_events, to_raster
from neuro.spikes.record import Record

DT = Seconds(1.0)
HALF = -1 / math.log(0.5)  # half of v stays


def chain(**nodes: Any) -> Graph:
    names = list(nodes)
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    return Graph(nodes=nodes, edges=edges, dt=DT)


def same_spikes(one: Record, other: Record) -> None:
    for name, e in one.spikes.items():
        assert len(e.tick), name
        assert np.array_equal(to_raster(e), to_raster(other.spikes[name])), name


def whole(rng: np.random.Generator, *shape: int) -> Dense:
    """Return weights that 8 bits hold as they are."""
    return Dense(weight=2.0 * rng.integers(-20, 30, shape) / 64, bias=None)


@pytest.mark.parametrize("seed", range(4))
def test_what_integers_hold_exactly_fires_as_the_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    biased = Dense(weight=whole(rng, 8, 8).weight, bias=rng.integers(0, 4, 8) / 8)
    graph = chain(
        x=GradedInput(shape=(6,), message_bits=4),
        w=whole(rng, 8, 6),
        ternary=TernaryLIF(tau=math.inf, threshold=1.0, lower=0.75),
        w1=whole(rng, 8, 8),
        reset=LIFReset(
            tau=math.inf, threshold=1.0, reset="hard", interval=Ticks(5), offset=Ticks(seed)
        ),
        w2=biased,
        stock=LIF(tau=math.inf, threshold=1.0, reset="hard"),
        w3=whole(rng, 8, 8),
        held=LIF(tau=math.inf, threshold=0.75, refractory=Seconds(float(seed))),
    )
    x = {"x": to_events(rng.integers(-8, 8, (20, 3, 6)))}
    program = lower(graph, ticks=20)
    assert [p.kind for p in program.populations[1:]] == ["ternary", "lif", "lif", "alif"]
    same_spikes(simulate(graph, x)[0], reference.run(program, x, 20))
    rows = make_scaling_table(graph, program)
    assert all(row["weight_error_max"] < 1e-12 for row in rows)
    assert max(row["threshold_error"] for row in rows) < 1e-12
    assert list_breaches(program, "loihi2") == []
    (refractory,) = [b for b in list_breaches(program, "loihi1") if "held: a ref" in b] or [""]
    assert bool(refractory) == bool(seed)


def changes(seed: int) -> tuple[Graph, dict[str, Events]]:
    """Return two layers of ReLUs on changes, and a slow stimulus."""
    rng = np.random.default_rng(seed)

    def dense(out: int, into: int, largest: float) -> Dense:
        return Dense(weight=rng.uniform(-largest, largest, (out, into)), bias=None)

    graph = chain(
        x=GradedInput(shape=(10,), message_bits=8),
        code=Delta(threshold=3.0),
        w=dense(12, 10, 0.01),
        one=SigmaDelta(threshold=0.03, bias=rng.uniform(-0.3, 0.3, 12)),
        w1=dense(8, 12, 3.0),  # an exponent above 0
        two=SigmaDelta(threshold=0.05, cumulative=True),
        w2=dense(3, 8, 0.1),
        out=LI(tau=math.inf),
    )
    t = np.arange(25)[:, None, None]
    wave = np.rint(80 * np.sin(t / 8 + rng.uniform(0, 6, (1, 2, 10)))).astype(int)
    return graph, {"x": to_events(wave)}


@pytest.mark.parametrize("seed", range(3))
def test_sigma_delta_networks_stay_close_to_their_graph(seed: int, tmp_path: Any) -> None:
    graph, x = changes(seed)
    program = BinaryChipProgram(lower(graph, ticks=25))
    record, wanted = program.run(x), simulate(graph, x)[0]
    same_spikes(wanted_of(wanted, "x", "code"), wanted_of(record, "x", "code"))  # integers
    off = np.abs(record.values["out"] - wanted.values["out"]).max()
    assert 0 < off < 0.1 * np.abs(wanted.values["out"]).max()
    sent = [np.abs(to_raster(r.spikes["one"])).sum() for r in (record, wanted)]
    assert sent[0] == pytest.approx(sent[1], rel=0.1)
    rows = make_scaling_table(graph, program.program)
    assert [row["kind"] for row in rows] == ["delta", "sigma_delta", "sigma_delta", "sigma"]
    assert all(row["head_room"] is None for row in rows)
    for row, largest in zip(rows[1:], (0.01, 3.0, 0.1), strict=True):
        assert row["weight_error_max"] < largest / 126
        assert row["threshold_error"] < 1 / 128
        assert row["bias_error"] < 1 / 128
    program.save(tmp_path / "p")
    again = load_program(tmp_path / "p").run(x)
    assert np.array_equal(again.values["out"], record.values["out"])


def wanted_of(record: Record, *names: str) -> Record:
    spikes = {name: record.spikes[name] for name in names}
    return Record(executor="", ticks=record.ticks, samples=record.samples, spikes=spikes,
                  values={})  # fmt: skip


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed: make setup")
def test_lava_runs_the_lowered_sigma_delta_network_bit_for_bit() -> None:
    graph, x = changes(0)
    program = lower(graph, ticks=25)
    ours, theirs = reference.run(program, x, 25), run(program, x, 25)
    for name, e in ours.spikes.items():
        assert np.array_equal(to_raster(e), to_raster(theirs.spikes[name])), name
    assert np.array_equal(ours.values["out"], theirs.values["out"])


def test_sums_of_large_messages_are_shifted_to_the_right() -> None:
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, (4, 50))
    graph = chain(
        x=GradedInput(shape=(50,), message_bits=8),
        w=Dense(weight=weight),
        n=LIF(tau=HALF, threshold=50.0, reset="hard"),
    )
    program = lower(graph, ticks=9)
    (c,) = program.connections
    assert c.weight_exp < 0
    assert np.abs(c.weight).max() > 126  # 8 bits still
    x = {"x": to_events(rng.integers(-128, 128, (9, 5, 50)))}
    ours, wanted = reference.run(program, x, 9), simulate(graph, x)[0]
    off = to_raster(ours.spikes["n"]) != to_raster(wanted.spikes["n"])
    assert len(wanted.spikes["n"].tick) > 20
    assert off.mean() < 0.05


def test_what_lavas_neurons_cannot_do_is_refused_at_once() -> None:
    rng = np.random.default_rng(0)
    biased = Dense(weight=np.eye(2), bias=np.ones(2))
    graph = chain(
        x=Input(shape=(2,)),
        code=Delta(threshold=np.array([1.0, 2.0])),
        w=biased,
        sums=SigmaDelta(threshold=0.5),
        w1=whole(rng, 2, 2),
        n=LIF(tau=9.0),
        ternary=TernaryLIF(tau=np.array([5.0, 9.0])),
    )
    with pytest.raises(LowerError) as refused:
        lower(graph, ticks=9)
    told = refused.value.problems
    assert [t.split(":")[0] for t in told] == ["ternary", "code", "sums", "n"]
    assert "thresholds from 1 to 2, a Delta of Lava has one" in told[1]
    assert "use SigmaDelta(bias=...)" in told[2]
    assert "takes the changes of sums, whose graded spikes no membrane" in told[3]
    mixed = Graph(
        nodes={
            **{"x": GradedInput(shape=(2,), message_bits=8), "code": Delta(threshold=1.0)},
            **{"w": whole(rng, 2, 2), "n": LIF(tau=9.0), "out": LI(tau=math.inf)},
        },
        edges=(
            *(Edge("x", "code"), Edge("x", "w"), Edge("w", "n")),
            *(Edge("code", "out"), Edge("n", "out")),  # a LIF sends no changes
        ),
        dt=DT,
    )
    with pytest.raises(LowerError, match="out: takes the changes of code, whose graded spikes"):
        lower(mixed, ticks=9)
    graded = chain(x=Input(shape=(2,)), w=whole(rng, 2, 2), n=LIF(tau=9.0))
    x = {"x": to_events(np.full((2, 1, 2), 3.0))}
    with pytest.raises(ValueError, match="make them whole numbers of a GradedInput"):
        reference.run(lower(graded), x, 2)
    declared = chain(x=GradedInput(shape=(2,), message_bits=3), n=LIF(tau=9.0))
    for value, told_of in ((0.5, "0.5"), (4.0, "4.0")):
        bad = {"x": to_events(np.full((2, 1, 2), value))}
        for execute in (lambda p=bad: simulate(declared, p), lambda p=bad: runs(declared, p)):
            with pytest.raises(ValueError, match=f"like {told_of} are no whole numbers from"):
                execute()


def test_weights_and_thresholds_that_would_vanish_are_refused() -> None:
    small = np.full((2, 1, 1, 1), 0.01)
    graph = chain(
        x=GradedInput(shape=(1, 2, 2), message_bits=8),
        code=Delta(threshold=0.5),
        w=Conv2d(weight=small),
        sums=SigmaDelta(threshold=0.1, bias=900.0),  # 16 bits: units of 1/32
    )
    told = "w: its largest weight becomes 0, less than 5 bits .*, or the bias of sums small"
    with pytest.raises(LowerError, match=told):
        lower(graph, ticks=9)
    flat = chain(
        x=GradedInput(shape=(400,), message_bits=12),
        w=Dense(weight=np.ones((1, 400))),
        n=LIF(tau=HALF, threshold=0.5, reset="hard"),
    )
    with pytest.raises(LowerError, match=r"n: its threshold is 0\.\d+ of a unit of its sums"):
        lower(flat, ticks=9)
    whole_numbers = chain(
        x=GradedInput(shape=(1, 2, 2), message_bits=8),
        w=Conv2d(weight=np.ones((1, 1, 2, 2))),  # odd, and stays 1
        code=Delta(threshold=3.0),
    )
    x = {"x": to_events(np.arange(8).reshape(2, 1, 4))}
    record = BinaryChipProgram(lower(whole_numbers, ticks=2)).run(x)
    assert record.spikes["code"].value.tolist() == [6.0, 16.0]


def runs(graph: Graph, x: dict[str, Events]) -> Record:
    program: LoihiProgram = lower(graph, ticks=2)
    return reference.run(program, x, 2)

"""Neurons without a normal form: by hand, and on both clocks and the oracle alike."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from neuro.base.units import Seconds, Ticks
from neuro.energy import count, estimate
from neuro.events import Exact, Grid, simulate
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Dense, Edge, Graph, GraphError, Input
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import LI, LIF, Delta, LIFReset, SigmaDelta, TernaryLIF, run_population
from neuro.nn import replay
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record

DT = Seconds(1e-3)
TAU = -1e-3 / math.log(0.5)  # half of v stays


def outputs(model: Any, x: list[float]) -> list[float]:
    given = torch.tensor(x, dtype=torch.float64)[:, None, None]
    return run_population(model, given, DT, model.initial(given[0]))[0].flatten().tolist()


def test_a_ternary_lif_fires_on_both_sides_and_returns_to_zero() -> None:
    model = TernaryLIF(tau=TAU, threshold=1.0, lower=0.5)
    assert outputs(model, [0.75, 0.75, 0.75, -0.75, -0.25, -0.5]) == [0, 1, 0, 0, 0, -1]
    for name in ("threshold", "lower"):
        for value in (0.0, math.inf):
            numbers: Any = {"tau": TAU, name: value}
            with pytest.raises(ValueError, match=f"TernaryLIF.{name} must be > 0 and finite"):
                TernaryLIF(**numbers)


def test_a_lif_reset_forgets_before_its_ticks() -> None:
    model = LIFReset(tau=math.inf, threshold=3.0, interval=Ticks(4), offset=Ticks(5))
    assert outputs(model, [2.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0]) == [0, 0, 0, 1, 0, 0, 1]
    for what, change in (("interval", {"interval": Ticks(0)}), ("offset", {"offset": -1})):
        numbers: Any = {"tau": 0.02, "interval": Ticks(2)} | change
        with pytest.raises(ValueError, match=f"LIFReset.{what} must be from"):
            LIFReset(**numbers)


def test_a_delta_sends_changes_and_keeps_what_is_too_small() -> None:
    x = [1.0, 1.25, 1.5, 1.5, 0.0, 0.25]
    assert outputs(Delta(threshold=0.5), x) == [1.0, 0, 0.5, 0, -1.5, 0]
    assert outputs(Delta(threshold=0.0), x) == [1.0, 0.25, 0.25, 0, -1.5, 0.25]
    # Errors of 0.25 and 0.5 (the change and what was left) add up to 0.75.
    cumulative = outputs(Delta(threshold=0.75, cumulative=True), [1.0, 1.25, 1.5, 1.5])
    assert cumulative == [1.0, 0, 0.5, 0]


def test_a_sigma_delta_is_a_relu_of_what_was_sent() -> None:
    model = SigmaDelta(threshold=0.0, bias=np.float64(-1.0).item())
    assert outputs(model, [0.5, 1.0, 1.0, -4.0]) == [0, 0.5, 1.0, -1.5]
    straight = SigmaDelta(threshold=0.0, relu=False)
    assert outputs(straight, [0.5, 1.0, -4.0]) == [0.5, 1.0, -4.0]
    with pytest.raises(ValueError, match=r"SigmaDelta\.threshold must be >= 0"):
        SigmaDelta(threshold=-1.0)


def test_spikes_are_rounded_down_and_what_is_lost_is_not_kept() -> None:
    assert outputs(Delta(threshold=0.5, spike_exp=1), [0.75, 1.5, 1.0, 0.25]) == [
        0.5,
        0.5,
        -0.5,
        -1,
    ]
    assert outputs(Delta(threshold=0.75, spike_exp=0), [0.5, 0.75, -0.5]) == [0, 0, -2]
    model = SigmaDelta(threshold=0.0, bias=0.25, spike_exp=2)
    assert outputs(model, [0.125, 0.125, -1.0]) == [0.25, 0, -0.5]
    for value in (-1, 8):
        with pytest.raises(
            ValueError, match=rf"SigmaDelta\.spike_exp is {value}; it must be from 0"
        ):
            SigmaDelta(threshold=0.0, spike_exp=value)
    for value in (0, 7):
        assert Delta(threshold=0.0, spike_exp=value).spike_exp == value


def test_gradients_pass_what_is_sent() -> None:
    x = torch.tensor([1.0, 0.25, 2.0])[:, None, None].requires_grad_()
    model = Delta(threshold=0.5, spike_exp=6)
    y, _ = run_population(model, x, DT, model.initial(x[0]))
    y.sum().backward()  # the sum of all changes is the last value
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 0, 1]
    v = torch.zeros(1, 1, 2, requires_grad=True)
    ternary = TernaryLIF(tau=0.02)
    s, _ = run_population(ternary, v, DT, ternary.initial(v[0]))
    s.sum().backward()
    assert v.grad is not None
    assert (v.grad > 0).all()  # more input, more spikes of 1 and fewer of -1


def random_network(seed: int) -> tuple[Graph, dict[str, Events]]:
    """Return a network of all stepped neurons, with loops and delays, in dyadic numbers."""
    rng = np.random.default_rng(seed)

    def weight(out: int, into: int) -> Dense:
        return Dense(weight=rng.integers(-8, 9, (out, into)) / 8, bias=None)

    half = np.array([1.0, 0.5, 2.0, 1.0])
    nodes: dict[str, Any] = {
        "x": Input(shape=(5,)),
        "code": Delta(threshold=0.5, cumulative=bool(rng.integers(2)), spike_exp=7),
        "w1": weight(4, 5),
        "hidden": SigmaDelta(
            threshold=half, bias=half - 1, relu=bool(rng.integers(2)),
            cumulative=bool(rng.integers(2)), spike_exp=rng.choice([None, 0, 1]),
        ),
        "w2": weight(4, 4),
        "cells": TernaryLIF(tau=math.inf, threshold=half, lower=half[::-1].copy()),
        "w3": weight(4, 4),
        "lif": LIFReset(
            tau=math.inf, threshold=half, interval=Ticks(int(rng.integers(1, 6))),
            offset=Ticks(int(rng.integers(4))), reset=str(rng.choice(["soft", "hard"])),
            refractory=Seconds(1e-3 * int(rng.integers(3))),
        ),
        "back": weight(4, 4),
        "fires": LIF(tau=math.inf, threshold=half),
        "w4": weight(3, 4),
        "out": LI(tau=math.inf),
    }  # fmt: skip
    edges = [
        Edge("x", "code", Ticks(int(rng.integers(2)))),
        *(Edge(*pair) for pair in (("code", "w1"), ("w1", "hidden"), ("hidden", "w2"))),
        *(Edge(*pair) for pair in (("w2", "cells"), ("cells", "w3"), ("w3", "lif"))),
        Edge("lif", "back", Ticks(2)),
        Edge("back", "cells", Ticks(1)),
        Edge("cells", "cells", Ticks(3)),
        Edge("cells", "fires"),
        Edge("lif", "fires", Ticks(1)),
        Edge("fires", "w4"),
        Edge("cells", "w4", Ticks(1)),
        Edge("w4", "out"),
    ]
    x = rng.integers(-3, 4, (14, 3, 5)) / 2
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT), {"x": to_events(x)}


def same(one: Record, other: Record) -> None:
    for name, e in one.spikes.items():
        assert all(np.array_equal(a, b) for a, b in zip(e, other.spikes[name], strict=True))
    for name, v in one.values.items():
        assert np.array_equal(v, other.values[name]), name


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_both_clocks_and_the_oracle_agree(seed: int) -> None:
    graph, x = random_network(seed)
    record, _ = simulate(graph, x)
    same(replay(graph, x), record)
    slow = simulate_slowly(graph, x)
    same(slow, record)
    implied = count(graph, record)
    for name, counts in record.counts.items():
        for each in (slow.counts[name], implied[name]):
            assert each.spikes == counts.spikes, name
            assert each.synaptic_events == counts.synaptic_events, name
            assert each.synaptic_events_all == counts.synaptic_events_all, name
    same(replay(graph, x, torch.float32), simulate(graph, x, Grid(dtype=np.float32))[0])


def test_a_run_in_two_parts_is_the_whole_run() -> None:
    graph, x = random_network(1)
    whole, _ = simulate(graph, x)
    early = x["x"].tick < 6
    e = x["x"]
    parts = [
        Events(*(c[early] for c in e[:4]), (6, *e.shape[1:])),
        Events(
            e.sample[~early], e.tick[~early] - 6, e.neuron[~early], e.value[~early],
            (8, *e.shape[1:]),
        ),
    ]  # fmt: skip
    first, state = simulate(graph, {"x": parts[0]})
    second, _ = simulate(graph, {"x": parts[1]}, state=state)
    for name, values in whole.values.items():
        joined = np.concatenate([first.values[name], second.values[name]])
        assert np.array_equal(joined, values)
    sent = [len(r.spikes["lif"].tick) + len(r.spikes["hidden"].tick) for r in (first, second)]
    assert sum(sent) == len(whole.spikes["lif"].tick) + len(whole.spikes["hidden"].tick)


def test_other_executors_say_what_they_do(tmp_path: Path) -> None:
    graph, x = random_network(0)
    with pytest.raises(GraphError, match="cells: a TernaryLIF has no normal form, by which"):
        simulate(graph, x, Exact())
    save_graph(tmp_path / "graph", graph)
    again = load_graph(tmp_path / "graph")
    same(simulate(again, x)[0], simulate(graph, x)[0])
    record, _ = simulate(graph, x)
    assert estimate(graph, record, "loihi2")

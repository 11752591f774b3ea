"""Loops without delay, layers that pass on within an instant, and image networks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, KINDS, agree, at_any_time, by_neuron, network, on_ticks, run
from graphs import random_graph, stimulus
from hypothesis import Phase, given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import Runaway, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import LIF
from neuro.spikes import Times

HEAP = replace(CLOCK, driver="heap")
DELTAS = ("delta", "no leak", "adaptive", "deltas and currents")


def laws(examples: int) -> settings:
    return settings(max_examples=examples, phases=(Phase.explicit, Phase.generate))


@pytest.mark.parametrize("kind", DELTAS)
@laws(4)
@given(seed=st.integers(0, 10**6))
def test_loops_without_delay_run_in_rounds_as_in_the_oracle(kind: str, seed: int) -> None:
    graph = network(kind, seed, loop=0, refractory=0.0013)
    train = (on_ticks if seed % 2 else at_any_time)(seed, graded=True)
    want, neurons = simulate_exactly_slowly(graph, {"x": train})
    record, state = simulate(graph, {"x": train}, CLOCK)
    agree(record, want)
    for name, rows in neurons.items():
        np.testing.assert_allclose(state.neurons[name], rows, rtol=0, atol=1e-10)


def ring(*weights: float, reset: str = "hard", refractory: float = 0.0) -> Graph:
    """Return x -> a -> b -> a, all without delay: weights of x -> a, a -> b, b -> a."""
    names = ("in", "on", "back")
    dense = {n: Dense(weight=np.array([[w]])) for n, w in zip(names, weights, strict=True)}
    cell = LIF(tau=0.01, reset=reset, refractory=Seconds(refractory))  # type: ignore[arg-type]
    return wire(
        "x>in in>a a>on on>b b>back back>a",
        {"x": Input(shape=(1,)), **dense, "a": cell, "b": cell},
        dt=DT,
    )


def one_spike(value: float = 1.0) -> Times:
    zero = np.zeros(1, np.int32)
    return Times(zero, np.array([1.5 * DT]), zero, np.array([value]), (4, 1, 1))


def three(seed: int) -> Graph:
    """Return x -> three populations, each of which feeds both others, all without delay.

    A refractory period lets each neuron fire once an instant, so that every instant ends.
    """
    rng, names = np.random.default_rng(seed), ("a", "b", "c")
    nodes: dict[str, Node] = {"x": Input(shape=(3,))}
    nodes |= {n: LIF(tau=0.01, reset="hard", refractory=Seconds(0.0013)) for n in names}
    edges = []
    for source, target in itertools.product(("x", *names), names):
        if source != target:
            size = (2, 3) if source == "x" else (2, 2)
            nodes[f"{source}{target}"] = Dense(weight=rng.integers(-100, 256, size) / 256)
            edges += [Edge(source, f"{source}{target}"), Edge(f"{source}{target}", target)]
    return Graph(nodes=nodes, edges=tuple(edges), dt=DT)


@pytest.mark.parametrize("seed", range(6))
def test_three_populations_without_delay_run_in_rounds_as_in_the_oracle(seed: int) -> None:
    graph, train = three(seed), at_any_time(seed)
    want, neurons = simulate_exactly_slowly(graph, {"x": train})
    record, state = simulate(graph, {"x": train}, CLOCK)
    agree(record, want)
    together = sum(
        np.intersect1d(want.times["a"].time, want.times[n].time).size for n in ("b", "c")
    )
    assert together > 3  # spikes are passed on within an instant
    for name, rows in neurons.items():
        np.testing.assert_allclose(state.neurons[name], rows, rtol=0, atol=1e-10)


def test_what_comes_back_in_the_same_instant_acts_in_the_next_round() -> None:
    record = run(ring(1.0, 1.0, 0.5), one_spike())
    assert record.times["a"].time.tolist() == record.times["b"].time.tolist() == [1.5 * DT]
    _, state = simulate(ring(1.0, 1.0, 0.5), {"x": one_spike()}, CLOCK)
    left = np.exp(-2.5 * DT / 0.01)
    np.testing.assert_allclose(state.neurons["a"][0], 0.5 * left, rtol=1e-14)


def test_a_refractory_cell_does_not_hear_what_comes_back() -> None:
    record = run(ring(1.0, 1.0, 9.0, refractory=0.001), one_spike())
    assert record.times["a"].time.tolist() == [1.5 * DT]


def test_a_loop_without_delay_that_never_calms_down_is_stopped_and_named() -> None:
    with pytest.raises(Runaway, match=r"(?s)spikes by tick.*[ab] fired most"):
        run(ring(1.0, 1.0, 1.0), one_spike(), replace(CLOCK, budget=50))


def test_layers_without_delay_fire_in_the_same_instant() -> None:
    cell = LIF(tau=0.01, reset="hard")
    nodes = {"x": Input(shape=(1,)), "a": cell, "b": cell, "c": cell}
    record = run(wire("x>a a>b b>c x>c:1", nodes, dt=DT), one_spike())
    for name in ("a", "b"):
        assert record.times[name].time.tolist() == [1.5 * DT]
    assert record.times["c"].time.tolist() == [1.5 * DT, 2.5 * DT]


@pytest.mark.parametrize("seed", [4, 6, 8, 12])
def test_image_networks_run_as_in_the_oracle(seed: int) -> None:
    graph = random_graph(seed, for_lava=True)
    train = stimulus(graph, seed, ticks=3, samples=1)
    want, _ = simulate_exactly_slowly(graph, train)
    for clock in (CLOCK, HEAP):
        agree(simulate(graph, train, clock)[0], want)


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_runs_of_one_tick_are_one_run_of_sixteen(kind: str) -> None:
    graph, train = network(kind, 5, refractory=0.0013), at_any_time(5)
    whole, state = run(graph, train), None
    found = []
    for tick in range(16):
        now = (train.time > tick * DT) & (train.time <= (tick + 1) * DT)
        part = Times(*(c[now] for c in train[:4]), (1, 1, 3))
        part = part._replace(time=part.time - tick * DT)
        record, state = simulate(graph, {"x": part}, CLOCK, state=state)
        t = record.times["late"]
        found.append(t._replace(time=t.time + tick * DT))
    joined = by_neuron(
        Times(
            *(np.concatenate(c) for c in zip(*(t[:4] for t in found), strict=True)), (16, 1, 4)
        )
    )
    want = by_neuron(whole.times["late"])
    np.testing.assert_array_equal(joined.neuron, want.neuron)
    np.testing.assert_allclose(joined.time, want.time, rtol=0, atol=1e-12)

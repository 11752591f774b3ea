"""The run that EventProp trains on is the event engine's, spike for spike."""

import numpy as np
from exact_networks import DT, T, drawn, network
from hypothesis import given, settings, strategies as st

from neuro.eventprop import compute_activity, compute_gradients
from neuro.events import Exact, simulate
from neuro.graph import Dense, Edge, Graph, Input
from neuro.neurons import LIF
from neuro.spikes import to_events, to_times

SEEDS = st.integers(0, 10**6)


@settings(max_examples=20)
@given(seed=SEEDS, ratio=st.one_of(st.floats(0.1, 5.0), st.just(1.0), st.just(0.5)))
def test_spikes_are_those_of_the_exact_clock(seed: int, ratio: float) -> None:
    graph = network(seed, ratio)
    x = {"input": drawn(np.random.default_rng(seed), 3, 3)}
    own, (record, _) = compute_activity(graph, x), simulate(graph, x, Exact())
    for name in ("hidden", "out"):
        one, other = own.times[name], record.times[name]
        assert np.array_equal(one.sample, other.sample)
        assert np.array_equal(one.neuron, other.neuron)
        np.testing.assert_allclose(one.time, other.time, rtol=0, atol=1e-12)


def test_neurons_numbered_in_few_bits_are_the_same_among_all_sources() -> None:
    rng, names = np.random.default_rng(3), ("a", "b")
    nodes = {"cells": LIF(tau=0.02, tau_syn=0.005, reset="hard", threshold=0.5)}
    edges = []
    for name in names:  # of both together more than 8 bits count
        nodes |= {name: Input(shape=(200,)), f"w{name}": Dense(weight=rng.random((2, 200)))}
        edges += [Edge(name, f"w{name}"), Edge(f"w{name}", "cells")]
    graph = Graph(nodes=nodes, edges=tuple(edges), dt=DT)
    raster = rng.random((5, 2, 200)) < 0.05
    train = to_times(to_events(raster), DT)
    narrow = train._replace(neuron=train.neuron.astype(np.uint8))
    for run in (compute_activity, lambda *of: simulate(*of, Exact())[0]):
        few, many = (
            run(graph, dict.fromkeys(names, t)).times["cells"] for t in (narrow, train)
        )
        assert many.time.size > 10
        assert np.array_equal(few.time, many.time)
        assert np.array_equal(few.neuron, many.neuron)


def test_a_record_of_the_engine_gives_the_same_gradients() -> None:
    rng = np.random.default_rng(7)
    graph, x = network(7), {"input": drawn(rng, 3, 3)}
    own, (record, _) = compute_activity(graph, x), simulate(graph, x, Exact())
    asked = {"by_mean": {"read": rng.normal(size=(T, 3, 2))}, "least": 0.0}
    one, other = (
        compute_gradients(graph, own.times, **asked),
        compute_gradients(graph, record.times, **asked),
    )
    for name, by in one.weights.items():
        np.testing.assert_allclose(other.weights[name], by, rtol=1e-8, atol=1e-8)


def test_means_over_ticks_lie_close_to_the_samples_at_their_ends() -> None:
    """They differ by what happens inside a tick: the leak, and the arrivals of that tick."""
    graph, x = network(7), {"input": drawn(np.random.default_rng(7), 3, 3)}
    mean, sampled = (
        compute_activity(graph, x).means["read"],
        simulate(graph, x, Exact())[0].values["read"],
    )
    before = np.concatenate([np.zeros((1, 3, 2)), sampled[:-1]]) * np.exp(-DT / 0.01)
    inside = (before <= mean) & (
        mean <= sampled * np.exp(DT / 0.01)
    )  # all weights are positive
    assert inside.all()

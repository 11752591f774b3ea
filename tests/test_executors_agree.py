"""Two pairs of executors agree exactly on random networks: torch = events, reference = Lava."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from exact_laws import agree
from graphs import joined_graph, random_graph, stimulus
from hypothesis import example, given, settings, strategies as st
from layer_cases import random_layer, trace_layer

from lava_export import lower, reference
from lava_export.run import available, run
from neuro.energy import count
from neuro.events import Exact, Grid, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Weighted
from neuro.neurons import LIF
from neuro.nn import replay
from neuro.spikes.record import Record

SEEDS = st.integers(0, 10**6)


def same(one: Record, other: Record) -> None:
    assert one.spikes.keys() == other.spikes.keys()
    for name, events in one.spikes.items():
        for a, b in zip(events, other.spikes[name], strict=True):
            assert np.array_equal(a, b), name
    for name, values in one.values.items():
        assert np.array_equal(values, other.values[name]), name


@pytest.mark.slow
@settings(max_examples=12)
@given(seed=SEEDS)
def test_torch_and_events_agree_spike_for_spike_with_any_weights(seed: int) -> None:
    graph = random_graph(seed, dyadic=False)
    x = stimulus(graph, seed)
    clock, (events, _) = replay(graph, x), simulate(graph, x)
    for name, e in clock.spikes.items():
        assert all(np.array_equal(a, b) for a, b in zip(e, events.spikes[name], strict=True))
    for name, v in clock.values.items():
        np.testing.assert_allclose(events.values[name], v, rtol=0, atol=1e-12)


@settings(max_examples=15)
@given(seed=SEEDS)
def test_every_kind_of_linear_node_agrees_in_spikes_and_counts(seed: int) -> None:
    module, shape = random_layer(seed)
    node, graph = trace_layer(module, shape)
    if isinstance(node, Weighted):
        node = replace(node, weight=np.round(node.weight * 256) / 64, bias=None)
    nodes = {**graph.nodes, "layer": node, "cells": LIF(tau=0.01, threshold=0.5)}
    graph = replace(graph, nodes=nodes)
    x = stimulus(graph, seed)
    record, _ = simulate(graph, x)
    same(replay(graph, x), record)
    implied = count(graph, record)["layer"]
    assert record.counts["layer"].synaptic_events == implied.synaptic_events
    assert record.counts["layer"].synaptic_events_all == implied.synaptic_events_all


@pytest.mark.slow
@settings(max_examples=8)
@given(seed=SEEDS)
def test_what_is_joined_agrees_on_the_clock_the_queue_and_the_oracle(seed: int) -> None:
    graph = joined_graph(seed)
    x = stimulus(graph, seed, ticks=10)
    same(replay(graph, x, torch.float32), simulate(graph, x, Grid(dtype=np.float32))[0])
    record, _ = simulate(graph, x)
    slow = simulate_slowly(graph, x)
    same(slow, record)
    implied = count(graph, record)
    for name, counts in record.counts.items():
        for each in (slow.counts[name], implied[name]):
            assert each.synaptic_events == counts.synaptic_events, name
            assert each.synaptic_events_all == counts.synaptic_events_all, name


@pytest.mark.slow
@settings(max_examples=6)
@given(seed=SEEDS)
def test_what_is_joined_agrees_in_continuous_time(seed: int) -> None:
    graph = joined_graph(seed, steady=False)
    x = stimulus(graph, seed, ticks=10)
    grid, _ = simulate(graph, x)
    slow, _ = simulate_exactly_slowly(graph, x)
    for clock in (Exact(), Exact(driver="heap")):
        exact, _ = simulate(graph, x, clock)
        for name in ("first", "second", "third", "last"):
            for record in (grid, slow):
                for a, b in zip(exact.spikes[name], record.spikes[name], strict=True):
                    np.testing.assert_array_equal(a, b, name)
        np.testing.assert_allclose(exact.values["readout"], grid.values["readout"], atol=1e-12)
        for name, counts in exact.counts.items():
            assert counts.synaptic_events == slow.counts[name].synaptic_events, name


@pytest.mark.slow
@settings(max_examples=6)
@given(seed=SEEDS)
@example(seed=718527)  # two spikes of which rounding once decided who comes first
def test_a_joined_bias_reaches_its_place_in_continuous_time(seed: int) -> None:
    graph = joined_graph(seed, dyadic=False)  # biases act between ticks
    x = stimulus(graph, seed, ticks=10)
    agree(simulate(graph, x, Exact())[0], simulate_exactly_slowly(graph, x)[0])


def test_biases_without_ties_bring_about_crossings_inside_ticks() -> None:
    """Agreement on spikes that arrivals alone bring about would say nothing of biases."""
    inside = dict.fromkeys(("first", "second", "third", "last"), 0)
    for seed in range(20):
        graph = joined_graph(seed, dyadic=False)
        record, _ = simulate(graph, stimulus(graph, seed, ticks=10), Exact())
        for name in inside:
            phase = record.times[name].time / graph.dt
            inside[name] += int((abs(phase - phase.round()) > 1e-3).sum())
    assert min(inside.values()) > 100, inside


@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(not available(), reason="lava-nc is not installed; make setup installs it")
@pytest.mark.parametrize("seed", range(4))
def test_the_reference_and_lava_agree_bit_for_bit(seed: int) -> None:
    graph = random_graph(seed, for_lava=True)
    program = lower(graph, ticks=20)
    x = stimulus(graph, seed, ticks=20, samples=1)  # Lava builds a network for each sample
    same(reference.run(program, x, 20), run(program, x, 20))


@pytest.mark.slow
def test_the_random_networks_are_alive() -> None:
    """Agreement of silent networks would say nothing."""
    for seed in range(20):
        graph = random_graph(seed)
        record = replay(graph, stimulus(graph, seed))
        for name, e in record.spikes.items():
            assert len(e.tick) > 0, (seed, name)

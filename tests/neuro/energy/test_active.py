"""Which neurons are active: reached, or charged in the fractions that a chip keeps."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds, Ticks
from neuro.energy.active import count_charged, count_reached
from neuro.energy.synapses import compose
from neuro.events import simulate
from neuro.graph import Dense, Edge, Graph, Input, Node
from neuro.neurons import ALIF, IF, LI, LIF
from neuro.spikes import to_events, to_raster
from neuro.spikes.record import Record

DT = Seconds(1.0)
NEURONS: list[Node] = [
    LIF(tau=3.0, threshold=5.3, reset="hard"),
    LIF(tau=2.0, threshold=5.3, reset="soft", refractory=2.0),
    LIF(tau=1.5, threshold=4.1, reset="hard", tau_syn=2.0, refractory=1.0),
    IF(threshold=5.0, reset="hard"),
    IF(threshold=5.0, reset="soft"),
    ALIF(leak=0.6, threshold=2.3, beta=1.7, rho=0.5, reset="soft"),
    LI(tau=1.2),
]


def one(neuron: Node, weight: np.ndarray) -> Graph:
    nodes = {"x": Input(shape=(weight.shape[1],)), "w": Dense(weight=weight), "n": neuron}
    return wire("x>w:1 w>n", nodes, dt=DT)


def walk(k: Any, drive: list[float], fired: list[bool], unit: float) -> list[bool]:
    """One neuron, tick by tick. unit: fractions that v = 1 is."""
    charged, i, v, a, wait = [], 0.0, 0.0, 0.0, 0
    for x, s in zip(drive, fired, strict=True):
        charged.append(abs(v) * unit > 1e-6)
        i = float(k.decay_syn) * i + x
        if wait == 0:
            left = float(k.decay) * v * unit
            if k.decay < 1:
                left = math.trunc(left + math.copysign(1e-6, left))
            v = left / unit + float(k.gain) * i
        wait = max(wait - 1, 0)
        a *= float(k.decay_adapt)
        if s:
            v = 0.0 if k.hard else v - float(k.threshold) - a
            a += float(k.beta)
            wait = k.refractory
    return charged


@pytest.mark.filterwarnings("ignore:a tick of dt")
@given(seed=st.integers(0, 10**6), which=st.integers(0, len(NEURONS) - 1))
def test_charged_neurons_are_those_of_a_walk_over_ticks(seed: int, which: int) -> None:
    rng, neuron = np.random.default_rng(seed), NEURONS[which]
    weight = rng.integers(-3, 7, (4, 3)) * (rng.random((4, 3)) < 0.7)
    weight[0, 0] = -7 if seed % 2 else 7
    graph, x = one(neuron, weight), rng.random((30, 1, 3)) < 0.15
    record, _ = simulate(graph, {"x": to_events(x)})
    found = count_charged(graph, record, compose(graph))["n"]
    k, late = neuron.coefficients(DT), np.zeros((30, 3))  # type: ignore[union-attr]
    late[1:] = x[:-1, 0]
    drive = late @ weight.T
    fired = np.zeros((30, 4), bool)
    if k.fires:
        fired = to_raster(record.spikes["n"])[:, 0] > 0
    reached = (late @ (weight != 0).T > 0) | fired
    every = (late.any(1)[:, None]) | fired
    largest = 7 * float(k.gain)  # weights are stored with the gain
    coarse, fine = (
        np.array(
            [
                walk(k, d, f, 64 * units / largest)
                for d, f in zip(drive.T.tolist(), fired.T.tolist(), strict=True)
            ]
        ).T
        for units in (1, 254)
    )
    assert found.least[:, 0].tolist() == (reached | coarse).sum(1).tolist()
    assert found.neurons[:, 0].tolist() == (reached | fine).sum(1).tolist()
    assert found.most[:, 0].tolist() == (every | fine).sum(1).tolist()
    only = count_reached(graph, record)["n"]
    assert only.neurons[:, 0].tolist() == reached.sum(1).tolist()
    assert only.least is only.neurons is only.most


def record_of(graph: Graph, x: np.ndarray) -> Record:
    return simulate(graph, {"x": to_events(x)})[0]


@pytest.mark.filterwarnings("ignore:a tick of dt")
def test_a_charge_is_gone_after_as_many_halvings_as_its_fractions_have_bits() -> None:
    # 64 fractions are gone after 7 halvings, 254 x 64 after 14; it is there from tick 2 on.
    graph = one(LI(tau=1 / math.log(2)), np.ones((1, 1)))
    x = np.zeros((30, 1, 1), bool)
    x[0] = True
    found = count_charged(graph, record_of(graph, x), compose(graph))["n"]
    assert [int(c.sum()) for c in found] == [1 + 7, 1 + 14, 1 + 14]
    assert found.neurons[:3, 0].tolist() == [0, 1, 1]


def test_what_cancels_without_a_leak_leaves_no_charge() -> None:
    graph = one(IF(threshold=9.0), np.array([[0.1, 0.2, -0.3]]))
    x = np.zeros((6, 1, 3), bool)
    x[0, 0, :2] = x[2, 0, 2] = True
    found = count_charged(graph, record_of(graph, x), compose(graph))["n"]
    assert [c[:, 0].tolist() for c in found] == [[0, 1, 1, 1, 0, 0]] * 3


def test_what_an_edge_delays_reaches_and_charges_later() -> None:
    graph = one(IF(threshold=9.0), np.ones((1, 1)))
    late = replace(graph, edges=(Edge("x", "w"), Edge("w", "n", Ticks(2))))
    x = np.zeros((5, 1, 1), bool)
    x[0] = True
    record = record_of(late, x)
    charged = count_charged(late, record, compose(late))["n"]
    assert [c[:, 0].tolist() for c in charged] == [[0, 0, 1, 1, 1]] * 3
    assert count_reached(late, record)["n"].neurons[:, 0].tolist() == [0, 0, 1, 0, 0]


@pytest.mark.filterwarnings("ignore:a tick of dt")
def test_negative_values_reach_as_others_do() -> None:
    graph = one(LI(tau=1.2), np.ones((2, 2)))
    x = np.zeros((4, 1, 2))
    x[0, 0], x[1, 0, 0] = [1, -1], -2
    found = count_reached(graph, record_of(graph, x))["n"]
    assert found.neurons[:, 0].tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_neuron_that_fires_exactly_is_empty_again(reset: Any) -> None:
    graph = one(IF(threshold=2.0, reset=reset), np.ones((1, 1)))
    x = np.zeros((6, 1, 1), bool)
    x[:2] = True
    found = count_charged(graph, record_of(graph, x), compose(graph))["n"]
    assert found.neurons[:, 0].tolist() == [0, 1, 1, 0, 0, 0]

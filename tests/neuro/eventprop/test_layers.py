from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import trapezoid
from written_graphs import wire

from neuro.base.units import Seconds, Ticks
from neuro.eventprop import EventPropError
from neuro.eventprop.layers import build_layers, push
from neuro.graph import Conv2d, Dense, Edge, Graph, Input, Node, Softmax
from neuro.neurons import ALIF, LI, LIF, GatedLI

DT = Seconds(1e-3)


def chain(*nodes: tuple[str, Node], more: tuple[Edge, ...] = ()) -> Graph:
    names = [name for name, _ in nodes]
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    return Graph(nodes=dict(nodes), edges=edges + more, dt=DT)


def dense(out: int, given: int, bias: bool = False) -> Dense:
    return Dense(weight=np.ones((out, given)), bias=np.ones(out) if bias else None)


def problems(graph: Graph) -> list[str]:
    with pytest.raises(EventPropError) as e:
        build_layers(graph)
    assert str(e.value).startswith("EventProp cannot differentiate this network:\n")
    return e.value.problems


def test_all_that_has_no_exact_gradient_is_told_at_once_with_cures() -> None:
    graph = chain(
        ("input", Input(shape=(1, 3, 3))),
        ("conv", Conv2d(weight=np.ones((2, 1, 3, 3)))),
        ("alif", ALIF()),
        ("delta", LIF(tau=0.01, reset="hard")),
        ("soft", LIF(tau=0.01, tau_syn=0.005, refractory=Seconds(2e-3))),
        more=(Edge("soft", "alif", Ticks(1)),),
    )
    told = "\n".join(problems(graph))
    for part in (
        "conv: Conv2d has no adjoint here; write it as one Dense",
        "alif: ALIF has no adjoint here; use LIF(tau_syn=..., reset='hard')",
        "delta: with delta synapses a spike coincides with an input spike",
        "give it tau_syn",
        "delta -> soft: no adjoint for loops here; use surrogate gradients",
        "soft: the soft reset has no adjoint here; use reset='hard'",
        "soft: a refractory period has no adjoint here; use refractory=0",
    ):
        assert part in told


def test_linear_parts_are_checked_too() -> None:
    taus = np.array([0.01, 0.02])
    graph = chain(
        ("input", Input(shape=(3,))),
        ("one", dense(2, 3, bias=True)),
        ("two", dense(2, 2)),
        ("cells", LIF(tau=taus, tau_syn=0.005, reset="hard")),
        ("read", LI(tau=taus)),
    )
    assert problems(graph) == [
        "one: a bias acts at every time; use an Input neuron that spikes once",
        "one: a Dense behind a Dense; multiply their weights into one",
        "cells: its neurons need one tau and one tau_syn",
        "read: an LI needs one tau and one gain here",
    ]


def test_a_current_as_a_node_is_refused() -> None:
    cell = LIF(tau=0.01, tau_syn=0.005, reset="hard")
    graph = chain(
        ("input", Input(shape=(2,))),
        ("fc", dense(2, 2)),
        ("psc", LI(tau=0.01)),
        ("cells", cell),
    )
    assert problems(graph) == ["psc: an LI that feeds others; use LIF(tau_syn=...) instead"]


@pytest.mark.parametrize(("leak", "fade"), [(50.0, 200.0), (200.0, 50.0), (100.0, 100.0)])
def test_an_arrival_has_raised_v_by_its_weight_after_a_tick(leak: float, fade: float) -> None:
    s = np.linspace(0, DT, 100_001)
    current = push(leak, fade, DT) * np.exp(-fade * s)
    v = trapezoid(current * np.exp(-leak * (DT - s)), s)
    assert v == pytest.approx(1.0, rel=1e-9)


def test_delays_and_paths_are_read_off_the_graph() -> None:
    cell = LIF(tau=0.01, tau_syn=0.005, reset="hard")
    graph = wire(
        "input>fc:2 fc>cells:3 cells>read:1",
        {"input": Input(shape=(2,)), "fc": dense(2, 2), "cells": cell, "read": LI(tau=0.01)},
    )
    cells, read = build_layers(graph)
    ((source, matrix, delay),) = cells.paths
    assert (source, matrix, delay.tolist()) == ("input", "fc", pytest.approx([0.005, 0.005]))
    ((source, matrix, delay),) = read.paths
    assert (source, matrix, delay.tolist()) == ("cells", None, [0.001, 0.001])
    assert read.cell is None
    assert cells.rows.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_what_has_values_at_ticks_only_is_refused() -> None:
    graph = chain(("input", Input(shape=(4,))), ("soft", Softmax()), ("gated", GatedLI()))
    assert problems(graph) == [
        "soft: Softmax has no spike times; use surrogate gradients",
        "gated: GatedLI has no spike times; use surrogate gradients",
    ]

from dataclasses import replace

import numpy as np
import pytest
from written_graphs import wire

from neuro.graph import Dense, Input
from neuro.neurons import LI, LIF
from neuro.nn.rounding import compute_margins
from neuro.spikes import to_events

GRAPH = wire(
    "x>d d>s:1 s>out out>v",
    {
        "x": Input(shape=(1,)),
        "d": Dense(weight=np.array([[0.75]])),
        "s": LIF(tau=float("inf"), threshold=1.0),
        "out": Dense(weight=np.array([[1.0]])),
        "v": LI(tau=float("inf")),
    },
)


def test_a_margin_is_the_membrane_before_reset_less_the_threshold() -> None:
    x = {"x": to_events(np.ones((4, 1, 1), np.float32))}
    assert compute_margins(GRAPH, x, "s").ravel().tolist() == [-1.0, -0.25, 0.5, 0.25]


def test_a_refractory_neuron_is_infinitely_far_from_its_threshold() -> None:
    graph = replace(GRAPH, nodes={**GRAPH.nodes, "s": LIF(tau=float("inf"), refractory=2e-3)})
    x = {"x": to_events(np.ones((7, 1, 1), np.float32))}
    found, away = compute_margins(graph, x, "s").ravel().tolist(), -np.inf
    assert found == [-1, -0.25, 0.5, away, away, 0.25, away]


def test_a_read_out_has_no_margin() -> None:
    x = {"x": to_events(np.ones((4, 1, 1), np.float32))}
    with pytest.raises(ValueError, match="v: a LI has no threshold"):
        compute_margins(GRAPH, x, "v")

from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from neuro.base.units import Seconds, Ticks
from neuro.graph import Dense, Edge, Exceeds, Graph, Input, Multiply, Node
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import LI, LIF
from neuro.neurons.surrogate import triangle

WEIGHT = np.array([[0.5, 0.25], [1.0, -0.5]], np.float32)


def network(**changes: Any) -> Graph:
    nodes = {
        "x": Input(shape=(2,)),
        "fc": Dense(weight=WEIGHT),
        "cells": LIF(tau=0.01, threshold=0.5, reset="hard"),
        "out": LI(tau=0.02),
    }
    edges = (Edge("x", "fc"), Edge("fc", "cells", Ticks(2)), Edge("cells", "out"))
    given = {"nodes": nodes, "edges": edges, "dt": Seconds(1e-3), **changes}
    return Graph(**given)


def with_node(name: str, **changes: Any) -> Graph:
    graph = network()
    return network(nodes={**graph.nodes, name: replace(graph.nodes[name], **changes)})


def test_equal_networks_have_one_digest_and_it_survives_a_file(tmp_path: Path) -> None:
    save_graph(tmp_path / "graph.safetensors", network())
    back = load_graph(tmp_path / "graph.safetensors")
    assert digest_graph(network()) == digest_graph(network()) == digest_graph(back)


@pytest.mark.parametrize(
    "other",
    [
        with_node("fc", weight=np.nextafter(WEIGHT, 2, dtype=np.float32)),
        with_node("fc", weight=WEIGHT.astype(np.float64)),
        with_node("fc", bias=np.zeros(2, np.float32)),
        with_node("cells", threshold=0.6),
        with_node("cells", reset="soft"),
        with_node("cells", refractory=Seconds(1e-3)),
        network(dt=Seconds(2e-3)),
        network(edges=(Edge("x", "fc"), Edge("fc", "cells"), Edge("cells", "out"))),
    ],
)
def test_whatever_acts_changes_the_digest(other: Graph) -> None:
    assert digest_graph(other) != digest_graph(network())


def test_a_surrogate_and_the_kind_of_a_number_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    mine = digest_graph(network())
    assert digest_graph(with_node("cells", surrogate=triangle)) == mine
    assert digest_graph(with_node("cells", threshold=torch.tensor(0.5))) == mine
    assert digest_graph(with_node("cells", threshold=np.float64(0.5))) == mine
    # One value for all, however it is written, is one value.
    for same in (np.full(2, 0.5), np.full(2, 0.5, np.float32), np.array([0.5]), [0.5, 0.5]):
        assert digest_graph(with_node("cells", threshold=same)) == mine
    for one in (1, 1.0, True + 0, np.int64(1), np.array([1]), torch.ones(2, dtype=torch.int32)):
        found = digest_graph(with_node("cells", threshold=one))
        assert found == digest_graph(with_node("cells", threshold=1.0))
    assert digest_graph(with_node("cells", refractory=0)) == mine
    assert digest_graph(network(dt=np.float64(1e-3))) == mine
    two = np.array([0.5, 0.25])
    assert digest_graph(with_node("cells", threshold=two)) != mine
    assert digest_graph(with_node("cells", threshold=two)) == digest_graph(
        with_node("cells", threshold=torch.from_numpy(two).float())
    )


@pytest.mark.filterwarnings("ignore:a tick of dt")
def test_the_length_of_a_tick_is_a_number_whatever_its_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    assert digest_graph(network(dt=1)) == digest_graph(network(dt=Seconds(1.0)))


def test_nodes_of_other_kinds_without_parameters_have_other_digests() -> None:
    def halved(host: Node) -> Graph:
        nodes = {"x": Input(shape=(4,)), "half": host, "out": LI(tau=0.02)}
        return network(nodes=nodes, edges=(Edge("x", "half"), Edge("half", "out")))

    assert digest_graph(halved(Multiply())) != digest_graph(halved(Exceeds()))

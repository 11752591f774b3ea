"""A Poisson node in a Graph: its values, its file, its sums in torch, and who refuses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from written_graphs import chain, wire

from lava_export import lower
from lava_export.graded.lower import lower_graded
from lava_export.xylo.lower import lower_to_xylo
from neuro.energy import count, estimate
from neuro.eventprop.layers import build_layers
from neuro.graph import Dense, Graph, GraphError, Input, Poisson
from neuro.interop.nir import to_nir
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import LIF
from neuro.nn import Net, replay

DT = 5e-4
RATES = np.array([[90.0, 0.0, 700.0], [1500.0, 20.0, 333.0]])


def driven(rate: Any = RATES, seed: int = 4) -> Graph:
    source = Poisson(rate=rate, shape=(2, 3), seed=seed)
    return chain(DT, p=source, n=LIF(tau=0.02, threshold=3.5))


def test_a_run_is_given_the_spikes_of_inputs_and_records_those_of_both() -> None:
    nodes = {"x": Input(shape=(2, 3)), "p": driven().nodes["p"], "n": LIF(tau=0.02)}
    graph = wire("x>n p>n", nodes, DT)
    assert (graph.inputs, graph.poisson, graph.sources) == (("x",), ("p",), ("x", "p"))
    x = torch.zeros(40, 3, 2, 3)
    p = Net(graph).double()({"x": x}, ticks=40)[0]["p"]
    assert (p.shape, p.dtype) == (x.shape, torch.float32)  # of the stimulus
    record = replay(driven(), {}, ticks=40, samples=3)
    assert (p.flatten(2) == torch.from_numpy(to_dense(record, "p"))).all()
    assert not p[:, :, 0, 1].any()
    assert abs(float(p[:, :, 1, 0].mean()) - 0.75) < 4 * np.sqrt(0.75 / 120)


def to_dense(record: Any, name: str) -> np.ndarray:
    out = np.zeros(record.spikes[name].shape)
    events = record.spikes[name]
    out[events.tick, events.sample, events.neuron] = events.value
    return out


def test_a_spike_of_several_events_counts_once() -> None:
    graph = chain(
        p=Poisson(rate=1600.0, shape=(5,), seed=1),
        w=Dense(weight=np.arange(15.0).reshape(3, 5)),
        n=LIF(tau=0.02),
    )
    record = replay(graph, {}, ticks=200)
    spikes, counts = record.spikes["p"], count(graph, record)
    assert spikes.value.max() > 3
    assert counts["p"].spikes == spikes.tick.size
    assert counts["w"].synaptic_events_all == 3 * spikes.tick.size
    assert counts["w"].synaptic_events == (3 * spikes.tick.size - (spikes.neuron == 0).sum())


def test_torch_continues_where_its_state_ends() -> None:
    net = Net(driven())
    whole, end = net({}, ticks=30, samples=2)
    first, state = net({}, ticks=11, samples=2)
    second, state = net({}, state, ticks=19, samples=2)
    for name in "pn":
        assert torch.equal(torch.cat([first[name], second[name]]), whole[name])
    assert (state.ticks, end.ticks) == (30, 30)
    assert whole["p"].dtype == torch.float32
    assert not torch.equal(whole["p"][:, 0], whole["p"][:, 1])


def test_a_file_keeps_the_node_and_its_digest(tmp_path: Path) -> None:
    for graph in (driven(), driven(rate=90.0, seed=2**63 - 1)):
        save_graph(tmp_path / "graph.safetensors", graph)
        read = load_graph(tmp_path / "graph.safetensors")
        assert digest_graph(read) == digest_graph(graph)
        assert np.array_equal(read.nodes["p"].rate, graph.nodes["p"].rate)  # type: ignore[union-attr]
    digests = {
        digest_graph(driven(r, s)) for r, s in ((90.0, 4), (90.0, 5), (91.0, 4), (RATES, 4))
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rate": RATES.ravel()},
            r"Poisson.rate has shape \(6,\); it must be one number or of",
        ),
        ({"rate": -0.5}, "Poisson.rate is -0.5; it must be >= 0 Hz and finite"),
        ({"rate": np.inf}, "Poisson.rate is inf; it must be >= 0 Hz"),
        ({"rate": np.nan}, "Poisson.rate is nan; it must be >= 0 Hz"),
        ({"seed": -1}, "Poisson.seed is -1; it must be from 0"),
        ({"seed": 2**63}, r"it must be from 0 to 2\^63 - 1"),
        (
            {"rate": 2.0000002e9},
            r"p.rate: is 2e\+09 Hz, 1e\+06 events per tick; at most 1e\+06",
        ),
    ],
)
def test_a_value_out_of_range_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        driven(**change)
    assert driven(rate=2e9, seed=0).nodes["p"].seed == 0  # type: ignore[union-attr]


REFUSING: dict[str, Callable[[Graph], object]] = {
    "no chip draws spikes": lower,
    "no chip draws": lower_to_xylo,
    "no chip": lambda graph: estimate(graph, replay(graph, {}, ticks=9), "loihi2"),
    "NIR has no source that draws spikes": to_nir,
    "gradients need spikes that are given": build_layers,
}


@pytest.mark.parametrize("why", REFUSING)
def test_who_cannot_draw_spikes_says_so_with_a_cure(why: str) -> None:
    with pytest.raises(
        ValueError, match=f"p: is a Poisson, and {why}.*Input.shape=.2, 3.. and"
    ):
        REFUSING[why](driven())


def test_microcode_has_none() -> None:
    with pytest.raises(ValueError, match="p: no microcode here for a Poisson"):
        lower_graded(driven())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "ticks is not given, and there is no Input that gives the length"),
        ({"ticks": 0}, "ticks is 0; it must be >= 1"),
        ({"ticks": 3, "samples": 0}, "samples is 0; it must be >= 1"),
    ],
)
def test_a_run_without_inputs_needs_its_length(given: dict[str, Any], said: str) -> None:
    for run in (lambda: replay(driven(), {}, **given), lambda: Net(driven())({}, **given)):
        with pytest.raises(ValueError, match=said):
            run()
    nodes = {"x": Input(shape=(2, 3)), "n": LIF(tau=0.02)}
    with pytest.raises(ValueError, match=r"samples is 2; the inputs have 1\. Leave"):
        Net(wire("x>n", nodes))({"x": torch.zeros(5, 1, 2, 3)}, ticks=5, samples=2)


def test_a_graph_needs_a_source() -> None:
    with pytest.raises(
        GraphError, match=r"no Input: add one, Input\(shape=...\), or a Poisson"
    ):
        chain(n=LIF(tau=0.02))

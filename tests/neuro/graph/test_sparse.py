"""Listed synapses on the clock, against the matrices and the loops that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from layer_cases import random_synapses
from written_graphs import chain, wire

from neuro.base.units import Seconds, Ticks
from neuro.graph import Dense, Edge, Flatten, Graph, GraphError, Input, Node, Sparse
from neuro.graph.sparse import to_dense, unroll_delays
from neuro.neurons import LI, LIF
from neuro.nn import Net, record_activity, replay
from neuro.nn.trace import trace
from neuro.spikes import Events, to_events

DT = Seconds(1e-3)


def network(w: Node, back: Node, delay: int = 0) -> Graph:
    """Return 5 inputs, 4 recurrent neurons, and a read-out."""
    nodes = {
        "x": Input(shape=(5,)),
        "w": w,
        "a": LIF(tau=0.01),
        "back": back,
        "out": LI(tau=0.02),
    }
    return wire(f"x>w:{delay} w>a a>back:1 back>a a>out", nodes)


def stimulus(seed: int, size: int = 5) -> dict[str, Events]:
    rng = np.random.default_rng(seed)
    return {"x": to_events((rng.random((12, 2, size)) < 0.5).astype(np.float32))}


def activity(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in record_activity(graph, stimulus(seed)).items()}


@pytest.mark.slow
@settings(max_examples=20)
@given(seed=st.integers(0, 999))
def test_synapses_compute_what_their_matrix_computes(seed: int) -> None:
    (_, w), (_, back) = random_synapses(seed), random_synapses(seed + 1, inputs=4)
    w = replace(w, bias=np.arange(4) / 8)
    found = activity(network(w, back), seed)
    wanted = activity(network(to_dense(w), to_dense(back)), seed)
    np.testing.assert_equal(found, wanted)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), edge=st.integers(0, 2))
def test_every_synapse_brings_its_spikes_after_its_own_delay(seed: int, edge: int) -> None:
    """The sum over all synapses, tick by tick, in plain loops."""
    columns, w = random_synapses(seed, delays=3)
    w = replace(w, bias=np.arange(4) / 8)
    graph = network(w, random_synapses(seed, inputs=4)[1], edge)
    found = activity(graph, seed)
    x = found["x"]
    wanted = np.zeros((12, 2, 4)) + np.arange(4) / 8
    for j, i, weight, delay in zip(*columns.values(), strict=True):
        late = edge + delay
        wanted[late:, :, i] += weight * x[: 12 - late, :, j]
    np.testing.assert_array_equal(found["w"], wanted)


def test_the_parts_of_a_node_add_up_in_its_old_name() -> None:
    _, w = random_synapses(5, delays=3)
    whole = network(w, random_synapses(5, inputs=4)[1], delay=1)
    graph, origin = unroll_delays(whole)
    assert isinstance(graph.nodes["w"], Flatten)
    assert {e.source for e in graph.into("w")} == {"w@0", "w@1", "w@2"}
    assert {e.delay for e in graph.out_of("x")} == {1, 2, 3}
    assert set(origin.values()) == {Edge("x", "w", Ticks(1))}
    assert sum(graph.nodes[f"w@{k}"].indices.size for k in range(3)) == 9  # type: ignore[union-attr]
    assert unroll_delays(graph).graph is graph


def test_a_node_with_the_name_of_a_part_is_refused() -> None:
    graph = network(random_synapses(5, delays=3)[1], random_synapses(5, inputs=4)[1])
    nodes = {**graph.nodes, "w@1": Dense(weight=np.eye(4))}
    edges = (*graph.edges, Edge("a", "w@1"), Edge("w@1", "out"))
    with pytest.raises(GraphError, match="w@1: is the name of a part of w; rename the node"):
        unroll_delays(replace(graph, nodes=nodes, edges=edges))


def test_a_loop_through_a_late_synapse_needs_no_delay_on_its_edges() -> None:
    one = np.array([0])
    back = Sparse.from_coo(one, one, np.ones(1), shape=(1, 1), delay=np.array([2]))
    graph = wire(
        "x>a a>back back>a", {"x": Input(shape=(1,)), "a": LIF(tau=0.01), "back": back}
    )
    first = {"x": to_events(np.eye(7, 1, dtype=np.float32)[:, None])}
    assert replay(graph, first).spikes["a"].tick.tolist() == [0, 2, 4, 6]


def test_weights_receive_the_gradient_of_their_synapses() -> None:
    _, node = random_synapses(7)
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor(node.weight, requires_grad=True)
    out = torch.arange(24, dtype=torch.float64).view(6, 4)
    (node.apply(x, weight) * out).sum().backward()
    by_hand = (x.numpy()[:, node.source] * out.numpy()[:, node.indices]).sum(0)
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy(), by_hand)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_net_returns_its_graph_and_trains_in_the_precision_of_its_weights(
    dtype: type,
) -> None:
    def cast(node: Sparse) -> Sparse:
        return replace(node, weight=node.weight.astype(dtype))

    graph = network(cast(random_synapses(1)[1]), cast(random_synapses(2, inputs=4)[1]))
    net = Net(graph)
    back = trace(net)
    for name in ("w", "back"):
        for field in ("indptr", "indices", "weight"):
            one, other = (getattr(g.nodes[name], field) for g in (back, graph))
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    spikes, _ = net({"x": torch.ones(3, 1, 5)})
    assert spikes["a"].dtype == torch.float32
    spikes["a"].sum().backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in net.parameters())


def test_a_net_with_delays_of_single_synapses_is_refused_with_the_cure() -> None:
    graph = network(random_synapses(5, delays=3)[1], random_synapses(5, inputs=4)[1])
    with pytest.raises(GraphError, match=r"w: its synapses have .*unroll_delays\(graph\)"):
        Net(graph)
    with pytest.raises(ValueError, match=r"a Sparse with delays is no .* unroll_delays"):
        to_dense(random_synapses(5, delays=3)[1])


class TestCurrents:
    """A current before a LIF is the synaptic current of the LIF."""

    @settings(max_examples=20)
    @given(
        seed=st.integers(0, 999),
        tau=st.sampled_from([0.004, 0.02]),
        tau_syn=st.sampled_from([0.002, 0.01]),
        refractory=st.integers(0, 2),
    )
    def test_it_computes_what_tau_syn_computes(
        self, seed: int, tau: float, tau_syn: float, refractory: int
    ) -> None:
        x = np.random.default_rng(seed).random((30, 2, 5)) < 0.4
        cell = LIF(tau=tau, reset="hard", refractory=refractory * DT)
        w = Dense(weight=np.random.default_rng(seed).normal(0.2, 0.3, (4, 5)))
        given = {"x": to_events(x)}
        outside = replay(chain(x=Input(shape=(5,)), w=w, i=LI(tau=tau_syn), a=cell), given)
        own = replace(cell, tau_syn=tau_syn)
        inside = replay(chain(x=Input(shape=(5,)), w=w, a=own), given)
        one, other = outside.spikes["a"], inside.spikes["a"]
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        assert outside.values == {}

    def test_a_clocked_executor_refuses_a_loop_without_delay(self) -> None:
        nodes = {"x": Input(shape=(1,)), "a": LIF(tau=1.0), "i": LI(tau=1.0)}
        graph = wire("x>a a>i i>a", nodes)
        with pytest.raises(GraphError, match=r"zero-delay loop .*clock=Exact\(\)"):
            Net(graph)
        with pytest.raises(GraphError, match=r"cannot run on a clock"):
            replay(graph, stimulus(0, 1))

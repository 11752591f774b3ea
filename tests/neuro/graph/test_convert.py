"""A trained ANN as a network of integrate-and-fire neurons whose rates are its ReLUs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from neuro.base.seeds import seeded
from neuro.events import Grid, simulate
from neuro.graph import Dense, Edge, Graph, Input, Pointwise, Softmax
from neuro.graph.convert import convert, list_activations, list_unconvertible, make_counter
from neuro.graph.scaling import scale_inputs
from neuro.graph.validate import GraphError
from neuro.neurons import LI, LIF, DiscreteLIF
from neuro.nn.layers import Residual, Spiking, Stack
from neuro.nn.net import Net, replay
from neuro.nn.trace import trace
from neuro.spikes import to_events, to_raster


def make_residual() -> Graph:
    """An ANN with a batch norm, a residual add, an average pool and a shortcut behind it."""
    with seeded(0):
        net = build_residual()
    net.norm.running_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0, 0.05, -0.1]))  # type: ignore[union-attr, operator]
    net.norm.running_var.copy_(torch.tensor([0.5, 2.0, 1.0, 0.7, 1.3, 0.9]))  # type: ignore[union-attr, operator]
    return trace(net.eval(), (2, 4, 4))


def build_residual() -> Stack:
    inner = Stack(nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(6, 6, 1))
    return Stack(
        first=nn.Conv2d(2, 6, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(6),
        relu1=nn.ReLU(),
        res=Residual(inner, nn.Identity()),
        relu2=nn.ReLU(),
        pool=nn.AvgPool2d(2),
        flat=nn.Flatten(),
        hidden=nn.Linear(24, 7),
        relu3=nn.ReLU(),
        out=nn.Linear(7, 3),
        read=Spiking(LI(tau=0.02)),  # type: ignore[arg-type]
    )


def run_ann(graph: Graph, x: np.ndarray) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return Net(graph).double()({graph.inputs[0]: torch.from_numpy(x[None])})[0]


@given(
    z=st.lists(st.integers(-40, 80), min_size=1, max_size=20),
    ticks=st.integers(1, 64),
    power=st.integers(-2, 3),
)
def test_counts_are_the_rounded_clipped_input(z: list[int], ticks: int, power: int) -> None:
    """Ties included: z and the scale are dyadic, so that all sums are exact."""
    scale = 2.0**power
    value = np.array(z) / 8
    node = make_counter(np.array([scale]), (len(z),))
    x = torch.from_numpy(value)[None]
    state, spikes = node.initial(x), torch.zeros_like(x)
    for _ in range(ticks):
        s, state = node.step(x, state, 1e-3)  # type: ignore[arg-type]
        spikes += s
    want = np.clip(np.floor(ticks * value / scale + 0.5), 0, ticks)
    np.testing.assert_array_equal(spikes[0], want)


def test_the_neuron_starts_at_half_its_threshold_and_subtracts_it() -> None:
    node = make_counter(np.array([3.0]), (5,))
    assert (node.decay, node.threshold, node.rest, node.reset_by) == (1.0, 3.0, 1.5, 3.0)
    wide = make_counter(np.array([3.0, 5.0]), (2, 4, 4))
    assert np.shape(wide.threshold) == (2, 1, 1)
    assert np.ravel(wide.rest).tolist() == [1.5, 2.5]


@pytest.mark.parametrize("by", ["layer", "channel"])
def test_longer_runs_come_closer_to_the_clipped_ann(by: str) -> None:
    graph = make_residual()
    x = np.random.default_rng(1).random((5, 2, 4, 4))
    ann = run_ann(graph, x)
    relus = list_activations(graph)
    most = {n: ann[n][0].amax((0, *range(2, ann[n].dim() - 1))).numpy() for n in relus}
    scales = {
        n: float(m.max()) * 1.01 if by == "layer" else np.maximum(m, 0.1) * 1.01
        for n, m in most.items()
    }
    converted = convert(graph, scales)  # type: ignore[arg-type]
    far = []
    for ticks in (16, 512):
        shown = torch.from_numpy(np.broadcast_to(x, (ticks, *x.shape)).copy())
        with torch.no_grad():
            out = Net(converted).double()({"input": shown})[0]
        logits = out[converted.outputs[0]][-1] / ticks
        far.append(float((logits - ann[graph.outputs[0]][0]).abs().max()))
        if ticks == 512:
            for name in relus:
                scale = np.asarray(scales[name]).reshape(-1, *[1] * (ann[name].dim() - 3))
                rate = out[name].mean(0) * torch.from_numpy(scale)
                assert float((rate - ann[name][0]).abs().max()) < 0.02
    assert far[1] < far[0] / 8
    assert far[1] < 0.01


def test_executors_agree_spike_for_spike() -> None:
    graph = make_residual()
    converted = convert(graph, {"relu1": 1.5, "res_body_1": 0.75, "relu2": 2.0, "relu3": 1.25})
    x = np.random.default_rng(2).random((3, 2, 4, 4)).astype(np.float32)
    shown = {"input": to_events(np.broadcast_to(x, (20, *x.shape)).reshape(20, 3, -1))}
    torch_run, engine = replay(converted, shown), simulate(converted, shown, clock=Grid())[0]
    spikes = 0
    for name in converted.firing:
        a, b = to_raster(torch_run.spikes[name]), to_raster(engine.spikes[name])
        np.testing.assert_array_equal(a, b)
        spikes += int(a.sum())
    assert spikes > 900


def test_a_shortcut_carries_the_scale_of_its_source() -> None:
    """The identity has no weights, so that the scale becomes a node; other weights take it."""
    graph = make_residual()
    scales = {"relu1": 1.5, "res_body_1": 0.75, "relu2": 2.0, "relu3": 1.25}
    nodes = convert(graph, scales).nodes
    own = graph.nodes
    np.testing.assert_allclose(nodes["relu1_scale"].weight.ravel(), 1.5)  # type: ignore[union-attr]
    np.testing.assert_allclose(nodes["res_body_0"].weight, 1.5 * own["res_body_0"].weight)  # type: ignore[union-attr]
    np.testing.assert_allclose(nodes["res_body_2"].weight, 0.75 * own["res_body_2"].weight)  # type: ignore[union-attr]
    np.testing.assert_allclose(nodes["hidden"].weight, 2.0 * own["hidden"].weight)  # type: ignore[union-attr]
    np.testing.assert_allclose(nodes["out"].weight, 1.25 * own["out"].weight)  # type: ignore[union-attr]
    np.testing.assert_array_equal(nodes["first"].weight, own["first"].weight)  # type: ignore[union-attr]
    assert [n for n in nodes if n not in own] == ["relu1_scale"]


def test_two_shortcuts_share_one_scale() -> None:
    """A ReLU whose output meets others in a convolution, and again in front of a ReLU."""
    with seeded(2):
        inner = Stack(Residual(Stack(nn.Conv2d(2, 2, 1)), nn.Identity()), nn.Conv2d(2, 2, 1))
        net = Stack(nn.Conv2d(1, 2, 1), nn.ReLU(), Residual(inner, nn.Identity()), nn.ReLU())
        net = Stack(*net.children(), nn.Flatten(), nn.Linear(8, 2), Spiking(LI(tau=0.02)))  # type: ignore[arg-type]
    graph = trace(net, (1, 2, 2))
    relus = list_activations(graph)
    x = np.random.default_rng(3).random((4, 1, 2, 2))
    ann = run_ann(graph, x)
    converted = convert(graph, {n: 1.01 * float(ann[n].max()) for n in relus})
    scale = f"{relus[0]}_scale"
    assert len(converted.into(scale)) == 1
    assert len(converted.out_of(scale)) == 2
    shown = torch.from_numpy(np.broadcast_to(x, (400, *x.shape)).copy())
    with torch.no_grad():
        out = Net(converted).double()({"input": shown})[0][converted.outputs[0]][-1] / 400
    assert float((out - ann[graph.outputs[0]][0]).abs().max()) < 0.02


def test_the_output_sums_the_logits_of_all_ticks() -> None:
    scales = {"relu1": 1.5, "res_body_1": 0.75, "relu2": 2.0, "relu3": 1.25}
    assert convert(make_residual(), scales).nodes["read"].tau == math.inf  # type: ignore[union-attr]


def test_a_counted_relu_has_its_own_scale() -> None:
    graph = make_residual()
    own = replace(graph.nodes["relu3"], levels=4, scale=0.7)  # type: ignore[type-var]
    graph = replace(graph, nodes={**graph.nodes, "relu3": own})
    scales = {"relu1": 1.5, "res_body_1": 0.75, "relu2": 2.0, "relu3": 9.0}
    node = convert(graph, scales).nodes["relu3"]
    assert isinstance(node, DiscreteLIF)
    assert node.threshold == 0.7


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (0.0, r"its scale is 0 \(shape \(1,\)\); it must be > 0 and finite, one number or 6"),
        (np.ones(5), r"shape \(5,\)"),
        (np.array([1.0, 1, 1, 1, 1, np.inf]), "must be > 0 and finite"),
        (np.array([1.0, 1, -2, 1, 1, 1]), "its scale is -2"),
    ],
)
def test_a_wrong_scale_is_refused(scale: object, said: str) -> None:
    scales = {"relu1": 1.5, "res_body_1": 0.75, "relu2": scale, "relu3": 1.0}
    with pytest.raises(GraphError, match=f"relu2: .*{said}"):
        convert(make_residual(), scales)  # type: ignore[arg-type]


def test_everything_without_a_spiking_form_is_listed_at_once() -> None:
    nodes = {
        "x": Input(shape=(3,)),
        "act": Pointwise(function="silu"),
        "lif": LIF(tau=0.02),  # type: ignore[arg-type]
        "relu": Pointwise(function="relu"),
        "end": Softmax(),
        "read": LI(tau=0.02),  # type: ignore[arg-type]
    }
    edges = (
        *(Edge("x", "act"), Edge("act", "lif"), Edge("lif", "relu", 2), Edge("relu", "end")),  # type: ignore[arg-type]
        Edge("end", "read"),
    )
    problems = list_unconvertible(Graph(nodes=nodes, edges=edges, dt=1e-3))  # type: ignore[arg-type]
    assert [p.split(";")[0] for p in problems] == [
        "act: silu has no spiking form",
        "lif: a LIF is a neuron, and an ANN has none",
        "end: Softmax has no spiking form",
        "lif -> relu: waits 2 ticks, and an ANN has none",
    ]
    assert "train the ANN with ReLU" in problems[0]
    assert "end the network in its logits" in problems[2]
    plain = {"x": nodes["x"], "d": Dense(weight=np.ones((2, 3))), "read": nodes["read"]}
    edges = (Edge("x", "d"), Edge("d", "read"))
    assert list_unconvertible(Graph(nodes=plain, edges=edges, dt=1e-3)) == [
        "the network has no ReLU that could become spiking neurons"
    ]


@pytest.mark.parametrize("kind", ["dense", "conv1d", "conv2d", "transposed"])
def test_scaled_inputs_are_inputs_of_scaled_weights(kind: str) -> None:
    layers = {
        "dense": (nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (4, 3)),
        "conv1d": (nn.Conv1d(4, 6, 2, groups=2), (4, 3)),
        "conv2d": (nn.Conv2d(4, 6, 2, groups=2), (4, 3, 5)),
        "transposed": (nn.ConvTranspose2d(4, 6, 2), (4, 3, 5)),
    }
    layer, shape = layers[kind]
    stack = Stack(
        *(layer if isinstance(layer, nn.Sequential) else [layer]), Spiking(LI(tau=1.0))
    )  # type: ignore[arg-type]
    graph = trace(stack, shape)
    name = next(n for n, node in graph.nodes.items() if hasattr(node, "weight"))
    factor = np.array([0.5, 2.0, -1.0, 3.0])
    x = np.random.default_rng(0).standard_normal((2, *shape))
    wide = factor.reshape(-1, *[1] * (len(shape) - 1))
    scaled = replace(
        graph, nodes={**graph.nodes, name: scale_inputs(graph.nodes[name], factor)}
    )  # type: ignore[arg-type]
    want = run_ann(graph, x * wide)[graph.outputs[0]]
    torch.testing.assert_close(run_ann(scaled, x)[graph.outputs[0]], want)


def test_spikes_are_those_of_spikingjelly() -> None:
    ann2snn = pytest.importorskip("spikingjelly.activation_based.ann2snn")
    from spikingjelly.activation_based import functional

    plain = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(36, 9), nn.ReLU(), nn.Linear(9, 3)),
    ).double()
    x = torch.from_numpy(np.random.default_rng(6).random((40, 1, 6, 6)))
    recipe = ann2snn.RateCodingRecipe([x], mode="Max")
    theirs = ann2snn.Converter(recipe).convert(plain)
    graph = trace(Stack(*plain, Spiking(LI(tau=0.02))), (1, 6, 6))  # type: ignore[arg-type]
    ann = run_ann(graph, x.numpy())
    relus = list_activations(graph)
    converted = convert(graph, {n: float(ann[n].max().float()) for n in relus})
    # ann2snn starts at 0 by default, not at half the threshold.
    nodes = dict(converted.nodes)
    for name in relus:
        scale = nodes[name].threshold  # type: ignore[union-attr]
        nodes[name] = DiscreteLIF(decay=1.0, threshold=scale, reset_by=scale)
    plain_start = replace(converted, nodes=nodes)
    with torch.no_grad():
        ours = Net(plain_start).double()({"input": x.expand(30, *x.shape)})[0]
        functional.reset_net(theirs)
        total: torch.Tensor | float = 0.0
        for _ in range(30):
            total = total + theirs(x)
    torch.testing.assert_close(ours[plain_start.outputs[0]][-1], total, rtol=0, atol=1e-9)

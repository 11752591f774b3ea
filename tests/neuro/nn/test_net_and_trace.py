from typing import Any

import numpy as np
import pytest
import torch
from builders import example, same, spikes
from hypothesis import given, settings, strategies as st
from torch import nn
from written_graphs import chain, wire

from lava_export import lower, reference
from neuro.base.seeds import seeded
from neuro.base.units import Seconds, Ticks
from neuro.events import Grid, simulate
from neuro.graph import Concat, Conv2d, Dense, Input
from neuro.neurons import ALIF, LI, LIF, GatedLI
from neuro.nn import Net, replay
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack
from neuro.nn.trace import TraceError, trace
from neuro.spikes import to_events, to_raster

SHAPE = (1, 5, 5)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_tracing_a_net_returns_its_graph_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    leak = rng.uniform(0.01, 1, (3, 1, 1)).astype(np.float32)
    graph = wire(
        "x>conv conv>alif:2",
        {
            "x": Input(shape=(2, 5, 5)),
            "conv": Conv2d(weight=rng.normal(size=(3, 2, 3, 3)), bias=rng.normal(size=3)),
            "alif": ALIF(leak=leak, threshold=float(np.float32(rng.uniform(0.1, 1)))),
        },
    )
    assert same(trace(Net(graph)), graph)


def test_a_traced_module_computes_what_the_module_computed() -> None:
    with seeded(1):
        module = example()
    x = spikes(12, 3, *SHAPE, p=0.6)
    y, _ = module(x)
    graph = trace(module, SHAPE)
    record = replay(graph, {"input": to_events(x.flatten(2).numpy())}, torch.float32)
    assert np.array_equal(record.values["out"], y.detach().numpy())
    assert len(record.spikes["rec_spiking"].tick) > 0
    assert same(trace(Net(graph)), graph)


def test_a_residual_becomes_two_edges_that_add() -> None:
    graph = trace(example(), SHAPE)
    assert {e.source for e in graph.into("flat")} == {"alif", "res_body_s"}
    assert ("flat", "fc", 2) in graph.edges
    assert ("rec_spiking", "rec_feedback", 3) in graph.edges


def test_batch_norm_is_folded_into_the_weights_before_it() -> None:
    with seeded(2):
        module = Stack(
            conv=nn.Conv2d(1, 3, 3), norm=nn.BatchNorm2d(3), s=Spiking(LIF(tau=0.01))
        )
        module(spikes(8, 4, *SHAPE))  # moves the running statistics
    module.eval()
    x = spikes(8, 4, *SHAPE, seed=5)
    before = module.norm(module.conv(x.flatten(0, 1)))
    graph = trace(module, SHAPE)
    assert list(graph.nodes) == ["input", "conv", "s"]
    activity, _ = Net(graph)({"input": x})
    torch.testing.assert_close(activity["conv"].flatten(0, 1), before)


@settings(max_examples=10)
@given(cut=st.integers(1, 11))
def test_a_net_run_in_two_halves_equals_one_run(cut: int) -> None:
    with seeded(1):
        net = Net(trace(example(), SHAPE))
    x = spikes(12, 2, *SHAPE, p=0.6)
    whole, _ = net({"input": x})
    head, state = net({"input": x[:cut]})
    tail, _ = net({"input": x[cut:]}, state)
    assert all(torch.equal(torch.cat([head[k], tail[k]]), whole[k]) for k in whole)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), looped=st.booleans())
def test_a_concat_is_a_concatenation_along_the_first_axis(seed: int, looped: bool) -> None:
    rng = np.random.default_rng(seed)
    nodes = {
        "x": Input(shape=(2, 3, 2)),
        "y": Input(shape=(1, 3, 2)),
        "c": Concat(),
        "conv": Conv2d(weight=rng.normal(0.2, 1, (2, 7, 1, 1))),
        "a": LIF(tau=0.01),
    }
    graph = wire(f"x>c:1 {'a' if looped else 'x'}>c:3 y>c x>c c>conv conv>a", nodes)
    x, y = (spikes(6, 2, *graph.shapes[name], seed=seed) for name in "xy")
    net = Net(graph)
    made, _ = net({"x": x, "y": y})
    a = made["a" if looped else "x"]

    def late(of: torch.Tensor, ticks: int) -> np.ndarray:
        return np.concatenate([np.zeros((ticks, *of.shape[1:])), of.detach()])[: len(of)]

    want = np.concatenate([late(x, 1), late(a, 3), late(y, 0), late(x, 0)], 2)
    np.testing.assert_array_equal(made["c"].detach(), want)
    assert same(trace(net), graph)
    head, state = net({"x": x[:2], "y": y[:2]})
    tail, _ = net({"x": x[2:], "y": y[2:]}, state)
    assert torch.equal(torch.cat([head["a"], tail["a"]]), made["a"])


@pytest.mark.parametrize(("pool", "side"), [(nn.MaxPool2d(2), 3), (nn.MaxPool2d(3, 2), 2)])
def test_a_maximum_of_spikes_is_a_mean_and_cells_that_fire_at_any(
    pool: nn.MaxPool2d, side: int
) -> None:
    with seeded(0):
        net = Stack(
            conv=nn.Conv2d(1, 3, 3),
            cells=Spiking(ALIF()),
            pool=pool,
            flat=nn.Flatten(),
            fc=nn.Linear(3 * side * side, 4),
            out=Spiking(LIF(tau=0.01)),
        ).eval()
    x = spikes(6, 2, 1, 8, 8)
    graph = trace(net, (1, 8, 8))
    assert graph.shapes["pool_any"] == (3, side, side)
    stimulus = {"input": to_events(x.flatten(2).numpy())}
    clock, (events, _) = replay(graph, stimulus), simulate(graph, stimulus)
    pooled = Stack(net.conv, net.cells, net.pool)(x)[0].detach().flatten(2).numpy()
    assert 0 < pooled.mean() < 1
    np.testing.assert_array_equal(to_raster(clock.spikes["pool_any"]), pooled)
    np.testing.assert_array_equal(to_raster(events.spikes["pool_any"]), pooled)
    np.testing.assert_array_equal(to_raster(clock.spikes["out"]), net(x)[0].detach().numpy())
    integers = reference.run(lower(graph), stimulus, 6)  # the same of its own spikes
    own = torch.from_numpy(to_raster(integers.spikes["cells"])).reshape(6, 2, 3, 6, 6).float()
    want = pool(own.flatten(0, 1)).reshape(6, 2, -1).numpy()
    np.testing.assert_array_equal(to_raster(integers.spikes["pool_any"]), want)


@pytest.mark.parametrize(
    ("before", "pool", "said"),
    [
        ((), nn.MaxPool2d(2), "start behind it, with its output as the stim"),
        ((nn.Conv2d(1, 1, 1),), nn.MaxPool2d(2), "put the pool behind the neuron and"),
        (
            (Residual(Spiking(LIF(tau=0.01)), Spiking(LIF(tau=0.02))),),
            nn.MaxPool2d(2),
            "a maximum is a node only if it pools the spikes of one LIF or ALIF",
        ),
        ((Spiking(LIF(tau=0.01)),), nn.MaxPool2d(3, padding=1), "MaxPool2d with padding"),
    ],
)
@pytest.mark.filterwarnings("ignore:.* MaxPool2d before neurons")
def test_a_maximum_of_anything_else_is_refused_with_the_cure(
    before: tuple[nn.Module, ...], pool: nn.MaxPool2d, said: str
) -> None:
    with pytest.raises(TraceError, match=said):
        trace(Stack(*before, pool, Spiking(LIF(tau=0.01))), (1, 8, 8))


CELLS = Spiking(LIF(tau=0.01))
CONV, POOL = nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        ((CONV, POOL, CELLS), "1"),
        ((CONV, nn.BatchNorm2d(1), nn.Dropout2d(), POOL, CELLS), "3"),
        ((nn.Sequential(CONV, nn.ReLU(), POOL), CELLS), "0.2"),
        ((CONV, POOL, nn.Flatten(), nn.Linear(4, 4), CELLS), "1"),
        ((CONV, CELLS, CONV, POOL, Recurrent(CELLS, nn.Identity())), "3"),
    ],
)
def test_a_pool_before_the_neurons_is_told_when_the_stack_is_made(
    layers: tuple[nn.Module, ...], where: str
) -> None:
    told = rf"^{where} of a Stack: a MaxPool2d before neurons .* put the pool behind the neuron"
    with pytest.warns(UserWarning, match=told) as heard:
        Stack(*layers)
    assert len(heard) == 1


def test_what_can_be_traced_or_stays_on_torch_is_not_warned_of() -> None:
    Stack(CONV, CELLS, POOL, nn.Flatten(), nn.Linear(4, 4), CELLS)
    Stack(POOL, CONV, CELLS)  # of spikes that come in, behind a host
    Stack(CONV, POOL, nn.ReLU(), nn.Flatten(), nn.Linear(4, 4))  # an ANN
    Stack(CONV, nn.GroupNorm(1, 1), POOL, CELLS)  # no Graph holds the norm either


def test_every_part_that_cannot_go_is_told_at_once() -> None:
    module = Stack(
        pool=nn.MaxPool2d(2),
        act=nn.GELU(),
        over=nn.Softmax(dim=0),
        conv=nn.ConvTranspose2d(2, 2, 3, groups=2),
        norm=Residual(nn.BatchNorm2d(2)),
        layer=nn.LayerNorm(3),
        lazy=nn.LazyLinear(3),
        s=Spiking(LIF(tau=0.01)),
        late=Spiking(LIF(tau=0.01)),
    )
    module.late.dt = Seconds(2e-3)  # behind a Stack's back, which refuses it
    with pytest.raises(TraceError) as e:
        trace(module, (2, 8, 8))
    text = str(e.value)
    assert len(e.value.problems) == 8
    assert "pool: a maximum is a node only if it pools the spikes of one LIF or ALIF" in text
    assert "act: GELU has no node in a Graph; use Spiking, or ReLU, SiLU" in text
    assert "over: Softmax(dim=0) must run along an axis of one sample; use dim=1" in text
    assert "conv: ConvTranspose2d with groups" in text
    assert "norm_body: BatchNorm can only be folded into a weight" in text
    assert "layer: LayerNorm has no node in a Graph; a BatchNorm right behind a weight" in text
    assert "lazy: LazyLinear has no weights yet; run it on a stimulus first" in text
    assert "different dt [0.001, 0.002] s" in text


def test_activations_become_host_nodes() -> None:
    with seeded(0):
        module = Stack(
            conv=nn.Conv2d(1, 6, 3),
            depth=nn.Softmax(dim=1),
            row=nn.Softmax(dim=-1),
            silu=nn.SiLU(),
            gated=Spiking(GatedLI()),
            relu=nn.ReLU(),
            s=Spiking(LIF(tau=0.01, threshold=0.3)),
            flat=nn.Flatten(),
            sigmoid=nn.Sigmoid(),
            tanh=nn.Tanh(),
            out=Spiking(LI(tau=0.02)),
        ).double()
    graph = trace(module, SHAPE)
    assert [(n, type(graph.nodes[n]).__name__) for n in graph.hosts] == [
        ("depth", "Softmax"),
        ("row", "Softmax"),
        ("silu", "Pointwise"),
        ("relu", "Pointwise"),
        ("sigmoid", "Pointwise"),
        ("tanh", "Pointwise"),
    ]
    x = spikes(6, 2, *SHAPE).double()
    y, _ = module(x)
    record = replay(graph, {"input": to_events(x.flatten(2).numpy())})
    assert record.spikes["s"].tick.size > 0
    np.testing.assert_allclose(record.values["out"], y.detach().flatten(2), atol=1e-14)
    net = Net(graph)
    made, _ = net({"input": x})
    made["out"].sum().backward()
    assert net.parts["node_conv"].weight.grad.abs().sum() > 0  # through all of them
    assert same(trace(net), graph)


def test_weights_of_another_dtype_are_refused_with_the_cure() -> None:
    module = Stack(fc=nn.Linear(4, 2).half(), s=Spiking(LIF(tau=0.01)))
    with pytest.raises(TraceError, match=r"fc: weights are torch.float16.*call .float\(\)"):
        trace(module, (4,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_has_the_precision_of_the_module(dtype: torch.dtype) -> None:
    with seeded(0):
        module = Stack(
            conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2), s=Spiking(LIF(tau=0.01))
        ).to(dtype)
    conv = trace(module.eval(), SHAPE).nodes["conv"]
    assert isinstance(conv, Conv2d)
    assert conv.bias is not None
    assert {conv.weight.dtype.name, conv.bias.dtype.name} == {str(dtype).removeprefix("torch.")}


@pytest.mark.parametrize("leak", [0.1, 0.02])
def test_float32_keeps_the_leak_and_agrees_with_the_engine(leak: float) -> None:
    graph = chain(
        x=Input(shape=(4,)),
        d=Dense(weight=np.full((3, 4), 2.0)),
        s=ALIF(leak=leak, threshold=0.25),
    )
    x = {"x": to_events(spikes(60, 3, 4).numpy())}
    clock = replay(graph, x, torch.float32).spikes["s"]
    events = simulate(graph, x, Grid(dtype=np.float32))[0].spikes["s"]
    assert len(clock.tick) > 0
    assert all(np.array_equal(a, b) for a, b in zip(clock, events, strict=True))


class Abs(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).abs()


class Halved(Stack):
    def forward(self, x: torch.Tensor, state: object = None) -> tuple[torch.Tensor, object]:
        return super().forward(x / 2, state)


def test_a_subclass_with_its_own_forward_is_refused() -> None:
    with pytest.raises(TraceError, match="fc: Abs has its own forward"):
        trace(Stack(fc=Abs(4, 4), s=Spiking(LIF(tau=0.01))), (4,))
    with pytest.raises(TraceError, match="module: Halved has its own forward"):
        trace(Halved(nn.Linear(4, 4), Spiking(LIF(tau=0.01))), (4,))


def test_a_sequential_of_populations_is_refused_as_torch_cannot_run_it() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), Spiking(LIF(tau=0.01)))
    with pytest.raises(TraceError) as error:
        trace(module, (1, 5, 5))
    why = "a Sequential passes on neither ticks nor state; make it a Stack"
    assert error.value.problems[0] == f"module: {why}"
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        module(torch.zeros(2, 3, 1, 5, 5))
    with pytest.raises(ValueError, match=f"body of a Stack: {why}"):
        Stack(body=module)
    with pytest.raises(ValueError, match=f"Residual.body: {why}"):
        Residual(module)


@pytest.mark.parametrize(
    ("layers", "shape", "told"),
    [
        (
            (nn.Linear(5, 4), nn.BatchNorm1d(3)),
            (3, 5),
            "has 4 output features, and the BatchNorm",
        ),
        ((nn.Conv2d(1, 2, 1), nn.BatchNorm2d(4)), (1, 5, 5), "has 2 output features"),
        ((nn.ConvTranspose2d(2, 3, 1), nn.BatchNorm2d(2)), (2, 5, 5), "has 3 output features"),
    ],
)
def test_a_batch_norm_along_another_axis_is_refused_by_name(
    layers: tuple[nn.Module, ...], shape: tuple[int, ...], told: str
) -> None:
    with pytest.raises(TraceError, match=f"0: {told}"):
        trace(Stack(*layers, Spiking(LIF(tau=0.01))), shape)


def test_an_end_that_no_node_holds_is_refused() -> None:
    for end in (Delay(Ticks(2)), Residual(Stack(nn.Linear(4, 4), Spiking(LIF(tau=0.01))))):
        with pytest.raises(TraceError, match="ends in a Delay or a Residual"):
            trace(Stack(nn.Linear(4, 4), Spiking(LIF(tau=0.01)), end), (4,))


def test_a_module_used_twice_becomes_two_nodes() -> None:
    fc = nn.Linear(4, 4)
    graph = trace(Stack(nn.Sequential(fc, fc), Spiking(LIF(tau=0.01))), (4,))
    assert list(graph.nodes) == ["input", "0_0", "0_1", "1"]


def test_names_that_collide_are_told() -> None:
    module = Stack(a=Stack(b=nn.Linear(4, 4)), a_b=nn.Linear(4, 4), s=Spiking(LIF(tau=0.01)))
    with pytest.raises(TraceError, match="a_b: another node has this name; rename the module"):
        trace(module, (4,))


def test_a_node_may_be_called_as_an_attribute_of_modules() -> None:
    graph = chain(x=Input(shape=(2,)), forward=Dense(weight=np.eye(2)), type=LIF(tau=1.0))
    assert same(Net(graph).graph(), graph)


def test_a_stimulus_that_does_not_fit_is_refused_by_the_clock_too() -> None:
    graph = trace(Stack(nn.Linear(4, 2), Spiking(LIF(tau=0.01))), (4,))
    with pytest.raises(ValueError, match="input: events of 5 neurons for an Input of 4"):
        replay(graph, {"input": to_events(np.ones((2, 1, 5), np.float32))})


def test_delays_in_a_row_add_up() -> None:
    with seeded(3):
        module = Stack(
            a=nn.Linear(4, 5),
            s=Spiking(LIF(tau=0.01, threshold=0.1)),
            late=Delay(Ticks(2)),
            later=Delay(Ticks(3)),
            b=nn.Linear(5, 3),
            out=Spiking(LI(tau=0.01)),
        )
    x = spikes(12, 2, 4, p=0.6)
    graph = trace(module, (4,))
    assert [tuple(edge) for edge in graph.into("b")] == [("s", "b", 5)]
    record = replay(graph, {"input": to_events(x.numpy())}, torch.float32)
    assert np.array_equal(record.values["out"], module(x)[0].detach().numpy())
    assert len(record.spikes["s"].tick) > 20


def test_a_batch_norm_of_a_channel_that_hardly_varies_is_folded_with_its_eps() -> None:
    """1 / sqrt(var + eps) is 100 here, and would be 1,000 without eps."""
    norm = nn.BatchNorm1d(3, eps=9.9e-5)
    norm.running_var.fill_(1e-6)
    linear = nn.Linear(4, 3, bias=False).requires_grad_(False)
    linear.weight.fill_(0.5)
    graph = trace(Stack(fc=linear, norm=norm, s=Spiking(LI(tau=0.01))).eval(), (4,))
    np.testing.assert_allclose(graph.nodes["fc"].weight, 50.0, rtol=1e-6)


@pytest.mark.parametrize("absent", ["weight", "bias", "both"])
@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Conv1d(4, 3, 1, bias=False)])
def test_a_batch_norm_without_weight_or_bias_is_folded(absent: str, layer: nn.Module) -> None:
    norm: Any = nn.BatchNorm1d(3)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
    for name in ("weight", "bias") if absent == "both" else (absent,):
        setattr(norm, name, None)
    shape = (4,) if isinstance(layer, nn.Linear) else (4, 5)
    net = Stack(layer=layer, norm=norm, s=Spiking(LIF(tau=0.01))).eval()
    graph, x = trace(net, shape), spikes(8, 4, *shape)
    assert list(graph.nodes) == ["input", "layer", "s"]
    activity, _ = Net(graph)({"input": x})
    torch.testing.assert_close(activity["layer"].flatten(0, 1), norm(layer(x.flatten(0, 1))))


@pytest.mark.parametrize(
    "drop", [nn.Dropout(), nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d(), nn.AlphaDropout()]
)
def test_a_dropout_is_nothing_in_evaluation(drop: nn.Module) -> None:
    graph = trace(Stack(fc=nn.Linear(4, 4), drop=drop, s=Spiking(LIF(tau=0.01))), (4,))
    assert list(graph.nodes) == ["input", "fc", "s"]

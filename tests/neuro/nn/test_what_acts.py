"""What torch runs and what a Graph holds is one thing: hooks, overrides, in-place, threads."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from builders import dyadic, spikes
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from neuro.base.seeds import seeded
from neuro.events import simulate
from neuro.neurons import ALIF, LI, LIF, has_normal_form
from neuro.nn import replay
from neuro.nn.layers import Recurrent, Residual, Spiking, Stack
from neuro.nn.trace import TraceError, trace
from neuro.spikes import to_events, to_raster


def net(layer: nn.Module) -> Stack:
    return Stack(fc=layer, cells=Spiking(LIF(tau=0.01, threshold=0.2)))


def told(module: nn.Module, shape: tuple[int, ...] = (6,)) -> str:
    with pytest.raises(TraceError) as error:
        trace(module, shape)
    return str(error.value)


@pytest.mark.parametrize(
    "wrap",
    [lambda m: prune.l1_unstructured(m, "weight", 0.5), weight_norm, spectral_norm],
    ids=["prune", "weight norm", "spectral norm"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_a_pre_hook_sets_are_refused_with_the_cure(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    said = told(net(wrap(nn.Linear(6, 4))))
    assert "fc: Linear has pre-hooks, which a node cannot hold; remove them first" in said


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_parametrisation_is_read_as_it_acts(norm: Callable[[nn.Module], nn.Module]) -> None:
    module = net(norm(nn.Linear(6, 4))).eval()
    graph, x = trace(module, (6,)), spikes(20, 2, 6)
    y, _ = module(x)
    assert y.sum() > 5
    ours = replay(graph, {"input": to_events(x.numpy())}, torch.float32).spikes["cells"]
    assert torch.equal(torch.tensor(to_raster(ours)), y)


class Zeros(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w * 0


def test_a_parametrisation_of_one_s_own_is_read_as_it_acts() -> None:
    layer = nn.Linear(6, 4)
    parametrize.register_parametrization(layer, "weight", Zeros())
    assert not trace(net(layer), (6,)).nodes["fc"].weight.any()  # type: ignore[union-attr]


class Halved(nn.Module):
    """Half of a parameter; in training another share."""

    def forward(self, p: Tensor) -> Tensor:
        return p * (0.25 if self.training else 0.5)


@pytest.mark.parametrize("name", ["threshold", "logit_leak"])
def test_a_parametrised_neuron_is_trained_and_traced_as_it_acts(name: str) -> None:
    cells = Spiking(ALIF(leak=0.75, threshold=0.3))
    parametrize.register_parametrization(cells, name, Halved())
    module = Stack(fc=nn.Linear(6, 4), cells=cells).eval()
    with torch.no_grad():
        module.fc.weight.abs_()
    logit = math.log(3) / (2 if name == "logit_leak" else 1)
    plain = Stack(
        fc=module.fc,
        cells=Spiking(
            ALIF(
                leak=1 / (1 + math.exp(-logit)), threshold=0.15 if name == "threshold" else 0.3
            )
        ),
    )
    x = spikes(20, 2, 6)
    y, _ = module(x)
    assert y.sum() > 5
    assert torch.equal(y, plain(x)[0])
    y.sum().backward()
    assert cells.parametrizations[name].original.grad.abs() > 0  # type: ignore[union-attr, index]
    found, want = trace(module, (6,)).nodes["cells"], trace(plain, (6,)).nodes["cells"]
    assert found.threshold == want.threshold  # type: ignore[union-attr]
    assert found.leak == pytest.approx(want.leak, rel=1e-7)  # type: ignore[union-attr]


def test_a_parametrisation_is_traced_as_in_evaluation_and_left_in_training() -> None:
    fc, norm, cells = nn.Linear(6, 4), nn.BatchNorm1d(4), Spiking(ALIF(threshold=0.5))
    for layer, name in ((fc, "weight"), (fc, "bias"), (norm, "weight"), (cells, "threshold")):
        parametrize.register_parametrization(layer, name, Halved())
    module = Stack(fc=fc, norm=norm, cells=cells).train()
    found = trace(module, (6,))
    assert all(m.training for m in module.modules())
    want = trace(module.eval(), (6,))
    for node in ("fc", "cells"):
        for name in ("weight", "bias", "threshold"):
            value = getattr(found.nodes[node], name, None)
            assert np.array_equal(value, getattr(want.nodes[node], name, None))
    assert found.nodes["cells"].threshold == 0.25  # type: ignore[union-attr]


def test_tracing_takes_no_step_of_a_spectral_norm() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(6, 4))
    before = {name: b.clone() for name, b in layer.named_buffers()}
    trace(net(layer).train(), (6,))
    assert all(torch.equal(b, before[name]) for name, b in layer.named_buffers())


def test_forward_hooks_are_refused_by_name_on_layers_and_on_what_holds_them() -> None:
    layer = nn.Linear(6, 4)
    layer.register_forward_hook(lambda _m, _x, y: 2 * y)
    message = told(net(layer))
    assert "fc: Linear has forward hooks, which a node cannot hold; remove" in message
    assert "the handle that register_forward_hook returned" in message
    whole = net(nn.Linear(6, 4))
    whole.register_forward_hook(lambda _m, _x, y: y)
    assert "module: Stack has forward hooks" in told(whole)
    cells = net(nn.Linear(6, 4))
    cells.cells.register_forward_pre_hook(lambda _m, x: x)  # type: ignore[union-attr]
    assert "cells: Spiking has pre-hooks" in told(cells)


@pytest.mark.parametrize(
    "register",
    [
        lambda: register_module_forward_hook(lambda *_: None),
        lambda: register_module_forward_pre_hook(lambda *_: None),
    ],
)
def test_hooks_of_all_modules_are_refused_and_heard_by_every_layer(
    register: Callable[[], Any],
) -> None:
    module, x = net(nn.Linear(6, 4)), spikes(20, 2, 6)
    called: list[type] = []
    handle = register_module_forward_hook(lambda m, _x, _y: called.append(type(m)))
    try:
        module(x)
    finally:
        handle.remove()
    assert called == [nn.Linear, Spiking, Stack]
    handle = register()
    try:
        assert "hooks of all modules" in told(module)
    finally:
        handle.remove()
    trace(module, (6,))


def test_a_hook_on_a_folded_batch_norm_or_on_the_weight_before_it_is_refused() -> None:
    for name, kind in (("fc", "Linear"), ("norm", "BatchNorm1d")):
        module = Stack(fc=nn.Linear(6, 4), norm=nn.BatchNorm1d(4), cells=Spiking(LIF(tau=0.01)))
        module.get_submodule(name).register_forward_hook(lambda _m, _x, y: 2 * y)
        assert f"{name}: {kind} has forward hooks, which a node cannot hold" in told(module)


class Called(nn.Linear):
    def __call__(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * super().__call__(x)


class Standardised(nn.Conv2d):
    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Any) -> Tensor:
        return super()._conv_forward(x, weight - weight.mean(), bias)


class Noisy(Spiking):
    def run_in_context(self, context: Any, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return super().run_in_context(context, 2 * x, state)


class Initialised(nn.Linear):
    """Its own start and its own words: it acts as it came."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.note = "mine"

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return "ones"

    def helper(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("module", "shape", "said"),
    [
        (net(Called(6, 4)), (6,), "fc: Called has its own __call__"),
        (net(Standardised(1, 2, 3)), (1, 5, 5), "fc: Standardised has its own _conv_forward"),
        (
            Stack(fc=nn.Linear(6, 4), cells=Noisy(LIF(tau=0.01))),
            (6,),
            "cells: Noisy has its own run_in_context",
        ),
    ],
)
def test_what_is_overridden_below_forward_is_refused(
    module: nn.Module, shape: tuple[int, ...], said: str
) -> None:
    assert said in told(module, shape)


@pytest.mark.parametrize("forward", [lambda x: torch.zeros(len(x), 4), torch.relu])
def test_a_forward_that_was_set_on_a_layer_is_refused(forward: Any) -> None:
    layer: Any = nn.Linear(6, 4)
    layer.forward = forward  # torch.relu belongs to no module
    assert "fc: Linear has its own forward" in told(net(layer))


def test_a_class_of_one_s_own_that_acts_as_it_came_is_traced() -> None:
    graph = trace(net(Initialised(6, 4)), (6,))
    assert (graph.nodes["fc"].weight == 1).all()  # type: ignore[union-attr]


class Leaky(LIF):
    """A LIF whose step is another one."""

    def step(self, x: Tensor, state: Any, dt: Any) -> tuple[Tensor, Any]:
        return super().step(0.5 * x, state, dt)


def test_a_neuron_with_a_step_of_its_own_is_trained_by_it_and_refused_elsewhere() -> None:
    plain, own = LIF(tau=0.01, threshold=0.2), Leaky(tau=0.01, threshold=0.2)
    assert has_normal_form(plain)
    assert not has_normal_form(own)
    x = spikes(20, 2, 5)
    y, _ = Spiking(own)(x)
    halved, _ = Spiking(plain)(0.5 * x)
    assert torch.equal(y, halved)
    assert not torch.equal(y, Spiking(plain)(x)[0])
    graph = trace(Stack(fc=nn.Linear(5, 5), cells=Spiking(own)), (5,))
    with pytest.raises(ValueError, match="cells: a Leaky has no normal form"):
        simulate(graph, {"input": to_events(x.numpy())})


@pytest.mark.parametrize("kind", [nn.ReLU, nn.SiLU])
def test_activations_in_place_change_neither_the_shortcut_nor_the_input(
    kind: Callable[..., nn.Module],
) -> None:
    def build(inplace: bool) -> Stack:
        with seeded(0):
            return Stack(
                head=kind(inplace=inplace),
                res=Residual(Stack(act=kind(inplace=inplace), fc=nn.Linear(6, 6))),
                bare=Residual(kind(inplace=inplace)),
                rec=Recurrent(
                    Spiking(LIF(tau=0.01, threshold=0.4)),
                    nn.Sequential(kind(inplace=inplace), nn.Linear(6, 6)),
                ),
            )

    x = torch.randn(20, 3, 6)
    kept = x.clone()
    y, _ = build(inplace=True)(x)
    want, _ = build(inplace=False)(x)
    assert torch.equal(x, kept)
    assert y.sum() > 5
    assert torch.equal(y, want)


class OverBatch(nn.Module):
    """A user's module that looks at all it is given; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x - x.mean(0, keepdim=True)


class Drawn(nn.Linear):
    """A linear layer with noise in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.randn(len(x), self.out_features)


def image_stack(middle: nn.Module) -> Stack:
    with seeded(0):
        net = Stack(
            conv=nn.Conv2d(1, 4, 3, padding=1),
            middle=middle,
            cells=Spiking(LIF(tau=0.01, threshold=0.3)),
            pool=nn.AvgPool2d(2),
            flat=nn.Flatten(),
            fc=nn.Linear(36, 5),
            out=Spiking(LIF(tau=0.01, threshold=0.2)),
        )
    return dyadic(net)


MIDDLES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm without running statistics": lambda: nn.BatchNorm2d(
        4, track_running_stats=False
    ),
    "instance norm": lambda: nn.InstanceNorm2d(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "ReLU": nn.ReLU,
    "over the batch": OverBatch,
    "residual over the batch": lambda: Residual(OverBatch()),
}


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", MIDDLES)
def test_the_number_of_threads_changes_no_spike(
    name: str, train: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = (torch.rand(30, 150, 1, 6, 6) < 0.4).float()
    found, calls = [], []
    for threads in (1, 2, 3):
        monkeypatch.setattr("torch.get_num_threads", lambda n=threads: n)
        net = image_stack(MIDDLES[name]()).train(train)
        with torch.set_grad_enabled(train):
            y, _ = net(x)
        found.append(y.detach())
        calls += [m.calls for m in net.modules() if isinstance(m, OverBatch)]
    assert found[0].sum() > 100
    assert all(torch.equal(y, found[0]) for y in found)
    assert set(calls) <= {1}


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("constant", [False, True])
def test_a_softmax_goes_over_its_axis_whatever_the_threads(
    dim: int, constant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Axis 0 is that of all ticks and samples, see :mod:`neuro.nn.fold_time`."""
    x = torch.rand(1 if constant else 30, 8, 2, 3, 3).expand(30, 8, 2, 3, 3)
    net = Stack(soft=nn.Softmax(dim), more=nn.Identity(), cells=Spiking(LI(tau=0.01)))
    want, _ = Spiking(LI(tau=0.01))(torch.softmax(x.flatten(0, 1), dim).view(x.shape))
    for threads in (1, 2):
        monkeypatch.setattr("torch.get_num_threads", lambda n=threads: n)
        torch.testing.assert_close(net(x)[0], want)


def test_noise_in_a_layer_of_one_s_own_is_drawn_for_every_tick() -> None:
    x = torch.zeros(1, 3, 6).expand(20, 3, 6)
    y, _ = Stack(fc=Drawn(6, 4), more=nn.Identity())(x)
    assert not torch.equal(y[0], y[1])
    layer = nn.Linear(6, 4)
    layer.register_forward_hook(lambda _m, _x, y: y + torch.randn_like(y))
    z, _ = Stack(fc=layer)(x)
    assert not torch.equal(z[0], z[1])


def test_without_populations_a_constant_input_keeps_its_ticks() -> None:
    x = torch.rand(1, 3, 5).expand(20, 3, 5)
    plain = Stack(fc=nn.Linear(5, 6))
    y, _ = plain(x)
    assert y.shape == (20, 3, 6)
    assert torch.equal(y[0], y[-1])

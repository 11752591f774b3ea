"""DelayedLinear: phases, gradients, and the Graph that it becomes."""

from pathlib import Path
from typing import Literal

import jaxtyping
import numpy as np
import pytest
import torch
from builders import Killed, course, cpu, killed_at
from torch import Tensor, nn

from lava_export import list_breaches, lower, reference
from lava_export.run import available, run
from lava_export.xylo import lower_to_xylo
from neuro.base.seeds import seeded
from neuro.events import simulate
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Dense, Edge, Graph, Sparse
from neuro.neurons import LI, LIF
from neuro.nn import DelayedLinear, Spiking, Stack, replay
from neuro.nn.spiking import LayerError
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.training import Plan, fit

Kind = Literal["axonal", "synaptic"]
KINDS: tuple[Kind, ...] = ("axonal", "synaptic")


def layer(kind: Kind, late: list[float], soft_steps: int = 0, most: int = 6) -> DelayedLinear:
    """Return a layer of 2 inputs and 3 outputs in float64, with delays in ticks."""
    with seeded(3):
        out = DelayedLinear(2, 3, most, soft_steps=soft_steps, kind=kind).double()
    out.late.data = torch.tensor(late, dtype=torch.float64) / 100
    return out


AXONAL = [1.6, 4.3]
SYNAPTIC = [0.2, 5.7, 2.4, 3.6, 0.9, 4.1]
DELAYS = {"axonal": AXONAL, "synaptic": SYNAPTIC}


def stimulus(ticks: int = 12) -> Tensor:
    return torch.rand(ticks, 4, 2, generator=torch.Generator().manual_seed(1)).double()


def delay_slowly(x: Tensor, layer: DelayedLinear, kernel: Tensor) -> Tensor:
    """Return the outputs by their definition. kernel: share of each delay (out, in, D)."""
    y = layer.bias.expand(*x.shape[:2], 3).clone()
    for t in range(len(x)):
        for d in range(min(t, kernel.shape[2] - 1) + 1):
            y[t] = y[t] + x[t - d] @ (layer.weight * kernel[..., d]).T
    return y


def normal(layer: DelayedLinear, width: float) -> Tensor:
    """Return the soft kernel (out, in, D)."""
    kernel = torch.exp(-0.5 * ((torch.arange(7) - layer.delays[:, None]) / width).square())
    kernel = kernel / kernel.sum(1, keepdim=True)
    return kernel.view(-1, 2, 7).expand(3, 2, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_in_evaluation_each_input_waits_its_whole_delay(kind: Kind) -> None:
    one = layer(kind, DELAYS[kind]).eval()
    whole = [[2, 4]] * 3 if kind == "axonal" else [[0, 6], [2, 4], [1, 4]]
    kernel = nn.functional.one_hot(torch.tensor(whole), 7).double()
    x = stimulus()
    y, state = one(x)
    torch.testing.assert_close(y, delay_slowly(x, one, kernel), rtol=0, atol=1e-14)
    assert torch.equal(state, x[-6:])
    first, state = one(x[:5])
    second, _ = one(x[5:], state)
    torch.testing.assert_close(torch.cat([first, second]), y, rtol=0, atol=1e-14)


def test_in_float32_whole_delays_move_values_without_changing_them() -> None:
    """torch computes float32 with kernels of its own, 16 channels at a time."""
    with seeded(0):
        one, x = DelayedLinear(37, 37, 6, soft_steps=0, bias=False), torch.randn(9, 5, 37)
    one.weight.data = torch.eye(37)
    late = one.ticks()
    assert set(late.tolist()) == {*range(7)}
    for y in (one(x)[0], one.eval()(x)[0]):
        for j, d in enumerate(late.tolist()):
            assert torch.equal(y[d:, :, j], x[: 9 - d, :, j])
            assert not y[:d, :, j].any()


@pytest.mark.parametrize("kind", KINDS)
def test_soft_kernels_narrow_from_half_the_longest_delay_to_half_a_tick(kind: Kind) -> None:
    one, x = layer(kind, DELAYS[kind], soft_steps=4), stimulus()
    for step in range(4):
        want = delay_slowly(x, one, normal(one, 3 * (1 / 6) ** (step / 4)))
        torch.testing.assert_close(one(x)[0], want, rtol=0, atol=1e-13)
    assert torch.equal(one(x)[0], one.eval()(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_soft_phase_are_exact(kind: Kind) -> None:
    one, x = layer(kind, DELAYS[kind], soft_steps=10**15), stimulus(8)

    def run(weight: Tensor, bias: Tensor, late: Tensor, x: Tensor) -> Tensor:
        values = {"weight": weight, "bias": bias, "late": late}
        y: Tensor = torch.func.functional_call(one, values, x)[0]
        return y

    inputs = [p.detach().requires_grad_() for p in (one.weight, one.bias, one.late, x)]
    assert torch.autograd.gradcheck(run, inputs, atol=1e-6, rtol=1e-6)


# What dcls 0.1.1, which divides by the sum + 1e-7, computes for the layer and loss of soften.
DCLS = {
    "outputs": [-0.16202057091141, -0.143788149815593, -0.19458401860184],
    "late": [
        *(-0.139037634042107, 0.00778042669189818, -0.129938451811235),
        *(-0.328210271096302, -0.0119098519279547, -0.230669776748961),
    ],
    "weight": [
        *(-1.09829515184868, 0.747294543399693, -0.354993778624497),
        *(0.263662835391154, -0.925200998885944, 0.479953008253408),
    ],
}


def soften() -> tuple[DelayedLinear, Tensor, dict[str, list[float]]]:
    """Return a synaptic layer in its second soft step, its input, and what it computes."""
    one, x = layer("synaptic", SYNAPTIC, soft_steps=4), stimulus()
    one.steps += 1
    y = one(x)[0]
    (y * torch.arange(1, 13)[:, None, None].cos()).sum().backward()
    assert one.late.grad is not None
    assert one.weight.grad is not None
    grads = {"late": one.late.grad / 100, "weight": one.weight.grad.flatten()}
    return one, x, {"outputs": y[7, 2].tolist()} | {k: g.tolist() for k, g in grads.items()}


def test_soft_kernels_are_those_of_dcls() -> None:
    *_, own = soften()
    for name, values in DCLS.items():
        assert own[name] == pytest.approx(values, rel=1e-6)


def test_dcls_computes_the_recorded_numbers() -> None:
    dcls = pytest.importorskip("DCLS.construct.modules", reason="needs dcls 0.1.1")
    one, x, _ = soften()
    conv = dcls.Dcls1d(2, 3, kernel_count=1, dilated_kernel_size=7, version="gauss").double()
    conv.weight.data, conv.bias.data = one.weight.detach()[..., None], one.bias.detach()
    # A delay of d ticks is tap 6 - d of 7, and positions count from tap 3.
    conv.P.data = (6 - one.delays.detach().view(1, 3, 2, 1)) - 3
    conv.SIG.data.fill_(3 * (1 / 6) ** (1 / 4) - 0.27)  # which dcls adds
    y = conv(nn.functional.pad(x.permute(1, 2, 0), (6, 0))).permute(2, 0, 1)
    (y * torch.arange(1, 13)[:, None, None].cos()).sum().backward()
    found = {"outputs": y[7, 2], "late": -conv.P.grad, "weight": conv.weight.grad}
    for name, values in DCLS.items():
        assert found[name].flatten().tolist() == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hard_phase_trains_with_the_values_of_evaluation(kind: Kind) -> None:
    one, x = layer(kind, DELAYS[kind]), stimulus().requires_grad_()
    pull = torch.randn(12, 4, 3, generator=torch.Generator().manual_seed(2)).double()
    trained = one(x)[0]
    assert torch.equal(trained, one.eval()(x)[0])
    own = torch.autograd.grad((trained * pull).sum(), [one.late, x, one.weight])
    soft = delay_slowly(x, one, normal(one, 1.0))
    (late,) = torch.autograd.grad((soft * pull).sum(), [one.late])
    torch.testing.assert_close(own[0], late, rtol=1e-12, atol=0)
    hard = torch.autograd.grad((one(x)[0] * pull).sum(), [x, one.weight])
    for ours, theirs in zip(own[1:], hard, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_only_training_calls_count_and_bring_delays_back_into_range() -> None:
    one, x = layer("axonal", [-0.7, 6.4], soft_steps=5), stimulus()
    with torch.no_grad():
        one(x)
    one.eval()(x)
    assert (one.steps.item(), one.delays.tolist()) == (0, [-0.7, 6.4])
    assert one.ticks().tolist() == [0, 6]
    one.train()(x)
    assert one.steps.item() == 1
    assert one.delays.tolist() == pytest.approx([0, 6])
    assert one.state_dict()["steps"].item() == 1


def test_a_copy_in_float64_has_the_same_ticks() -> None:
    with seeded(0):
        one = DelayedLinear(1, 1, 200, soft_steps=0)
        one.late = nn.Parameter((torch.arange(200) + 0.5) / 100)
    ticks = one.ticks()
    assert torch.equal(ticks, one.double().ticks())


def test_delays_begin_everywhere_and_have_no_weight_decay() -> None:
    with seeded(0):
        one = DelayedLinear(40, 50, 20, soft_steps=0, kind="synaptic")
    assert one.late.dim() == 1
    assert one.ticks().shape == (50, 40)
    assert set(one.ticks().flatten().tolist()) == {*range(21)}
    assert one.weight.abs().max().item() == pytest.approx(1 / np.sqrt(40), rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"most": 0}, "DelayedLinear.most must be >= 1, got 0; use nn.Linear"),
        ({"inputs": 0}, "they must be >= 1, >= 1 and >= 0"),
        ({"outputs": 0}, "they must be >= 1, >= 1 and >= 0"),
        ({"soft_steps": -1}, "3, 2 and -1; they must be >= 1, >= 1 and >= 0"),
        ({"soft_steps": 1.5}, "DelayedLinear.soft_steps must be a whole number"),
        ({"kind": "dendritic"}, "kind is 'dendritic'; it must be 'axonal' or 'synaptic'"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    good = {"inputs": 3, "outputs": 2, "most": 4, "soft_steps": 1}
    with pytest.raises((ValueError, TypeError), match=said):
        DelayedLinear(**{**good, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(5, 2), "takes \\(ticks, samples, 2\\), got \\(5, 2\\); put a Flatten"),
        (torch.zeros(5, 4, 3), "takes \\(ticks, samples, 2\\), got \\(5, 4, 3\\)"),
        (torch.zeros(5, 4, 2), "weights are torch.float64, x is torch.float32; use x.to"),
    ],
)
def test_a_stimulus_that_does_not_fit_is_refused(x: Tensor, said: str) -> None:
    with pytest.raises(LayerError, match=said):
        layer("axonal", AXONAL)(x)


def network(seed: int, kind: Kind) -> Stack:
    with seeded(seed):
        norm = nn.BatchNorm1d(5)
        norm.running_mean, norm.running_var = torch.randn(5) / 9, 1 + torch.rand(5)
        net = Stack(
            first=DelayedLinear(3, 5, 7, soft_steps=0, kind=kind),
            norm=norm,
            cells=Spiking(LIF(tau=0.01, threshold=0.15)),
            second=DelayedLinear(5, 2, 4, soft_steps=0),
            out=Spiking(LIF(tau=0.02, threshold=0.05)),
        )
    return net.double().eval()


def raster(seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (torch.rand(30, 3, 3, generator=rng) < 0.4).double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_module_replay_engine_and_oracle_agree_in_every_spike(seed: int, kind: Kind) -> None:
    net, x = network(seed, kind), raster(seed)
    graph, events = trace(net, (3,)), {"input": to_events(x.numpy())}
    spikes = to_events(net(x)[0].detach().numpy())
    records = replay(graph, events), simulate(graph, events)[0], simulate_slowly(graph, events)
    for record in records:
        for ours, theirs in zip(spikes, record.spikes["out"], strict=True):
            assert np.array_equal(ours, theirs)
        for ours, theirs in zip(
            records[0].spikes["cells"], record.spikes["cells"], strict=True
        ):
            assert np.array_equal(ours, theirs)
    assert len(records[0].spikes["cells"].tick) > 5


@pytest.mark.skipif(not available(), reason="needs Lava")
@pytest.mark.parametrize(("seed", "kind"), [(0, "axonal"), (1, "synaptic"), (2, "synaptic")])
def test_the_chip_reference_equals_lava(seed: int, kind: Kind) -> None:
    graph, events = trace(network(seed, kind), (3,)), {"input": to_events(raster(seed).numpy())}
    program = lower(graph)
    ours, lava = reference.run(program, events, 30), run(program, events, 30)
    for a, b in zip(ours.spikes["out"], lava.spikes["out"], strict=True):
        assert np.array_equal(a, b)


def test_the_node_holds_every_synapse_also_those_of_weight_0() -> None:
    one = layer("synaptic", SYNAPTIC)
    one.weight.data[1, 0] = 0
    node = trace(Stack(fc=one, out=Spiking(LI(tau=0.01))), (2,)).nodes["fc"]
    assert isinstance(node, Sparse)
    assert node.indices.tolist() == [0, 1, 2] * 2
    assert node.delay is not None
    assert node.delay.tolist() == [0, 2, 1, 6, 4, 4]
    assert np.array_equal(node.weight, one.weight.detach().numpy().T.ravel())
    assert np.array_equal(node.bias, one.bias.detach().numpy())  # type: ignore[arg-type]


def test_one_common_delay_is_an_edge_into_a_dense() -> None:
    net = Stack(fc=layer("axonal", [2.6, 3.4]), out=Spiking(LI(tau=0.01))).eval()
    graph = trace(net, (2,))
    assert isinstance(graph.nodes["fc"], Dense)
    assert Edge("input", "fc", 3) in graph.edges  # type: ignore[arg-type]
    x = stimulus()
    record = replay(graph, {"input": to_events((x > 0.5).numpy())})
    want, _ = net((x > 0.5).double())
    np.testing.assert_allclose(record.values["out"], want.detach(), rtol=0, atol=1e-12)


def one_delay(ticks: int) -> Graph:
    """Return a network of time constants that Xylo has, with two delays behind cells."""
    tau, tau_syn = (-1e-3 / float(np.log1p(-share)) for share in (1 / 16, 1 / 4))
    cell = LIF(tau=tau, tau_syn=tau_syn, reset="soft")
    net = Stack(
        first=nn.Linear(3, 2, bias=False),
        cells=Spiking(cell),
        late=layer("axonal", [0.0, ticks], most=70).float(),
        out=Spiking(cell),
    )
    net.late.bias.data.zero_()  # type: ignore[union-attr, operator]
    return trace(net, (3,))


def test_63_ticks_do_not_fit_loihi() -> None:
    assert list_breaches(lower(one_delay(62)), "loihi2") == []
    (breach,) = list_breaches(lower(one_delay(63)), "loihi2")
    assert "waits 63 steps, allowed are 62; shorten the delay" in breach


def test_xylo_refuses_delays() -> None:
    with pytest.raises(ValueError, match=r"waits 5 .* Xylo, which has no delays; change"):
        lower_to_xylo(one_delay(5), ticks=20)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_training_killed_in_either_phase_resumes_to_the_same_bytes(
    tmp_path: Path, epoch: int
) -> None:
    def model() -> nn.Module:
        with seeded(0):
            return Stack(
                a=DelayedLinear(6, 8, 4, soft_steps=5),
                cells=Spiking(LIF(tau=0.01)),
                b=DelayedLinear(8, 3, 3, soft_steps=5, kind="synaptic"),
                out=Spiking(LI(tau=0.02)),
            )

    plan = Plan(epochs=4, lr=1e-2)
    fit(model(), course(), plan, cpu(), tmp_path / "whole")
    with pytest.raises(Killed):
        fit(model(), course(), plan, cpu(), tmp_path / "killed", killed_at(epoch + 1, 1))
    fit(model(), course(), plan, cpu(), tmp_path / "killed")
    for name in ("best.safetensors", "last.safetensors"):
        whole, killed = ((tmp_path / part / name).read_bytes() for part in ("whole", "killed"))
        assert whole == killed

import pytest
import torch
from builders import example, spikes
from hypothesis import given, settings, strategies as st
from torch import nn

from neuro.base.seeds import seeded
from neuro.base.units import Seconds, Ticks
from neuro.neurons import ALIF, IF, LIF
from neuro.nn import Net
from neuro.nn.layers import Delay, Recurrent, Residual, Spiking, Stack
from neuro.nn.trace import trace


@settings(max_examples=10)
@given(cut=st.integers(1, 11))
def test_a_run_in_two_halves_equals_one_run(cut: int) -> None:
    with seeded(1):
        net = example()
    x = spikes(12, 2, 1, 5, 5)
    whole, end = net(x)
    head, state = net(x[:cut])
    tail, end2 = net(x[cut:], state)
    assert torch.equal(torch.cat([head, tail]), whole)
    assert torch.equal(end[-1].v, end2[-1].v)


def test_no_state_stays_behind_in_the_module() -> None:
    with seeded(1):
        net = example()
    x = spikes(6, 2, 1, 5, 5)
    assert torch.equal(net(x)[0], net(x)[0])


def test_a_delay_shifts_by_its_ticks_and_starts_with_zeros() -> None:
    y, _ = Delay(Ticks(2))(torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1))
    assert y.flatten().tolist() == [0.0, 0.0, 1.0]


def test_feedback_arrives_after_its_delay() -> None:
    feedback = nn.Linear(1, 1, bias=False)
    nn.init.ones_(feedback.weight)
    loop = Recurrent(Spiking(IF(threshold=1.0)), feedback, Ticks(3))
    y, _ = loop(torch.tensor([1.0] + [0.0] * 7).reshape(8, 1, 1))
    assert y.flatten().tolist() == [1, 0, 0, 1, 0, 0, 1, 0]


def test_a_residual_adds_its_input() -> None:
    x = spikes(3, 2, 4)
    y, _ = Residual(Stack(fc=nn.Linear(4, 4, bias=False)))(x)
    assert y.shape == x.shape
    assert torch.equal(Residual(nn.Identity())(x)[0], 2 * x)


def test_gradients_reach_every_parameter() -> None:
    with seeded(3):
        net = example()
        for p in net.parameters():
            p.data.mul_(2.0)
    y, _ = net(spikes(12, 4, 1, 5, 5, p=0.8))
    y.pow(2).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.alif.logit_leak.grad != 0
    assert net.alif.threshold.grad != 0


def test_spiking_returns_its_model_with_the_trained_numbers() -> None:
    layer = Spiking(ALIF(leak=0.25, threshold=0.75))
    frozen = layer.frozen()
    assert isinstance(frozen, ALIF)
    assert (frozen.leak, frozen.threshold) == (0.25, 0.75)
    assert list(Spiking(LIF(tau=Seconds(0.01))).parameters()) == []


@pytest.mark.parametrize("make", [lambda: Delay(Ticks(0)), lambda: Delay(Ticks(-1))])
def test_a_delay_below_one_tick_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match="leave the layer out for 0"):
        make()  # type: ignore[operator]


def test_a_trained_leak_computes_in_float64_what_its_graph_says() -> None:
    """1 - leak must not be rounded to float32 on the way: 0.3 is a leak where that shows."""
    neuron = ALIF(leak=0.3, threshold=1e9)
    x = spikes(20, 1, 1).double()
    _, state = Spiking(neuron).double()(x)
    k, v = neuron.coefficients(Seconds(1e-3)), 0.0
    for x_t in x.flatten().tolist():
        v = float(k.decay) * v + float(k.gain) * x_t
    assert state.v.item() == v


@given(leak=st.floats(2**-10, 1, width=32))
def test_a_leak_survives_every_change_of_precision(leak: float) -> None:
    layer = Spiking(ALIF(leak=leak))
    for moved in (layer.double(), layer.float(), layer.half()):
        assert moved.frozen().leak == leak  # type: ignore[union-attr]


def test_a_module_used_twice_runs_twice() -> None:
    fc = nn.Linear(3, 3, bias=False)
    nn.init.constant_(fc.weight, 1.0)
    y, _ = Stack(fc, fc)(torch.ones(1, 1, 3))
    assert y.flatten().tolist() == [9.0, 9.0, 9.0]


def test_feedback_that_would_need_a_state_is_refused() -> None:
    with pytest.raises(ValueError, match=r"feedback must have no state"):
        Recurrent(Spiking(LIF(tau=0.01)), Stack(nn.Linear(2, 2)))


def test_a_network_is_printed_with_its_neurons_and_delays() -> None:
    net = Stack(
        cells=Spiking(ALIF(beta=0.25), Seconds(2e-3)),
        late=Delay(Ticks(2)),
        rec=Recurrent(Spiking(LIF(tau=0.01), Seconds(2e-3)), nn.Identity(), Ticks(3)),
    )
    told = (
        "Stack(\n"
        "  (cells): Spiking(ALIF(leak=0.5, threshold=0.5, beta=0.25), dt=0.002, trains "
        "logit_leak and threshold from there)\n"
        "  (late): Delay(ticks=2)\n"
        "  (rec): Recurrent(\n"
        "    delay=3\n"
        "    (spiking): Spiking(LIF(tau=0.01, threshold=1), dt=0.002)\n"
        "    (feedback): Identity()\n"
        "  )\n"
        ")"
    )
    assert repr(net) == told
    parts = repr(Net(trace(Stack(fc=nn.Linear(3, 2), s=Spiking(LIF(tau=0.01))), (3,))))
    assert "(node_fc): _ConnectionModule(Dense(weight=float32[2, 3], bias=float32[2]))" in parts

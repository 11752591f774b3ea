"""A linear layer with the population it feeds is the two one after the other."""

from typing import Any

import pytest
import torch
from fused_cases import DT, MODELS
from hypothesis import given, strategies as st
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.neurons import ALIF, LI, LIF, run_population
from neuro.neurons.fused_linear import FusedLinear, fused_linear
from neuro.neurons.surrogate import arctan
from neuro.nn import schedule
from neuro.nn.layers import Spiking, Stack
from neuro.ops import sparse_linear as products
from neuro.ops.sparse_linear import apply_linear, store_by_input

Kind = st.sampled_from(sorted(MODELS))


def spikes(shape: tuple[int, ...], share: float, seed: int, dtype: torch.dtype) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=g, dtype=dtype)
    return drawn * (torch.rand(shape, generator=g) < share)


@pytest.mark.slow
@given(
    kind=Kind,
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 64, 100])),
    outputs=st.sampled_from([1, 5, 256, 512]),
    share=st.sampled_from([0.0, 0.1, 0.9]),
    each=st.booleans(),
    biased=st.booleans(),
    double=st.booleans(),
    ordered=st.booleans(),
)
@torch.no_grad()
def test_it_is_the_layer_and_then_the_population_bit_for_bit(
    kind: str,
    sizes: tuple[int, int, int],
    outputs: int,
    share: float,
    each: bool,
    biased: bool,
    double: bool,
    ordered: bool,
) -> None:
    ticks, samples, inputs = sizes
    dtype = torch.float64 if double else torch.float32
    with seeded(outputs):
        layer = nn.Linear(inputs, outputs, bias=biased).to(dtype)
        layer.weight *= 4
        one = (outputs,) if each else ()
        neuron = MODELS[kind](0.2 + torch.rand(one), 0.1 + 0.8 * torch.rand(one), arctan)
    layer = store_by_input(layer) if ordered else layer
    state: Any = neuron.initial(torch.zeros(samples, outputs, dtype=dtype))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "MIN_VALUES", 0)
        fused = fused_linear(layer, neuron, state, DT)
        assert fused is not None
        for k in range(3):  # each call continues the one before
            x = spikes((ticks, samples, inputs), share, k, dtype)
            currents = apply_linear(x.flatten(0, 1), layer.weight, layer.bias)
            want, state = run_population(neuron, currents.view(ticks, samples, -1), DT, state)
            assert torch.equal(fused(x), want)
            for found, wanted in zip(fused.state, state, strict=True):
                assert found is wanted is None or torch.equal(found, wanted)


@torch.no_grad()
def test_a_state_that_was_handed_in_does_not_move() -> None:
    state = LIF(tau=0.01).initial(torch.zeros(2, 4))
    fused = fused_linear(nn.Linear(3, 4), LIF(tau=0.01), state, DT)
    assert fused is not None
    fused(torch.ones(5, 2, 3))
    assert fused.state.v.all()
    assert not state.v.any()


def test_what_has_no_one_pass_is_left_to_others() -> None:
    layer, some = nn.Linear(3, 4), torch.zeros(2, 4)
    trained = ALIF(beta=torch.ones((), requires_grad=True))
    for neuron in (LI(tau=0.01), LIF(tau=0.01, refractory=DT), trained):
        assert fused_linear(layer, neuron, neuron.initial(some), DT) is None
    neuron = LIF(tau=0.01)
    assert fused_linear(layer, neuron, neuron.initial(some), DT) is not None
    assert fused_linear(layer, neuron, neuron.initial(torch.zeros(2, 5, 4)), DT) is None
    assert fused_linear(layer.half(), neuron, neuron.initial(some), DT) is None


def dense_net() -> Stack:
    with seeded(0):
        return Stack(
            first=nn.Linear(80, 70),
            cells=Spiking(ALIF(threshold=0.1, beta=0.05)),
            second=nn.Linear(70, 12),
            out=Spiking(LIF(tau=0.02, threshold=0.1)),
            last=nn.Linear(12, 3),
            read=Spiking(LI(tau=0.02)),
        ).double()


@pytest.mark.parametrize("ordered", [False, True])
def test_a_stack_of_them_in_groups_of_ticks_is_the_stack(
    ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(schedule, "PART_VALUES", 3 * 7 * 80)  # three ticks
    monkeypatch.setattr(products, "MIN_VALUES", 0)
    x, calls = spikes((11, 7, 80), 0.1, 1, torch.float64), []
    net = store_by_input(dense_net()) if ordered else dense_net()
    want, end = net(x)
    call = FusedLinear.__call__
    monkeypatch.setattr(
        FusedLinear, "__call__", lambda fused, x: calls.append(len(x)) or call(fused, x)
    )
    with torch.no_grad():
        y, last = net(x)
        parts, state = [], None
        for part in torch.split(x, [1, 6, 4]):
            found, state = net(part, state)
            parts.append(found)
    # after the first tick, which is run before layers are fused
    assert calls == [3, 3, 3, 3, 3, 3, 1, 1, 3, 3, 2, 2, 3, 3]
    assert last[1].a.mean() > 0.03
    torch.testing.assert_close(y, want.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat(parts), want.detach(), rtol=0, atol=1e-12)
    for found in (last, state):
        for k in (1, 3):
            torch.testing.assert_close(found[k].v, end[k].v.detach(), rtol=0, atol=1e-12)


def test_modules_with_hooks_are_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    net, heard = dense_net(), []
    net.get_submodule("cells").register_forward_hook(lambda *_: heard.append("cells"))
    net.get_submodule("second").register_forward_hook(lambda *_: heard.append("second"))
    x = torch.ones(4, 2, 80, dtype=torch.float64) * torch.arange(4).view(4, 1, 1)
    with torch.no_grad():
        net(x)
    assert heard == ["cells", "second"]

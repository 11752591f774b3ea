"""The fused operator is the loop: spikes and states bit for bit, and its gradients."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from fused_cases import DT, MODELS, Case, bell, drawn, outcome, require_same
from hypothesis import assume, given, settings, strategies as st

from neuro.base.units import Seconds, Ticks
from neuro.neurons import ALIF, LI, LIF
from neuro.neurons.fused import (
    FusedContext,
    can_pool,
    make_fused_form,
    run_population,
    step_population,
)
from neuro.neurons.surrogate import arctan, triangle
from neuro.nn import Spiking

SHAPES = {"cells": (7, 3, 1100), "images": (5, 2, 3, 4, 6), "one": (1, 1, 1)}


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(sorted(SHAPES)),
    each=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    surrogate=st.sampled_from([arctan, triangle, bell]),
)
def test_operator_and_loop_agree(
    model: str, seed: int, shape: str, each: bool, dtype: torch.dtype, surrogate: Any
) -> None:
    last = shape == "images" and seed % 2 == 0
    case = Case(SHAPES[shape], each, dtype, surrogate, last)
    fast, slow = (
        outcome(execute, MODELS[model], seed, case)
        for execute in (run_population, step_population)
    )
    require_same(fast, slow, case)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([(2, 2), (3, 2), (1, 4), None]),
    constant=st.booleans(),
    surrogate=st.sampled_from([arctan, bell]),
)
def test_the_context_of_a_population_is_what_the_loop_has_before_and_behind_it(
    model: str, seed: int, size: tuple[int, int] | None, constant: bool, surrogate: Any
) -> None:
    found = []
    context = FusedContext(Ticks(5 if constant else 0), size)
    case = Case((5, 2, 3, 7, 9), True, torch.float64, surrogate)
    for execute in (run_population, step_population):
        x, threshold, leak, *_ = drawn(seed, case)
        x = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (5, 2))
        x = (x[:1] if constant else x).requires_grad_()
        net = MODELS[model](threshold.requires_grad_(), leak.requires_grad_(), surrogate)
        y, state = execute(net, x, DT, net.initial(x[0]), context)
        w = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
        loss = (y * w).sum() + (state.v**2).sum()
        wanted = [x, threshold, leak]
        grads = list(torch.autograd.grad(loss, wanted, allow_unused=True))
        found.append(([y, *(c for c in state if c is not None)], grads))
    fast, slow = found
    assert fast[0][0].shape[:2] == (5, 2)
    assume(0 < slow[0][0].mean() < 1)  # drawn weights may leave all neurons silent
    require_same(fast, slow, case)  # parameters and their gradients are float32


def test_images_that_do_not_lie_channels_last_are_left_to_the_loop() -> None:
    x = torch.rand(4, 2, 3, 6, 6)
    assert not can_pool(x, (2, 2))
    last = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (4, 2))
    assert can_pool(last, (2, 2))
    assert not can_pool(last, (7, 1))
    model, context = LIF(tau=0.005), FusedContext(pool=(2, 2))
    y, z = (run_population(model, given, DT, None, context)[0] for given in (x, last))
    assert y.shape == (4, 2, 3, 3, 3)
    assert torch.equal(y, z)


def test_runs_that_follow_each_other_hand_gradients_back_through_the_state() -> None:
    model = ALIF(beta=0.2)
    grads = []
    for execute in (run_population, step_population):
        g = torch.Generator().manual_seed(3)
        x = torch.randn(6, 2, 5, dtype=torch.float64, generator=g).requires_grad_()
        y, state = execute(model, x[:3], DT, model.initial(x[0]))
        z, _ = execute(model, x[3:], DT, state)
        grads.append(torch.autograd.grad((y**2).sum() + (3 * z).sum(), x)[0])
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-13)


def test_channels_last_stays_channels_last() -> None:
    x = torch.rand(6, 8, 4, 4).to(memory_format=torch.channels_last).unflatten(0, (2, 3))
    y, _ = run_population(LIF(tau=0.01), x, DT)
    assert y.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.ops.threads.MIN_SHARED_VALUES", 1)
    x = torch.randn(4, 7, 300)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        given_x = x.clone().requires_grad_()
        y, _ = run_population(ALIF(), given_x, DT)
        found.append((y, torch.autograd.grad((y * x).sum(), given_x)[0]))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_what_the_operator_cannot_do_is_left_to_the_loop() -> None:
    x = torch.rand(3, 2, 4)
    assert make_fused_form(LIF(tau=0.01), x, DT) is not None
    assert make_fused_form(LIF(tau=0.01, refractory=Seconds(2e-3)), x, DT) is None
    assert make_fused_form(LI(tau=0.01), x, DT) is None
    assert make_fused_form(LIF(tau=0.01), x.to(torch.bfloat16), DT) is None
    learns = torch.tensor(0.1, requires_grad=True)
    assert make_fused_form(replace(ALIF(), beta=learns), x, DT) is None
    assert make_fused_form(replace(ALIF(), rho=learns), x, DT) is None


def test_without_values_shapes_are_those_of_a_run_and_what_a_gpu_keeps_is_kept() -> None:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    real = Spiking(ALIF(beta=0.1))
    y, state = real(torch.ones(5, 2, 300))
    with torch.device("meta"):
        layer = Spiking(ALIF(beta=0.1))
        x = torch.zeros(5, 2, 300)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        shaped, after = layer(x)
    assert shaped.is_meta
    assert (shaped.shape, shaped.dtype) == (y.shape, y.dtype)
    assert [c.shape for c in after[:2]] == [c.shape for c in state[:2]]
    assert (after.v.requires_grad, after.a.requires_grad) == (True, False)
    run = 4 * 5 * 2 * 300  # once the input, once the membranes before the reset
    cells = 4 * 2 * 300  # v and a begin as the same zeros
    assert sum(size for size in kept.values() if size > 100) == 2 * run + cells

import math

import pytest
import torch
from hypothesis import given, strategies as st

from neuro.neurons.surrogate import Surrogate, arctan, spike, triangle

around = st.floats(-4, 4, width=32)


def derivative_of(x: float, surrogate: Surrogate) -> float:
    at = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(spike(at, surrogate).sum(), at)
    return float(gradient)


def test_forward_is_a_step_that_is_one_at_zero() -> None:
    x = torch.tensor([-1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0])
    assert spike(x).tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


@given(x=around)
def test_backward_is_exactly_the_surrogate(x: float) -> None:
    assert derivative_of(x, triangle) == max(0.0, 1 - abs(x))
    assert derivative_of(x, arctan) == pytest.approx(1 / (1 + (math.pi * x) ** 2), rel=1e-14)


def test_any_function_is_a_surrogate_and_the_outer_gradient_multiplies_it() -> None:
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    (3 * spike(x, lambda u: u.square())).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 12.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_spikes_keep_the_dtype_of_their_input(dtype: torch.dtype) -> None:
    assert spike(torch.zeros(2, dtype=dtype)).dtype == dtype

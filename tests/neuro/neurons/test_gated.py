import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from neuro.base.units import Seconds
from neuro.neurons import GatedLI, GatedState, run_population
from neuro.nn.layers import Spiking

DT = Seconds(1e-3)


def test_an_open_gate_takes_the_candidate_and_a_closed_one_keeps_v() -> None:
    x = torch.tensor([[-99.0, 3.0], [99.0, 7.0], [0.0, 1.0]], dtype=torch.float64)[:, None]
    v, end = run_population(GatedLI(), x, DT)
    assert v.flatten().tolist() == [3, 3, 2]  # keeps 0, all, and half
    assert end.v.item() == 2  # type: ignore[union-attr]


def test_the_floor_is_the_least_share_that_stays() -> None:
    x = torch.tensor([[-99.0, -99.0, 8.0, 8.0]], dtype=torch.float64)[:, None]
    v, _ = run_population(GatedLI(floor=np.array([0.0, 0.25])), x, DT)
    assert v.flatten().tolist() == [8, 6]
    v, _ = run_population(
        GatedLI(floor=0.5), torch.zeros(3, 1, 2), DT, GatedState(v=torch.ones(1, 1))
    )
    assert v.flatten().tolist() == [0.75, 0.75**2, 0.75**3]


def test_halves_are_taken_along_the_first_axis() -> None:
    x = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    v, _ = Spiking(GatedLI())(x)
    assert v.shape == (3, 2, 2, 5, 6)
    flat, _ = run_population(GatedLI(), x.flatten(3), DT)
    torch.testing.assert_close(v.flatten(3), flat, rtol=0, atol=0)


@given(v=st.floats(-9, 9), n=st.integers(1, 60), floor=st.floats(0, 0.99))
def test_silent_steps_are_powers_of_a_gate_half_open(v: float, n: int, floor: float) -> None:
    neuron = GatedLI(floor=floor)
    state = GatedState(v=torch.tensor([[v]], dtype=torch.float64))
    for _ in range(n):
        _, state = neuron.step(torch.zeros(1, 2, dtype=torch.float64), state, DT)
    keep = (1 + floor) / 2  # sigmoid(0) = 1/2
    assert float(state.v) == pytest.approx(keep**n * v, rel=1e-9, abs=1e-12)


def test_a_run_in_two_parts_is_one_run() -> None:
    x = torch.randn(9, 2, 6, generator=torch.Generator().manual_seed(0))
    whole, end = run_population(GatedLI(), x, DT)
    one, middle = run_population(GatedLI(), x[:4], DT)
    two, last = run_population(GatedLI(), x[4:], DT, middle)
    torch.testing.assert_close(torch.cat([one, two]), whole, rtol=0, atol=0)
    torch.testing.assert_close(last.v, end.v, rtol=0, atol=0)  # type: ignore[union-attr]


def test_gradients_pass_gate_candidate_and_floor() -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(4, 2, 6, dtype=torch.float64, generator=rng).requires_grad_()
    floor = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).requires_grad_()

    def last(x: torch.Tensor, floor: torch.Tensor) -> torch.Tensor:
        return run_population(GatedLI(floor=floor), x, DT)[0]

    assert torch.autograd.gradcheck(last, (x, floor))


def test_a_tick_costs_three_operations_a_neuron() -> None:
    assert GatedLI().macs((8, 5)) == 60  # (4, 5) neurons


def test_it_has_no_free_parameters() -> None:
    neuron = GatedLI()
    assert neuron.free() == {}
    assert neuron.bind({}) is neuron
    frozen = Spiking(GatedLI(floor=torch.tensor([0.25, 0.5]))).frozen()
    assert isinstance(frozen, GatedLI)
    np.testing.assert_array_equal(frozen.floor, [0.25, 0.5])


@pytest.mark.parametrize("floor", [-0.1, 1.0, math.nan])
def test_a_floor_that_is_no_share_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match=r"GatedLI.floor must be >= 0 and < 1.*; 0 leaves"):
        GatedLI(floor=floor)

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st

from neuro.neurons import LI, LIState, run
from neuro.units import Seconds, Ticks

DT = Seconds(1.0)
HALF = 1 / math.log(2)


def test_the_output_is_the_membrane_which_halves_every_tick() -> None:
    v, end = run(LI(tau=HALF), torch.tensor([8.0, 0.0, 2.0]).view(3, 1), DT)
    assert v.flatten().tolist() == [8, 4, 4]
    assert end.v.item() == 4


def test_without_leak_it_sums() -> None:
    v, _ = run(LI(tau=math.inf), torch.ones(5, 1), DT)
    assert v.flatten().tolist() == [1, 2, 3, 4, 5]


@settings(deadline=None)
@given(v=st.floats(-9, 9), n=st.integers(1, 60), tau=st.sampled_from([0.5, 3.0, math.inf]))
def test_a_jump_is_that_many_silent_steps(v: float, n: int, tau: float) -> None:
    neuron = LI(tau=tau)
    state = LIState(v=torch.tensor([[v]], dtype=torch.float64))
    for _ in range(n):
        _, state = neuron.step(torch.zeros(1, 1, dtype=torch.float64), state, DT)
    assert neuron.jump(v, Ticks(n), DT) == pytest.approx(float(state.v), rel=1e-9, abs=1e-12)


def test_it_has_no_free_parameters_and_never_fires() -> None:
    neuron = LI(tau=HALF)
    assert neuron.free() == {}
    assert neuron.bind({}) is neuron
    assert not neuron.coefficients(DT).fires


def test_a_wrong_time_constant_is_named_with_its_cure() -> None:
    with pytest.raises(ValueError, match=r"LI\.tau must be > 0 s, got 0\.0; .*math\.inf"):
        LI(tau=0.0)

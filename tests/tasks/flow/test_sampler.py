"""Samplers on Gaussian images, whose velocity is known exactly."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tasks.flow.config import Sampler
from tasks.flow.path import draw_times, mix, scale_score
from tasks.flow.sampler import (
    LAST,
    Generators,
    Velocity,
    count_calls,
    guide,
    iterate,
    list_steps,
    record_states,
    replay_states,
    reset_state,
)

MEAN, SD = 1.5, 0.4


def exact(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
    """Return E(x_1 - e | x_t) for images from N(MEAN, SD^2)."""
    variance = (t * SD) ** 2 + (1 - t) ** 2
    gain = (t * SD**2 - (1 - t)) / variance
    return MEAN + gain * (x - t * MEAN), state


def noise(n: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 1, 1, generator=rng, dtype=torch.float64)


def sample(
    velocity: Velocity,
    x: Tensor,
    sampler: Sampler,
    steps: int,
    generator: Generators,
    state: Any = None,
) -> Tensor:
    """Return the images at t = 1."""
    *_, last = iterate(velocity, x, sampler, steps, generator, state)
    return last.x


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_ordinary_samplers_converge_at_their_order(sampler: Sampler, order: int) -> None:
    x = noise(5)
    want = MEAN + SD * x  # the flow moves each quantile to its own
    errors = [
        float((sample(exact, x, sampler, n, rng()) - want).abs().max()) for n in (40, 80, 160)
    ]
    found = [math.log2(a / b) for a, b in pairwise(errors)]
    assert found == pytest.approx([order] * 2, abs=0.15)


def test_the_stochastic_sampler_has_the_moments_of_its_own_recursion() -> None:
    """All steps are linear here, so mean and variance are known exactly."""
    steps, mean, variance = 30, 0.0, 1.0
    for t, length in list_steps("sde", steps):
        spread = (t * SD) ** 2 + (1 - t) ** 2
        gain = (t * SD**2 - (1 - t)) / spread
        slope = 1 + length * ((1 + t) * gain - 1)
        mean = slope * mean + length * (1 + t) * MEAN * (1 - gain * t)
        variance = slope**2 * variance
        if t + length < 1 - 1e-9:
            variance += 2 * length * (1 - t)
    x = sample(exact, noise(40_000), "sde", steps, rng())
    assert float(x.mean()) == pytest.approx(mean, abs=4 * SD / 200)
    assert float(x.std()) == pytest.approx(variance**0.5, rel=0.02)


def test_the_stochastic_sampler_converges_to_the_images() -> None:
    x = sample(exact, noise(20_000), "sde", 400, rng())
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
    # The last step adds no noise, so the deviation is slightly below SD.
    assert SD * 0.95 < float(x.std()) < SD * 1.02


def test_each_image_may_have_a_generator_of_its_own() -> None:
    x = noise(3)
    both = sample(exact, x, "sde", 6, [rng(k) for k in range(3)])
    for k in range(3):
        assert torch.equal(sample(exact, x[k : k + 1], "sde", 6, rng(k)), both[k : k + 1])


def test_steps_fill_the_time_and_the_last_stochastic_one_is_short() -> None:
    for sampler in ("euler", "heun", "sde"):
        for n in (1, 2, 7, 250):
            steps = list_steps(sampler, n)  # type: ignore[arg-type]
            assert len(steps) == n
            ends = np.cumsum([length for _, length in steps])
            assert [t for t, _ in steps] == pytest.approx([0, *ends[:-1]])
            assert ends[-1] == pytest.approx(1)
    assert list_steps("sde", 250)[-1] == (1 - LAST, LAST)


def test_the_score_is_minus_the_noise() -> None:
    x1, e = torch.tensor([[[[2.0]]]]), torch.tensor([[[[-0.5]]]])
    for t in (0.0, 0.3, 1.0):
        x = mix(x1, e, torch.tensor([t]))
        assert float(scale_score(x, x1 - e, t)) == pytest.approx(0.5)


def test_times_ascend_in_each_sequence() -> None:
    t = draw_times(5, 200, torch.device("cpu"))
    assert (t[1:] >= t[:-1]).all()
    assert float(t.mean()) == pytest.approx(0.5, abs=0.05)
    assert t.mean(1).tolist() == pytest.approx([k / 6 for k in range(1, 6)], abs=0.05)


def counted(log: list[tuple[float, Any]], factor: float = 1.0) -> Velocity:
    """Return a velocity whose state is the number of steps that it has seen."""

    def velocity(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
        log.append((round(t, 6), state))
        return factor * exact(x, t, None)[0] + 0.01 * (state or 0), (state or 0) + 1

    return velocity


def test_no_guidance_is_the_conditional_velocity_bit_for_bit() -> None:
    log: list[tuple[float, Any]] = []
    velocity = counted(log)
    guided = guide(velocity, counted([], 3.0), 1.0, 1)
    assert guided is velocity
    x = torch.randn(2, 3, 1, 1)
    almost = guide(velocity, counted([], 3.0), 1.5, 2)
    v, state = almost(x, 0.3, None)
    cond, null = counted([])(x, 0.3, None)[0], counted([], 3.0)(x, 0.3, None)[0]
    torch.testing.assert_close(v[:, :2], (null + 1.5 * (cond - null))[:, :2])
    assert torch.equal(v[:, 2:], cond[:, 2:])  # channels without guidance
    assert state == (1, 1)


def test_each_branch_of_guidance_has_its_own_state() -> None:
    own: list[tuple[float, Any]] = []
    other: list[tuple[float, Any]] = []
    sample(guide(counted(own), counted(other, 2.0), 2.0, 1), noise(2), "euler", 3, rng())
    assert [state for _, state in own] == [None, 1, 2] == [state for _, state in other]


def test_the_state_advances_once_a_step() -> None:
    for sampler, states in (
        ("euler", [None, 1, 2]),
        ("sde", [None, 1, 2]),
        ("heun", [None, 1, 1, 2, 2, 3]),
    ):
        log: list[tuple[float, Any]] = []
        sample(counted(log), noise(1), sampler, 3, rng())  # type: ignore[arg-type]
        assert [state for _, state in log] == states
        assert len(log) == count_calls(sampler, 3, 1.0)  # type: ignore[arg-type]
    assert count_calls("heun", 25, 1.5) == 100


def test_the_first_step_may_have_a_state() -> None:
    log: list[tuple[float, Any]] = []
    sample(counted(log), noise(1), "euler", 3, rng(), 5)
    assert [state for _, state in log] == [5, 6, 7]


@pytest.mark.parametrize("sampler", ["euler", "heun", "sde"])
def test_replayed_states_are_those_of_the_others_at_the_same_step(sampler: Sampler) -> None:
    seen: list[Any] = []
    first = sample(record_states(counted([]), seen), noise(2), sampler, 4, rng())
    assert seen == [None, 1, 2, 3, 4][: len(seen)]
    assert len(seen) == (5 if sampler == "heun" else 4)
    again = sample(replay_states(counted([]), seen), noise(2), sampler, 4, rng())
    assert torch.equal(first, again)  # own states, replayed
    log: list[tuple[float, Any]] = []
    sample(reset_state(counted(log)), noise(2), sampler, 4, rng())
    assert {state for _, state in log} == {None}


def test_a_trajectory_ends_with_the_sample_and_the_last_step_draws_nothing() -> None:
    way = list(iterate(exact, noise(3), "sde", 5, rng()))
    assert [round(step.t, 6) for step in way] == [0.24, 0.48, 0.72, 0.96, 1.0]
    assert torch.equal(way[-1].x, sample(exact, noise(3), "sde", 5, rng()))
    x, t = way[-2].x, way[-2].t
    torch.testing.assert_close(way[-1].x, x + LAST * ((1 + t) * exact(x, t, None)[0] - x))

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from tasks.images.generation.vae import bernoulli_kl, gaussian_kl, mmd

PROBABILITIES = arrays(np.float64, (5, 3, 2), elements=st.floats(0, 1))


@given(q=PROBABILITIES, p=PROBABILITIES)
def test_mmd_is_the_mean_square_of_two_postsynaptic_potentials(
    q: np.ndarray, p: np.ndarray
) -> None:
    total = 0.0
    for b in range(3):
        for i in range(2):
            s = r = 0.0
            for t in range(5):
                s += (q[t, b, i] - s) / 2
                r += (p[t, b, i] - r) / 2
                total += (s - r) ** 2
    found = mmd(torch.tensor(q), torch.tensor(p))
    assert found.item() == pytest.approx(total / 30, rel=1e-9, abs=1e-15)


@given(q=PROBABILITIES, p=PROBABILITIES)
def test_kl_sums_over_ticks_and_bits_and_is_finite_at_0_and_1(
    q: np.ndarray, p: np.ndarray
) -> None:
    total = 0.0
    for x, y in zip(q.ravel(), p.ravel(), strict=True):
        total += x * math.log((x + 0.01) / (y + 0.01))
        total += (1 - x) * math.log((1.01 - x) / (1.01 - y))
    found = bernoulli_kl(torch.tensor(q), torch.tensor(p))
    assert found.item() == pytest.approx(total / 3, rel=1e-9, abs=1e-9)


def test_equal_probabilities_are_no_distance_apart() -> None:
    q = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0))
    assert mmd(q, q).item() == bernoulli_kl(q, q).item() == 0


def test_the_gaussian_is_nearest_at_mean_0_and_variance_1() -> None:
    zero = torch.zeros(3, 4)
    assert gaussian_kl(zero, zero).item() == 0
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(3)]])
    assert gaussian_kl(mean, log_variance).item() == pytest.approx(
        (1 + 4 + 3 - math.log(3) - 1) / 2
    )

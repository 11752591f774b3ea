"""The loss: what each arm teaches, and the laws that tie the arms together."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor

from neuro.base.seeds import seeded
from tasks.forecasting.config import TAUGHT, ForecastConfig
from tasks.forecasting.network import (
    compute_loss,
    cross_entropy,
    diverge,
    measure_distance,
    measure_divergence,
)

ARMS = ("none", "future", "present", "shuffled", "smoothing", "population", "oracle")


def draw(seed: int, *shape: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores of a student and of a teacher, and labels."""
    with seeded(seed):
        scores, taught = 3 * torch.randn(2, *shape, dtype=torch.float64)
        return scores.requires_grad_(), taught, torch.randint(shape[-1], shape[:-1])


def run(config: ForecastConfig, scores: Tensor, taught: Tensor, labels: Tensor) -> Tensor:
    return compute_loss(config, scores, labels, taught if config.taught else None)


@given(st.integers(0, 99), st.floats(0, 1), st.floats(0.5, 8))
def test_the_loss_is_that_of_torch(seed: int, alpha: float, tau: float) -> None:
    scores, taught, labels = draw(seed, 4, 7)
    config = ForecastConfig(arm="future", alpha=alpha, temperature=tau)
    soft = F.kl_div(
        F.log_softmax(scores / tau, 1), F.softmax(taught / tau, 1), reduction="batchmean"
    )
    ours = run(config, scores, taught, labels)
    theirs = alpha * F.cross_entropy(scores, labels) + (1 - alpha) * tau**2 * soft
    assert torch.allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("arm", [a for a in ARMS if a != "population"])
def test_with_labels_alone_every_arm_is_the_baseline_bit_for_bit(arm: str) -> None:
    scores, taught, labels = draw(0, 5, 9)
    losses, gradients = [], []
    for config in (ForecastConfig(arm=arm, alpha=1.0), ForecastConfig(arm="none")):  # type: ignore[arg-type]
        losses.append(run(config, scores, taught, labels))
        gradients.append(torch.autograd.grad(losses[-1], scores)[0])
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0], gradients[1])


def test_a_certain_teacher_at_temperature_one_is_the_baseline() -> None:
    scores, _, labels = draw(1, 5, 9)
    certain = 1e4 * F.one_hot(labels, 9).double()
    config = ForecastConfig(arm="future", temperature=1.0, alpha=0.3)
    expected = F.cross_entropy(scores, labels)
    assert torch.allclose(run(config, scores, certain, labels), expected, rtol=1e-12)
    oracle = replace(config, arm="oracle")
    assert torch.allclose(run(oracle, scores, certain, labels), expected, rtol=1e-12)


@given(st.integers(0, 99), st.floats(0.5, 8))
@settings(max_examples=15)
def test_the_oracle_is_a_certain_teacher_at_every_temperature(seed: int, tau: float) -> None:
    scores, _, labels = draw(seed, 4, 6)
    certain = 1e5 * F.one_hot(labels, 6).double()
    teacher, oracle = (
        run(ForecastConfig(arm=arm, temperature=tau), scores, certain, labels)
        for arm in ("future", "oracle")
    )  # type: ignore[misc]
    assert torch.allclose(teacher, oracle, rtol=1e-9)


def test_the_teacher_teaches_only_where_it_surprises() -> None:
    scores, taught, labels = draw(6, 40, 9)
    each = measure_divergence(taught, scores, 4.0).detach()
    middle = float(each.median())
    plain, gated = (ForecastConfig(arm="future", surprise=s, alpha=0.0) for s in (0.0, middle))
    surprising = each > middle
    assert int(surprising.sum()) == 20
    whole, part = (
        torch.autograd.grad(run(c, scores, taught, labels), scores)[0] for c in (plain, gated)
    )
    assert torch.equal(part[surprising], whole[surprising])
    assert not part[~surprising].any()
    assert whole[~surprising].any(1).all()
    assert torch.equal(run(plain, scores, taught, labels), 16 * each.mean())


def test_smoothing_is_a_teacher_that_answers_a_gaussian_around_the_label() -> None:
    scores, _, labels = draw(2, 5, 9)
    config = ForecastConfig(arm="smoothing", sigma=0.7)
    gaussian = -0.5 * ((torch.arange(9) - labels[:, None]).double() / 0.7) ** 2
    future = replace(config, arm="future")
    assert torch.equal(
        run(config, scores, gaussian, labels), run(future, scores, gaussian, labels)
    )


def test_softened_by_tau_the_gaussian_is_wider_by_its_root() -> None:
    labels, scores = torch.tensor([10]), torch.zeros(1, 21, dtype=torch.float64)
    bins = torch.arange(21)
    for tau in (1.0, 4.0):
        p = (measure_distance(labels, scores, 1.5) / tau).softmax(1)
        sd = float((p * (bins - 10) ** 2).sum().sqrt())
        assert sd == pytest.approx(1.5 * tau**0.5, rel=1e-2)


def test_a_population_code_has_no_hard_label() -> None:
    scores, taught, labels = draw(3, 5, 9)
    with pytest.raises(ValueError, match='arm "population" has no teacher'):
        compute_loss(ForecastConfig(arm="population"), scores, labels, taught)
    target = measure_distance(labels, scores, 1.0)
    loss = run(ForecastConfig(arm="population"), scores, taught, labels)
    assert torch.equal(loss, diverge(target, scores, 1.0))
    perfect = run(ForecastConfig(arm="population"), target, taught, labels)
    assert float(perfect) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("arm", TAUGHT)
def test_no_gradient_reaches_the_teacher(arm: str) -> None:
    scores, taught, labels = draw(4, 5, 9)
    taught.requires_grad_()
    compute_loss(ForecastConfig(arm=arm), scores, labels, taught).backward()  # type: ignore[arg-type]
    assert taught.grad is None
    assert scores.grad is not None
    with pytest.raises(ValueError, match=f'arm "{arm}" has a teacher: give its scores'):
        compute_loss(ForecastConfig(arm=arm), scores, labels, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("arm", ARMS)
def test_networks_side_by_side_have_the_losses_of_each(arm: str) -> None:
    scores, taught, labels = draw(5, 3, 4, 6)
    config = ForecastConfig(arm=arm)  # type: ignore[arg-type]
    together = run(config, scores, taught, labels)
    each = [run(config, scores[k], taught[k], labels[k]) for k in range(3)]
    assert torch.allclose(together, torch.stack(each), rtol=1e-12)
    assert torch.allclose(
        cross_entropy(scores, labels)[0], F.cross_entropy(scores[0], labels[0])
    )

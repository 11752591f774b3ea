"""Detectors on values computed by hand, by their laws, and beside pytorch-ood."""

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from tasks.attribution.detectors import (
    fit_gaussians,
    score_compressed,
    score_cosine,
    score_energy,
    score_mahalanobis,
    score_neighbours,
    score_perplexity,
    score_relative,
    score_softmax,
)
from tasks.attribution.metrics import measure_detection

seeds = st.integers(0, 2**32 - 1)


def test_scores_of_logits_are_those_computed_by_hand() -> None:
    logits = np.log(np.array([[1.0, 3.0], [5.0, 5.0]]))
    np.testing.assert_allclose(score_softmax(logits), [1 / 4, 1 / 2])
    np.testing.assert_allclose(score_energy(logits), [-np.log(4), -np.log(10)])


@given(seed=seeds, shift=st.floats(-500, 500))
def test_a_shift_of_the_logits_moves_the_energy_alone(seed: int, shift: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (4, 3))
    np.testing.assert_allclose(score_softmax(logits + shift), score_softmax(logits), atol=1e-9)
    np.testing.assert_allclose(score_energy(logits + shift), score_energy(logits) - shift)


def test_distances_to_corpora_are_those_computed_by_hand() -> None:
    bank = np.array([[1.0, 0.0], [-1.0, 0.0], [4.0, 2.0], [4.0, -2.0]])
    labels = np.array([0, 0, 1, 1])
    fit = fit_gaussians(bank, labels, shrinkage=0.0)
    # means (0, 0), (4, 0), covariance diag(2, 8)/4; of all: (2, 0), diag(18, 8)/4
    x = np.array([[1.0, 2.0], [4.0, 0.0]])
    near = np.array([1 / 0.5 + 4 / 2, 0.0])
    np.testing.assert_allclose(score_mahalanobis(fit, x), near)
    np.testing.assert_allclose(score_relative(fit, x), near - [1 / 4.5 + 4 / 2, 4 / 4.5])
    round_one = fit_gaussians(bank, labels, shrinkage=1.0)  # (0.5 + 2)/2 on the diagonal
    np.testing.assert_allclose(score_mahalanobis(round_one, x), [5 / 1.25, 0.0])


@settings(max_examples=10)
@given(seed=seeds)
def test_linear_maps_leave_distances_without_shrinkage(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank, x, labels = rng.normal(size=(40, 3)), rng.normal(size=(5, 3)), np.arange(40) % 2
    linear, moved = rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=3)
    fit = fit_gaussians(bank, labels, 0.0)
    other = fit_gaussians(bank @ linear + moved, labels, 0.0)
    for score in (score_mahalanobis, score_relative):
        np.testing.assert_allclose(score(other, x @ linear + moved), score(fit, x), rtol=1e-6)


def test_shrinkage_keeps_more_features_than_documents_apart() -> None:
    rng = np.random.default_rng(0)
    bank, far = rng.normal(size=(20, 50)), rng.normal(size=(30, 50)) + 3
    fit = fit_gaussians(bank, np.arange(20) % 2)
    assert np.linalg.eigvalsh(fit.precision).min() > 0
    near = score_mahalanobis(fit, rng.normal(size=(30, 50)))
    assert measure_detection(near, score_mahalanobis(fit, far)).auroc > 0.99


def test_neighbours_are_counted_on_the_circle() -> None:
    bank = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]])
    x = np.array([[3.0, 0.0], [1.0, 1.0]])
    half = np.sqrt(2 - np.sqrt(2))  # the chord of 45 degrees
    np.testing.assert_allclose(score_neighbours(bank, x, 1), [0, half], atol=1e-7)
    np.testing.assert_allclose(score_neighbours(bank, x, 2), [np.sqrt(2), half])
    np.testing.assert_allclose(score_neighbours(bank, x, 3), [2, np.sqrt(2 + np.sqrt(2))])
    np.testing.assert_allclose(score_cosine(bank, x, False), [-1, -np.sqrt(0.5)])
    np.testing.assert_allclose(score_cosine(bank, x, True), [-3, -1])
    silent = np.zeros((1, 2))  # has no direction
    np.testing.assert_allclose(score_neighbours(bank, silent, 1), [1])
    np.testing.assert_allclose(score_cosine(bank, silent, False), [0])


@settings(max_examples=10)
@given(seed=seeds)
def test_the_nearest_neighbour_and_the_cosine_are_one_order(seed: int) -> None:
    """|x - y|^2 = 2 - 2 cos on the unit sphere; lengths do not matter."""
    rng = np.random.default_rng(seed)
    bank, x = rng.normal(size=(12, 4)), rng.normal(size=(6, 4))
    chord = score_neighbours(bank, x, 1)
    np.testing.assert_allclose(chord**2, 2 + 2 * score_cosine(bank, x, False), atol=1e-7)
    longer = x * rng.uniform(0.1, 9, (6, 1))
    np.testing.assert_allclose(score_neighbours(bank, longer, 3), score_neighbours(bank, x, 3))


def test_scores_of_text_are_those_computed_by_hand() -> None:
    nats = np.array([8 * np.log(5), 0.0])
    np.testing.assert_allclose(score_perplexity(nats, 8), [5, 1])
    tokens = np.stack([np.arange(8), np.zeros(8, np.int64)], 1)
    size = len(zlib.compress(bytes(range(8)), 9))
    np.testing.assert_allclose(score_compressed(nats, tokens), [nats[0] / size, 0])
    wide = len(zlib.compress((np.arange(8) * 1000).astype(np.uint16).tobytes(), 9))
    np.testing.assert_allclose(score_compressed(nats, tokens * 1000)[0], nats[0] / wide)
    same = np.array([5.0, 5.0])
    varied, flat = score_compressed(same, tokens)
    assert flat > varied  # as many nats for what is simpler: further out


def test_what_has_no_score_is_refused_with_the_cure() -> None:
    bank = np.eye(3)
    with pytest.raises(ValueError, match=r"corpora \[1\] of 3 have no document in the bank"):
        fit_gaussians(bank, np.array([0, 0, 2]))
    with pytest.raises(ValueError, match="1 of 3 documents have a value that is not finite"):
        fit_gaussians(np.diag([1.0, 1.0, np.nan]), np.array([0, 0, 0]))
    with pytest.raises(ValueError, match="neighbours is 4, of a bank of 3 documents"):
        score_neighbours(bank, bank, 4)


@pytest.mark.slow
def test_scores_are_those_of_pytorch_ood() -> None:
    oracle = pytest.importorskip("pytorch_ood.detector")
    metrics = pytest.importorskip("pytorch_ood.metrics.functional")
    rng = np.random.default_rng(0)
    bank, x, labels = rng.normal(size=(90, 5)), rng.normal(size=(40, 5)), np.arange(90) % 3
    z, y, new = (
        torch.from_numpy(a) for a in (bank.astype(np.float32), labels, x.astype(np.float32))
    )
    fit = fit_gaussians(bank, labels, 0.0)
    pairs = {
        "softmax": (score_softmax(x) - 1, oracle.MaxSoftmax(None).predict_logits(new)),
        "energy": (score_energy(x), oracle.EnergyBased(None).predict_logits(new)),
        # there of sums instead of means, and halved
        "Mahalanobis": (
            score_mahalanobis(fit, x) / 90 / 2,
            oracle.Mahalanobis(None).fit_features(z, y).predict_features(new),
        ),
        "relative": (
            score_relative(fit, x) / 90,
            oracle.RMD(None).fit_features(z, y).predict_features(new),
        ),
        "neighbours": (
            score_neighbours(bank, x, 7),
            oracle.KNN(None, k=7).fit_features(z, y).predict_features(new),
        ),
    }
    for name, (own, theirs) in pairs.items():
        np.testing.assert_allclose(own, theirs.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
    scores, foreign = torch.from_numpy(rng.normal(size=40)), torch.arange(40) % 3 == 0
    found = measure_detection(scores[~foreign].numpy(), scores[foreign].numpy())
    label = torch.where(foreign, -1, 0)
    assert found.auroc == pytest.approx(float(metrics.auroc(scores, label)))
    assert found.fpr95 == pytest.approx(float(metrics.fpr_at_tpr(scores, label)))
    # the area by trapezoids there, by steps here
    assert found.aupr == pytest.approx(float(metrics.aupr(scores, label)), abs=0.03)

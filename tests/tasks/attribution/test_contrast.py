"""The contrastive filter: its loss beside a loop, its views, and what it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from tasks.attribution import detectors as contrast_module
from tasks.attribution.detectors import (
    KINDS,
    Contrast,
    Kind,
    Views,
    compute_contrast,
    crop_tokens,
    group_views,
    project,
    score_neighbours,
    shuffle_tokens,
    train_filter,
)
from tasks.attribution.metrics import measure_detection

seeds = st.integers(0, 2**32 - 1)


def loop_contrast(x: Tensor, groups: list[int], temperature: float) -> Tensor:
    """The loss from its definition, pair by pair."""
    z = [own / own.norm() for own in x]
    total = x.new_zeros(())
    for i, group in enumerate(groups):
        all_others = [j for j in range(len(z)) if j != i]
        partners = [j for j in all_others if groups[j] == group]
        below = sum(((z[i] @ z[a]) / temperature).exp() for a in all_others)
        for p in partners:
            share = ((z[i] @ z[p]) / temperature).exp() / below
            total = total - share.log() / len(partners)
    return total / len(z)


@settings(max_examples=20)
@given(seed=seeds, temperature=st.floats(0.1, 2.0))
def test_loss_and_gradient_are_those_of_the_loop(seed: int, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation([0, 0, 0, 1, 1, 2, 2]).tolist()
    x = torch.from_numpy(rng.normal(size=(7, 4)))
    both = []
    for loss in (
        lambda own: compute_contrast(own, torch.tensor(groups), temperature),
        lambda own: loop_contrast(own, groups, temperature),
    ):
        leaf = x.clone().requires_grad_()
        value = loss(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
        both.append((value, gradient))
    torch.testing.assert_close(both[0], both[1])


def test_gradient_is_that_of_differences() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3))).requires_grad_()
    groups = torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda own: compute_contrast(own, groups, 0.5), x)


def test_loss_is_that_computed_by_hand() -> None:
    """Two groups on two axes: each sample has one partner at cosine 1 and two others at 0."""
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    found = compute_contrast(x, torch.tensor([0, 1, 0, 1]), 0.5)
    assert float(found) == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    wrong = compute_contrast(x, torch.tensor([0, 0, 1, 1]), 0.5)
    assert float(wrong) == pytest.approx(math.log(2 + math.exp(2)))
    one = compute_contrast(torch.ones(4, 2, dtype=torch.float64), torch.zeros(4).long(), 0.1)
    assert float(one) == pytest.approx(math.log(3))  # equal samples: any of three


@given(seed=seeds)
def test_crops_are_pieces_and_shuffled_documents_hold_the_same_tokens(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = torch.arange(9)[:, None] + torch.tensor([0, 100])
    crops = crop_tokens(tokens, 5, 4, rng)
    assert crops.shape == (4, 5, 2)
    assert (crops.diff(dim=0) == 1).all()
    assert ((crops >= tokens[0]) & (crops <= tokens[-1])).all()
    mixed = shuffle_tokens(tokens, rng)
    assert (mixed.sort(0).values == tokens).all()
    assert (crop_tokens(tokens, 2, 9, rng) == tokens[:, None]).all()


def test_crops_stand_at_every_place_equally_often() -> None:
    tokens = torch.arange(6)[:, None].expand(6, 500)
    first = crop_tokens(tokens, 4, 4, np.random.default_rng(0))[0].flatten()
    counts = torch.bincount(first, minlength=3)
    assert len(counts) == 3
    assert (counts - 2000 / 3).abs().max() < 5 * (2000 * 2 / 9) ** 0.5


def make_views(seed: int, documents: int = 60) -> tuple[Views, Tensor]:
    """Two corpora in a plane of ten features; a third axis tells shuffled tokens; noise."""
    rng = np.random.default_rng(seed)
    labels = torch.arange(documents) % 2
    centre = torch.zeros(documents, 10)
    centre[torch.arange(documents), labels] = 5.0
    own = torch.from_numpy(rng.normal(size=(documents, 10))).float()
    noise = torch.from_numpy(rng.normal(size=(2, 3, documents, 10))).float()
    shifted = centre + own
    shifted[:, 2] += 6
    return Views(centre + own + 0.2 * noise[0], shifted + 0.2 * noise[1], labels), centre + own


def test_groups_are_documents_corpora_and_shuffled_documents() -> None:
    views, _ = make_views(0, 4)
    crops, groups = group_views("crops", views)
    assert crops is views.crops
    assert groups.tolist() == [0, 1, 2, 3]
    assert group_views("supervised", views)[1].tolist() == [0, 1, 0, 1]
    crops, groups = group_views("shifted", views)
    assert crops.shape == (3, 8, 10)
    assert groups.tolist() == [*range(8)]
    torch.testing.assert_close(crops[:, 4:], views.shuffled)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_brings_its_groups_together(kind: Kind) -> None:
    views, _ = make_views(1)
    contrast = Contrast(hidden=16, width=8, batch=32, steps=60, lr=1e-2)
    crops, groups = group_views(kind, views)

    def measure(steps: int) -> tuple[float, float]:
        """Return the loss of two crops, and in how many a group holds the nearest crop."""
        made = train_filter(kind, views, replace(contrast, steps=steps), 0)
        torch.testing.assert_close(made.mean, crops.mean((0, 1)))
        with torch.no_grad():
            first, second = made(crops[:2])
            loss = compute_contrast(torch.cat([first, second]), groups.repeat(2), 0.2)
            nearest = (normalize(first, dim=1) @ normalize(second, dim=1).T).argmax(1)
        return float(loss), float((groups[nearest] == groups).float().mean())

    begun, trained = measure(1), measure(60)
    assert trained[0] < begun[0] - 0.1
    assert trained[1] > 0.9


def test_the_supervised_filter_finds_what_is_of_no_corpus() -> None:
    views, documents = make_views(1)
    made = train_filter("supervised", views, Contrast(batch=32, steps=60, lr=1e-2), 0)
    known, foreign = (make_views(seed)[1].double().numpy() for seed in (2, 3))
    foreign[:, :2] *= -1
    bank = project(made, documents.double().numpy())
    scores = (score_neighbours(bank, project(made, x), 5) for x in (known, foreign))
    assert measure_detection(*scores).auroc > 0.8


def test_a_filter_follows_from_its_seed_alone() -> None:
    views, _ = make_views(0)
    contrast = Contrast(steps=3)
    first, second, other = (train_filter("crops", views, contrast, seed) for seed in (5, 5, 6))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not torch.equal(first.inner.weight, other.inner.weight)


@pytest.mark.parametrize(("kind", "samples"), [("crops", 6), ("shifted", 12)])
def test_documents_are_drawn_without_repetition_until_all_have_been(
    kind: Kind, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = list[int]()

    def record(projected: Tensor, groups: Tensor, temperature: float) -> Tensor:
        drawn.extend(groups[: len(groups) // 2].tolist())
        return compute_contrast(projected, groups, temperature)

    monkeypatch.setattr(contrast_module, "compute_contrast", record)
    views, _ = make_views(0, samples // (2 if kind == "shifted" else 1))
    train_filter(kind, views, Contrast(batch=2, steps=3 * samples // 2), 0)
    passes = [drawn[k : k + samples] for k in (0, samples, 2 * samples)]
    assert [sorted(own) for own in passes] == [[*range(samples)]] * 3
    assert passes[0] != passes[1]


def test_what_cannot_be_contrasted_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"1 of 3 samples are alone .* give two crops or more"):
        compute_contrast(torch.eye(3), torch.tensor([0, 0, 1]), 0.5)
    with pytest.raises(ValueError, match="a crop of 9 tokens, of documents of 8"):
        crop_tokens(torch.zeros(8, 2, dtype=torch.int64), 2, 9, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"crops is 1; .*; temperature is 0.0; give a finite"):
        Contrast(crops=1, temperature=0.0)

"""Gradients of documents: slow twins, TracIn as the first order of a step, TRAK, influence."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.nn import functional as F
from torch.testing import assert_close

from neuro.base.seeds import seeded
from tasks.attribution import causes as gradients
from tasks.attribution.causes import (
    EpochModel,
    Projected,
    ScoredOutput,
    compute_factors,
    compute_gradients,
    compute_gradients_singly,
    compute_mean_gradient,
    compute_readout_gradients,
    divide_by_curvature,
    draw_projection,
    project_gradients,
    read_out,
    score_influence,
    score_tracin,
    score_trak,
    split_corpora,
    weigh_documents,
)
from tasks.attribution.config import AttributionConfig, tiny
from tasks.attribution.documents import Documents
from tasks.attribution.model import SourceModel, compute_token_nats, make_lm

SMALL = replace(tiny(), stack="softmax*2", width=8, hidden=12, heads=2, vocabulary=5, tokens=6)


def make(config: AttributionConfig = SMALL, seed: int = 0) -> SourceModel:
    lm = make_lm(config, seed)
    with seeded(seed + 1):
        for p in lm.parameters():
            nn.init.normal_(p, std=0.4)
    return lm.double()


def draw(documents: int, corpora: int = 3, seed: int = 0) -> Documents:
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SMALL.vocabulary, (SMALL.tokens, documents), generator=rng)
    labels = torch.arange(documents) % corpora
    return Documents(tokens, labels.expand(SMALL.tokens, -1))


def test_output_is_the_loss_and_the_margin():
    lm, tokens = make(), draw(4).tokens
    nats = compute_token_nats(lm, tokens).double()
    p = (-nats).exp()
    assert_close(ScoredOutput(lm)(tokens), nats.mean(0), rtol=1e-5, atol=1e-5)
    margins = (p / (1 - p)).log().mean(0)
    assert_close(ScoredOutput(lm, "margin")(tokens), margins, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output", ["loss", "margin"])
def test_mapped_gradients_are_those_one_by_one(output):
    lm, tokens = make(), draw(7).tokens
    assert_close(
        compute_gradients(lm, tokens, output), compute_gradients_singly(lm, tokens, output)
    )


def test_other_mixers_have_gradients_one_by_one():
    lm, tokens = make(replace(SMALL, stack="gla+softmax")), draw(3).tokens
    each = compute_gradients(lm, tokens)
    assert_close(each.mean(0), compute_mean_gradient(lm, tokens))


@pytest.mark.parametrize("chunk", [1, 50])  # 13 documents by fives, and at once
def test_mean_gradient_is_that_of_the_documents(chunk, monkeypatch):
    monkeypatch.setattr(gradients, "CHUNK", chunk)
    lm, tokens = make(), draw(13).tokens
    assert_close(compute_gradients(lm, tokens).mean(0), compute_mean_gradient(lm, tokens))


def test_a_step_changes_a_loss_by_tracin():
    """For a small rate, -eta <g(y), G> is the change of the loss of y."""
    lm, scored, training = make(), draw(3, seed=1).tokens, draw(12)
    for k, part in enumerate(split_corpora(training, 3)):
        eta, moved = 1e-6, make()
        sgd = torch.optim.SGD(moved.parameters(), lr=eta)
        compute_token_nats(moved, part.tokens).mean().backward()
        sgd.step()
        with torch.no_grad():
            change = ScoredOutput(moved)(scored) - ScoredOutput(lm)(scored)
        score = score_tracin([EpochModel(lm, eta)], scored, training, 3).plain[k]
        assert_close(change, -score.double(), rtol=1e-3, atol=1e-12)


def test_tracin_adds_checkpoints_by_their_rates():
    scored, training = draw(4, seed=1).tokens, draw(9)
    one, other = EpochModel(make(), 0.5), EpochModel(make(seed=5), 0.25)
    each = [score_tracin([c], scored, training, 3) for c in (one, other)]
    both = score_tracin([one, other], scored, training, 3)
    assert_close(both.plain, each[0].plain + each[1].plain)
    assert_close(both.cosine, each[0].cosine + each[1].cosine)


def test_cosine_knows_no_rate_and_no_length():
    lm, scored, training = make(), draw(4, seed=1).tokens, draw(9)
    found = score_tracin([EpochModel(lm, 3.0)], scored, training, 3).cosine
    own = compute_gradients(lm, scored)
    for k, part in enumerate(split_corpora(training, 3)):
        mean = compute_gradients(lm, part.tokens).mean(0)
        assert_close(found[k].double(), F.cosine_similarity(own, mean[None]), atol=1e-6, rtol=0)


def test_trak_against_the_regression_written_out():
    lm, scored, training = make(), draw(4, seed=1).tokens, draw(20)
    projection = draw_projection(lm, 6, seed=3).double()
    model = project_gradients(lm, scored, training, projection)
    own = compute_gradients_singly(lm, training.tokens, "margin") @ projection
    y = compute_gradients_singly(lm, scored, "margin") @ projection
    missed = 1 - (-compute_token_nats(lm, training.tokens).double()).exp().mean(0)
    each = torch.empty(4, 20, dtype=torch.float64)
    inverse = torch.linalg.inv(own.T @ own)
    for b in range(4):
        for n in range(20):
            each[b, n] = y[b] @ inverse @ own[n] * missed[n]
    expected = torch.stack([each[:, k::3].sum(1) for k in range(3)])
    assert_close(score_trak([model], training, 3, damping=0.0), expected, rtol=1e-4, atol=1e-6)


def test_trak_averages_models():
    rng = torch.Generator().manual_seed(0)
    a, b = (
        Projected(
            torch.randn(2, 3, generator=rng),
            torch.randn(6, 3, generator=rng),
            torch.rand(6, generator=rng),
        )
        for _ in range(2)
    )
    weights = (weigh_documents(a, 0.1) + weigh_documents(b, 0.1)) / 2
    each = weights * (a.missed + b.missed) / 2
    expected = torch.stack([each[:, k::3].sum(1) for k in range(3)])
    assert_close(score_trak([a, b], draw(6), 3, 0.1), expected)


def test_projection_keeps_products():
    lm = make()
    g = torch.randn(2, sum(p.numel() for p in lm.parameters()))
    short = g @ draw_projection(lm, 4096, seed=0)
    spread = g.norm(dim=1).prod() / 64
    assert abs(short[0] @ short[1] - g[0] @ g[1]) < 4 * spread


def test_read_out_gradients_are_those_of_autograd():
    lm, tokens = make(), draw(5).tokens
    count = lm.head.weight.numel()
    at = sum(p.numel() for name, p in lm.named_parameters() if not name.startswith("head."))
    names = [name for name, _ in lm.named_parameters()]
    assert names[-1] == "head.weight"
    own = compute_gradients_singly(lm, tokens)[:, at : at + count]
    assert_close(compute_readout_gradients(lm, tokens).flatten(1), own)


def compute_gauss_newton(lm: SourceModel, tokens: Tensor) -> Tensor:
    """The block of the read-out written out: the mean of J' (diag p - p p') J over tokens."""
    hidden, p = (x.flatten(0, 1) for x in read_out(lm, tokens))
    total = torch.zeros(lm.head.weight.numel(), lm.head.weight.numel(), dtype=torch.float64)
    for h, q in zip(hidden, p, strict=True):
        slope = jacobian(lambda w, h=h: w.view(-1, len(h)) @ h, lm.head.weight.flatten())
        total += slope.T @ (q.diag() - q.outer(q)) @ slope
    return (total / len(hidden)).detach()


def test_one_token_has_the_dense_gauss_newton_block():
    """With one input there is no mean, and the product of the factors is the block itself."""
    lm, tokens = make(), torch.tensor([[2]])
    factors = compute_factors(lm, tokens)
    block = torch.kron(factors.outputs, factors.inputs)
    assert_close(block, compute_gauss_newton(lm, tokens))


def test_factors_near_the_dense_gauss_newton_block():
    lm, tokens = make(), draw(40).tokens
    factors = compute_factors(lm, tokens)
    block = torch.kron(factors.outputs, factors.inputs).flatten()
    dense = compute_gauss_newton(lm, tokens).flatten()
    assert F.cosine_similarity(block, dense, dim=0) > 0.85


def test_curvature_is_the_hessian_of_the_loss():
    """The loss is convex in the read-out, and its Gauss-Newton block is its Hessian."""
    lm, tokens = make(), draw(3).tokens
    weight = lm.head.weight.detach()

    def find_loss(flat: Tensor) -> Tensor:
        own = {"lm.head.weight": flat.view_as(weight)}
        return functional_call(ScoredOutput(lm), own, (tokens,)).mean()

    assert_close(compute_gauss_newton(lm, tokens), hessian(find_loss, weight.flatten()))


def test_division_by_curvature_solves_the_damped_system():
    lm, training = make(), draw(12)
    factors = compute_factors(lm, training.tokens)
    g = compute_readout_gradients(lm, training.tokens[:, :2])
    block = torch.kron(factors.outputs, factors.inputs)
    damped = block + 0.1 * block.trace() / len(block) * torch.eye(len(block))
    expected = torch.linalg.solve(damped, g.flatten(1).T).T
    assert_close(divide_by_curvature(g, factors, 0.1).flatten(1), expected)


def test_influence_of_a_corpus_on_itself_is_positive():
    lm, training = make(), draw(30)
    for k, part in enumerate(split_corpora(training, 3)):
        assert score_influence(lm, part.tokens, training, 3)[k].mean() > 0


def test_rounded_maps_are_refused():
    lm = make_lm(replace(SMALL, stack="mlgru", linear="ternary"), 0)
    with pytest.raises(ValueError, match="set linear=float"):
        compute_gradients(lm, draw(2).tokens)


def test_a_corpus_without_documents_is_refused():
    with pytest.raises(ValueError, match="without a training document: 2"):
        split_corpora(draw(4, corpora=2), 3)

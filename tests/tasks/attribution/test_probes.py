from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from small_attribution import small_attribution

from neuro.base.seeds import seeded
from tasks.attribution.answers import (
    ALPHAS,
    answer_by_chains,
    answer_by_neighbours,
    choose_chains,
    embed,
    fit_chains,
)
from tasks.attribution.config import Arm
from tasks.attribution.documents import find_authors, load
from tasks.attribution.model import InnerStates, Probe, build, make_lm, read_states
from tasks.attribution.task import begin, put_centroids
from tasks.attribution.training import load_split, loss

PROBES = tuple(arm for arm in get_args(Arm) if arm not in ("lm", "alif"))
RECURRENT = tuple(arm for arm in PROBES if arm != "uniqueness")


def make(arm: str) -> Probe:
    config = replace(small_attribution(), arm=arm, stack="mlgru*2")  # type: ignore[arg-type]
    with seeded(3):
        probe = Probe(config)
        torch.nn.init.normal_(probe.layers)
    return probe


def draw_states() -> InnerStates:
    with seeded(4):
        return InnerStates(*torch.randn(3, 2, 9, 4, 24))


@pytest.mark.parametrize("arm", RECURRENT)
def test_a_document_in_two_halves_is_the_document(arm: str) -> None:
    probe, states = make(arm), draw_states()
    whole, after = probe(states)
    first, state = probe(InnerStates(*(x[:, :4] for x in states)))
    second, last = probe(InnerStates(*(x[:, 4:] for x in states)), state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert (after is None) == (last is None) == (arm == "mean")


def test_uniqueness_needs_the_whole_document() -> None:
    probe, states = make("uniqueness"), draw_states()
    _, state = probe(states)
    with pytest.raises(ValueError, match="give the whole document"):
        probe(states, state)


def test_uniqueness_weighs_tokens_by_their_distance() -> None:
    probe, states = make("uniqueness"), draw_states()
    probe.centroid.normal_(generator=torch.Generator().manual_seed(0))
    found = probe.fuse(states)
    weights = probe.layers.softmax(0)
    for b in range(4):
        expected = torch.zeros(9, 24)
        for layer in range(2):
            s = states.attention[layer, :, b]
            s = s / (s.square().mean(1, keepdim=True) + torch.finfo(s.dtype).eps).sqrt()
            away = (s - probe.centroid[layer]).square().sum(1).sqrt()
            expected = expected + weights[layer] * s * 9 * away.softmax(0)[:, None]
        torch.testing.assert_close(found[:, b], expected)


@pytest.mark.parametrize("arm", PROBES)
def test_a_probe_reads_what_its_arm_says(arm: str) -> None:
    probe, states = make(arm), draw_states()
    read = {"unit": "unit", "residual": "residual"}.get(arm, "attention")
    base = probe(states)[0]
    for name in InnerStates._fields:
        for layer in range(2):
            moved = getattr(states, name).clone()
            moved[layer] += 1.0
            changed = not torch.equal(probe(states._replace(**{name: moved}))[0], base)
            assert changed == (name == read and (arm != "last" or layer == 1))


@pytest.mark.parametrize("arm", ["inner_probe", "mean"])
def test_only_the_probe_learns(arm: str) -> None:
    config = replace(small_attribution(), arm=arm)  # type: ignore[arg-type]
    model = build(config)
    documents = load(config, "test")
    loss(config, model, (documents.tokens, documents.labels), 0.0).backward()
    learns = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learns == {n for n, _ in model.named_parameters() if n.startswith("probe.")}


def test_the_language_model_is_the_same_in_all_arms() -> None:
    found = []
    for arm in get_args(Arm):
        with seeded(1):
            found.append(build(replace(small_attribution(), arm=arm)).lm.state_dict())
    for own in found[1:]:
        assert all(torch.equal(own[name], found[0][name]) for name in own)


def test_random_lm_has_the_initial_weights_of_its_seed() -> None:
    config = replace(small_attribution(), arm="random_lm", seed_of_lm=7)
    with seeded(0):
        model = build(config)
        begin(config, model)
    assert torch.equal(model.lm.head.weight, make_lm(config, 7).head.weight)


def test_centroids_are_the_mean_of_all_training_tokens() -> None:
    config = replace(small_attribution(), arm="uniqueness", stack="mlgru*2", train=300)
    model = build(config)
    assert isinstance(model.probe, Probe)
    put_centroids(config, model.lm, model.probe)
    states = read_states(model.lm, load(config, "train").tokens)
    expected = model.probe.normalise(states).mean((1, 2))
    torch.testing.assert_close(model.probe.centroid, expected)


def test_permuted_labels_are_equally_frequent_in_each_corpus() -> None:
    plain, permuted = (
        replace(small_attribution(), arm=arm)
        for arm in ("inner_probe", "permuted")  # type: ignore[arg-type]
    )
    for split in ("train", "val", "test"):
        first, other = (load_split(config, split) for config in (plain, permuted))
        assert torch.equal(first.tokens, other.tokens)
        if split == "test":
            assert torch.equal(first.sources, other.sources)
            continue
        for corpus in range(2):
            counts = other.labels[first.labels == corpus].bincount(minlength=2)
            assert int(counts.max() - counts.min()) <= 1
        assert torch.equal(other.sources, load_split(permuted, split).sources)


def test_chains_are_counts() -> None:
    tokens, labels = np.array([[0, 1], [1, 1], [0, 1]]), np.array([0, 1])
    chains = fit_chains((tokens, labels), 2, 2, order=1, alpha=0.5)
    counts = np.zeros((2, 3, 2))  # corpus, context (2: begin), token
    counts[0, 2, 0] = counts[0, 0, 1] = counts[0, 1, 0] = 1
    counts[1, 2, 1], counts[1, 1, 1] = 1, 2
    counts += 0.5
    np.testing.assert_allclose(np.exp(chains.log_p), counts / counts.sum(2, keepdims=True))
    bayes = fit_chains((tokens, labels), 2, 2, order=0, alpha=1.0)
    np.testing.assert_allclose(np.exp(bayes.log_p[:, 0]), [[3 / 5, 2 / 5], [1 / 5, 4 / 5]])


def test_the_alpha_is_the_one_of_which_held_out_documents_are_likeliest() -> None:
    config = small_attribution()
    train, val = (
        (own.tokens.numpy(), own.labels.numpy())
        for own in (load(config, "train"), load(config, "val"))
    )
    chosen = choose_chains(config, train, val, 2, 1)

    def measure(alpha: float) -> float:
        log_p = fit_chains(train, 2, 6, 1, alpha).compute_log_p(val[0]).sum(1)
        return float(log_p[val[1], np.arange(len(val[1]))].sum())

    best = max(ALPHAS, key=measure)
    np.testing.assert_array_equal(chosen.log_p, fit_chains(train, 2, 6, 1, best).log_p)


def test_the_oracle_answers_by_bayes_rule() -> None:
    config = small_attribution()
    documents, oracle = load(config, "test"), find_authors(config).select(2)
    p = np.exp(oracle.compute_log_p(documents.tokens.numpy()).sum(1)).T
    answer = answer_by_chains(oracle, documents)
    np.testing.assert_allclose(answer.pure, p / p.sum(1, keepdims=True))
    assert answer.along is not None
    np.testing.assert_allclose(answer.along.mean(0), answer.shares)


def test_neighbours_of_a_training_document_begin_with_itself() -> None:
    config = small_attribution()
    lm = make_lm(config, 0)
    own = embed(lm, load(config, "train"))
    assert (own @ own.T).argmax(1).tolist() == list(range(60))
    answer = answer_by_neighbours(config, lm, load(config, "test"))
    assert answer.pure.shape == (30, 2)
    np.testing.assert_allclose(answer.pure.sum(1), 1.0)
    np.testing.assert_allclose(answer.pure * 20, np.round(answer.pure * 20))


def test_shares_of_neighbours_are_votes_of_the_twenty_nearest() -> None:
    config = small_attribution()
    lm = make_lm(config, 0)
    train, test = load(config, "train"), load(config, "composed")
    likeness = (embed(lm, test) @ embed(lm, train).T).numpy()
    votes = np.zeros((20, 2))
    for row, own in zip(votes, likeness, strict=True):
        for near in np.argsort(-own)[:20]:
            row[train.labels[near]] += 1 / 20
    answer = answer_by_neighbours(config, lm, test)
    np.testing.assert_allclose(answer.pure, votes)
    np.testing.assert_allclose(answer.shares, votes)
    assert answer.along is None

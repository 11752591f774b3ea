from dataclasses import replace

import numpy as np
import pytest
import torch
from small_attribution import small_attribution
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.io.run_folder import RunError
from tasks.attribution.answers import (
    compute_entropies,
    fit_entropies,
    measure_gap,
    require_learned,
)
from tasks.attribution.documents import Documents, find_authors, load
from tasks.attribution.model import (
    compute_log_likelihood,
    make_lm,
    prepend_begin,
    read_states,
)
from tasks.attribution.training import iterate_documents, train_lm

STACKS = ("mlgru*2", "softmax*2", "deltanet+softmax")


@pytest.mark.parametrize("stack", STACKS)
def test_log_likelihood_is_the_sum_token_by_token(stack: str) -> None:
    config = replace(small_attribution(), stack=stack)
    lm, documents = make_lm(config, 0), load(config, "test")
    found = compute_log_likelihood(lm, documents)
    assert lm.training
    some = documents.tokens[:, :3]
    state, token, total = None, torch.full((1, 3), config.begin), torch.zeros(3)
    with torch.no_grad():
        for t in range(config.tokens):
            logits, state = lm(token, state)
            token = some[t : t + 1]
            total += logits[0].log_softmax(1)[torch.arange(3), token[0]]
    torch.testing.assert_close(found[:3].float(), total)


@pytest.mark.parametrize("stack", STACKS)
def test_states_are_those_of_the_blocks(stack: str) -> None:
    config = replace(small_attribution(), stack=stack)
    lm, tokens = make_lm(config, 1), load(config, "test").tokens[:, :4]
    with torch.no_grad():
        states = read_states(lm, tokens)
        reading = lm.read(lm.embedding(prepend_begin(lm, tokens)), keep_layers=True)
        earlier = read_states(lm, tokens[:7])
    assert states.attention.shape == (2, 24, 4, 24)
    torch.testing.assert_close(states.residual[0], reading.layers[0][1:])
    torch.testing.assert_close(lm.norm(states.residual[1]), reading.hidden[1:])
    added = states.attention[1] + states.unit[1]
    torch.testing.assert_close(states.residual[1] - states.residual[0], added)
    # A later token changes no earlier state.
    torch.testing.assert_close(earlier.unit, states.unit[:, :7])


def test_a_document_of_another_vocabulary_is_refused() -> None:
    lm = make_lm(small_attribution(), 0)
    with pytest.raises(ValueError, match="its vocabulary has 7"):
        read_states(lm, torch.full((2, 1), 7))


def test_initial_weights_follow_from_the_seed() -> None:
    config = small_attribution()
    first, again, other = (make_lm(config, seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_document_is_read_once_an_epoch_in_an_order_of_its_own() -> None:
    config = replace(small_attribution(), documents=45, batch=20)
    documents = load(config, "lm_train")
    epochs = [list(iterate_documents(config, documents, epoch)) for epoch in (0, 0, 1)]
    assert [len(labels) for _, labels in epochs[0]] == [20, 20, 5]
    texts = [torch.cat([x for x, _ in own], 1) for own in epochs]
    assert torch.equal(texts[0], texts[1])
    assert not torch.equal(texts[0], texts[2])
    for own in texts:
        assert sorted(own.T.tolist()) == sorted(documents.tokens.T.tolist())


def test_a_language_model_is_refused_until_it_has_learned_its_corpora() -> None:
    config = small_attribution()
    documents = load(config, "lm_train")
    with pytest.raises(RunError, match=r"closes -\d+% of the gap .* give more lm_epochs"):
        require_learned(config, make_lm(config, 0))
    with seeded(5):  # of what is drawn elsewhere nothing depends
        lm = train_lm(config, documents, 0)
    gap = require_learned(config, lm)
    assert gap.exact
    assert gap.closed == (gap.pooled - gap.nats) / (gap.pooled - gap.aware) > 0.5
    held_out = load(config, "lm_val")
    logits = lm(prepend_begin(lm, held_out.tokens)[:-1])[0].detach().flatten(0, 1)
    assert gap.nats == pytest.approx(
        float(F.cross_entropy(logits, held_out.tokens.flatten())), rel=1e-5
    )
    again = train_lm(config, documents, 0)
    for name, weight in lm.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])


def test_no_document_trains_no_language_model() -> None:
    none = torch.zeros(24, 0, dtype=torch.int64)
    with pytest.raises(ValueError, match="take its initial weights"):
        train_lm(small_attribution(), Documents(none, none), 0)


def test_fitted_bounds_come_near_exact_ones() -> None:
    config = replace(small_attribution(), documents=4000, held_out=4000)
    np.testing.assert_allclose(fit_entropies(config), compute_entropies(config), atol=0.02)


def test_what_authors_are_told_of_is_their_own_entropy() -> None:
    config = replace(small_attribution(), shares=(3.0, 2.0, 1.0))
    pooled, aware = compute_entropies(config)
    entropy = find_authors(config).compute_entropy(config.tokens)
    assert aware == pytest.approx((3 * entropy[0] + 2 * entropy[1] + entropy[2]) / 6)
    assert pooled > aware


def test_corpora_that_do_not_differ_are_refused() -> None:
    config = replace(small_attribution(), delta=1e-12, gamma=0.0)
    with pytest.raises(ValueError, match="the corpora do not differ"):
        measure_gap(config, make_lm(config, 0))

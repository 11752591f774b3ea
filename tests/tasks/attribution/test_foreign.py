"""Documents that a filter is to find: what they are made of."""

from dataclasses import replace

import numpy as np
import torch

from tasks.attribution.config import AttributionConfig, tiny
from tasks.attribution.detectors import continue_text, list_foreign, load_foreign, load_known
from tasks.attribution.documents import load
from tasks.attribution.model import make_lm, prepend_begin


def make_config() -> AttributionConfig:
    return replace(
        tiny(),
        width=8,
        hidden=8,
        heads=2,
        vocabulary=6,
        tokens=8,
        documents=60,
        held_out=10,
        train=30,
        val=7,
        test=12,
        composed=4,
        outside=40,
    )


def test_kinds_are_those_of_the_corpora() -> None:
    config = make_config()
    assert list_foreign(config) == ["free", "unseen", "spliced", "generated", "fresh"]
    assert list_foreign(replace(config, free=0)) == ["unseen", "spliced", "generated", "fresh"]
    assert list_foreign(replace(config, unseen=0)) == ["free", "generated", "fresh"]
    assert list_foreign(replace(config, outside=0)) == ["fresh"]


def test_spliced_documents_hold_both_sides_around_one_switch() -> None:
    config = make_config()
    lm = make_lm(config, 0)
    found, unseen = load_foreign(config, lm, "spliced"), load(config, "unseen").tokens
    protected = load(config, "val").tokens[:, torch.arange(40) % 7]
    places, turns = set[int](), set[bool]()
    for own, a, b in zip(found.T, protected.T, unseen.T, strict=True):
        possible = [
            (k, turned)
            for k in range(2, 7)
            for turned, (x, y) in ((False, (a, b)), (True, (b, a)))
            if torch.equal(own, torch.cat([x[:k], y[k:]]))
        ]
        assert possible
        if len(possible) == 1:
            places.add(possible[0][0])
            turns.add(possible[0][1])
    assert places == {2, 3, 4, 5, 6}  # the middle half, its ends included
    assert turns == {False, True}
    assert torch.equal(found, load_foreign(config, lm, "spliced"))


def test_pure_kinds_are_parts_and_the_control_is_what_was_read() -> None:
    config = make_config()
    lm = make_lm(config, 0)
    test = load(config, "test").tokens
    assert load_foreign(config, lm, "free") is load(config, "free").tokens
    assert load_foreign(config, lm, "unseen") is load(config, "unseen").tokens
    assert load_foreign(config, lm, "fresh") is test
    assert load_known(config, "unseen") is test
    read = load(config, "lm_train")
    known = load_known(config, "fresh")
    own = read.tokens[:, torch.cat([torch.where(read.labels == k)[0][:4] for k in range(3)])]
    assert sorted(known.T.tolist()) == sorted(own.T.tolist())


def test_the_control_has_the_mixture_of_the_test_documents() -> None:
    """Corpora of unlike shares in what was read would be told apart without any memory."""
    config = replace(make_config(), vocabulary=40, tokens=16, shares=(5.0, 2.0, 1.5, 1.0))
    read = load(config, "lm_train")
    of = {
        tuple(row): k
        for row, k in zip(read.tokens.T.tolist(), read.labels.tolist(), strict=True)
    }
    known = load_known(config, "fresh")
    assert sorted(of[tuple(row)] for row in known.T.tolist()) == sorted([0, 1, 2] * 4)
    few = replace(config, documents=12)  # of which corpus 2 has less than are wanted
    assert 0 < load_known(few, "fresh").shape[1] < 12


def test_text_is_drawn_as_without_a_state() -> None:
    """The twin reads all of the text again before each token."""
    lm = make_lm(make_config(), 3).eval()
    prompt = torch.from_numpy(np.random.default_rng(0).integers(0, 6, (3, 5)))
    found = continue_text(lm, prompt, 6, torch.Generator().manual_seed(1))
    drawn, said = torch.Generator().manual_seed(1), prepend_begin(lm, prompt)
    with torch.no_grad():
        for _ in range(6):
            shares = lm(said)[0][-1, :, :6].softmax(1)
            said = torch.cat([said, torch.multinomial(shares, 1, generator=drawn).T])
    assert torch.equal(found, said[-6:])


def test_generated_documents_continue_a_protected_and_a_free_prompt() -> None:
    """A language model that repeats its last token shows which prompt each half follows."""
    config = make_config()
    lm = make_lm(config, 0)
    with torch.no_grad():
        for block in lm.blocks:
            for weight in block.parameters():
                weight.zero_()
        lm.embedding.weight.copy_(torch.eye(7, 8))
        lm.head.weight.copy_(50 * torch.eye(7, 8))
    found = load_foreign(config, lm, "generated")
    first = load(config, "val").tokens[3, torch.arange(40) % 7]
    second = load(config, "free").tokens[3]
    assert torch.equal(found, torch.cat([first.expand(4, 40), second.expand(4, 40)]))
    assert torch.equal(found, load_foreign(config, lm, "generated"))
    without = load_foreign(replace(config, free=0), lm, "generated")
    assert torch.equal(without[4], load(replace(config, free=0), "unseen").tokens[3])

from dataclasses import replace

import pytest
import torch
from small_attribution import small_attribution

from tasks.attribution.answers import find_true_shares
from tasks.attribution.config import AttributionConfig, five, four
from tasks.attribution.documents import (
    PARTS,
    count_documents,
    find_authors,
    load,
    require_apart,
)
from tasks.runs.configuration import list_problems, require_sound


def test_parts_have_their_corpora_and_sizes() -> None:
    config = replace(small_attribution(), free=2, unseen=1, shares=(4.0, 2.0, 1.0, 1.0))
    seen = {part: load(config, part) for part in PARTS}
    assert {part: len(own) for part, own in seen.items()} == count_documents(config)
    assert seen["lm_train"].labels.bincount().tolist() == [200, 100, 50, 50]
    assert seen["lm_val"].labels.bincount().tolist() == [30, 15, 8, 7]
    assert seen["train"].labels.bincount().tolist() == [30, 30]
    assert seen["free"].labels.bincount().tolist() == [0, 0, 5, 5]
    assert seen["unseen"].labels.bincount().tolist() == [0, 0, 0, 0, 10]
    assert seen["composed"].sources.unique().tolist() == [0, 1]
    for part in set(PARTS) - {"composed"}:
        assert (seen[part].sources == seen[part].labels).all()
    texts = [own.tokens.T.tolist() for own in seen.values()]
    every = {tuple(text) for some in texts for text in some}
    assert len(every) == sum(map(len, texts))


def test_of_five_authors_as_many_documents_are_read_as_of_four() -> None:
    for config, protected in ((four(), 4), (five(), 5)):
        require_sound(config)
        counts = load(config, "lm_train").labels.bincount()
        assert counts.tolist() == [800] * (protected + 1)  # one is free


def test_documents_follow_from_their_own_fields_alone() -> None:
    config = small_attribution()
    first = load(config, "test")
    same = replace(config, lr=1.0, arm="mean", width=64, lm_epochs=9, seed_of_lm=3)
    assert load(same, "test") is first
    assert not torch.equal(load(replace(config, seed_of_data=1), "test").tokens, first.tokens)
    assert load(replace(config, free=0), "free").tokens.shape == (24, 0)


def test_documents_are_those_of_their_authors() -> None:
    config = small_attribution()
    documents = load(config, "composed")
    log_p = find_authors(config).compute_log_p(documents.tokens.numpy()).sum(1)
    chosen = documents.select(torch.tensor([3, 1]))
    assert torch.equal(chosen.tokens, documents.tokens[:, [3, 1]])
    assert log_p.shape == (4, 20)
    shares = find_true_shares(documents, 2)
    assert shares[0, 0] == (documents.sources[:, 0] == 0).double().mean()
    assert (shares.sum(1) == 1).all()


def test_matched_corpora_are_other_documents_of_the_same_authors() -> None:
    config = replace(small_attribution(), unseen=3)
    plain, matched = (find_authors(replace(config, matched=is_so)) for is_so in (False, True))
    assert (matched.log_p[:3] == plain.log_p[:3]).all()
    assert (matched.log_p[3:] == plain.log_p[[0, 1, 0]]).all()
    require_apart(replace(config, matched=True))
    unseen = load(replace(config, matched=True), "unseen")
    assert unseen.labels.unique().tolist() == [3, 4, 5]
    assert not torch.equal(unseen.tokens, load(config, "unseen").tokens)


def test_a_document_in_two_parts_is_refused() -> None:
    require_apart(small_attribution())
    short = replace(small_attribution(), tokens=3, vocabulary=2)
    with pytest.raises(ValueError, match=r"stand in lm_train and lm_val \(\d\), .* longer"):
        require_apart(short)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"protected": 6}, "2\\^6 language models must be <= budget, 32"),
        ({"protected": 10_000}, "Use fewer corpora, or a larger budget"),
        ({"delta": 0.0, "gamma": 0.0}, "all authors are the same"),
        ({"shares": (1.0,)}, "shares has 1 items; it must have none or 3"),
        ({"limit": 24}, "limit is 24; it must be 0 or > 24"),
        ({"arm": "lm", "lm": "runs/a"}, 'it must be empty for arm "lm"'),
        ({"stack": "nonsense"}, "nonsense"),
    ],
)
def test_fields_that_contradict_each_other(change: dict[str, object], told: str) -> None:
    config = replace(small_attribution(), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=told):
        require_sound(config)


def test_the_budget_holds_two_to_the_number_of_protected_corpora() -> None:
    assert not list_problems(AttributionConfig(protected=5))

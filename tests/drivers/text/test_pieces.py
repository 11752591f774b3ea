from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corpus_files import write_corpus_folders
from hypothesis import given, strategies as st

from drivers.text import (
    Bytes,
    Corpus,
    CutCorpus,
    Document,
    cut_corpora,
    read_folders,
    require_apart,
    split_pieces,
)
from neuro.io.store import StoreError


def make_corpus(name: str, *texts: str) -> Corpus:
    documents = (Document(text=text, place=f"{name}{n}") for n, text in enumerate(texts))
    return Corpus(name=name, documents=tuple(documents))


def test_documents_are_cut_and_repeated_pieces_left_out() -> None:
    corpora = (make_corpus("a", "abcdefgh-", "abcd1234"), make_corpus("b", "1234wxyz", "no"))
    cut = cut_corpora(corpora, Bytes(), 4)
    texts = [
        [[np.frombuffer(p, np.int64).astype(np.uint8).tobytes() for p in d] for d in c.pieces]
        for c in cut
    ]
    assert cut[0].documents == (0, 1)  # by digest
    assert texts[0] == [[b"abcd", b"efgh"], [b"1234"]]
    assert dict(zip(cut[1].documents, texts[1], strict=True)) == {2: [b"wxyz"], 3: []}
    assert [c.repeated for c in cut] == [1, 1]


def test_splits_get_what_they_ask_for_from_documents_of_their_own(tmp_path: Path) -> None:
    corpora = read_folders(write_corpus_folders(tmp_path, each=9))
    cut = cut_corpora(corpora, Bytes(), 32)
    counts = {"train": [9, 9, 20, 0, 3], "val": [2] * 5, "test": [3, 3, 3, 9, 0]}
    splits = split_pieces(cut, 32, counts)
    for split, own in splits.items():
        assert own.tokens.shape == (32, sum(counts[split]))
        assert np.bincount(own.sources, minlength=5).tolist() == counts[split]
        for column, source, number in zip(
            own.tokens.T, own.sources, own.documents, strict=True
        ):
            text = corpora[source].documents[number - 9 * source].text
            assert column.astype(np.uint8).tobytes().decode() in text
    numbers = [set(own.documents.tolist()) for own in splits.values()]
    assert sum(map(len, numbers)) == len(set.union(*numbers))
    assert len(numbers[0]) > 5 + 5  # pieces come from many documents
    again = split_pieces(cut, 32, counts)
    assert all((again[s].tokens == splits[s].tokens).all() for s in splits)


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    needs=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_a_split_is_whole_or_what_it_lacks_is_told(sizes: list[int], needs: list[int]) -> None:
    numbers = iter(range(100))
    pieces = tuple(
        tuple(np.full(2, next(numbers)).tobytes() for _ in range(size)) for size in sizes
    )
    documents = tuple(range(len(sizes)))
    corpus = CutCorpus(name="a", pieces=pieces, documents=documents, repeated=0)
    counts = {f"s{k}": [n] for k, n in enumerate(needs)}
    try:
        splits = split_pieces([corpus], 2, counts)
    except StoreError as error:
        told = str(error)
        assert "a: " in told
        assert "documents for" in told or "too few pieces" in told
    else:
        assert [own.tokens.shape[1] for own in splits.values()] == needs
        assert all((own.tokens[0] < sum(sizes)).all() for own in splits.values())


def test_too_few_documents_and_too_few_pieces_are_told_together() -> None:
    corpora = (make_corpus("a", "abcdefgh"), make_corpus("b", "1234wxyz", "1234+-*/"))
    with pytest.raises(StoreError) as told:
        split_pieces(cut_corpora(corpora, Bytes(), 4), 4, {"x": [1, 3], "y": [1, 1]})
    assert str(told.value).splitlines()[1:-1] == [
        "a: 1 documents for 2 splits (x, y)",
        "b: too few pieces of 4 tokens: 2 of 3 for x; its documents have 3, 1 more repeat "
        "earlier ones",
    ]


def test_a_document_or_a_piece_in_two_splits_is_refused(tmp_path: Path) -> None:
    corpora = read_folders(write_corpus_folders(tmp_path, each=6))
    counts = {"train": [4] * 5, "test": [2] * 5}
    splits = split_pieces(cut_corpora(corpora, Bytes(), 16), 16, counts)
    require_apart(splits)
    train, test = splits["train"], splits["test"]
    leaked = replace(test, documents=train.documents[: len(test.documents)])
    with pytest.raises(StoreError, match="test and train share a document;"):
        require_apart({"train": train, "test": leaked})
    copied = replace(test, tokens=np.concatenate([train.tokens[:, :1], test.tokens[:, 1:]], 1))
    with pytest.raises(
        StoreError, match=r"test and train share a piece; .*known from training"
    ):
        require_apart({"train": train, "test": copied})

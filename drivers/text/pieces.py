"""Pieces: documents cut into token rows of one length; each document is in only one split.

Axes: T tokens of a piece, N pieces, K corpora.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from drivers.text.corpora import Corpus
from drivers.text.tokenizer import Tokenizer
from neuro.io.store import StoreError


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """Pieces of equal length. sources: corpus of each piece. documents: its document's number.

    Document numbers run through all corpora.
    """

    tokens: Int64[np.ndarray, "T N"]
    sources: Int64[np.ndarray, " N"]
    documents: Int64[np.ndarray, " N"]


@dataclass(frozen=True, kw_only=True)
class CutCorpus:
    """The pieces of a corpus by document, in the order in which splits take them.

    repeated: number of pieces left out because an earlier piece has the same tokens.
    """

    name: str
    pieces: tuple[tuple[bytes, ...], ...]
    documents: tuple[int, ...]
    repeated: int


def cut_corpora(
    corpora: Sequence[Corpus], tokenizer: Tokenizer, tokens: int
) -> tuple[CutCorpus, ...]:
    """Cut each document into pieces of ``tokens`` tokens; the remainder at its end is dropped.

    Documents are in the order of their digests, so that a split does not depend on names.
    """
    known, out, first = set[bytes](), list[CutCorpus](), 0
    for corpus in corpora:
        numbers = sorted(range(len(corpus.documents)), key=lambda k: corpus.documents[k].digest)
        pieces, repeated = list[tuple[bytes, ...]](), 0
        for number in numbers:
            row = tokenizer.encode(corpus.documents[number].text.encode()).astype(np.int64)
            whole = row[: len(row) // tokens * tokens].reshape(-1, tokens)
            fresh = list(dict.fromkeys(r.tobytes() for r in whole))
            fresh = [r for r in fresh if r not in known]
            known.update(fresh)
            repeated += len(whole) - len(fresh)
            pieces.append(tuple(fresh))
        out.append(
            CutCorpus(
                name=corpus.name,
                pieces=tuple(pieces),
                documents=tuple(first + number for number in numbers),
                repeated=repeated,
            )
        )
        first += len(numbers)
    return tuple(out)


def split_pieces(
    corpora: Sequence[CutCorpus], tokens: int, counts: Mapping[str, Sequence[int]]
) -> dict[str, Pieces]:
    """Return the requested number of pieces per split and corpus; splits share no document.

    Each document goes to the split with the smallest share of what it needs. A split takes its
    pieces evenly from all its documents.

    tokens: length of a piece. counts: for each split, pieces of every corpus, K numbers.

    Raises:
        StoreError: a corpus has too few pieces, or fewer documents than splits that need it.
    """
    rows = {split: list[tuple[bytes, int, int]]() for split in counts}
    problems = list[str]()
    for k, corpus in enumerate(corpora):
        needs = {split: own[k] for split, own in counts.items() if own[k]}
        if len(corpus.pieces) < len(needs):
            problems.append(
                f"{corpus.name}: {len(corpus.pieces)} documents for {len(needs)} splits "
                f"({', '.join(needs)})"
            )
            continue
        got = {split: list[tuple[bytes, int]]() for split in needs}
        for number, pieces in zip(corpus.documents, corpus.pieces, strict=True):
            if needs and pieces:
                poorest = min(needs, key=lambda split: len(got[split]) / needs[split])
                got[poorest] += [(piece, number) for piece in pieces]
        short = {split: len(own) for split, own in got.items() if len(own) < needs[split]}
        if short:
            told = ", ".join(f"{n} of {needs[s]} for {s}" for s, n in short.items())
            problems.append(
                f"{corpus.name}: too few pieces of {tokens} tokens: {told}; its documents have "
                f"{sum(map(len, corpus.pieces))}, {corpus.repeated} more repeat earlier ones"
            )
            continue
        for split, own in got.items():
            kept = np.arange(needs[split]) * len(own) // needs[split]
            rows[split] += [(*own[n], k) for n in kept]
    if problems:
        raise StoreError(
            "\n".join(
                [
                    "corpora are too small:",
                    *problems,
                    "add documents, or ask for fewer or shorter pieces",
                ]
            )
        )
    splits = {split: _stack(own, tokens) for split, own in rows.items()}
    require_apart(splits)
    return splits


def require_apart(splits: Mapping[str, Pieces]) -> None:
    """Raise a StoreError if two splits share a document, or a piece with the same tokens."""
    problems = list[str]()
    documents, tokens = dict[int, str](), dict[bytes, str]()
    for split, own in splits.items():
        shared = {documents[d] for d in own.documents.tolist() if d in documents}
        pieces = [column.tobytes() for column in np.ascontiguousarray(own.tokens.T)]
        copied = {tokens[piece] for piece in pieces if piece in tokens}
        problems += [f"{split} and {other} share a document" for other in sorted(shared)]
        problems += [f"{split} and {other} share a piece" for other in sorted(copied - shared)]
        documents.update(dict.fromkeys(own.documents.tolist(), split))
        tokens.update(dict.fromkeys(pieces, split))
    if problems:
        cure = "what is measured would be known from training; split by documents"
        raise StoreError(f"splits are not apart: {'; '.join(problems)}; {cure}")


def _stack(rows: Iterable[tuple[bytes, int, int]], tokens: int) -> Pieces:
    rows = list(rows)
    data = np.frombuffer(b"".join(row for row, _, _ in rows), np.int64).reshape(-1, tokens)
    return Pieces(
        tokens=data.T.copy(),
        sources=np.array([k for _, _, k in rows], np.int64),
        documents=np.array([number for _, number, _ in rows], np.int64),
    )

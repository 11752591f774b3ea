"""The documents of a configuration: pure and composed ones, by part.

Axes: T tokens, N documents.

Composed documents: two or three segments, each by a different author than the one before.

The number of segments, the places of the switches and the authors are uniform. So the author
of the tokens is a Markov chain on (switches left, author): with m switches and n tokens left, a
switch comes before the next token with probability m / n.
Axes: T tokens, N documents.

Documents of real text: pieces of corpora that a user brings or that are installed.

A document is a run of T tokens of a file. Every file belongs to one part only. The corpora are
in the order of ``names``: protected, free, unseen. A segment of a composed document is taken
from another piece of text, at the same positions. Axes: T tokens, N documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from drivers.text import (
    Authors,
    Bytes,
    Corpus,
    HuggingFace,
    Tokenizer,
    cut_corpora,
    make_authors,
    read_folders,
    read_installed,
    read_pile,
    split_pieces,
)
from neuro.io.run_folder import RunError
from tasks.attribution.config import AttributionConfig
from tasks.runs.configuration import require_sound

SWITCHES = (1, 2)  # in a composed document, equally often


def draw_segments(
    tokens: int, documents: int, authors: int, rng: np.random.Generator
) -> Int64[np.ndarray, "T N"]:
    """Return the author of each token."""
    author = rng.integers(authors, size=documents)
    left = rng.choice(SWITCHES, documents)
    sources = np.empty((tokens, documents), np.int64)
    for t in range(tokens):
        if t:
            switches = rng.random(documents) * (tokens - t) < left
            other = (author + rng.integers(1, authors, documents)) % authors
            author, left = np.where(switches, other, author), left - switches
        sources[t] = author
    return sources


def compute_posterior(
    log_p: Float64[np.ndarray, "K T N"], switches: tuple[int, ...] = SWITCHES
) -> Float64[np.ndarray, "T N K"]:
    """Return the probability of each author for each token, given the whole document.

    Forward-backward over (switches left, author).
    log_p: logarithm [nat] of each token's probability under each author, given the tokens
        before it.
    switches: possible numbers of switches, all equally probable.

    Raises:
        ValueError: one author cannot switch, or a document is too short for its switches.
    """
    authors, tokens, documents = log_p.shape
    most = max(switches)
    if authors < 2 or tokens <= most:
        raise ValueError(
            f"{authors} authors and {tokens} tokens for {most} switches; give two authors or "
            "more, and more tokens than switches"
        )
    likelihood = np.exp(log_p - log_p.max(0)).transpose(1, 2, 0)  # T N K, up to a factor
    forward = np.empty((tokens, documents, most + 1, authors))
    first = np.isin(np.arange(most + 1), switches) / (len(switches) * authors)
    forward[0] = first[:, None] * likelihood[0, :, None]
    for t in range(1, tokens):
        forward[t] = _move(forward[t - 1], tokens - t) * likelihood[t, :, None]
        forward[t] /= forward[t].sum((1, 2), keepdims=True)
    backward = np.ones((documents, most + 1, authors))  # no switch is left at the last token
    posterior = np.empty((tokens, documents, authors))
    for t in reversed(range(tokens)):
        both = (forward[t] * backward).sum(1)
        posterior[t] = both / both.sum(1, keepdims=True)
        if t:
            backward = _move_back(backward * likelihood[t, :, None], tokens - t)
            backward /= backward.max((1, 2), keepdims=True)
    return posterior


def _move(p: Float64[np.ndarray, "N M K"], left: int) -> Float64[np.ndarray, "N M K"]:
    """Return the probabilities at the next token. left: tokens left."""
    m = np.minimum(np.arange(p.shape[1])[:, None] / left, 1)
    out = p * (1 - m)
    out[:, :-1] += (m * _spread(p))[:, 1:]
    return np.asarray(out)


def _move_back(p: Float64[np.ndarray, "N M K"], left: int) -> Float64[np.ndarray, "N M K"]:
    """Apply the transpose of :func:`_move`, and return the result."""
    m = np.minimum(np.arange(p.shape[1])[:, None] / left, 1)
    out = p * (1 - m)
    out[:, 1:] += m[1:] * _spread(p)[:, :-1]
    return np.asarray(out)


def _spread(p: Float64[np.ndarray, "N M K"]) -> Float64[np.ndarray, "N M K"]:
    """Return the probabilities after each author passes its own evenly to all others."""
    return np.asarray((p.sum(2, keepdims=True) - p) / (p.shape[2] - 1))


MOST = 4000  # documents of a corpus of the Pile that are read

Sources = Int64[np.ndarray, "T N"]
PartName = TypeVar("PartName", bound=str)


def read_corpora(config: AttributionConfig) -> tuple[Corpus, ...]:
    """Return the corpora of a configuration in its order: protected, free, unseen.

    Raises:
        RunError: there are too few corpora, or too many without ``names``.
        FileNotFoundError, StoreError: the corpora cannot be read; lists what is wrong.
    """
    told = ""
    if config.source == "library":
        installed = read_installed(config.names)
        found, told = installed.corpora, "; ".join(installed.left_out)
        if not config.names:
            found = found[: config.read]
    elif config.source == "pile":
        found = read_pile(Path(config.data), config.names, MOST)
    else:
        found = _choose(read_folders(Path(config.data)), config.names)
    if len(found) != config.read:
        have = ", ".join(corpus.name for corpus in found) or "none"
        raise RunError(
            f"the configuration needs {config.read} corpora (protected, free, unseen), and "
            f"there are {len(found)}: {have}{told and f' ({told})'}; set names to some of them "
            "in this order, or protected, free and unseen to fewer or more"
        )
    return found


def read_parts(
    config: AttributionConfig, sources: Mapping[PartName, Sources]
) -> dict[PartName, Sources]:
    """Return the tokens of each part. sources: the corpus of every token, by part.

    Raises:
        RunError, FileNotFoundError, StoreError: as :func:`read_corpora`; or a corpus has fewer
            files than the parts need, or too little text.
    """
    cut = cut_corpora(read_corpora(config), make_tokenizer(config), config.tokens)
    kept = [find_segments(own, config) for own in sources.values()]
    counts: dict[str, list[int]] = {
        part: np.bincount([corpus for _, corpus, _, _ in own], minlength=config.read).tolist()
        for part, own in zip(sources, kept, strict=True)
    }
    pieces = split_pieces(cut, config.tokens, counts)
    out = {}
    for (part, own), segments in zip(sources.items(), kept, strict=True):
        # The pieces of each corpus, in the order of the segments.
        left = {
            k: iter(np.flatnonzero(pieces[part].sources == k).tolist())
            for k in range(config.read)
        }
        tokens = np.empty_like(own)
        for document, corpus, start, stop in segments:
            tokens[start:stop, document] = pieces[part].tokens[start:stop, next(left[corpus])]
        out[part] = tokens
    return out


def make_tokenizer(config: AttributionConfig) -> Tokenizer:
    """Return the tokenizer of a configuration: its file, or bytes.

    Raises:
        RunError: the vocabulary of the file is larger than that of the configuration.
        RuntimeError, ValueError: the file cannot be read.
    """
    tokenizer = HuggingFace(Path(config.tokenizer)) if config.tokenizer else Bytes()
    if tokenizer.size > config.vocabulary:
        raise RunError(
            f"{config.tokenizer}: {tokenizer.size:,} tokens, and vocabulary is "
            f"{config.vocabulary:,}; set vocabulary={tokenizer.size}"
        )
    return tokenizer


def find_segments(
    sources: Sources, config: AttributionConfig
) -> list[tuple[int, int, int, int]]:
    """Return (document, corpus, start, stop) of every run of one corpus."""
    segments = list[tuple[int, int, int, int]]()
    for document, own in enumerate(sources.T):
        edges = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), len(own)]
        segments += [
            (document, config.find_corpus(int(own[start])), start, stop)
            for start, stop in pairwise(edges)
        ]
    return segments


def _choose(corpora: Sequence[Corpus], names: Sequence[str]) -> tuple[Corpus, ...]:
    """Return the corpora of these names, in the order of the names; () means all."""
    own = {corpus.name: corpus for corpus in corpora}
    if missing := [name for name in names if name not in own]:
        raise RunError(f"no corpus {', '.join(missing)}; there are {', '.join(own)}")
    return tuple(own[name] for name in names) if names else tuple(corpora)


Part = Literal["lm_train", "lm_val", "train", "val", "test", "composed", "free", "unseen"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents of equal length. sources: corpus of each token; constant in pure documents."""

    tokens: Int64[Tensor, "T N"]
    sources: Int64[Tensor, "T N"]

    def __len__(self) -> int:
        return self.tokens.shape[1]

    @property
    def labels(self) -> Int64[Tensor, " N"]:
        """The corpus of the first token; in a pure document, that of all tokens."""
        return self.sources[0]

    def select(self, which: Bool[Tensor, " N"] | Int64[Tensor, " n"]) -> "Documents":
        """Return some of the documents, by a mask or by indices."""
        return Documents(self.tokens[:, which], self.sources[:, which])


def load(config: AttributionConfig, part: Part) -> Documents:
    """Return the documents of a part; the same at every call.

    Raises:
        ValueError: the configuration is wrong; lists every problem.
    """
    require_sound(config)
    return _draw_part(_keep_data(config), part)


def require_apart(config: AttributionConfig) -> None:
    """Raise a ValueError if a document is in two parts; lists each pair of parts."""
    texts = {
        part: {row.tobytes() for row in load(config, part).tokens.T.numpy()} for part in PARTS
    }
    shared = [
        f"{first} and {second} ({len(same)})"
        for first, second in combinations(PARTS, 2)
        if (same := texts[first] & texts[second])
    ]
    if shared:
        raise ValueError(
            f"the same documents stand in {', '.join(shared)}, so a test would ask for what "
            "was learned by heart; give longer documents, or a larger vocabulary"
        )


def find_authors(config: AttributionConfig) -> Authors:
    """Return the generators of all corpora: protected, free, unseen."""
    authors = _make_authors(
        *(config.corpora, config.vocabulary, config.order),
        *(config.delta, config.gamma, config.seed_of_data),
    )
    if not config.matched:
        return authors
    same = [k % config.protected for k in range(config.unseen)]
    return Authors(authors.order, authors.log_p[[*range(config.seen), *same]])


def count_documents(config: AttributionConfig) -> Mapping[Part, int]:
    """Return the number of documents in each part."""
    return {
        "lm_train": config.documents,
        "lm_val": config.held_out,
        "train": config.train,
        "val": config.val,
        "test": config.test,
        "composed": config.composed,
        "free": config.outside if config.free else 0,
        "unseen": config.outside if config.unseen else 0,
    }


def _keep_data(config: AttributionConfig) -> AttributionConfig:
    """Return the configuration with defaults in all fields that no document depends on."""
    names = (
        *("source", "data", "names", "tokenizer", "vocabulary", "order", "delta", "gamma"),
        *("tokens", "seed_of_data"),
        *("protected", "free", "unseen", "matched", "shares", "budget"),
        *("documents", "held_out", "train", "val", "test", "composed", "outside"),
    )
    return replace(AttributionConfig(), **{name: getattr(config, name) for name in names})


@lru_cache(maxsize=16)
def _draw_part(config: AttributionConfig, part: Part) -> Documents:
    if config.source != "authors":
        return _read_parts(config)[part]
    rng = _make_rng(config, part)
    sources = _draw_sources(config, part, rng)
    tokens = find_authors(config).sample(sources, rng)
    return Documents(torch.from_numpy(tokens), torch.from_numpy(sources))


@lru_cache(maxsize=2)
def _read_parts(config: AttributionConfig) -> dict[Part, Documents]:
    """Return all parts of real text at once, for each depends on what the others take."""
    sources = {part: _draw_sources(config, part, _make_rng(config, part)) for part in PARTS}
    tokens = read_parts(config, sources)
    return {
        part: Documents(torch.from_numpy(tokens[part]), torch.from_numpy(own))
        for part, own in sources.items()
    }


def _make_rng(config: AttributionConfig, part: Part) -> np.random.Generator:
    return np.random.default_rng([config.seed_of_data, 1 + PARTS.index(part)])


def _draw_sources(
    config: AttributionConfig, part: Part, rng: np.random.Generator
) -> Int64[np.ndarray, "T N"]:
    """Return the corpus of each token of each document."""
    n = count_documents(config)[part]
    if part == "composed":
        return draw_segments(config.tokens, n, config.protected, rng)
    return np.tile(_draw_labels(config, part, n, rng), (config.tokens, 1))


def _draw_labels(
    config: AttributionConfig, part: Part, n: int, rng: np.random.Generator
) -> Int64[np.ndarray, " N"]:
    """Return the corpus of each document, in a random order.

    Counts are proportional to the shares; the first corpora get the remainder.
    """
    first, shares = {
        "lm_train": (0, config.of_seen),
        "lm_val": (0, config.of_seen),
        "free": (config.protected, (1.0,) * config.free),
        "unseen": (config.seen, (1.0,) * config.unseen),
    }.get(part, (0, (1.0,) * config.protected))
    ends = np.ceil(np.cumsum(shares) / sum(shares) * n - 1e-9).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    return rng.permutation(np.repeat(np.arange(first, first + len(shares)), counts))


@lru_cache(maxsize=4)
def _make_authors(
    count: int, vocabulary: int, order: int, delta: float, gamma: float, seed: int
) -> Authors:
    return make_authors(count, vocabulary, order, delta, gamma, seed)

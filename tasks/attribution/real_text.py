"""Documents of real text: pieces of corpora that a user brings or that are installed.

A document is a run of T tokens of a file. No file is in two parts. The corpora stand in the
order of ``names``: protected, free, unseen. A segment of a composed document is the stretch of
a further piece at the same places. Axes: T tokens, N documents.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int64

from drivers.text import (
    Bytes,
    Corpus,
    HuggingFace,
    Tokenizer,
    cut_corpora,
    read_folders,
    read_installed,
    read_pile,
    split_pieces,
)
from neuro.io.run_folder import RunError
from tasks.attribution.config import AttributionConfig

MOST = 4000  # documents of a corpus of the Pile that are read

Sources = Int64[np.ndarray, "T N"]
PartName = TypeVar("PartName", bound=str)


def read_corpora(config: AttributionConfig) -> tuple[Corpus, ...]:
    """Return the corpora of a configuration in its order: protected, free, unseen.

    Raises:
        RunError: there are too few, or too many without ``names``.
        FileNotFoundError, StoreError: they cannot be read; lists what is wrong.
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
    """Return the tokens of each part; sources: of each, the corpus of every token.

    Raises:
        RunError, FileNotFoundError, StoreError: as :func:`read_corpora`; or a corpus has fewer
            files than parts need, or too little text.
    """
    cut = cut_corpora(read_corpora(config), make_tokenizer(config), config.tokens)
    kept = [_find_segments(own, config) for own in sources.values()]
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
        RunError: its vocabulary is larger than that of the configuration.
        RuntimeError, ValueError: it cannot be read.
    """
    tokenizer = HuggingFace(Path(config.tokenizer)) if config.tokenizer else Bytes()
    if tokenizer.size > config.vocabulary:
        raise RunError(
            f"{config.tokenizer}: {tokenizer.size:,} tokens, and vocabulary is "
            f"{config.vocabulary:,}; set vocabulary={tokenizer.size}"
        )
    return tokenizer


def _find_segments(
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
    """Return the corpora of these names, in their order; () is all."""
    own = {corpus.name: corpus for corpus in corpora}
    if missing := [name for name in names if name not in own]:
        raise RunError(f"no corpus {', '.join(missing)}; there are {', '.join(own)}")
    return tuple(own[name] for name in names) if names else tuple(corpora)

"""The documents of a configuration: pure and composed ones, by part.

Axes: T tokens, N documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from drivers.text import Authors, make_authors
from tasks.attribution.config import AttributionConfig, require_sound
from tasks.attribution.real_text import read_parts
from tasks.attribution.segments import draw_segments

Part = Literal["lm_train", "lm_val", "train", "val", "test", "composed", "free", "unseen"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents of equal length. sources: the corpus of each token; constant in pure ones."""

    tokens: Int64[Tensor, "T N"]
    sources: Int64[Tensor, "T N"]

    def __len__(self) -> int:
        return self.tokens.shape[1]

    @property
    def labels(self) -> Int64[Tensor, " N"]:
        """The corpus of the first token: of the whole document, if it is pure."""
        return self.sources[0]

    def select(self, which: Bool[Tensor, " N"] | Int64[Tensor, " n"]) -> "Documents":
        """Return some of them, by a mask or by their places."""
        return Documents(self.tokens[:, which], self.sources[:, which])


def load(config: AttributionConfig, part: Part) -> Documents:
    """Return the documents of a part; the same at every call.

    Raises:
        ValueError: the configuration does not hold together; lists every problem.
    """
    require_sound(config)
    return _draw_part(_keep_data(config), part)


def require_apart(config: AttributionConfig) -> None:
    """Raise a ValueError if a document stands in two parts; lists each pair of parts."""
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
    """Return the documents of each part."""
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
    """Return the configuration with defaults where its documents do not depend on it."""
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
    """Return all parts of real text; each needs to know what the others take."""
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

    Counts are proportional to the shares; what is left over goes to the first corpora.
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

"""Synthetic recall: sequences that test only what a model remembers of them.

Three tasks over one vocabulary. Each returns sequences and targets: the answer at every token
that asks for one, elsewhere ``NOTHING``. All draws come from a NumPy generator.
Axes: T tokens, B samples.

vocabulary: FILLER, QUERY, NEEDLE, SET, then keys, then values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from neuro.base.bounds import Count, Natural
from tasks.language.data import NOTHING

FILLER, QUERY, NEEDLE, SET = range(4)
MARKS = 4
STATEMENT, QUESTION = 3, 2  # tokens of "NEEDLE key value" or "SET target source"; "QUERY key"
POWER = 0.01  # the exponent a in the distances of MQAR


@dataclass(frozen=True, kw_only=True)
class RecallSizes:
    """Length and difficulty of the tasks.

    Raises:
        ValueError: a task does not fit into T tokens, or there are too few keys or values.
    """

    tokens: Count = 32
    """Length T of a sequence [tokens]."""
    keys: Count = 16
    """Keys that a sequence draws from."""
    values: Count = 16
    """Values that a sequence draws from."""
    pairs: Count = 8
    """Pairs of a key and a value in MQAR."""
    needles: Count = 4
    """Needles in the haystack."""
    chains: Count = 3
    """Values that are handed on in the tracking of variables."""
    hops: Natural = 1
    """Variables that hand each value on in tracking."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} must be >= {least}, got {getattr(self, name)}"
            for name, least in (*((n, 1) for n in ("pairs", "needles", "chains")), ("hops", 0))
            if getattr(self, name) < least
        ]
        need = {
            "tokens": {
                "pairs": 4 * self.pairs,
                "needles": (STATEMENT + QUESTION) * self.needles,
                "chains and hops": (STATEMENT + QUESTION) * self.variables,
            },
            "keys": {
                "pairs": self.pairs,
                "needles": self.needles,
                "chains and hops": self.variables,
            },
            "values": {"pairs": self.pairs, "needles": self.needles, "chains": self.chains},
        }
        wrong += [
            f"{name} need {least} {what}, there are {getattr(self, what)}"
            for what, needs in need.items()
            for name, least in needs.items()
            if least > getattr(self, what)
        ]
        if wrong:
            raise ValueError(f"recall: {'; '.join(wrong)}; ask for less, or give more of them")

    @property
    def vocabulary(self) -> int:
        """Number of different tokens."""
        return MARKS + self.keys + self.values

    @property
    def variables(self) -> int:
        """Number of variables in the tracking task."""
        return self.chains * (self.hops + 1)

    @property
    def first_value(self) -> int:
        """The first token that is a value."""
        return MARKS + self.keys


class Sequences(NamedTuple):
    """Tokens x, and targets y: the answer to each token, or NOTHING."""

    x: Int64[np.ndarray, "T B"]
    y: Int64[np.ndarray, "T B"]


def draw_mqar(rng: np.random.Generator, sizes: RecallSizes, samples: int) -> Sequences:
    """Draw multi-query associative recall (Arora et al. 2023, Zoology, arXiv 2312.04927).

    A sequence is key value key value ..., and then each key once more at a random place, where
    the answer is its value. Keys of a sample are distinct, and so are values. After the pairs
    every second token may be a query. The queries are drawn without replacement, the i-th place
    with a probability proportional to i^(a - 1), a = 0.01, so most come early. All other tokens
    are FILLER.
    """
    pairs, length = sizes.pairs, sizes.tokens
    keys, values = _draw_names(rng, sizes, pairs, pairs, samples)
    x, y = _make_empty(length, samples)
    x[0 : 2 * pairs : 2], x[1 : 2 * pairs : 2] = keys, values
    places = (length - 2 * pairs) // 2
    # The places of the largest log p + Gumbel noise are a draw by p without replacement.
    p = (POWER - 1) * np.log(np.arange(1, places + 1))
    order = np.argsort(-(p[:, None] + rng.gumbel(size=(places, samples))), axis=0)[:pairs]
    at = 2 * pairs + 2 * order
    np.put_along_axis(x, at, keys, 0)
    np.put_along_axis(y, at, values, 0)
    return Sequences(x, y)


def draw_needles(rng: np.random.Generator, sizes: RecallSizes, samples: int) -> Sequences:
    """Draw several needles in a haystack, all of which are queried at the end.

    "NEEDLE key value" stands at random places in noise of random keys and values, so a key may
    also precede wrong values. The end is "QUERY key" for each needle, in random order; the
    answer is its value. The needles of a sample have distinct keys and distinct values. Similar
    to multi-key and multi-query NIAH of RULER (Hsieh et al. 2024, arXiv 2404.06654), with
    tokens instead of sentences.
    """
    n, length = sizes.needles, sizes.tokens
    keys, values = _draw_names(rng, sizes, n, n, samples)
    x, y = _make_empty(length, samples)
    x[:] = rng.integers(MARKS, sizes.vocabulary, x.shape)
    _put_statements(rng, x, length - QUESTION * n, NEEDLE, keys, values)
    _put_questions(rng, x, y, keys, values)
    return Sequences(x, y)


def draw_tracking(rng: np.random.Generator, sizes: RecallSizes, samples: int) -> Sequences:
    """Draw variables that are set to a value or to another variable.

    "SET a 7", "SET b a", "SET c b": a chain passes a value on, over ``hops`` hops. Statements
    of several chains are interleaved at random, each after those it depends on, with FILLER
    between. The end is "QUERY variable" for each variable, in random order; the answer is its
    value. Similar to variable tracking of RULER (Hsieh et al. 2024, arXiv 2404.06654), which
    asks for the variables that hold a value instead.
    """
    n, length = sizes.variables, sizes.tokens
    names, first = _draw_names(rng, sizes, n, sizes.chains, samples)
    x, y = _make_empty(length, samples)
    chain = np.arange(n) // (sizes.hops + 1)
    values = first[chain]
    starts = np.arange(n) % (sizes.hops + 1) == 0
    sources = np.where(starts[:, None], values, np.roll(names, 1, 0))
    # Permute the chain numbers; the k-th occurrence of a number is that chain's k-th statement.
    mixed = rng.permuted(np.broadcast_to(chain[:, None], (n, samples)), axis=0)
    order = np.argsort(np.argsort(mixed, axis=0, kind="stable"), axis=0)
    targets = np.take_along_axis(names, order, 0)
    sources = np.take_along_axis(sources, order, 0)
    _put_statements(rng, x, length - QUESTION * n, SET, targets, sources)
    _put_questions(rng, x, y, names, values)
    return Sequences(x, y)


Draw = Callable[[np.random.Generator, RecallSizes, int], Sequences]
TASKS: Mapping[str, Draw] = {
    "MQAR": draw_mqar,
    "needles": draw_needles,
    "tracking": draw_tracking,
}


def count_choices(sizes: RecallSizes) -> dict[str, int]:
    """Return the number of values in a sample, by task; chance accuracy is 1 over it."""
    return {"MQAR": sizes.pairs, "needles": sizes.needles, "tracking": sizes.chains}


def name_tokens(sizes: RecallSizes, tokens: Sequence[int]) -> str:
    """Return tokens as words: a mark, k1 for the first key, v1 for the first value."""
    names = [*".?!=", *(f"k{k + 1}" for k in range(sizes.keys))]
    return " ".join(f"v{t - len(names) + 1}" if t >= len(names) else names[t] for t in tokens)


def _make_empty(length: int, samples: int) -> Sequences:
    return Sequences(
        np.full((length, samples), FILLER, np.int64),
        np.full((length, samples), NOTHING, np.int64),
    )


def _draw_names(
    rng: np.random.Generator, sizes: RecallSizes, keys: int, values: int, samples: int
) -> tuple[Int64[np.ndarray, "n B"], Int64[np.ndarray, "m B"]]:
    """Draw ``keys`` distinct keys and ``values`` distinct values for each sample."""

    def draw(first: int, of: int, number: int) -> Int64[np.ndarray, "n B"]:
        every = np.broadcast_to(np.arange(first, first + of)[:, None], (of, samples))
        return rng.permuted(every, axis=0)[:number]

    return draw(MARKS, sizes.keys, keys), draw(sizes.first_value, sizes.values, values)


def _put_statements(
    rng: np.random.Generator,
    x: Int64[np.ndarray, "T B"],
    room: int,
    mark: int,
    left: Int64[np.ndarray, "n B"],
    right: Int64[np.ndarray, "n B"],
) -> None:
    """Put each "mark left right", in this order, into the first ``room`` tokens.

    All placements are equally probable.
    """
    n, samples = left.shape
    slots = room - (STATEMENT - 1) * n  # one slot per statement and one per other token
    every = np.broadcast_to(np.arange(slots)[:, None], (slots, samples))
    chosen = np.sort(rng.permuted(every, axis=0)[:n], axis=0)
    at = chosen + (STATEMENT - 1) * np.arange(n)[:, None]
    for k, tokens in enumerate((np.full_like(left, mark), left, right)):
        np.put_along_axis(x, at + k, tokens, 0)


def _put_questions(
    rng: np.random.Generator,
    x: Int64[np.ndarray, "T B"],
    y: Int64[np.ndarray, "T B"],
    keys: Int64[np.ndarray, "n B"],
    values: Int64[np.ndarray, "n B"],
) -> None:
    """Put "QUERY key" for each key at the end of x, in random order, and the answers into y."""
    n, samples = keys.shape
    order = rng.permuted(np.broadcast_to(np.arange(n)[:, None], (n, samples)), axis=0)
    end = x[-QUESTION * n :]
    end[0::2], end[1::2] = QUERY, np.take_along_axis(keys, order, 0)
    y[-QUESTION * n :][1::2] = np.take_along_axis(values, order, 0)

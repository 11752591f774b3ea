"""Synthetic recall: what a model must remember of a sequence, and nothing else.

Three tasks over one vocabulary; each returns sequences and, where an answer is due, the answer
as the target of that token (elsewhere ``NOTHING``). All that is drawn comes from a NumPy
generator. Axes: T tokens, B samples.

vocabulary: FILLER, QUERY, NEEDLE, SET, then keys, then values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from neuro.base.bounds import Count, Natural
from tasks.language.data import NOTHING

FILLER, QUERY, NEEDLE, SET = range(4)
MARKS = 4
STATEMENT, QUESTION = 3, 2  # tokens of "NEEDLE key value" or "SET target source"; "QUERY key"
POWER = 0.01  # a of the distances of MQAR


@dataclass(frozen=True, kw_only=True)
class RecallSizes:
    """How long and how hard the tasks are.

    Raises:
        ValueError: something does not fit into T tokens, or there are too few keys or values.
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
        """Number of variables of tracking."""
        return self.chains * (self.hops + 1)

    @property
    def first_value(self) -> int:
        """The first token that is a value."""
        return MARKS + self.keys


class Sequences(NamedTuple):
    """Tokens, and the answer that is due behind each of them, or NOTHING."""

    x: Int64[np.ndarray, "T B"]
    y: Int64[np.ndarray, "T B"]


def draw_mqar(rng: np.random.Generator, sizes: RecallSizes, samples: int) -> Sequences:
    """Return multi-query associative recall (Arora et al. 2023, Zoology, arXiv 2312.04927).

    key value key value ... and then each key once more, in a place of its own: the answer is
    its value. Keys of a sample differ, and so do values. Behind the pairs every second token
    may be a query; which ones are is drawn without replacement, the i-th of them with a
    probability proportional to i^(a - 1), a = 0.01: most come soon. All others are FILLER.
    """
    pairs, length = sizes.pairs, sizes.tokens
    keys, values = _draw_names(rng, sizes, pairs, pairs, samples)
    x, y = _make_empty(length, samples)
    x[0 : 2 * pairs : 2], x[1 : 2 * pairs : 2] = keys, values
    places = (length - 2 * pairs) // 2
    # The largest of log p + Gumbel noise are a draw without replacement by p.
    p = (POWER - 1) * np.log(np.arange(1, places + 1))
    order = np.argsort(-(p[:, None] + rng.gumbel(size=(places, samples))), axis=0)[:pairs]
    at = 2 * pairs + 2 * order
    np.put_along_axis(x, at, keys, 0)
    np.put_along_axis(y, at, values, 0)
    return Sequences(x, y)


def draw_needles(rng: np.random.Generator, sizes: RecallSizes, samples: int) -> Sequences:
    """Return needles in a haystack, several of them, all asked for at the end.

    "NEEDLE key value" stands at random places between noise, which is keys and values at
    random: a key also stands before values that are none of its own. At the end "QUERY key" for
    each needle, in random order; the answer is its value. Keys of a sample's needles differ,
    and so do values. Like multi-key and multi-query NIAH of RULER (Hsieh et al. 2024, arXiv
    2404.06654), with tokens in place of sentences.
    """
    n, length = sizes.needles, sizes.tokens
    keys, values = _draw_names(rng, sizes, n, n, samples)
    x, y = _make_empty(length, samples)
    x[:] = rng.integers(MARKS, sizes.vocabulary, x.shape)
    _put_statements(rng, x, length - QUESTION * n, NEEDLE, keys, values)
    _put_questions(rng, x, y, keys, values)
    return Sequences(x, y)


def draw_tracking(rng: np.random.Generator, sizes: RecallSizes, samples: int) -> Sequences:
    """Return variables that are set to values, or to what another one holds.

    "SET a 7", "SET b a", "SET c b": a chain hands a value on, over ``hops`` hops. Statements of
    several chains are mixed at random, each behind those it depends on, with FILLER between. At
    the end "QUERY variable" for each of them, in random order; the answer is the value. Like
    variable tracking of RULER (Hsieh et al. 2024, arXiv 2404.06654), which asks for the
    variables of a value instead.
    """
    n, length = sizes.variables, sizes.tokens
    names, first = _draw_names(rng, sizes, n, sizes.chains, samples)
    x, y = _make_empty(length, samples)
    chain = np.arange(n) // (sizes.hops + 1)
    values = first[chain]
    starts = np.arange(n) % (sizes.hops + 1) == 0
    sources = np.where(starts[:, None], values, np.roll(names, 1, 0))
    # A permutation of the chains' numbers; the k-th time that one comes is its k-th statement.
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
    """Return how many values a sample tells, by task: one in so many guesses is right."""
    return {"MQAR": sizes.pairs, "needles": sizes.needles, "tracking": sizes.chains}


def _make_empty(length: int, samples: int) -> Sequences:
    return Sequences(
        np.full((length, samples), FILLER, np.int64),
        np.full((length, samples), NOTHING, np.int64),
    )


def _draw_names(
    rng: np.random.Generator, sizes: RecallSizes, keys: int, values: int, samples: int
) -> tuple[Int64[np.ndarray, "n B"], Int64[np.ndarray, "m B"]]:
    """Return so many different keys and so many different values of each sample."""

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
    """Put "mark left right" in this order at places of the first ``room`` tokens, all alike
    probable."""
    n, samples = left.shape
    slots = room - (STATEMENT - 1) * n  # a statement takes one, and so does any other token
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
    """Put "QUERY key" for each key at the end, in random order, and the answers."""
    n, samples = keys.shape
    order = rng.permuted(np.broadcast_to(np.arange(n)[:, None], (n, samples)), axis=0)
    end = x[-QUESTION * n :]
    end[0::2], end[1::2] = QUERY, np.take_along_axis(keys, order, 0)
    y[-QUESTION * n :][1::2] = np.take_along_axis(values, order, 0)

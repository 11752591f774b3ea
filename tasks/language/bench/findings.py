"""Which published findings show here: pairs of trainings, their differences, a verdict.

A pair are two trainings of one seed, on the same batches, and no training is in two pairs of a
finding. Intervals are Student's, over pairs (:mod:`tasks.measures.statistics`).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from tasks.bench.claim import Claim, Values
from tasks.bench.rows import Row
from tasks.language.bench.cells import PURE, TEXT, VARIANTS, Scale, name_ratio
from tasks.language.bench.train import Found, Stack
from tasks.language.recall import TASKS

MQAR = "MQAR"
POINTS, PERCENT = "points", "% of the bits"
SATURATED, FLAT = 2.0, 1.0  # differences that count as none, in points and in percent


def average_recall(trained: Found) -> dict[Stack, Values]:
    """Return the mean share of right answers over tasks, of each seed, in percent."""
    return {
        stack: 100 * np.mean([own[task] for task in TASKS], 0) for stack, own in trained.items()
    }


def judge_recall(trained: Found, scale: Scale) -> Iterator[Row]:
    """Yield the findings on recall, and whether they show."""
    recall = average_recall(trained)
    mqar = {stack: 100 * np.array(own[MQAR]) for stack, own in trained.items()}
    hybrids = tuple(n for n in scale.softmax if n)
    three, half = scale.layers // 4, scale.layers // 2  # softmax layers of 3:1 and 1:1

    def at(
        values: dict[Stack, Values], variants: Sequence[str], softmax: Sequence[int]
    ) -> Values:
        return np.concatenate([values[v, n] for v in variants for n in softmax])

    def rise(name: str, few: int, many: int, alike: float | None = None) -> Row:
        """Return whether all mixers recall more with more softmax layers."""
        return Claim(
            name=name,
            first=name_ratio(scale.layers, many),
            second=name_ratio(scale.layers, few),
            unit=POINTS,
            more=at(recall, tuple(VARIANTS), [many]),
            less=at(recall, tuple(VARIANTS), [few]),
            alike=alike,
        ).as_row()

    for many in (three, half):
        yield rise(f"recall rises from pure to {name_ratio(scale.layers, many)}", 0, many)
    for few, many in pairwise(n for n in scale.softmax if n <= three):
        if (few, many) != (0, three):
            yield rise("recall rises with each step up to 3:1", few, many)
    saturated = f"recall is saturated at 3:1, up to {SATURATED:g} points"
    yield rise(saturated, three, half, SATURATED)
    for name, better, worse in (
        ("selective gates matter in hybrids", ("gla", "hgrn2", "gdn"), "retnet"),
        ("hierarchical recurrence (floors) matters in hybrids", ("hgrn2",), "gla"),
        ("controlled forgetting matters in hybrids", ("gdn",), "deltanet"),
    ):
        yield Claim(
            name=name,
            first=_list_names(better),
            second=VARIANTS[worse],
            unit=POINTS,
            more=np.mean([at(recall, [v], hybrids) for v in better], 0),
            less=at(recall, [worse], hybrids),
        ).as_row()
    delta, decay = ("deltanet", "gdn"), ("retnet", "gla")  # without and with gates
    yield Claim(
        name="MQAR, pure stacks: the delta rule recalls more than decays alone",
        first=_list_names(delta),
        second=_list_names(decay),
        unit=POINTS,
        more=at(mqar, delta, [0]),
        less=at(mqar, decay, [0]),
    ).as_row()
    matrix, vector = (
        100 * np.concatenate([trained[v, 0][task] for task in TASKS]) for v in ("hgrn2", "hgrn")
    )
    yield Claim(
        name="pure stacks: a matrix recalls more than a vector",
        first=VARIANTS["hgrn2"],
        second=VARIANTS["hgrn"],
        unit=POINTS,
        more=matrix,
        less=vector,
    ).as_row()
    yield _rank(recall, three)


def _rank(recall: dict[Stack, Values], three: int) -> Row:
    """Return how far ranks of pure stacks predict those at 3:1 (1: entirely)."""
    pure, mixed = ([float(recall[v, n].mean()) for v in VARIANTS] for n in (0, three))
    equal = len(set(pure)) == 1 or len(set(mixed)) == 1
    rho = None if equal else _correlate_ranks(pure, mixed)
    name = "ranks of pure mixers predict those of hybrids at 3:1"
    note = (
        "all mixers are alike"
        if rho is None
        else f"Spearman {rho.statistic:+.2f} (p = {rho.pvalue:.2g}); published: they do not"
    )
    return Row(
        case=f"finding: {name}",
        subject="3:1",
        peer=PURE,
        unit="rank rho",
        ours=None if rho is None else float(rho.statistic),
        theirs=None,
        ratio=None,
        note=f"{name}: {note}",
        conditions={"p": None if rho is None else float(rho.pvalue)},
    )


def _correlate_ranks(first: list[float], second: list[float]) -> Any:
    """Return Spearman's rho, and its p among all orders: six are few for a limit."""
    return stats.permutation_test(
        (first,),
        lambda ordered: stats.spearmanr(ordered, second).statistic,
        permutation_type="pairings",
        n_resamples=math.factorial(len(first)),
    )


def judge_text(trained: Found, scale: Scale) -> Iterator[Row]:
    """Yield whether bits per byte are flat: each ratio beside pure stacks, in percent."""
    bits = {stack: np.array(own[TEXT]) for stack, own in trained.items()}
    pure = np.concatenate([bits[v, 0] for v in VARIANTS])
    for softmax in scale.softmax[1:]:
        own = np.concatenate([bits[v, softmax] for v in VARIANTS])
        yield Claim(
            name=f"language modelling is flat, up to {FLAT:g} %",
            first=name_ratio(scale.layers, softmax),
            second=PURE,
            unit=PERCENT,
            more=100 * own / pure,
            less=np.full(len(pure), 100.0),
            alike=FLAT,
        ).as_row()


def _list_names(variants: Sequence[str]) -> str:
    return ", ".join(VARIANTS[v] for v in variants)

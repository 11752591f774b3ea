"""What the narrow networks show: rows beside their originals and controls, and verdicts.

A pair are two trainings that begin with the same original, and no training is in two pairs of a
finding. Axes: pairs of networks, seeds and widths.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tasks.bench.claim import Claim, Values
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.bottlenecks.bench.cells import (
    CLOSED,
    LEARNED,
    SCRATCH,
    TRAINED,
    UNTRAINED,
    NarrowCell,
    NarrowResult,
    NarrowScale,
    Results,
)
from tasks.bottlenecks.controls import read_accuracy
from tasks.measures.statistics import summarise_seeds

POINTS, SHARE = "% right", "% of the accuracy lost"
CONTROLS = ("random cuts", "uniform widths", "no distillation", "pruning", CLOSED, SCRATCH)
Group = tuple[str, str, str, tuple[int, ...]]  # network, name, link, widths of one cut


def find_group(cell: NarrowCell) -> Group:
    """Return what a network shares with those of other seeds."""
    widths = cell.narrow.widths if len(cell.narrow.widths) == 1 else ()
    return cell.network, cell.name, cell.narrow.link, widths


def group_seeds(results: Results) -> dict[Group, list[NarrowResult]]:
    """Return the results of all seeds, in their order, of each network."""
    groups: dict[Group, list[NarrowResult]] = {}
    for cell, result in sorted(results.items(), key=lambda pair: pair[0].seed):
        groups.setdefault(find_group(cell), []).append(result)
    return groups


def make_rows(part: str, results: Results, scale: NarrowScale) -> Iterator[Row]:
    """Yield a row a network beside its original: means over seeds, and bits of a sample."""
    for (network, name, link, _), own in group_seeds(results).items():
        ours = asdict(summarise_seeds(100 * r.accuracy for r in own))
        theirs = asdict(summarise_seeds(100 * r.original for r in own))
        bits = [r.least_bits for r in own]
        yield Row(
            case=f"{part}: {network}",
            subject=f"{name}, {link}" if name != link else link,
            peer="original",
            unit=POINTS,
            ours=ours["mean"],
            theirs=theirs["mean"],
            ratio=find_ratio(ours["mean"], theirs["mean"], "higher"),
            conditions={
                "network": network,
                "name": name,
                "link": link,
                "after": [list(r.after) for r in own],
                "widths": [list(r.widths) for r in own],
                "bitmap_bits": [float(r.bits) for r in own],
                "aer_bits": [r.aer_bits for r in own],
                "bits": float(np.mean(bits)),
                "ours": ours,
                "theirs": theirs,
                "tested": own[0].n,
                "cpu_seconds": float(np.mean([r.seconds for r in own])),
                "scale": repr(scale),
                "versions": list_versions("torch"),
            },
        )


def find_loss(result: NarrowResult) -> float:
    """Return the share of the accuracy of the original that is lost, in percent."""
    return 100 * (1 - result.accuracy / result.original)


def _pair_by_original(
    results: Results, more: Mapping[str, Any], less: Mapping[str, Any]
) -> list[tuple[NarrowResult, NarrowResult]]:
    """Return the results that agree in network, seed and widths but for the given fields."""

    def choose(fields: Mapping[str, Any]) -> dict[Any, NarrowResult]:
        chosen = {}
        for cell, result in results.items():
            about = {"network": cell.network, "widths": cell.narrow.widths}
            if all(about[name] == value for name, value in fields.items()):
                rest = tuple(value for name, value in about.items() if name not in fields)
                chosen[cell.seed, rest] = result
        return chosen

    first, second = choose(more), choose(less)
    return [(first[key], second[key]) for key in first if key in second]


def judge_depths(results: Results, scale: NarrowScale) -> Iterator[Row]:
    """Yield whether the claims of Lin et al. 2024 show: fewer channels, less right; by depth.

    That with training, and of the closed form without it.
    """
    for name in (TRAINED, CLOSED):
        own = {c: r for c, r in results.items() if c.name == name}
        widths = sorted({c.narrow.widths[0] for c in own}, reverse=True)
        wide, slim = widths[0], widths[-1]
        pairs = _pair_by_original(own, {"widths": (wide,)}, {"widths": (slim,)})
        yield make_claim(
            f"{name}: accuracy falls from {wide} channels to {slim}",
            (str(wide), str(slim)),
            POINTS,
            [(100 * a.accuracy, 100 * b.accuracy) for a, b in pairs],
        )
        narrower = [w for w in widths if w in scale.widths]
        for some in (narrower, narrower[-1:]):
            of_some = {c: r for c, r in own.items() if c.narrow.widths[0] in some}
            pairs = _pair_by_original(of_some, {"network": "shallow"}, {"network": "deep"})
            yield make_claim(
                f"{name}: the shallow network loses more, {', '.join(map(str, some))} channels",
                ("shallow", "deep"),
                SHARE,
                [(find_loss(a), find_loss(b)) for a, b in pairs],
            )


def judge_links(results: Results, beside: Sequence[str]) -> Iterator[Row]:
    """Yield whether values of four bits are right more often than others, at equal bits."""
    own = {c: r for c, r in results.items() if not c.narrow.penalty}
    for link in beside:
        pairs = [
            (a, b)
            for ca, a in own.items()
            if ca.narrow.link == "4bit"
            for cb, b in own.items()
            if cb.narrow.link == link and (cb.seed, b.bits) == (ca.seed, a.bits)
        ]
        if not pairs:
            continue
        yield make_claim(
            f"at equal bits 4bit is right more often than {link}",
            ("4bit", link),
            POINTS,
            [(100 * a.accuracy, 100 * b.accuracy) for a, b in pairs],
        )


def judge_controls(results: Results) -> Iterator[Row]:
    """Yield whether learned widths are right more often than each control of no more bits."""
    for name in CONTROLS:
        pairs = _pair_by_network(results, LEARNED, name)
        yield make_claim(
            f"{LEARNED} are right more often than {name}",
            (LEARNED, name),
            POINTS,
            [(100 * a.accuracy, 100 * b.accuracy) for a, b in pairs],
        )
    pairs = _pair_by_network(results, "uniform widths", "random cuts")
    yield make_claim(
        "uniform widths: chosen cuts are right more often than random ones",
        ("chosen cuts", "random cuts"),
        POINTS,
        [(100 * a.accuracy, 100 * b.accuracy) for a, b in pairs],
    )


def judge_untrained(results: Results, scale: NarrowScale) -> Iterator[Row]:
    """Yield whether chosen cuts and principal components are better before any training."""
    for name in UNTRAINED:
        pairs = [
            pair
            for share in scale.shares
            for pair in _pair_by_network(results, f"{CLOSED}, 1/{share}", f"{name}, 1/{share}")
        ]
        yield make_claim(
            f"without training, the closed form is right more often than {name}",
            (CLOSED, name),
            POINTS,
            [(100 * a.accuracy, 100 * b.accuracy) for a, b in pairs],
        )


def _pair_by_network(
    results: Results, first: str, second: str
) -> list[tuple[NarrowResult, NarrowResult]]:
    named = {(c.network, c.seed, c.name): r for c, r in results.items()}
    return [
        (result, named[network, seed, second])
        for (network, seed, name), result in named.items()
        if name == first and (network, seed, second) in named
    ]


def make_claim(
    name: str, sides: tuple[str, str], unit: str, pairs: Sequence[tuple[float, float]]
) -> Row:
    """Return a claim that the first of each pair is larger, judged."""
    more, less = (_as_values([pair[k] for pair in pairs]) for k in (0, 1))
    return Claim(
        name=name, first=sides[0], second=sides[1], unit=unit, more=more, less=less
    ).as_row()


def _as_values(values: Sequence[float]) -> Values:
    return np.array(values, np.float64)


def compare_events(own: Results) -> Iterator[Row]:
    """Yield priced spikes as address events beside values of four bits at as many bits.

    The values are read between the points of their curve, seed by seed.
    """
    for name in dict.fromkeys(c.name for c in own if c.narrow.penalty):
        ours, theirs, bits = [], [], []
        for cell, result in own.items():
            if cell.name == name:
                curve = [
                    (float(r.bits), r.accuracy)
                    for c, r in own.items()
                    if (c.seed, c.narrow.link) == (cell.seed, "4bit")
                ]
                bits.append(result.least_bits)
                ours.append(100 * result.accuracy)
                theirs.append(100 * _read_within(curve, result.least_bits))
        sides = [asdict(summarise_seeds(values)) for values in (ours, theirs)]
        yield Row(
            case="spikes with a price, beside 4bit at as many bits",
            subject=name,
            peer="4bit",
            unit=POINTS,
            ours=sides[0]["mean"],
            theirs=sides[1]["mean"],
            ratio=find_ratio(sides[0]["mean"], sides[1]["mean"], "higher"),
            conditions={"at_bits": bits, "ours": sides[0], "theirs": sides[1]},
        )


def _read_within(curve: Sequence[tuple[float, float]], bits: float) -> float:
    """Return the accuracy at so many bits; beyond an end of the curve that of the end."""
    ends = [point[0] for point in curve]
    return read_accuracy(curve, min(max(bits, min(ends)), max(ends)))

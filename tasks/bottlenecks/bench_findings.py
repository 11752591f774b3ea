"""What ``neuro bench bottlenecks`` shows: claims, each judged by pairs of networks.

A pair consists of two networks that begin with the same original. No training occurs in two
pairs of a claim. Networks are found by the name of their arm, as "shallow, trained, width 8".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from tasks.bench.claim import Claim
from tasks.bench.experiment import Reached
from tasks.bench.rows import Row, find_ratio
from tasks.bottlenecks.controls import read_accuracy
from tasks.measures.statistics import summarise_seeds
from tasks.runs.task import ACCURACY

DEPTHS, SPIKING = ("shallow", "deep"), "spiking"
TRAINED, CLOSED = "trained", "closed form"
LEARNED, SCRATCH = "learned widths", "from scratch"
UNTRAINED = ("random cuts", "pruning")  # controls that need no training
CONTROLS = ("random cuts", "uniform widths", "no distillation", "pruning", CLOSED, SCRATCH)
LEAST = "least_bits"  # in the better code of spikes
POINTS, SHARE = "% right", "% of the accuracy lost"
Values = Mapping[str, Mapping[int, float]]  # by network and seed


def name_width(network: str, what: str, width: int) -> str:
    """Return the name of an arm or variant with one cut that ``width`` channels cross."""
    return f"{network}, {what}, width {width}"


def read_right(reached: Reached) -> Values:
    """Return the accuracies [%]."""
    right = {name: own[ACCURACY.name] for name, own in reached.items()}
    return {name: {s: 100 * value for s, value in own.items()} for name, own in right.items()}


def judge_untrained(shares: Sequence[int], reached: Reached) -> Iterator[Row]:
    """Yield whether the closed form at chosen cuts beats its controls before any training."""
    for name in UNTRAINED:
        yield make_claim(
            f"without training, the closed form is right more often than {name}",
            (CLOSED, name),
            read_right(reached),
            [(f"{n}, {CLOSED}, 1/{k}", f"{n}, {name}, 1/{k}") for k in shares for n in DEPTHS],
        )


def judge_depths(reached: Reached) -> Iterator[Row]:
    """Yield whether claims of Lin et al. 2024 hold: accuracy falls with width, and by depth.

    Closed forms are also compared by depth at the trained widths.
    """
    right = {name: own[ACCURACY.name] for name, own in reached.items()}
    originals = {name: right[name.partition(",")[0]] for name in right}
    lost = {
        name: {seed: 100 * (1 - value / originals[name][seed]) for seed, value in own.items()}
        for name, own in right.items()
    }
    trained = list_widths(TRAINED, reached)
    for what in (TRAINED, CLOSED):
        widths = list_widths(what, reached)
        wide, slim = widths[0], widths[-1]
        yield make_claim(
            f"{what}: accuracy falls from {wide} channels to {slim}",
            (str(wide), str(slim)),
            read_right(reached),
            [(name_width(n, what, wide), name_width(n, what, slim)) for n in DEPTHS],
        )
        for some in (trained, trained[-1:]):
            channels = ", ".join(map(str, some))
            yield make_claim(
                f"{what}: the shallow network loses more, {channels} channels",
                DEPTHS,
                lost,
                [(name_width("shallow", what, w), name_width("deep", what, w)) for w in some],
                SHARE,
            )


def list_widths(what: str, reached: Reached) -> list[int]:
    """Return the widths of a curve, widest first."""
    names = (name for name in reached if name.startswith(f"{DEPTHS[0]}, {what}, "))
    return sorted((int(name.rpartition(" ")[2]) for name in names), reverse=True)


def judge_controls(reached: Reached) -> Iterator[Row]:
    """Yield whether learned widths are more accurate than each control of no more bits."""
    right = read_right(reached)
    for name in CONTROLS:
        control = f"{LEARNED}, {CLOSED}" if name == CLOSED else name
        yield make_claim(
            f"{LEARNED} are right more often than {name}",
            (LEARNED, name),
            right,
            [(f"{n}, {LEARNED}", f"{n}, {control}") for n in DEPTHS],
        )
    yield make_claim(
        "uniform widths: chosen cuts are right more often than random ones",
        ("chosen cuts", "random cuts"),
        right,
        [(f"{n}, uniform widths", f"{n}, random cuts") for n in DEPTHS],
    )


def judge_links(links: Sequence[str], reached: Reached) -> Iterator[Row]:
    """Yield whether 4-bit values are more accurate than other links at equal bits."""
    for link in links:
        pairs = [
            (a, b)
            for a in reached
            for b in reached
            if (a.split(", ")[1:2], b.split(", ")[1:2]) == (["4bit"], [link])
            and reached[a]["bits"] == reached[b]["bits"]
        ]
        name = f"at equal bits 4bit is right more often than {link}"
        if pairs:
            yield make_claim(name, ("4bit", link), read_right(reached), pairs)


def judge_spikes(reached: Reached) -> Iterator[Row]:
    """Yield spikes against 4-bit values at equal bits, and priced spikes at their event bits.

    The accuracy of the values is interpolated on their curve, seed by seed.
    """
    yield from judge_links(("spikes",), reached)
    values = [own for name, own in reached.items() if name.startswith(f"{SPIKING}, 4bit, ")]
    for name in (name for name in reached if name.startswith(f"{SPIKING}, price ")):
        bits, ours = reached[name][LEAST], read_right(reached)[name]
        theirs = {
            seed: 100
            * read_within([(c[LEAST][seed], c[ACCURACY.name][seed]) for c in values], n)
            for seed, n in bits.items()
        }
        sides = [asdict(summarise_seeds(side.values())) for side in (ours, theirs)]
        first, second = (side["mean"] for side in sides)
        subject, at = name.partition(", ")[2], ", ".join(f"{n:,.0f}" for n in bits.values())
        yield Row(
            case="spikes with a price, beside 4bit at as many bits",
            subject=subject,
            peer="4bit",
            unit=POINTS,
            ours=first,
            theirs=second,
            ratio=find_ratio(first, second, "higher"),
            note=f"{subject}: at {at} bits spikes {first:.2f}, 4bit {second:.2f} {POINTS}",
            conditions={"at_bits": [*bits.values()], "ours": sides[0], "theirs": sides[1]},
        )


def read_within(curve: Sequence[tuple[float, float]], bits: float) -> float:
    """Return the accuracy at ``bits``; beyond an end of the curve, the accuracy of that end."""
    return read_accuracy(curve, min(max(bits, min(curve)[0]), max(curve)[0]))


def make_claim(
    name: str,
    sides: tuple[str, str],
    values: Values,
    pairs: Sequence[tuple[str, str]],
    unit: str = POINTS,
) -> Row:
    """Return the claim that the first network of each pair has the larger value, by seed."""
    more, less = np.array(
        [
            (own, values[second][seed])
            for first, second in pairs
            for seed, own in values[first].items()
        ]
    ).T
    first, second = sides
    claim = Claim(name=name, first=first, second=second, unit=unit, more=more, less=less)
    return claim.as_row()

"""Controls at equal bits: what else could explain the accuracy of a narrow network.

    random cuts       cuts drawn at random instead of chosen
    uniform widths    the same share of the channels at each cut
    no distillation   trained on labels alone, from the weights of the original
    from scratch      trained on labels alone, from random weights
    pruning           the most active channels cross unchanged, the others never

No control takes weights from the network with gates, because distillation has trained them.
Each control has the bits per sample of the network that it is compared with, or slightly fewer,
because channels are whole.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from tasks.bottlenecks.config import (
    BottleneckConfig,
    count_bits_of_channel,
    count_channels,
)
from tasks.bottlenecks.task import count_bits, find_image


def list_controls(config: BottleneckConfig, seed: int = 0) -> dict[str, BottleneckConfig]:
    """Return the configuration of each control of a narrow network, by name."""
    bits, narrow = count_bits(config), config.narrow
    plain = replace(narrow, gates="", begin="pca")
    drawn = draw_cuts(config, len(narrow.after), bits, seed)
    widths = find_uniform_widths(config, narrow.after, bits)
    return {
        "random cuts": replace(
            config,
            narrow=replace(plain, after=drawn, widths=find_uniform_widths(config, drawn, bits)),
        ),
        "uniform widths": replace(config, narrow=replace(plain, widths=widths)),
        "no distillation": replace(config, narrow=replace(plain, soft=0.0, features=0.0)),
        "from scratch": replace(
            config,
            narrow=replace(plain, begin="random", teacher="", teacher_weights=""),
        ),
        "pruning": replace(config, narrow=replace(plain, begin="channels")),
    }


def _count_of_channel(config: BottleneckConfig, after: int) -> int:
    return count_bits_of_channel(config, find_image(config)[1], after)


def draw_cuts(config: BottleneckConfig, cuts: int, bits: int, seed: int) -> tuple[int, ...]:
    """Return ``cuts`` random places at which one channel each needs at most ``bits`` in all.

    No cut leaves the read-out alone. Each choice has the same probability.

    Raises:
        ValueError: there is no such choice.
    """
    places = range(sum(config.blocks))
    cost = {k: _count_of_channel(config, k) for k in places}
    choices = [c for c in combinations(places, cuts) if sum(cost[k] for k in c) <= bits]
    if not choices or not cuts:
        raise ValueError(
            f"{cuts} cuts: none of the {len(places)} places of the network let a channel cross "
            f"at each in {bits:,} bits; ask for fewer cuts, at least 1, or allow more bits"
        )
    return choices[int(np.random.default_rng(seed).integers(len(choices)))]


def find_uniform_widths(
    config: BottleneckConfig, after: Sequence[int], bits: int
) -> tuple[int, ...]:
    """Return the largest widths of at most ``bits`` with the same share of channels per cut.

    Every cut has at least one channel.

    Raises:
        ValueError: one channel per cut already exceeds ``bits``.
    """
    channels = [count_channels(config, k) for k in after]
    cost = [_count_of_channel(config, k) for k in after]
    if sum(cost) > bits:
        raise ValueError(
            f"a channel at each of the cuts behind blocks {tuple(after)} has {sum(cost):,} "
            f"bits, more than {bits:,}; allow more bits, or fewer cuts"
        )
    shares = sorted({k / n for n in channels for k in range(1, n + 1)}, reverse=True)
    for share in shares:
        widths = tuple(max(1, math.floor(n * share + 1e-9)) for n in channels)
        if sum(w * c for w, c in zip(widths, cost, strict=True)) <= bits:
            return widths
    return (1,) * len(channels)


def read_accuracy(curve: Sequence[tuple[float, float]], bits: float) -> float:
    """Return the accuracy at ``bits`` on a curve of (bits, accuracy), linear in log bits.

    Raises:
        ValueError: ``bits`` is outside the range of the curve.
    """
    points = sorted(curve)
    if not points or not points[0][0] <= bits <= points[-1][0]:
        ends = f"{points[0][0]:g} to {points[-1][0]:g} bits" if points else "no bits"
        raise ValueError(f"the curve has {ends}, not {bits:g}; measure it there")
    x, y = np.array(points).T
    return float(np.interp(math.log2(bits), np.log2(x), y))

"""Where a run in integers departed from the rules of the float network, beyond rounding."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Excess:
    """The excess of one population in a run.

    several: ticks in which a neuron fired more than once.
    saturated: ticks in which a state stood at a bound of its bits.
    clipped: the same, where the bound was chosen so that it changes no spike on samples.
    of: number of ticks x neurons x samples.
    peak: the largest state, before its spikes were subtracted or its current fell.
    """

    several: int = 0
    saturated: int = 0
    clipped: int = 0
    of: int
    peak: int = 0

    def __add__(self, other: "Excess") -> "Excess":
        """Return the excess of both runs together."""
        return Excess(
            several=self.several + other.several,
            saturated=self.saturated + other.saturated,
            clipped=self.clipped + other.clipped,
            of=self.of + other.of,
            peak=max(self.peak, other.peak),
        )


def add_excess(one: Mapping[str, Excess], other: Mapping[str, Excess]) -> dict[str, Excess]:
    """Return the excess of both runs by population; pass {} for no run."""
    return {name: one[name] + x if name in one else x for name, x in other.items()}


def describe_excess(excess: Mapping[str, Excess]) -> list[str]:
    """Return what a run exceeded, one line per population and kind of excess."""
    lines = []
    for name, found in excess.items():
        if found.several:
            lines.append(
                f"{name}: fired more than once in a tick {found.several:,} times of "
                f"{found.of:,}, where the float network fires once; lower its weights or raise "
                "its threshold"
            )
        if found.saturated:
            lines.append(
                f"{name}: a state stood at a bound of its bits {found.saturated:,} times of "
                f"{found.of:,}, where sums saturate; use fewer inputs or shorter time constants"
            )
        if found.clipped:
            lines.append(
                f"{name}: v stood at a bound of its bits {found.clipped:,} times of "
                f"{found.of:,}; no spike changes by it in the first batch of samples"
            )
    return lines

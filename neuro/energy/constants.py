"""A published number with its range and origin, and arithmetic on such ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Confidence = Literal["measured", "published", "source", "derived", "memory", "assumed"]


@dataclass(frozen=True)
class Bounds:
    """The bounds of a quantity without a published nominal value."""

    low: float
    high: float

    @property
    def nominal(self) -> None:
        """None, which compares with no number."""
        return None


@dataclass(frozen=True)
class Interval:
    """A quantity with its bounds: ``low <= nominal <= high``."""

    low: float = 0.0
    nominal: float = 0.0
    high: float = 0.0

    def __add__(self, other: Interval) -> Interval:
        """Return the sum, bound by bound."""
        return Interval(
            self.low + other.low, self.nominal + other.nominal, self.high + other.high
        )

    def __mul__(self, other: Interval | float | int) -> Interval:
        """Return the product, bound by bound; both sides are >= 0."""
        if not isinstance(other, Interval):
            other = Interval.exact(other)
        return Interval(
            self.low * other.low, self.nominal * other.nominal, self.high * other.high
        )

    @staticmethod
    def exact(x: float | int) -> Interval:
        """Return a quantity without uncertainty."""
        return Interval(float(x), float(x), float(x))


def sum_intervals(parts: list[Interval]) -> Interval:
    """Return the sum of the parts, bound by bound."""
    return sum(parts, Interval())


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number of a chip, in SI units, without a published nominal value.

    low, high: the range that the sources leave open.
    unit: "J", "s", "W" or what is counted. process, condition: the silicon and the conditions,
        such as the voltage, for which the number holds.
    source: the publication, or what it was derived from and how.
    confidence: "measured" on a chip; "published", text seen; "source", read in public code;
        "derived" from such numbers; "memory", quoted without re-reading the paper; "assumed".

    Raises:
        ValueError: low and high are not in order, or low is below zero.
    """

    low: float
    high: float
    unit: str
    process: str
    condition: str
    source: str
    confidence: Confidence

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(
                f"a range needs 0 <= low <= high, got {self.low}, {self.high} {self.unit} "
                f"({self.source}); exchange them"
            )


@dataclass(frozen=True, kw_only=True)
class Constant(Range):
    """One number of a chip: a :class:`Range` with its nominal value.

    Raises:
        ValueError: the range does not contain the value, or reaches below zero.
    """

    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high:
            raise ValueError(
                f"a constant needs 0 <= low <= value <= high, got {self.low}, {self.value}, "
                f"{self.high} {self.unit} ({self.source}); widen the range"
            )

    @property
    def interval(self) -> Interval:
        """The value with its range."""
        return Interval(self.low, self.value, self.high)

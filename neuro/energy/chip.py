"""A chip: what an operation costs, how long it takes, what fits on a core; ranges of numbers.

No vendor has published a full table. Each number says where it comes from and how far to trust
it; what nobody published is zero at the low end and says so. The numbers stand in the files of
``chips/`` (:mod:`neuro.energy.chip_file`).
"""

import math
import sys
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

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

    def __add__(self, other: "Interval") -> "Interval":
        """Return the sum, bound by bound."""
        return Interval(
            self.low + other.low, self.nominal + other.nominal, self.high + other.high
        )

    def __mul__(self, other: "Interval | float | int") -> "Interval":
        """Return the product, bound by bound; both sides are >= 0."""
        if not isinstance(other, Interval):
            other = Interval.exact(other)
        return Interval(
            self.low * other.low, self.nominal * other.nominal, self.high * other.high
        )

    @staticmethod
    def exact(x: float | int) -> "Interval":
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


class Allowed(NamedTuple):
    """The values that a constant may take.

    unit: in SI, or what is counted. exact: a value without a range. may_lack: it may be a
    :class:`Range`, of which nobody published a nominal value.
    """

    unit: str
    exact: bool = False
    may_lack: bool = False
    least: float = 0.0
    most: float = sys.float_info.max

    @property
    def counts(self) -> bool:
        """Whether the value is a whole number of something."""
        return self.unit not in ("J", "s", "W", "Hz", "cycles")


InJoules = Annotated[Constant, Allowed("J")]
InSeconds = Annotated[Constant, Allowed("s")]
InWatts = Annotated[Constant, Allowed("W")]


@dataclass(frozen=True, kw_only=True)
class OperationEnergies:
    """Energy of one operation [J].

    synapse, synapse_conv: one synaptic event through a stored weight, or a shared kernel.
    inactive, active: one neuron for one tick, at rest and active (active: in full).
    spike: on top of that for a neuron that fires.
    message: one spike to one destination core. hop_x, hop_y: one tile further along the mesh.
    crossing: one message from chip to chip.
    """

    synapse: InJoules
    synapse_conv: InJoules
    inactive: InJoules
    active: InJoules
    spike: InJoules
    message: InJoules
    hop_x: InJoules
    hop_y: InJoules
    crossing: InJoules


@dataclass(frozen=True, kw_only=True)
class OperationTimes:
    """Time that one operation takes a core [s]; sync: the barrier that ends a tick."""

    synapse: InSeconds
    synapse_conv: InSeconds
    inactive: InSeconds
    active: InSeconds
    spike: InSeconds
    message: InSeconds
    sync: InSeconds


@dataclass(frozen=True, kw_only=True)
class ChipPower:
    """Power [W] of one chip at rest (static), and of what drives it, a chip (host).

    Where no nominal host power is published, systems of the chip have no nominal energy.
    """

    static: InWatts
    host: Annotated[Range, Allowed("W", may_lack=True)]


@dataclass(frozen=True, kw_only=True)
class ChipLimits:
    """What fits. Infinite: not published, so not checked.

    neurons, in_axons, out_axons, synapse_words (of 64 bits): per core.
    index_bits: per stored weight beside its own bits. header_bits: per 64 stored weights.
    cores: per chip. tile_cores: per tile. tile_rows: height of the mesh in tiles.
    delay_steps: that a spike may wait before a connection, which itself takes one step.
    """

    neurons: Annotated[Constant, Allowed("neurons", exact=True, least=1)]
    in_axons: Annotated[Constant, Allowed("axons", exact=True, least=1, most=math.inf)]
    out_axons: Annotated[Constant, Allowed("axons", exact=True, least=1, most=math.inf)]
    synapse_words: Annotated[Constant, Allowed("words", exact=True, least=1, most=math.inf)]
    index_bits: Annotated[Constant, Allowed("bits", exact=True)]
    header_bits: Annotated[Constant, Allowed("bits", exact=True)]
    cores: Annotated[Constant, Allowed("cores", exact=True, least=1)]
    tile_cores: Annotated[Constant, Allowed("cores", exact=True, least=1)]
    tile_rows: Annotated[Constant, Allowed("tiles", exact=True, least=1)]
    delay_steps: Annotated[Constant, Allowed("steps", exact=True, most=math.inf)]


class Barrier(NamedTuple):
    """Nominal time [s] of the barrier that ends a tick, among so many tiles."""

    tiles: int
    time: Constant


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What all kinds of chips share.

    name: of its file. title, description: of the set of constants. hardware: what messages call
        the chip. base: name of the chip whose hardware this is, with other constants; else "".
    """

    name: str
    title: str
    description: str
    hardware: str
    base: str
    charged_is_active: bool

    @property
    def cores_per_chip(self) -> float:
        """Cores of one chip."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Chip(Hardware):
    """A mesh of cores, and one set of constants for it.

    programmable: neurons follow a program, not only a fixed LIF with hard reset.
    charged_is_active: a neuron whose membrane is not zero is active, too, not only one that
        something reached (:mod:`neuro.energy.active`).
    barrier: by growing numbers of tiles; between them the nominal ``time.sync`` of a system is
        interpolated.
    """

    programmable: bool
    energy: OperationEnergies
    time: OperationTimes
    power: ChipPower
    limits: ChipLimits
    barrier: tuple[Barrier, ...]

    @property
    def cores_per_chip(self) -> float:
        """Cores of one chip."""
        return self.limits.cores.value

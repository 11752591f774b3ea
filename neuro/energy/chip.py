"""A chip: the cost and time of each operation, what fits on a core; and ranges of numbers.

No vendor has published a full table. Each number has a source and a degree of confidence; a
number that nobody published is zero at the low end and says so. The numbers are in the files of
``chips/`` (:mod:`neuro.energy.chip_file`).
"""

import math
import sys
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

Confidence = Literal["measured", "published", "source", "derived", "memory", "assumed"]


@dataclass(frozen=True)
class Bounds:
    """The bounds of a quantity that has no published nominal value."""

    low: float
    high: float

    @property
    def nominal(self) -> None:
        """None: there is no nominal value."""
        return None


@dataclass(frozen=True)
class Interval:
    """A quantity and its bounds: ``low <= nominal <= high``."""

    low: float = 0.0
    nominal: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Interval") -> "Interval":
        """Return the sum, bound by bound."""
        return Interval(
            self.low + other.low, self.nominal + other.nominal, self.high + other.high
        )

    def __mul__(self, other: "Interval | float | int") -> "Interval":
        """Return the product, bound by bound; both factors must be >= 0."""
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
    unit: "J", "s", "W" or what is counted.
    process, condition: the silicon and the conditions, such as the voltage, for which the
        number holds.
    source: the publication, or how the number was derived and from what.
    confidence: "measured" on a chip; "published", the text was seen; "source", read in public
        code; "derived" from such numbers; "memory", quoted without re-reading the paper;
        "assumed".

    Raises:
        ValueError: low and high are not in order, or low is negative.
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
        ValueError: the range does not contain the value, or includes negative numbers.
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

    unit: in SI, or what is counted.
    exact: whether it is a value without a range.
    may_lack: whether it may be a :class:`Range`, for which nobody published a nominal value.
    """

    unit: str
    exact: bool = False
    may_lack: bool = False
    least: float = 0.0
    most: float = sys.float_info.max

    @property
    def counts(self) -> bool:
        """Whether the value is a number of things, which must be whole."""
        return self.unit not in ("J", "s", "W", "Hz", "cycles")


InJoules = Annotated[Constant, Allowed("J")]
InSeconds = Annotated[Constant, Allowed("s")]
InWatts = Annotated[Constant, Allowed("W")]


@dataclass(frozen=True, kw_only=True)
class OperationEnergies:
    """Energy of one operation [J].

    synapse, synapse_conv: one synaptic event through a stored weight, or through a shared
        kernel.
    inactive, active: one neuron for one tick, at rest or active (active is the full energy).
    spike: additional energy of a neuron that fires.
    message: one spike to one destination core.
    hop_x, hop_y: one tile further along the mesh.
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
    """Time that a core needs for one operation [s]; sync: the barrier that ends a tick."""

    synapse: InSeconds
    synapse_conv: InSeconds
    inactive: InSeconds
    active: InSeconds
    spike: InSeconds
    message: InSeconds
    sync: InSeconds


@dataclass(frozen=True, kw_only=True)
class ChipPower:
    """Power [W] per chip: of the chip at rest (static), and of its share of the host.

    Without a published nominal host power, systems with the chip have no nominal energy.
    """

    static: InWatts
    host: Annotated[Range, Allowed("W", may_lack=True)]


@dataclass(frozen=True, kw_only=True)
class ChipLimits:
    """What fits on the chip. An infinite limit is not published, and therefore not checked.

    neurons, in_axons, out_axons, synapse_words (of 64 bits): per core.
    index_bits: per stored weight, in addition to the weight's own bits.
    header_bits: per 64 stored weights.
    cores: per chip.
    tile_cores: per tile.
    tile_rows: height of the mesh in tiles.
    delay_steps: how long a spike may wait before a connection, which itself takes one step.
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
    """Nominal time [s] of the barrier that ends a tick on ``tiles`` tiles."""

    tiles: int
    time: Constant


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What all kinds of chips have in common.

    name: name of its file.
    title, description: of the set of constants.
    hardware: name of the chip in messages.
    base: name of the chip whose hardware this is, with other constants; "" if there is none.
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

    programmable: whether neurons follow a program, instead of a fixed LIF with hard reset.
    charged_is_active: whether a neuron with a non-zero membrane is active too, not only a
        neuron that something reached (:mod:`neuro.energy.active`).
    barrier: by increasing number of tiles; the nominal ``time.sync`` is interpolated between
        them.
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

"""A chip: what an operation costs, how long it takes, and what fits on a core.

No vendor has published a full table. Each number says where it comes from and how far to trust
it; what nobody published is zero at the low end and says so. The numbers stand in the files of
``chips/`` (:mod:`neuro.energy.chip_file`).
"""

import math
import sys
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from neuro.energy.constants import Constant, Range


class Allowed(NamedTuple):
    """The values that a constant may take.

    unit: in SI, or what is counted. exact: a value without a range. may_lack: it may be a
    :class:`neuro.energy.constants.Range`, of which nobody published a nominal value.
    """

    unit: str
    exact: bool = False
    may_lack: bool = False
    least: float = 0.0
    most: float = sys.float_info.max

    @property
    def counts(self) -> bool:
        """Whether the value is a whole number of something."""
        return self.unit not in ("J", "s", "W")


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
class Chip:
    """The hardware of a chip, and one set of constants for it.

    name: of its file. title, description: of the set of constants. hardware: what messages call
        the chip. base: name of the chip whose hardware this is, with other constants; else "".
    programmable: neurons follow a program, not only a fixed LIF with hard reset.
    charged_is_active: a neuron whose membrane is not zero is active, too, not only one that
        something reached (:mod:`neuro.energy.active`).
    barrier: by growing numbers of tiles; between them the nominal ``time.sync`` of a system is
        interpolated.
    """

    name: str
    title: str
    description: str
    hardware: str
    programmable: bool
    charged_is_active: bool
    base: str
    energy: OperationEnergies
    time: OperationTimes
    power: ChipPower
    limits: ChipLimits
    barrier: tuple[Barrier, ...]

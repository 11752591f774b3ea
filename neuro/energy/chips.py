"""Chips as data: what an operation costs, how long it takes, and what fits on a core.

No vendor has published a full table. Each number says where it comes from and how far to trust
it; what nobody published is zero at the low end and says so.
"""

from dataclasses import dataclass, replace

from neuro.energy.constants import Constant, Origin


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What one operation costs [J].

    synapse, synapse_conv: one synaptic event through a stored weight, or a shared kernel.
    inactive, active: one neuron for one tick, without and with input (active: in full).
    spike: on top of that for a neuron that fires.
    message: one spike to one destination core. hop_x, hop_y: one tile further along the mesh.
    crossing: one message from chip to chip.
    """

    synapse: Constant
    synapse_conv: Constant
    inactive: Constant
    active: Constant
    spike: Constant
    message: Constant
    hop_x: Constant
    hop_y: Constant
    crossing: Constant


@dataclass(frozen=True, kw_only=True)
class Time:
    """How long one operation takes a core [s], and the barrier that ends a tick."""

    synapse: Constant
    synapse_conv: Constant
    inactive: Constant
    active: Constant
    spike: Constant
    message: Constant
    sync: Constant


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What fits. Infinite: not published, so not checked.

    neurons, in_axons, out_axons, synapse_words (of 64 bits): per core.
    index_bits: per stored weight beside its own bits. header_bits: per 64 stored weights.
    cores: per chip. tile_cores: per tile. tile_rows: height of the mesh in tiles.
    """

    neurons: Constant
    in_axons: Constant
    out_axons: Constant
    synapse_words: Constant
    index_bits: Constant
    header_bits: Constant
    cores: Constant
    tile_cores: Constant
    tile_rows: Constant


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One chip. static: power of one chip at rest [W]. host: of what drives it, a chip [W].

    barrier: (tiles, seconds) between which the nominal ``time.sync`` of a smaller system lies.
    """

    name: str
    title: str
    energy: Energy
    time: Time
    static: Constant
    host: Constant
    limits: Limits
    barrier: tuple[tuple[int, float], ...]


_DAVIES = "Davies et al. 2018, IEEE Micro 38(1), 82-99"
_SANAFE = "SANA-FE 2.2.9, loihi.yaml"
_HALA_POINT = "Intel 2024, Hala Point: 1152 chips, 380 T synaptic and 240 T neuron op/s, 2600 W"
_PILOTNET = "Intel lava-dl, PilotNet LIF benchmark notebook (Loihi 2)"
_NENGO = "nengo-loihi, hardware limits"
_BLOUW = "Blouw et al. 2019, keyword spotting on Loihi"
_SPICE = "0.75 V, SPICE"
_FITTED = "fitted to three applications"
_BUS = "any bus between chips, not Loihi's own"
_BARRIER = ((1, 113e-9), (32, 465e-9))  # Davies 2018
_INF = float("inf")


def loihi1() -> Chip:
    """Return Loihi 1 with the constants of its first paper (SPICE, before silicon).

    The nominal value is the paper's; SANA-FE's, fitted to silicon, is the other end of the
    range where it differs.
    """
    silicon = Origin(
        process="Intel 14 nm",
        condition=_SPICE,
        source=f"{_DAVIES}; range: {_SANAFE}",
        confidence="memory",
    )
    unpriced = silicon.but(f"no item in {_DAVIES}; range: {_SANAFE}", "source", _FITTED)
    bus = silicon.but("32 bit x 0.25 pJ to 64 bit x 10 pJ; geometric mean", "assumed", _BUS)
    keyword = "measured on a board, keyword spotting"
    idle = silicon.but(f"{_BLOUW}: 29 mW idle", "memory", keyword)
    running = silicon.but(
        f"{_BLOUW}: 110 mW running - 29 mW idle; that network's own dynamic power is in it",
        "memory",
        keyword,
    )
    return Chip(
        name="loihi1",
        title="Loihi 1 (Davies 2018)",
        energy=Energy(
            synapse=silicon.pj(23.6, high=35.5),
            synapse_conv=silicon.pj(23.6, high=24.0),
            inactive=silicon.pj(52.0, low=51.2),
            active=silicon.pj(81.0, low=72.8),
            spike=unpriced.pj(0.0, high=69.3),
            message=silicon.pj(1.7, high=111.0),
            hop_x=silicon.pj(3.0),
            hop_y=silicon.pj(4.0, high=4.2),
            crossing=bus.pj(71.6, low=8.0, high=640.0),
        ),
        time=Time(
            synapse=silicon.ns(3.5, high=4.7),
            synapse_conv=silicon.ns(3.5, low=3.1),
            inactive=silicon.ns(5.3, high=6.0),
            active=silicon.ns(8.4, high=9.7),
            spike=unpriced.ns(0.0, high=30.0),
            message=silicon.ns(2.1, high=16.0),
            sync=silicon.ns(465.0, low=113.0, high=1800.0),
        ),
        static=idle.si(0.029, "W", low=0.0),
        host=running.si(0.081, "W", low=0.0),
        limits=_limits_of_loihi1(),
        barrier=_BARRIER,
    )


def loihi1_sanafe() -> Chip:
    """Return Loihi 1 with SANA-FE's constants, fitted to silicon.

    Range: the accuracy that its authors claim against a real Loihi, 12 % of the energy and 25 %
    of the time. Axons into a core cost time only. SANA-FE calls a neuron updated if it has
    charge, input or bias; here it is active with input, bias or a spike only, which is cheaper
    for a neuron that still leaks: the energies are equal for the same count of active neurons.
    """
    silicon = Origin(
        process="Intel 14 nm",
        condition=_FITTED,
        source=f"{_SANAFE}; range: SANA-FE, TCAD 2025",
        confidence="source",
        spread=0.12,
    )
    clock = replace(silicon, spread=0.25)
    first = loihi1()
    return Chip(
        name="loihi1_sanafe",
        title="Loihi 1 (SANA-FE)",
        energy=Energy(
            synapse=silicon.pj(35.5),
            synapse_conv=silicon.pj(24.0),
            inactive=silicon.pj(51.2),
            active=silicon.pj(51.2 + 21.6),
            spike=silicon.pj(69.3),
            message=silicon.pj(111.0),
            hop_x=silicon.pj(3.0),
            hop_y=silicon.pj(4.2),
            crossing=first.energy.crossing,
        ),
        time=Time(
            synapse=clock.ns(3.8),
            synapse_conv=clock.ns(3.1),
            inactive=clock.ns(6.0),
            active=clock.ns(6.0 + 3.7),
            spike=clock.ns(30.0),
            message=clock.ns(16.0),
            sync=clock.ns(1800.0, low=600.0),
        ),
        static=first.static,
        host=first.host,
        limits=first.limits,
        barrier=((1, 0.6e-6), (2, 1.0e-6), (4, 1.4e-6), (29, 1.8e-6)),
    )


def loihi2() -> Chip:
    """Return Loihi 2, for which Intel published no table: ranges, and one choice inside them.

    The nominal value is our choice, not Intel's: neurons as on Loihi 1, and the cost of a
    synaptic event that then reproduces the one public measurement, PilotNet's 68.35 uJ a tick.
    The low end follows from Hala Point at full rate with all its power charged to one kind of
    operation.
    """
    silicon = Origin(
        process="Intel 4",
        condition="nominal is a choice, see source",
        source=f"nominal fits {_PILOTNET} with neurons of 81 pJ; low: {_HALA_POINT}",
        confidence="derived",
    )
    borrowed = silicon.but(f"not published; nominal: Loihi 1, {_DAVIES}", "assumed", _SPICE)
    neuron = silicon.but(f"nominal: Loihi 1, {_DAVIES}; low: {_HALA_POINT}", "assumed", _SPICE)
    rate = silicon.but(
        f"{_PILOTNET}: its busiest cores; low: {_HALA_POINT}", "derived", "measured step times"
    )
    board = silicon.but("Intel lava-dl, two PilotNet notebooks", "measured", "on Oheo Gulch")
    host = silicon.but(
        f"not measured; high: all power of {_HALA_POINT}", "assumed", "Hala Point at full rate"
    )
    bus = silicon.but("32 bit x 0.25 pJ to 64 bit x 10 pJ; geometric mean", "assumed", _BUS)
    return Chip(
        name="loihi2",
        title="Loihi 2 (range)",
        energy=Energy(
            synapse=silicon.pj(24.5, low=6.84, high=30.0),
            synapse_conv=silicon.pj(24.5, low=6.84, high=30.0),
            inactive=neuron.pj(52.0, low=0.0),
            active=neuron.pj(81.0, low=10.8),
            spike=borrowed.pj(0.0, high=69.3),
            message=borrowed.pj(1.7, low=0.0, high=111.0),
            hop_x=borrowed.pj(3.0, low=0.0),
            hop_y=borrowed.pj(4.0, low=0.0, high=4.2),
            crossing=bus.pj(71.6, low=8.0, high=640.0),
        ),
        time=Time(
            synapse=rate.ns(1.03, low=0.37, high=1.06),
            synapse_conv=rate.ns(1.03, low=0.37, high=1.06),
            inactive=neuron.ns(5.3, low=0.0),
            active=neuron.ns(8.4, low=0.58),
            spike=borrowed.ns(0.0, high=30.0),
            message=borrowed.ns(2.1, low=0.0, high=16.0),
            sync=borrowed.ns(465.0, low=113.0, high=1800.0),
        ),
        static=board.si(0.232, "W", high=0.282),
        host=host.si(0.0, "W", high=2.26),
        limits=_limits_of_loihi2(),
        barrier=_BARRIER,
    )


def _limits_of_loihi1() -> Limits:
    core = Origin(
        process="Intel 14 nm", condition="hardware", source=_NENGO, confidence="source"
    )
    mesh = core.but(_DAVIES, "memory", "hardware")
    return Limits(
        neurons=core.si(1024.0, "neurons"),
        in_axons=core.si(4096.0, "axons"),
        out_axons=core.si(4096.0, "axons"),
        synapse_words=core.si(16384.0, "words"),
        index_bits=core.si(0.0, "bits"),
        header_bits=core.si(10.0, "bits"),
        cores=mesh.si(128.0, "cores"),
        tile_cores=mesh.si(4.0, "cores"),
        tile_rows=mesh.si(4.0, "tiles"),
    )


def _limits_of_loihi2() -> Limits:
    core = Origin(
        process="Intel 4",
        condition="compiler log",
        source=f"resource log in {_PILOTNET}",
        confidence="derived",
    )
    unknown = core.but("not published, not checked", "assumed", "unknown")
    sheet = core.but("Intel 2021, Loihi 2 technology brief", "memory", "hardware")
    mesh = core.but("Loihi 1's mesh", "assumed", "hardware of Loihi 1")
    return Limits(
        neurons=sheet.si(8192.0, "neurons"),
        in_axons=unknown.si(_INF, "axons"),
        out_axons=unknown.si(_INF, "axons"),
        synapse_words=core.si(12000.0, "words"),
        index_bits=core.si(12.0, "bits"),
        header_bits=core.si(0.0, "bits"),
        cores=sheet.si(120.0, "cores"),
        tile_cores=mesh.si(4.0, "cores"),
        tile_rows=mesh.si(4.0, "tiles"),
    )


CHIPS = (loihi1(), loihi1_sanafe(), loihi2())

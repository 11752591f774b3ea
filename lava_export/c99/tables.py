"""The tables of a LoihiProgram for the C runtime: which integers it holds, and how wide.

The sums of a tick travel in ports, rings of (longest delay + 1) slots. Connections into a
population share one port, except those whose sum is shifted or cut before it is added.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lava_export.checks import sum_absolutes
from lava_export.population import CODERS, STATE_LIMIT, SUM_LIMIT, SUMS
from lava_export.program import LoihiConnection, LoihiProgram, Population
from lava_export.reference import order_populations

INT32 = 2**31


@dataclass
class Port:
    """One ring of sums, see ``net_port`` of ``runtime.h``."""

    size: int
    slots: int = 1
    channels: int = 1
    divisor: int = 1
    modulo: bool = False

    @property
    def length(self) -> int:
        """Number of sums."""
        return self.slots * self.size


@dataclass
class Tables:
    """What C needs to know of a program.

    populations: in the order of a tick.
    connections: by source, in the order of the populations.
    ports: those of one population lie together.
    port_of: port of each connection.
    first_port: the first port of each population, and the number of ports.
    """

    program: LoihiProgram
    populations: list[Population]
    connections: list[LoihiConnection]
    ports: list[Port] = field(default_factory=list)
    port_of: dict[LoihiConnection, int] = field(default_factory=dict)
    first_port: list[int] = field(default_factory=lambda: [0])

    @cached_property
    def index_of(self) -> dict[str, int]:
        """Index of each population."""
        return {p.name: i for i, p in enumerate(self.populations)}

    @cached_property
    def sum_type(self) -> str:
        """The C type of a sum: no stimulus makes it overflow."""
        worst = [bound_sum(self.program, c) for c in self.connections]
        return "int32_t" if max(worst, default=0) < INT32 else "int64_t"

    @cached_property
    def current_type(self) -> str:
        """The C type of a current u: no stimulus makes it overflow."""
        wide = any(p.kind not in SUMS and self._bound_current(p) >= INT32 for p in self.neurons)
        return "int64_t" if wide else "int32_t"

    @cached_property
    def index_type(self) -> str:
        """The C type of the index of a neuron."""
        return "uint16_t" if max(p.size for p in self.populations) <= 2**16 else "uint32_t"

    @property
    def neurons(self) -> list[Population]:
        """The populations that are not inputs."""
        return [p for p in self.populations if p.kind != "input"]

    def channels(self, p: Population) -> int:
        """Channels of the ports that are laid out channel last; 1: there are none."""
        first, end = (self.first_port[self.index_of[p.name] + k] for k in (0, 1))
        return max((port.channels for port in self.ports[first:end]), default=1)

    def _bound_current(self, p: Population) -> int:
        total = sum(bound_sum(self.program, c) for c in self.program.into(p.name))
        most = 64 * min(total, SUM_LIMIT) * 4096
        return most // (1 + int(p.du.min())) + 2 * STATE_LIMIT


def bound_sum(program: LoihiProgram, c: LoihiConnection) -> int:
    """Return a bound of |sum| in a port that a connection shares, over all stimuli."""
    shared = [c] if has_own_port(program, c) else program.into(c.target)
    return sum(
        max(int(sum_absolutes(k).max(initial=0)), 2)
        * program[k.source].largest
        * 2 ** max(k.weight_exp, 0)
        for k in shared
        if k is c or not has_own_port(program, k)
    )


def has_own_port(program: LoihiProgram, c: LoihiConnection) -> bool:
    """Return whether the sum of a connection is shifted, cut or laid out by itself."""
    return c.weight_exp < 0 or c.kind == "conv"


def make_tables(program: LoihiProgram) -> Tables:
    """Return the tables of a program."""
    order = [program[name] for name in order_populations(program)]
    leaving = [c for p in order for c in program.connections if c.source == p.name]
    tables = Tables(program, order, leaving)
    for p in order:
        shared = None
        for c in program.into(p.name):
            if has_own_port(program, c):
                at = len(tables.ports)
                tables.ports.append(_make_port(program, p, c))
            else:
                if shared is None:
                    shared = len(tables.ports)
                    tables.ports.append(Port(p.size))
                at = shared
            port = tables.ports[at]
            port.slots = max(port.slots, program.delay(c) + 1)
            tables.port_of[c] = at
        tables.first_port.append(len(tables.ports))
    return tables


def _make_port(program: LoihiProgram, p: Population, c: LoihiConnection) -> Port:
    largest = int(sum_absolutes(c).max(initial=0)) * program[c.source].largest
    conv = c.kind == "conv"
    return Port(
        size=p.size,
        channels=len(c.weight) if conv else 1,
        divisor=2 ** max(-c.weight_exp, 0),
        modulo=conv and largest >= STATE_LIMIT,
    )


@dataclass(frozen=True)
class Weights:
    """The weights of a connection as C stores them: each counts ``factor``."""

    values: np.ndarray
    factor: int

    @property
    def type(self) -> str:
        """The C type of a weight."""
        return {1: "int8_t", 2: "int16_t"}[self.values.itemsize]


def store_weights(c: LoihiConnection) -> Weights:
    """Return weights in the order of the runtime, in the fewest bytes that hold them."""
    ordered = {
        "dense": lambda: c.weight.T,
        "conv": lambda: c.weight.transpose(1, 2, 3, 0),
        "sparse": lambda: c.weight[sort_by_source(c)],
        "identity": lambda: c.weight,
    }[c.kind]()
    flat = np.ascontiguousarray(ordered).ravel()
    factor = 1 if _fits_byte(flat) or (flat % 2).any() or not _fits_byte(flat // 2) else 2
    flat = flat // factor
    kept = flat.astype(np.int8 if _fits_byte(flat) else np.int16)
    return Weights(kept, factor * 2 ** max(c.weight_exp, 0))


def _fits_byte(values: np.ndarray) -> bool:
    return bool((np.abs(values + 0.5) < 128).all())


def sort_by_source(c: LoihiConnection) -> np.ndarray:
    """Return the order of a sparse connection's synapses by source, then by target."""
    return np.lexsort(c.places)


def list_starts(c: LoihiConnection) -> np.ndarray:
    """Return the first synapse of each source of a sparse connection, and their number."""
    counts = np.bincount(c.places[1], minlength=c.sizes[1])
    return np.concatenate([[0], np.cumsum(counts)])


def list_parameters(p: Population) -> dict[str, np.ndarray]:
    """Return the parameters of a population as C computes with them, int64."""
    du, dv, da, vth, beta = (
        x.astype(np.int64) for x in (p.du, p.dv, p.da, p.vth, p.beta)
    )
    coder = p.kind in SUMS
    return {
        "keep_u": 4095 - du,
        "keep_v": 4096 - dv,
        "keep_a": 4096 - da,
        "threshold": vth if coder else vth * 64,
        "lowest": np.zeros(1, np.int64) if p.vth_low is None else p.lowest,
        "reset": p.after_hard if p.hard else p.subtracted,
        "rise": beta * 64,
        "bias": p.bias,
    }


def list_states(p: Population, tables: Tables) -> dict[str, str]:
    """Return the C type of each state that a population keeps from tick to tick."""
    if p.kind == "input":
        return {}
    if p.kind in SUMS:
        names = [] if p.kind == "delta" else ["v"]
        names += ["a", "residue"] if p.kind in CODERS else []
        names += ["error"] if p.cumulative else []
        return dict.fromkeys(names, "int32_t")
    states = {"u": tables.current_type} if (p.du != 4095).any() else {}
    states["v"] = "int32_t"
    if p.kind != "li" and p.beta.any():
        states["a"] = "int32_t"
    if p.refractory:
        states["wait"] = "uint8_t"
    return states


def count_bytes(type_: str) -> int:
    """Return the size of a C type, such as int32_t."""
    return int(type_.strip("uint_")) // 8


def count_ram(tables: Tables) -> int:
    """Return the bytes of all states, sums and lists of spikes."""
    states = sum(
        p.size * count_bytes(t) for p in tables.neurons for t in list_states(p, tables).values()
    )
    fired = sum(
        p.size * (count_bytes(tables.index_type) + 4 * p.signed)
        for p in tables.populations
        if p.fires
    )
    sums = sum(port.length for port in tables.ports) * count_bytes(tables.sum_type)
    return states + fired + sums


def count_synapses(c: LoihiConnection) -> float:
    """Return the synapses of one source neuron: the mean over all."""
    if c.kind == "conv":
        return math.prod(c.out_shape) * math.prod(c.weight.shape[1:]) / c.in_size
    return c.weight.size / c.in_size

"""Which integers the C runtime holds for a LoihiProgram, and how wide they are.

The sums of a tick travel in ports, rings of (longest delay + 1) slots. Connections into a
population share one port, except those whose sum is shifted, cut to 24 bits, or delayed by
target, by itself.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lava_export.checks import sum_absolutes
from lava_export.population import CODERS, STATE_LIMIT, SUM_LIMIT, SUMS
from lava_export.program import LoihiConnection, LoihiProgram, Population
from lava_export.reference import order_populations

INT32 = 2**31
LONGEST_RUN = 2**31
BYTES = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int64_t": 8}  # others: 4


class SumPort(NamedTuple):
    """A ring of sums: the connections that add to it, and ``net_port`` of ``runtime.h``."""

    connections: tuple[LoihiConnection, ...]
    size: int
    slots: int
    channels: int
    divisor: int
    modulo: int
    delays: np.ndarray | None


class Weights(NamedTuple):
    """The weights of a connection in the order of the runtime; each counts ``factor``."""

    values: np.ndarray
    factor: int


@dataclass(frozen=True)
class ProgramTables:
    """A program as the runtime holds it."""

    program: LoihiProgram

    @property
    def ticks(self) -> int:
        """Ticks after which the runtime refuses: t and a delay have 32 bits together."""
        return min(self.program.ticks or LONGEST_RUN, LONGEST_RUN)

    @cached_property
    def populations(self) -> list[Population]:
        """The populations in the order of a tick."""
        return [self.program[name] for name in order_populations(self.program)]

    @cached_property
    def connections(self) -> list[LoihiConnection]:
        """The connections by source, in the order of the populations."""
        every = self.program.connections
        return [c for p in self.populations for c in every if c.source == p.name]

    @cached_property
    def ports(self) -> list[SumPort]:
        """The ports by target, in the order of the populations."""
        return [port for p in self.populations for port in self.list_ports(p)]

    def list_ports(self, p: Population) -> list[SumPort]:
        """Return the ports of a population."""
        groups = defaultdict(list)
        for i, c in enumerate(self.program.into(p.name)):
            alone = c.weight_exp < 0 or c.kind == "conv" or c.delays_out is not None
            groups[i if alone else -1].append(c)
        return [self._make_port(p, tuple(group)) for group in groups.values()]

    def _make_port(self, p: Population, group: tuple[LoihiConnection, ...]) -> SumPort:
        conv = group[0].kind == "conv"
        return SumPort(
            connections=group,
            size=p.size,
            slots=max(map(self.program.longest_delay, group)) + 1,
            channels=len(group[0].weight) if conv else 1,
            divisor=2 ** max(-group[0].weight_exp, 0),
            modulo=int(conv and self.bound_sum(group) >= STATE_LIMIT),
            delays=group[0].delays_out,
        )

    def bound_sum(self, group: tuple[LoihiConnection, ...]) -> int:
        """Return a bound over all stimuli of |sum| in a tick, before it is shifted right."""
        return sum(
            max(int(sum_absolutes(c).max(initial=0)), 2)  # 2: a stored weight may count 2
            * self.program[c.source].largest
            * 2 ** max(c.weight_exp, 0)
            for c in group
        )

    @cached_property
    def types(self) -> dict[str, str]:
        """The C types that no stimulus makes overflow, by their names."""
        sums = max(self.bound_sum(port.connections) for port in self.ports)
        currents = max(self.bound_current(p) for p in self.populations)
        return {
            "net_sum": "int32_t" if sums < INT32 else "int64_t",
            "net_current": "int32_t" if currents + 2 * STATE_LIMIT < INT32 else "int64_t",
            "net_index": "uint16_t"
            if max(p.size for p in self.populations) <= 2**16
            else "uint32_t",
            "net_delay": f"{np.min_scalar_type(max(port.slots for port in self.ports) - 1)}_t",
        }

    def bound_current(self, p: Population) -> int:
        """Return a bound of |u| of a population over all stimuli."""
        top = 64 * min(self.bound_sum(self.program.into(p.name)), SUM_LIMIT)
        if top <= 2 * STATE_LIMIT:  # which the wrap takes back
            return STATE_LIMIT
        lost = 1 + int(p.du.min())  # of 4096, in a tick
        return top * min(4096 // lost + 1, self.ticks) if lost else top * self.ticks

    def count_bytes(self, type_: str) -> int:
        """Return the size of a type in C."""
        return BYTES.get(self.types.get(type_, type_), 4)


def store_weights(c: LoihiConnection) -> Weights:
    """Return the weights in the fewest bytes that hold them, or half of each."""
    axes = {"dense": (1, 0), "conv": (0, 2, 3, 1)}.get(c.kind, (0,))
    weight = c.conv.by_input() if c.kind == "conv" else c.weight
    flat: np.ndarray = weight.transpose(axes).ravel()
    if c.kind == "sparse":
        flat = flat[sort_by_source(c)]
    halves = not (_fits_byte(flat) or (flat % 2).any()) and _fits_byte(flat // 2)
    flat = flat // 2 if halves else flat
    kept = flat.astype(np.int8 if _fits_byte(flat) else np.int16)
    return Weights(kept, (1 + halves) * 2 ** max(c.weight_exp, 0))


def _fits_byte(values: np.ndarray) -> bool:
    return bool(((values >= -128) & (values <= 127)).all())


def sort_by_source(c: LoihiConnection) -> np.ndarray:
    """Return the order of a sparse connection's synapses by source, then by target."""
    return np.asarray(np.lexsort(c.places))


def count_fan_out(c: LoihiConnection) -> np.ndarray:
    """Return the number of synapses of each source neuron."""
    if c.kind == "conv":
        return np.asarray(c.conv.fan_out(c.shape).every)
    if c.kind == "sparse":
        return np.bincount(c.places[1], minlength=c.sizes[1])
    return np.full(c.in_size, len(c.weight) if c.kind == "dense" else 1)


def list_parameters(p: Population) -> dict[str, np.ndarray]:
    """Return the parameters of a population as the runtime computes with them."""
    return {
        "keep_u": 4095 - p.du,
        "keep_v": 4096 - p.dv,
        "keep_a": 4096 - p.da,
        "threshold": p.vth if p.kind in SUMS else p.vth * 64,
        "lowest": np.zeros(1, int) if p.vth_low is None else p.lowest,
        "reset": p.after_hard if p.hard else p.subtracted,
        "rise": p.beta * 64,
        "bias": p.bias,
    }


def list_states(p: Population) -> dict[str, str]:
    """Return the C type of each state that a population keeps from tick to tick."""
    if p.kind in SUMS:
        kept = {"v": p.kind != "delta", "a": p.kind in CODERS, "residue": p.kind in CODERS}
        kept |= {"error": p.cumulative}
    else:
        kept = {"u": bool((p.du != 4095).any()), "v": True, "a": bool(p.beta.any())}
        kept |= {"wait": p.refractory > 0}
    types = {"u": "net_current", "wait": "uint8_t"}
    neurons = p.kind != "input"
    return {name: types.get(name, "int32_t") for name in kept if kept[name] and neurons}

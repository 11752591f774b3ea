"""A XyloProgram: a network in the integers of SynSense's Xylo, a chip of one core.

One step, all integers; clip is to -2^15 .. 2^15 - 1, x >> d is an arithmetic shift:

    decay(x, d) = x >> d, or the sign of x where that is 0
    i = clip(i + (w << shift))    for every spike of every source in turn, channels first
    i = i - decay(i, dash_syn)
    v = clip(v + clip(clip(i - decay(v, dash_mem)) + bias))
    n = min(v div threshold, most) where v >= threshold, else 0
    v = v - n threshold           n spikes: most = 31, of an output neuron 1

A spike of a channel arrives in its own step, a spike of a neuron in the next one. A channel
sends up to 15 spikes per step. Channels reach hidden neurons alone; these reach each other and
the output neurons, which reach nothing. So the kinds of population are "input", "hidden",
"output", and "readout": output neurons that never fire and whose current i is read. One shift
holds for all weights into hidden neurons, another for those into output neurons: it lifts sums
of 8-bit weights into 16 bits, where decays are finer.

The rules are those of SynSense's xylosim 0.1.3, version 2 (the core of Xylo Audio 2), without
the second synapse and aliases, which no Graph needs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np

from lava_export.population import ProgramError, as_int32
from lava_export.wiring import Wiring, list_problems_of_wiring
from neuro.base.arguments import make_type_error

LARGEST_STATE = 2**15 - 1
LARGEST_XYLO_WEIGHT = 127  # 8 bits; -128 is left out, so that every weight can be negated
LONGEST_DASH = 15
LARGEST_SHIFT = 7  # beyond it a weight exceeds 16 bits
CHANNEL_SPIKES = 15  # most spikes of a channel per step
NEURON_SPIKES = 31  # most spikes of a hidden neuron per step

XyloKind = Literal["input", "hidden", "output", "readout"]


class Shifts(NamedTuple):
    """Shifts of weights into hidden and into output neurons [bits]."""

    hidden: int
    output: int

    def into(self, kind: XyloKind) -> int:
        """Return the shift of weights into a kind of population."""
        return self.hidden if kind == "hidden" else self.output


def find_kept(dash: np.ndarray) -> np.ndarray:
    """Return 1 - 2^-dash, the share of a state that a decay leaves of it."""
    return np.asarray(1 - 2.0 ** -dash.astype(np.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class XyloPopulation:
    """N neurons, or channels; parameters have shape (1,) or (N,), in C order of ``shape``.

    lag: steps that the population runs behind the channels.
    scale: units of v (of a read-out: of i) per unit of the float network.
    """

    name: str
    kind: XyloKind
    shape: tuple[int, ...]
    lag: int = 0
    scale: float = 1.0
    dash_syn: np.ndarray = field(default_factory=lambda: as_int32(1))
    dash_mem: np.ndarray = field(default_factory=lambda: as_int32(0))
    threshold: np.ndarray = field(default_factory=lambda: as_int32(LARGEST_STATE))
    bias: np.ndarray = field(default_factory=lambda: as_int32(0))

    @property
    def size(self) -> int:
        """Number of neurons N."""
        return math.prod(self.shape)

    @property
    def unit(self) -> float:
        """The integer that stands for 1 in the float network."""
        return self.scale


@dataclass(frozen=True, kw_only=True, eq=False)
class XyloConnection:
    """Integer synapses from one population to another: weight (out, in); 0 is no synapse."""

    name: str
    source: str
    target: str
    weight: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class XyloProgram(Wiring[XyloPopulation, XyloConnection]):
    """Populations and the connections between them.

    shift, shift_out: of weights into hidden and into output neurons.
    ticks: length of the runs that the program was lowered for; None: any length.
    digest: digest of the Graph that the program was lowered from; "" if there is none.

    Raises:
        ProgramError: lists every name, kind, size or register that does not fit.
    """

    populations: tuple[XyloPopulation, ...]
    connections: tuple[XyloConnection, ...]
    shift: int = 0
    shift_out: int = 0
    ticks: int | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        problems = [*_list_problems(self)]
        if problems:
            raise ProgramError("\n".join(["the program does not hold together:", *problems]))

    def __repr__(self) -> str:
        populations = ", ".join(f"{p.name} {p.kind} {p.size:,}" for p in self.populations)
        length = "" if self.ticks is None else f"; ticks={self.ticks}"
        return f"XyloProgram({populations}; shifts {self.shift}, {self.shift_out}{length})"

    @property
    def shifts(self) -> Shifts:
        """The shifts of all weights."""
        return Shifts(self.shift, self.shift_out)

    def select(self, *kinds: str) -> tuple[XyloPopulation, ...]:
        """Return the populations of given kinds, in their order on the chip."""
        return tuple(p for p in self.populations if p.kind in kinds)


def require_xylo_program(program: object) -> None:
    """Raise a TypeError unless a value is a XyloProgram."""
    if not isinstance(program, XyloProgram):
        cure = "lava_export.xylo.lower_to_xylo(graph, ticks=...) makes one of a Graph"
        raise make_type_error("program", "a XyloProgram", program, cure)


# The least and the largest integer of each register.
REGISTERS = {
    "dash_syn": (1, LONGEST_DASH),
    "dash_mem": (0, LONGEST_DASH),
    "threshold": (1, LARGEST_STATE),
    "bias": (-LARGEST_STATE, LARGEST_STATE),
}
# The kinds between which synapses exist: (from, to).
REACHES = {
    ("input", "hidden"),
    ("hidden", "hidden"),
    ("hidden", "output"),
    ("hidden", "readout"),
}


def _list_problems(program: XyloProgram) -> Iterator[str]:
    for name in ("shift", "shift_out"):
        if not 0 <= getattr(program, name) <= LARGEST_SHIFT:
            yield f"{name} is {getattr(program, name)}, allowed is 0..{LARGEST_SHIFT}"
    yield from list_problems_of_wiring(
        program, get_args(XyloKind), _check_population, _check_connection
    )


def _check_population(p: XyloPopulation) -> Iterator[str]:
    """Yield what is wrong with the registers of a population."""
    if min(p.shape, default=1) < 1 or p.lag < 0 or not 0 < p.scale < math.inf:
        yield (
            f"{p.name}: shape {p.shape} must be >= 1, lag {p.lag} >= 0, scale {p.scale} > 0 "
            "and finite; lower the graph again"
        )
    for name, (low, high) in REGISTERS.items():
        values = getattr(p, name)
        if values.dtype.kind not in "iu" or values.shape not in ((1,), (p.size,)):
            yield (
                f"{p.name}: {name} is {values.dtype} of shape {values.shape}; give one "
                f"integer, or one for each of the {p.size} neurons"
            )
            continue
        bad = values[(values < low) | (values > high)]
        if bad.size:
            yield f"{p.name}: {name} = {bad[0]}, allowed is {low}..{high}"


def _check_connection(program: XyloProgram, c: XyloConnection) -> Iterator[str]:
    """Yield what is wrong with the ends and the weights of a connection."""
    source, target = program[c.source], program[c.target]
    if (source.kind, target.kind) not in REACHES:
        yield (
            f"no synapses lead from {source.kind} {source.name} to "
            f"{target.kind} {target.name}; channels reach hidden neurons, and these reach "
            "hidden and output neurons"
        )
    if c.weight.dtype.kind not in "iu" or c.weight.shape != (target.size, source.size):
        yield (
            f"weights are {c.weight.dtype} of shape {c.weight.shape}; "
            f"give integers of shape {(target.size, source.size)}"
        )
        return
    bad = c.weight[np.abs(c.weight) > LARGEST_XYLO_WEIGHT]
    if bad.size:
        yield (
            f"a weight of {bad[0]}; weights have 8 bits, from "
            f"-{LARGEST_XYLO_WEIGHT} to {LARGEST_XYLO_WEIGHT}"
        )

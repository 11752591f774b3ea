"""The populations of a LoihiProgram: their kinds, and the parameters of each kind.

The equations are in the docstring of :mod:`lava_export.program`. Lava's own processes are "lif"
(LIF, or LIFReset with an interval), "ternary" (TernaryLIF), "delta" (Delta), "sigma_delta"
(SigmaDelta) and "sigma" (Sigma); "alif" and "li" are our processes. Lava has a refractory
period in floats only (LIFRefractory): an "alif" has one in integers.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

STATE_LIMIT = 2**23  # M: u and v have 23 bits and a sign
SUM_LIMIT = 2**24  # limit of sums of weights, which Lava shifts by 6 in 32 bits
LARGEST_WEIGHT = 254  # 8 bits and a sign; even: with mixed signs Lava keeps no odd ones
THRESHOLD_BITS = 17
DECAY_BITS = 12
NO_MEMORY = 2**DECAY_BITS  # the dv of an alif that keeps nothing of v
BIAS_MANTISSA_BITS = 12  # and a sign
BIAS_EXPONENT_BITS = 3
MESSAGE_BITS = 24  # of a graded spike
LARGEST = 2**30  # largest size of a parameter, valid or not

Kind = Literal["input", "lif", "alif", "li", "ternary", "delta", "sigma_delta", "sigma"]
# The kinds that have a parameter; other kinds keep its default.
ONLY: Mapping[str, tuple[Kind, ...]] = {
    "message_bits": ("input", "delta", "sigma_delta"),
    "reset_interval": ("lif", "alif", "li"),
    "reset_offset": ("lif", "alif", "li"),
    "refractory": ("alif",),
    "vth_low": ("ternary",),
    "spike_exp": ("delta", "sigma_delta"),
    "state_exp": ("delta", "sigma_delta"),
    "cumulative": ("delta", "sigma_delta"),
    "relu": ("sigma_delta",),
}
READ_OUTS: tuple[Kind, ...] = ("li", "sigma")  # they never fire and show a state in every tick
CODERS: tuple[Kind, ...] = ("delta", "sigma_delta")  # they send differences as graded spikes
SUMS: tuple[Kind, ...] = (*CODERS, "sigma")  # their input has the unit of their states


class ProgramError(ValueError):
    """A program that is inconsistent, or a run of one that cannot start."""


def as_int32(value: Any) -> np.ndarray:
    """Return a read-only int32 array with at least one axis, clipped to +-2^30.

    The limit is beyond any register: :mod:`lava_export.rules` reports values that were too
    large.
    """
    out: np.ndarray = np.atleast_1d(np.clip(value, -LARGEST, LARGEST).astype(np.int32))
    out.setflags(write=False)
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """N neurons, or one input; parameters have shape (1,) or (N,), in C order of ``shape``.

    lag: steps that it runs behind the input; its tick 0 is step lag + 1, and before it rests.
    scale: weight units per unit of the float network; for kinds in SUMS, units of their states.
    bias_after: number of its own ticks before the bias acts.
    reset_to, reset_by: in units of v, "alif" only; None: see :mod:`lava_export.program`.
    reset_interval, reset_offset: all states become 0 before a tick t with t mod interval =
        offset mod interval; interval 0: never.
    refractory: ticks after the tick of a spike, in which v is held; "alif" only.
    v_bound: largest |v| to expect, measured on samples with room to spare; v clips beyond 2^23.
        0: the weights bound v, see :func:`lava_export.rules.bound_states`.
    vth_low: threshold below which a "ternary" fires -1, "ternary" only and required.
    message_bits: bits of a graded spike, which is a whole number with its sign; 0 for binary
        spikes. An "input" may have them; a "delta" and a "sigma_delta" must.
    spike_exp, state_exp, cumulative, relu: of "delta" and "sigma_delta", see
        :mod:`lava_export.sigma_delta`. Their vth and bias are in units of their states.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    lag: int = 0
    scale: float = 1.0
    du: np.ndarray = field(default_factory=lambda: as_int32(4095))
    dv: np.ndarray = field(default_factory=lambda: as_int32(0))
    vth: np.ndarray = field(default_factory=lambda: as_int32(0))
    da: np.ndarray = field(default_factory=lambda: as_int32(0))
    beta: np.ndarray = field(default_factory=lambda: as_int32(0))
    bias_mant: np.ndarray = field(default_factory=lambda: as_int32(0))
    bias_exp: np.ndarray = field(default_factory=lambda: as_int32(0))
    hard: bool = True
    bias_after: int = 0
    reset_to: np.ndarray | None = None
    reset_by: np.ndarray | None = None
    reset_interval: int = 0
    reset_offset: int = 0
    refractory: int = 0
    vth_low: np.ndarray | None = None
    message_bits: int = 0
    spike_exp: int = 0
    state_exp: int = 0
    cumulative: bool = False
    relu: bool = True
    v_bound: int = 0

    @property
    def after_hard(self) -> np.ndarray:
        """v after a hard reset, in units of v."""
        return (
            np.zeros(1, np.int64) if self.reset_to is None else self.reset_to.astype(np.int64)
        )

    @property
    def subtracted(self) -> np.ndarray:
        """The amount that a soft reset subtracts, without the adaptation, in units of v."""
        by = (self.vth.astype(np.int64) + 1) << 6
        return by if self.reset_by is None else self.reset_by.astype(np.int64)

    @property
    def bias(self) -> np.ndarray:
        """The bias, in units of v."""
        return np.asarray(self.bias_mant.astype(np.int64) << self.bias_exp)

    @property
    def lowest(self) -> np.ndarray:
        """The lower threshold of a ternary population, in units of v."""
        if self.vth_low is None:
            raise ProgramError(f"{self.name}: a {self.kind} has no lower threshold")
        return self.vth_low.astype(np.int64) << 6

    @property
    def size(self) -> int:
        """Number of neurons N."""
        return math.prod(self.shape)

    @property
    def fires(self) -> bool:
        """Whether it sends spikes, binary or graded; if not, it shows a state."""
        return self.kind not in READ_OUTS

    @property
    def signed(self) -> bool:
        """Whether its spikes have values, which its synapses multiply by the weights."""
        return self.message_bits > 0 or self.kind == "ternary"

    @property
    def messages(self) -> tuple[int, int]:
        """The least and the largest value of a spike, 0 included."""
        return find_messages(self.kind, self.message_bits)

    @property
    def largest(self) -> int:
        """The largest absolute value of a spike."""
        return max(map(abs, self.messages))

    @property
    def unit(self) -> float:
        """The value of a read-out that stands for 1 in the float network."""
        return self.scale * (1 if self.kind in SUMS else 64)

    @property
    def message_unit(self) -> float:
        """The value of a spike that stands for 1 in the float network."""
        return self.scale / 2.0**self.state_exp if self.kind in CODERS else 1.0

    def clears(self, tick: int) -> bool:
        """Return whether all states become 0 before one of its own ticks."""
        every = self.reset_interval
        return every > 0 and tick % every == self.reset_offset % every


def find_messages(kind: Kind, message_bits: int) -> tuple[int, int]:
    """Return the least and the largest value of a spike, 0 included."""
    half = 1 << max(message_bits - 1, 0)
    return (-half, half - 1) if message_bits else (-int(kind == "ternary"), 1)


def check_population(p: Population) -> Iterator[str]:
    """Yield what is wrong with the parameters of a population."""
    sizes = min(p.shape, default=1) > 0 and min(p.lag, p.bias_after, p.v_bound) >= 0
    if not sizes or not 0 < p.scale < math.inf:
        yield (
            f"{p.name}: shape {p.shape} must be >= 1, lag {p.lag} and bias_after "
            f"{p.bias_after} and v_bound {p.v_bound} >= 0, scale {p.scale} > 0 and "
            "finite; lower the graph again"
        )
    for column in fields(p):
        values = getattr(p, column.name)
        if not isinstance(values, np.ndarray):
            continue
        if values.dtype.kind not in "iu":
            yield f"{p.name}: {column.name} is {values.dtype}; make it with program.as_int32"
        if values.shape not in ((1,), (p.size,)):
            yield (
                f"{p.name}: {column.name} has shape {values.shape}; give one number, or one "
                f"for each of the {p.size} neurons"
            )
    unused = "reset_by" if p.hard else "reset_to"
    if getattr(p, unused) is not None:
        yield f"{p.name}: {unused} has no effect with hard={p.hard}; leave it out"
    yield from _check_kind(p)


def _check_kind(p: Population) -> Iterator[str]:
    """Yield parameters that a kind forbids and the population has, or needs and it lacks."""
    defaults = {f.name: f.default for f in fields(p)}
    for name, kinds in ONLY.items():
        value = getattr(p, name)
        if p.kind not in kinds and value is not defaults[name] and value != defaults[name]:
            yield (
                f"{p.name}: {name} has no effect on the kind {p.kind}; leave it out, or make "
                f"it {' or '.join(kinds)}"
            )
    if min(p.reset_interval, p.reset_offset, p.refractory) < 0:
        yield (
            f"{p.name}: reset_interval {p.reset_interval}, reset_offset {p.reset_offset} and "
            f"refractory {p.refractory} are whole numbers of ticks >= 0; 0 switches them off"
        )
    if p.kind in ("lif", "ternary") and not _fits_lava_lif(p):
        yield (
            f"{p.name}: a {p.kind} has hard reset to 0, no adaptation and one du, dv, vth "
            f"for all neurons; {CURE_OF_STOCK[p.kind]}"
        )
    if p.kind == "ternary" and p.vth_low is None:
        yield f"{p.name}: a ternary population has no vth_low; give the lower threshold"
    if p.message_bits not in (0, *range(2, MESSAGE_BITS + 1)):
        yield (
            f"{p.name}: message_bits {p.message_bits} are not from 2 to {MESSAGE_BITS}, their "
            "sign included; 0 makes spikes of an input binary"
        )
    if p.kind in CODERS and p.vth.size > 1:
        yield f"{p.name}: a {p.kind} has one vth for all neurons; split it into populations"
    if p.kind in CODERS and not p.message_bits:
        yield f"{p.name}: a {p.kind} sends graded spikes; give their message_bits, 24 at most"


CURE_OF_STOCK: Mapping[str, str] = {
    "lif": "make its kind alif",
    "ternary": "split it into populations, or change the model",
}


def _fits_lava_lif(p: Population) -> bool:
    """Return whether Lava's own LIF can have the parameters of a population."""
    low = 1 if p.vth_low is None else p.vth_low.size
    uniform = p.du.size == p.dv.size == p.vth.size == low == 1
    return uniform and p.hard and p.reset_to is None and not p.beta.any()

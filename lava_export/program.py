"""A LoihiProgram: a network in the integers that Loihi and Lava compute with.

One step of a population, all integers, trunc(x, n) = sign(x) (|x| >> n), M = 2^23:

    u = wrap(trunc(u (4096 - (du + 1)), 12) + 64 x)     wrap: once, by 2 M, into (-M, M]
    v = clip(trunc(v (4096 - dv), 12) + u + b)          clip: to +-(M - 1)
    a = trunc(a (4096 - da), 12)                        b = bias_mant << bias_exp
    s = v > 64 vth + a
    v = reset_to (hard) or v - (reset_by + a) (soft), where s
    a = min(a + 64 beta s, M - 1)

x is the sum of the integer weights of sources that fired, each weight times the value of its
spike if spikes have values, shifted by the connection's exponent. The kinds of population:

- "input": the stimulus.
- "lif", Lava's own LIF: hard reset to 0, a = 0, and one du, dv and vth for all neurons.
- "ternary", Lava's TernaryLIF: a "lif" that also fires -1 below 64 vth_low, and resets to 0.
- "alif", our process: the whole equation.
- "li", our process: it never fires and shows v.
- "delta", "sigma_delta", "sigma": see :mod:`lava_export.sigma_delta`.

A weight unit is 64 units of v; one unit of the float network is ``scale`` weight units.

In the ``refractory`` ticks after the tick of a spike, v keeps its value after the reset and
s = 0; u and a advance. Where :meth:`Population.clears` holds, u, v and a are 0 before the tick.

The float neuron fires at v >= threshold, Lava at v > 64 vth. With vth one below the integer
threshold n, both agree on every v that is a multiple of 64; between two multiples the chip
fires at most one weight unit early. A strict threshold, v > threshold, is the integer vth.

reset_to and reset_by are in units of v. If they are None, as in most programs and files, a hard
reset sets v to 0, and a soft reset subtracts 64 n = 64 (vth + 1).

The largest dv of the registers, 4095, keeps 1/4096 of v. An "alif" may have dv = 4096: its
process keeps nothing of v.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from lava_export.population import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    DECAY_BITS,
    LARGEST_WEIGHT,
    NO_MEMORY,
    STATE_LIMIT,
    THRESHOLD_BITS,
    Kind,
    Population,
    ProgramError,
    as_int32,
    check_population,
)
from lava_export.wiring import Wiring, list_problems_of_wiring
from neuro.base.arguments import make_type_error
from neuro.graph.convolutions import Conv2d, count_span, count_windows
from neuro.graph.paths import RouteKind, count_most_synapses

__all__ = [
    "BIAS_EXPONENT_BITS",
    "BIAS_MANTISSA_BITS",
    "DECAY_BITS",
    "LARGEST_WEIGHT",
    "NO_MEMORY",
    "STATE_LIMIT",
    "THRESHOLD_BITS",
    "WEIGHT_BITS",
    "Kind",
    "LoihiConnection",
    "LoihiProgram",
    "Population",
    "ProgramError",
    "SignMode",
    "as_int32",
    "list_separate_parts",
    "name_array",
    "require_program",
    "take_apart",
]

SignMode = Literal["mixed", "excitatory", "inhibitory"]
# The least and the largest weight of each mode: 8 bits, and with mixed signs a sign bit more.
WEIGHTS: Mapping[SignMode, tuple[int, int]] = {
    "mixed": (-LARGEST_WEIGHT - 2, LARGEST_WEIGHT + 1),
    "excitatory": (0, LARGEST_WEIGHT + 1),
    "inhibitory": (-LARGEST_WEIGHT - 1, 0),
}
WEIGHT_BITS = 8
# In files only if they differ.
LATER: Mapping[str, Any] = {"dilation": (1, 1), "groups": 1, "v_bound": 0}
EXPONENTS = (-8, 7)  # the least and largest weight_exp of Loihi


class WeightRange(NamedTuple):
    """The weights that Lava keeps: multiples of ``step`` from ``low`` to ``high``."""

    low: int
    high: int
    step: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LoihiConnection:
    """Integer synapses from one population to another.

    weight: "dense" (out, in); "conv" (C_out, C_in, kH, kW), a cross-correlation as in torch;
        "identity" (N,), neuron n to neuron n; "sparse" (E,). C_in: of one group.
    shape: "conv" only: the axes (C, H, W) along which the source's neurons lie.
    places: "sparse" only: target and source of each weight, (2, E). sizes: (out, in).
    dilation, groups: "conv" only, as in torch.
    extra: steps that a spike waits before the connection, which itself takes one step.
    delays_in, delays_out: further steps that the spikes of each source neuron wait before the
        synapses, and the sums of each target neuron behind them; None: 0.
    weight_exp: bits by which the sum of a step is shifted to the left; below 0 it is shifted to
        the right (floor).
    sign_mode, weight_bits: the set of possible weights, see :attr:`weight_range`.
    """

    name: str
    source: str
    target: str
    kind: RouteKind
    weight: np.ndarray
    shape: tuple[int, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    places: np.ndarray = field(default_factory=lambda: as_int32(np.empty((2, 0))))
    sizes: tuple[int, int] = (0, 0)
    extra: int = 0
    weight_exp: int = 0
    sign_mode: SignMode = "mixed"
    weight_bits: int = WEIGHT_BITS
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    delays_in: np.ndarray | None = None
    delays_out: np.ndarray | None = None

    @property
    def longest_wait(self) -> int:
        """Steps that the slowest spike waits, without the step of the connection."""
        waits = (self.delays_in, self.delays_out)
        return self.extra + sum(int(w.max(initial=0)) for w in waits if w is not None)

    @property
    def weight_range(self) -> WeightRange:
        """The weights that Lava keeps unchanged; Lava would change others."""
        low, high = WEIGHTS[self.sign_mode]
        if self.kind == "conv":  # Lava's Conv keeps odd weights
            return WeightRange(low, high, 1)
        step = 1 << (WEIGHT_BITS - self.weight_bits + (self.sign_mode == "mixed"))
        return WeightRange(-(-low // step) * step, high // step * step, step)

    @cached_property
    def conv(self) -> Conv2d:
        """The connection as a node, conv only."""
        return Conv2d(
            weight=self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The axes along which the target's neurons lie."""
        if self.kind == "sparse":
            return self.sizes[:1]
        if self.kind != "conv":
            return (self.weight.shape[0],)
        kernel = map(count_span, self.weight.shape[2:], self.dilation)
        size = map(count_windows, self.shape[1:], kernel, self.stride, self.padding)
        return (self.weight.shape[0], *size)

    @property
    def in_size(self) -> int:
        """Number of source neurons."""
        if self.kind == "sparse":
            return self.sizes[1]
        return math.prod(self.shape) if self.kind == "conv" else self.weight.shape[-1]

    @cached_property
    def most_synapses(self) -> int:
        """Largest number of synapses of one target neuron, sparse only."""
        return count_most_synapses(self.places)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoihiProgram(Wiring[Population, LoihiConnection]):
    """Populations and the connections between them.

    ticks: length of the longest run whose sums fit; None: any length.
    digest: digest of the source Graph (:func:`neuro.io.graph_digest.digest_graph`), which
        records of its runs carry; "" if there is none.

    Raises:
        ProgramError: lists every name, kind, size or delay that does not fit, and separate
            parts of the program.
    """

    populations: tuple[Population, ...]
    connections: tuple[LoihiConnection, ...]
    ticks: int | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        problems = _list_problems(self)
        if problems:
            raise ProgramError("\n".join(["the program does not hold together:", *problems]))

    def __repr__(self) -> str:
        populations = ", ".join(f"{p.name} {p.kind} {p.size:,}" for p in self.populations)
        connections = ", ".join(f"{c.name} {c.kind}" for c in self.connections)
        length = "" if self.ticks is None else f", ticks={self.ticks}"
        return f"LoihiProgram({populations}; {connections}{length})"

    @property
    def messages(self) -> Mapping[str, tuple[int, int]]:
        """The least and the largest spike of each population."""
        return {p.name: p.messages for p in self.populations}

    def delay(self, connection: LoihiConnection) -> int:
        """Return the delay in ticks of the graph, without the lags of both ends."""
        return connection.extra + 1 + self[connection.source].lag - self[connection.target].lag

    def longest_delay(self, connection: LoihiConnection) -> int:
        """Return the delay of the slowest spike in ticks of the graph."""
        return self.delay(connection) + connection.longest_wait - connection.extra


def require_program(program: object) -> None:
    """Raise a TypeError unless a value is a LoihiProgram."""
    if not isinstance(program, LoihiProgram):
        cure = "lava_export.lower(graph, ticks=...) makes one of a Graph"
        raise make_type_error("program", "a LoihiProgram", program, cure)


def _list_problems(program: LoihiProgram) -> list[str]:
    """Return what is wrong with names, kinds, sizes and delays."""
    problems = list_problems_of_wiring(
        program, get_args(Kind), check_population, _check_connection
    )
    names = [p.name for p in program.populations]
    ends = [(c.source, c.target) for c in program.connections]
    known = [pair for pair in ends if {*pair} <= {*names}]
    return [*problems, *list_separate_parts(names, known)]


def list_separate_parts(names: Iterable[str], ends: Iterable[tuple[str, str]]) -> list[str]:
    """Return the problem of a network in separate parts, if any: Lava runs only the first."""
    parts = [{n} for n in dict.fromkeys(names)]
    for pair in ends:
        joined = set[str]().union(*(part for part in parts if part & set(pair)))
        parts = [*(part for part in parts if not part & joined), joined]
    if len(parts) < 2:
        return []
    listed = "; ".join(", ".join(sorted(part)) for part in parts)
    return [f"nothing connects these parts: {listed}; split it into one graph for each part"]


def _check_connection(program: LoihiProgram, c: LoihiConnection) -> Iterator[str]:
    """Yield what is wrong with the ends, the weights and the delay of a connection."""
    source, target = program[c.source], program[c.target]
    if not source.fires:
        yield f"{c.source} is a read-out and never fires; start from a lif or an alif"
    if target.kind == "input":
        yield f"{c.target} is an input and listens to nothing; end at a population"
    if c.weight.dtype.kind not in "iu":
        yield f"its weights are {c.weight.dtype}; make them with program.as_int32"
    if c.extra < 0 or program.delay(c) < 0:
        yield (
            f"extra = {c.extra} with lags {source.lag} and {target.lag} reaches into the "
            "future; raise the lag of the target"
        )
    yield from _check_numbers(c)
    yield from _check_weights(program, c)
    for name, size in {"delays_in": source.size, "delays_out": target.size}.items():
        waits = getattr(c, name)
        if waits is None:
            continue
        if waits.dtype.kind not in "iu" or waits.shape != (size,) or waits.min() < 0:
            yield (
                f"{name} of shape {waits.shape} must be a whole number >= 0 for each of "
                f"{size} neurons; make them with program.as_int32"
            )


def _check_numbers(c: LoihiConnection) -> Iterator[str]:
    """Yield what is wrong with the exponent, the mode and the bits of the weights."""
    low, high = EXPONENTS
    if not low <= c.weight_exp <= high:
        yield (
            f"weight_exp {c.weight_exp} has 4 bits with its sign, {low} to {high}; scale the "
            "weights instead"
        )
    if c.sign_mode not in get_args(SignMode):
        yield f"no sign_mode {c.sign_mode!r}; there are {', '.join(get_args(SignMode))}"
    if not 1 <= c.weight_bits <= WEIGHT_BITS:
        yield f"weight_bits {c.weight_bits} are not from 1 to {WEIGHT_BITS}; use {WEIGHT_BITS}"
    plain = c.weight_exp == 0 and c.sign_mode == "mixed" and c.weight_bits == WEIGHT_BITS
    if c.kind == "conv" and not plain:
        yield (
            "Lava's Conv ignores weight_exp, sign_mode and weight_bits; leave them out and "
            "scale the kernel, or list its synapses (kind sparse)"
        )


def _check_weights(program: LoihiProgram, c: LoihiConnection) -> Iterator[str]:
    """Yield what is wrong with the kind, the axes and the places of the weights."""
    source, target = program[c.source], program[c.target]
    axes = {"dense": 2, "conv": 4, "identity": 1, "sparse": 1}
    if c.kind not in get_args(RouteKind):
        yield f"no kind {c.kind!r}; there are {', '.join(get_args(RouteKind))}"
    elif c.weight.ndim != axes[c.kind]:
        yield f"{c.kind} weights have {axes[c.kind]} axes, these have shape {c.weight.shape}"
    elif c.kind == "conv" and not _fits_kernel(c):
        yield (
            f"no kernel of shape {c.weight.shape} in {c.groups} groups goes over images "
            f"{c.shape} with stride {c.stride}, padding {c.padding} and dilation "
            f"{c.dilation}; lower the graph again"
        )
    elif c.kind == "sparse" and not _lists_synapses(c):
        yield (
            f"places of shape {c.places.shape} are no target and source of each of "
            f"{c.weight.size} weights within sizes {c.sizes}"
        )
    elif c.kind == "sparse" and len(np.unique(c.places, axis=1).T) < c.weight.size:
        twice = c.weight.size - len(np.unique(c.places, axis=1).T)
        yield f"{twice} of its places are listed before; add up the weights of each place"
    elif c.in_size != source.size or math.prod(c.out_shape) != target.size:
        yield (
            f"maps {c.in_size} to {math.prod(c.out_shape)} neurons, but {c.source} has "
            f"{source.size} and {c.target} has {target.size}"
        )


def _fits_kernel(c: LoihiConnection) -> bool:
    """Return whether the sizes of a convolution are complete and positive."""
    sizes = (*c.weight.shape, *c.shape, *c.stride, *c.dilation, c.groups)
    if len(c.shape) != 3 or min(sizes) < 1 or min(c.padding) < 0:
        return False
    outputs, inputs = c.weight.shape[:2]
    return inputs * c.groups == c.shape[0] and outputs % c.groups == 0


def _lists_synapses(c: LoihiConnection) -> bool:
    """Return whether every weight of a sparse connection has a target and a source."""
    if c.places.shape != (2, c.weight.size) or len(c.sizes) != 2:
        return False
    least, most = c.places.min(1, initial=0), c.places.max(1, initial=-1)
    return bool((least >= 0).all() and (most < np.array(c.sizes)).all())


def take_apart(program: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of a program by :func:`name_array`; its other fields as JSON values."""
    values = {f.name: getattr(program, f.name) for f in fields(program)}
    arrays: dict[str, np.ndarray] = {}
    rest = {key: value for key, value in values.items() if not isinstance(value, tuple)}
    for key in [key for key in values if key not in rest]:
        rest[key] = []
        for i, part in enumerate(values[key]):
            columns = {f.name: getattr(part, f.name) for f in fields(part)}
            columns = {k: v for k, v in columns.items() if v is not None}  # as in old files
            held = {k: v for k, v in columns.items() if isinstance(v, np.ndarray)}
            for k in [k for k, v in LATER.items() if k in columns and columns[k] == v]:
                del columns[k]
            arrays |= {name_array(f"{key[0]}{i}", k): v for k, v in held.items()}
            rest[key].append({k: v for k, v in columns.items() if k not in held})
    return arrays, rest


def name_array(part: str, field: str) -> str:
    """Return the name of an array in a file: p0.du, c0.weight; g0 for that of a group."""
    return part if field == "array" else f"{part}.{field}"

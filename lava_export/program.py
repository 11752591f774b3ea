"""A LoihiProgram: a network in the integers that Loihi and Lava compute with.

One step of a population, all integers, trunc(x, n) = sign(x) (|x| >> n), M = 2^23:

    u = wrap(trunc(u (4096 - (du + 1)), 12) + 64 x)     wrap: once, by 2 M, into (-M, M]
    v = clip(trunc(v (4096 - dv), 12) + u + b)          clip: to +-(M - 1)
    a = trunc(a (4096 - da), 12)                        b = bias_mant << bias_exp
    s = v > 64 vth + a
    v = reset_to (hard) or v - (reset_by + a) (soft), where s
    a = min(a + 64 beta s, M - 1)

x is the sum of the integer weights whose sources fired. The kinds of population:
"input"; "lif", Lava's own LIF (hard reset, a = 0, no bias, one du, dv and vth for all); "alif",
the whole equation, a process of ours; "li", a process of ours that never fires and shows v.
A weight unit is 64 units of v; one unit of the float network is ``scale`` weight units.

The float neuron fires at v >= threshold, Lava at v > 64 vth. With vth one below the integer
threshold n, both agree on every v that is a multiple of 64; between two multiples the chip
fires at most one weight unit early. A strict threshold, v > threshold, is the integer vth.

reset_to and reset_by are in units of v. Without them (None), as in most programs and files, a
hard reset sets v to 0, and a soft one takes off 64 n = 64 (vth + 1).

The registers end at dv = 4095, which keeps 1/4096 of v. An "alif" may have dv = 4096: its
process keeps nothing of v.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from neuro.arguments import make_type_error
from neuro.graph.convolutions import Conv2d, count_windows
from neuro.graph.paths import RouteKind, count_most_synapses

STATE_LIMIT = 2**23  # M: u and v have 23 bits and a sign
LARGEST_WEIGHT = 254  # 8 bits and a sign; even, because Lava keeps no odd ones of mixed signs
THRESHOLD_BITS = 17
DECAY_BITS = 12
NO_MEMORY = 2**DECAY_BITS  # the dv of an alif that keeps nothing of v
BIAS_MANTISSA_BITS = 12  # and a sign
BIAS_EXPONENT_BITS = 3
LARGEST = 2**30  # that a parameter may be, in or out of its range

Kind = Literal["input", "lif", "alif", "li"]


class ProgramError(ValueError):
    """A program that does not hold together, or a run of one that cannot start."""


def as_int32(value: Any) -> np.ndarray:
    """Return a read-only int32 array of at least one axis; stops at +-2^30.

    No register is as wide: :mod:`lava_export.rules` tells what was too large.
    """
    out: np.ndarray = np.atleast_1d(np.clip(value, -LARGEST, LARGEST).astype(np.int32))
    out.setflags(write=False)
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """N neurons, or one input; parameters have shape (1,) or (N,), in C order of ``shape``.

    lag: steps by which it runs behind the input; it rests until its tick 0 is step lag + 1.
    scale: weight units that one unit of the float network became.
    bias_after: ticks of its own before the bias sets in.
    reset_to, reset_by: in units of v, "alif" only; None: see the head of this file.
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

    @property
    def after_hard(self) -> np.ndarray:
        """v after a hard reset, in units of v."""
        return (
            np.zeros(1, np.int64) if self.reset_to is None else self.reset_to.astype(np.int64)
        )

    @property
    def subtracted(self) -> np.ndarray:
        """What a soft reset takes off, but for the adaptation, in units of v."""
        by = (self.vth.astype(np.int64) + 1) << 6
        return by if self.reset_by is None else self.reset_by.astype(np.int64)

    @property
    def size(self) -> int:
        """Number of neurons N."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoihiConnection:
    """Integer synapses from one population to another.

    weight: "dense" (out, in); "conv" (C_out, C_in, kH, kW), a cross-correlation as torch's;
        "identity" (N,), neuron n to neuron n; "sparse" (E,).
    shape: "conv" only: how the source's neurons lie, (C, H, W).
    places: "sparse" only: target and source of each weight, (2, E). sizes: (out, in).
    extra: steps that a spike waits before the connection, which itself takes one step.
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

    @cached_property
    def conv(self) -> Conv2d:
        """The connection as a node, conv only."""
        return Conv2d(weight=self.weight, stride=self.stride, padding=self.padding)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """How the target's neurons lie."""
        if self.kind == "sparse":
            return self.sizes[:1]
        if self.kind != "conv":
            return (self.weight.shape[0],)
        kernel = self.weight.shape[2:]
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
        """Those of the target's neuron that has most, sparse only."""
        return count_most_synapses(self.places)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoihiProgram:
    """Populations and the connections between them.

    ticks: of the longest run for which its sums have room; None: of any length. digest: of the
        Graph that it was lowered from (:func:`neuro.io.graph_digest.digest_graph`), which
        records of its runs carry; "": of none.

    Raises:
        ProgramError: lists every name, kind, size or delay that does not fit, and the parts
            of a program that falls apart.
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

    def __getitem__(self, name: str) -> Population:
        for p in self.populations:
            if p.name == name:
                return p
        names = ", ".join(p.name for p in self.populations)
        raise ProgramError(f"the program has no population {name!r}; there are {names}")

    def into(self, name: str) -> tuple[LoihiConnection, ...]:
        """Return the connections that end at ``name``."""
        return tuple(c for c in self.connections if c.target == name)

    def delay(self, connection: LoihiConnection) -> int:
        """Return the delay in ticks of the graph, the lags of both ends taken out."""
        return connection.extra + 1 + self[connection.source].lag - self[connection.target].lag

    @property
    def latency(self) -> int:
        """Steps between the input's last tick and the last tick of the slowest population."""
        return max(p.lag for p in self.populations)


def require_program(program: object) -> None:
    """Raise a TypeError unless a value is a LoihiProgram."""
    if not isinstance(program, LoihiProgram):
        cure = "lava_export.lower(graph, ticks=...) makes one of a Graph"
        raise make_type_error("program", "a LoihiProgram", program, cure)


def _list_problems(program: LoihiProgram) -> list[str]:
    """Return what is wrong with names, kinds, sizes and delays."""
    names = [p.name for p in program.populations]
    problems = []
    if program.ticks is not None and program.ticks < 1:
        problems.append(f"ticks is {program.ticks}; give one at least, or None for any number")
    problems += [
        f"{n}: the name is used twice" for n in sorted(set(names)) if names.count(n) > 1
    ]
    if not any(p.kind == "input" for p in program.populations):
        problems.append("no population has kind input; a run needs one at least")
    problems += [problem for p in program.populations for problem in _check_population(p)]
    ends = []
    for c in program.connections:
        unknown = [n for n in (c.source, c.target) if n not in names]
        if unknown:
            listed = ", ".join(names)
            problems.append(
                f"connection {c.name}: no population {unknown[0]!r}; there are {listed}"
            )
            continue
        ends.append((c.source, c.target))
        problems += [
            f"connection {c.name}: {problem}" for problem in _check_connection(program, c)
        ]
    return problems + list_separate_parts(names, ends)


def list_separate_parts(names: Iterable[str], ends: Iterable[tuple[str, str]]) -> list[str]:
    """Return the one problem of a network in separate parts: Lava would run the first only."""
    parts = [{n} for n in dict.fromkeys(names)]
    for pair in ends:
        joined = set[str]().union(*(part for part in parts if part & set(pair)))
        parts = [*(part for part in parts if not part & joined), joined]
    if len(parts) < 2:
        return []
    listed = "; ".join(", ".join(sorted(part)) for part in parts)
    return [f"nothing connects these parts: {listed}; split it into one graph for each part"]


def _check_population(p: Population) -> Iterator[str]:
    """Yield what is wrong with the kind, the lag and the parameters of a population."""
    if p.kind not in get_args(Kind):
        yield f"{p.name}: no kind {p.kind!r}; there are {', '.join(get_args(Kind))}"
    sizes = min(p.shape, default=1) > 0 and min(p.lag, p.bias_after) >= 0
    if not sizes or not 0 < p.scale < math.inf:
        yield (
            f"{p.name}: shape {p.shape} must be >= 1, lag {p.lag} and bias_after "
            f"{p.bias_after} >= 0, scale {p.scale} > 0 and finite; lower the graph again"
        )
    if p.kind == "input" and p.lag:
        yield f"{p.name}: an input with lag {p.lag}; inputs lead, their lag is 0"
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
    if p.kind == "lif" and not _fits_lava_lif(p):
        yield (
            f"{p.name}: a lif has hard reset to 0, no bias, no adaptation and one du, dv, vth "
            "for all neurons; make its kind alif"
        )


def _check_connection(program: LoihiProgram, c: LoihiConnection) -> Iterator[str]:
    """Yield what is wrong with the ends, the weights and the delay of a connection."""
    source, target = program[c.source], program[c.target]
    if source.kind == "li":
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
    yield from _check_weights(program, c)


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
            f"no kernel of shape {c.weight.shape} goes over images {c.shape} with stride "
            f"{c.stride} and padding {c.padding}; lower the graph again"
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
    """Say whether the places of a convolution can be counted."""
    sizes = (*c.weight.shape, *c.shape, *c.stride)
    return len(c.shape) == 3 and min(sizes) > 0 and min(c.padding) >= 0


def _lists_synapses(c: LoihiConnection) -> bool:
    """Say whether every weight of a sparse connection has a target and a source."""
    if c.places.shape != (2, c.weight.size) or len(c.sizes) != 2:
        return False
    least, most = c.places.min(1, initial=0), c.places.max(1, initial=-1)
    return bool((least >= 0).all() and (most < np.array(c.sizes)).all())


def _fits_lava_lif(p: Population) -> bool:
    """Say whether Lava's own LIF can have the parameters of a population."""
    uniform = p.du.size == p.dv.size == p.vth.size == 1
    plain = p.hard and p.reset_to is None
    return uniform and plain and not p.beta.any() and not p.bias_mant.any()


def take_apart(program: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of a program by :func:`name_array`, and the rest as JSON values."""
    values = {f.name: getattr(program, f.name) for f in fields(program)}
    arrays: dict[str, np.ndarray] = {}
    rest = {key: value for key, value in values.items() if not isinstance(value, tuple)}
    for key in [key for key in values if key not in rest]:
        rest[key] = []
        for i, part in enumerate(values[key]):
            columns = {f.name: getattr(part, f.name) for f in fields(part)}
            columns = {k: v for k, v in columns.items() if v is not None}  # as old files
            held = {k: v for k, v in columns.items() if isinstance(v, np.ndarray)}
            arrays |= {name_array(f"{key[0]}{i}", k): v for k, v in held.items()}
            rest[key].append({k: v for k, v in columns.items() if k not in held})
    return arrays, rest


def name_array(part: str, field: str) -> str:
    """Return what an array is called in a file: p0.du, c0.weight; g0, the one of a group."""
    return part if field == "array" else f"{part}.{field}"

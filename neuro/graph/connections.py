"""Linear nodes as values: their weights, and how each acts on what reaches it.

Each class answers for itself: the shape that it puts out, its output in torch, its synapses one
by one, and how many of them a value of its input has. Convolutions and pools are in
:mod:`neuro.graph.convolutions`.

Weights and biases in float64 stay so; all others become float32.
Axes: K cases, C channels, H height, W width; images are ``C H W``. E synapses, N values of the
input in C order, ``*input_shape`` its shape.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

from neuro.base.arguments import as_numbers, is_whole, make_type_error, require_whole

Shape = tuple[int, ...]


class FanOut(NamedTuple):
    """Synapses of each value of the input: those whose weight is not zero, and all."""

    nonzero: Int[np.ndarray, " N"]
    every: Int[np.ndarray, " N"]


class Synapse(NamedTuple):
    """One target of a source. delay: on top of the edge's [ticks]."""

    target: int
    weight: float
    delay: int = 0


SynapseRows = list[list[Synapse]]  # by source


@dataclass(frozen=True, kw_only=True, eq=False)
class Connection:
    """A linear node. A new one overrides ``output_shape`` and ``apply``.

    One with synapses overrides ``fan_out`` and ``synapses``, too.
    """

    @property
    def divisor(self) -> int:
        """What the sums over its synapses are divided by."""
        return 1

    @property
    def input_length(self) -> int:
        """Length of the first axis of the input, 0 if any will do."""
        return 0

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the shape of the output, or what is wrong with that of the input."""
        raise NotImplementedError

    def apply(
        self,
        x: Float[Tensor, "K ..."],
        weight: Any = None,
        bias: Any = None,
    ) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape).

        weight, bias: tensors in the place of the node's own and in the dtype of ``x``; weight
            is None for a node that has none. Delays of synapses are left out.
        """
        raise NotImplementedError

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return the number of synapses of each value of the input.

        What only renames or moves values has none.
        """
        none = np.zeros(math.prod(input_shape), np.int64)
        return FanOut(none, none)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return the synapses of each value of the input, enumerated from the definition.

        Products with padding are none. Slow: it is what fast code is compared with.
        """
        return [[Synapse(j, 1.0)] for j in range(math.prod(input_shape))]


class Weighted(Connection):
    """A connection with weights, and a bias that is added every tick."""

    weight: np.ndarray
    bias: np.ndarray | None

    def with_weight(self, weight: np.ndarray, bias: np.ndarray | None) -> "Weighted":
        """Return the same connection with another weight and bias."""
        return replace(self, weight=weight, bias=bias)  # type: ignore[call-arg]


class Reshaping(Connection):
    """A connection that renames values, and costs nothing."""


def as_pair(value: Any, what: str = "a size") -> tuple[int, int]:
    """Return a size as (height, width), one number for both; else raise a TypeError."""
    pair = (value, value) if is_whole(value) else value
    if not isinstance(pair, Iterable) or [is_whole(n) for n in pair] != [True] * 2:
        cure = "for example (1, 1)"
        raise make_type_error(what, "a whole number, or two: (height, width)", value, cure)
    height, width = pair
    return int(height), int(width)


def as_shape(what: str, value: Any) -> Shape:
    """Return a shape as a tuple, a number as one axis; else raise a TypeError."""
    shape = (value,) if is_whole(value) else value
    if not isinstance(shape, Iterable) or not all(map(is_whole, shape)):
        cure = "for example (1, 28, 28)"
        raise make_type_error(what, "whole numbers, one an axis", value, cure)
    return tuple(int(n) for n in shape)


def require_whole_fields(node: object, *names: str) -> None:
    """Raise a TypeError unless these fields are whole numbers."""
    for name in names:
        require_whole(f"{type(node).__name__}.{name}", getattr(node, name), "1 is usual")


def pair_up(node: object, *names: str) -> None:
    """Replace sizes of a frozen node by their pairs, see :func:`as_pair`."""
    for name in names:
        pair = as_pair(getattr(node, name), f"{type(node).__name__}.{name}")
        object.__setattr__(node, name, pair)


def freeze(node: object, **kinds: type | None) -> None:
    """Replace the arrays of a frozen node by read-only ones of these kinds.

    A kind of None is float64 where the array was, else float32. Only a bias and delays may be
    None. Arrays are copied, except one that is read-only already, owns its memory and has the
    kind: nobody writes to it, and it may be large.

    Raises:
        TypeError: one does not hold real numbers.
        ValueError: a value is none of its kind.
    """
    for name, dtype in kinds.items():
        value = getattr(node, name)
        if value is not None or name not in ("bias", "delay"):
            if _is_frozen(value) and value.dtype in (FLOATS if dtype is None else (dtype,)):
                continue
            out = as_kind(f"{type(node).__name__}.{name}", value, dtype)
            out.setflags(write=False)
            object.__setattr__(node, name, out)


FLOATS = (np.float32, np.float64)  # the kind None


def _is_frozen(value: object) -> bool:
    """Say whether nobody can write to an array, through it or another one."""
    if not isinstance(value, np.ndarray) or value.base is not None:
        return False
    return value.flags.c_contiguous and not value.flags.writeable


def as_kind(what: str, value: Any, dtype: Any) -> np.ndarray:
    """Return a copy of numbers as an array.

    dtype: of it; None: float64 where they are, else float32.

    Raises:
        TypeError: they are no real numbers; names ``what``.
        ValueError: the dtype is of integers, or they are, and it does not hold them.
    """
    numbers = as_numbers(what, value)
    if dtype is None:
        wide = numbers.dtype.kind == "f" and numbers.dtype.itemsize >= 8
        dtype = np.float64 if wide else np.float32
    with np.errstate(invalid="ignore"):  # NaN is no integer
        out: np.ndarray = np.array(numbers, dtype)
        back = out.astype(numbers.dtype)  # to compare integers without rounding them
    floats = numbers.dtype.kind == out.dtype.kind == "f"  # which may be rounded
    if not floats and not np.can_cast(numbers.dtype, out.dtype):
        lost = numbers[(out != numbers) | (back != numbers)]
        if lost.size:
            cure = "float64" if out.dtype.kind == "f" else "whole numbers of its range"
            raise ValueError(f"{what}: {lost[0]} is no {out.dtype}; give {cure}")
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(Weighted):
    """All-to-all: y = weight x + bias. weight: (out, in). bias: (out,), added every tick."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        freeze(self, weight=None, bias=None)

    @property
    def input_length(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[1]) if self.weight.ndim > 1 else 0

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (out,), or what is wrong."""
        weight, bias = self.weight, self.bias
        if weight.ndim != 2:
            return f"Dense.weight must be (out, in), got shape {weight.shape}"
        if input_shape != (weight.shape[1],):
            cure = "put a Flatten before it" if len(input_shape) > 1 else "change its weight"
            if input_shape == weight.shape[:1]:
                cure = "its weight is (out, in): give weight.T"
            return f"Dense takes {(weight.shape[1],)}, got {input_shape}; {cure}"
        if bias is not None and bias.shape != weight.shape[:1]:
            return f"Dense.bias must be {weight.shape[:1]}, got {bias.shape}"
        return (int(weight.shape[0]),)

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return weight x + bias."""
        return F.linear(x, weight, bias)

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return one synapse an output."""
        outputs, inputs = self.weight.shape
        return FanOut((self.weight != 0).sum(0), np.full(inputs, outputs))

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return the columns of the matrix."""
        return [[Synapse(k, float(w)) for k, w in enumerate(row)] for row in self.weight.T]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse(Weighted):
    """Listed synapses: value j of the input reaches those of row j.

    CSR, row j is ``indptr[j]:indptr[j + 1]``, sorted by (target, delay).
    indptr: (in + 1,) int64. indices: (E,) int32, the target of every synapse. weight: (E,).
    Synapses that are equal in source and target add up.
    delay: (E,) int32, or uint16 if it is given as that: ticks on top of the delay of the edge;
    None: none. With float32 weights a synapse then takes 10 bytes.
    shape: (out,). bias: (out,), added every tick.

    :meth:`from_coo` makes one from any order; :mod:`neuro.graph.random` draws some.
    """

    indptr: np.ndarray
    indices: np.ndarray
    weight: np.ndarray
    shape: tuple[int, ...]
    delay: np.ndarray | None = None
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        kinds = {"indptr": np.int64, "indices": np.int32, "delay": _kind_of_delay(self.delay)}
        freeze(self, weight=None, bias=None, **kinds)
        object.__setattr__(self, "shape", as_shape("Sparse.shape", self.shape))

    @property
    def input_length(self) -> int:
        """Number of inputs."""
        return int(self.indptr.size - 1)

    @property
    def source(self) -> Int[np.ndarray, " E"]:
        """The input of every synapse."""
        return np.repeat(np.arange(self.input_length), np.diff(self.indptr))

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (out,), or what is wrong."""
        inputs, shape, bias = self.input_length, self.shape, self.bias
        if len(shape) != 1 or shape[0] < 1:
            return f"Sparse.shape must be (out,), got {shape}"
        if input_shape != (inputs,):
            flatten = "put a Flatten before it"
            cure = flatten if len(input_shape) > 1 else "change the length of Sparse.indptr"
            return f"Sparse takes {(inputs,)}, got {input_shape}; {cure}"
        if bias is not None and bias.shape != shape:
            return f"Sparse.bias must be {shape}, got {bias.shape}"
        return shape

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the sums over the synapses of each output, delays left out."""
        matrix = torch.sparse_coo_tensor(
            torch.as_tensor(np.stack([self.indices, self.source]), device=x.device),
            weight,
            (*self.shape, self.input_length),
            check_invariants=False,  # the Graph has checked them
        )
        y: Tensor = torch.sparse.mm(matrix, x.T).T
        return y if bias is None else y + bias

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return the lengths of the rows."""
        used = np.bincount(self.source, self.weight != 0, self.input_length)
        return FanOut(used.astype(np.int64), np.diff(self.indptr))

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return the rows."""
        late = np.zeros(self.indices.size, np.int32) if self.delay is None else self.delay
        columns = zip(self.indices.tolist(), self.weight.tolist(), late.tolist(), strict=True)
        every = [Synapse(*row) for row in columns]
        starts = self.indptr.tolist()
        return [every[a:b] for a, b in pairwise(starts)]

    @classmethod
    def from_coo(
        cls,
        source: Int[np.ndarray, " _"],
        target: Int[np.ndarray, " _"],
        weight: Float[np.ndarray, " _"],
        *,
        shape: tuple[int, int],
        delay: Integer[np.ndarray, " _"] | None = None,
        bias: Float[np.ndarray, " _"] | None = None,
    ) -> "Sparse":
        """Return E listed synapses, in any order. shape: (out, in).

        Raises:
            TypeError: a column does not hold real numbers.
            ValueError: the columns differ in length, or a source is not one of the inputs.
        """
        source = as_kind("Sparse.from_coo: source", source, np.int64)
        target = as_kind("Sparse.from_coo: target", target, np.int64)
        weight = as_kind("Sparse.from_coo: weight", weight, None)
        if delay is not None:
            delay = as_kind("Sparse.from_coo: delay", delay, _kind_of_delay(delay))
        columns = {"source": source, "target": target, "weight": weight, "delay": delay}
        shapes = {name: c.shape for name, c in columns.items() if c is not None}
        if len(set(shapes.values())) > 1 or source.ndim != 1:
            raise ValueError(f"one entry a synapse in every column, got shapes {shapes}")
        both = as_shape("Sparse.from_coo: shape", shape)
        if len(both) != 2:
            raise ValueError(f"Sparse.from_coo: shape must be (out, in), got {both}")
        outputs, inputs = both
        outside = (source < 0) | (source >= inputs)
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} sources like {source[outside][0]} are not among the "
                f"{inputs} inputs; make shape=(out, in) larger"
            )
        order = np.lexsort((target, source) if delay is None else (delay, target, source))
        indptr = np.zeros(inputs + 1, np.int64)
        np.cumsum(np.bincount(source, minlength=inputs), out=indptr[1:])
        return cls(
            indptr=indptr,
            indices=target[order],
            weight=weight[order],
            shape=(outputs,),
            delay=None if delay is None else delay[order],
            bias=bias,
        )


def _kind_of_delay(delay: object) -> type:
    narrow = isinstance(delay, np.ndarray) and delay.dtype == np.uint16
    return np.uint16 if narrow else np.int32


@dataclass(frozen=True, kw_only=True, eq=False)
class Upsample(Connection):
    """Nearest neighbour: every value becomes a block. scale: its (H, W)."""

    scale: tuple[int, int]

    def __post_init__(self) -> None:
        pair_up(self, "scale")

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (C, H, W), or what is wrong."""
        if len(input_shape) != 3:
            return f"Upsample takes (C, H, W), got {input_shape}"
        if min(self.scale) < 1:
            return f"Upsample.scale must be >= 1, got {self.scale}"
        return (input_shape[0], input_shape[1] * self.scale[0], input_shape[2] * self.scale[1])

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return every value as a block."""
        high, wide = self.scale
        return x.repeat_interleave(high, -2).repeat_interleave(wide, -1)

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return the size of a block."""
        fan = np.full(math.prod(input_shape), math.prod(self.scale))
        return FanOut(fan, fan)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return a weight of 1 to each value of a block."""
        rows: SynapseRows = [[] for _ in range(math.prod(input_shape))]
        channels, high, wide = input_shape
        shape = (channels, high * self.scale[0], wide * self.scale[1])
        for k, (c, y, x) in enumerate(np.ndindex(shape)):
            source = (c * high + y // self.scale[0]) * wide + x // self.scale[1]
            rows[source].append(Synapse(k, 1.0))
        return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(Reshaping):
    """C order: (C, H, W) to (C H W,)."""

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (N,)."""
        return (math.prod(input_shape),)

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the same values, one axis a case."""
        return x.reshape(len(x), -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Unflatten(Reshaping):
    """The inverse of a Flatten, C order: (N,) to ``shape``, whose product is N."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape("Unflatten.shape", self.shape))

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return ``shape``, or what is wrong."""
        n = math.prod(self.shape)
        if min(self.shape, default=0) < 1 or input_shape != (n,):
            cure = "put a Flatten before it" if len(input_shape) > 1 else "change its shape"
            return f"Unflatten.shape {self.shape} holds ({n},), got {input_shape}; {cure}"
        return self.shape

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the same values in ``shape``."""
        return x.reshape(len(x), *self.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Connection):
    """What its edges bring, one after the other along the first axis, in their order.

    The other axes must be equal. One source may come several times, with different delays.
    Its methods take what is joined already; each edge by itself goes through its :class:`Slot`.
    """

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the shape of what is joined."""
        return input_shape

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return what is joined."""
        return x


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of one edge in a Concat. It is no node: :meth:`neuro.graph.graph.Graph.along`.

    shape: of the Concat. first: where the edge begins along the first axis.
    """

    shape: tuple[int, ...]
    first: int

    @property
    def offset(self) -> int:
        """Where it begins among the values of the Concat in C order."""
        return self.first * math.prod(self.shape[1:])

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the shape of the Concat."""
        return self.shape

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the values of the edge in their place, zeros elsewhere."""
        y = x.new_zeros((len(x), *self.shape))
        y[:, self.first : self.first + x.shape[1]] = x
        return y


def find_output_shape(node: Connection | Slot, input_shape: Shape) -> Shape:
    """Return the shape of the output; raise a ValueError unless the input fits."""
    shape = node.output_shape(input_shape)
    if isinstance(shape, str):
        raise ValueError(shape)
    return shape


def get_weight(node: Connection | Slot, dtype: torch.dtype) -> Tensor | None:
    """Return the weight of a node as a tensor, None if it has none."""
    return torch.tensor(node.weight, dtype=dtype) if isinstance(node, Weighted) else None


def get_bias(node: Connection, dtype: torch.dtype) -> Tensor | None:
    """Return the bias of a node as a tensor, None if it has none."""
    bias = node.bias if isinstance(node, Weighted) else None
    return None if bias is None else torch.tensor(bias, dtype=dtype)


def apply_connection(node: Connection | Slot, x: Float[Tensor, "K ..."]) -> Tensor:
    """Return what a linear node makes of K cases in their dtype, its bias left out."""
    return node.apply(x, get_weight(node, x.dtype))

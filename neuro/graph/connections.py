"""Linear nodes as values: their weights, and what each computes from its input.

Each class defines its output shape, its output in torch, its synapses one by one, and the
number of synapses per input value. Convolutions and pools are in
:mod:`neuro.graph.convolutions`.

Weights and biases in float64 stay float64; all others become float32.
Axes: K cases (ticks times samples), C channels, H height, W width; images are ``C H W``. E
synapses, N values of the input in C order, ``*input_shape`` its shape.
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
    """Number of synapses of each input value: those with a non-zero weight, and all."""

    nonzero: Int[np.ndarray, " N"]
    every: Int[np.ndarray, " N"]


class Synapse(NamedTuple):
    """One target of a source. delay: added to the edge's delay [ticks]."""

    target: int
    weight: float
    delay: int = 0


SynapseRows = list[list[Synapse]]  # synapses of each source


@dataclass(frozen=True, kw_only=True, eq=False)
class Connection:
    """A linear node. A subclass overrides ``output_shape`` and ``apply``.

    A subclass with synapses overrides ``fan_out`` and ``synapses`` too.
    """

    @property
    def divisor(self) -> int:
        """Divisor of the sums over the node's synapses."""
        return 1

    @property
    def input_length(self) -> int:
        """Required length of the input's first axis; 0 if any length fits."""
        return 0

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, or a message if the input shape is wrong."""
        raise NotImplementedError

    def apply(
        self,
        x: Float[Tensor, "K ..."],
        weight: Any = None,
        bias: Any = None,
    ) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape).

        weight, bias: tensors to use instead of the node's own, in the dtype of ``x``; weight is
            None for a node without weights. Delays of synapses are ignored.
        """
        raise NotImplementedError

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return the number of synapses of each input value.

        A node that only renames or moves values has none.
        """
        none = np.zeros(math.prod(input_shape), np.int64)
        return FanOut(none, none)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return the synapses of each input value, enumerated from the definition.

        Products with padding are not synapses. Slow: tests compare fast code with it.
        """
        return [[Synapse(j, 1.0)] for j in range(math.prod(input_shape))]


class Weighted(Connection):
    """A connection with weights, and a bias that is added at every tick."""

    weight: np.ndarray
    bias: np.ndarray | None

    def with_weight(self, weight: np.ndarray, bias: np.ndarray | None) -> "Weighted":
        """Return the same connection with another weight and bias."""
        return replace(self, weight=weight, bias=bias)  # type: ignore[call-arg]


class Reshaping(Connection):
    """A connection that only renames values, and costs nothing."""


def as_pair(value: Any, what: str = "a size") -> tuple[int, int]:
    """Return a size as (height, width); one number means both. Else raise a TypeError."""
    pair = (value, value) if is_whole(value) else value
    if not isinstance(pair, Iterable) or [is_whole(n) for n in pair] != [True] * 2:
        cure = "for example (1, 1)"
        raise make_type_error(what, "a whole number, or two: (height, width)", value, cure)
    height, width = pair
    return int(height), int(width)


def as_shape(what: str, value: Any) -> Shape:
    """Return a shape as a tuple; one number means one axis. Else raise a TypeError."""
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
    """Replace sizes of a frozen node by (height, width) pairs, see :func:`as_pair`."""
    for name in names:
        pair = as_pair(getattr(node, name), f"{type(node).__name__}.{name}")
        object.__setattr__(node, name, pair)


def freeze(node: object, **kinds: type | None) -> None:
    """Replace the arrays of a frozen node by read-only arrays of the given dtypes.

    A dtype of None keeps float64 and turns all others into float32. Only a bias and delays may
    be None. Arrays are copied, except an array that is read-only already, owns its memory and
    has the dtype: nobody writes to it, and it may be large.

    Raises:
        TypeError: an array does not hold real numbers.
        ValueError: the dtype cannot hold a value.
    """
    for name, dtype in kinds.items():
        value = getattr(node, name)
        if value is not None or name not in ("bias", "delay"):
            if _is_frozen(value) and value.dtype in (FLOATS if dtype is None else (dtype,)):
                continue
            out = as_kind(f"{type(node).__name__}.{name}", value, dtype)
            out.setflags(write=False)
            object.__setattr__(node, name, out)


FLOATS = (np.float32, np.float64)  # the dtypes that None keeps


def _is_frozen(value: object) -> bool:
    """Say whether nobody can write to an array, not even through another view of it."""
    if not isinstance(value, np.ndarray) or value.base is not None:
        return False
    return value.flags.c_contiguous and not value.flags.writeable


def as_kind(what: str, value: Any, dtype: Any) -> np.ndarray:
    """Return a copy of numbers as an array.

    dtype: dtype of the array; None keeps float64 and turns all others into float32.

    Raises:
        TypeError: the values are not real numbers; names ``what``.
        ValueError: the dtype, or the dtype of the values, is of integers, and one is not
            preserved.
    """
    numbers = as_numbers(what, value)
    if dtype is None:
        wide = numbers.dtype.kind == "f" and numbers.dtype.itemsize >= 8
        dtype = np.float64 if wide else np.float32
    with np.errstate(invalid="ignore"):  # NaN has no integer
        out: np.ndarray = np.array(numbers, dtype)
        back = out.astype(numbers.dtype)  # so that integers are compared without rounding
    floats = numbers.dtype.kind == out.dtype.kind == "f"  # floats may be rounded
    if not floats and not np.can_cast(numbers.dtype, out.dtype):
        lost = numbers[(out != numbers) | (back != numbers)]
        if lost.size:
            cure = "float64" if out.dtype.kind == "f" else "whole numbers of its range"
            raise ValueError(f"{what}: {lost[0]} is no {out.dtype}; give {cure}")
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense(Weighted):
    """All-to-all connection: y = weight x + bias.

    weight: (out, in).
    bias: (out,), added at every tick.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        freeze(self, weight=None, bias=None)

    @property
    def input_length(self) -> int:
        """Number of inputs."""
        return int(self.weight.shape[1]) if self.weight.ndim > 1 else 0

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (out,), or what is wrong with the input shape, the weight or the bias."""
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
        """Return one synapse per output, and those of them with a non-zero weight."""
        outputs, inputs = self.weight.shape
        return FanOut((self.weight != 0).sum(0), np.full(inputs, outputs))

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return the columns of the weight matrix."""
        return [[Synapse(k, float(w)) for k, w in enumerate(row)] for row in self.weight.T]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse(Weighted):
    """Listed synapses in CSR: input value j has the synapses ``indptr[j]:indptr[j + 1]``.

    The synapses of an input are sorted by (target, delay); synapses with the same source and
    target add up.
    indptr: (in + 1,) int64.
    indices: (E,) int32, target of every synapse.
    weight: (E,).
    delay: (E,) int32, or uint16 if given as uint16: ticks added to the edge's delay; None: no
        delays. With uint16 and float32 weights a synapse takes 10 bytes.
    shape: (out,).
    bias: (out,), added at every tick.

    :meth:`from_coo` makes one from synapses in any order; :mod:`neuro.graph.random` draws some.
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
        """Return (out,), or what is wrong with the input shape or the arrays."""
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
        """Return the sum over each output's synapses; their delays are ignored."""
        matrix = torch.sparse_coo_tensor(
            torch.as_tensor(np.stack([self.indices, self.source]), device=x.device),
            weight,
            (*self.shape, self.input_length),
            check_invariants=False,  # the Graph has checked them
        )
        y: Tensor = torch.sparse.mm(matrix, x.T).T
        return y if bias is None else y + bias

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return the number of synapses in each row."""
        used = np.bincount(self.source, self.weight != 0, self.input_length)
        return FanOut(used.astype(np.int64), np.diff(self.indptr))

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return the rows of the CSR arrays."""
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
        """Return E listed synapses, given in any order. shape: (out, in).

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
    """Nearest-neighbour upsampling: every value becomes a block of size scale = (H, W)."""

    scale: tuple[int, int]

    def __post_init__(self) -> None:
        pair_up(self, "scale")

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (C, H, W), or what is wrong with input shape or scale."""
        if len(input_shape) != 3:
            return f"Upsample takes (C, H, W), got {input_shape}"
        if min(self.scale) < 1:
            return f"Upsample.scale must be >= 1, got {self.scale}"
        return (input_shape[0], input_shape[1] * self.scale[0], input_shape[2] * self.scale[1])

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the image with every value repeated over its block."""
        high, wide = self.scale
        return x.repeat_interleave(high, -2).repeat_interleave(wide, -1)

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return the size of a block: a value has one synapse to each output of its block."""
        fan = np.full(math.prod(input_shape), math.prod(self.scale))
        return FanOut(fan, fan)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return, for every value, a synapse of weight 1 to each value of its block."""
        rows: SynapseRows = [[] for _ in range(math.prod(input_shape))]
        channels, high, wide = input_shape
        shape = (channels, high * self.scale[0], wide * self.scale[1])
        for k, (c, y, x) in enumerate(np.ndindex(shape)):
            source = (c * high + y // self.scale[0]) * wide + x // self.scale[1]
            rows[source].append(Synapse(k, 1.0))
        return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(Reshaping):
    """Merge all axes in C order: (C, H, W) to (C H W,)."""

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (N,)."""
        return (math.prod(input_shape),)

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the same values with one axis per case."""
        return x.reshape(len(x), -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Unflatten(Reshaping):
    """The inverse of a Flatten, in C order: (N,) to ``shape``, whose product is N."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape("Unflatten.shape", self.shape))

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return ``shape``, or what is wrong with the input shape."""
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
    """Joins the values of its edges along the first axis, in the order of the edges.

    All other axes must be equal. One source may have several edges with different delays. The
    methods take values that are joined already; a single edge goes through its :class:`Slot`.
    """

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the shape of the joined values."""
        return input_shape

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the joined values."""
        return x


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of one edge in a Concat; not a node, see :meth:`neuro.graph.graph.Graph.along`.

    shape: shape of the Concat.
    first: index of the edge's first entry along the first axis.
    """

    shape: tuple[int, ...]
    first: int

    @property
    def offset(self) -> int:
        """Index of the edge's first value in the flattened Concat (C order)."""
        return self.first * math.prod(self.shape[1:])

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the shape of the Concat."""
        return self.shape

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return the edge's values at their place in the Concat, zeros elsewhere."""
        y = x.new_zeros((len(x), *self.shape))
        y[:, self.first : self.first + x.shape[1]] = x
        return y


def find_output_shape(node: Connection | Slot, input_shape: Shape) -> Shape:
    """Return the output shape; raise a ValueError if the input shape does not fit."""
    shape = node.output_shape(input_shape)
    if isinstance(shape, str):
        raise ValueError(shape)
    return shape


def get_weight(node: Connection | Slot, dtype: torch.dtype) -> Tensor | None:
    """Return a node's weight as a tensor, or None if it has none."""
    return torch.tensor(node.weight, dtype=dtype) if isinstance(node, Weighted) else None


def get_bias(node: Connection, dtype: torch.dtype) -> Tensor | None:
    """Return a node's bias as a tensor, or None if it has none."""
    bias = node.bias if isinstance(node, Weighted) else None
    return None if bias is None else torch.tensor(bias, dtype=dtype)


def apply_connection(node: Connection | Slot, x: Float[Tensor, "K ..."]) -> Tensor:
    """Return a linear node's output for K cases in their dtype, without its bias."""
    return node.apply(x, get_weight(node, x.dtype))

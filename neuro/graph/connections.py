"""Linear nodes as values: what they hold, in the precision that it was given in.

Weights and biases keep float64 where they are given so, and become float32 otherwise.
Axes: C channels, H height, W width; images are ``C H W``. L length of a
sequence, E synapses.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


def _read_only(array: np.ndarray, dtype: type | None = None) -> np.ndarray:
    """Return a copy that cannot change: of ``dtype``, or float64 if it was, else float32."""
    given = np.asarray(array)
    if dtype is None:
        dtype = np.float64 if given.dtype == np.float64 else np.float32
    out: np.ndarray = np.array(given, dtype)
    out.setflags(write=False)
    return out


def _freeze(node: object, **kinds: type | None) -> None:
    """Replace the arrays of a frozen node by read-only ones of these kinds."""
    for name, dtype in kinds.items():
        value = getattr(node, name)
        if value is not None:
            object.__setattr__(node, name, _read_only(value, dtype))


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """All-to-all: y = weight x + bias. weight: (out, in). bias: (out,), added every tick."""

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        _freeze(self, weight=None, bias=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sparse:
    """Listed synapses: value j of the input reaches those of row j.

    at: (in + 1,) int64; row j is ``at[j]:at[j + 1]``, sorted by (delay, target).
    target: (E,) int32. weight: (E,). Synapses that are equal in source and target add up.
    delay: (E,) int32, ticks on top of the delay of the edge; None: none.
    shape: (out,). bias: (out,), added every tick.

    :meth:`from_coo` makes one from any order; :mod:`neuro.graph.random` draws some.
    """

    at: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    shape: tuple[int, ...]
    delay: np.ndarray | None = None
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        kinds = {"at": np.int64, "target": np.int32, "delay": np.int32}
        _freeze(self, weight=None, bias=None, **kinds)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def source(self) -> Int[np.ndarray, " E"]:
        """The input of every synapse."""
        return np.repeat(np.arange(self.at.size - 1), np.diff(self.at))

    @classmethod
    def from_coo(
        cls,
        source: Int[np.ndarray, " _"],
        target: Int[np.ndarray, " _"],
        weight: Float[np.ndarray, " _"],
        *,
        shape: tuple[int, int],
        delay: Int[np.ndarray, " _"] | None = None,
        bias: Float[np.ndarray, " _"] | None = None,
    ) -> "Sparse":
        """Return E synapses given one by one, in any order. shape: (out, in).

        Raises:
            ValueError: the columns differ in length, or a source is not one of the inputs.
        """
        columns = {"source": source, "target": target, "weight": weight, "delay": delay}
        lengths = {name: len(c) for name, c in columns.items() if c is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"one entry a synapse in every column, got lengths {lengths}")
        outputs, inputs = shape
        outside = (source < 0) | (source >= inputs)
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} sources like {source[outside][0]} are not among the "
                f"{inputs} inputs; make shape=(out, in) larger"
            )
        keys = (target, source) if delay is None else (target, delay, source)
        order = np.lexsort(keys)
        at = np.zeros(inputs + 1, np.int64)
        np.cumsum(np.bincount(source, minlength=inputs), out=at[1:])
        return cls(
            at=at,
            target=target[order],
            weight=weight[order],
            shape=(outputs,),
            delay=None if delay is None else delay[order],
            bias=bias,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d:
    """Cross-correlation, as torch's. weight: (C_out, C_in, kH, kW). bias: (C_out,)."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _freeze(self, weight=None, bias=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv1d:
    """Cross-correlation of (C, L), as torch's. weight: (C_out, C_in, k). bias: (C_out,)."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        _freeze(self, weight=None, bias=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvTranspose2d:
    """Every value paints a kernel, as torch's. weight: (C_in, C_out, kH, kW). bias: (C_out,).

    output_padding: rows and columns added at the far end, below stride.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _freeze(self, weight=None, bias=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class AvgPool2d:
    """Mean over windows; what does not fill a window is left out. kernel, stride: (H, W)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Upsample:
    """Nearest neighbour: every value becomes a block. scale: its (H, W)."""

    scale: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten:
    """C order: (C, H, W) to (C H W,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unflatten:
    """The inverse of a Flatten, C order: (N,) to ``shape``, whose product is N."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))


@dataclass(frozen=True, kw_only=True, eq=False)
class Concat:
    """What its edges bring, one after the other along the first axis, in their order.

    The other axes must be equal. One source may come several times, with different delays.
    """


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of one edge in a Concat. It is no node: :meth:`neuro.graph.Graph.along`.

    shape: of the Concat. first: where the edge begins along the first axis.
    """

    shape: tuple[int, ...]
    first: int

    @property
    def offset(self) -> int:
        """Where it begins among the values of the Concat in C order."""
        return self.first * math.prod(self.shape[1:])


Weighted = Dense | Sparse | Conv1d | Conv2d | ConvTranspose2d
Reshaping = Flatten | Unflatten  # renames values, and costs nothing
Connection = Weighted | AvgPool2d | Upsample | Reshaping | Concat

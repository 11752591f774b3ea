"""Host nodes: real-valued operations that no spiking chip runs; a host computes them in torch.

They take values or spikes and output a value at every tick, even without input: f(0) may differ
from 0. They keep no state. Every report lists their operations separately, as the host's.
Axes: K cases, ``*input_shape`` of one case, ``*rest`` all its axes but the first.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import as_numbers, require_whole
from neuro.base.bounds import ADDED
from neuro.graph.connections import pair_up
from neuro.graph.convolutions import count_all_windows

Shape = tuple[int, ...]

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,  # passes a membrane on: a Concat does not take one
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "relu": torch.relu,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Softmax:
    """y = exp(x) / sum(exp(x)) along one axis of one tick of one sample.

    axis: counted from 0, or backwards from -1.
    """

    axis: int = 0

    def __post_init__(self) -> None:
        require_whole("Softmax.axis", self.axis, "0 is the first")

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, or a message if the input shape is wrong."""
        if not -len(input_shape) <= self.axis < len(input_shape):
            return f"Softmax.axis {self.axis} is no axis of {input_shape}; use 0 for the first"
        return input_shape

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        return x.softmax(self.axis + (self.axis >= 0))

    def macs(self, input_shape: Shape) -> int:
        """Return 2 per value: its exponential and its division."""
        return 2 * math.prod(input_shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """y[d, c] = x[d] x[first + c]: (first + C, *rest) to (first, C, *rest).

    It lifts features into depth: x[d] is the weight of depth bin d, x[first + c] is feature c.
    first: length of the first factor along the first axis; the other entries are the second
        factor. A Concat joins the two.
    """

    first: int

    def __post_init__(self) -> None:
        require_whole("Outer.first", self.first, "it is the length of one factor")
        if self.first < 1:
            raise ValueError(
                f"Outer.first must be >= 1, got {self.first}; it is the length of one factor"
            )

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, or a message if the input shape is wrong."""
        if not input_shape or input_shape[0] <= self.first:
            return (
                f"Outer(first={self.first}) takes more than {self.first} along the first axis, "
                f"got {input_shape}; join both factors with a Concat"
            )
        return (self.first, input_shape[0] - self.first, *input_shape[1:])

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        return x[:, : self.first, None] * x[:, None, self.first :]

    def macs(self, input_shape: Shape) -> int:
        """Return one multiplication per output value."""
        return self.first * (input_shape[0] - self.first) * math.prod(input_shape[1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Multiply:
    """y = x[:n] * x[n:], halves of the first axis: (2n, *rest) to (n, *rest)."""

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, or a message if the input shape is wrong."""
        return halve_shape("Multiply", input_shape)

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        one, other = x.chunk(2, 1)
        return one * other

    def macs(self, input_shape: Shape) -> int:
        """Return one multiplication per output value."""
        return math.prod(input_shape) // 2


def count_levels(
    x: Float[Tensor, "..."], levels: int, scale: float | Tensor
) -> Float[Tensor, "..."]:
    """Return scale / levels * floor(clip(levels x / scale + 1/2, 0, levels)), value by value.

    The gradient is 1 between the clips, as if nothing were rounded.
    """
    count = (levels * x / scale + 0.5).clamp(0, levels)
    return (count + (count.floor() - count).detach()) * (scale / levels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pointwise:
    """y = f(x), value by value. function: a name in FUNCTIONS.

    levels: 0, or the number of steps of a "relu" that counts, see :func:`count_levels`.
    scale: the largest value of such a relu, > 0.
    """

    function: str
    levels: int = field(default=0, metadata=ADDED)
    scale: float = field(default=1.0, metadata=ADDED)

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise ValueError(f"Pointwise.function is one of {known}; got {self.function!r}")
        require_whole("Pointwise.levels", self.levels, "8 is usual, 0 does not count")
        if self.levels < 0 or not 0 < self.scale < math.inf:
            raise ValueError(
                f"Pointwise.levels must be >= 0 and scale > 0 and finite, got {self.levels} "
                f"and {self.scale}; levels=8, scale=1.0 counts to 1 in steps of 1/8"
            )
        if self.levels and self.function != "relu":
            raise ValueError(
                f"Pointwise.levels is {self.levels}, and only a relu counts, not "
                f"{self.function}; use levels=0"
            )

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, which is the input shape."""
        return input_shape

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        if self.levels:
            return count_levels(x, self.levels, self.scale)
        return FUNCTIONS[self.function](x)

    def macs(self, input_shape: Shape) -> int:
        """Return one operation per value, or 0 for the identity."""
        return 0 if self.function == "identity" else math.prod(input_shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Exceeds:
    """y = 1 where x[:n] > x[n:], else 0, n half of the first axis: (2n, *rest) to (n, *rest).

    If the first half holds probabilities and the second uniform numbers from an Input, it
    samples, and a run remains a function of its inputs. No gradient passes.
    """

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, or a message if the input shape is wrong."""
        return halve_shape("Exceeds", input_shape)

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        one, other = x.chunk(2, 1)
        return (one > other).to(x.dtype)

    def macs(self, input_shape: Shape) -> int:
        """Return one comparison per output value."""
        return math.prod(input_shape) // 2


@dataclass(frozen=True, kw_only=True, eq=False)
class RMSNorm:
    """y = gain x / sqrt(mean(x^2) + eps), the mean over all values of a tick of one sample.

    gain: one per value.
    eps: > 0.
    """

    gain: np.ndarray
    eps: float

    def __post_init__(self) -> None:
        gain = np.array(as_numbers("RMSNorm.gain", self.gain))
        gain.setflags(write=False)
        object.__setattr__(self, "gain", gain)
        if not 0 < self.eps < math.inf:
            raise ValueError(
                f"RMSNorm.eps must be > 0 and finite, got {self.eps}; 1e-6 is usual"
            )

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, or a message if the input shape is wrong."""
        if input_shape != self.gain.shape:
            shapes = f"{self.gain.shape} for {input_shape}"
            return f"RMSNorm has gains of shape {shapes}; give one for each value"
        return input_shape

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        mean = x.flatten(1).square().mean(1).view(-1, *[1] * (x.dim() - 1))
        return x * torch.rsqrt(mean + self.eps) * torch.tensor(self.gain).to(x)

    def macs(self, input_shape: Shape) -> int:
        """Return 3 per value: its square, and its products with the root and the gain."""
        return 3 * math.prod(input_shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class CountSpikes:
    """y = sign(x) min(ticks, floor((|x| + threshold / 2) / threshold)), value by value.

    This is the number of spikes, with the sign of x, that an integrate-and-fire neuron sends
    within ``ticks`` ticks if it starts at half its threshold and subtracts the threshold at
    each spike. A chip sends it as one graded spike, or as binary spikes over these ticks. No
    gradient passes. See :class:`neuro.nn.ternary.SpikeCount`.
    """

    ticks: int
    threshold: float

    def __post_init__(self) -> None:
        require_whole("CountSpikes.ticks", self.ticks, "4 is usual")
        if self.ticks < 1 or not 0 < self.threshold < math.inf:
            raise ValueError(
                f"CountSpikes: ticks must be >= 1 and threshold > 0 and finite, got "
                f"{self.ticks} and {self.threshold}; ticks=4, threshold=0.75 is a good start"
            )

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return the output shape, which is the input shape."""
        return input_shape

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        counts = ((x.abs() + self.threshold / 2) / self.threshold).floor()
        return counts.clamp(max=self.ticks) * x.sign()

    def macs(self, input_shape: Shape) -> int:
        """Return one operation per value."""
        return math.prod(input_shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool2d:
    """y = the largest value of each window; values that do not fill a window are dropped.

    For spikes, a mean and a neuron that fires at any spike do the same on a chip, see
    :func:`neuro.nn.trace.make_any_spike_nodes`. kernel, stride: (H, W).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def __post_init__(self) -> None:
        pair_up(self, "kernel", "stride")

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (C, *windows), or what is wrong with kernel, stride or input shape."""
        if len(input_shape) != 3:
            return f"MaxPool2d takes (C, H, W), got {input_shape}"
        size = count_all_windows(input_shape, self.kernel, self.stride, (0, 0), (1, 1))
        return (input_shape[0], *size) if isinstance(size, tuple) else size

    def run(self, x: Float[Tensor, "K ..."]) -> Float[Tensor, "K ..."]:
        """Return the output for K cases (K, *input_shape)."""
        return F.max_pool2d(x, self.kernel, self.stride)

    def macs(self, input_shape: Shape) -> int:
        """Return one comparison per value of a window."""
        size = self.output_shape(input_shape)
        return 0 if isinstance(size, str) else math.prod(size) * math.prod(self.kernel)


Host = Softmax | Outer | Multiply | Pointwise | Exceeds | RMSNorm | CountSpikes | MaxPool2d


def halve_shape(kind: str, input_shape: Shape) -> Shape | str:
    """Return a shape whose first axis is halved, or why this kind of node cannot halve it."""
    if not input_shape or input_shape[0] % 2:
        return (
            f"{kind} takes two halves along the first axis, got {input_shape}; join two of one "
            "shape with a Concat, or let a Dense or a convolution put out both"
        )
    return (input_shape[0] // 2, *input_shape[1:])

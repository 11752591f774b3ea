"""Connections whose kernels slide over images: convolutions, their transpose, pools.

Axes: C channels, then the axes of an image: L length, or H height and W width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neuro.graph.connections import (
    Connection,
    FanOut,
    Shape,
    Synapse,
    SynapseRows,
    Weighted,
    find_output_shape,
    freeze,
    pair_up,
    require_whole_fields,
)


def count_windows(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return how many windows of ``kernel`` fit into a padded axis of ``size``."""
    return (size + 2 * padding - kernel) // stride + 1


def count_span(kernel: int, dilation: int) -> int:
    """Return the length that a dilated kernel spans along an axis."""
    return (kernel - 1) * dilation + 1


def count_all_windows(
    input_shape: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape
) -> Shape | str:
    """Return the number of windows along each axis of (C, *size), or what is wrong."""
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        wide = "" if max(dilation) == min(dilation) == 1 else f", dilation {tuple(dilation)}"
        return (
            f"kernel {tuple(kernel)}{wide} and stride {tuple(stride)} must be >= 1, padding "
            f"{tuple(padding)} >= 0"
        )
    windows = tuple(map(count_span, kernel, dilation))
    size = tuple(map(count_windows, input_shape[1:], windows, stride, padding))
    if min(size) < 1:
        return f"kernel {windows} does not fit into {input_shape}; use a smaller one or pad"
    return size


def find_window_at(
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> np.ndarray:
    """Return (size, kernel): the window where value i meets kernel position k, or -1."""
    windows = count_windows(size, count_span(kernel, dilation), stride, padding)
    start = np.arange(size)[:, None] + padding - np.arange(kernel) * dilation
    window = start // stride
    met = (start % stride == 0) & (window >= 0) & (window < windows)
    return np.where(met, window, -1)


def _fan_in_windows(
    kernels: np.ndarray, input_shape: Shape, stride: Shape, padding: Shape, dilation: Shape
) -> np.ndarray:
    """Return, for each input value, the sum of ``kernels`` over the windows that contain it.

    kernels: (C, *kernel), the contribution of each kernel position.
    """
    fan = kernels
    for axis, steps in enumerate(zip(stride, padding, dilation, strict=True), 1):
        meets = find_window_at(input_shape[axis], kernels.shape[axis], *steps) >= 0
        fan = np.moveaxis(np.tensordot(meets.astype(np.int64), fan, (1, axis)), 0, axis)
    return fan.ravel()


def _taps(
    shape: Shape,
    kernel: Shape,
    input_shape: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
) -> Iterator[tuple[Shape, Shape, Shape]]:
    """Yield (window, kernel position, input position) for all that meet inside the input."""
    for window in np.ndindex(*shape):
        for tap in np.ndindex(*kernel):
            axes = zip(window, tap, stride, padding, dilation, strict=True)
            place = tuple(w * s + k * d - p for w, k, s, p, d in axes)
            if all(0 <= x < n for x, n in zip(place, input_shape, strict=True)):
                yield window, tap, place


def _flat(place: Shape, shape: Shape) -> int:
    return int(np.ravel_multi_index(place, shape))


def _misfit(node: Weighted, input_shape: Shape, axes: str, inputs_axis: int = 1) -> str:
    """Describe a weight that does not fit axes or input; "" if it fits.

    inputs_axis: the axis of the weight that is C_in.
    """
    weight, bias, kind = node.weight, node.bias, type(node).__name__
    names = axes.split()
    if weight.ndim != len(names):
        return f"{kind}.weight must be ({', '.join(names)}), got shape {weight.shape}"
    inputs, outputs = node.input_length, weight.shape[1 - inputs_axis]
    if len(input_shape) != len(names) - 1 or input_shape[0] != inputs:
        image = "H, W" if len(names) == 4 else "L"
        cure = "change its weight or input"
        if len(input_shape) == len(names) - 1 and input_shape[0] == outputs:
            cure = f"its weight is ({', '.join(names)}): give weight.swapaxes(0, 1)"
        return f"{kind} takes ({inputs}, {image}), got {input_shape}; {cure}"
    if bias is not None and bias.shape != (outputs,):
        return f"{kind}.bias must be {(outputs,)}, got {bias.shape}"
    return ""


class Convolution(Weighted):
    """Common part of Conv1d and Conv2d; steps are given per axis of the image.

    dilation: distance from one kernel position to the next.
    groups: number of equal groups into which the channels of input and output are split; each
        output reads the inputs of its own group.
    """

    groups: int

    _axes: str  # names of the weight's axes

    @property
    def _steps(self) -> tuple[Shape, Shape, Shape]:
        """Stride, padding and dilation, each per axis."""
        raise NotImplementedError

    @property
    def input_length(self) -> int:
        """Number of input channels."""
        return int(self.weight.shape[1]) * self.groups if self.weight.ndim > 1 else 0

    @property
    def window(self) -> Shape:
        """Length that one window spans along each axis of the input."""
        return tuple(map(count_span, self.weight.shape[2:], self._steps[2]))

    def windows_of(self, axis: int, size: int) -> Float[np.ndarray, "size windows"]:
        """Return 1 where a position along an image's axis lies in a window, else 0."""
        stride, padding, dilation = (steps[axis] for steps in self._steps)
        window = find_window_at(size, self.weight.shape[2 + axis], stride, padding, dilation)
        windows = count_windows(size, self.window[axis], stride, padding)
        inside = np.zeros((size, windows), np.float32)
        place, tap = np.nonzero(window >= 0)
        inside[place, window[place, tap]] = 1
        return inside

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (C_out, *windows), or what is wrong with groups, weight or input shape."""
        outputs = len(self.weight) if self.weight.ndim else 0
        if self.groups < 1 or outputs % self.groups:
            kind = type(self).__name__
            return f"{kind}.groups {self.groups} must be >= 1 and divide {outputs} outputs"
        wrong = _misfit(self, input_shape, self._axes)
        if wrong:
            return wrong
        size = count_all_windows(input_shape, self.weight.shape[2:], *self._steps)
        return (int(self.weight.shape[0]), *size) if isinstance(size, tuple) else size

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return, per input value, the number of weights that multiply it in all windows."""
        by_input = self.by_input()
        nonzero = (by_input != 0).sum(1)
        every = np.full_like(nonzero, by_input.shape[1])
        return FanOut(
            *(_fan_in_windows(x, input_shape, *self._steps) for x in (nonzero, every))
        )

    def by_input(self) -> np.ndarray:
        """Return the weights as (C_in, outputs per group, *kernel)."""
        outputs, inputs, *kernel = self.weight.shape
        grouped = self.weight.reshape(self.groups, outputs // self.groups, inputs, *kernel)
        return grouped.swapaxes(1, 2).reshape(self.groups * inputs, -1, *kernel)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return, for each value, one synapse per weight that multiplies it."""
        rows: SynapseRows = [[] for _ in range(math.prod(input_shape))]
        shape = find_output_shape(self, input_shape)
        taps = list(_taps(shape[1:], self.weight.shape[2:], input_shape[1:], *self._steps))
        for co, own in np.ndindex(self.weight.shape[:2]):
            group = co // (len(self.weight) // self.groups)
            ci = group * self.weight.shape[1] + own
            for window, tap, place in taps:
                weight = float(self.weight[(co, own, *tap)])
                target = _flat((co, *window), shape)
                rows[_flat((ci, *place), input_shape)].append(Synapse(target, weight))
        return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv1d(Convolution):
    """Cross-correlation of (C, L), as in torch.

    weight: (C_out, C_in / groups, k). bias: (C_out,). For the rest see :class:`Convolution`.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    _axes = "C_out C_in k"

    def __post_init__(self) -> None:
        freeze(self, weight=None, bias=None)
        require_whole_fields(self, "stride", "padding", "dilation", "groups")

    @property
    def _steps(self) -> tuple[Shape, Shape, Shape]:
        return (self.stride,), (self.padding,), (self.dilation,)

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return (K, C_out, windows)."""
        return F.conv1d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(Convolution):
    """Cross-correlation of (C, H, W), as in torch.

    weight: (C_out, C_in / groups, kH, kW). bias: (C_out,). For the rest see
        :class:`Convolution`.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    _axes = "C_out C_in kH kW"

    def __post_init__(self) -> None:
        freeze(self, weight=None, bias=None)
        pair_up(self, "stride", "padding", "dilation")
        require_whole_fields(self, "groups")

    @property
    def _steps(self) -> tuple[Shape, Shape, Shape]:
        return self.stride, self.padding, self.dilation

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return (K, C_out, *windows)."""
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def plain(self) -> "Conv2d":
        """Return the same map without dilation and groups, with zeros in a larger kernel."""
        if self.groups == 1 and self.dilation == (1, 1):
            return self
        outputs, inputs = self.weight.shape[:2]
        share, (down, right) = outputs // self.groups, self.dilation
        weight = np.zeros((outputs, self.input_length, *self.window), self.weight.dtype)
        for co in range(outputs):
            first = co // share * inputs
            weight[co, first : first + inputs, ::down, ::right] = self.weight[co]
        return replace(self, weight=weight, dilation=(1, 1), groups=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvTranspose2d(Weighted):
    """The transpose of a Conv2d, as in torch: every value adds a kernel to the output.

    weight: (C_in, C_out, kH, kW). bias: (C_out,).
    output_padding: rows and columns added at the far end, fewer than stride.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output_padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        freeze(self, weight=None, bias=None)
        pair_up(self, "stride", "padding", "output_padding")

    @property
    def input_length(self) -> int:
        """Number of input channels."""
        return int(self.weight.shape[0]) if self.weight.ndim else 0

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (C_out, H, W), or what is wrong with weight, padding or input shape."""
        wrong = _misfit(self, input_shape, "C_in C_out kH kW", inputs_axis=0)
        if wrong:
            return wrong
        kernel = self.weight.shape[2:]
        stride, padding, far = self.stride, self.padding, self.output_padding
        if min(*kernel, *stride) < 1 or min(*padding, *far) < 0:
            return (
                f"kernel {kernel} and stride {stride} must be >= 1, padding {padding} and "
                f"output_padding {far} >= 0"
            )
        if any(f >= s for f, s in zip(far, stride, strict=True)):
            return f"output_padding {far} must be below stride {stride}"
        size = tuple(
            (n - 1) * s - 2 * p + k + f
            for n, k, s, p, f in zip(input_shape[1:], kernel, stride, padding, far, strict=True)
        )
        if min(size) < 1:
            return f"padding {padding} takes away all that a kernel {kernel} paints; use less"
        return (int(self.weight.shape[1]), *size)

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return (K, C_out, H, W)."""
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.output_padding
        )

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return, for each value, how many of its products fall inside the output."""
        nonzero = (self.weight != 0).sum(1)
        every = np.full_like(nonzero, self.weight.shape[1])
        _, *size = find_output_shape(self, input_shape)
        rows, columns = (self._inside(a, input_shape[1 + a], size[a]) for a in (0, 1))
        return FanOut(
            *(np.einsum("ckl,hk,wl->chw", x, rows, columns).ravel() for x in (nonzero, every))
        )

    def _inside(self, axis: int, size: int, outputs: int) -> np.ndarray:
        """Return (size, kernel): 1 where input i meets kernel position k inside the output."""
        taps = np.arange(self.weight.shape[2 + axis])
        place = np.arange(size)[:, None] * self.stride[axis] - self.padding[axis] + taps
        return np.asarray((place >= 0) & (place < outputs), np.int64)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return, for each value, its products that fall inside the output."""
        rows: SynapseRows = [[] for _ in range(math.prod(input_shape))]
        shape, kernel = find_output_shape(self, input_shape), self.weight.shape[2:]
        # The transpose of a Conv2d: the windows there are the input positions here.
        taps = list(
            _taps(input_shape[1:], kernel, shape[1:], self.stride, self.padding, (1, 1))
        )
        for ci, co in np.ndindex(self.weight.shape[:2]):
            for place, tap, reached in taps:
                target = _flat((co, *reached), shape)
                weight = float(self.weight[(ci, co, *tap)])
                rows[_flat((ci, *place), input_shape)].append(Synapse(target, weight))
        return rows


@dataclass(frozen=True, kw_only=True, eq=False)
class AvgPool2d(Connection):
    """Mean over windows; values that do not fill a window are dropped. kernel, stride: (H, W).

    Its synapses have weights of 1; the sum over a window is divided at the end.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def __post_init__(self) -> None:
        pair_up(self, "kernel", "stride")

    @property
    def divisor(self) -> int:
        """Number of values per window."""
        return math.prod(self.kernel)

    def output_shape(self, input_shape: Shape) -> Shape | str:
        """Return (C, *windows), or what is wrong with kernel, stride or input shape."""
        if len(input_shape) != 3:
            return f"AvgPool2d takes (C, H, W), got {input_shape}"
        size = count_all_windows(input_shape, self.kernel, self.stride, (0, 0), (1, 1))
        return (input_shape[0], *size) if isinstance(size, tuple) else size

    def apply(self, x: Tensor, weight: Any = None, bias: Any = None) -> Tensor:
        """Return (K, C, *windows)."""
        return F.avg_pool2d(x, self.kernel, self.stride)

    def fan_out(self, input_shape: Shape) -> FanOut:
        """Return, for each value, the number of windows that contain it."""
        ones = np.ones((input_shape[0], *self.kernel), np.int64)
        fan = _fan_in_windows(ones, input_shape, self.stride, (0, 0), (1, 1))
        return FanOut(fan, fan)

    def synapses(self, input_shape: Shape) -> SynapseRows:
        """Return, for each value, a synapse to each window that contains it."""
        ones = np.ones((input_shape[0], 1, *self.kernel))
        sums = Conv2d(weight=ones, stride=self.stride, groups=input_shape[0])
        return sums.synapses(input_shape)

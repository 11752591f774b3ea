"""Compiled convolutions and average pools of spikes; axes as in kernels.py."""

from typing import NamedTuple

import numpy as np

from neuro.events.grid.kernels import Buffer, RowSpan, Train, WeightArrays, bare, inlined, touch


class SlidingWindow(NamedTuple):
    """The windows of a kernel on a plane: (H, W) of image, output, window, stride, padding.

    taps: along each axis, the kernel position at each place of a window; -1: no position.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    taps: tuple[np.ndarray, np.ndarray]


@inlined
def find_reached_windows(place: int, kernel: int, stride: int, size: int) -> tuple[int, int]:
    """Return the first and the last window that contain a place of the padded axis."""
    return max(0, -((kernel - 1 - place) // stride)), min(size - 1, place // stride)


@bare
def scatter_conv(
    buffer: Buffer, span: RowSpan, train: Train, weights: WeightArrays, windows: SlidingWindow
) -> tuple[int, int]:
    """Add the weights of each spike to its targets; return the synaptic events."""
    (high, wide), (height, width) = windows.image, windows.size
    (step_y, step_x), (pad_y, pad_x) = windows.stride, windows.padding
    rows, values = weights.rows, buffer.values
    (tall, broad), (taps_y, taps_x) = windows.kernel, windows.taps
    channels = rows.shape[3]
    share = rows.shape[0] * channels // values.shape[3]  # input channels of a group
    served, served_all = 0, 0
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            for e in range(train.at[s, t + span.shift], train.at[s, t + span.shift + 1]):
                value = train.value[e]
                channel, place = divmod(train.neuron[e], high * wide)
                first = channel // share * channels
                y, x = place // wide + pad_y, place % wide + pad_x
                top, bottom = find_reached_windows(y, tall, step_y, height)
                left, right = find_reached_windows(x, broad, step_x, width)
                for row in range(top, bottom + 1):
                    ky = taps_y[y - row * step_y]
                    if ky < 0:
                        continue
                    for column in range(left, right + 1):
                        kx = taps_x[x - column * step_x]
                        if kx < 0:
                            continue
                        target = row * width + column
                        touch(buffer, s, t, target)
                        out = values[s, t, target, first : first + channels]
                        for c in range(channels):
                            out[c] += value * rows[channel, ky, kx, c]
                        served += weights.nonzero[channel, ky, kx]
                        served_all += channels
    return served, served_all


@bare
def pool(
    buffer: Buffer, span: RowSpan, train: Train, windows: SlidingWindow
) -> tuple[int, int]:
    """Add each spike to the windows that contain it; return the synaptic events.

    A later step divides the sums by the area, as in torch.
    """
    served = 0
    (high, wide), (rows, columns) = windows.image, windows.size
    (step_y, step_x), (tall, broad) = windows.stride, windows.kernel
    for s in range(buffer.hit.shape[0]):
        for t in range(span.start, span.stop):
            for e in range(train.at[s, t + span.shift], train.at[s, t + span.shift + 1]):
                channel, place = divmod(train.neuron[e], high * wide)
                top, bottom = find_reached_windows(place // wide, tall, step_y, rows)
                left, right = find_reached_windows(place % wide, broad, step_x, columns)
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        target = (channel * rows + row) * columns + column
                        touch(buffer, s, t, target)
                        buffer.values[s, t, target, 0] += train.value[e]
                        served += 1
    return served, served

"""Arrays that start at a cache line: else every second wide load would need two of them."""

import math

import numpy as np

LINE = 64  # bytes


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of any values."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    out: np.ndarray = np.ndarray(shape, dtype, raw, start)
    return out


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros."""
    out = empty(shape, dtype)
    out.fill(0)
    return out


def aligned(values: np.ndarray) -> np.ndarray:
    """Return a copy in C order."""
    out = empty(values.shape, values.dtype)
    out[:] = values
    return out

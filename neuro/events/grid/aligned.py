"""Arrays that start at a cache line: a vector load of 64 bytes touches one line."""

import math

import numpy as np

LINE = 64  # bytes


def make_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an aligned array without initial values."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    out: np.ndarray = np.ndarray(shape, dtype, raw, start)
    return out


def make_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an aligned array of zeros."""
    out = make_empty(shape, dtype)
    out.fill(0)
    return out


def copy_aligned(values: np.ndarray) -> np.ndarray:
    """Return an aligned copy in C order."""
    out = make_empty(values.shape, values.dtype)
    out[:] = values
    return out

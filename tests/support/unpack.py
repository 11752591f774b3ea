"""Weights out of the bytes of :mod:`neuro.ops.ternary`."""

import numpy as np
from jaxtyping import Int8, UInt8


def unpack_ternary(packed: UInt8[np.ndarray, "M J"], columns: int) -> Int8[np.ndarray, "M N"]:
    """Return unpacked weights; the inverse of :func:`neuro.ops.ternary.pack_ternary`."""
    codes = np.concatenate([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    return np.asarray(codes[:, :columns].astype(np.int8) - 1)

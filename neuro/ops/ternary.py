"""Products with ternary matrices that are packed four weights in a byte, in integers.

A weight w in {-1, 0, 1} is the code w + 1 in two bits. Byte j of a row holds the columns j,
J + j, 2 J + j and 3 J + j, so that a loop over bytes meets neighbouring inputs.
Axes: T tokens, M outputs, N inputs, J = N / 4 bytes, rounded up.
"""

import numpy as np
from jaxtyping import Int8, Int32, UInt8

from neuro.ops.jit import kernel

LARGEST = 2**18  # inputs, a quarter of which times 128 and 2 * 64 has a sum within 32 bits


def pack_ternary(weight: Int8[np.ndarray, "M N"]) -> UInt8[np.ndarray, "M J"]:
    """Return weights packed; columns that fill the last byte have weight 0.

    Raises:
        ValueError: a weight is none of -1, 0 and 1, or there are too many columns for sums of
            32 bits.
    """
    wrong = weight[(weight < -1) | (weight > 1)]
    if wrong.size or weight.shape[1] > LARGEST:
        raise ValueError(
            f"pack_ternary: {wrong.size} weights are not -1, 0 or 1"
            f"{f', the first {wrong[0]}' if wrong.size else ''}, or more than {LARGEST:,} "
            f"columns ({weight.shape[1]:,}); round weights first, split larger layers"
        )
    rows, columns = weight.shape
    codes = np.ones((rows, 4 * -(-columns // 4)), np.uint8)
    codes[:, :columns] = weight + 1
    a, b, c, d = np.split(codes, 4, axis=1)
    packed: np.ndarray = a | b << 2 | c << 4 | d << 6
    return packed


def unpack_ternary(packed: UInt8[np.ndarray, "M J"], columns: int) -> Int8[np.ndarray, "M N"]:
    """Return the weights again; the inverse of :func:`pack_ternary`."""
    codes = np.concatenate([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    return np.asarray(codes[:, :columns].astype(np.int8) - 1)


def multiply_packed(
    packed: UInt8[np.ndarray, "M J"], x: Int8[np.ndarray, "T N"]
) -> Int32[np.ndarray, "T M"]:
    """Return ``x @ weight.T``, exactly, in one thread."""
    tokens, columns = x.shape
    planes = np.zeros((tokens, 4 * packed.shape[1]), np.int16)
    planes[:, :columns] = x
    out = np.empty((tokens, len(packed)), np.int32)
    _multiply(
        packed, planes.reshape(tokens, 4, packed.shape[1]), planes.sum(1, dtype=np.int32), out
    )
    return out


@kernel
def _multiply(
    packed: np.ndarray, planes: np.ndarray, sums: np.ndarray, out: np.ndarray
) -> None:
    """Write sums of (code - 1) x: those of codes, less the sum of x.

    Codes are not shifted: the sum of those times 4 is divided by 4. Products of 16 bits that
    are added in 32 are one instruction on most processors.
    """
    for m in range(packed.shape[0]):
        for t in range(planes.shape[0]):
            a, b, c, d = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
            for j in range(packed.shape[1]):
                four = packed[m, j]
                a += np.int32(np.int16(four & 3)) * np.int32(planes[t, 0, j])
                b += np.int32(np.int16(four & 12)) * np.int32(planes[t, 1, j])
                c += np.int32(np.int16(four & 48)) * np.int32(planes[t, 2, j])
                d += np.int32(np.int16(four & 192)) * np.int32(planes[t, 3, j])
            out[t, m] = a + np.int32(b) // 4 + np.int32(c) // 16 + np.int32(d) // 64 - sums[t]

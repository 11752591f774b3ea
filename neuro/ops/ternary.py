"""Products with ternary matrices that are packed four weights in a byte, in integers.

A weight w in {-1, 0, 1} is the code w + 1 in two bits. Byte j of a row holds the columns j,
J + j, 2 J + j and 3 J + j, so that a loop over bytes meets neighbouring inputs.
Axes: T tokens, M outputs, N inputs, J = N / 4 bytes, rounded up.
"""

import numpy as np
from jaxtyping import Float32, Int8, Int32, UInt8

from neuro.ops.dot_codes import BYTES, dot_codes, has_dot_product
from neuro.ops.jit import kernel

LEVELS, ONE = np.float32(127), np.float32(1)  # of 8 bits with a sign
SMALLEST = np.float32(1e-5)  # input of a token that 127 may stand for
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
    packed: UInt8[np.ndarray, "M J"],
    x: Int8[np.ndarray, "T N"],
    *,
    dot: bool = has_dot_product(),
) -> Int32[np.ndarray, "T M"]:
    """Return ``x @ weight.T``, exactly, in one thread.

    dot: by the processor's dot product of bytes, where it has one; else by a plain loop.
    """
    tokens, columns = x.shape
    whole, kind = 4 * packed.shape[1], np.int8 if dot else np.int16
    if columns == whole:
        planes = np.ascontiguousarray(x, kind)
    else:
        planes = np.zeros((tokens, whole), kind)
        planes[:, :columns] = x
    out = np.empty((tokens, len(packed)), np.int32)
    run = _multiply_dot if dot else _multiply
    run(packed, planes.reshape(tokens, 4, packed.shape[1]), out)
    return out


def map_packed(  # noqa: PLR0913 - numbers that have names
    packed: UInt8[np.ndarray, "M J"],
    x: Float32[np.ndarray, "T N"],
    inverse: Float32[np.ndarray, " T"],
    gain: Float32[np.ndarray, " N"],
    scale: float,
    ticks: int = 0,
    threshold: float = 1.0,
    *,
    dot: bool = has_dot_product(),
) -> Float32[np.ndarray, "T M"]:
    """Return a ternary map of inputs that are scaled and quantised first.

    Step by step in float32 as torch computes it, so that both have the same answers, bit for
    bit. A token with an input that is not a number has no other answers.

    Args:
        packed: weights.
        x: inputs.
        inverse: by which a token is multiplied.
        gain: by which inputs are, then.
        scale: of the weights.
        ticks: at most so many spikes an input; 0: 8 bits of the largest input.
        threshold: of the spikes.
        dot: as of :func:`multiply_packed`.
    """
    tokens, width = len(x), packed.shape[1]
    planes = np.zeros((tokens, 4 * width), np.int8 if dot else np.int16)
    scales = _quantise(x, inverse, gain, ticks, np.float32(threshold), planes)
    whole = np.empty((tokens, len(packed)), np.int32)
    run = _multiply_dot if dot else _multiply
    run(packed, planes.reshape(tokens, 4, width), whole)
    return _scale(whole, np.float32(scale), scales)


@kernel
def _quantise(
    x: np.ndarray,
    inverse: np.ndarray,
    gain: np.ndarray,
    ticks: int,
    threshold: np.float32,
    planes: np.ndarray,
) -> np.ndarray:
    """Write whole numbers into planes, T by at least N; return the scale of each token."""
    out = np.empty(len(x), np.float32)
    half, most = threshold / np.float32(2), np.float32(ticks)
    for t in range(len(x)):
        largest, odd = np.float32(0), 0
        for n in range(x.shape[1]):
            v = x[t, n] * inverse[t] * gain[n]
            largest = max(largest, abs(v))
            odd += v != v
        if ticks:
            out[t] = threshold
            for n in range(x.shape[1]):
                v = x[t, n] * inverse[t] * gain[n]
                count = min(np.floor((abs(v) + half) / threshold), most)
                planes[t, n] = np.int16(count if v > 0 else -count)
        else:
            out[t] = max(largest, SMALLEST) / LEVELS
            for n in range(x.shape[1]):
                whole = np.rint(x[t, n] * inverse[t] * gain[n] / out[t])
                planes[t, n] = np.int16(max(min(whole, LEVELS), -LEVELS - ONE))
        if odd:
            out[t] = np.nan
    return out


@kernel
def _scale(whole: np.ndarray, scale: np.float32, scales: np.ndarray) -> np.ndarray:
    """Return whole numbers times the scale of the weights and that of each token."""
    out = np.empty(whole.shape, np.float32)
    for t in range(len(out)):
        factor = scale * scales[t]
        for m in range(out.shape[1]):
            out[t, m] = np.float32(whole[t, m]) * factor
    return out


@kernel
def _sum(x: np.ndarray) -> np.ndarray:
    """Return the sum of each token's inputs."""
    out = np.zeros(len(x), np.int32)
    for t in range(len(x)):
        for k in range(4):
            for j in range(x.shape[2]):
                out[t] += np.int32(x[t, k, j])
    return out


@kernel
def _multiply_dot(packed: np.ndarray, planes: np.ndarray, out: np.ndarray) -> None:
    """Write sums of (code - 1) x: those of codes, less the sum of x."""
    sums, blocks = _sum(planes), packed.shape[1] // BYTES
    for m in range(packed.shape[0]):
        for t in range(planes.shape[0]):
            total = dot_codes(packed, m, planes, t, blocks)  # type: ignore[call-arg, var-annotated]
            for j in range(BYTES * blocks, packed.shape[1]):
                for k in range(4):
                    total += np.int32(packed[m, j] >> 2 * k & 3) * np.int32(planes[t, k, j])
            out[t, m] = total - sums[t]


@kernel
def _multiply(packed: np.ndarray, planes: np.ndarray, out: np.ndarray) -> None:
    """Write the same in a plain loop.

    Codes are not shifted: the sum of those times 4 is divided by 4. Products of 16 bits that
    are added in 32 are one instruction on most processors.
    """
    sums = _sum(planes)
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

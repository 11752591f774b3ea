"""Fixed-point arithmetic of graded neurons, used by the reference and by Lava's processes.

A value is a whole number of 2^-16 (:data:`FRACTION`) in 24 bits, one of which is the sign; a
count is a whole number. Rounding is to the nearest, half away from zero. This file imports
NumPy only, since a child process without neuro imports it.
Axes: ``...`` any (ticks, samples), N neurons.
"""

from collections.abc import Mapping

import numpy as np

FRACTION = 16
LIMIT = 2**23  # bound of a value, and of a state
STATE_FRACTION = 16  # of the state of a gate
GATE = 18  # bits of a share between 0 and 1
ROOT = 39  # exponent of inverse_square_root
SIDE = 8  # where the table of the logistic function ends
STEP = 5  # bits of its steps: 2^-5


def round_shift(x: np.ndarray, bits: np.ndarray | int) -> np.ndarray:
    """Return x / 2^bits, rounded half away from zero; bits >= 0."""
    half = (np.int64(1) << np.asarray(bits, np.int64)) >> 1
    return np.asarray(np.sign(x) * ((np.abs(x) + half) >> bits))


def count_bits(s: np.ndarray) -> np.ndarray:
    """Return the bits of whole numbers from 1 to 2^62: 64 minus the leading zeros."""
    length, rest = np.zeros(s.shape, np.int64), s.astype(np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        some = np.where(rest >> step, step, 0)
        length, rest = length + some, rest >> some
    return length + 1


def _make_roots() -> np.ndarray:
    """Return 2^31 / sqrt(m) at the centres of 128 parts of [2^30, 2^31), [2^31, 2^32)."""
    part = (np.arange(128) + 0.5) / 128
    middles = np.concatenate([2.0**30 * (1 + part), 2.0**31 * (1 + part)])
    return np.asarray(np.rint(2.0**31 / np.sqrt(middles)).astype(np.int64))


ROOTS = _make_roots()
# 2^18 sigma(x) at the 257 bounds of 256 parts of [0, 8].
BOUNDS = np.arange((SIDE << STEP) + 1) / 2**STEP
LOGISTIC = np.rint(2.0**GATE / (1 + np.exp(-BOUNDS))).astype(np.int64)


def invert_square_root(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (r, j) with 1 / sqrt(s) about r 2^(j - 39), r of 24 bits.

    s: whole numbers from 1 to 2^62. The leading zeros choose j so that m = s 4^j lies in
    [2^30, 2^32). The highest bits of m choose one of 256 entries of a table, and one Newton
    step, r (3 - m r^2) / 2, leaves a relative error below 2^-16.
    """
    j = (32 - count_bits(s)) // 2
    m = np.where(j >= 0, s << np.maximum(2 * j, 0), s >> np.maximum(-2 * j, 0))
    high = m >= 2**31
    first = ROOTS[np.where(high, 128 + ((m >> 24) & 127), (m >> 23) & 127)]
    error = (np.int64(1) << 62) - m * first * first
    return (first << 8) + round_shift(first * (error >> 24), 31), j


def normalise(x: np.ndarray, gain: np.ndarray, shift: int, eps: int) -> np.ndarray:
    """Return gain x / sqrt(sum x^2 + eps) of each row, with the gain in units of 2^-shift.

    eps: in units of 2^-32. The gain includes the root of the number of values.
    """
    total = np.maximum(np.square(x).sum(-1, keepdims=True) + eps, 1)
    root, j = invert_square_root(total)
    unit = round_shift(x * root, ROOT - 23 - j)  # in units of 2^-23, at most 1
    return round_shift(unit * gain, 23 + shift - FRACTION)


def count_spikes(x: np.ndarray, ticks: int, threshold: int) -> np.ndarray:
    """Return sign(x) min(ticks, floor((|x| + threshold / 2) / threshold))."""
    return np.asarray(
        np.sign(x) * np.minimum((2 * np.abs(x) + threshold) // (2 * threshold), ticks)
    )


def scale(x: np.ndarray, mantissa: int, exponent: int) -> np.ndarray:
    """Return sums of weights as values: x mantissa 2^-exponent."""
    return round_shift(x * mantissa, exponent)


def logistic(x: np.ndarray) -> np.ndarray:
    """Return 2^18 / (1 + e^-x), linear between the entries of a table; 0 and 1 beyond +-8.

    The table holds x >= 0; below 0 the value is 1 minus that at -x.
    """
    bits = FRACTION - STEP
    size = np.minimum(np.abs(x), SIDE << FRACTION)
    index = np.minimum(size >> bits, len(LOGISTIC) - 2)
    part = size - (index << bits)
    low, high = LOGISTIC[index], LOGISTIC[index + 1]
    between = low + round_shift((high - low) * part, bits)
    upper = np.where(size < SIDE << FRACTION, between, 2**GATE)
    return np.where(x < 0, 2**GATE - upper, upper)


def silu(x: np.ndarray) -> np.ndarray:
    """Return x sigma(x)."""
    return round_shift(x * logistic(x), GATE)


def multiply(x: np.ndarray) -> np.ndarray:
    """Return the product of the two halves of each row."""
    half = x.shape[-1] // 2
    return round_shift(x[..., :half] * x[..., half:], FRACTION)


def advance_gate(x: np.ndarray, state: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the next state h + leave (c - h), with leave = rest sigma(-x_f).

    Args:
        x: two halves: the gate's input x_f and the candidate c.
        state: h, in units of 2^-16.
        rest: the share that the floor leaves to the gate, in units of 2^-18.
    """
    half = x.shape[-1] // 2
    leave = round_shift(rest * logistic(-x[..., :half]), GATE)
    candidate = x[..., half:] << (STATE_FRACTION - FRACTION)
    return np.asarray(state + round_shift(leave * (candidate - state), GATE))


def read_gate(state: np.ndarray) -> np.ndarray:
    """Return a state as a value."""
    return round_shift(state, STATE_FRACTION - FRACTION)


def compute(
    kind: str, x: np.ndarray, numbers: Mapping[str, int], array: np.ndarray
) -> np.ndarray:
    """Return the output of a group without synapses and state for its input x.

    kind, numbers, array: those of its NeuronGroup.
    """
    match kind:
        case "scale":
            return scale(x, **numbers)
        case "norm":
            return normalise(x, array.astype(np.int64), **numbers)
        case "spikes":
            return count_spikes(x, **numbers)
        case "silu":
            return silu(x)
        case "multiply":
            return multiply(x)
    return x  # input, add, join

"""Products with ternary matrices in integers; a byte holds four weights.

A weight w in {-1, 0, 1} is stored as the code w + 1 in two bits. Byte j of a row holds the
columns j, J + j, 2 J + j and 3 J + j, so that a loop over bytes reads neighbouring inputs.
"""

from typing import Any

import numba
import numpy as np
from jaxtyping import Float32, Int8, Int32, UInt8
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from neuro.ops.jit import kernel

LEVELS, ONE = np.float32(127), np.float32(1)  # levels of a signed 8-bit number
SMALLEST = np.float32(1e-5)  # the largest input of a token, which maps to 127, is at least this
LARGEST = 2**18  # most inputs: a quarter of them times 128 and 2 * 64 sums within 32 bits
BYTES = 32  # bytes that one instruction multiplies
cgutils: Any = _cgutils  # the module has no type annotations
MASKS = 3, 12, 48, -64  # the two bits of each code, as signed bytes
LANES = BYTES // 4  # 32-bit sums per instruction
INSTRUCTION = "llvm.x86.avx512.vpdpbusd.256"  # part of AVX-512 VNNI and of AVX-VNNI


def has_dot_product() -> bool:
    """Say whether this processor has the instruction and Numba compiles for this processor."""
    config: Any = numba.config
    if config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES:
        return False  # not compiled, or compiled for a processor that the user names
    have = binding.get_host_cpu_features()
    return bool(have.get("avxvnni") or (have.get("avx512vnni") and have.get("avx512vl")))


# Numba does not compile Python loops to VPDPBUSD, so this is written in LLVM's instructions.
@intrinsic
def dot_codes(_: Any, packed: Any, m: Any, planes: Any, t: Any, blocks: Any) -> Any:  # noqa: ARG001
    """Return the sum of codes times numbers over ``blocks`` blocks of 32 bytes.

    The instruction multiplies 32 unsigned by 32 signed bytes, and adds each four products to a
    32-bit sum.

    packed: M J bytes of four codes each, contiguous; row m is used.
    planes: T 4 J signed bytes, contiguous; entry t is used. Its row k holds the numbers for the
        codes in bits 2 k and 2 k + 1.
    The codes are not shifted; the sums of the higher bits, multiples of 4, 16 and 64, are
    shifted instead. (Arguments are indices, because making an array for a row takes as long as
    the row.)
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, numbers = (
            context.make_array(signature.args[k])(context, builder, arguments[k])
            for k in (0, 2)
        )
        kind, byte, lane = arguments[4].type, ir.IntType(8), ir.IntType(32)
        width = builder.extract_value(numbers.shape, 2)
        own_codes = builder.gep(codes.data, [builder.mul(arguments[1], width)])
        many_numbers = builder.mul(width, ir.Constant(width.type, 4))
        own_numbers = builder.gep(numbers.data, [builder.mul(arguments[3], many_numbers)])
        many, sums = ir.VectorType(byte, BYTES), ir.VectorType(lane, LANES)

        def load(start: Any, at: Any) -> Any:
            place = builder.bitcast(builder.gep(start, [at]), many.as_pointer())
            loaded = builder.load(place)
            loaded.align = 1
            return loaded

        def call(name: str, out: Any, *values: Any) -> Any:
            declared = ir.FunctionType(out, [value.type for value in values])
            function = cgutils.get_or_insert_function(builder.module, declared, name)
            return builder.call(function, values)

        zero = ir.Constant(sums, [0] * LANES)
        totals = [cgutils.alloca_once_value(builder, zero) for _ in range(4)]
        with cgutils.for_range(builder, arguments[4], intp=kind) as loop:
            at = builder.mul(loop.index, ir.Constant(kind, BYTES))
            four = load(own_codes, at)
            for k, total in enumerate(totals):
                mask = ir.Constant(many, [MASKS[k]] * BYTES)
                row = builder.mul(width, ir.Constant(width.type, k))
                values = builder.and_(four, mask), load(own_numbers, builder.add(at, row))
                own = (builder.bitcast(value, sums) for value in values)
                builder.store(call(INSTRUCTION, sums, builder.load(total), *own), total)
        out = zero
        for k, total in enumerate(totals):
            shift = ir.Constant(sums, [2 * k] * LANES)
            out = builder.add(out, builder.ashr(builder.load(total), shift))
        return call(f"llvm.vector.reduce.add.v{LANES}i32", lane, out)

    return types.int32(packed, types.intp, planes, types.intp, types.intp), generate


def pack_ternary(weight: Int8[np.ndarray, "M N"]) -> UInt8[np.ndarray, "M J"]:
    """Return packed weights; columns added to fill the last byte have weight 0.

    Raises:
        ValueError: a weight is not -1, 0 or 1, or there are so many columns that a sum could
            exceed 32 bits.
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


def multiply_packed(
    packed: UInt8[np.ndarray, "M J"],
    x: Int8[np.ndarray, "T N"],
    *,
    dot: bool = has_dot_product(),
) -> Int32[np.ndarray, "T M"]:
    """Return ``x @ weight.T``, exactly, computed in one thread.

    dot: use the processor's dot product of bytes; if False, use a plain loop.
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
    """Scale and quantise inputs, multiply them by a ternary matrix, and scale the result back.

    It computes in float32 in torch's order, so that the result equals torch's bit for bit. If
    an input of a token is NaN, all its outputs are NaN.

    Args:
        packed: the weights, from :func:`pack_ternary`.
        x: the inputs.
        inverse: factor of each token.
        gain: factor of each input, applied after ``inverse``.
        scale: scale of the weights.
        ticks: most spikes per input; 0 quantises to 8 bits relative to the largest input.
        threshold: threshold of the spikes.
        dot: as in :func:`multiply_packed`.
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
    """Write whole numbers to ``planes`` (T by at least N); return the scale of each token."""
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
    """Return whole numbers times the weights' scale and each token's scale."""
    out: np.ndarray = np.empty(whole.shape, np.float32)
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
    """Write sums of (code - 1) x, computed as the sum of code x minus the sum of x."""
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
    """Write the same sums as :func:`_multiply_dot` in a plain loop.

    Codes are not shifted: the sum of four times the code is divided by 4. Adding a 16-bit
    product to a 32-bit sum is one instruction on most processors.
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

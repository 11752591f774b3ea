"""For compiled loops: sums of products of 2-bit codes with 8-bit numbers, by one instruction.

VPDPBUSD multiplies 32 unsigned bytes with 32 signed bytes and adds four products at a time in
32 bits. Numba does not compile Python loops to it, so it is written in LLVM's instructions.
"""

from typing import Any

import numba
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

BYTES = 32  # multiplied at once
cgutils: Any = _cgutils  # without types
MASKS = 3, 12, 48, -64  # the two bits of each code, as signed bytes
LANES = BYTES // 4  # sums of 32 bits
INSTRUCTION = "llvm.x86.avx512.vpdpbusd.256"  # of AVX-512 VNNI, and of AVX-VNNI


def has_dot_product() -> bool:
    """Say whether Numba compiles for this processor and the processor has the instruction."""
    config: Any = numba.config
    if config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES:
        return False  # not compiled, or compiled for a processor that the user names
    have = binding.get_host_cpu_features()
    return bool(have.get("avxvnni") or (have.get("avx512vnni") and have.get("avx512vl")))


@intrinsic
def dot_codes(_: Any, packed: Any, m: Any, planes: Any, t: Any, blocks: Any) -> Any:  # noqa: ARG001
    """Return the sum of codes times numbers over the first ``blocks`` times 32 bytes.

    packed: M J bytes of four codes; row m is used. planes: T 4 J signed bytes; entry t is used,
    and its row k holds the numbers of the codes in bits 2 k and 2 k + 1. Both are contiguous.
    Codes are not shifted; instead the sums of higher bits, multiples of 4, 16 and 64, are.
    (Indices instead of rows: an array for a row costs as much time as the row.)
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

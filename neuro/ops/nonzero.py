"""For compiled loops: which of 64 neighbouring values are not zero, in one look.

Written in the compiler's own terms, for no loop says it: one compare and a few moves on any
processor with wide registers, where a loop over values takes a hundred cycles.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

WIDE = 64  # values in one look


@intrinsic
def busy(_: Any, values: Any, first: Any) -> Any:
    """Return a number with bit k set where ``values[first + k]`` is not 0, k < 64; NaN is not.

    values: one contiguous axis of floats, with 64 of them from ``first`` on.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        place = builder.gep(array.data, [given[1]])
        kind = ir.VectorType(place.type.pointee, WIDE)
        loaded = builder.load(builder.bitcast(place, kind.as_pointer()))
        loaded.align = values.dtype.bitwidth // 8
        differs = builder.fcmp_unordered("!=", loaded, ir.Constant(kind, [0.0] * WIDE))
        return builder.bitcast(differs, ir.IntType(WIDE))

    return types.uint64(values, first), generate


@intrinsic
def lowest(_: Any, bits: Any) -> Any:
    """Return the place of the lowest bit that is set, of any but 0."""

    def generate(_context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(bits), generate

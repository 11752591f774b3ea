"""For compiled loops: the non-zero values among 64 neighbours, from one comparison.

Numba does not compile Python loops to this, so it is written in LLVM's instructions: one vector
comparison and a few moves. A loop over 64 values takes about a hundred cycles.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

WORD = 64  # values that are compared together: one bit each in an unsigned integer


@intrinsic
def find_nonzero(_: Any, values: Any, first: Any) -> Any:
    """Return an integer with bit k set where ``values[first + k]`` is not 0, k < 64.

    values: one contiguous axis of floats, at least 64 of them from ``first``. NaN counts as not
    0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        kind = ir.VectorType(place.type.pointee, WORD)
        loaded = builder.load(builder.bitcast(place, kind.as_pointer()))
        loaded.align = values.dtype.bitwidth // 8
        differs = builder.fcmp_unordered("!=", loaded, ir.Constant(kind, [0.0] * WORD))
        return builder.bitcast(differs, ir.IntType(WORD))

    return types.uint64(values, first), generate


@intrinsic
def find_lowest_bit(_: Any, bits: Any) -> Any:
    """Return the position of the lowest set bit; ``bits`` must not be 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(bits), generate

"""Memory access inside compiled kernels: arrays at an address, and prefetching."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array as _populate_array


@intrinsic
def _view_memory(_: Any, address: Any, size: Any, like: Any) -> Any:  # noqa: ARG001
    """Return the array of ``size`` values at an address, with the dtype of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.return_type
        array, item = context.make_array(kind)(context, builder), context.get_constant
        width = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        fields = {
            "data": builder.inttoptr(arguments[0], array.data.type),
            "shape": [arguments[1]],
            "strides": [item(types.intp, width)],
            "itemsize": item(types.intp, width),
            "meminfo": None,
        }
        populate_array(array, **fields)
        return array._getvalue()

    kind = types.Array(like.dtype, 1, "C")
    return kind(types.uint64, types.intp, like), generate


@intrinsic
def _prefetch(_: Any, values: Any, k: Any) -> Any:  # noqa: ARG001 - the index
    """Prefetch the cache line of ``values[k]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.globals.get(PREFETCH)
        function = function or ir.Function(builder.module, kind, PREFETCH)
        settings = [ir.Constant(number, k) for k in (0, 3, 1)]  # read, keep, data
        builder.call(function, [builder.bitcast(place, byte), *settings])
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(values, types.uint64), generate


populate_array: Any = _populate_array
PREFETCH = "llvm.prefetch.p0i8"
# The declared types still have the first argument, which Numba supplies.
view_memory: Any = _view_memory
prefetch: Any = _prefetch

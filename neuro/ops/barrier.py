"""A barrier inside compiled kernels: threads wait for each other without Python.

A waiting thread looks for a while and then gives its processor to others, so that more threads
than processors still go on.
"""

import ctypes
import sys
from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from neuro.ops.jit import bare

LOOKS = 2000  # before a thread yields: some microseconds, longer than most waits
COUNT, ROUND, WORDS = 0, 8, 16  # a cache line each: how many wait, and how often all have met

# The operating system's call for "run another thread" takes no argument.
YIELD = "neuro_yield_processor"
_system: Any = (
    ctypes.WinDLL("kernel32").SwitchToThread  # type: ignore[attr-defined]
    if sys.platform == "win32"
    else ctypes.CDLL(None).sched_yield
)
binding.add_symbol(YIELD, ctypes.cast(_system, ctypes.c_void_p).value)


@intrinsic
def _add_atomically(_: Any, words: Any, k: Any, value: Any) -> Any:  # noqa: ARG001
    """Add to ``words[k]`` (int64) in one step; return what was there before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(words, types.int64, types.int64), generate


@intrinsic
def _load_atomically(_: Any, words: Any, k: Any) -> Any:  # noqa: ARG001
    """Return ``words[k]`` (int64) with all that was written before it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(builder.gep(array.data, [arguments[1]]), "acquire", 8)

    return types.int64(words, types.int64), generate


@intrinsic
def _yield_processor(_: Any) -> Any:
    """Let the operating system run another thread."""

    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        have = builder.module.globals.get(YIELD)
        builder.call(have or ir.Function(builder.module, kind, YIELD), [])
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), generate


# The decorator's declared type still has the first argument, which Numba supplies.
add_atomically: Any = _add_atomically
load_atomically: Any = _load_atomically
yield_processor: Any = _yield_processor


def make_barrier() -> np.ndarray:
    """Return a barrier for any number of threads."""
    return np.zeros(WORDS, np.int64)


@bare
def wait(barrier: np.ndarray, threads: int) -> None:
    """Return when all ``threads`` have called this; what each wrote before is then visible.

    barrier: of :func:`make_barrier`; all threads use the same one.
    """
    if threads == 1:
        return
    met = load_atomically(barrier, ROUND)
    if add_atomically(barrier, COUNT, 1) == threads - 1:
        add_atomically(barrier, COUNT, -threads)
        add_atomically(barrier, ROUND, 1)
        return
    looks = 0
    while load_atomically(barrier, ROUND) == met:
        looks += 1
        if looks > LOOKS:
            yield_processor()

"""A barrier inside compiled kernels: threads wait for each other without Python.

A waiting thread polls for a while and then yields its processor, so that a run with more
threads than processors still makes progress.
"""

import ctypes
import sys
from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from neuro.ops.jit import bare

LOOKS = 2000  # polls before a thread yields: some microseconds, longer than most waits
COUNT, ROUND, WORDS = 0, 8, 16  # waiting threads, completed rounds: one cache line for each

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
    """Add to ``words[k]`` (int64) atomically; return the value before the addition."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(words, types.int64, types.int64), generate


@intrinsic
def _load_atomically(_: Any, words: Any, k: Any) -> Any:  # noqa: ARG001
    """Return ``words[k]`` (int64); everything written before that value is then visible."""

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
    """Return once all ``threads`` have called this; their earlier writes are then visible.

    barrier: made by :func:`make_barrier`, and shared by all threads.
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

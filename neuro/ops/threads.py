"""For compiled loops: which tensors they can read, sharing work among threads, and Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

Part = TypeVar("Part")

# Work on fewer values runs in one thread, because each call starts its threads anew. The bound
# was chosen by hand, without a recorded measurement.
MIN_SHARED_VALUES = 2**16


def can_read(x: Tensor) -> bool:
    """Say whether compiled loops can read a tensor: it is on a CPU, in float32 or float64.

    They cannot under forward-mode differentiation, because they read values only.
    """
    forward = forward_ad._current_level >= 0  # a check of each tensor takes 1 µs
    return x.is_cpu and x.dtype in (torch.float32, torch.float64) and not forward


def run_in_shares(many: int, values: int, do: Callable[[int, int], Part]) -> list[Part]:
    """Split 0 to ``many`` among torch's threads; return ``do(low, high)`` of each part.

    values: total number of values; below MIN_SHARED_VALUES one thread does all the work.
    """
    threads = min(torch.get_num_threads(), many) if values >= MIN_SHARED_VALUES else 1
    if threads == 1:
        return [do(0, many)]
    edges = np.linspace(0, many, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda edge: do(*edge), pairwise(edges)))


@contextmanager
def delay_interrupts() -> Iterator[None]:
    """Run a block, and handle a Ctrl-C that arrives meanwhile after the block.

    When a kernel returns a NamedTuple, Numba calls Python to create it and does not check for
    exceptions: a KeyboardInterrupt there would be a segmentation fault.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # only the main thread handles signals
        return
    interrupts = []
    signal.signal(signal.SIGINT, lambda *interrupt: interrupts.append(interrupt))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if interrupts:
            handler(*interrupts[0])

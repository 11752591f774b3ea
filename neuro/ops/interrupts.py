"""Ctrl-C while compiled functions run."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def delay_interrupts() -> Iterator[None]:
    """Run a block; Ctrl-C is handled behind it.

    Numba turns a NamedTuple that a kernel returns into one of Python by calling Python, and
    does not look whether that raised: a KeyboardInterrupt there is a segmentation fault.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # signals are handled in the main thread alone
        return
    came = []
    signal.signal(signal.SIGINT, lambda *signaled: came.append(signaled))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])

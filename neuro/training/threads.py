"""Limits the number of torch's threads, for measurements or to leave cores to others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limit_threads(most: int) -> Iterator[None]:
    """Run the context with at most this many torch threads.

    With one thread, results do not depend on the number of parallel workers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)

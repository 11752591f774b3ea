"""Limit the threads of torch, for measurements or to leave cores to others."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limit_threads(most: int) -> Iterator[None]:
    """Run the block on at most this many threads of torch.

    With one thread, results do not depend on the number of parallel workers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)

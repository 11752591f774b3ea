"""How many threads torch has: while something is measured, or others need the cores."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def limit_threads(most: int) -> Iterator[None]:
    """Run the block on no more threads of torch than that.

    On one, results are those of any number of workers beside each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)

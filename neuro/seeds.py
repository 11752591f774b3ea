"""The only door to torch's global random generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block from ``seed``; afterwards the global generator is where it was before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield

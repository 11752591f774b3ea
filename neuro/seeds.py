"""Seeding of torch's global random generator; no other module touches it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator for the block, and restore its state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield

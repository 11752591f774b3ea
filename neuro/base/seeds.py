"""Seeding of torch's global random generator; no other module touches it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator for the block, and restore its state afterwards."""
    with torch.random.fork_rng():
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # the same stream: manual_seed formats a stack for each kind of absent device
            torch.default_generator.manual_seed(seed)
        yield


def derive_seed(seed: int, epoch: int, step: int, purpose: int) -> int:
    """Derive the seed of one step for one purpose; every process derives the same seed."""
    return int(np.random.SeedSequence((seed, epoch, step, purpose)).generate_state(1)[0])

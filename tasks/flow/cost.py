"""The cost of an arm: parameters, and multiply-accumulates per network call and image."""

import torch

from tasks.flow.config import FlowConfig
from tasks.flow.model import FREQUENCIES, build


def count_parameters(config: FlowConfig) -> int:
    """Return the number of parameters of a model."""
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def count_macs(config: FlowConfig) -> int:
    """Return the multiply-accumulates of one network call on one image.

    Counts linear maps, the scores and values of attention, and the writing, reading and decay
    of the state. Leaves out norms, gates and other elementwise functions.
    """
    width, n, keys = config.width, config.tokens, config.width // config.heads
    values = config.colours * config.patch**2
    block = n * (4 * width**2 + 2 * width * config.hidden) + 2 * n**2 * width + 6 * width**2
    if config.has_state:
        block += n * (width**2 + width * config.heads)  # gates
        block += 2 * n * width * keys + width * keys
    outputs = values * (2 if config.two_outputs else 1)
    ends = n * width * (values + outputs) + (FREQUENCIES + width) * width + 2 * width**2
    return config.depth * block + ends

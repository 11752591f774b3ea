"""Batches of items: their order, and their stage of the curriculum."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tasks.reasoning.config import STAGED, ReasoningConfig
from tasks.reasoning.curriculum import (
    ReasoningBatch,
    draw_further,
    find_stage,
    make_batch,
    say,
)
from tasks.reasoning.data import ReasoningData, load
from tasks.reasoning.items import PAD, EncodedItem
from tasks.reasoning.masked_items import MaskedBatch, make_masked_batch
from tasks.runs.task import Split

ORDER, REMOVED, MIXED, HIDDEN = range(4)  # purposes of random numbers


def batches(
    config: ReasoningConfig, split: Split, epoch: int
) -> Iterator[ReasoningBatch | MaskedBatch]:
    """Yield the batches of a training epoch; batches of other splits are of the last stage."""
    data = load(config)
    stage = find_stage(config, epoch if split == "train" else config.epochs)
    training = split == "train"
    for k, items in enumerate(arrange_items(config, data, split, epoch)):
        if config.arm == "diffusion":
            rng = np.random.default_rng((config.seed_of_data, HIDDEN, epoch, k))
            yield make_masked_batch(config, items, rng)
            continue
        rng = np.random.default_rng((config.seed_of_data, MIXED, epoch, k))
        own = stage
        if training and config.arm in STAGED and rng.random() < config.mix:
            own = int(rng.integers(config.stages + 1))
        rng = np.random.default_rng((config.seed_of_data, REMOVED, epoch, k))
        further = draw_further(config, rng, len(items)) if training else [0] * len(items)
        yield make_batch(config, items, own, data.longest_thinking, further)


def arrange_items(
    config: ReasoningConfig, data: ReasoningData, split: Split, epoch: int
) -> list[list[EncodedItem]]:
    """Return the items of each batch, in random order for training.

    The questions of a batch are equally long. So no padding stands before thoughts, and a
    thought means the same in every batch.
    """
    items = data.items[split]
    order: Sequence[int] = range(len(items))
    rng = np.random.default_rng((config.seed_of_data, ORDER, epoch))
    if split == "train":
        order = [int(k) for k in rng.permutation(len(items))]
    lengths: dict[int, list[EncodedItem]] = {}
    for k in order:
        lengths.setdefault(len(items[k].question), []).append(items[k])
    groups = [
        own[k : k + config.batch]
        for own in lengths.values()
        for k in range(0, len(own), config.batch)
    ]
    if split == "train":
        groups = [groups[int(k)] for k in rng.permutation(len(groups))]
    return groups


def count_steps(config: ReasoningConfig) -> int:
    """Return the number of batches in an epoch."""
    return len(arrange_items(config, load(config), "train", 0))


def make_dummy_batch(config: ReasoningConfig) -> ReasoningBatch | MaskedBatch:
    """Return a batch of PAD tokens with the largest shapes that occur in training."""
    data = load(config)
    question = 1 + max(len(item.question) for item in data.items["train"])
    if config.arm == "diffusion":
        asked = torch.full((question, config.batch), PAD)
        words = torch.full((data.longest_answer, config.batch), PAD)
        every = torch.ones_like(torch.cat([asked, words]), dtype=torch.bool)
        return MaskedBatch(asked, words, every, every.float())
    said = len(say((), (0,) * data.longest_answer))
    full = said + data.longest_thinking
    shapes = {
        "question": question,
        "thoughts": config.thoughts,
        "said": said if config.arm in ("none", "codi") else full,
        "taught": full if config.arm == "codi" else 0,
    }
    return ReasoningBatch(**{k: torch.full((n, config.batch), PAD) for k, n in shapes.items()})

"""Answers by masked diffusion: all words are hidden at first and filled in a chosen order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tasks.reasoning.batches import arrange_items
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import stack_tokens
from tasks.reasoning.data import load
from tasks.reasoning.denoise import Denoising, fill_hidden, share_steps
from tasks.reasoning.items import BEGIN, EncodedItem, Tokens
from tasks.reasoning.loss import require_reasoning
from tasks.reasoning.masked_items import choose_places
from tasks.reasoning.masking import estimate_bound
from tasks.reasoning.model import ReasoningModel
from tasks.runs.share import track_test
from tasks.runs.task import Split


class FilledItem(NamedTuple):
    """A filled answer. steps: the step that filled each word, from 0. calls: network calls."""

    item: EncodedItem
    answer: Tokens
    steps: Tokens
    calls: int


def make_denoising(config: ReasoningConfig) -> Denoising:
    """Return how a configuration fills hidden words."""
    return Denoising(
        order=config.order, steps=config.denoising_steps, temperature=config.temperature
    )


@torch.no_grad()
def fill_split(config: ReasoningConfig, model: nn.Module, split: Split) -> list[FilledItem]:
    """Fill the answer of every item of a split; the seed is that of the data."""
    inner, training = require_reasoning(model), model.training
    model.eval()
    rng = torch.Generator().manual_seed(config.seed_of_data)
    filled = [
        one
        for items in track_test(arrange_items(config, load(config), split, 0), split)
        for one in fill_items(config, inner, items, rng)
    ]
    model.train(training)
    return filled


@torch.no_grad()
def fill_items(
    config: ReasoningConfig,
    model: ReasoningModel,
    items: Sequence[EncodedItem],
    rng: torch.Generator,
) -> list[FilledItem]:
    """Fill the answers of items that are equally long."""
    device = model.embedding.weight.device
    question = stack_tokens([(*item.question, BEGIN) for item in items]).to(device)
    said = torch.zeros_like(stack_tokens([item.answer for item in items]), device=device)
    text = fill_hidden(
        model.guess,
        torch.cat([question, said]),
        choose_places(question, said, in_question=False),
        rng,
        make_denoising(config),
    )
    calls = len(share_steps(len(said), config.denoising_steps))
    answers, steps = (x[len(question) :].T.tolist() for x in text)
    return [
        FilledItem(item, tuple(answer), tuple(step), calls)
        for item, answer, step in zip(items, answers, steps, strict=True)
    ]


@torch.no_grad()
def bound_test(config: ReasoningConfig, model: nn.Module) -> float:
    """Return the upper bound of -log p per answer [nat], mean over the test items."""
    inner, training = require_reasoning(model), model.training
    model.eval()
    device, rng = inner.embedding.weight.device, np.random.default_rng(config.seed_of_data)
    bounds = list[torch.Tensor]()
    for items in arrange_items(config, load(config), "test", 0):
        question = stack_tokens([(*item.question, BEGIN) for item in items]).to(device)
        said = stack_tokens([item.answer for item in items]).to(device)
        places = choose_places(question, said, in_question=False)
        tokens = torch.cat([question, said])
        bounds.append(estimate_bound(inner.guess, tokens, places, rng))
    model.train(training)
    return float(torch.cat(bounds).mean())


@torch.no_grad()
def recall_questions(config: ReasoningConfig, model: nn.Module) -> float | None:
    """Return the share of training questions that the network recalls from their answers.

    This queries a learned sentence in the reverse direction. Sentences trained in both
    directions are left out, that is those whose answer begins another question.
    None: no sentence is left, or two training items share an answer, which then does not
    determine the question.
    """
    data = load(config)
    train = data.items["train"]
    begins = {item.question[: len(item.answer)] for item in train}
    one_way = {item.answer for item in train if item.answer not in begins}
    if not one_way or len({item.answer for item in train}) < len(train):
        return None
    inner, training = require_reasoning(model), model.training
    model.eval()
    device = inner.embedding.weight.device
    rng = torch.Generator().manual_seed(config.seed_of_data)
    how, right = make_denoising(replace(config, denoising_steps=0)), list[bool]()
    for batch in arrange_items(config, data, "train", 0):
        items = [item for item in batch if item.answer in one_way]
        if not items:
            continue
        question = stack_tokens([(*item.question, BEGIN) for item in items]).to(device)
        said = stack_tokens([item.answer for item in items]).to(device)
        hidden = choose_places(question, said, in_question=True)
        hidden[len(question) :] = False
        text = fill_hidden(inner.guess, torch.cat([question, said]), hidden, rng, how)
        right += (text.tokens[: len(question)] == question).all(0).tolist()
    model.train(training)
    return sum(right) / len(right)

"""Items as texts with hidden words, for the training of masked diffusion.

A text is question, BEGIN, answer. It needs no END, because all answers are equally long.
Axes: T tokens of a question with BEGIN, W words of an answer, S = T + W, B samples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import stack_tokens
from tasks.reasoning.items import BEGIN, EncodedItem
from tasks.reasoning.masking import draw_masks, weigh_hidden


class MaskedBatch(NamedTuple):
    """Items whose questions are equally long, and which of their words are hidden.

    question: ends with BEGIN. said: the answer. weight: weight of each token in the loss.
    """

    question: Int64[Tensor, "T B"]
    said: Int64[Tensor, "W B"]
    hidden: Bool[Tensor, "S B"]
    weight: Float[Tensor, "S B"]


def make_masked_batch(
    config: ReasoningConfig, items: Sequence[EncodedItem], rng: np.random.Generator
) -> MaskedBatch:
    """Return items with some words hidden; each item has its own rate."""
    question = stack_tokens([(*item.question, BEGIN) for item in items])
    said = stack_tokens([item.answer for item in items])
    may_hide = choose_places(question, said, config.mask_question)
    hidden, rate = draw_masks(rng, may_hide)
    return MaskedBatch(question, said, hidden, weigh_hidden(hidden, rate, may_hide).float())


def choose_places(
    question: Int64[Tensor, "T B"], said: Int64[Tensor, "W B"], in_question: bool
) -> Bool[Tensor, "S B"]:
    """Return which words may be hidden: the answer; with ``in_question``, also the question."""
    asked = torch.full_like(question, in_question, dtype=torch.bool) & (question != BEGIN)
    return torch.cat([asked, torch.ones_like(said, dtype=torch.bool)])

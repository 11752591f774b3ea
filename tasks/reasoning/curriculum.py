"""What is trained in which stage: which steps are left, how many thoughts stand for the others.

    none      question, answer
    cot       question, all steps, answer
    icot      the steps lose their first words, more in each stage (Deng et al. 2024, arXiv
              2405.14838); in the last stage none are left
    coconut   in stage k the first k steps are gone, and k x latents thoughts stand for them
              (Hao et al. 2024, arXiv 2412.06769); in the last stage no step is left. A
              thought is the last hidden state, behind the final norm, as the next embedding
    pause     the same curriculum, with one learned embedding in the place of every thought
    codi      question, latents, answer; and in the same step question, all steps, answer, whose
              hidden states teach it (Shen et al. 2025, arXiv 2502.21074)
    diffusion question, answer, some of whose words are hidden and guessed
              (:mod:`tasks.reasoning.masking`)

Whatever is said behind SPEAK is trained: the steps that are left, ANSWER, the answer, END.
Axes: T tokens of questions, L thoughts, U tokens that are said, B samples.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neuro.training import Stage
from tasks.reasoning.config import STAGED, ReasoningConfig
from tasks.reasoning.items import (
    ANSWER,
    BEGIN,
    END,
    PAD,
    SPEAK,
    THOUGHT,
    EncodedItem,
    Tokens,
)

SPARE = 2  # words beyond the longest of any item, before a network is interrupted


class ReasoningBatch(NamedTuple):
    """Items whose questions are equally long, as they stand in a stage.

    question: with BEGIN. thoughts: THOUGHT as often as the network thinks. said: SPEAK, the
    steps that are left, ANSWER, the answer, END; PAD behind it. taught: the same with all
    steps, for "codi"; no tokens in other arms.
    """

    question: Int64[Tensor, "T B"]
    thoughts: Int64[Tensor, "L B"]
    said: Int64[Tensor, "U B"]
    taught: Int64[Tensor, "W B"]


def find_stage(config: ReasoningConfig, epoch: int) -> int:
    """Return the stage of an epoch, from 0; of arms without stages always 0."""
    if config.arm not in STAGED:
        return 0
    later = epoch - config.first_epochs
    return 0 if later < 0 else min(1 + later // config.stage_epochs, config.stages)


def list_stages(config: ReasoningConfig) -> tuple[Stage, ...]:
    """Return the stages of a plan; the optimizer begins each anew."""
    if config.arm not in STAGED:
        return ()
    between = [config.stage_epochs] * (config.stages - 1)
    lengths = [config.first_epochs, *between, config.epochs - config.last_stage_epoch]
    return tuple(
        Stage(name=f"{config.arm} {k}", epochs=n, fresh_optimizer=k > 0)
        for k, n in enumerate(lengths)
    )


def count_thoughts(config: ReasoningConfig, stage: int) -> int:
    """Return the number of thoughts in a stage."""
    if config.arm in ("coconut", "pause"):
        return config.latents * stage
    return config.thoughts


def keep_steps(
    config: ReasoningConfig, item: EncodedItem, stage: int, longest: int, further: int = 0
) -> Tokens:
    """Return the words of the steps that are left in a stage.

    longest: words of the steps of the longest item. further: words that go besides, in "icot".
    """
    if config.arm in ("none", "codi", "diffusion") or (
        config.arm in STAGED and stage == config.stages
    ):
        return ()
    if config.arm == "icot":
        gone = math.ceil(longest * stage / config.stages)
        return item.thinking[gone + further :]
    if config.arm in ("coconut", "pause"):
        return tuple(token for step in item.steps[stage:] for token in step)
    return item.thinking


def draw_further(config: ReasoningConfig, rng: np.random.Generator, count: int) -> list[int]:
    """Return how many further words go of each item: o with a probability of exp(-lambda o)."""
    return [int(n) - 1 for n in rng.geometric(-math.expm1(-config.smoothing), count)]


def make_batch(
    config: ReasoningConfig,
    items: Sequence[EncodedItem],
    stage: int,
    longest: int,
    further: Sequence[int],
) -> ReasoningBatch:
    """Return items as they stand in a stage; longest, further: see :func:`keep_steps`."""
    left = [
        keep_steps(config, item, stage, longest, more)
        for item, more in zip(items, further, strict=True)
    ]
    said = [say(words, item.answer) for words, item in zip(left, items, strict=True)]
    taught = [say(item.thinking, item.answer) for item in items]
    return ReasoningBatch(
        question=stack_tokens([(*item.question, BEGIN) for item in items]),
        thoughts=torch.full((count_thoughts(config, stage), len(items)), THOUGHT),
        said=stack_tokens(said),
        taught=stack_tokens(taught if config.arm == "codi" else [()] * len(items)),
    )


def say(steps: Tokens, answer: Tokens) -> Tokens:
    """Return what a network says from SPEAK to END."""
    return (SPEAK, *steps, ANSWER, *answer, END)


def stack_tokens(rows: Sequence[Tokens]) -> Int64[Tensor, "T B"]:
    """Return tokens of items side by side, filled up with PAD at the end."""
    longest = max(len(row) for row in rows)
    padded = [(*row, *[PAD] * (longest - len(row))) for row in rows]
    return torch.tensor(padded, dtype=torch.int64).T.contiguous()


def count_words(config: ReasoningConfig, steps: int, answer: int) -> int:
    """Return after how many words of an answer a network is interrupted.

    steps, answer: words of the longest steps and of the longest answer of any item.
    """
    return (steps + 1 if config.arm == "cot" else 0) + answer + 1 + SPARE

"""The curriculum: the steps that each stage keeps, and the thoughts that replace the others.

    none      question, answer
    cot       question, all steps, answer
    icot      each stage removes more words from the start of the steps; the last stage keeps
              none (Deng et al. 2024, arXiv 2405.14838)
    coconut   in stage k, k x latents thoughts replace the first k steps; the last stage keeps
              no step (Hao et al. 2024, arXiv 2412.06769). A thought feeds the last hidden
              state, after the final norm, back as the next embedding
    pause     the same curriculum, but every thought is the same learned embedding
    codi      question, latents, answer; the hidden states of a second pass in the same step
              (question, all steps, answer) teach it (Shen et al. 2025, arXiv 2502.21074)
    diffusion question, answer; some words are hidden, and the network guesses them
              (:mod:`tasks.reasoning.masking`)

The loss covers every token after SPEAK: the remaining steps, ANSWER, the answer, END.
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

SPARE = 2  # words that a network may say beyond the longest answer of any item


class ReasoningBatch(NamedTuple):
    """Items with equally long questions, in the form of one stage.

    question: ends with BEGIN. thoughts: one THOUGHT per thought of the network.
    said: SPEAK, the remaining steps, ANSWER, the answer, END, then PAD.
    taught: the same with all steps for "codi"; empty in other arms.
    """

    question: Int64[Tensor, "T B"]
    thoughts: Int64[Tensor, "L B"]
    said: Int64[Tensor, "U B"]
    taught: Int64[Tensor, "W B"]


def find_stage(config: ReasoningConfig, epoch: int) -> int:
    """Return the stage of an epoch, counted from 0; always 0 for arms without stages."""
    if config.arm not in STAGED:
        return 0
    later = epoch - config.first_epochs
    return 0 if later < 0 else min(1 + later // config.stage_epochs, config.stages)


def list_stages(config: ReasoningConfig) -> tuple[Stage, ...]:
    """Return the stages of a plan; each begins with a new optimizer."""
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
    """Return the words of the steps that a stage keeps.

    longest: words in the steps of the longest item. further: more words to remove in "icot".
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
    """Draw how many more words each item loses: o with a probability ~ exp(-lambda o)."""
    return [int(n) - 1 for n in rng.geometric(-math.expm1(-config.smoothing), count)]


def make_batch(
    config: ReasoningConfig,
    items: Sequence[EncodedItem],
    stage: int,
    longest: int,
    further: Sequence[int],
) -> ReasoningBatch:
    """Return the batch of items in a stage; longest, further: see :func:`keep_steps`."""
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
    """Return the tokens that a network says, from SPEAK to END."""
    return (SPEAK, *steps, ANSWER, *answer, END)


def stack_tokens(rows: Sequence[Tokens]) -> Int64[Tensor, "T B"]:
    """Stack the tokens of items, padded with PAD at the end."""
    longest = max(len(row) for row in rows)
    padded = [(*row, *[PAD] * (longest - len(row))) for row in rows]
    return torch.tensor(padded, dtype=torch.int64).T.contiguous()


def count_words(config: ReasoningConfig, steps: int, answer: int) -> int:
    """Return the number of words after which an answer is cut off.

    steps, answer: number of words in the longest steps and the longest answer of any item.
    """
    return (steps + 1 if config.arm == "cot" else 0) + answer + 1 + SPARE

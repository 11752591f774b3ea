"""The cost of an answer: parameters, and multiply-accumulates over all tokens that are read."""

from typing import Any

import torch
from torch import nn

from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.denoise import share_steps
from tasks.reasoning.model import ReasoningModel, build


def count_parameters(config: ReasoningConfig) -> int:
    """Return the number of parameters of a model, including those that its arm adds."""
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def count_macs(config: ReasoningConfig, question: int, words: int) -> int:
    """Return the multiply-accumulates of an answer.

    Counts mixers (``Mixer.macs``), linear units, the read-out of each word, the projection of
    each thought, and all iterations of a recurrent core. A network with an exit reads out every
    token in each iteration to find it.

    question: number of tokens without BEGIN. words: number of words said, with END; the last
    one is not read again.
    """
    with torch.device("meta"):
        model: ReasoningModel = build(config)
    if config.arm == "diffusion":  # each call reads all, and computes logits for every token
        read = question + 1 + words
        token = count_token_macs(config, model, read - 1) + config.width * model.vocabulary
        return read * token * len(share_steps(words, config.denoising_steps))
    given = 1 if config.arm == "cot" else 2  # SPEAK, ANSWER
    read = question + 1 + config.thoughts + given + words - 1
    readouts = read * config.depth if config.exit_kl else 0
    total = (words + readouts) * config.width * model.vocabulary
    total += sum(count_token_macs(config, model, k) for k in range(read))
    if config.arm == "codi":
        total += 2 * config.width**2 * config.thoughts
    return total


def count_token_macs(config: ReasoningConfig, model: ReasoningModel, context: int) -> int:
    """Return the multiply-accumulates of a token after ``context`` others, without read-out.

    With an exit, the coda runs after every iteration of the core.
    """

    def count(blocks: nn.ModuleList) -> int:
        mixers: list[Any] = [block.get_submodule("mixer") for block in blocks]
        each: list[int] = [mixer.macs(context) for mixer in mixers]
        return sum(each) + 3 * config.width * config.hidden * len(each)

    core = count(model.blocks)
    if not config.depth:
        return core
    adapter = 2 * config.width**2 if config.injection == "adapter" else 0
    prelude, coda = (count(x.blocks) if x else 0 for x in (model.prelude, model.coda))
    codas = config.depth if config.exit_kl else 1
    return prelude + codas * coda + config.depth * (adapter + core)

"""What an answer costs: parameters, and multiply-accumulates of all tokens that are read."""

from typing import Any

import torch
from torch import nn

from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.denoise import share_steps
from tasks.reasoning.model import ReasoningModel, build


def count_parameters(config: ReasoningConfig) -> int:
    """Return the number of parameters of a model, those of its arm included."""
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def count_macs(config: ReasoningConfig, question: int, words: int) -> int:
    """Return the multiply-accumulates of an answer.

    Counts mixers (``Mixer.macs``), linear units, the read-out of each word and
    the projection of each thought; of a core that recurs, all its iterations. To find its exit,
    a network reads every token out in each iteration.

    question: its tokens without BEGIN. words: that are said, END included; the last one is not
    read again.
    """
    with torch.device("meta"):
        model: ReasoningModel = build(config)
    if config.arm == "diffusion":
        return _count_diffusion_macs(config, model, question, words)
    given = 1 if config.arm == "cot" else 2  # SPEAK, ANSWER
    read = question + 1 + config.thoughts + given + words - 1
    readouts = read * config.depth if config.exit_kl else 0
    total = (words + readouts) * config.width * model.vocabulary
    total += sum(count_token_macs(config, model, k) for k in range(read))
    if config.arm == "codi":
        total += 2 * config.width**2 * config.thoughts
    return total


def _count_diffusion_macs(
    config: ReasoningConfig, model: ReasoningModel, question: int, words: int
) -> int:
    """Return the multiply-accumulates of all calls; each reads the whole text anew.

    Every token has logits in every call.
    """
    read = question + 1 + words
    token = count_token_macs(config, model, read - 1) + config.width * model.vocabulary
    return read * token * len(share_steps(words, config.denoising_steps))


def count_token_macs(config: ReasoningConfig, model: ReasoningModel, context: int) -> int:
    """Return the multiply-accumulates of a token behind so many others, without a read-out.

    With an exit every iteration of a core has a coda.
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

"""What is trained on text: the stack of layers, the text, and how long."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from neuro.mixers import MIXERS, parse_stack
from neuro.nn.mixer_block import BlockSizes

Block = Literal["gated", "rwkv"]
Recipe = Literal["plain", "matmulfree", "rwkv"]
STEPS_OF_100_BILLION = 190_736  # of 256 x 2,048 tokens


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(BlockSizes):
    """One language model and its training.

    Its blocks: see :class:`neuro.nn.mixer_block.BlockSizes`; ``heads`` of RWKV are width / 64
    or so many.
    block: what stands around the mixers: "gated" linear units of ``hidden`` channels behind
    root-mean-square norms; or the whole blocks of "rwkv", with its channel mixing and layer
    norms, for stacks of rwkv5 or of rwkv6 alone.
    vocabulary: tokens, at least those of the tokenizer.
    text: a file or folder; "": the sources of Python's standard library. skip_bad: leave out
    files of it that are empty or no text. tokenizer: the path of a World vocabulary (.txt) or
    of a tokenizer.json; "": bytes. end: the token that ends a text in a tokenizer.json.
    text_digest, tokenizer_digest: SHA-256 of what is read there, which ``neuro train`` writes
    down; "": any.
    tokens: T of a batch. lanes: B, streams that are read side by side. steps: batches in all.
    validations: over the training. held_out: bytes of the validation and test part that are
    measured, the first of each lane; 0: all.
    lr, warm, decay, clip: see :class:`neuro.training.Plan`. recipe: a published one, see
    :mod:`tasks.language.recipes`.
    """

    block: Block = "gated"
    vocabulary: int = 256
    text: str = ""
    skip_bad: bool = False
    text_digest: str = ""
    tokenizer: str = ""
    end: str = ""
    tokenizer_digest: str = ""
    tokens: int = 256
    lanes: int = 12
    steps: int = 1600
    validations: int = 4
    held_out: int = 200_000
    lr: float = 4e-3
    warm: float = 0.05
    decay: float = 0.01
    clip: float = 1.0
    recipe: Recipe = "plain"

    def __post_init__(self) -> None:
        parse_stack(self.stack)
        names = ("width", "hidden", "heads", "ticks", "vocabulary", "tokens", "lanes")
        least = dict.fromkeys((*names, "steps", "validations"), 1)
        wrong = [
            f"{name} must be >= {bound}, got {value}"
            for name, bound in {**least, "limit": 0, "held_out": 0}.items()
            if (value := getattr(self, name)) < bound
        ]
        if not 0 < self.eps < math.inf:
            wrong.append(f"eps must be > 0 and finite, got {self.eps}")
        if not wrong and self.steps % self.validations:
            wrong.append(
                f"steps, {self.steps}, must be a multiple of validations, {self.validations}"
            )
        if 0 < self.held_out < self.lanes:
            wrong.append(
                f"held_out, {self.held_out}, must be 0 or a byte for each of {self.lanes} lanes"
            )
        if self.end and not self.tokenizer.endswith(".json"):
            wrong.append(f"end, {self.end!r}, is of a tokenizer.json; leave it out")
        if wrong:
            raise ValueError(f"language: {'; '.join(wrong)}")
        if self.limit and not self.carries and self.limit < self.tokens:
            raise ValueError(
                f"language: batches of {self.tokens} tokens are longer than the limit, "
                f"{self.limit}; set tokens to {self.limit}, or a larger limit (0: none)"
            )
        kinds = set(self.layers)
        rwkv = len(kinds) == 1 and kinds <= {"rwkv5", "rwkv6"}
        if self.block == "rwkv" and not (rwkv and self.linear == "float"):
            raise ValueError(
                f"language: block 'rwkv' needs a stack of rwkv5 or of rwkv6 alone, such as "
                f"rwkv6*4, and linear 'float'; got {self.stack} and {self.linear!r}; block "
                "'gated' takes any"
            )

    @property
    def carries(self) -> bool:
        """Whether the state of a batch goes on to the next: where it does not grow."""
        return not any(MIXERS[name].grows for name in self.layers)


def tiny() -> LanguageConfig:
    """Plain MLGRU, 0.9 million parameters, on the sources of Python's library."""
    return LanguageConfig()


def tiny_mlgru() -> LanguageConfig:
    """The same as tiny, by its name in comparisons."""
    return tiny()


def tiny_transformer() -> LanguageConfig:
    """Softmax attention in the same stack."""
    return replace(tiny(), stack="softmax*4", lr=2e-3)


def tiny_rwkv6() -> LanguageConfig:
    """The time mixing of RWKV-6 in the same stack."""
    return replace(tiny(), stack="rwkv6*4", hidden=160)


def tiny_eagle() -> LanguageConfig:
    """RWKV-5 with its own channel mixing, of the same size, by its own recipe."""
    return replace(_tiny_rwkv(), stack="rwkv5*4", hidden=400)


def tiny_finch() -> LanguageConfig:
    """RWKV-6 with its own channel mixing, of the same size, by its own recipe."""
    return replace(_tiny_rwkv(), stack="rwkv6*4", hidden=176)


def _tiny_rwkv() -> LanguageConfig:
    return replace(tiny(), stack="rwkv6*4", block="rwkv", recipe="rwkv", lr=3e-3, decay=1e-3)


def tiny_matmulfree() -> LanguageConfig:
    """The MatMul-free model: ternary weights, inputs of 8 bits."""
    return replace(tiny(), linear="ternary", lr=2e-3)


def tiny_spiking() -> LanguageConfig:
    """The spiking MatMul-free model: ternary weights, up to 4 spikes an input."""
    return replace(tiny(), linear="spiking")


def matmulfree_370m() -> LanguageConfig:
    """The published 24 layers of width 1,024 (Zhu et al. 2024, arXiv 2406.02528)."""
    return _published(24, 1024, 2816, 4e-3)


def matmulfree_1b() -> LanguageConfig:
    """The published 24 layers of width 2,048: 1.3 billion parameters."""
    return replace(_published(24, 2048, 5632, 2.5e-3), steps=STEPS_OF_100_BILLION)


def matmulfree_3b() -> LanguageConfig:
    """The published 32 layers of width 2,560: 2.7 billion parameters."""
    return replace(_published(32, 2560, 6912, 1.5e-3), steps=STEPS_OF_100_BILLION)


def _published(layers: int, width: int, hidden: int, lr: float) -> LanguageConfig:
    return LanguageConfig(
        stack=f"mlgru*{layers}",
        width=width,
        hidden=hidden,
        linear="ternary",
        vocabulary=32_000,
        tokens=2048,
        lanes=256,
        steps=28_800,  # 15 billion tokens
        lr=lr,
        recipe="matmulfree",
        held_out=0,
    )

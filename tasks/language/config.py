"""Configurations of language models: the stack of layers, the text, the length of training."""

from dataclasses import dataclass, field, replace
from typing import Literal

from neuro.base.bounds import ADDED, Count, Natural, NotNegative, Positive, Share
from neuro.mixers import MIXERS, parse_stack
from neuro.nn.mixer_block import BlockSizes, list_linear_problems
from tasks.runs.configuration import require_sound

Block = Literal["gated", "rwkv"]
Recipe = Literal["plain", "matmulfree", "rwkv"]
STEPS_OF_100_BILLION = 190_736  # steps of 256 x 2,048 tokens that read 100 billion tokens


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(BlockSizes):
    """One language model and its training, whose length is counted in steps.

    Raises:
        ValueError: the configuration is wrong; the message lists every problem.
    """

    heads: Count = 4
    """Heads of each mixer that has heads; RWKV has width / 64 or as many."""
    block: Block = "gated"
    """Blocks around mixers: "gated" linear units, or the whole blocks of "rwkv"."""
    vocabulary: Count = 256
    """Tokens that the model knows, at least those of the tokenizer."""
    text: str = ""
    """File or folder of the text; empty takes the sources of Python's standard library."""
    skip_bad: bool = False
    """Whether to leave out files of the text that are empty or no text."""
    text_digest: str = ""
    """SHA-256 of the text, which neuro train writes down; empty accepts any."""
    tokenizer: str = ""
    """Path of a World vocabulary (.txt) or a tokenizer.json; empty makes each byte a token."""
    end: str = ""
    """Token of a tokenizer.json that ends a text."""
    begin: str = field(default="", metadata=ADDED)
    """Token of a tokenizer.json that begins a text; empty takes the one that ends it."""
    tokenizer_digest: str = ""
    """SHA-256 of the tokenizer, which neuro train writes down; empty accepts any."""
    tokens: Count = 256
    """Tokens of each stream in a batch."""
    lanes: Count = 12
    """Streams of text that a batch reads side by side."""
    steps: Count = 1600
    """Batches of the whole training."""
    validations: Count = 4
    """Validations over the whole training."""
    held_out: Natural = 200_000
    """Bytes of the validation and of the test part that are measured; 0 measures all."""
    lr: Positive = 4e-3
    """Peak learning rate."""
    warm: Share = 0.05
    """Share of the training in which the learning rate rises to its peak."""
    decay: NotNegative = 0.01
    """Weight decay of AdamW."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    event_penalty: NotNegative = field(default=0.0, metadata=ADDED)
    """Loss [nat] per spike and input of spiking maps, each input weighted by its fan-out."""
    recipe: Recipe = "plain"
    """Training recipe: "plain", or a published one (tasks.language.recipes)."""

    def __post_init__(self) -> None:
        require_sound(self)

    def list_conflicts(self) -> list[str]:
        """Return the problems between fields, each with its cure."""
        try:
            kinds = set(parse_stack(self.stack))
        except ValueError as error:
            return [str(error)]
        of_rwkv = kinds in ({"rwkv5"}, {"rwkv6"}, {"rwkv7"}) and self.linear == "float"
        wrong = {
            f"steps is {self.steps}; it must be a multiple of validations, {self.validations}. "
            f"Use --set steps={-(-self.steps // self.validations) * self.validations}.": (
                self.steps % self.validations
            ),
            f"held_out is {self.held_out}; it must be 0 or >= {self.lanes}, a byte per lane. "
            "Use --set held_out=0 for all.": 0 < self.held_out < self.lanes,
            **{
                f"{name} is {value!r}; it must be empty without a tokenizer.json. Use "
                f"--set {name}=.": value and not self.tokenizer.endswith(".json")
                for name, value in (("end", self.end), ("begin", self.begin))
            },
            f"tokens is {self.tokens}; it must be <= limit, {self.limit}. Use --set "
            f"tokens={self.limit}, or limit=0 for no limit.": (
                self.limit and not self.carries and self.limit < self.tokens
            ),
            f"event_penalty is {self.event_penalty:g}; it must be 0 for linear "
            f"{self.linear!r}. Use --set event_penalty=0, or linear=spiking.": (
                self.event_penalty and self.linear != "spiking"
            ),
            f"block is 'rwkv'; it must be 'gated' for stack {self.stack} with linear "
            f"{self.linear!r}. Use a stack of rwkv5, rwkv6 or rwkv7 alone, such as rwkv7*4, "
            "and --set linear=float.": self.block == "rwkv" and not of_rwkv,
        }
        problems = [text for text, is_so in wrong.items() if is_so]
        return problems + list_linear_problems(self)

    @property
    def carries(self) -> bool:
        """Whether the next batch continues with the state: yes if its size is constant."""
        return not any(MIXERS[name].grows for name in self.layers)


def tiny() -> LanguageConfig:
    """A spiking model that trains in half a minute; its text is hardly English."""
    return replace(
        small_spiking(), stack="mlgru*2", width=64, hidden=176, tokens=128, steps=300
    )


def small() -> LanguageConfig:
    """Plain MLGRU, 0.9 million parameters, on the sources of Python's library."""
    return LanguageConfig()


def small_mlgru() -> LanguageConfig:
    """The same as small, by its name in comparisons."""
    return small()


def small_transformer() -> LanguageConfig:
    """Softmax attention in the same stack."""
    return replace(small(), stack="softmax*4", lr=2e-3)


def small_rwkv6() -> LanguageConfig:
    """The time mixing of RWKV-6 in the same stack."""
    return replace(small(), stack="rwkv6*4", hidden=160)


def small_eagle() -> LanguageConfig:
    """RWKV-5 with its own channel mixing, of the same size, by its own recipe."""
    return replace(_small_rwkv(), stack="rwkv5*4", hidden=400)


def small_finch() -> LanguageConfig:
    """RWKV-6 with its own channel mixing, of the same size, by its own recipe."""
    return replace(_small_rwkv(), stack="rwkv6*4", hidden=176)


def small_goose() -> LanguageConfig:
    """RWKV-7 with its own channel mixing, of the same size, by its own recipe."""
    return replace(_small_rwkv(), stack="rwkv7*4", hidden=368)


def _small_rwkv() -> LanguageConfig:
    return replace(small(), stack="rwkv6*4", block="rwkv", recipe="rwkv", lr=3e-3, decay=1e-3)


def small_matmulfree() -> LanguageConfig:
    """The MatMul-free model: ternary weights, inputs of 8 bits."""
    return replace(small(), linear="ternary", lr=2e-3)


def small_spiking() -> LanguageConfig:
    """The spiking MatMul-free model: ternary weights, up to 4 spikes an input."""
    return replace(small(), linear="spiking")


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

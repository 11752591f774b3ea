"""The task of hybrids: stacks of linear mixers and softmax attention, on recall and on text.

Every mixer sees the last few tokens through a short convolution, and every batch begins with a
new state. Evaluations use the last weights of a training: it validates only once, at its end,
so that validation selects no weights.
Axes: T tokens, B samples, D channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.bounds import Count, Natural
from neuro.io.run_folder import Run
from neuro.mixers.delta_net import TAPS, ShortConv
from tasks.language import task as language
from tasks.language.config import LanguageConfig
from tasks.language.data import NOTHING, batches as batch_text, make_dummy_batch, pin_files
from tasks.language.model import LanguageModel
from tasks.language.recall import TASKS, RecallSizes, count_choices, name_tokens
from tasks.language.recipes import make_plan
from tasks.runs.names import SUMMARIES
from tasks.runs.task import (
    ACCURACY,
    Deployment,
    Evaluation,
    Findings,
    Pair,
    Split,
    Table,
    Task,
    Training,
)

TEXT: Literal["text"] = "text"
VALIDATION, TEST = 1_000_000, 2_000_000  # seeds of sequences that no training sees
CONVOLVED = "conv"  # attribute of mixers that have their own short convolution
BITS = replace(language.BITS, name="bits", meaning="length of an answer if predictions code it")


@dataclass(frozen=True, kw_only=True)
class HybridConfig(LanguageConfig):
    """A stack and its training."""

    task: Literal["MQAR", "needles", "tracking", "text"] = "MQAR"
    """Synthetic recall of one kind, or text."""
    sizes: RecallSizes = field(default_factory=RecallSizes)
    """Sequences of recall; the model has their vocabulary and tokens."""
    tested: Count = 200
    """Sequences of validation, and as many of test."""
    seed_of_data: Natural = 0
    """Seed of the sequences in training."""

    @property
    def carries(self) -> bool:
        """False: every batch begins with a new state, whatever the mixers."""
        return False


def tiny() -> HybridConfig:
    """One layer of GatedDeltaNet and one of softmax on short recall: under a minute."""
    sizes = RecallSizes(tokens=16, keys=8, values=8, pairs=2, needles=2, chains=1)
    return replace(
        recall(),
        stack="gdn+softmax",
        width=32,
        hidden=32,
        sizes=sizes,
        vocabulary=sizes.vocabulary,
        tokens=sizes.tokens,
        steps=400,
        lr=1e-2,
    )


def recall() -> HybridConfig:
    """Eight layers, three of GatedDeltaNet before each of softmax, on associative recall."""
    sizes = RecallSizes()
    return HybridConfig(
        stack="gdn*3+softmax+gdn*3+softmax",
        width=48,
        hidden=48,
        heads=2,
        sizes=sizes,
        vocabulary=sizes.vocabulary,
        tokens=sizes.tokens,
        lanes=32,
        steps=1000,
        lr=3e-3,
        held_out=60_000,
        validations=1,
    )


def text() -> HybridConfig:
    """The same stack on the sources of Python's library, byte by byte."""
    return replace(recall(), task=TEXT, vocabulary=256, tokens=64, steps=200, lr=5e-3)


class Convolved(nn.Module):
    """A norm and a short convolution, which sees zeros before the start of each batch."""

    def __init__(self, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.norm, self.conv = norm, ShortConv(width, TAPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input of the mixer, T B D."""
        read: Tensor
        read, _ = self.conv(self.norm(x), x.new_zeros(TAPS - 1, *x.shape[1:]))
        return read


def build(config: HybridConfig) -> LanguageModel:
    """Return a fresh model in which every mixer sees the last tokens.

    DeltaNet and Gated DeltaNet have a convolution over 4 tokens; the other mixers get one. So
    that few steps suffice, embeddings start with a standard deviation of 1, and the outputs of
    mixers start at 0.

    Raises:
        ValueError: vocabulary or tokens of the model differ from those of the sequences.
    """
    own, due = (
        (config.vocabulary, config.tokens),
        (config.sizes.vocabulary, config.sizes.tokens),
    )
    if config.task != TEXT and own != due:
        raise ValueError(
            f"hybrids: the model has vocabulary={own[0]}, tokens={own[1]}; the sequences of "
            f"sizes have {due[0]} and {due[1]}: set both alike"
        )
    model = LanguageModel(config)
    nn.init.normal_(model.embedding.weight)
    for block in model.blocks:
        mixer: Any = block.mixer
        nn.init.zeros_(mixer.output.weight)
        if not hasattr(mixer, CONVOLVED):
            block.mixer_norm = Convolved(block.mixer_norm, config.width)  # type: ignore[arg-type]
    return model


def batches(config: HybridConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield (tokens T B, targets T B): the next bytes of text; answers or NOTHING in recall."""
    if config.task == TEXT:
        yield from batch_text(config, split, epoch)
    elif split == "train":
        each = config.steps // config.validations
        for step in range(epoch * each, (epoch + 1) * each):
            rng = np.random.default_rng([config.seed_of_data, step])
            yield draw_sequences(config, rng, config.lanes)
    else:
        rng = np.random.default_rng(TEST if split == "test" else VALIDATION)
        yield draw_sequences(config, rng, config.tested)


def draw_sequences(config: HybridConfig, rng: np.random.Generator, samples: int) -> Pair:
    """Draw recall sequences and their answers."""
    drawn = TASKS[config.task](rng, config.sizes, samples)
    return torch.from_numpy(drawn.x), torch.from_numpy(drawn.y)


def loss(config: HybridConfig, model: nn.Module, batch: Pair, at: float) -> Tensor:
    """Return the mean cross-entropy of the targets [nat]."""
    return language.loss(config, model, batch, at)[0]


@torch.no_grad()
def measure_answers(
    config: HybridConfig, model: nn.Module, split: Split
) -> tuple[float, float, int]:
    """Return (share of right answers, bits per answer, number of answers) of a split."""
    ((x, y),) = batches(config, split, 0)
    logits, _ = model(x)
    due = y != NOTHING
    right = float((logits.argmax(-1) == y)[due].double().mean())
    nats = float(F.cross_entropy(logits[due].double(), y[due]))
    return right, nats / math.log(2), int(due.sum())


def validate(config: HybridConfig, model: nn.Module) -> float:
    """Return bits per answer, or per byte of text, on the validation split."""
    if config.task == TEXT:
        return language.measure_bits(config, model, "val")
    return measure_answers(config, model, "val")[1]


def evaluate(run: Run, model: nn.Module) -> Findings:
    """Return the share of right test answers, or bits per byte of the test part of the text."""
    if run.config.task == TEXT:
        return language.evaluate(run, model)
    right, bits, n = measure_answers(run.config, model, "test")
    k = count_choices(run.config.sizes)[run.config.task]
    guess = {ACCURACY.name: 1 / k, BITS.name: math.log2(k)}
    return Findings(
        values={ACCURACY.name: right, BITS.name: bits},
        n=n,
        counted="answers",
        tables=[answer_questions(run.config, model)],
        beside={f"a guess among the {k} values of the sequence": guess},
    )


@torch.no_grad()
def answer_questions(config: HybridConfig, model: nn.Module) -> Table:
    """Return the first test sequence with its right answers and those of the model."""
    x, y = (part[:, :1] for part in next(batches(config, "test", 0)))
    given, due = model(x)[0].argmax(-1), y != NOTHING
    rows = {"sequence": x.flatten(), "right answers": y[due], "the model's": given[due]}
    words = [(who, name_tokens(config.sizes, t.tolist())) for who, t in rows.items()]
    signs = {
        "MQAR": "A key that comes again asks for its value",
        "needles": "! marks a needle, ? asks for the value of a key",
        "tracking": "= sets a key, ? asks for the value of a key",
    }
    return Table(
        title="A test sequence",
        head=("", "tokens"),
        rows=words,
        caption=f"The stack is {config.stack}. k: key, v: value, . nothing to remember. "
        f"{signs[config.task]}.",
        example=True,
    )


def explain_only_torch(_: HybridConfig) -> str:
    """Explain why no Graph can hold a model."""
    return (
        "stacks of hybrids stay on torch: a Graph has no node for the convolution in front of "
        "a mixer; take a run of language:small_spiking"
    )


def list_controls(config: HybridConfig) -> dict[str, dict[str, str]]:
    """Return stacks of as many layers, all of one of the kinds that a stack mixes."""
    kinds = dict.fromkeys(config.layers)
    stacks = {kind: f"{kind}*{len(config.layers)}" for kind in kinds if len(kinds) > 1}
    return {f"{kind} in every layer": {"stack": stack} for kind, stack in stacks.items()}


TASK = Task(
    summary=SUMMARIES["hybrids"],
    about="Keys with values go in, and the value of each key asked for comes out; or a text, "
    "and the next byte. Nothing spikes: the stacks show what each kind of mixer remembers.",
    configs={"tiny": tiny, "recall": recall, "text": text},
    training=Training(
        build=build,
        plan=make_plan,
        steps=lambda config: config.steps // config.validations,
        batches=batches,
        dummy_batch=make_dummy_batch,
        batch_axis=1,
        loss=loss,
        validation=BITS,
        validate=validate,
        pin=lambda config: pin_files(config) if config.task == TEXT else config,
        seed_changes="the initial weights; sequences, and the order of the text, stay the same",
    ),
    deployment=Deployment(
        part=lambda _, model: model, stimuli=lambda *_: (), only_torch=explain_only_torch
    ),
    evaluation=Evaluation(
        metrics=(ACCURACY, language.BITS, BITS), evaluate=evaluate, controls=list_controls
    ),
)

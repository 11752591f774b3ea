"""The part of a language model that a chip runs, its inputs, and the quality of its logits.

Axes: T tokens (ticks), B samples, D channels, V the vocabulary.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.io.run_folder import RunError
from neuro.nn.mixer_graph import EMBEDDED, explain_no_graph, make_graph
from neuro.nn.net import Net
from tasks.language.config import LanguageConfig
from tasks.language.data import NOTHING, batches, count_target_bytes
from tasks.language.model import LanguageModel
from tasks.runs.task import Metric, Split, Stimulus

# Covers the first tokens of each lane, from an initial state; the task's BITS covers all text.
FIRST_BITS = Metric(
    name="bits_per_byte_of_first_tokens",
    better="lower",
    unit="bits",
    format=".4f",
    meaning="mean length if the predictions code the text; of a byte without them, 8",
)
FIRST_BITS_PER_TOKEN = replace(FIRST_BITS, name="bits_per_token_of_first_tokens")
# Compared with the model as it was trained, in float32.
GREEDY = Metric(
    name="greedy_tokens_as_trained", format=".2%", meaning="share of equal most probable tokens"
)
MEAN_APART = Metric(
    name="mean_logit_difference", better="lower", format=".2g", meaning="from trained logits"
)
FARTHEST = replace(MEAN_APART, name="largest_logit_difference")
DRAWN = "the first tokens of each stream, because a state is carried to later ones"
EXECUTED = (FIRST_BITS, FIRST_BITS_PER_TOKEN, GREEDY, MEAN_APART, FARTHEST)


class Targets(NamedTuple):
    """The reference for the logits of an executor.

    following: next tokens; NOTHING after the end of a text. logits: those of the trained model.
    """

    following: Int64[Tensor, "B T"]
    logits: Float[Tensor, "B T V"]


def require_language(model: nn.Module) -> LanguageModel:
    """Return the model; raise a RunError unless it is a LanguageModel."""
    if not isinstance(model, LanguageModel):
        raise RunError(_stays(f"a {type(model).__name__} is no LanguageModel"))
    return model


def explain_only_torch(config: LanguageConfig) -> str:
    """Explain why no Graph can hold a model, with a cure; "" if a Graph can."""
    why = explain_no_graph(config)
    return _stays(why) if why else ""


def _stays(why: str) -> str:
    return (
        f"this language model stays on torch: {why}; take a run of language:small_spiking "
        "(neuro eval and neuro generate work with this one)"
    )


def chip_part(_: LanguageConfig, model: nn.Module) -> Net:
    """Return the token step, from the embedding to the logits."""
    return Net(make_graph(require_language(model)))


def stimuli(config: LanguageConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield the embedded first tokens of each lane (T B D) and the targets of their logits.

    Only one batch, which starts from the initial state: later ones would need a carried state.
    """
    spiking = require_language(model)
    tokens, following = next(iter(batches(config, split, 0)))
    tokens = tokens.to(spiking.embedding.weight.device)
    with torch.no_grad():
        embedded, (logits, _) = spiking.embedding(tokens), spiking(tokens)
    expected = Targets(following.T.contiguous(), logits.swapaxes(0, 1).cpu())
    yield Stimulus({EMBEDDED: embedded.cpu()}, expected, DRAWN)


def decode(config: LanguageConfig, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG001
    """Return the logits, B T V."""
    (logits,) = outputs.values()
    return logits.swapaxes(0, 1)


def measure(
    config: LanguageConfig, answers: Float[Tensor, "B T V"], targets: Targets
) -> dict[str, float]:
    """Return the EXECUTED metrics over the tokens before the end of each stream.

    Bits are per byte, or per token if the bytes of the tokenizer's tokens are unknown.
    """
    read = targets.following != NOTHING
    following, logits = targets.following[read], answers[read].double()
    trained = targets.logits[read].double()
    bits = float(F.cross_entropy(logits, following, reduction="sum")) / math.log(2)
    size = count_target_bytes(config, following)
    apart = (logits - trained).abs()
    return {
        **(
            {FIRST_BITS_PER_TOKEN.name: bits / len(following)}
            if size is None
            else {FIRST_BITS.name: bits / size}
        ),
        GREEDY.name: float((logits.argmax(-1) == trained.argmax(-1)).double().mean()),
        MEAN_APART.name: float(apart.mean()),
        FARTHEST.name: float(apart.max()),
    }

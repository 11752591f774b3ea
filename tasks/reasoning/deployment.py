"""What a chip runs of a spiking network, and what drives it: one tick a token.

A host looks embeddings up. The words of an answer stand in the stimulus: a network says an
answer word for word if and only if it says each word behind the true ones before it.
Thoughts that are hidden states are no input that is known beforehand: such arms stay on torch.
Axes: T tokens (ticks), B samples, W words of an answer, D channels, V the vocabulary.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.io.run_folder import RunError
from neuro.nn.mixer_graph import EMBEDDED, explain_no_graph, make_graph
from neuro.nn.net import Net
from tasks.reasoning.batches import arrange_items
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import say, stack_tokens
from tasks.reasoning.data import load
from tasks.reasoning.items import BEGIN, PAD
from tasks.reasoning.loss import require_reasoning
from tasks.reasoning.model import ReasoningModel
from tasks.runs.task import ACCURACY, Metric, Split, Stimulus

COMPARED = 16  # items that every executor answers, the first ones of a split
# Beside the model as it was trained, in float32.
GREEDY = Metric(name="greedy_words_as_trained", format=".2%")
FARTHEST = Metric(name="largest_logit_difference", better="lower", format=".2g")

EXECUTED = (GREEDY, FARTHEST)


class SaidTargets(NamedTuple):
    """What logits are measured against.

    words: that are due behind each of the last tokens; PAD behind the end. logits: of the
    trained model there.
    """

    words: Int64[Tensor, "B W"]
    logits: Float[Tensor, "B W V"]


def explain_only_torch(config: ReasoningConfig) -> str:
    """Return why only torch runs a network, and what to take instead; "" where all do."""
    why = explain_no_graph(config)
    if config.arm in ("coconut", "codi") and config.thoughts and not why:
        why = f'the thoughts of "{config.arm}" are hidden states, which return as inputs'
    if config.arm == "diffusion" and not why:
        why = "diffusion reads its text both ways, and a chip one token after the other"
    if not why:
        return ""
    return f"this network stays on torch: {why}; take a run of reasoning:tiny_spiking"


def require_spiking(config: ReasoningConfig, model: nn.Module) -> ReasoningModel:
    """Return the model; raise a RunError unless a Graph can hold it."""
    if why := explain_only_torch(config):
        raise RunError(why)
    return require_reasoning(model)


def chip_part(config: ReasoningConfig, model: nn.Module) -> Net:
    """Return the token step, from the embedding to the logits.

    Raises:
        RunError: only torch runs the model.
    """
    return Net(make_graph(require_spiking(config, model)))


def stimuli(config: ReasoningConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield the first questions of a split with their pauses and answers, embedded (T B D).

    One batch of equally long questions.

    Raises:
        RunError: only torch runs the model.
    """
    spiking = require_spiking(config, model)
    device = spiking.embedding.weight.device
    items = arrange_items(config, load(config), split, 0)[0][:COMPARED]
    kept = [item.thinking if config.arm == "cot" else () for item in items]
    said = stack_tokens([say(k, item.answer) for k, item in zip(kept, items, strict=True)])
    question = stack_tokens([(*item.question, BEGIN) for item in items])
    with torch.no_grad():
        prompt = spiking.think(question.to(device), config.thoughts)
        x = torch.cat([prompt.pending, spiking.embedding(said[:-1].to(device))])
        logits = spiking.head(spiking.read(x).hidden)[1 - len(said) :]
    words = said[1:].clone()
    if config.arm != "cot":
        words = words[1:]  # ANSWER is given
        logits = logits[1:]
    expected = SaidTargets(words.T.contiguous(), logits.swapaxes(0, 1).cpu())
    yield Stimulus({EMBEDDED: x.cpu()}, expected)


def count_ticks(config: ReasoningConfig) -> int:
    """Return the tokens that are read for an answer: question, pauses, and words but the last.

    Those of the first question of the test split, of which a chip computes all.
    """
    item = arrange_items(config, load(config), "test", 0)[0][0]
    kept = item.thinking if config.arm == "cot" else ()
    return len(item.question) + 1 + config.thoughts + len(say(kept, item.answer)) - 1


def decode(
    config: ReasoningConfig,  # noqa: ARG001
    model: nn.Module,  # noqa: ARG001
    outputs: Mapping[str, Tensor],
) -> Float[Tensor, "B T V"]:
    """Return the logits behind every token."""
    (logits,) = outputs.values()
    return logits.swapaxes(0, 1)


def measure(
    _: ReasoningConfig, answers: Float[Tensor, "B T V"], targets: SaidTargets
) -> dict[str, float]:
    """Return the share of exact answers, and what differs from the trained model."""
    logits = answers[:, -targets.words.shape[1] :].double()
    due, trained = targets.words != PAD, targets.logits.double()
    said = logits.argmax(-1)
    right = ((said == targets.words) | ~due).all(1)
    return {
        ACCURACY.name: float(right.double().mean()),
        GREEDY.name: float((said == trained.argmax(-1))[due].double().mean()),
        FARTHEST.name: float((logits - trained).abs()[due].max()),
    }

"""The part of a spiking network that a chip runs, and its inputs: one tick per token.

A host looks up embeddings. The stimulus contains the words of the answer: a network says an
answer exactly if and only if it says each word after the true words before it.
A recurrent core is one program that runs once per iteration. A run is a pass over all tokens;
the host adds s of the previous run to the embeddings. Each run is one sample of the stimuli.
Arms whose thoughts are hidden states stay on torch, because these inputs are not known
beforehand.
Axes: T tokens (ticks), B samples, W words of an answer, D channels, V the vocabulary.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.nn.mixer_graph import (
    DRIVEN,
    EMBEDDED,
    LOGITS,
    explain_no_graph,
    explain_no_loop,
    make_graph,
    make_loop_graph,
)
from neuro.nn.net import Net
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import say, stack_tokens
from tasks.reasoning.data import load
from tasks.reasoning.items import BEGIN, PAD, EncodedItem
from tasks.reasoning.loss import require_reasoning
from tasks.reasoning.model import ReasoningModel
from tasks.runs.samples import pick_spread
from tasks.runs.task import ACCURACY, Metric, Split, Stimulus

COMPARED = 16  # items that every executor answers
# Compared with the model as it was trained, in float32.
SAME, FAR = "share of words that stay as trained", "largest change of a word's score"
GREEDY = Metric(name="greedy_words_as_trained", format=".2%", meaning=SAME)
FARTHEST = Metric(name="largest_logit_difference", better="lower", format=".2g", meaning=FAR)

EXECUTED = (GREEDY, FARTHEST)


class SaidTargets(NamedTuple):
    """The reference for the logits of an executor.

    words: the right word after each of the last tokens; PAD after the end.
    logits: those of the trained model at the same places.
    """

    words: Int64[Tensor, "B W"]
    logits: Float[Tensor, "B W V"]


def explain_only_torch(config: ReasoningConfig) -> str:
    """Explain why only torch runs a network, with a cure; "" if every executor runs it."""
    why = explain_no_graph(config)
    if config.arm in ("coconut", "codi") and config.thoughts and not why:
        why = f'the thoughts of "{config.arm}" are hidden states, which return as inputs'
    if config.arm == "diffusion" and not why:
        why = "diffusion reads its text both ways, and a chip one token after the other"
    if config.depth and not why:
        why = explain_no_loop(config)
    if not why:
        return ""
    cure = "reasoning:tiny_depth" if config.depth else "reasoning:tiny_spiking"
    return f"this network stays on torch: {why}; take a run of {cure}"


def chip_part(config: ReasoningConfig, model: nn.Module) -> Net:
    """Return the token step, from embedding to logits; for a core, that of one iteration."""
    spiking = require_reasoning(model)
    return Net(make_loop_graph(spiking) if config.depth else make_graph(spiking))


def count_runs(config: ReasoningConfig) -> int:
    """Return how often the part runs per answer: once per iteration of a core."""
    return config.depth or 1


def count_host_macs(config: ReasoningConfig, model: nn.Module) -> dict[str, int]:  # noqa: ARG001
    """Return the additions s + e of the host per run of a core, over all tokens."""
    return {"s + e": count_ticks(config) * config.width} if config.depth else {}


def stimuli(config: ReasoningConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield some questions of a split with their pauses and answers, embedded (T B D).

    One batch (:func:`pick_items`); a core has one per iteration, with s from torch. Only the
    last iteration has words as targets.
    """
    spiking = require_reasoning(model)
    items, drawn = pick_items(config, split)
    with torch.no_grad():
        x, words = embed_answers(config, spiking, items)
        if not config.depth:
            hidden = spiking.read(x).hidden
            yield _make_stimulus(EMBEDDED, x, words, spiking.head(hidden), drawn)
            return
        s = torch.zeros_like(x)
        for i in range(1, config.depth + 1):
            driven, (s, hidden) = s + x, spiking.run_iteration(s, x)
            due = words if i == config.depth else torch.full_like(words, PAD)
            yield _make_stimulus(DRIVEN, driven, due, spiking.head(hidden), drawn)


def pick_items(config: ReasoningConfig, split: Split) -> tuple[list[EncodedItem], str]:
    """Return questions of the commonest length, spread at random, and how they were drawn.

    Equally long questions need no padding before the thoughts.
    """
    items = load(config).items[split]
    ((length, _),) = Counter(len(item.question) for item in items).most_common(1)
    own = [item for item in items if len(item.question) == length]
    of = f" of {length} words" if len(own) < len(items) else ""
    drawn = f"spread at random over {len(own):,}{of}" if len(own) > COMPARED else f"all{of}"
    return [own[k] for k in pick_spread(len(own), COMPARED)], f"{drawn} of the split"


def embed_answers(
    config: ReasoningConfig, model: ReasoningModel, items: Sequence[EncodedItem]
) -> tuple[Float[Tensor, "T B D"], Int64[Tensor, "W B"]]:
    """Return embedded questions with pauses and answers, and the target words.

    The targets follow each of the last W tokens; PAD after the end.
    """
    device = model.embedding.weight.device
    kept = [item.thinking if config.arm == "cot" else () for item in items]
    said = stack_tokens([say(k, item.answer) for k, item in zip(kept, items, strict=True)])
    question = stack_tokens([(*item.question, BEGIN) for item in items])
    prompt = model.think(question.to(device), config.thoughts)
    x = torch.cat([prompt.pending, model.embedding(said[:-1].to(device))])
    return x, said[1:] if config.arm == "cot" else said[2:]  # ANSWER is an input otherwise


def _make_stimulus(name: str, x: Tensor, words: Tensor, logits: Tensor, drawn: str) -> Stimulus:
    """Return the stimulus of an input, with the target words after its last tokens."""
    due, logits = words.T.contiguous(), logits[-len(words) :].swapaxes(0, 1)
    return Stimulus({name: x.cpu()}, SaidTargets(due, logits.cpu()), drawn)


def count_ticks(config: ReasoningConfig) -> int:
    """Return the tokens read per answer: question, pauses, and all words but the last.

    Counts the longest stimulus of the test split, because shorter ones are padded and a chip
    computes every tick.
    """
    items, _ = pick_items(config, "test")
    said = max(
        len(say(item.thinking if config.arm == "cot" else (), item.answer)) for item in items
    )
    return len(items[0].question) + 1 + config.thoughts + said - 1


def decode(
    config: ReasoningConfig,  # noqa: ARG001
    model: nn.Module,  # noqa: ARG001
    outputs: Mapping[str, Tensor],
) -> Float[Tensor, "B T V"]:
    """Return the logits after every token."""
    return outputs[LOGITS].swapaxes(0, 1)


def measure(
    _: ReasoningConfig, answers: Float[Tensor, "B T V"], targets: SaidTargets
) -> dict[str, float]:
    """Return the share of exact answers, and the differences from the trained model.

    Samples without target words are runs before the last one; they do not count as answers.
    """
    logits = answers[:, -targets.words.shape[1] :].double()
    due, trained = targets.words != PAD, targets.logits.double()
    said = logits.argmax(-1)
    right = ((said == targets.words) | ~due).all(1)
    return {
        ACCURACY.name: float(right[due.any(1)].double().mean()),
        GREEDY.name: float((said == trained.argmax(-1))[due].double().mean()),
        FARTHEST.name: float((logits - trained).abs()[due].max()),
    }

"""Decoded thoughts: the words that the read-out assigns to hidden states before an answer.

A share says little by itself, because a network that names any node of the question is often
right. So each share is compared with the share for the steps of another item (the control).
Axes: P places (BEGIN, then each thought), B samples, S steps and the answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import torch
from jaxtyping import Float64, Int64
from matplotlib.figure import Figure
from torch import Tensor, nn

from neuro.plot import ACCENT, INK, STYLE
from tasks.reasoning.answer import Said
from tasks.reasoning.batches import arrange_items
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import stack_tokens
from tasks.reasoning.data import RULES, load
from tasks.reasoning.items import BEGIN, MARKS, EncodedItem
from tasks.reasoning.loss import require_reasoning
from tasks.report.figures import save_png
from tasks.runs.task import Picture, Table

PICTURE = "thoughts.png"
BEGINNING = "behind the question"
LINE = 24  # words of a question in a row of the table


class DecodedThoughts(NamedTuple):
    """Shares of items whose decoded word is the last word of a step, or of the answer.

    own: steps of the item itself. other: steps of the next item in the batch, the control.
    items: number of items with the most steps; all others are left out.
    """

    own: Float64[Tensor, "P S"]
    other: Float64[Tensor, "P S"]
    items: int


@torch.no_grad()
def read_thoughts(
    config: ReasoningConfig, model: nn.Module, items: Sequence[EncodedItem]
) -> Int64[Tensor, "P B"]:
    """Return the word that the read-out assigns to the hidden state at BEGIN and each thought.

    Marks are excluded. A thought of "coconut" is the hidden state of the place before it.
    """
    inner = require_reasoning(model)
    question = stack_tokens([(*item.question, BEGIN) for item in items])
    prompt = inner.think(question.to(inner.embedding.weight.device), 0)
    reading = inner.read(prompt.pending, None)
    hidden = [reading.hidden[-1:]]
    for _ in range(config.thoughts):
        reading = inner.read(inner.make_thought(hidden[-1]), reading.state)
        hidden.append(reading.hidden)
    logits = inner.head(torch.cat(hidden))
    words: Tensor = logits[..., len(MARKS) :].argmax(-1) + len(MARKS)
    return words.cpu()


def tabulate_example(config: ReasoningConfig, model: nn.Module, said: Said) -> Table:
    """Return what a network read, thought and said about an item, and what is true of it."""
    words, item = dict(enumerate(load(config).words)), said.item
    kind = "pause" if config.arm == "pause" else "thought"
    rule = "" if config.data else RULES.get(config.puzzle, "").format(steps=len(item.steps))

    def write(tokens: Sequence[int]) -> str:
        return " ".join(words.get(k, f"<{k}>") for k in tokens)  # a vocabulary may have more

    lines = range(0, len(item.question), LINE)
    rows = [("" if k else "question", write(item.question[k : k + LINE])) for k in lines]
    if config.thoughts:
        thoughts = read_thoughts(config, model, [item])[1:, 0].tolist()
        rows += [(f"{kind} {k}, decoded", write([t])) for k, t in enumerate(thoughts, 1)]
    steps = [(f"true step {k}", write(step)) for k, step in enumerate(item.steps, 1)]
    rows.append((f"answer ({'right' if said.right else 'wrong'})", write(said.answer)))
    rows += [*steps, ("true answer", write(item.answer))]
    return Table(
        title="A puzzle",
        head=("", "words"),
        rows=rows,
        caption=f"{rule} The first test item.".lstrip()
        + f" Decoded: the word that the hidden state of a {kind} stands for."
        * (config.thoughts > 0),
        example=True,
    )


def decode_test(config: ReasoningConfig, model: nn.Module) -> DecodedThoughts | None:
    """Decode the thoughts on the test split; None: no batch has two items to compare."""
    data = load(config)
    most = max(len(item.steps) for item in data.items["test"])
    own, other = list[Tensor](), list[Tensor]()
    for items in arrange_items(config, data, "test", 0):
        longest = [item for item in items if len(item.steps) == most]
        if len(longest) < 2:
            continue
        words = read_thoughts(config, model, longest)[:, None]  # P 1 B
        parts = [[*(s[-1] for s in item.steps), item.answer[-1]] for item in longest]
        due = torch.tensor(parts).T[None]  # 1 S B
        own.append(words == due)
        other.append(words == due.roll(1, -1))
    if not own:
        return None
    shares = [torch.cat(rows, -1).double().mean(-1) for rows in (own, other)]
    return DecodedThoughts(shares[0], shares[1], sum(x.shape[-1] for x in own))


def list_places(found: DecodedThoughts) -> list[str]:
    """Return the names of the places, which are the rows of the table."""
    return [BEGINNING, *(f"thought {k}" for k in range(1, len(found.own)))]


def list_parts(found: DecodedThoughts) -> list[str]:
    """Return the names of the steps and the answer, which are the columns of the table."""
    return [*(f"step {k}" for k in range(1, found.own.shape[1])), "answer"]


def tabulate_thoughts(found: DecodedThoughts) -> Table:
    """Return the table of the report."""
    rows = [
        [place, *(f"{a:.1%} ({b:.1%})" for a, b in zip(own, other, strict=True))]
        for place, own, other in zip(
            list_places(found), found.own.tolist(), found.other.tolist(), strict=True
        )
    ]
    return Table(
        title="Decoded thoughts",
        head=("hidden state", *list_parts(found)),
        rows=rows,
        caption=f"The read-out's word for a hidden state, over {found.items} items with the "
        "most steps: share that equals the last word of a step; in brackets, of a step of "
        "another item.",
    )


@mpl.rc_context(STYLE)
def draw_thoughts(found: DecodedThoughts, folder: Path) -> Picture:
    """Draw one panel of shares per hidden state into the run folder; return the picture."""
    places, parts = list_places(found), list_parts(found)
    figure = Figure((1.2 + 1.9 * len(places), 2.4), layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False, sharey=True)[0]
    for ax, place, own, other in zip(
        panels, places, found.own.tolist(), found.other.tolist(), strict=True
    ):
        ax.bar(parts, [100 * x for x in own], color=ACCENT, label="own item")
        ax.plot(parts, [100 * x for x in other], "_", color=INK, ms=14, label="another item")
        ax.set(ylim=(0, 100), title=place)
        ax.tick_params(axis="x", rotation=60 if len(parts) > 3 else 0)
    panels[0].set_ylabel("decoded as [%]")
    panels[-1].legend(fontsize=8)
    save_png(figure, folder / PICTURE)
    return Picture(
        file=PICTURE,
        title="Decoded thoughts",
        caption="The read-out's word for the hidden state behind the question and at each "
        "thought: how often it is a step of the item, and of another one.",
    )

"""Answers: the network says words one by one until END; counts exact matches, words and calls.

"cot" says its steps before the answer. All other arms get ANSWER after SPEAK as an input, so
they say only the answer. Axes: T tokens of a question, B samples, W words of what is said.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tasks.reasoning.batches import arrange_items
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import count_words, stack_tokens
from tasks.reasoning.data import load
from tasks.reasoning.fill import FilledItem, fill_split
from tasks.reasoning.items import ANSWER, BEGIN, END, SPEAK, EncodedItem, Tokens
from tasks.reasoning.loss import require_reasoning
from tasks.reasoning.model import ReasoningModel
from tasks.runs.share import track_test
from tasks.runs.task import Split


class Said(NamedTuple):
    """What a network said about an item.

    right: whether its answer equals the item's, word for word.
    words: number of words said, with END if it was said. calls: sequential network calls.
    depth: mean number of iterations per word; 0 if the network has no recurrent core.
    """

    item: EncodedItem
    answer: Tokens
    right: bool
    words: int
    calls: int
    depth: float


@torch.no_grad()
def answer_split(
    config: ReasoningConfig,
    model: nn.Module,
    split: Split,
    thoughts: int | None = None,
    depth: int | None = None,
) -> list[Said]:
    """Return what the network says about every item of a split.

    thoughts, depth (iterations of a recurrent core): None takes those of the configuration.
    """
    inner, data = require_reasoning(model), load(config)
    if config.arm == "diffusion":
        return [judge_filled(one) for one in fill_split(config, model, split)]
    training = model.training
    model.eval()
    count = config.thoughts if thoughts is None else thoughts
    most = count_words(config, data.longest_steps, data.longest_answer)
    said = [
        one
        for items in track_test(arrange_items(config, data, split, 0), split)
        for one in answer_items(config, inner, items, count, most, depth)
    ]
    model.train(training)
    return said


@torch.no_grad()
def answer_items(
    config: ReasoningConfig,
    model: ReasoningModel,
    items: Sequence[EncodedItem],
    thoughts: int,
    most: int,
    depth: int | None = None,
) -> list[Said]:
    """Return what the network says about items whose questions are equally long.

    most: number of words after which an answer is cut off.
    """
    device = model.embedding.weight.device
    question = stack_tokens([(*item.question, BEGIN) for item in items]).to(device)
    silent = config.arm != "cot"
    prompt = model.think(question, thoughts, depth)
    given = (SPEAK, ANSWER) if silent else (SPEAK,)
    start = torch.tensor(given, device=device)[:, None].expand(-1, len(items))
    reading = model.listen(prompt, start)
    words, used = list[Tensor](), list[Tensor]()
    ended = torch.zeros(len(items), dtype=torch.bool, device=device)
    while True:
        words.append(model.head(reading.hidden[-1:]).argmax(-1))  # 1 B
        if reading.depth is not None:
            used.append(reading.depth[-1:])
        ended = ended | (words[-1][0] == END)
        if bool(ended.all()) or len(words) == most:
            break
        reading = model.read(model.embedding(words[-1]), reading.state)
    rows = torch.cat(words).T.tolist()
    depths = torch.cat(used).T.tolist() if used else [[0] * len(words)] * len(items)
    return [
        _judge(item, row, own, prompt.calls + 1, silent)
        for item, row, own in zip(items, rows, depths, strict=True)
    ]


def judge_filled(filled: FilledItem) -> Said:
    """Convert an answer of masked diffusion, which has no END."""
    item, answer, _, calls = filled
    return Said(item, answer, answer == item.answer, len(answer), calls, 0.0)


def _judge(
    item: EncodedItem, row: list[int], depths: list[int], calls: int, silent: bool
) -> Said:
    """Judge the words ``row``. depths: iterations per word. calls: until the first word."""
    ended = END in row
    words = row[: row.index(END)] if ended else row
    begin = 0 if silent else words.index(ANSWER) + 1 if ANSWER in words else len(words)
    answer = tuple(words[begin:])
    count = len(words) + ended
    depth = sum(depths[:count]) / count
    return Said(item, answer, ended and answer == item.answer, count, calls + count - 1, depth)

"""Answers of networks with scripted words: exact matches, words, calls."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_puzzles import GRAPHS

from neuro.base.seeds import seeded
from neuro.nn.mixer_block import Reading
from tasks.reasoning.answer import Said, answer_items, answer_split
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import count_words
from tasks.reasoning.data import load
from tasks.reasoning.evaluate import _list_steps, measure_said
from tasks.reasoning.items import ANSWER, END, EncodedItem
from tasks.reasoning.model import ReasoningModel, build

ITEM = EncodedItem((6, 7), ((8,), (9,)), (10, 11))
CONFIG = ReasoningConfig(width=16, hidden=24, heads=2, arm="cot", latents=1, stages=3)


class Script(nn.Module):
    """A read-out that says the given words one by one."""

    def __init__(self, *rows: Sequence[int]) -> None:
        super().__init__()
        self.rows, self.at = rows, 0

    def forward(self, hidden: Tensor) -> Tensor:
        logits = torch.zeros(1, hidden.shape[1], 30)
        for sample, row in enumerate(self.rows):
            logits[0, sample, row[min(self.at, len(row) - 1)]] = 1.0
        self.at += 1
        return logits


def speak(config: ReasoningConfig, *rows: Sequence[int], most: int = 8, thoughts: int = 0):  # type: ignore[no-untyped-def]
    """Return (right, answer, words, calls) of ITEM for each script."""
    with seeded(0):
        model = build(config)
    model.head = Script(*rows)  # type: ignore[assignment]
    said = answer_items(config, model, [ITEM] * len(rows), thoughts, most)
    return [(one.right, one.answer, one.words, one.calls) for one in said]


def test_words_are_counted_to_the_end_and_the_answer_stands_behind_its_mark() -> None:
    found = speak(
        CONFIG,
        [8, 9, ANSWER, 10, 11, END],
        [8, ANSWER, 10, 11, END],  # different steps, same answer
        [8, 9, ANSWER, 10, END],
        [10, 11, END],  # not an answer, because ANSWER is missing
        [8, 9, ANSWER, 10, 11, 11, END],
    )
    assert found == [
        (True, (10, 11), 6, 6),
        (True, (10, 11), 5, 5),
        (False, (10,), 5, 5),
        (False, (), 3, 3),
        (False, (10, 11, 11), 7, 7),
    ]


def test_a_network_that_does_not_end_is_interrupted_and_wrong() -> None:
    assert speak(CONFIG, [ANSWER, 10, 11, 11], most=4) == [(False, (10, 11, 11), 4, 4)]
    assert speak(CONFIG, [ANSWER, 10, 11], most=3) == [(False, (10, 11), 3, 3)]


def test_thoughts_are_calls_and_pauses_are_not() -> None:
    for arm, calls in (("coconut", 3 + 3), ("codi", 3 + 3), ("pause", 3), ("none", 3)):
        config = replace(CONFIG, arm=arm)  # type: ignore[arg-type]
        thoughts = 0 if arm == "none" else 3
        found = speak(config, [10, 11, END], thoughts=thoughts)
        assert found == [(True, (10, 11), 3, calls)]


def test_metrics_are_means() -> None:
    with seeded(0):
        model = build(CONFIG)
    model.head = Script([ANSWER, 10, 11, END], [ANSWER, END])  # type: ignore[assignment]
    said = answer_items(CONFIG, model, [ITEM, ITEM], 0, 8)
    assert measure_said(said) == {"accuracy": 0.5, "said_words": 3.0, "network_calls": 3.0}


def test_accuracy_is_by_the_number_of_steps() -> None:
    short = EncodedItem((6, 7), ((8,),), (10,))
    items = [(ITEM, True), (short, False), (short, True), (short, False), (short, False)]
    said = [Said(item, item.answer, right, 1, 1, 0.0) for item, right in items]
    assert list(_list_steps(said)) == [("1", 4, "25.0%"), ("2", 1, "100.0%")]


def test_the_depth_of_an_answer_is_the_mean_behind_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(CONFIG, arm="none")
    with seeded(0):
        model = build(config)
    model.head = Script([10, 11, END], [10, END])  # type: ignore[assignment]
    read, seen = model.read, list[int]()

    def count(x: Tensor, *arguments: Any) -> Reading:
        """Replace the depth of each token by the number of tokens before it."""
        depth = torch.arange(len(seen), len(seen) + len(x))[:, None].expand(x.shape[:2])
        seen.extend(depth[:, 0].tolist())
        return read(x, *arguments)._replace(depth=depth)

    monkeypatch.setattr(model, "read", count)
    said = answer_items(config, model, [ITEM, ITEM], 0, 8)
    assert seen == list(range(3 + 2 + 2))  # two words and BEGIN; SPEAK, ANSWER; 10, 11
    assert [one.depth for one in said] == [(4 + 5 + 6) / 3, (4 + 5) / 2]


@pytest.mark.parametrize("arm", ["cot", "coconut", "pause", "codi"])
def test_words_one_by_one_are_those_of_a_whole_pass(arm: str) -> None:
    config = replace(GRAPHS, arm=arm, train=20, test=6, val=4)  # type: ignore[arg-type]
    with seeded(0):
        model = build(config).double()
    said = answer_split(config, model, "test")
    assert len(said) == 6
    for one in said:
        most = count_most(config)
        assert one.words <= most
        assert one.calls == one.words + (config.thoughts if arm in ("coconut", "codi") else 0)
        _check_greedy(config, model, one.item, one.answer)


def count_most(config: ReasoningConfig) -> int:
    data = load(config)
    return count_words(config, data.longest_steps, data.longest_answer)


def _check_greedy(
    config: ReasoningConfig, model: ReasoningModel, item: EncodedItem, answer: tuple[int, ...]
) -> None:
    """Check that every word is the greedy one when the text is read from its beginning."""
    question = torch.tensor([*item.question, 1])[:, None]
    said = [3] if config.arm == "cot" else [3, ANSWER]
    first = len(said)
    for _ in range(count_most(config)):
        reading, _ = model(question, config.thoughts, torch.tensor(said)[:, None])
        word = int(model.head(reading.hidden[-1]).argmax())
        if word == END:
            break
        said.append(word)
    own = said[first:]
    if config.arm == "cot":
        own = own[own.index(ANSWER) + 1 :] if ANSWER in own else []
    assert tuple(own) == answer

"""Decoded thoughts against a slow version that recomputes every thought; the control."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuro.base.seeds import seeded
from tasks.reasoning import decode_thoughts
from tasks.reasoning.config import Arm, ReasoningConfig
from tasks.reasoning.data import load
from tasks.reasoning.decode_thoughts import (
    PICTURE,
    decode_test,
    draw_thoughts,
    read_thoughts,
    tabulate_thoughts,
)
from tasks.reasoning.items import BEGIN, MARKS, EncodedItem
from tasks.reasoning.model import build

SMALL = ReasoningConfig(width=16, hidden=16, heads=2, train=40, val=4, test=30, stages=3)


@pytest.mark.parametrize("arm", ["coconut", "pause", "codi"])
def test_each_place_is_decoded_without_marks(arm: Arm) -> None:
    config = replace(SMALL, arm=arm)
    with seeded(3):
        model = build(config)
    model.head.weight.data[: len(MARKS)] *= 1e3  # marks would win if they were not excluded
    items = load(config).items["test"][:4]
    found = read_thoughts(config, model, items)
    question = torch.tensor([(*item.question, BEGIN) for item in items]).T
    x, due = model.embedding(question), list[Tensor]()
    for _ in range(config.thoughts + 1):
        hidden = model.read(x).hidden[-1:]
        due.append(model.head(hidden)[0, :, len(MARKS) :].argmax(-1) + len(MARKS))
        x = torch.cat([x, model.make_thought(hidden)])
    assert torch.equal(found, torch.stack(due))
    assert found.shape == (4, 4)


def test_shares_are_of_steps_of_the_longest_items_and_of_the_next_item(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    longest = max(len(item.steps) for item in load(SMALL).items["test"])

    def name_second_step(_: object, __: object, items: list[EncodedItem]) -> Tensor:
        assert {len(item.steps) for item in items} == {longest}
        return torch.tensor([[0] * len(items), [item.steps[1][-1] for item in items]])

    monkeypatch.setattr(decode_thoughts, "read_thoughts", name_second_step)
    found = decode_test(SMALL, build(SMALL))
    assert found is not None
    items = [i for i in load(SMALL).items["test"] if len(i.steps) == longest]
    assert found.items == len(items)
    assert found.own.shape == (2, longest + 1)
    assert found.own[0].sum() == found.other[0].sum() == 0
    assert float(found.own[1, 1]) == 1.0
    # the last step of a graph is its answer
    twice = sum(i.steps[1] == i.answer for i in items) / len(items)
    assert float(found.own[1, -1]) == pytest.approx(twice)
    own = [item.steps[1][-1] for item in items]
    shifted = [items[k - 1].steps[1][-1] for k in range(len(items))]
    same = sum(a == b for a, b in zip(own, shifted, strict=True)) / len(items)
    assert float(found.other[1, 1]) == pytest.approx(same)
    table = tabulate_thoughts(found)
    assert table.head == ("hidden state", "step 1", "step 2", "step 3", "step 4", "answer")
    assert table.rows[1][2] == f"100.0% ({same:.1%})"
    assert draw_thoughts(found, tmp_path).file == PICTURE
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_one_item_has_no_other_to_compare() -> None:
    assert decode_test(replace(SMALL, test=1), build(SMALL)) is None

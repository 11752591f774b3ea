"""The content of batches in each stage, for items made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_puzzles import GRAPHS

from neuro.base.seeds import seeded
from tasks.reasoning.batches import arrange_items, batches, count_steps, make_dummy_batch
from tasks.reasoning.config import ReasoningConfig
from tasks.reasoning.curriculum import (
    draw_further,
    find_stage,
    keep_steps,
    list_stages,
    make_batch,
)
from tasks.reasoning.data import load
from tasks.reasoning.items import ANSWER, BEGIN, END, PAD, SPEAK, THOUGHT, EncodedItem
from tasks.runs.configuration import list_problems

LONG = EncodedItem((6, 7), ((10, 11), (12,), (13,)), (20,))
SHORT = EncodedItem((8, 9), ((14,),), (21, 22))
CONFIG = ReasoningConfig(stages=3, first_epochs=2, stage_epochs=2, epochs=8, latents=2)


def lay_out(arm: str, stage: int, item: EncodedItem = LONG) -> tuple[int, list[int]]:
    """Return (number of thoughts, tokens said) for a batch with one item."""
    config = replace(CONFIG, arm=arm)  # type: ignore[arg-type]
    batch = make_batch(config, [item], stage, 4, [0])
    assert batch.question[:, 0].tolist() == [*item.question, BEGIN]
    assert batch.thoughts.unique().tolist() in ([], [THOUGHT])
    return len(batch.thoughts), batch.said[:, 0].tolist()


@pytest.mark.parametrize(
    ("arm", "stage", "thoughts", "steps"),
    [
        ("none", 0, 0, []),
        ("cot", 0, 0, [10, 11, 12, 13]),
        ("codi", 0, 6, []),
        ("coconut", 0, 0, [10, 11, 12, 13]),
        ("coconut", 1, 2, [12, 13]),
        ("coconut", 2, 4, [13]),
        ("coconut", 3, 6, []),
        ("pause", 1, 2, [12, 13]),
        ("pause", 3, 6, []),
        ("icot", 0, 0, [10, 11, 12, 13]),
        ("icot", 1, 0, [12, 13]),  # ceil(4/3) = 2 words
        ("icot", 2, 0, [13]),  # ceil(8/3) = 3
        ("icot", 3, 0, []),
    ],
)
def test_a_stage_of_each_arm(arm: str, stage: int, thoughts: int, steps: list[int]) -> None:
    assert lay_out(arm, stage) == (thoughts, [SPEAK, *steps, ANSWER, 20, END])


def test_the_last_stage_has_no_step_left_of_an_item_with_more_steps_than_stages() -> None:
    config = replace(CONFIG, arm="coconut", stages=1)
    assert keep_steps(config, LONG, 0, 4) == (10, 11, 12, 13)
    assert keep_steps(config, LONG, 1, 4) == ()


def test_items_of_a_batch_are_filled_up_behind_and_think_equally_often() -> None:
    batch = make_batch(replace(CONFIG, arm="coconut"), [LONG, SHORT], 1, 4, [0, 0])
    assert batch.thoughts.shape == (2, 2)
    assert batch.said.T.tolist() == [
        [SPEAK, 12, 13, ANSWER, 20, END],
        [SPEAK, ANSWER, 21, 22, END, PAD],
    ]
    assert batch.taught.shape == (0, 2)
    taught = make_batch(replace(CONFIG, arm="codi"), [LONG, SHORT], 0, 4, [0, 0]).taught
    assert taught.T.tolist() == [
        [SPEAK, 10, 11, 12, 13, ANSWER, 20, END],
        [SPEAK, 14, ANSWER, 21, 22, END, PAD, PAD],
    ]


def test_further_words_go_of_their_own_item() -> None:
    batch = make_batch(replace(CONFIG, arm="icot"), [LONG, LONG], 1, 4, [0, 1])
    assert batch.said.T.tolist() == [
        [SPEAK, 12, 13, ANSWER, 20, END],
        [SPEAK, 13, ANSWER, 20, END, PAD],
    ]


def test_icot_removes_further_words_rarely_and_by_the_law() -> None:
    config = replace(CONFIG, arm="icot", smoothing=1.0)
    assert keep_steps(config, LONG, 1, 4, 1) == (13,)
    drawn = np.array(draw_further(config, np.random.default_rng(0), 20_000))
    share = 1 - np.exp(-1.0)
    assert drawn.min() == 0
    assert np.mean(drawn == 0) == pytest.approx(share, abs=0.02)
    assert np.mean(drawn == 1) == pytest.approx(share * np.exp(-1.0), abs=0.02)


def test_stages_follow_the_epoch_and_begin_with_a_fresh_optimizer() -> None:
    config = replace(CONFIG, arm="icot")
    assert [find_stage(config, epoch) for epoch in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    stages = list_stages(config)
    assert [stage.epochs for stage in stages] == [2, 2, 2, 2]
    assert [stage.fresh_optimizer for stage in stages] == [False, True, True, True]
    longer = replace(config, first_epochs=4, stage_epochs=1)
    assert [find_stage(longer, epoch) for epoch in range(8)] == [0, 0, 0, 0, 1, 2, 3, 3]
    assert [stage.epochs for stage in list_stages(longer)] == [4, 1, 1, 2]
    assert list_stages(replace(CONFIG, arm="codi")) == ()
    assert sum(s.epochs or 0 for s in list_stages(replace(config, epochs=20))) == 20


def test_batches_are_of_the_stage_and_every_item_comes_once() -> None:
    config = replace(GRAPHS, train=120, val=8, test=8, arm="coconut")
    for epoch, thoughts in enumerate((0, 1, 2, 3, 4, 4)):
        own = list(batches(config, "train", epoch))
        assert {len(batch.thoughts) for batch in own} == {thoughts}
        assert len(own) == count_steps(config) == 3
    questions = torch.cat([batch.question for batch in own], 1).T.tolist()
    assert len({tuple(q) for q in questions}) == len(questions) == 120
    (test,) = batches(config, "test", 0)
    assert len(test.thoughts) == 4
    assert len(test.said) == 4


def test_arms_see_the_same_items_in_the_same_order_whatever_the_seed() -> None:
    config = replace(GRAPHS, train=100)
    with seeded(0):
        first = [b.question for b in batches(replace(config, arm="codi"), "train", 3)]
    with seeded(1):
        again = [b.question for b in batches(replace(config, arm="none"), "train", 3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = [b.question for b in batches(config, "train", 4)]
    assert not torch.equal(first[0], other[0])


def test_a_share_of_the_batches_is_of_other_stages() -> None:
    config = replace(GRAPHS, arm="coconut", batch=2, mix=0.5)
    found = [len(batch.thoughts) for batch in batches(config, "train", 5)]
    assert set(found) == {0, 1, 2, 3, 4}
    assert 0.45 < np.mean([n == 4 for n in found]) < 0.75  # 0.5 + 0.5 / 5


def test_questions_of_other_lengths_stand_in_other_batches() -> None:
    config = replace(CONFIG, batch=2)
    data = load(replace(GRAPHS, train=8))
    items = tuple(EncodedItem((6,) * n, ((7,),), (8,)) for n in (3, 4, 3, 3, 4))
    mixed = replace(data, items={"train": items, "val": (), "test": items})
    for split in ("train", "test"):
        groups = arrange_items(config, mixed, split, 0)  # type: ignore[arg-type]
        lengths = [sorted({len(i.question) for i in group}) for group in groups]
        assert sorted(lengths) == [[3], [3], [4]]


def test_a_dummy_batch_has_the_largest_shapes() -> None:
    for arm in ("none", "cot", "icot", "coconut", "pause", "codi"):
        config = replace(GRAPHS, arm=arm)  # type: ignore[arg-type]
        dummy = make_dummy_batch(config)
        shapes = [
            [x.shape for x in batch] for e in range(6) for batch in batches(config, "train", e)
        ]
        for k, x in enumerate(dummy):
            assert x.shape[0] == max(own[k][0] for own in shapes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": 6}, "epochs is 6; it must be > 6, where the last stage"),
        ({"val": 0}, "val is 0; it must be >= 1 for a generated puzzle. Use --set val=100."),
        ({"test": 0, "train": 0}, "train is 0; it must be >= 1 for a generated puzzle."),
        ({"stack": "softmax*2+abc"}, "'abc' is no mixer"),
    ],
)
def test_fields_that_contradict_each_other(change: dict[str, object], told: str) -> None:
    assert list_problems(CONFIG) == []
    problems = list_problems(replace(CONFIG, **change))  # type: ignore[arg-type]
    assert any(told in problem for problem in problems)
    assert len(problems) == len(change)

"""The arm "diffusion": batches, answers in three orders, costs, and refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.mixers import MIXERS
from tasks.cli import main
from tasks.reasoning.answer import answer_split
from tasks.reasoning.batches import arrange_items, batches, make_dummy_batch
from tasks.reasoning.config import ORDERS, ReasoningConfig, sudoku
from tasks.reasoning.cost import count_macs, count_parameters
from tasks.reasoning.data import ReasoningData, count_context, list_item_problems, load
from tasks.reasoning.deployment import explain_only_torch
from tasks.reasoning.fill import bound_test, fill_items, fill_split, recall_questions
from tasks.reasoning.items import BEGIN, EncodedItem
from tasks.reasoning.loss import loss
from tasks.reasoning.masked_items import MaskedBatch, make_masked_batch
from tasks.reasoning.model import ReasoningModel, build
from tasks.reasoning.orders import measure_filled
from tasks.reasoning.task import make_plan
from tasks.runs.configuration import list_problems

SMALL = replace(
    sudoku(),
    **{"stack": "softmax*2", "width": 16, "hidden": 16, "heads": 2, "size": 6},  # type: ignore[arg-type]
    **{"train": 40, "val": 4, "test": 10, "batch": 20, "epochs": 2},  # type: ignore[arg-type]
)
ITEMS = (EncodedItem((6, 7, 8), (), (9, 7, 8)), EncodedItem((7, 7, 9), (), (6, 7, 9)))


def make(config: ReasoningConfig = SMALL) -> ReasoningModel:
    with seeded(0):
        return build(config).double()


def test_words_of_answers_are_hidden_and_those_of_questions_only_if_asked_for() -> None:
    for in_question in (False, True):
        config = replace(SMALL, mask_question=in_question)
        rng = np.random.default_rng(0)
        batch = make_masked_batch(config, ITEMS * 200, rng)
        assert batch.question[:, 1].tolist() == [7, 7, 9, BEGIN]
        assert batch.said[:, 1].tolist() == [6, 7, 9]
        share = batch.hidden.double().mean(1).tolist()
        assert share == pytest.approx([0.5 * in_question] * 3 + [0.0] + [0.5] * 3, abs=0.07)
        assert torch.equal(batch.weight > 0, batch.hidden)
        every = batch.weight[batch.hidden] * (6 if in_question else 3)  # 1 / p
        assert float(every.min()) >= 1


def test_masks_follow_the_epoch_and_the_items_those_of_other_arms() -> None:
    one, same, other = (next(iter(batches(SMALL, "train", e))) for e in (0, 0, 1))
    assert isinstance(one, MaskedBatch)
    assert isinstance(same, MaskedBatch)
    assert torch.equal(one.hidden, same.hidden)
    assert not torch.equal(one.question, other.question)
    plain = next(iter(batches(replace(SMALL, arm="none"), "train", 0)))
    assert torch.equal(plain.question, one.question)
    dummy = make_dummy_batch(SMALL)
    assert [x.shape for x in dummy] == [x.shape for x in one]
    assert [x.dtype for x in dummy] == [x.dtype for x in one]


def test_the_loss_is_that_of_the_hidden_words_by_hand() -> None:
    config, model = SMALL, make()
    batch = make_masked_batch(config, ITEMS, np.random.default_rng(1))
    logits = model.guess(torch.cat([batch.question, batch.said]), batch.hidden)
    log_p, total = logits.log_softmax(-1), 0.0
    for place in range(3):
        for sample in range(2):
            error = -float(log_p[4 + place, sample, batch.said[place, sample]].detach())
            total += error * float(batch.weight[4 + place, sample])
    assert float(loss(config, model, batch, 0.0).detach()) == pytest.approx(total / 2, rel=1e-5)


def test_what_is_hidden_is_not_seen() -> None:
    model = make()
    tokens = torch.tensor([[6, 7, 8, BEGIN, 9, 7]]).T
    hidden = torch.tensor([[False] * 4 + [True, False]]).T
    other = tokens.clone()
    other[4] = 8
    assert torch.equal(model.guess(tokens, hidden), model.guess(other, hidden))
    assert not torch.equal(model.guess(tokens, ~hidden), model.guess(other, ~hidden))


def test_arms_begin_with_the_same_weights() -> None:
    for stack in ("softmax*2", "gdn+mlgru"):
        config = replace(SMALL, stack=stack)
        own = dict(make(config).named_parameters())
        for name, value in make(replace(config, arm="none")).named_parameters():
            twin = own.get(name, own.get(name.replace(".mixer.", ".mixer.forwards.")))
            assert twin is not None
            assert torch.equal(twin, value)


@pytest.mark.parametrize("stack", MIXERS)
def test_any_mixer_learns_and_fills(stack: str) -> None:
    config = replace(SMALL, stack=stack, puzzle="addition", size=2, test=4, lr=1e-2)
    with seeded(0):
        model = build(config)
    optimizer = make_plan(config).build_optimizer(model)
    losses = []
    for epoch in range(5):
        for batch in batches(config, "train", epoch):
            value = loss(config, model, batch, 0.0)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            losses.append(float(value.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.parameters())
    said = answer_split(config, model, "test")
    assert {(one.words, one.calls) for one in said} == {(1, 1)}


def test_answers_follow_the_order_the_steps_and_the_seed() -> None:
    model, found = make(), dict[str, list[Any]]()
    for order in ORDERS:
        config = replace(SMALL, order=order, temperature=1.0)
        found[order] = fill_split(config, model, "test")
        assert found[order] == fill_split(config, model, "test")
        for one in found[order]:
            assert sorted(one.steps) == list(range(16))
            assert one.calls == 16
    assert all(one.steps == tuple(range(16)) for one in found["left"])
    other = replace(SMALL, order="random", temperature=1.0, seed_of_data=1)
    rng, groups = torch.Generator().manual_seed(1), arrange_items(other, load(other), "test", 0)
    due = [one for items in groups for one in fill_items(other, model, items, rng)]
    assert fill_split(other, model, "test") == due != found["random"]
    few = answer_split(replace(SMALL, denoising_steps=3), model, "test")
    assert {one.calls for one in few} == {3}


def test_an_answer_is_right_word_for_word_and_words_that_had_to_be_found_are_counted() -> None:
    model = make()

    def guess_copies(tokens: Tensor, _: Tensor) -> Tensor:
        """Guess for each word of the answer the word of the question at the same place."""
        shown = torch.cat([tokens[:4], tokens[:3]])
        return torch.nn.functional.one_hot(shown, 30).double()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "guess", guess_copies)
        filled = fill_items(SMALL, model, ITEMS, torch.Generator())
    assert [one.answer for one in filled] == [(6, 7, 8), (7, 7, 9)]
    assert measure_filled(filled) == (0.0, 4 / 6, 0.0)
    right = [one._replace(answer=one.item.answer) for one in filled[:1]]
    assert measure_filled([*right, filled[1]]) == (0.5, 5 / 6, 0.5)


def test_an_untrained_network_has_the_bound_of_guessing() -> None:
    model = make()
    model.head.weight.data.zero_()
    want = 16 * np.log(model.vocabulary)
    assert bound_test(SMALL, model) == pytest.approx(want, rel=1e-6)


def test_the_bound_is_of_the_answer_behind_its_question() -> None:
    """If guesses do not depend on the mask, the bound equals -log p of the answer."""
    model = make().train()
    known = {item.question: item.answer for item in load(SMALL).items["test"]}

    def guess(tokens: Tensor, hidden: Tensor) -> Tensor:
        assert not model.training
        assert not hidden[:17].any()
        rows = [(0,) * 17 + known[tuple(x[:16])] for x in tokens.T.tolist()]
        right = torch.nn.functional.one_hot(torch.tensor(rows).T, model.vocabulary)
        return 2.0 * right.double()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "guess", guess)
        found = bound_test(SMALL, model)
    want = 16 * np.log(1 + (model.vocabulary - 1) * np.exp(-2.0))
    assert found == pytest.approx(want, rel=1e-6)
    assert model.training


def test_questions_are_recalled_from_answers_that_tell_them() -> None:
    config = replace(SMALL, puzzle="reversal", size=10, train=15, val=2, test=2)
    model = make(config).train()
    trained = load(config).items["train"]
    # 5 of 10 pairs are trained in one direction only.
    names = [item.question[:2] for item in trained]
    one_way = [item for item in trained if item.answer not in names]
    assert len(one_way) == 5
    both = [item for item in trained if item not in one_way]
    known = {item.answer: item.question for item in [*one_way[:3], *both]}

    def guess(tokens: Tensor, hidden: Tensor) -> Tensor:
        assert not model.training
        assert hidden[:3].any()
        assert not hidden[3:].any()
        rows = [known.get(tuple(x[4:]), (0, 0, 0)) + tuple(x[3:]) for x in tokens.T.tolist()]
        return torch.nn.functional.one_hot(torch.tensor(rows).T, 30).double()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "guess", guess)
        assert recall_questions(config, model) == 3 / 5
    assert model.training
    assert recall_questions(replace(SMALL, train=400), make()) is None


def test_costs_are_those_of_every_call_over_the_whole_text() -> None:
    config = replace(SMALL, stack="softmax+mlgru")
    model = make(config)
    attention, both = (block.get_submodule("mixer") for block in model.blocks)
    token: int = attention.macs(32) + both.macs(32)  # type: ignore[operator]
    token += 2 * 3 * 16 * 16 + 16 * model.vocabulary
    assert count_macs(config, 16, 16) == 16 * 33 * token
    assert count_macs(replace(config, denoising_steps=2), 16, 16) == 2 * 33 * token
    assert count_parameters(config) == sum(p.numel() for p in model.parameters())
    assert count_context(config, load(config)) == 16 + 1 + 16


def test_what_diffusion_cannot_do_is_refused() -> None:
    data = load(replace(SMALL, train=3, val=1, test=1))
    short = replace_answer(data, (6, 7))
    (told,) = list_item_problems(SMALL, short)
    assert told.startswith(
        "1 of 5 items have answers of fewer words than the longest, 16 (test 0: 2), and "
        "diffusion fills a fixed number of words"
    )
    assert list_item_problems(replace(SMALL, arm="none"), short) == []
    (told,) = list_item_problems(replace(SMALL, denoising_steps=17), data)
    assert told == (
        "denoising_steps is 17, and an answer has 16 words; give 0 (one word a step) to 16"
    )
    (told,) = list_problems(replace(SMALL, arm="none", mask_question=True))
    assert told.startswith('mask_question is True; it must be False unless arm is "diffusion".')
    spiking = replace(SMALL, stack="mlgru", linear="spiking")
    assert "diffusion reads its text both ways" in explain_only_torch(spiking)


def replace_answer(data: ReasoningData, answer: tuple[int, ...]) -> ReasoningData:
    """Return data in which the first test item has another answer."""
    first, *rest = data.items["test"]
    return replace(data, items={**data.items, "test": (replace(first, answer=answer), *rest)})


@pytest.mark.slow
def test_train_and_eval_of_diffusion(tmp_path: Path, cli: CommandLine) -> None:
    folder = tmp_path / "run"
    sizes = ["stack", "width", "hidden", "heads"]
    fields = [*sizes, "size", "train", "val", "test", "batch", "epochs"]
    settings = [f"{name}={getattr(SMALL, name)}" for name in fields]
    flags = [word for setting in settings for word in ("--set", setting)]
    assert "parameters" in cli.run("train", "reasoning:sudoku", "--dry-run", *flags)
    main(["train", "reasoning:sudoku", "--out", str(folder), *flags])
    cli.run("eval", folder)
    found = json.loads((folder / "eval.json").read_text())
    assert (found["network_calls"], found["said_words"]) == (16, 16)
    assert found["bound_nats"] > 0
    _, _, orders = found["tables"]
    assert [row[0] for row in orders["rows"]] == list(ORDERS)
    assert [row[-1] for row in orders["rows"]] == ["16"] * 3
    assert [p["file"] for p in found["pictures"]] == ["diffusion_order.png"]
    assert (folder / "diffusion_order.png").read_bytes().startswith(b"\x89PNG")
    assert "stays on torch" in cli.refuse("verify", folder)
    told = cli.refuse("train", "reasoning:sudoku", "--set", "order=rigth")
    assert "expected one of 'confidence', 'random', 'left'" in told

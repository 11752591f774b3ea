"""The losses, checked by hand; no gradient reaches the teacher of CODI."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.nn.recurrent_depth import draw_depth
from tasks.reasoning.config import Arm, ReasoningConfig
from tasks.reasoning.curriculum import make_batch
from tasks.reasoning.items import ANSWER, END, PAD, SPEAK, EncodedItem
from tasks.reasoning.loss import compute_distillation, compute_said_loss, loss, pick_answer
from tasks.reasoning.model import ReasoningModel, build

CONFIG = ReasoningConfig(width=16, hidden=24, heads=2, stages=2)
ITEMS = (EncodedItem((6, 7), ((8, 9), (10,)), (11,)), EncodedItem((7, 6), ((9,),), (11, 12)))


def make(arm: Arm, stage: int = 0) -> tuple[ReasoningConfig, ReasoningModel, object]:
    """Return a configuration, its model in float64, and the two items in a batch."""
    config = replace(CONFIG, arm=arm)
    with seeded(0):
        model = build(config).double()
    return config, model, make_batch(config, ITEMS, stage, 3, [0, 0])


def test_every_word_that_is_said_counts_and_no_padding() -> None:
    said = torch.tensor([[SPEAK, 8, ANSWER, 9, END], [SPEAK, ANSWER, 9, END, PAD]]).T
    logits = torch.zeros(5, 2, 16)
    logits[0, 0, 8] = 3.0  # the first word of the first item
    logits[4] = 100.0  # no target follows END
    logits[3, 1] = torch.arange(16.0)  # what would follow END
    certain = -math.log(math.exp(3) / (math.exp(3) + 15))
    want = (certain + 6 * math.log(16)) / 7
    assert float(compute_said_loss(logits, said)) == pytest.approx(want)


def test_a_question_and_thoughts_are_no_targets() -> None:
    """Questions and thoughts have no logits, so the loss cannot depend on any."""
    config, model, batch = make("coconut", 1)
    seen = list[tuple[int, ...]]()
    model.head.register_forward_hook(lambda _, x, __: seen.append(tuple(x[0].shape)))
    loss(config, model, batch, 0.0)  # type: ignore[arg-type]
    assert seen == [(5, 2, 16)]  # SPEAK, a step or ANSWER, ...


@pytest.mark.parametrize("arm", ["none", "cot", "icot", "coconut", "pause"])
def test_the_loss_of_an_arm_is_that_of_its_words(arm: Arm) -> None:
    config, model, batch = make(arm)
    total = 0.0
    for item in ITEMS:
        own = make_batch(config, [item], 0, 3, [0])
        logits = model.head(model(own.question, len(own.thoughts), own.said)[0].hidden)
        p = logits[:-1, 0].log_softmax(-1)
        total -= float(p.gather(1, own.said[1:, :]).sum().detach())
    words = int((batch.said[1:] != PAD).sum())  # type: ignore[attr-defined]
    found = float(loss(config, model, batch, 0.0).detach())  # type: ignore[arg-type]
    assert found == pytest.approx(total / words, rel=1e-5)


@pytest.mark.parametrize("arm", ["none", "codi"])
def test_all_of_a_batch_is_as_deep_as_is_drawn_for_it(arm: Arm) -> None:
    config = replace(CONFIG, arm=arm, depth=2, depth_sampling="poisson")
    with seeded(0):
        model, batch = build(config), make_batch(config, ITEMS, 0, 3, [0, 0])
    seen, due = list[list[int]](), list[int]()
    model.register_forward_hook(lambda _, __, out: seen.append(out[0].depth.unique().tolist()))
    for seed in range(4):
        with seeded(seed):
            due += [draw_depth(config)] * (2 if arm == "codi" else 1)
        with seeded(seed), torch.no_grad():
            loss(config, model, batch, 0.0)
    assert seen == [[depth] for depth in due]
    assert len(set(due)) > 1


def test_distillation_by_hand() -> None:
    teacher = [torch.tensor([[0.0, 2.0], [4.0, 6.0]]), torch.tensor([[1.0, -1.0], [1.0, -1.0]])]
    student = [torch.tensor([[0.5, 2.0], [4.0, 3.0]]), torch.tensor([[1.0, -1.0], [1.0, -1.0]])]
    # smooth L1: 0.5^2 / 2, and 3 - 0.5; deviation of 0, 2, 4, 6: sqrt(20 / 3)
    want = (0.125 + 2.5) / 4 / math.sqrt(20 / 3) / 2
    assert float(compute_distillation(student, teacher)) == pytest.approx(want)
    assert float(compute_distillation(teacher, teacher)) == 0


def test_hidden_states_at_the_token_before_the_answer() -> None:
    said = torch.tensor([[SPEAK, 8, ANSWER, 9, END], [SPEAK, ANSWER, 9, END, PAD]]).T
    layer = torch.arange(10.0).reshape(5, 2, 1)
    (picked,) = pick_answer([layer], said)
    assert picked.flatten().tolist() == [4.0, 3.0]


def test_no_gradient_reaches_the_states_of_the_teacher() -> None:
    teacher = [torch.randn(2, 3, requires_grad=True) for _ in range(2)]
    student = [torch.randn(2, 3, requires_grad=True) for _ in range(2)]
    compute_distillation(student, teacher).backward()
    assert all(x.grad is None for x in teacher)
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in student)


def test_the_loss_of_codi_has_three_parts_and_the_teacher_learns_from_its_own_alone() -> None:
    config, model, batch = make("codi")
    question, thoughts, said, taught = batch  # type: ignore[misc]
    student, calls = model(question, len(thoughts), said, True)
    teacher, _ = model(question, 0, taught, True)
    assert calls == len(thoughts) + 1 == 3
    states = [x.detach() for x in pick_answer(teacher.layers, taught)]  # constants
    apart = torch.stack(
        [
            F.smooth_l1_loss(s, t) / t.std()
            for s, t in zip(pick_answer(student.layers, said), states, strict=True)
        ]
    ).mean()
    parts = [
        compute_said_loss(model.head(student.hidden), said),
        apart,
        compute_said_loss(model.head(teacher.hidden), taught),
    ]
    for alpha, beta in ((1.0, 1.0), (20.0, 0.5)):
        scaled = replace(config, alpha=alpha, beta=beta)
        want = parts[0] + alpha * parts[1] + beta * parts[2]
        found = loss(scaled, model, batch, 0.0)  # type: ignore[arg-type]
        torch.testing.assert_close(found, want)
        grads, wanted = (
            torch.autograd.grad(x, list(model.parameters()), retain_graph=True)
            for x in (found, want)
        )
        for one, other in zip(grads, wanted, strict=True):
            torch.testing.assert_close(one, other)

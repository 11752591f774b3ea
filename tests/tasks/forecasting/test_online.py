"""Online: labels and the teacher arrive a horizon later, and nothing younger is used."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from neuro.base.seeds import seeded
from tasks.forecasting.config import ForecastConfig, tiny_ann
from tasks.forecasting.network import build_student, compute_loss, cross_entropy
from tasks.forecasting.online import (
    OnlineRules,
    PageHinkley,
    StackedWindows,
    Weights,
    learn_online,
    list_released,
    run_networks,
    stack_weights,
)

H, K, COUNT = 3, 6, 20
CONFIG = replace(tiny_ann(), lookback=4, bins=K, hidden=8, arm="future", alpha=0.3)
RULES = OnlineRules(horizon=H, rate=0.5, kept=4)


def make(networks: int = 2, seed: int = 0) -> tuple[Weights, StackedWindows]:
    with seeded(seed):
        weights = stack_weights([build_student(CONFIG) for _ in range(networks)])
        windows = StackedWindows(
            x=torch.randn(networks, COUNT, 4),
            labels=torch.randint(K, (networks, COUNT)),
            taught=3 * torch.randn(networks, COUNT, K),
        )
    return weights, windows


def guide(config: ForecastConfig = CONFIG):  # type: ignore[no-untyped-def]
    return lambda scores, labels, taught: compute_loss(config, scores, labels, taught)


def test_networks_side_by_side_answer_as_each_alone() -> None:
    with seeded(0):
        networks = [build_student(CONFIG) for _ in range(3)]
    x = torch.randn(3, 7, 4)
    together = run_networks(stack_weights(networks), x)
    for net, own, answers in zip(networks, x, together, strict=True):
        assert torch.allclose(net(own[None])[0][-1], answers, atol=1e-6)


@given(st.integers(0, 50), st.integers(1, 9), st.integers(1, 9))
def test_released_windows_end_a_horizon_ago(step: int, horizon: int, kept: int) -> None:
    released = list_released(step, horizon, kept)
    assert all(0 <= k <= step - horizon for k in released)
    assert len(released) == min(kept, max(0, step - horizon + 1))
    assert not released or released[-1] == step - horizon


@pytest.mark.parametrize("step", [H - 1, H, 8, COUNT - 1])
@pytest.mark.parametrize("drifts", [False, True])
def test_younger_labels_and_teachers_change_nothing(step: int, drifts: bool) -> None:
    """In the released code a label is used when its window arrives, H samples too early."""
    weights, windows = make()
    one = torch.ones(2, dtype=torch.float64)
    drift = PageHinkley(delta=0 * one, threshold=0.5 * one) if drifts else None
    rules = replace(RULES, drift=drift, steps=2)
    known = learn_online(weights, windows, guide(), rules)
    old = torch.arange(COUNT) <= step - H  # of these the target is not later than the step
    other = make(seed=1)[1]
    seen = torch.arange(COUNT) <= step
    assert windows.taught is not None
    assert other.taught is not None
    younger = StackedWindows(
        x=torch.where(seen[:, None], windows.x, other.x),
        labels=torch.where(old, windows.labels, other.labels),
        taught=torch.where(old[:, None], windows.taught, other.taught),
    )
    found = learn_online(weights, younger, guide(), rules)
    assert torch.equal(found.scores[:, : step + 1], known.scores[:, : step + 1])
    assert torch.equal(found.learnt[:, : step + 1], known.learnt[:, : step + 1])
    # The answer of a step is given before it learns; so a label counts from H + 1 on.
    if step < COUNT - 1 and step >= H:
        last = torch.arange(COUNT) == step - H
        moved = replace(
            windows, labels=torch.where(last, (windows.labels + 1) % K, windows.labels)
        )
        changed = learn_online(weights, moved, guide(), RULES).scores
        plain = learn_online(weights, windows, guide(), RULES).scores
        assert torch.equal(changed[:, : step + 1], plain[:, : step + 1])
        assert not torch.equal(changed[:, step + 1], plain[:, step + 1])


def test_without_a_rate_the_answers_are_those_of_the_trained_student() -> None:
    weights, windows = make()
    kept = [w.clone() for layer in weights for w in layer]
    answers = learn_online(weights, windows, guide(), replace(RULES, rate=0.0))
    assert torch.allclose(answers.scores, run_networks(weights, windows.x), atol=1e-6)
    learn_online(weights, windows, guide(), RULES)
    after = [w for layer in weights for w in layer]
    assert all(torch.equal(a, b) for a, b in zip(kept, after, strict=True))


def test_it_learns_as_a_plain_loop_does() -> None:
    """The slow twin: one network as a module, and torch's own optimizer."""
    weights, windows = make(1)
    with seeded(0):
        net = build_student(CONFIG)
    optimizer = torch.optim.SGD(net.parameters(), lr=RULES.rate)
    answers = list[Tensor]()
    assert windows.taught is not None
    for k in range(COUNT):
        with torch.no_grad():
            answers.append(net(windows.x[:, k : k + 1])[0][-1, 0])
        if k < H:
            continue
        part = slice(max(0, k - H - RULES.kept + 1), k - H + 1)
        optimizer.zero_grad()
        scores = net(windows.x[:, part])[0][-1]
        own = compute_loss(CONFIG, scores, windows.labels[0, part], windows.taught[0, part])
        own.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    found = learn_online(weights, windows, guide(), RULES).scores[0]
    assert torch.allclose(found, torch.stack(answers), atol=1e-5)
    assert not torch.allclose(found[-1], run_networks(weights, windows.x)[0, -1], atol=1e-2)


def test_networks_side_by_side_learn_as_each_alone() -> None:
    weights, windows = make(2)
    together = learn_online(weights, windows, guide(), RULES).scores
    for k in range(2):
        own = [(w[k : k + 1], b[k : k + 1]) for w, b in weights]
        assert windows.taught is not None
        part = StackedWindows(
            x=windows.x[k : k + 1],
            labels=windows.labels[k : k + 1],
            taught=windows.taught[k : k + 1],
        )
        assert torch.allclose(
            learn_online(own, part, guide(), RULES).scores[0], together[k], atol=1e-5
        )


def test_with_labels_alone_the_teacher_changes_nothing() -> None:
    weights, windows = make()
    labels = replace(CONFIG, alpha=1.0)
    taught = learn_online(weights, windows, guide(labels), RULES).scores

    def teach(scores: Tensor, labels: Tensor, _: Tensor | None) -> Tensor:
        return cross_entropy(scores, labels)

    alone = learn_online(weights, replace(windows, taught=None), teach, RULES).scores
    assert torch.equal(taught, alone)


def test_behind_an_alarm_it_learns_for_so_many_steps() -> None:
    """Errors count when their labels arrive; each network has an alarm of its own."""
    weights, windows = make()
    near = run_networks(weights, windows.x).argmax(-1)
    far = torch.where(torch.arange(COUNT) == 7, (near + 5) % K, near)
    moved = replace(windows, labels=torch.stack([near[0], far[1]]))
    one = torch.ones(2, dtype=torch.float64)
    drift = PageHinkley(delta=3 * one, threshold=1e9 * one)
    never = learn_online(weights, moved, guide(), replace(RULES, drift=drift))
    assert not never.learnt.any()
    eager = PageHinkley(delta=0 * one, threshold=torch.tensor([1e9, -1.0]).double())
    always = learn_online(weights, moved, guide(), replace(RULES, drift=eager, steps=2))
    assert not always.learnt[0].any()
    assert always.learnt[1].tolist() == [False] * H + [True] * (COUNT - H)
    plain = run_networks(weights, windows.x)
    assert torch.allclose(always.scores[0], plain[0], atol=1e-6)


def test_rules_that_do_not_hold_together_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="horizon is 0; give at least 1") as error:
        OnlineRules(horizon=0, rate=-1.0, kept=0, steps=0)
    assert len(str(error.value).splitlines()) == 5

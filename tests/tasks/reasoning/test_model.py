"""Thoughts: states against full recomputation; no thoughts, and learned ones."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.mixers import MIXERS
from tasks.reasoning.config import Arm, ReasoningConfig, coconut
from tasks.reasoning.cost import count_macs, count_parameters
from tasks.reasoning.data import PUZZLES, list_words
from tasks.reasoning.model import ReasoningModel, build

SMALL = ReasoningConfig(stack="softmax*2", width=16, hidden=24, heads=2)
QUESTION = torch.tensor([[6, 7, 8, 9, 1], [9, 8, 8, 6, 1]]).T
SAID = torch.tensor([[3, 10, 4, 11, 5], [3, 4, 12, 5, 0]]).T
EXACT = 1e-9


def make(arm: Arm, stack: str = "softmax*2") -> ReasoningModel:
    """Return a small model in float64."""
    with seeded(0):
        return build(replace(SMALL, arm=arm, stack=stack)).double()


def recompute(model: ReasoningModel, count: int) -> Tensor:
    """Return the hidden states after thoughts, slowly: read each from the beginning."""
    x = model.embedding(QUESTION)
    for _ in range(count):
        x = torch.cat([x, model.make_thought(model.read(x).hidden[-1:])])
    x = torch.cat([x, model.embedding(SAID)])
    return model.read(x).hidden[-len(SAID) :]


@pytest.mark.parametrize("stack", MIXERS)
@pytest.mark.parametrize("arm", ["coconut", "codi", "pause"])
def test_thoughts_through_states_equal_recomputed_ones_gradients_too(
    arm: Arm, stack: str
) -> None:
    model = make(arm, f"{stack}*2")
    (cached, _), full = model(QUESTION, 3, SAID), recompute(model, 3)
    weight = torch.linspace(-1, 1, 16, dtype=torch.float64)
    torch.testing.assert_close(cached.hidden, full, rtol=EXACT, atol=EXACT)
    loss, slow = ((h * weight).sin().sum() for h in (cached.hidden, full))
    grads, slow_grads = (
        torch.autograd.grad(x, list(model.parameters()), allow_unused=True)
        for x in (loss, slow)
    )
    for one, other in zip(grads, slow_grads, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
    assert grads[0].abs().sum() > 0


@pytest.mark.parametrize("arm", ["coconut", "codi", "pause"])
def test_no_thought_is_no_chain_of_thought_bit_for_bit(arm: Arm) -> None:
    model, plain = make(arm), make("none")
    ours, calls = model(QUESTION, 0, SAID)
    theirs, plain_calls = plain(QUESTION, 0, SAID)
    assert torch.equal(ours.hidden, theirs.hidden)
    whole = plain.read(plain.embedding(torch.cat([QUESTION, SAID]))).hidden
    assert torch.equal(theirs.hidden, whole[len(QUESTION) :])
    assert calls == plain_calls == 1


def test_arms_begin_with_the_same_weights() -> None:
    shared = make("none").state_dict()
    for arm in ("coconut", "pause", "codi"):
        own = make(arm).state_dict()  # type: ignore[arg-type]
        assert all(torch.equal(own[name], value) for name, value in shared.items())
    extra = {arm: set(make(arm).state_dict()) - set(shared) for arm in ("coconut", "pause")}  # type: ignore[arg-type]
    assert extra == {"coconut": set(), "pause": {"pause"}}


def test_a_thought_is_the_last_hidden_state_behind_the_final_norm() -> None:
    model = make("coconut")
    first = model.read(model.embedding(QUESTION)).hidden[-1:]
    prompt = model.think(QUESTION, 1)
    assert torch.equal(prompt.pending, first)
    assert prompt.calls == 1
    further = model.think(QUESTION, 2)
    assert torch.equal(further.pending, model.read(first, prompt.state).hidden)
    assert further.calls == 2


def test_a_pause_ignores_the_hidden_state() -> None:
    model = make("pause")
    hidden = torch.randn(3, 2, 16, dtype=torch.float64)
    thought = model.make_thought(hidden)
    assert torch.equal(thought, model.make_thought(torch.zeros_like(hidden)))
    assert torch.equal(thought[2, 1], model.pause)
    prompt = model.think(QUESTION, 3)
    assert torch.equal(prompt.pending[:5], model.embedding(QUESTION))
    assert torch.equal(prompt.pending[5:], thought)
    assert (prompt.state, prompt.calls) == (None, 0)
    model(QUESTION, 3, SAID)[0].hidden.sum().backward()
    assert model.pause.grad is not None
    assert model.pause.grad.abs().sum() > 0


def test_a_projected_thought_has_mean_0_and_deviation_1() -> None:
    thought = make("codi").think(QUESTION, 2).pending
    torch.testing.assert_close(thought.mean(-1), torch.zeros(1, 2, dtype=torch.float64))
    torch.testing.assert_close(
        thought.var(-1, correction=0), torch.ones(1, 2, dtype=torch.float64), rtol=1e-2, atol=0
    )


def test_samples_do_not_meet() -> None:
    model = make("coconut")
    both, _ = model(QUESTION, 2, SAID)
    one, _ = model(QUESTION[:, 1:], 2, SAID[:, 1:])
    torch.testing.assert_close(both.hidden[:, 1:], one.hidden, rtol=EXACT, atol=EXACT)


def test_layers_are_those_of_what_is_said_and_end_behind_the_norm() -> None:
    model = make("codi")
    reading, _ = model(QUESTION, 2, SAID, True)
    assert [tuple(x.shape) for x in reading.layers] == [(5, 2, 16)] * 2
    assert torch.equal(reading.layers[-1], reading.hidden)
    assert model(QUESTION, 2, SAID)[0].layers == ()


def test_the_vocabulary_is_that_of_the_puzzle_and_unknown_tokens_are_refused() -> None:
    for puzzle in PUZZLES:
        config = replace(SMALL, puzzle=puzzle)
        with torch.device("meta"):
            assert build(config).vocabulary == len(list_words(config))
    model = make("none")
    with pytest.raises(ValueError, match="ReasoningModel: tokens from 1 to 99"):
        model(torch.tensor([[99], [1]]), 0, SAID[:, :1])
    with pytest.raises(ValueError, match="the state is of 1"):
        model.read(model.embedding(QUESTION), (None,))


def test_the_published_network_of_coconut_at_full_size() -> None:
    config = coconut()
    assert len(list_words(config)) <= config.vocabulary == 40
    # two blocks: attention, the gated unit (as many as GPT-2's 8 D^2), norms; a last norm,
    # embedding and read-out
    blocks = 2 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768)
    assert count_parameters(config) == blocks + 768 + 2 * 40 * 768 == 14_221_056
    assert config.thoughts == 4
    # 33 words of a question, BEGIN, 4 thoughts, SPEAK, ANSWER and one of 2 words
    read = 33 + 1 + 4 + 2 + 1
    attended = 2 * 2 * 768 * sum(range(1, read + 1))
    due = read * (blocks - 4 * 768) + attended + 2 * 40 * 768
    assert count_macs(config, 33, 2) == due

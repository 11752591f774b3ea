"""Recurrent depth: tied layers, truncated gradients, states, sampled depths, exits."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.mixers import MIXERS, layer_floors
from neuro.nn.mixer_block import MixerModel
from neuro.nn.recurrent_depth import (
    BlockStack,
    DepthSizes,
    RecurrentModel,
    draw_depth,
    has_settled,
    list_depth_problems,
)

WORDS = 11
SMALL = DepthSizes(stack="softmax", width=8, hidden=12, heads=2, depth=3)
WHOLE = replace(SMALL, prelude="gdn", coda="mlgru", sandwich=True, stack="softmax+hgrn")
EXACT = 1e-10


def make(sizes: DepthSizes) -> RecurrentModel:
    """Return a small model in float64 whose norms and floors are not those of the start."""
    with seeded(1):
        model = RecurrentModel(sizes, WORDS).double().eval()
        for name, p in model.named_parameters():
            if p.dim() == 1 or "floors" in name:
                p.data += 0.3 * torch.randn_like(p)
    return model


def draw(tokens: int = 5, samples: int = 2, width: int = 8) -> Tensor:
    with seeded(2):
        return torch.randn(tokens, samples, width, dtype=torch.float64)


def unroll(model: RecurrentModel, x: Tensor, depth: int, detached: int = 0) -> Tensor:
    """Return the hidden state of layers written one behind the other: the slow twin.

    detached: no gradient passes behind so many iterations.
    """

    def walk(stack: BlockStack | RecurrentModel, x: Tensor) -> Tensor:
        rows = None if stack.floors is None else layer_floors(stack.floors)
        for k, block in enumerate(stack.blocks):
            x, _ = block(x, None, None if rows is None else rows[k])
        return x

    e = walk(model.prelude, x) if model.prelude else x
    s = torch.zeros_like(e)
    for i in range(depth):
        if model.depth_sizes.injection == "membrane":
            s = walk(model, s + e)
        else:
            s = walk(model, torch.cat([s, e], -1) @ model.adapter.weight.T)
        if i < detached:
            s = s.detach()
    hidden: Tensor = model.norm(s)
    return model.norm(walk(model.coda, hidden)) if model.coda else hidden


def take_gradients(model: RecurrentModel, hidden: Tensor) -> list[Tensor | None]:
    weight = torch.linspace(-1, 1, hidden.shape[-1], dtype=hidden.dtype)
    return list(
        torch.autograd.grad(
            (hidden * weight).sin().sum(), list(model.parameters()), allow_unused=True
        )
    )


def are_close(ones: list[Tensor | None], others: list[Tensor | None]) -> Iterator[bool]:
    for one, other in zip(ones, others, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            yield torch.allclose(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize(
    "sizes", [SMALL, WHOLE, replace(SMALL, injection="membrane", stack="rwkv6*2")]
)
def test_a_loop_is_so_many_tied_layers_gradients_too(sizes: DepthSizes, depth: int) -> None:
    model, x = make(sizes), draw()
    looped, tied = model.read(x, depth=depth), unroll(model, x, depth)
    torch.testing.assert_close(looped.hidden, tied, rtol=EXACT, atol=EXACT)
    assert looped.depth is not None
    assert looped.depth.tolist() == [[depth] * 2] * 5
    pair = (take_gradients(model, hidden) for hidden in (looped.hidden, tied))
    assert all(are_close(*pair))


@pytest.mark.slow
@pytest.mark.parametrize("injection", ["adapter", "membrane"])
def test_a_truncated_gradient_is_the_full_one_up_to_its_depth(injection: str) -> None:
    model = make(replace(SMALL, stack="retnet", injection=injection))  # type: ignore[arg-type]
    x = draw()
    for depth, same in ((7, True), (8, True), (10, False)):
        own = take_gradients(model, model.read(x, depth=depth).hidden)
        full = take_gradients(model, unroll(model, x, depth))
        assert all(are_close(own, full)) == same, depth
    cut = take_gradients(model, unroll(model, x, 10, detached=2))
    assert all(are_close(take_gradients(model, model.read(x, depth=10).hidden), cut))


@pytest.mark.parametrize("name", MIXERS)
def test_a_run_in_parts_is_one_run_and_no_token_sees_later_ones(name: str) -> None:
    sizes = replace(SMALL, stack=f"{name}*2", prelude=name, coda=name, exit_kl=1e-3)
    for own in (sizes, replace(sizes, exit_kl=0.0)):
        model, x = make(own), draw(7)
        whole = model.read(x)
        first = model.read(x[:3])
        last = model.read(x[3:], first.state)
        torch.testing.assert_close(
            torch.cat([first.hidden, last.hidden]), whole.hidden, rtol=EXACT, atol=EXACT
        )
        assert len(whole.state) == (1 + 3 * 3 if own.exit_kl else 2 + 3 * 2)
        later = model.read(torch.cat([x[:3], x[3:] + 1])).hidden[:3]
        torch.testing.assert_close(later, whole.hidden[:3], rtol=EXACT, atol=EXACT)


def test_a_state_tells_its_depth() -> None:
    model, x = make(SMALL), draw()
    state = model.read(x, depth=6).state
    assert len(model.read(x, state).state) == 6
    with pytest.raises(ValueError, match="the state has 6 layers, and 1 for each iteration"):
        model.read(x, state, depth=5)
    with pytest.raises(ValueError, match="the state has 7 layers, and 2 for each iteration"):
        make(replace(SMALL, stack="softmax*2")).read(x, (*state, state[0]))


def test_without_depth_nothing_changes_bit_for_bit() -> None:
    plain = replace(SMALL, depth=0, stack="softmax+mlgru")
    with seeded(0):
        model = RecurrentModel(plain, WORDS)
    with seeded(0):
        twin = MixerModel(plain, WORDS)
    with seeded(0):
        deep = RecurrentModel(replace(plain, depth=2, prelude="gla"), WORDS)
    weights = twin.state_dict()
    assert weights.keys() == model.state_dict().keys()
    for name, value in weights.items():
        assert torch.equal(model.state_dict()[name], value)
        assert torch.equal(deep.state_dict()[name], value)
    x = draw().float()
    assert torch.equal(model.read(x).hidden, twin.read(x).hidden)
    with pytest.raises(ValueError, match="depth is 2, and no core of it recurs; build it with"):
        model.read(x, depth=2)


def test_a_hidden_state_begins_with_noise_in_training_and_at_0_in_evaluation() -> None:
    model = make(replace(SMALL, width=64)).train()
    with seeded(3):
        noise = model._start(draw(50, 40, 64))
    assert float(noise.std()) == pytest.approx(0.02 * 0.9866, rel=0.01)  # cut at 3 sigma
    assert float(noise.abs().max()) < 3 * 0.02
    x = draw(5, 2, 64)
    assert not torch.equal(model.read(x).hidden, model.read(x).hidden)
    model.eval()
    assert torch.equal(model.read(x).hidden, model.read(x).hidden)
    rest = make(replace(SMALL, injection="membrane")).train()
    assert torch.equal(rest.read(draw()).hidden, rest.read(draw()).hidden)


def compute_depth_probability(depth: int, count: int) -> float:
    """Return P(r = count) by quadrature over the normal logarithm of the rate."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    rate = np.exp(math.log(depth) - 1 / 8 + nodes / 2)
    log = (count - 1) * np.log(rate) - rate - math.lgamma(count)
    return float(np.exp(log) @ weights / math.sqrt(2 * math.pi))


def test_sampled_depths_have_their_distribution() -> None:
    sizes = replace(SMALL, depth=4, depth_sampling="poisson")
    expected = np.array([compute_depth_probability(4, r) for r in range(1, 60)])
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    assert expected @ np.arange(1, 60) == pytest.approx(5, abs=1e-4)
    with seeded(0):
        drawn = [draw_depth(sizes) for _ in range(6000)]
    found = np.bincount(drawn, minlength=60)[1:60] / 6000
    assert min(drawn) == 1
    assert np.abs(found - expected).max() < 4 * math.sqrt(0.25 / 6000)
    assert np.mean(drawn) == pytest.approx(5, abs=0.15)
    with seeded(5):
        first = [draw_depth(sizes) for _ in range(4)]
    with seeded(5):
        assert [draw_depth(sizes) for _ in range(4)] == first
    assert draw_depth(SMALL) == 3


@pytest.mark.slow
@torch.no_grad()
def test_an_exit_takes_the_first_iteration_that_changes_little() -> None:
    sizes = replace(WHOLE, depth=9)
    model, x = make(sizes), draw(6, 3)
    hidden = [model.read(x, depth=i).hidden for i in range(1, 10)]
    logs = [model.head(h).float().log_softmax(-1) for h in hidden]
    apart = [(p.exp() * (p - q)).sum(-1) for p, q in pairwise(logs)]
    threshold = float(torch.stack(apart).median())
    exiting = make(replace(sizes, exit_kl=threshold))
    found = exiting.read(x)
    assert found.depth is not None
    for t in range(6):
        for b in range(3):
            near = [i for i, kl in enumerate(apart, 2) if kl[t, b] < threshold]
            used = near[0] if near else 9
            assert int(found.depth[t, b]) == used
            torch.testing.assert_close(found.hidden[t, b], hidden[used - 1][t, b])
    assert len(set(found.depth.flatten().tolist())) > 1
    training = exiting.train().read(x).depth
    assert training is not None
    assert (training == 9).all()


def test_an_exit_at_0_is_the_full_depth_and_the_divergence_is_of_the_one_before() -> None:
    before, log = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    forward = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert has_settled(before, log, forward + 1e-6).all()
    assert not has_settled(before, log, forward - 1e-6).any()  # KL(log || before) is less
    assert not has_settled(log, log, 0.0).any()
    x = draw()
    full, never = make(SMALL).read(x), make(replace(SMALL, exit_kl=1e-30)).read(x)
    torch.testing.assert_close(full.hidden, never.hidden, rtol=EXACT, atol=EXACT)
    at_once = make(replace(SMALL, exit_kl=1e9)).read(x).depth
    assert at_once is not None
    assert (at_once == 2).all()


def test_layers_are_those_of_the_last_iteration() -> None:
    reading = make(WHOLE).read(draw(), keep_layers=True)
    assert len(reading.layers) == 1 + 2 + 1
    assert torch.equal(reading.layers[-1], reading.hidden)


def test_a_tied_read_out_has_the_weights_of_the_embedding() -> None:
    model = make(replace(SMALL, tied=True))
    assert model.head.weight is model.embedding.weight


def test_what_cannot_recur_is_refused_with_a_cure() -> None:
    for depth in (0, -1):
        with pytest.raises(ValueError, match=f"depth is {depth}; give a number of iterations"):
            make(SMALL).read(draw(), depth=depth)
    assert list_depth_problems(SMALL) == []
    told = list_depth_problems(
        replace(SMALL, sandwich=True, injection="membrane", coda="sofmax")
    )
    assert [line.split(" ")[0] for line in told] == ["sandwich", "coda:"]
    (idle,) = list_depth_problems(DepthSizes(prelude="gla", exit_kl=0.1))
    assert idle.startswith("prelude, exit_kl without depth: no core recurs; set depth=4, say")
    (one,) = list_depth_problems(DepthSizes(sandwich=True))
    assert one.endswith("or leave it out")

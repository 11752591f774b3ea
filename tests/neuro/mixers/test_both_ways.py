"""Reading both ways: what every token sees, mirror images, sizes, states that are refused."""

import pytest
import torch
from mixer_cases import draw_from
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.mixers import MIXERS, MLGRU, BothWays, SoftmaxAttention
from neuro.mixers.softmax import KeysValues, run_softmax, run_softmax_recurrence
from neuro.nn.mixer_block import BlockSizes, MixerModel, make_mixer

WIDTH = 16
EVERY = pytest.mark.parametrize("stack", MIXERS)


def make_model(stack: str, causal: bool) -> MixerModel:
    sizes = BlockSizes(stack=stack, width=WIDTH, hidden=8, heads=2)
    with seeded(3):
        return MixerModel(sizes, 5, causal).double()


@EVERY
def test_every_token_sees_every_other_one_and_no_other_sample(stack: str) -> None:
    model, x = make_model(stack, causal=False), draw_from(1)(7, 2, WIDTH)
    for at in (0, 3, 6):
        given = x.clone().requires_grad_()
        model.read(given).hidden[at, 0].sin().sum().backward()
        grad = given.grad
        assert isinstance(grad, Tensor)
        assert bool((grad[:, 0].abs().amax(-1) > 0).all())
        assert not grad[:, 1].any()


@EVERY
def test_a_causal_model_has_the_same_first_weights_and_the_other_has_more_if_recurrent(
    stack: str,
) -> None:
    one, both = make_model(stack, causal=True), make_model(stack, causal=False)
    own = dict(both.named_parameters())
    for name, value in one.named_parameters():
        twin = own.get(name, own.get(name.replace(".mixer.", ".mixer.forwards.")))
        assert twin is not None
        assert torch.equal(twin, value)
    extra = sum(p.numel() for p in own.values()) - sum(p.numel() for p in one.parameters())
    added = 0 if stack == "softmax" else one.blocks[0].get_submodule("mixer")
    size = sum(p.numel() for p in added.parameters()) if isinstance(added, nn.Module) else 0
    assert extra == size


@pytest.mark.parametrize("stack", [name for name in MIXERS if name != "softmax"])
def test_exchanged_mixers_read_the_mirror_image(stack: str) -> None:
    sizes = BlockSizes(stack=stack, width=WIDTH, heads=2)
    with seeded(4):
        one, other = (make_mixer(sizes, 0).double() for _ in range(2))
    x = draw_from(2)(6, 2, WIDTH)
    y, state = BothWays(one, other)(x)
    mirrored, _ = BothWays(other, one)(x.flip(0))
    assert state is None
    torch.testing.assert_close(mirrored.flip(0), y, rtol=1e-12, atol=1e-12)
    alone, _ = one(x)
    back, _ = other(x.flip(0))
    torch.testing.assert_close(y, alone + back.flip(0))
    assert BothWays(one, other).macs(5) == one.macs(5) + other.macs(5)
    assert BothWays(one, other).state_size(5) == 0


@pytest.mark.parametrize("tokens", [1, 2, 7])
@pytest.mark.parametrize("before", [0, 3])
def test_attention_to_all_tokens_equals_its_slow_twin_gradients_too(
    tokens: int, before: int
) -> None:
    draw = draw_from(5)
    given = [draw(tokens, 2, 3, 4), draw(tokens, 2, 3, 4), draw(tokens, 2, 3, 5)]
    past = KeysValues(draw(before, 2, 3, 4), draw(before, 2, 3, 5)) if before else None
    found = []
    for run in (run_softmax, run_softmax_recurrence):
        leaves = [x.clone().requires_grad_() for x in given]
        y, _ = run(*leaves, past, causal=False)
        found.append([y, *torch.autograd.grad(y.sin().sum(), leaves)])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)


def test_attention_to_all_tokens_does_not_know_their_order() -> None:
    draw = draw_from(6)
    q, k, v = (draw(6, 2, 3, 4) for _ in range(3))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    y, _ = run_softmax(q, k, v, causal=False)
    mixed, _ = run_softmax(q[order], k[order], v[order], causal=False)
    torch.testing.assert_close(mixed, y[order])
    last, _ = run_softmax(q, k, v)
    torch.testing.assert_close(last[-1], y[-1])  # the last token sees all in any case
    assert not torch.allclose(last[0], y[0])


def test_attention_to_all_tokens_has_no_state_and_the_macs_of_all_pairs() -> None:
    mixer = SoftmaxAttention(WIDTH, 2, causal=False)
    y, state = mixer(torch.zeros(5, 1, WIDTH))
    assert (tuple(y.shape), state, mixer.state_size(5)) == ((5, 1, WIDTH), None, 0)
    assert mixer.macs(4) == 4 * WIDTH**2 + 2 * WIDTH * 5
    with torch.device("meta"):
        large = SoftmaxAttention(WIDTH, 2, causal=False)
        assert large(torch.zeros(100_000, 1, WIDTH))[0].shape == (100_000, 1, WIDTH)


def test_a_state_is_refused_by_name() -> None:
    x = torch.zeros(3, 1, WIDTH)
    _, state = MLGRU(WIDTH)(x)
    with pytest.raises(ValueError, match="BothWays: it reads both ways, so that no state"):
        BothWays(MLGRU(WIDTH), MLGRU(WIDTH))(x, state)
    _, keys = SoftmaxAttention(WIDTH, 2)(x)
    with pytest.raises(ValueError, match="SoftmaxAttention: it reads both ways"):
        SoftmaxAttention(WIDTH, 2, causal=False)(x, keys)
    model = make_model("mlgru+softmax", causal=False)
    reading = model.read(x.double())
    assert reading.state == (None, None)
    with pytest.raises(ValueError, match="MixerModel: it reads both ways"):
        model.read(x.double(), reading.state)
    with pytest.raises(ValueError, match="BothWays: the widths are 16 and 8"):
        BothWays(MLGRU(WIDTH), MLGRU(8))

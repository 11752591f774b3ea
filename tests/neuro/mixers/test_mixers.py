"""All mixers keep one interface; their sizes are stated, and some are others in disguise."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mixer_cases import draw_from, run_kda_recurrence
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.mixers import (
    GLA,
    HGRN,
    HGRN2,
    MLGRU,
    RWKV5,
    RWKV6,
    RWKV7,
    DeltaNet,
    GatedDeltaNet,
    KeysValues,
    KimiDelta,
    Mamba2,
    MatrixState,
    Mixer,
    RetNet,
    SoftmaxAttention,
    VectorState,
    layer_floors,
)
from neuro.mixers.delta import run_delta
from neuro.mixers.gla import run_gla
from neuro.mixers.mixer import rotate
from neuro.mixers.recurrence import keep_and_write
from neuro.mixers.rwkv7 import suggest_rank
from neuro.mixers.scan import run_scan

WIDTH = 16


def rwkv(kind: Callable[..., Mixer]) -> Callable[[], Mixer]:
    """Return one whose maps of low rank and decays differ from their first values."""

    def make() -> Mixer:
        mixer = kind(WIDTH, head_width=8, layer=1, layers=3)
        for name, p in mixer.named_parameters():
            if ".weight" not in name:
                p.data += 0.3 * torch.randn(p.shape)
        return mixer

    return make


MAKE: dict[str, Callable[[], Mixer]] = {
    "MLGRU": lambda: MLGRU(WIDTH),
    "HGRN": lambda: HGRN(WIDTH),
    "RetNet": lambda: RetNet(WIDTH, 2),
    "GLA": lambda: GLA(WIDTH, 2),
    "HGRN2": lambda: HGRN2(WIDTH, 2),
    "DeltaNet": lambda: DeltaNet(WIDTH, 2),
    "GatedDeltaNet": lambda: GatedDeltaNet(WIDTH, 2),
    "KimiDelta": lambda: KimiDelta(WIDTH, 2),
    "Mamba2": lambda: Mamba2(WIDTH, 2, keys=4),
    "RWKV5": rwkv(RWKV5),
    "RWKV6": rwkv(RWKV6),
    "RWKV7": rwkv(RWKV7),
    "SoftmaxAttention": lambda: SoftmaxAttention(WIDTH, 2),
}
EVERY = pytest.mark.parametrize("name", MAKE)


def make(name: str) -> Mixer:
    with seeded(7):
        return MAKE[name]().double()


@EVERY
def test_a_run_in_parts_and_token_by_token_is_one_run(name: str) -> None:
    mixer, x = make(name), draw_from(1)(40, 2, WIDTH)
    whole, end = mixer(x)
    assert whole.shape == x.shape
    parts, state = [], None
    for some in x.split([35, 1, 3, 1]):
        y, state = mixer(some, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-11)
    for one, two in zip(state, end, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


@EVERY
def test_the_inputs_may_be_overwritten(name: str) -> None:
    mixer, x = make(name), draw_from(3)(5, 2, WIDTH)
    with torch.no_grad():
        whole, _ = mixer(x)
        given, state = torch.empty_like(x[:1]), None
        for token, want in zip(x, whole, strict=True):
            y, state = mixer(given.copy_(token), state)
            torch.testing.assert_close(y[0], want, rtol=1e-9, atol=1e-9)


@EVERY
def test_no_token_sees_a_later_one_or_another_sample(name: str) -> None:
    mixer, x = make(name), draw_from(2)(9, 2, WIDTH)
    y, _ = mixer(x)
    later = x.clone()
    later[6:, 0] = 3.0
    seen, _ = mixer(later)
    torch.testing.assert_close(seen[:6], y[:6], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(seen[:, 1], y[:, 1], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(seen[6:, 0], y[6:, 0])


@EVERY
def test_every_parameter_and_the_state_have_gradients(name: str) -> None:
    mixer, x = make(name), draw_from(3)(9, 2, WIDTH)
    _, state = mixer(x)
    leaves = [s.detach().requires_grad_() for s in state if s.is_floating_point()]
    rest = [s for s in state if not s.is_floating_point()]
    y, _ = mixer(x, type(state)(*leaves, *rest))
    found = torch.autograd.grad(y.square().sum(), [*mixer.parameters(), *leaves])
    assert all(bool(g.isfinite().all()) and bool(g.any()) for g in found)


SIZES = {  # numbers in the state of a sample, multiply-accumulates of a token, after 5 others
    "MLGRU": (16, 4 * 256 + 32),
    "HGRN": (16, 4 * 256 + 32),
    "RetNet": (2 * 8 * 16 + 1, 8 * 256 + 3 * 2 * 8 * 16),
    "GLA": (2 * 4 * 8, 4 * 256 + 16 * 16 + 16 * 8 + 3 * 2 * 4 * 8),
    "HGRN2": (2 * 8 * 8, 4 * 256 + 3 * 2 * 8 * 8),
    "DeltaNet": (2 * 8 * 8 + 3 * 48, 4 * 256 + 32 + 4 * 48 + 4 * 2 * 8 * 8),
    "GatedDeltaNet": (
        2 * 6 * 12 + 3 * 48,
        16 * (12 + 12 + 24 + 24 + 24) + 16 * 4 + 4 * 48 + 4 * 2 * 6 * 12,
    ),
    "RWKV5": (2 * 8 * 8 + 16, 5 * 256 + 3 * 2 * 8 * 8),
    "RWKV6": (2 * 8 * 8 + 16, 5 * 256 + 3 * 2 * 8 * 8 + 16 * (2 * 5 * 32 + 2 * 64)),
    "KimiDelta": (
        2 * 8 * 8 + 3 * 48,
        4 * 256 + 32 + 4 * 48 + 4 * 2 * 8 * 8 + 4 * 16 * 8,
    ),
    "Mamba2": (
        2 * 4 * 16 + 3 * 40,
        16 * (4 + 4 + 32 + 32 + 2) + 32 * 16 + 4 * 40 + 3 * 2 * 4 * 16,
    ),
    "RWKV7": (2 * 8 * 8 + 16, 4 * 256 + 5 * 2 * 8 * 8 + 16 * 2 * (32 + 32 + 32)),
    "SoftmaxAttention": (2 * 16 * 5, 4 * 256 + 2 * 16 * 6),
}


@EVERY
def test_sizes_are_these_and_those_that_a_run_has(name: str) -> None:
    mixer = make(name)
    assert (mixer.state_size(5), mixer.macs(5)) == SIZES[name]
    _, state = mixer(draw_from(4)(5, 3, WIDTH))
    assert sum(part.numel() for part in state) == 3 * mixer.state_size(5)
    maps = sum(m.weight.numel() for m in mixer.modules() if isinstance(m, nn.Linear))
    assert maps < mixer.macs(0)


@EVERY
def test_sixteen_bits_run_and_keep_a_state_that_goes_on(name: str) -> None:
    mixer, x = make(name).bfloat16(), draw_from(5)(5, 2, WIDTH).bfloat16()
    y, state = mixer(x)
    again, _ = mixer(x, state)
    assert (y.dtype, again.dtype) == (torch.bfloat16, torch.bfloat16)
    exact, _ = make(name).float()(x.float())
    assert ((y.float() - exact).norm() / exact.norm()).item() < 0.05


@EVERY
def test_linear_maps_may_be_of_another_kind(name: str) -> None:
    made: list[tuple[int, int]] = []

    def linear(given: int, out: int) -> nn.Module:
        made.append((given, out))
        return nn.Linear(given, out)

    heads = {} if name in ("MLGRU", "HGRN") else {"heads": 2}
    if name.startswith("RWKV"):
        heads = {"head_width": 8}
    kind: Any = type(make(name))
    mixer = kind(WIDTH, linear=linear, **heads)
    assert len(made) in (4, 5)
    assert mixer.output.bias is not None


def test_kda_is_the_sum_of_its_paper() -> None:
    mixer, x = make("KimiDelta"), draw_from(14)(6, 2, WIDTH)
    maps = torch.cat([mixer.query(x), mixer.key(x), mixer.value(x)], -1)
    q, k, v = mixer.conv(maps, maps.new_zeros(3, 2, 48))[0].unflatten(-1, (3, 2, 8)).unbind(2)
    q, k = F.normalize(q, dim=-1) / 8**0.5, F.normalize(k, dim=-1)
    rate = F.softplus(mixer.strength(x) + mixer.dt).unflatten(-1, (2, 8))
    g = -mixer.log_strength.exp()[:, None] * rate
    s = torch.zeros(2, 2, 8, 8, dtype=torch.float64)
    y, s = run_kda_recurrence(q, k, v, torch.sigmoid(mixer.beta(x)), g, s)
    read = F.rms_norm(y, (8,), mixer.norm.weight, 1e-5).flatten(2) * mixer.gate(x).sigmoid()
    got, state = mixer(x)
    torch.testing.assert_close(got, mixer.output(read), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(state.s, s, rtol=1e-10, atol=1e-11)


def test_mamba2_is_masked_attention_whose_mask_decays() -> None:
    """The quadratic form of the paper: y = (L . C B^T) dt x + D x, L the products of decays."""
    mixer, x = make("Mamba2"), draw_from(15)(7, 2, WIDTH)
    mixer.skip.data += torch.tensor([0.5, -0.25])
    maps = torch.cat([mixer.query(x), mixer.key(x), mixer.value(x)], -1)
    padded = torch.cat([maps.new_zeros(3, 2, 40), maps])
    taps = torch.stack([padded[j : j + 7] for j in range(4)])
    mixed = F.silu(torch.einsum("jtbm,jm->tbm", taps, mixer.conv.weight) + mixer.conv.bias)
    c, b, v = mixed.split([4, 4, 32], -1)
    v, dt = v.unflatten(-1, (2, 16)), F.softplus(mixer.rate(x) + mixer.dt)
    upto = (-mixer.log_strength.exp() * dt).cumsum(0)
    kept = (upto[:, None] - upto[None]).exp() * torch.ones(7, 7).tril()[..., None, None]
    y = torch.einsum("tbk,sbk,tsbh,sbh,sbhv->tbhv", c, b, kept, dt, v) + mixer.skip[:, None] * v
    read = F.rms_norm(y.flatten(2) * F.silu(mixer.gate(x)), (32,), mixer.norm.weight, 1e-5)
    torch.testing.assert_close(mixer(x)[0], mixer.output(read), rtol=1e-10, atol=1e-11)


def test_goose_begins_as_published_and_needs_the_first_values_it_was_made_for() -> None:
    mixer = RWKV7(64, 32, 1, 3, residual=True)
    ranks = {m: getattr(mixer, f"{m}2").shape[0] for m in "wagv"}
    assert ranks == {"w": 32, "a": 32, "g": 32, "v": 32}
    assert [suggest_rank(2048, f) for f in (2.5, 5.0, 1.7)] == [128, 224, 64]
    assert not mixer.w1.any()
    torch.testing.assert_close(mixer.v2 @ mixer.v2.mT, 0.01 * torch.eye(32))
    n, line = 40, 40 / 63
    zigzag = (8 - 15.5) / 15.5
    zigzag *= abs(zigzag)
    found = [getattr(mixer, m)[0, 0, n].item() for m in ("w0", "a0", "v0", "k_k", "k_a")]
    want = [
        -5.5 + 6 * line ** (1 + 0.5**0.3) + 2.5 * zigzag,
        -0.19 + 0.3 * zigzag + 0.4 * (line - 0.5),
        0.73 - 0.4 * (line - 0.5),
        0.71 - 0.1 * (line - 0.5),
        1.02,
    ]
    assert found == pytest.approx(want, abs=1e-6)
    shifts = [getattr(mixer, f"x_{m}")[0, 0, n].item() for m in "rwkvag"]
    powers = [0.2, 0.9, 0.7, 0.7, 0.9, 0.2]
    assert shifts == pytest.approx([1 - (40 / 64) ** (p * 2 / 3) for p in powers], abs=1e-6)
    assert torch.equal(mixer.r_k, torch.full((2, 32), -0.04))
    x = torch.zeros(2, 3, 64)
    with pytest.raises(ValueError, match="first is None; it must be the values of the stack's"):
        mixer(x)
    with pytest.raises(ValueError, match="RWKV7: first has shape"):
        mixer(x, first=x[:1])
    with pytest.raises(ValueError, match="RWKV7: s of the state is"):
        mixer.make_values(x[:, :2], mixer(x, first=x)[1])


def test_gla_with_a_constant_decay_is_retention() -> None:
    mixer, x = RetNet(WIDTH, 2).double(), draw_from(6)(11, 2, WIDTH)
    decay = torch.tensor([1 - 2**-5, 1 - 2**-6], dtype=torch.float64)
    assert mixer.log_decay(x).exp().tolist() == pytest.approx(decay.tolist(), abs=1e-15)
    q, k, v = (m(x).unflatten(-1, (2, -1)) for m in (mixer.query, mixer.key, mixer.value))
    q, k = (rotate(m, torch.zeros(2, dtype=torch.int64)) / 8**0.25 for m in (q, k))
    distance = torch.arange(11)[:, None] - torch.arange(11)
    kept = (decay[:, None, None] ** distance.clamp(min=0)).tril()
    y = torch.einsum("tbhk,sbhk,hts,sbhv->tbhv", q, k, kept, v)
    read = mixer.norm(y).flatten(2) * F.silu(mixer.gate(x))
    torch.testing.assert_close(mixer(x)[0], mixer.output(read), rtol=1e-9, atol=1e-10)


def test_hgrn2_is_gla_whose_keys_are_what_it_forgets() -> None:
    mixer, x = HGRN2(WIDTH, 2).double(), draw_from(7)(11, 2, WIDTH)
    floor = torch.linspace(0, 0.9, WIDTH, dtype=torch.float64)
    f = floor + (1 - floor) * torch.sigmoid(mixer.forget(x))
    q, k, v, g = (
        m.unflatten(-1, (2, -1))
        for m in (F.silu(mixer.query(x)), 1 - f, mixer.candidate(x), f.log())
    )
    y, s = run_gla(q, k, v, g)
    got, state = mixer(x, floor=floor)
    want = mixer.output(mixer.norm(y.flatten(2)))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(state.s, s, rtol=1e-10, atol=1e-11)


def test_hgrn2_with_keys_of_one_channel_is_a_scan() -> None:
    draw = draw_from(8)
    f, v = torch.sigmoid(draw(40, 2, 3, 1)), draw(40, 2, 3, 5)
    y, _ = run_gla(torch.ones_like(f), 1 - f, v, f.log())
    wide = f.expand_as(v)
    torch.testing.assert_close(y, run_scan(wide, (1 - wide) * v)[0], rtol=1e-11, atol=1e-12)


def test_gated_delta_without_decay_is_delta() -> None:
    draw = draw_from(9)
    q, k, v = draw(40, 2, 2, 4), F.normalize(draw(40, 2, 2, 4), dim=-1), draw(40, 2, 2, 3)
    beta = torch.sigmoid(draw(40, 2, 2))
    ours, theirs = run_delta(q, k, v, beta), run_delta(q, k, v, beta, 0 * beta)
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=0)


def test_delta_with_orthogonal_keys_is_gla_without_decay() -> None:
    """Nothing is held yet under a new key, so there is nothing to correct."""
    draw = draw_from(10)
    k = torch.eye(40, dtype=torch.float64).view(40, 1, 1, 40)
    q, v, beta = draw(40, 1, 1, 40), draw(40, 1, 1, 3), torch.sigmoid(draw(40, 1, 1))
    y, s = run_delta(q, k, v, beta)
    want, end = run_gla(q, beta[..., None] * k, v, torch.zeros_like(k))
    torch.testing.assert_close(y, want, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(s, end, rtol=1e-11, atol=1e-12)


def test_finch_without_its_maps_of_low_rank_is_eagle() -> None:
    with seeded(1):
        finch, eagle = (kind(WIDTH, 8, 1, 3).double() for kind in (RWKV6, RWKV5))
    eagle.load_state_dict(
        {
            **{k: v for k, v in finch.state_dict().items() if "time_" not in k},
            **{f"time_mix_{m}": 1 - getattr(finch, f"time_maa_{m}") for m in "kvrg"},
            "time_decay": finch.time_decay.view(2, 8),
            "time_faaaa": finch.time_faaaa,
        }
    )
    x = draw_from(11)(9, 2, WIDTH)
    torch.testing.assert_close(finch(x)[0], eagle(x)[0], rtol=1e-11, atol=1e-12)


def test_mlgru_and_hgrn_are_these_sums() -> None:
    mlgru, x = make("MLGRU"), draw_from(12)(2, 1, WIDTH)
    floor = torch.full((WIDTH,), 0.25, dtype=torch.float64)
    for mixer, f0 in ((mlgru, None), (mlgru, floor), (make("HGRN"), floor)):
        f = torch.sigmoid(mixer.forget(x))
        f = f if f0 is None else 0.25 + 0.75 * f
        c, gate = F.silu(mixer.candidate(x)), mixer.gate(x)
        h0 = (1 - f[0]) * c[0]
        h = torch.stack([h0, f[1] * h0 + (1 - f[1]) * c[1]])
        read = F.rms_norm(gate, (WIDTH,), eps=1e-6) * F.silu(h)
        if isinstance(mixer, HGRN):
            read = F.rms_norm(h, (WIDTH,), eps=1e-5) * F.silu(gate)
        y, state = mixer(x) if f0 is None else mixer(x, floor=f0)
        torch.testing.assert_close(y, mixer.output(read), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(state.h, h[1], rtol=1e-11, atol=1e-12)


def test_floors_grow_from_layer_to_layer_and_begin_at_zero() -> None:
    floors = layer_floors(torch.zeros(4, 2))
    assert floors[:, 0].tolist() == [0, 0.25, 0.5, 0.75]
    assert torch.equal(layer_floors(torch.randn(3, 2))[0], torch.zeros(2))


@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_what_leaves_and_its_logarithm_are_exact_at_both_ends(floor: float) -> None:
    x = torch.tensor([-70.0, -20.0, 0.0, 20.0, 70.0], requires_grad=True)
    free = torch.full((5,), floor, requires_grad=True)
    k, g = keep_and_write(x, free)
    s = torch.sigmoid(x.double())
    f = floor + (1 - floor) * s
    torch.testing.assert_close(g.double(), f.log(), rtol=1e-6, atol=1e-30)
    want = (1 - floor) * torch.sigmoid(-x.double())
    torch.testing.assert_close(k.double(), want, rtol=1e-6, atol=0)
    grads = torch.autograd.grad(g.sum() + k.sum(), (x, free))
    assert all(bool(grad.isfinite().all()) for grad in grads)
    if not floor:
        plain = keep_and_write(x, None)
        assert torch.equal(plain[0], k)
        assert torch.equal(plain[1], g)


def test_a_rotated_product_depends_on_the_distance_alone() -> None:
    draw = draw_from(13)
    q, k = draw(1, 1, 1, 6).expand(9, 1, 1, 6), draw(1, 1, 1, 6).expand(9, 1, 1, 6)
    at = torch.tensor([0])
    q, k = rotate(q, at), rotate(k, at)
    scores = (q @ k.permute(1, 2, 3, 0)[None].squeeze(0)).squeeze()
    assert scores[3, 1].item() == pytest.approx(scores[8, 6].item(), abs=1e-12)
    assert scores[3, 1].item() != pytest.approx(scores[8, 5].item(), abs=1e-3)
    far = rotate(torch.ones(1, 2, 1, 2), torch.tensor([0, 1_000_000]))
    angle = 1_000_000 % (2 * math.pi)
    want = [1, 1, math.cos(angle) - math.sin(angle), math.cos(angle) + math.sin(angle)]
    assert far.flatten().tolist() == pytest.approx(want, abs=1e-6)


def test_reach_two_counts_modulo_two_and_one_cannot() -> None:
    """Under one key, beta = 2 turns the sign of what is held: S <- S - 2 k k^T S."""
    one = torch.ones(5, 1, 1, 1)
    _, s = run_delta(one, one, 0 * one, 2 * one[..., 0], state=torch.ones(1, 1, 1, 1))
    assert s.item() == -1
    with seeded(0):
        mixer = DeltaNet(8, 1, reach=2.0)
    mixer.beta.weight.data.zero_()
    beta = mixer.reach * torch.sigmoid(mixer.beta(torch.ones(8)))
    assert beta.item() == 1.0


@pytest.mark.parametrize(
    ("kind", "least", "rates"), [(GatedDeltaNet, 0, 16), (KimiDelta, 1, 64), (Mamba2, 1, 16)]
)
def test_first_decays_are_in_the_published_ranges(kind: Any, least: float, rates: int) -> None:
    with seeded(0):
        mixer = kind(64, 16)
    strength, dt = mixer.log_strength.exp().detach(), F.softplus(mixer.dt).detach()
    assert (strength.shape, dt.shape) == ((16,), (rates,))
    assert least <= float(strength.min()) < 5
    assert 10 < float(strength.max()) <= 16
    assert 0.001 <= float(dt.min()) < 0.003
    assert 0.03 < float(dt.max()) <= 0.1001


def test_another_kind_of_state_is_refused() -> None:
    x = torch.zeros(2, 3, WIDTH)
    _, state = MLGRU(WIDTH)(x)
    with pytest.raises(TypeError, match="the state of GLA must be a MatrixState, got a Vector"):
        GLA(WIDTH)(x, state)


@pytest.mark.parametrize("name", ["MLGRU", "GLA", "RWKV6", "SoftmaxAttention", "DeltaNet"])
def test_the_state_of_another_batch_is_refused(name: str) -> None:
    mixer = make(name).float()
    _, state = mixer(torch.zeros(2, 3, WIDTH))
    message = rf"{name}: \w+ of the state is a Tensor of shape "
    with pytest.raises(ValueError, match=message):
        mixer(torch.zeros(2, 4, WIDTH), state)
    with pytest.raises(ValueError, match="of the state is None"):
        mixer(torch.zeros(2, 3, WIDTH), state._replace(**{state._fields[0]: None}))


@pytest.mark.parametrize("shape", [(0, 2, WIDTH), (2, WIDTH), (2, 2, WIDTH + 1)])
def test_wrong_axes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"GLA: x has axes \(tokens, samples, 16\)"):
        GLA(WIDTH)._require_tokens(torch.zeros(shape))


def test_what_is_no_tensor_of_floats_is_refused() -> None:
    with pytest.raises(ValueError, match=r"GLA: x must hold floating-point numbers, got"):
        GLA(WIDTH)._require_tokens(torch.zeros(1, 1, WIDTH, dtype=torch.int64))
    with pytest.raises(TypeError, match="x of GLA must be a tensor, got a list"):
        GLA(WIDTH)._require_tokens([1.0])


def test_more_tokens_than_the_limit_are_refused() -> None:
    mixer = SoftmaxAttention(WIDTH, 2, limit=5)
    _, state = mixer(torch.zeros(5, 1, WIDTH))
    with pytest.raises(ValueError, match=r"5 \+ 1 tokens exceed the limit of 5"):
        mixer(torch.zeros(1, 1, WIDTH), state)
    with pytest.raises(ValueError, match="its state has 5 keys and 4 values"):
        mixer(torch.zeros(1, 1, WIDTH), KeysValues(state.k, state.v[1:]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GLA(18, 4), "GLA: width 18 is not a multiple of 8"),
        (lambda: RetNet(12, 4), "RetNet: width 12 is not a multiple of 8"),
        (lambda: GatedDeltaNet(10, 4), "3 x width 30 is not a multiple of 16"),
        (lambda: DeltaNet(16, 4, reach=3.0), "DeltaNet.reach must be 1 or 2, got 3"),
        (lambda: KimiDelta(18, 4), "KimiDelta: width 18 is not a multiple of 4"),
        (lambda: Mamba2(15, 4), "Mamba2: 2 x width 30 is not a multiple of 4"),
        (lambda: RWKV7(16, 8, gate_rank=-1), "RWKV7.rank of g must be >= 1, got -1"),
        (lambda: HGRN2(16, 0), "HGRN2.heads must be >= 1, got 0"),
        (lambda: SoftmaxAttention(16, 4, limit=0), "SoftmaxAttention.limit must be >= 1"),
        (lambda: RWKV5(16, 8, layer=3, layers=3), "RWKV5.layer must be from 0 to 2, got 3"),
        (lambda: MLGRU(-1), "MLGRU.width must be >= 1, got -1"),
    ],
)
def test_sizes_that_fit_nothing_are_refused(build: Callable[[], Mixer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_states_are_values_with_a_batch_axis() -> None:
    x = torch.zeros(2, 3, WIDTH)
    assert isinstance(MLGRU(WIDTH)(x)[1], VectorState)
    assert isinstance(HGRN2(WIDTH)(x)[1], MatrixState)
    before = RetNet(WIDTH)(x)[1]
    copy: list[Tensor] = [part.clone() for part in before]
    RetNet(WIDTH)(x, before)
    assert all(torch.equal(a, b) for a, b in zip(before, copy, strict=True))
    assert before.position.tolist() == [2, 2, 2]

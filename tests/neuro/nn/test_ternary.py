import math

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from llvmlite import binding

from neuro.base.seeds import seeded
from neuro.nn.ternary import (
    AbsMax,
    BitLinear,
    LearnedCount,
    PackedLinear,
    Quantise,
    SpikeCount,
    average_counts,
    pack_layer,
    pack_model,
    round_to_bytes,
    round_weights,
    watch_inputs,
)
from neuro.ops.ternary import has_dot_product, map_packed


def test_another_processor_that_the_user_names_gets_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numba.config, "CPU_NAME", "generic")
    assert not has_dot_product()
    monkeypatch.undo()
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: {"avx512vnni": True})
    assert not has_dot_product()  # its 256 bits are of avx512vl


def test_a_layer_by_hand() -> None:
    layer = BitLinear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -0.2], [-3.0, 0.2]]))  # mean 1.1
        layer.gain.copy_(torch.tensor([1.0, 2.0]))
        y = layer(torch.tensor([[3.0, -4.0]]))
    root = 12.5**0.5
    x = torch.tensor([round(3 / 8 * 127), -127]) * (8 / root / 127)
    torch.testing.assert_close(y, (1.1 * torch.stack([x[0], -x[0]]))[None].float())


def test_eps_is_that_of_the_published_fused_layers_or_another() -> None:
    x = torch.tensor([[3e-3, -4e-3]])  # mean square 1.25e-5
    counts = SpikeCount(127, 2**-6)  # fine enough to see eps
    for named, eps in (({}, 1e-6), ({"eps": 1e-2}, 1e-2)):
        layer = BitLinear(2, 1, counts, **named)
        torch.nn.init.ones_(layer.weight)
        normal = x / (1.25e-5 + eps) ** 0.5
        want = ((normal.abs() * 64).round() / 64).copysign(normal).sum()
        for answers in (layer, pack_layer(layer)):
            assert float(answers(x).detach()) == pytest.approx(float(want), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [400.0, 1.0, 1e-3])
def test_inputs_of_sixteen_bits_may_be_large_and_small(dtype: torch.dtype, size: float) -> None:
    with seeded(2):
        layer, x = BitLinear(64, 8), (torch.randn(5, 64) * size).to(dtype)
    packed = pack_layer(layer)
    want = layer(x.float())
    for short in (packed, layer.to(dtype)):
        y = short(x)
        assert y.dtype == dtype
        assert (y.float() - want).norm() < 0.02 * want.norm()


@pytest.mark.parametrize("quantise", [AbsMax(), SpikeCount(4, 0.75)])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (3, 2, 7)])
def test_the_fused_gradient_is_that_of_the_plain_form(
    quantise: AbsMax | SpikeCount, shape: tuple[int, ...]
) -> None:
    with seeded(1):
        fused, x = BitLinear(7, 4, quantise).double(), torch.randn(shape, dtype=torch.float64)
        torch.nn.init.uniform_(fused.gain, 0.5, 2)
        dy = torch.randn(*shape[:-1], 4, dtype=torch.float64)

    def run_plain(x: torch.Tensor) -> torch.Tensor:
        normal = x * (x.square().mean(-1, keepdim=True) + fused.eps).rsqrt() * fused.gain
        whole, scale = quantise(normal.detach())
        signs, size = round_weights(fused.weight.detach())
        inputs = normal + (whole * scale - normal).detach()
        return inputs @ (fused.weight + (signs * size - fused.weight).detach()).T

    found = []
    for layer in (fused, run_plain):
        given = x.clone().requires_grad_()
        y = layer(given)
        wanted = (given, fused.weight, fused.gain)
        found.append((y.detach(), *torch.autograd.grad(y, wanted, dy)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_zero_inputs_and_weights_stay_finite() -> None:
    layer = BitLinear(3, 2)
    torch.nn.init.zeros_(layer.weight)
    x = torch.zeros(1, 3, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("quantise", [None, SpikeCount(3, 0.5)])
def test_packed_layers_answer_the_same_in_two_bits_a_weight(quantise: Quantise | None) -> None:
    with seeded(2):
        first, last = BitLinear(130, 96, quantise), BitLinear(96, 50, quantise)
        model = torch.nn.Sequential(first, torch.nn.SiLU(), last)
        x = torch.randn(4, 3, 130)
    packed = pack_model(model)
    with torch.no_grad():
        assert torch.equal(packed(x), model(x))
        assert torch.equal(pack_model(model[0])(x), model[0](x))
    assert isinstance(model[0], BitLinear)
    layer = packed[0]
    assert isinstance(layer, PackedLinear)
    bits = 8 * (layer.packed.nbytes + layer.scale.nbytes)
    assert bits / (130 * 96) < 2.2
    assert layer.packed.dtype is torch.uint8
    with pytest.raises(ValueError, match="Linear has no BitLinear"):
        pack_model(torch.nn.Linear(2, 2))


class Other(AbsMax):
    """What the compiled map does not know."""


@pytest.mark.slow
@settings(max_examples=15)
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 300), st.integers(1, 3)),
    kind=st.sampled_from([AbsMax(), SpikeCount(3, 0.75), SpikeCount(1, 2.0), Other()]),
    size=st.sampled_from([1e-12, 1.0, 1e25]),
    seed=st.integers(0, 99),
)
def test_packed_layers_answer_bit_for_bit_as_trained_ones(
    sizes: tuple[int, int, int], kind: AbsMax | SpikeCount, size: float, seed: int
) -> None:
    made, given, tokens = sizes
    with seeded(seed):
        layer = BitLinear(given, made, kind)
        torch.nn.init.uniform_(layer.gain, -2, 2)
        x = size * torch.randn(2, tokens, given)
    x[0, 0, :1] = 0
    expected = layer(x).detach()
    packed = pack_model(layer)
    assert torch.equal(packed(x), expected)
    assert torch.equal(packed(x.transpose(0, 1)), expected.transpose(0, 1))
    rows = x.view(-1, given)
    how = packed._describe_quantise()
    if how:
        inverse = torch.rsqrt(rows.square().mean(-1) + 1e-6)
        arrays = (packed.packed, rows, inverse, packed.gain)
        plain = map_packed(*(a.numpy() for a in arrays), float(packed.scale), *how, dot=False)
        assert np.array_equal(plain, expected.view(-1, made).numpy())


@torch.no_grad()
def test_a_packed_layer_stays_as_it_is_when_the_trained_one_goes_on() -> None:
    with seeded(0):
        layer, x = BitLinear(9, 5), torch.randn(2, 9)
    packed = pack_layer(layer)
    before = packed(x)
    layer.gain *= 3
    layer.weight *= -1
    assert torch.equal(packed(x), before)


@torch.no_grad()
def test_float64_inputs_are_mapped_in_float64() -> None:
    with seeded(0):
        layer = BitLinear(12, 3)
        x = torch.randn(2, 12, dtype=torch.float64)
    packed = pack_model(layer)(x)
    assert packed.dtype is torch.float64
    signs, size = round_weights(layer.weight)
    whole, scale = AbsMax()(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))
    assert torch.equal(packed, whole @ signs.T.double() * (size * scale))


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="x must have 4 channels, got 8"):
        pack_model(BitLinear(4, 3))(torch.ones(2, 8))


@pytest.mark.parametrize("quantise", [AbsMax(), SpikeCount(3, 0.75)])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_is_not_hidden(quantise: AbsMax | SpikeCount, bad: float) -> None:
    x = torch.ones(2, 33)
    x[1, 4] = bad
    packed = pack_model(BitLinear(33, 5, quantise))
    y = packed(x)
    assert torch.isfinite(y[0]).all()
    assert torch.isnan(y[1]).all()


@settings(max_examples=20)
@given(
    n=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=20),
    ticks=st.integers(1, 6),
    threshold=st.sampled_from([0.25, 0.75, 1.0, 1.5]),
)
def test_a_neuron_fires_the_count(n: list[float], ticks: int, threshold: float) -> None:
    # Thresholds and halves between them, and their neighbours, are among what is drawn.
    some = [k * threshold / 2 for k in range(-9, 10)]
    near = [float(np.nextafter(np.float32(v), np.float32(9))) for v in some]
    x = torch.tensor([*n, *some, *near])
    quantise = SpikeCount(ticks, threshold)
    counts, scale = quantise(x)
    spikes = quantise.fire(x)
    assert len(spikes) == ticks
    assert set(spikes.unique().tolist()) <= {-1, 0, 1}
    assert torch.equal(spikes.sum(0).float(), counts)
    assert float(scale) == threshold
    inside = x.abs() < (ticks + 0.5) * threshold
    assert ((counts * threshold - x)[inside].abs() <= threshold / 2 + 1e-6).all()


def test_spikes_tick_by_tick_and_one_graded_spike_answer_what_was_trained() -> None:
    with seeded(3):
        layer, x = BitLinear(40, 8, SpikeCount(4, 0.75)), 2 * torch.randn(5, 40)
    quantise = layer.quantise
    assert isinstance(quantise, SpikeCount)
    signs, scale = round_weights(layer.weight.detach())
    normal = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
    ticks = sum(s.int() @ signs.int().T for s in quantise.fire(normal))
    graded = quantise(normal)[0].int() @ signs.int().T
    assert torch.equal(ticks, graded)
    torch.testing.assert_close(0.75 * scale * ticks, layer(x).detach(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("ticks", "threshold"), [(0, 1.0), (128, 1.0), (4, 0.7), (4, -1.0)])
def test_counts_that_would_not_be_exact_are_refused(ticks: int, threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold 2\\^k or 3 2\\^k"):
        SpikeCount(ticks, threshold)


def test_bits_are_levels_on_both_sides_of_zero() -> None:
    x = torch.tensor([[0.3, -1.9, 2.0, 0.9], [0.0, 0.5, -0.75, 0.1]])
    for bits, want in (
        (2, [[0, -1, 1, 0], [0, 1, -1, 0]]),
        (3, [[0, -3, 3, 1], [0, 2, -3, 0]]),
        (8, [[19, -121, 127, 57], [0, 85, -127, 17]]),
    ):
        whole, scale = AbsMax(bits)(x)
        assert whole.tolist() == want
        most = 2 ** (bits - 1) - 1
        torch.testing.assert_close(scale[:, 0], torch.tensor([2.0, 0.75]) / most)
    for bits in (1, 9):
        with pytest.raises(ValueError, match=f"bits is {bits}; it must be from 2 to 8"):
            AbsMax(bits)


@pytest.mark.parametrize(
    ("log_threshold", "threshold"),
    [
        *((-0.415, 0.75), (0.0, 1.0), (0.29, 1.0), (0.3, 1.5), (0.79, 1.5), (0.8, 2.0)),
        *((-9.5, 2**-8), (-1.71, 0.25), (-1.7, 0.375), (7.0, 16.0)),
    ],
)
def test_a_learned_threshold_is_the_nearest_that_packed_maps_and_chips_hold(
    log_threshold: float, threshold: float
) -> None:
    counts = LearnedCount(3, 1.0)
    assert counts.log_threshold.tolist() == 0
    torch.nn.init.constant_(counts.log_threshold, log_threshold)
    assert float(counts.threshold) == threshold
    fixed = counts.fix()
    assert (fixed.ticks, fixed.threshold) == (3, threshold)
    n = torch.linspace(-5, 5, 333) * threshold
    for one, other in zip(counts(n[:, None]), fixed(n[:, None]), strict=True):
        assert torch.equal(one, torch.as_tensor(other).expand_as(one))


def test_the_gradient_of_a_threshold_is_the_error_of_counts_and_what_is_clipped() -> None:
    layer = BitLinear(3, 2, LearnedCount(2, 0.75)).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, -2.0, 2.0], [0.1, 2.0, -2.0]]))
        layer.gain.copy_(torch.tensor([1.0, 2.4, 4.0]))
    x, dy = torch.tensor([[0.9, -0.7, 1.3]]).double(), torch.tensor([[1.0, 3.0]]).double()
    y = layer(x)
    (found,) = torch.autograd.grad(y, [layer.quantise.log_threshold], dy)
    n = x[0] / (x.square().mean() + 1e-6).sqrt() * layer.gain.detach()
    # n = 0.900, -1.681 (beyond 2 thresholds, but not clipped), 5.202 (clipped)
    counts = torch.tensor([1.0, -2.0, 2.0])
    assert (n / 0.75).round()[:2].tolist() == [1, -2]
    signs, size = round_weights(layer.weight.detach())
    dn = dy[0] @ (signs * size)
    slope = 0.75 * counts - n * torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(float(found), math.log(2) * float(dn @ slope), rtol=1e-9, atol=0)
    torch.testing.assert_close(y[0], 0.75 * size * (signs @ counts.double()), rtol=1e-9, atol=0)


def test_weights_of_bytes_reach_127_and_are_not_packed() -> None:
    weight = torch.tensor([[0.5, -2.54, 0.031], [1.24, 0.009, -0.5]])
    whole, scale = round_to_bytes(weight)
    assert whole.tolist() == [[25, -127, 2], [62, 0, -25]]
    assert float(scale) == pytest.approx(0.02)
    layer = BitLinear(3, 2, rounding=round_to_bytes)
    with torch.no_grad():
        layer.weight.copy_(weight)
        x = torch.tensor([[1.0, 2.0, -3.0]])
        scale_of_x = 3 / (14 / 3) ** 0.5 / 127
        want = torch.tensor([25 * 42 - 127 * 85 - 2 * 127, 62 * 42 + 25 * 127]) * 0.02
        torch.testing.assert_close(layer(x)[0], want * scale_of_x, rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match="weights are not -1, 0 or 1"):
        pack_layer(layer)


def test_the_mean_count_weights_inputs_by_their_fan_out_and_has_a_gradient() -> None:
    first = BitLinear(2, 3, LearnedCount(4, 0.5))
    second = BitLinear(4, 1, SpikeCount(2, 1.0))
    model = torch.nn.ModuleList([first, second])
    x = torch.tensor([[1.0, -3.0], [2.0, 0.1]], requires_grad=True)
    z = torch.tensor([[1.0, 1.0, 0.2, -1.0]])
    with watch_inputs(model) as seen:
        first(x)
        second(z)
    assert [layer for layer, *_ in seen] == [first, second]
    n = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    counts = (n.abs() / 0.5).round().clamp(max=4)
    assert counts.tolist() == [[1, 3], [3, 0]]
    assert torch.equal(seen[0][2].abs(), counts)
    mean = average_counts(seen)
    assert float(mean.detach()) == pytest.approx((3.5 * 3 + 3 * 1) / (2 * 3 + 4))
    smooth = (n.abs() * (counts > 0) / 0.5).sum() / 2 * 3 / 10  # no count of x is clipped
    wanted = (x, first.quantise.log_threshold)
    dx, dlog = torch.autograd.grad(mean, wanted)
    torch.testing.assert_close(dx, torch.autograd.grad(smooth, x, retain_graph=True)[0])
    assert float(dlog) == pytest.approx(-math.log(2) * float(smooth.detach()), rel=1e-5)
    first(x)
    assert len(seen) == 2  # hooks are gone
    clipped = LearnedCount(2, 0.5)
    first.quantise = clipped
    with watch_inputs(model) as seen:
        first(x)
    (dlog,) = torch.autograd.grad(average_counts(seen), clipped.log_threshold)
    small = float(n[0, 0].detach().abs()) / 0.5  # the only count that is not 0 nor clipped
    assert float(dlog) == pytest.approx(-math.log(2) * small / 2 * 3 / 6, rel=1e-5)

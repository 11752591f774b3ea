"""Fast forms of the cores say what their recurrences say in float64."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from mixer_cases import CORES, Core, draw_from, run_with_gradients
from torch import Tensor
from torch.autograd import forward_ad

from neuro.mixers import chunks, scan
from neuro.mixers.delta import run_delta, run_delta_recurrence
from neuro.mixers.dplr import _require_shapes, run_dplr, run_dplr_recurrence, run_kda
from neuro.mixers.gla import run_gla, run_gla_recurrence
from neuro.mixers.scan import run_scan, run_scan_recurrence

EVERY = pytest.mark.parametrize("core", CORES.values(), ids=CORES)


def distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Return the largest difference beside the largest number of the same tensor."""
    for one, two in zip(ours, theirs, strict=True):
        assert one.shape == two.shape
    return max(
        float((one - two).abs().max() / two.abs().max().clamp(min=1e-3))
        for one, two in zip(ours, theirs, strict=True)
    )


@EVERY
@settings(max_examples=8)
@given(
    tokens=st.integers(1, 75),
    strength=st.sampled_from([0.0, 0.3, 8.0, 60.0, 3000.0]),
    seed=st.integers(0, 99),
)
def test_outputs_states_and_gradients_are_those_of_the_recurrence(
    core: Core, tokens: int, strength: float, seed: int
) -> None:
    given_ = core.make(tokens, strength, draw_from(seed))
    want = run_with_gradients(core.slow, given_)
    assert distance(run_with_gradients(core.fast, given_), want) < 1e-11
    single = tuple(x.float() for x in given_)
    assert distance(run_with_gradients(core.fast, single), want) < 3e-4


@pytest.mark.parametrize("name", ["gla", "gla, one decay a head", "gla with a bonus", "delta"])
@settings(max_examples=8)
@given(
    tokens=st.integers(1, 75),
    strength=st.sampled_from([0.0, 0.3, 8.0, 60.0, 3000.0]),
    seed=st.integers(0, 99),
)
def test_chunks_in_torch_are_those_of_the_recurrence(
    name: str, tokens: int, strength: float, seed: int
) -> None:
    core = CORES[name]
    given_ = core.make(tokens, strength, draw_from(seed))
    want = run_with_gradients(core.slow, given_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "can_read", lambda _: False)
        assert distance(run_with_gradients(core.fast, given_), want) < 1e-11
        single = tuple(x.float() for x in given_)
        assert distance(run_with_gradients(core.fast, single), want) < 3e-4


@EVERY
@pytest.mark.parametrize("tokens", [1, 7])
def test_a_few_tokens_without_gradients_are_those_of_the_recurrence(
    core: Core, tokens: int
) -> None:
    given_ = core.make(tokens, 1.0, draw_from(3))
    before = [x.clone() for x in given_]
    assert distance(list(core.fast(*given_)), list(core.slow(*given_))) < 1e-14
    assert all(torch.equal(x, y) for x, y in zip(given_, before, strict=True))


@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # torch's own
@pytest.mark.parametrize("name", ["gla", "gla with a bonus", "delta", "dplr", "softmax"])
@pytest.mark.parametrize("tokens", [1, 16, 17])
def test_derivatives_go_forward_through_few_tokens_and_many(name: str, tokens: int) -> None:
    core = CORES[name]
    given_ = core.make(tokens, 0.3, draw_from(5))
    aside = core.make(tokens, 0.3, draw_from(6))
    step = 1e-6
    with torch.no_grad(), forward_ad.dual_level():
        y, _ = core.fast(*map(forward_ad.make_dual, given_, aside))
        found = forward_ad.unpack_dual(y).tangent
    more, less = (
        core.slow(*(x + way * d for x, d in zip(given_, aside, strict=True)))[0]
        for way in (step, -step)
    )
    torch.testing.assert_close(found, (more - less) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["scan", "gla", "gla with a bonus", "delta", "dplr", "kda"])
def test_four_thousand_tokens_are_those_of_the_recurrence(name: str) -> None:
    core = CORES[name]
    given_ = tuple(x.float() for x in core.make(4096, 0.01, draw_from(4)))
    with torch.no_grad():
        want = core.slow(*(x.double() for x in given_))
        got = core.fast(*given_)
    assert distance([x.double() for x in got], list(want)) < 2e-5


def test_of_a_decay_of_zero_nothing_is_left_and_gradients_are_numbers() -> None:
    g = torch.full((40, 1, 1, 2), -math.inf)
    g[5] = 0
    q = k = torch.ones(40, 1, 1, 2)
    v = torch.arange(40.0).view(40, 1, 1, 1)
    y, s = run_gla(q, k, v, g)
    want = 2 * v.flatten()
    want[5] += 2 * v.flatten()[4]
    assert y.flatten().tolist() == want.tolist()
    assert s.flatten().tolist() == [39, 39]
    leaves = [x.clone().requires_grad_() for x in (q, k, v, g)]
    grads = torch.autograd.grad(run_gla(*leaves)[0].sum(), leaves)
    assert all(bool(x.isfinite().all()) for x in grads)
    y, _ = run_delta(q, k, v, torch.full((40, 1, 1), 0.5), g[..., 0])
    assert y.flatten()[6:].tolist() == v.flatten()[6:].tolist()
    leaves = [x.clone().requires_grad_() for x in (q, k, v, torch.full((40, 1, 1), 0.5), g)]
    y, s = run_kda(*leaves)
    assert y.flatten()[6:].tolist() == v.flatten()[6:].tolist()
    grads = torch.autograd.grad(y.sum() + s.sum(), leaves)
    assert all(bool(x.isfinite().all()) for x in grads)


def test_a_weak_decay_after_a_strong_one_is_exact() -> None:
    """A difference of sums over the chunk, some -1e4, would lose three digits of 1e-3."""
    g = torch.full((32, 1, 1, 1), -1e-3)
    g[:16] = -700.0
    ones = torch.ones(32, 1, 1, 1)
    want = run_gla_recurrence(*(x.double() for x in (ones, ones, ones, g)))[0]
    torch.testing.assert_close(
        run_gla(ones, ones, ones, g)[0].double(), want, rtol=3e-7, atol=0
    )
    rows = [ones, torch.ones(32, 1, 1, 1), ones, 0.01 * ones[..., 0], g[..., 0]]
    want = run_delta_recurrence(*(x.double() for x in rows))[0]
    torch.testing.assert_close(run_delta(*rows)[0].double(), want, rtol=1e-6, atol=0)
    rows = [ones, ones, ones, g, 0.01 * ones, -ones]
    want = run_dplr_recurrence(*(x.double() for x in rows))[0]
    torch.testing.assert_close(run_dplr(*rows)[0].double(), want, rtol=1e-6, atol=0)


def test_a_zero_key_writes_nothing() -> None:
    q, k, v, beta, g, s = CORES["delta"].make(40, 0.1, draw_from(7))
    _, gla_end = run_gla(q, 0 * k, v, g[..., None], s)
    _, delta_end = run_delta(q, 0 * k, v, beta, g, s)
    faded = g.sum(0).exp()[..., None, None] * s
    torch.testing.assert_close(gla_end, faded, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(delta_end, faded, rtol=1e-12, atol=1e-14)


def test_the_delta_rule_replaces_what_was_held_under_a_key() -> None:
    k = torch.eye(2)[[0, 1, 0]].view(3, 1, 1, 2)
    v = torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1)
    y, s = run_delta(k, k, v, torch.ones(3, 1, 1))
    assert y.flatten().tolist() == [1, 2, 5]
    assert s.flatten().tolist() == [5, 2]  # and a sum would hold 6


def test_a_correction_adds_under_one_key_what_the_state_holds_under_another() -> None:
    q, a, b = (torch.tensor(x).view(1, 1, 1, 2) for x in ([10.0, 1.0], [1.0, 5.0], [0.0, 3.0]))
    s, g = torch.tensor([4.0, 7.0]).view(1, 1, 2, 1), torch.tensor([0.5, 0.25]).log()
    k, v = torch.tensor([6.0, 0.0]).view(1, 1, 1, 2), torch.full((1, 1, 1, 1), 8.0)
    for run in (run_dplr, run_dplr_recurrence):
        y, end = run(q, k, v, g.expand_as(q), a, b, s)
        assert end.flatten().tolist() == [0.5 * 4 + 6 * 8, 0.25 * 7 + 3 * (4 + 5 * 7)]
        assert y.item() == 10 * 50 + 118.75


@pytest.mark.parametrize("strength", [0.1, 30.0])
def test_dplr_without_a_correction_is_gla_and_with_one_decay_a_head_kda_is_delta(
    strength: float,
) -> None:
    q, k, v, beta, g, s = CORES["delta"].make(40, strength, draw_from(12))
    wide = g[..., None].expand_as(k)
    assert (
        distance(list(run_kda(q, k, v, beta, wide, s)), list(run_delta(q, k, v, beta, g, s)))
        < 1e-13
    )
    none, wide = torch.zeros_like(k), CORES["gla"].make(40, strength, draw_from(13))[3]
    want = list(run_gla(q, k, v, wide, s))
    assert distance(list(run_dplr(q, k, v, wide, q, none, s)), want) < 1e-13
    assert distance(list(run_dplr(q, k, v, wide, none, q, s)), want) < 1e-13


@pytest.mark.parametrize("at", [1, 3, 4, 5, 6])
def test_dplr_refuses_rows_of_other_shapes(at: int) -> None:
    given_ = list(CORES["dplr"].make(3, 1.0, draw_from(8)))
    given_[at] = given_[at][..., :2, :]
    name = ["q", "q", "v", "g", "a", "b", "state"][at]
    with pytest.raises(ValueError, match=f"dplr: {name} has shape"):
        _require_shapes(*given_)


def test_a_bonus_reads_the_present_token_and_the_state_those_before() -> None:
    one = torch.ones(3, 1, 1, 1)
    v = torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1)
    y, s = run_gla(one, one, v, 0 * one, bonus=torch.tensor([[7.0]]))
    assert y.flatten().tolist() == [7, 71, 711]
    assert s.item() == 111


def test_few_tokens_leave_the_storage_of_a_bonus_to_those_who_shard_it() -> None:
    *rows, bonus, s = CORES["gla with a bonus"].make(3, 1.0, draw_from(8))
    weight = torch.nn.Parameter(bonus)
    with torch.no_grad():
        run_gla(*rows, s, weight)
    assert weight.untyped_storage().resizable()


@pytest.mark.parametrize("tokens", [3, 40])
def test_values_of_another_precision_are_refused_by_torch(tokens: int) -> None:
    q, k, v, g, s = CORES["gla"].make(tokens, 1.0, draw_from(8))
    with pytest.raises(RuntimeError, match="type"):
        run_gla(q, k, v.float(), g, s)


@torch.no_grad()
def test_few_tokens_of_parameters_are_those_of_plain_tensors() -> None:
    given_ = CORES["delta"].make(3, 1.0, draw_from(8))
    learned = [torch.nn.Parameter(x) for x in given_]
    assert distance(list(run_delta(*learned)), list(run_delta(*given_))) == 0


@pytest.mark.parametrize("tokens", [1, 2, 3, 33])
def test_a_scan_by_doubling_is_one_by_loops(
    tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_ = CORES["scan"].make(tokens, 3.0, draw_from(8))
    want = run_with_gradients(run_scan_recurrence, given_)
    monkeypatch.setattr(scan, "can_read", lambda _: False)
    assert distance(run_with_gradients(run_scan, given_), want) < 1e-13


@pytest.mark.parametrize("name", ["scan", "gla", "delta"])
def test_two_threads_compute_what_one_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = CORES[name].make(35, 3.0, draw_from(8))
    want = run_with_gradients(CORES[name].fast, given_)
    monkeypatch.setattr("neuro.ops.threads.MIN_SHARED_VALUES", 0)
    torch.set_num_threads(2)
    assert distance(run_with_gradients(CORES[name].fast, given_), want) == 0


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        (0.0, [32, 35]),  # the sum after the first token of a chunk is 64
        (2**-46, [3, 32, 35]),
    ],
)
def test_a_chunk_ends_at_a_block_or_before_its_decay_is_too_strong(
    more: float, ends: list[int]
) -> None:
    g = torch.zeros(35, 1, 1, 2, dtype=torch.float64)
    g[0] = g[32] = -1000.0  # a chunk's first token decays the state only
    g[1, 0, 0, 1], g[3, 0, 0, 1] = -40.0, -24.0 - more
    sums, stops = torch.empty_like(g), torch.zeros(1, 1, 35, dtype=torch.int64)
    chunks.cut_chunks(0, 1, g.numpy(), sums.numpy(), stops.numpy())
    assert stops[stops > 0].tolist() == ends
    assert stops.nonzero()[:, 2].tolist() == [0, *ends[:-1]]
    assert sums[:, 0, 0, 0].tolist() == [0.0] * 35
    half = 32.0 if more == 0 else 20.0
    assert sums[:3, 0, 0, 1].tolist() == [half, half - 40, half - 40]
    assert sums[3:, 0, 0, 1].tolist() == [half - 64 if more == 0 else 0.0] * 29 + [0.0] * 3


@pytest.mark.parametrize("name", ["scan", "gla", "delta"])
def test_a_second_derivative_is_refused(name: str) -> None:
    leaves = [x.requires_grad_() for x in CORES[name].make(3, 1.0, draw_from(8))]
    y, _ = CORES[name].fast(*leaves)
    with pytest.raises(RuntimeError, match="no second derivative; drop create_graph"):
        torch.autograd.grad(y.sum(), leaves, create_graph=True)


def test_sixteen_bits_compute_in_thirty_two() -> None:
    for name in ("scan", "gla", "delta", "dplr", "kda"):
        core = CORES[name]
        given_ = tuple(x.bfloat16() for x in core.make(40, 0.1, draw_from(10)))
        y, state = core.fast(*given_)
        assert (y.dtype, state.dtype) == (torch.float32, torch.float32)
        want = core.fast(*(x.float() for x in given_))
        assert distance([y, state], list(want)) < 1e-6


@pytest.mark.parametrize("name", ["gla", "delta", "dplr"])
def test_autocast_does_not_shorten_the_recurrence(name: str) -> None:
    core = CORES[name]
    given_ = tuple(x.float() for x in core.make(40, 0.1, draw_from(11)))
    want = core.fast(*given_)
    with torch.autocast("cpu", torch.bfloat16):
        got = core.fast(*given_)
    assert distance(list(got), list(want)) == 0

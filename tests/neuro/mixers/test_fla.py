"""Cores say what the plain operators of flash-linear-attention say (package fla-core)."""

import pytest
import torch
from mixer_cases import CORES, draw_from
from torch import Tensor

from neuro.mixers import KimiDelta, RetNet
from neuro.mixers.delta import run_delta
from neuro.mixers.dplr import run_dplr, run_kda
from neuro.mixers.gla import run_gla
from neuro.mixers.scan import run_scan

pytest.importorskip("fla")
# On a CPU it warns of each accelerator and package that it does not find.
pytestmark = pytest.mark.filterwarnings("ignore")
TOKENS = 45


def given(core: str) -> list[Tensor]:
    return [x.float() for x in CORES[core].make(TOKENS, 1.0, draw_from(21))]


def by_batch(x: Tensor) -> Tensor:
    """Return time-first rows as B T H K."""
    return x.transpose(0, 1)


def by_head(x: Tensor) -> Tensor:
    """Return time-first rows as B H T K."""
    return x.movedim(0, 2)


def check(ours: tuple[Tensor, Tensor], y: Tensor, state: Tensor) -> None:
    torch.testing.assert_close(ours[0], y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[1], state, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_gla() -> None:
    from fla.ops.gla.naive import naive_recurrent_gla as theirs

    *rows, s = given("gla")
    y, end = theirs(*(by_batch(x) for x in rows), s, output_final_state=True)
    q, *rest = rows
    check(run_gla(q / 2, *rest, s), y.transpose(0, 1), end)  # theirs divides by sqrt K


@pytest.mark.slow
def test_rwkv6() -> None:
    from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6 as theirs

    *rows, u, s = given("gla with a bonus")
    tall = (by_head(x) for x in rows)
    y, end = theirs(*tall, u, scale=1.0, initial_state=s, output_final_state=True)
    check(run_gla(*rows, s, u), y.movedim(2, 0), end)


def test_delta() -> None:
    from fla.ops.delta_rule.naive import delta_rule_recurrence as theirs

    q, k, v, beta, _, s = given("delta")
    y, end = theirs(*(by_head(x) for x in (q, k, v, beta)), s)
    check(run_delta(q / 2, k, v, beta, state=s), y.movedim(2, 0), end)


def test_gated_delta() -> None:
    from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule as theirs

    *rows, s = given("delta")
    wide = (by_batch(x) for x in rows)
    y, end = theirs(*wide, scale=1.0, initial_state=s, output_final_state=True)
    check(run_delta(*rows, s), y.transpose(0, 1), end)


def test_kda() -> None:
    from fla.ops.kda.naive import naive_recurrent_kda as theirs

    q, k, v, beta, g, s = given("kda")
    y, end = theirs(*(by_batch(x) for x in (q, k, v, g, beta)), 1.0, s, output_final_state=True)
    check(run_kda(q, k, v, beta, g, s), y.transpose(0, 1), end)


def test_decays_of_kda() -> None:
    from fla.ops.kda.gate import naive_kda_gate as theirs

    mixer, x = KimiDelta(12, 3), draw_from(22)(5, 2, 12).float()
    rates = mixer.strength(x).unflatten(-1, (3, 4))
    want = theirs(rates, mixer.log_strength, mixer.dt)
    torch.testing.assert_close(mixer.log_decay(x), want, rtol=1e-5, atol=1e-7)


def test_dplr() -> None:
    from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence as theirs

    q, k, v, g, a, b, s = given("dplr")
    y, end = theirs(*(by_head(x) for x in (q, k, v, a, b, g)), s)
    check(run_dplr(q / 2, k, v, g, a, b, s), y.movedim(2, 0), end)


def test_hgrn() -> None:
    from fla.ops.hgrn.naive import naive_recurrent_hgrn as theirs

    f, i, h = (x.flatten(x.dim() - 2) for x in given("scan"))
    y, end = theirs(by_batch(i), by_batch(f.log()), h, output_final_state=True)
    check(run_scan(f, i, h), y.transpose(0, 1), end)


def test_retention() -> None:
    from fla.ops.retention.naive import naive_retention as theirs

    q, k, v, *_ = given("gla")
    g = RetNet(12, 3).log_decay(q).float()[:, None].expand(*q.shape[:3], 1)
    y = theirs(*(by_head(x) for x in (q, k, v)))
    ours, _ = run_gla(q / 2, k, v, g)
    torch.testing.assert_close(ours, y.movedim(2, 0), rtol=1e-4, atol=1e-5)

"""What is timed of a packed model, and what it is made of; no time is asserted."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from unpack import unpack_ternary

from neuro.nn.ternary import PackedLinear
from tasks.language.config import LanguageConfig
from tasks.language.cpu_speed import CODES, make_random, measure_speed

SMALL = LanguageConfig(stack="mlgru*2", width=20, hidden=24, linear="ternary", vocabulary=11)


class Recited(torch.nn.Module):
    """Writes 1, 2, 3 ... and notes what it was given; some of its tokens take long."""

    def __init__(self, seconds: Iterator[float]) -> None:
        super().__init__()
        self.seconds, self.now, self.given = seconds, 0.0, list[tuple[int, Any]]()

    def forward(self, tokens: torch.Tensor, state: Any) -> tuple[torch.Tensor, int]:
        self.given.append((int(tokens), state))
        self.now += next(self.seconds)
        logits = torch.zeros(1, 1, 99)
        logits[0, 0, int(tokens) + 1] = 1.0
        return logits, len(self.given)


def test_speed_is_that_of_the_median_token_behind_a_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Recited(iter([100.0, 0.5, 0.25, 7.0, 0.5, 0.125]))
    monkeypatch.setattr("time.thread_time", lambda: model.now)
    monkeypatch.setattr("time.perf_counter", lambda: 2 * model.now)
    assert measure_speed(model, 5) == (2.0, 1.0)
    assert model.given == [(0, None), *((k, k) for k in range(1, 6))]


def test_a_random_model_has_all_ternary_weights_alike_often() -> None:
    model = make_random(SMALL, seed=3)
    layers = [m for m in model.modules() if isinstance(m, PackedLinear)]
    assert len(layers) == 2 * 6 + 1
    most = max(layers, key=lambda m: m.packed.numel())
    found = unpack_ternary(most.packed.numpy(), 20)
    for weight in (-1, 0, 1):
        assert (found == weight).mean() == pytest.approx(1 / 3, abs=0.05)
    assert len(CODES) == 3**4
    logits, _ = model(torch.tensor([[3], [4]]))
    assert torch.isfinite(logits).all()
    assert logits.std() > 0
    assert torch.equal(make_random(SMALL, seed=3)(torch.tensor([[3], [4]]))[0], logits)
    assert not torch.equal(make_random(SMALL, seed=4)(torch.tensor([[3], [4]]))[0], logits)

"""Metrics of an executor's logits, compared with those of the trained model."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from drivers.text import HuggingFace, WorldTokenizer
from tasks.language import data
from tasks.language.config import LanguageConfig
from tasks.language.data import NOTHING, count_target_bytes
from tasks.language.deployment import Targets, measure, stimuli
from tasks.language.task import build

# Two streams of three tokens from a vocabulary of 2; the second ends before its last token.
FOLLOWING = torch.tensor([[0, 1, 1], [1, 0, NOTHING]])


def prefer(*tokens: int) -> Tensor:
    """Return logits for two streams of three: 1 for the given tokens, 0 for the others."""
    return torch.nn.functional.one_hot(torch.tensor(tokens).view(2, 3), 2).float()


def test_executors_are_measured_beside_the_trained_model_where_streams_have_tokens() -> None:
    trained, answers = prefer(0, 1, 0, 1, 0, 0), prefer(0, 1, 0, 0, 0, 1)
    answers[0, 0, 0] = 1.5
    answers[1, 2] = 9.0  # after the end, so it must not count
    found = measure(LanguageConfig(), answers.double(), Targets(FOLLOWING, trained))
    right, wrong, surer = (math.log2(1 + math.exp(-x)) for x in (1.0, -1.0, 1.5))
    assert found == {
        # Right at first and second, wrong at third and fourth, right at fifth.
        "bits_per_byte_of_first_tokens": pytest.approx((surer + 2 * right + 2 * wrong) / 5),
        "greedy_tokens_as_trained": 0.8,
        "mean_logit_difference": pytest.approx((0.5 + 1 + 1) / 10),
        "largest_logit_difference": 1.0,
    }


def test_bits_are_per_byte_of_tokens_that_have_several(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {bytes([b]): b + 1 for b in range(256)}
    monkeypatch.setattr(data, "find_tokenizer", lambda _: WorldTokenizer(plain | {b"and": 257}))
    # "and", "a", the end of a file, "and".
    tokens = torch.tensor([257, 98, 0, 257])
    assert count_target_bytes(LanguageConfig(), tokens) == 8
    even = torch.zeros(1, 4, 258)
    found = measure(LanguageConfig(), even, Targets(tokens[None], even))
    assert found["bits_per_byte_of_first_tokens"] == pytest.approx(4 * math.log2(258) / 8)


def test_tokens_of_characters_in_parts_do_not_tell_their_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Merged(HuggingFace):
        def __init__(self) -> None:
            self.size, self.end = 2, None

    monkeypatch.setattr(data, "find_tokenizer", lambda _: Merged())
    answers = prefer(0, 1, 1, 1, 0, 0)
    found = measure(LanguageConfig(), answers, Targets(FOLLOWING, answers))
    assert found["bits_per_token_of_first_tokens"] == pytest.approx(
        math.log2(1 + math.exp(-1.0))
    )
    assert "bits_per_byte_of_first_tokens" not in found
    assert found["greedy_tokens_as_trained"] == 1


def test_stimuli_bring_the_logits_of_the_model_along(tmp_path: Path) -> None:
    (text := tmp_path / "a.txt").write_bytes(b"one and two is three\n" * 200)
    config = LanguageConfig(
        stack="mlgru", width=8, hidden=8, linear="spiking", text=str(text), tokens=9, lanes=2
    )
    model = build(config)
    (some,) = stimuli(config, model, "test")
    assert some.inputs["embedded"].shape == (9, 2, 8)
    tokens = some.targets.following.T
    begun = torch.cat([torch.zeros(1, 2, dtype=torch.int64), tokens[:-1]])
    expected, _ = model(begun)
    torch.testing.assert_close(some.targets.logits, expected.detach().swapaxes(0, 1))
    assert not some.targets.logits.requires_grad

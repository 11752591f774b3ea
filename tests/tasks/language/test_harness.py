"""Scores for the harness lm-eval: log-probabilities by hand, and answers up to a stop."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from neuro.base.seeds import seeded
from tasks.language import harness
from tasks.language.config import LanguageConfig
from tasks.language.harness import Scorer, load_harness_model
from tasks.language.task import build


def make_scorer(stack: str = "mlgru*2", tokens: int = 4) -> Scorer:
    config = LanguageConfig(stack=stack, width=8, hidden=12, heads=2, tokens=tokens, lanes=3)
    with seeded(5):
        model = build(config)
        torch.nn.init.normal_(model.head.weight)
    return Scorer(model.eval(), config)


def ask(*texts: Any) -> list[Any]:
    return [SimpleNamespace(args=own) for own in texts]


@torch.no_grad()
def find_rows(scorer: Scorer, text: bytes) -> torch.Tensor:
    """Return the log-probabilities after the beginning and after each byte."""
    logits, _ = scorer.model(torch.tensor([0, *text])[:, None])
    return logits[:, 0].double().log_softmax(-1)


@pytest.mark.parametrize(("stack", "tokens"), [("mlgru*2", 4), ("softmax", 16)])
def test_a_continuation_is_scored_after_its_context(stack: str, tokens: int) -> None:
    scorer = make_scorer(stack, tokens)
    text = b"one two three"
    rows = find_rows(scorer, text)
    each = [float(rows[n, byte]) for n, byte in enumerate(text)]
    got = scorer.loglikelihood(
        ask(("one two", " three"), ("one two ", "three"), ("", "one two three"))
    )
    assert got[0][0] == pytest.approx(sum(each[7:]), rel=1e-6)
    assert got[1] == got[0]  # the blank belongs to the continuation
    assert got[2][0] == pytest.approx(sum(each), rel=1e-6)
    rolling = scorer.loglikelihood_rolling(ask(("one two three",), ("one",)))
    assert rolling == pytest.approx([sum(each), sum(each[:3])], rel=1e-6)


def test_only_the_likeliest_continuation_is_greedy() -> None:
    scorer = make_scorer()
    likeliest = int(find_rows(scorer, b"ab")[-1].argmax())
    after = int(find_rows(scorer, bytes([*b"ab", likeliest]))[-1].argmax())
    best, worse = [likeliest, after], [likeliest, (after + 1) % 256]
    assert scorer.score(list(b"ab"), best)[1]
    assert not scorer.score(list(b"ab"), worse)[1]
    assert not scorer.score(list(b"ab"), [(likeliest + 1) % 256, after])[1]


def test_tokens_that_the_tokenizer_lacks_are_never_likeliest() -> None:
    scorer = make_scorer()
    scorer.model.head = torch.nn.Linear(8, 300, bias=False)
    torch.nn.init.zeros_(scorer.model.head.weight)
    with torch.no_grad():
        scorer.model.head.weight[299] = scorer.model.norm.weight
    scorer.model.vocabulary = 300
    assert scorer.score([65], [0])[1]  # all bytes are equal, and the first one is taken


def test_answers_end_before_the_first_stop_or_after_the_most_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heats = []

    def write(_: Any, __: Any, prompt: bytes, heat: float) -> Any:
        assert prompt == b"Q:"
        heats.append(heat)
        yield from (b"ab", b"c\n", b"d", b"Q", b":e")

    monkeypatch.setattr(harness, "generate", write)
    scorer = make_scorer()
    asked = ask(
        ("Q:", {"until": ["Q:", "d"]}),
        ("Q:", {"until": "Q:", "max_gen_toks": 9, "do_sample": True, "temperature": 0.5}),
        ("Q:", {"max_gen_toks": 2, "temperature": 0.5}),
        ("Q:", {"until": [], "do_sample": False}),
    )
    assert scorer.generate_until(asked) == ["abc\n", "abc\nd", "abc\n", "abc\ndQ:e"]
    assert heats == [0.0, 0.5, 0.0, 0.0]


def test_a_run_becomes_a_model_of_the_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    class LM:
        def __init__(self) -> None:
            self.began = True

    monkeypatch.setitem(sys.modules, "lm_eval", ModuleType("lm_eval"))
    monkeypatch.setitem(sys.modules, "lm_eval.api", ModuleType("lm_eval.api"))
    fake: Any = ModuleType("lm_eval.api.model")
    fake.LM = LM
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", fake)
    made = make_scorer()
    monkeypatch.setattr(harness, "load_writer", lambda _: (made.model, made.settings))
    model = load_harness_model(Path("run"))
    assert isinstance(model, LM)
    assert model.began
    assert model.loglikelihood(ask(("a", "b"))) == made.loglikelihood(ask(("a", "b")))
    assert replace(model.settings) == made.settings

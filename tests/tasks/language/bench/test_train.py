"""A cell is trained and measured once; what is known is not trained again."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from tasks.bench.results import make_key
from tasks.language.bench import train
from tasks.language.bench.cells import FULL, QUICK, VARIANTS, HybridCell, Scale, make_config
from tasks.language.bench.train import (
    FILE,
    SECONDS,
    TEST,
    VALIDATION,
    build,
    describe,
    draw_batches,
    estimate_seconds,
    list_missing,
    measure,
    train_all,
    train_cell,
)
from tasks.language.data import NOTHING
from tasks.language.recall import TASKS, RecallSizes

SMALL = replace(QUICK, layers=2, softmax=(0, 1), seeds=(0, 1))
RECALL = HybridCell(task="MQAR", variant="hgrn", softmax=1, seed=0)
TEXT = replace(RECALL, task="text")


class Knows(nn.Module):
    """Answers a share of the questions of sequences that it was told."""

    def __init__(self, scale: Scale, seed: int, right: dict[str, int]) -> None:
        super().__init__()
        self.told = {}
        for name, draw in TASKS.items():
            x, y = draw(np.random.default_rng(seed), scale.sizes, scale.tested)
            due = np.flatnonzero(y.ravel() != NOTHING)
            y.ravel()[due[right[name] :]] = 0  # FILLER is no answer
            self.told[x.tobytes()] = torch.from_numpy(np.maximum(y, 0))
        self.vocabulary = scale.sizes.vocabulary

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        answers = self.told[x.numpy().tobytes()]
        return nn.functional.one_hot(answers, self.vocabulary).float(), None


def test_the_share_of_right_answers_is_that_of_questions_alone() -> None:
    # 10 samples of 4 pairs, 2 needles and 4 variables.
    right = {"MQAR": 30, "needles": 5, "tracking": 40}
    told = {"MQAR": 30 / 40, "needles": 5 / 20, "tracking": 1.0}
    for task, share in told.items():
        cell = replace(RECALL, task=task)
        assert measure(Knows(SMALL, TEST, right), cell, SMALL, "test") == share
        assert measure(Knows(SMALL, VALIDATION, right), cell, SMALL, "val") == share
    with pytest.raises(KeyError):
        measure(Knows(SMALL, VALIDATION, right), RECALL, SMALL, "test")


@pytest.mark.parametrize("variant", ["hgrn", "deltanet", "gdn", "softmax"])
def test_every_mixer_sees_the_tokens_before_it_once(variant: str) -> None:
    softmax = SMALL.layers if variant == "softmax" else 0
    with seeded(0):
        model = build(make_config(replace(RECALL, variant=variant, softmax=softmax), SMALL))
    own = [name for name, _ in model.named_parameters() if name.endswith("conv.weight")]
    assert len(own) == SMALL.layers


def test_the_page_tells_how_large_stacks_and_their_memories_are() -> None:
    page = (Path(__file__).parents[4] / "docs" / "hybrids.md").read_text()
    names, sizes, memories = (
        next(line for line in page.splitlines() if line.startswith(f"| {start}"))
        for start in ("| HGRN", "parameters of a pure", "numbers that a layer")
    )
    told = {
        name.strip(): (size.strip(), memory.strip())
        for name, size, memory in zip(
            *(line.split("|")[2:-1] for line in (names, sizes, memories)), strict=True
        )
    }
    for variant, name in VARIANTS.items():
        model = build(
            make_config(HybridCell(task="MQAR", variant=variant, softmax=0, seed=0), FULL)
        )
        mixer: Any = model.blocks[0].mixer
        size = sum(p.numel() for p in model.parameters())
        assert told[name] == (f"{size:,}", f"{mixer.state_size():,}")


def test_mixers_are_silent_at_first() -> None:
    with seeded(0):
        model = build(make_config(replace(RECALL, variant="gdn"), SMALL))
    x = torch.randint(model.vocabulary, (9, 5))
    other = torch.cat([torch.zeros_like(x[:-1]), x[-1:]])
    torch.testing.assert_close(model(x)[0][-1], model(other)[0][-1])
    assert 0.9 < float(model.embedding.weight.detach().std()) < 1.1


def test_a_model_begins_anew_with_each_batch() -> None:
    config = make_config(TEXT, SMALL)
    model = build(config)
    for block in model.blocks:
        nn.init.xavier_uniform_(block.mixer.output.weight)  # not silent any more
    x = torch.arange(24).reshape(12, 2)
    whole, state = model(x)
    for parts in (model(x), model(x, None)):
        torch.testing.assert_close(parts[0], whole, rtol=0, atol=0)
    assert not config.carries
    changed = x.clone()
    changed[-1] = 0
    torch.testing.assert_close(model(changed)[0][:-1], whole[:-1], rtol=0, atol=0)  # causal
    assert state is not None


def test_batches_depend_on_the_seed_and_the_step_alone() -> None:
    ours = list(draw_batches(RECALL, SMALL))
    assert len(ours) == SMALL.steps
    others = list(draw_batches(replace(RECALL, variant="gla", softmax=0), SMALL))
    for (x, y), (x2, y2) in zip(ours, others, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    assert not torch.equal(ours[0][0], ours[1][0])
    assert not torch.equal(ours[0][0], next(draw_batches(replace(RECALL, seed=1), SMALL))[0])


def test_a_training_comes_out_the_same_again() -> None:
    scale = replace(SMALL, steps=40, samples=12, lr=2e-2, tested=50)
    cell = replace(RECALL, task="tracking", softmax=0)
    found = [train_cell(cell, scale) for _ in range(2)]
    assert found[0].pop(SECONDS) > 0
    found[1].pop(SECONDS)
    assert found[0] == found[1]
    assert found[0]["tracking"] > 0.1  # that answers are values, of which there are eight


def test_a_hybrid_learns_to_recall() -> None:
    sizes = RecallSizes(tokens=12, keys=8, values=8, pairs=3, needles=2, chains=2, hops=0)
    scale = replace(SMALL, sizes=sizes, width=32, hidden=32, samples=32, lr=1e-2, tested=100)
    found = train_cell(replace(RECALL, variant="deltanet"), replace(scale, steps=200))
    assert found["MQAR"] > 0.6  # 0.97; who guesses among the values of a sample has 0.33


def test_text_is_measured_in_bits_per_byte() -> None:
    found = train_cell(TEXT, SMALL)
    assert set(found) == {"text", SECONDS}
    assert 7 < found["text"] < 8.1  # after three steps


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[HybridCell]:
    """Let trainings take no time; return what was trained."""
    found: list[HybridCell] = []

    def pretend(cell: HybridCell, scale: object) -> dict[str, float]:  # noqa: ARG001
        if len(found) == 5 and cell.seed == 0:
            raise KeyboardInterrupt
        found.append(cell)
        return {cell.task: cell.softmax + 10.0 * cell.seed, SECONDS: 1.0}

    monkeypatch.setattr(train, "train_cell", pretend)
    return found


def test_a_killed_bench_goes_on_with_the_cell_that_was_lost(
    tmp_path: Path, trained: list[HybridCell]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_all("recall", SMALL, tmp_path, 1)
    assert len(trained) == 5
    assert len((tmp_path / FILE).read_text().splitlines()) == 5
    assert len(list_missing("recall", SMALL, tmp_path)) == 3 * 2 * 13 - 5
    trained.append(TEXT)  # so that it is not interrupted once more
    found = train_all("recall", SMALL, tmp_path, 1)
    assert len(trained) == 78 + 1
    assert list_missing("recall", SMALL, tmp_path) == []
    assert len(list_missing("text", SMALL, tmp_path)) == 26
    assert found["softmax", 2]["MQAR"] == [2.0, 12.0]
    own = {name: [1.0, 11.0] for name in TASKS} | {SECONDS: [1.0] * 6}
    assert found["gdn", 1] == own
    assert train_all("recall", SMALL, tmp_path, 1) == found
    assert len(trained) == 79
    line = json.loads((tmp_path / FILE).read_text().splitlines()[0])
    assert (line["variant"], line["softmax"], line["seed"]) == ("softmax", 2, 0)


def test_the_key_of_a_cell_changes_with_cell_and_scale() -> None:
    keys = {
        make_key(asdict(cell) | describe(scale))
        for cell in (RECALL, TEXT, replace(RECALL, seed=1), replace(RECALL, task="needles"))
        for scale in (SMALL, replace(SMALL, lr=1.0))
    }
    assert len(keys) == 8


def test_the_time_is_that_of_steps_of_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"softmax": 0.4, "gla": 0.1, "hgrn": 0.01}
    timed = []

    def pretend(cell: HybridCell, scale: object) -> float:  # noqa: ARG001
        timed.append(cell)
        return seconds[cell.variant] * (2 if cell.task == "text" else 1)

    monkeypatch.setattr(train, "time_step", pretend)
    scale = replace(SMALL, steps=100, text_steps=10)
    cells = [
        replace(RECALL, variant="gla", softmax=0),
        replace(RECALL, task="tracking", variant="gla", softmax=1),
        replace(TEXT, variant="hgrn", softmax=0),
    ]
    recall, text = 100 * (1.5 * 0.1 + 0.5 * 0.4), 10 * 0.01 * 2
    assert estimate_seconds(cells, scale) == pytest.approx(recall + text)
    assert [(c.task, c.variant, c.softmax) for c in timed] == [
        ("MQAR", "softmax", 2),
        ("MQAR", "gla", 0),
        ("text", "hgrn", 0),
    ]
    assert estimate_seconds([], scale) == 0


def test_a_step_is_timed() -> None:
    assert 0 < train.time_step(RECALL, SMALL) < 60

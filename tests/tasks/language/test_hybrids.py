"""The task of hybrids: its sequences, models, trainings and metrics."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.io.run_folder import RunError
from neuro.training.checkpoint import load_checkpoint
from tasks.bench.experiment import train_as_task
from tasks.language.bench_hybrids import VARIANTS
from tasks.language.data import NOTHING
from tasks.language.hybrids import (
    TASK,
    TEST,
    VALIDATION,
    HybridConfig,
    answer_questions,
    batches,
    build,
    measure_answers,
    recall,
    text,
)
from tasks.language.recall import TASKS, RecallSizes
from tasks.language.writer import require_text_run
from tasks.measures.train import evaluate_run
from tasks.runs.find import make_run
from tasks.runs.trained_run import load_trained_model

SIZES = RecallSizes(tokens=20, keys=8, values=8, pairs=4, needles=2, chains=2, hops=1)
SMALL = replace(
    recall(),
    **{"stack": "hgrn*1+softmax", "width": 16, "hidden": 16, "vocabulary": 20, "tokens": 20},
    **{"sizes": SIZES, "lanes": 6, "steps": 3, "tested": 10},
)
SMALL_TEXT = replace(
    text(),
    **{"stack": SMALL.stack, "width": 16, "hidden": 16, "tokens": 16, "lanes": 4, "steps": 3},
    held_out=2000,
)


class Knows(nn.Module):
    """A model that knows the answers to a share of the questions of given sequences."""

    def __init__(self, seed: int, right: dict[str, int]) -> None:
        super().__init__()
        self.told = {}
        for name, draw in TASKS.items():
            x, y = draw(np.random.default_rng(seed), SIZES, SMALL.tested)
            due = np.flatnonzero(y.ravel() != NOTHING)
            y.ravel()[due[right[name] :]] = 0  # FILLER is a wrong answer
            self.told[x.tobytes()] = torch.from_numpy(np.maximum(y, 0))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        answers = self.told[x.numpy().tobytes()]
        return 40 * nn.functional.one_hot(answers, SIZES.vocabulary).float(), None


def test_the_share_of_right_answers_is_that_of_questions_alone() -> None:
    # 10 samples of 4 pairs, 2 needles and 4 variables; a wrong answer costs 40 nat.
    right = {"MQAR": (30, 40), "needles": (5, 20), "tracking": (40, 40)}
    known = {name: count for name, (count, _) in right.items()}
    for task, (count, due) in right.items():
        config = replace(SMALL, task=task)
        bits = pytest.approx(40 / np.log(2) * (1 - count / due), abs=1e-9)
        expected = (count / due, bits, due)
        assert measure_answers(config, Knows(TEST, known), "test") == expected
        assert measure_answers(config, Knows(VALIDATION, known), "val") == expected
    with pytest.raises(KeyError):
        measure_answers(SMALL, Knows(VALIDATION, known), "test")


def test_an_example_shows_the_first_sequence_in_words() -> None:
    x, y = TASKS["needles"](np.random.default_rng(TEST), SIZES, SMALL.tested)
    due = y[:, 0] != NOTHING
    words = [*".?!=", *(f"k{k}" for k in range(1, 9)), *(f"v{k}" for k in range(1, 9))]
    model = Knows(TEST, {name: 100 for name in TASKS})
    model.told = {x[:, :1].tobytes(): torch.from_numpy(np.maximum(y[:, :1], 0) // 2)}
    table = answer_questions(replace(SMALL, task="needles"), model)
    assert table.example
    assert [row[1].split() for row in table.rows] == [
        [words[token] for token in x[:, 0]],
        [words[token] for token in y[due, 0]],
        [words[token // 2] for token in y[due, 0]],
    ]


@pytest.mark.parametrize("variant", ["hgrn", "deltanet", "gdn", "softmax"])
def test_every_mixer_sees_the_tokens_before_it_once(variant: str) -> None:
    with seeded(0):
        model = build(replace(SMALL, stack=f"{variant}*2"))
    own = [name for name, _ in model.named_parameters() if name.endswith("conv.weight")]
    assert len(own) == 2


def test_the_page_tells_how_large_stacks_and_their_memories_are() -> None:
    page = (Path(__file__).parents[3] / "docs" / "hybrids.md").read_text()
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
        model = build(replace(recall(), stack=f"{variant}*8"))
        mixer: Any = model.blocks[0].mixer
        size = sum(p.numel() for p in model.parameters())
        assert told[name] == (f"{size:,}", f"{mixer.state_size():,}")


def test_mixers_are_silent_at_first() -> None:
    with seeded(0):
        model = build(replace(SMALL, stack="gdn*1+softmax"))
    x = torch.randint(model.vocabulary, (9, 5))
    other = torch.cat([torch.zeros_like(x[:-1]), x[-1:]])
    torch.testing.assert_close(model(x)[0][-1], model(other)[0][-1])
    assert 0.9 < float(model.embedding.weight.detach().std()) < 1.1


def test_a_model_begins_anew_with_each_batch() -> None:
    model = build(replace(SMALL_TEXT, stack="hgrn*2"))
    for block in model.blocks:
        nn.init.xavier_uniform_(block.mixer.output.weight)  # not silent any more
    x = torch.arange(24).reshape(12, 2)
    whole, state = model(x)
    torch.testing.assert_close(model(x, None)[0], whole, rtol=0, atol=0)
    assert not replace(SMALL_TEXT, stack="hgrn*2").carries
    changed = x.clone()
    changed[-1] = 0
    torch.testing.assert_close(model(changed)[0][:-1], whole[:-1], rtol=0, atol=0)  # causal
    assert state is not None


def test_batches_depend_on_the_seed_of_the_data_and_the_step_alone() -> None:
    def draw(config: HybridConfig, epoch: int = 0) -> list[bytes]:
        return [
            b"".join(t.numpy().tobytes() for t in b) for b in batches(config, "train", epoch)
        ]

    ours = draw(SMALL)
    assert len({*ours}) == SMALL.steps == TASK.training.steps(SMALL) == 3
    assert draw(replace(SMALL, stack="gla*2")) == ours
    assert draw(replace(SMALL, seed_of_data=1))[0] not in ours
    two = replace(SMALL, steps=4, validations=2)
    assert [*draw(two), *draw(two, 1)][:3] == ours
    assert draw(replace(SMALL_TEXT, seed_of_data=1)) == draw(SMALL_TEXT)


@pytest.mark.slow
def test_a_hybrid_learns_to_recall_and_its_last_weights_are_measured(tmp_path: Path) -> None:
    sizes = RecallSizes(tokens=12, keys=8, values=8, pairs=3, needles=2, chains=2, hops=0)
    config = replace(
        SMALL,
        **{"stack": "deltanet*1+softmax", "width": 32, "hidden": 32, "lanes": 32},
        **{"sizes": sizes, "tokens": 12, "lr": 1e-2, "steps": 200, "tested": 100},
    )
    run = replace(make_run("hybrids:recall", tmp_path / "run"), config=config)
    assert not train_as_task(run)
    found = evaluate_run(run)
    assert found["accuracy"] > 0.6  # 0.97; guesses among the values of a sample reach 0.33
    assert (found["n"], found["counted"]) == (300, "answers")
    guess = {"accuracy": 1 / 3, "bits": np.log2(3)}
    assert found["beside"] == {"a guess among the 3 values of the sequence": guess}
    last = load_checkpoint(run.folder)
    assert last is not None
    for name, value in load_trained_model(run).state_dict().items():
        assert torch.equal(value, last.weights[name])


def test_text_is_measured_in_bits_per_byte_and_no_chip_runs_a_stack(
    tmp_path: Path, cli: CommandLine
) -> None:
    run = replace(make_run("hybrids:text", tmp_path / "run"), config=SMALL_TEXT)
    train_as_task(run)
    assert 7 < evaluate_run(run)["bits_per_byte"] < 8.1  # after three steps
    assert "stacks of hybrids stay on torch" in cli.refuse("verify", run.folder)


def test_a_model_of_another_vocabulary_or_length_is_refused() -> None:
    for change in ({"vocabulary": 21}, {"tokens": 21}):
        with pytest.raises(ValueError, match="sizes have 20 and 20: set both alike"):
            build(replace(SMALL, **change))


@pytest.mark.parametrize(("name", "kept"), [("hybrids:text", False), ("language:tiny", True)])
def test_no_text_is_written_without_the_tokens_that_convolutions_read(
    name: str, kept: bool, tmp_path: Path
) -> None:
    run = make_run(name, tmp_path / "run", pin=False)
    if kept:
        assert require_text_run(run) == run.config
        return
    with pytest.raises(RunError, match=r"run is a run of hybrids: .*give a run of language"):
        require_text_run(run)

"""The task under its verbs, on puzzles and on files; refusals before a training."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from toy_puzzles import GRAPHS, write_gsm8k, write_implicit, write_prosqa

from neuro.base.seeds import seeded
from tasks.cli import main
from tasks.reasoning.answer import answer_split
from tasks.reasoning.batches import batches
from tasks.reasoning.config import Arm, ReasoningConfig
from tasks.reasoning.data import ReasoningData, count_context, list_item_problems, load
from tasks.reasoning.decode_thoughts import read_thoughts
from tasks.reasoning.evaluate import measure_baselines
from tasks.reasoning.items import END, EncodedItem
from tasks.reasoning.model import build
from tasks.reasoning.task import TASK, make_plan
from tasks.runs.find import open_folder
from tasks.runs.names import UnknownName
from tasks.runs.trained_run import load_trained_model

GRAPH_FLAGS = ("puzzle=reachability", "size=0", "stack=softmax*2")
SMALL = ("train=60", "val=6", "test=10", "batch=20", "width=16", "hidden=16", "stages=2")
SHORT = ("epochs=3", "first_epochs=1", "stage_epochs=1")


def flags(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.slow
def test_train_and_eval_of_thoughts(tmp_path: Path, cli: CommandLine) -> None:
    folder = tmp_path / "run"
    main(
        ["train", "reasoning:tiny", "--out", str(folder), *flags(*GRAPH_FLAGS, *SMALL, *SHORT)]
    )
    told = cli.run("eval", folder)
    found = json.loads((folder / "eval.json").read_text())
    assert "said words" in told
    assert found["n"] == 10
    assert found["network_calls"] == pytest.approx(found["said_words"] + 2)
    example, steps, stops, decoded = found["tables"]
    run = open_folder(folder)
    data, model = load(run.config), load_trained_model(run)
    item = data.items["test"][0]
    said = answer_split(run.config, model, "test")[0]
    thoughts = read_thoughts(run.config, model, [item])[1:, 0].tolist()
    names = {tuple(row[:1]): row[1].split() for row in example["rows"]}
    assert names["true answer",] == [data.words[k] for k in item.answer]
    verdict = "right" if said.right else "wrong"
    assert names[f"answer ({verdict})",] == [data.words[k] for k in said.answer]
    assert example["caption"].startswith("The question lists the edges of a graph as pairs")
    assert example["caption"].endswith(
        "Decoded: the word that the hidden state of a thought stands for."
    )
    assert [names[f"thought {k}, decoded",] for k in (1, 2)] == [
        [data.words[k]] for k in thoughts
    ]
    assert names["question",] + names["",] == [data.words[k] for k in item.question]
    assert [row[0] for row in steps["rows"]] == ["2", "3", "4"]
    assert sum(row[1] for row in steps["rows"]) == 10
    assert [row[0] for row in stops["rows"]] == ["0", "1", "2"]
    assert decoded["head"] == ["hidden state", *(f"step {k}" for k in range(1, 5)), "answer"]
    assert len(decoded["rows"]) == 3
    assert [picture["file"] for picture in found["pictures"]] == ["thoughts.png"]
    assert "stays on torch" in cli.refuse("verify", folder)
    cli.run("report", folder)
    assert "Stopped early" in (folder / "report.html").read_text()


@pytest.mark.parametrize("write", [write_prosqa, write_gsm8k, write_implicit])
def test_files_of_published_layouts_are_trained_on(
    tmp_path: Path, write: object, cli: CommandLine
) -> None:
    write(tmp_path / "data" if write is write_prosqa else tmp_path, 12)  # type: ignore[operator]
    data = tmp_path / "data" if write is write_prosqa else tmp_path
    own = flags(
        f"data={data}", "train=0", "val=0", "test=0", "arm=codi", *SMALL[3:], "epochs=1"
    )
    main(["train", "reasoning:tiny", "--out", str(tmp_path / "run"), *own])
    assert "accuracy" in cli.run("eval", tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["config"]["data_digest"]) == 64
    first = next(data.glob("*train*"))
    first.write_text(first.read_text() + " ")
    assert "the files have changed since the training began" in cli.refuse(
        "eval", tmp_path / "run"
    )


@pytest.mark.parametrize("arm", ["coconut", "codi"])
def test_a_dry_run_needs_no_training(tmp_path: Path, cli: CommandLine, arm: str) -> None:
    told = cli.run(
        *("train", "reasoning:tiny", "--dry-run", "--out", tmp_path / "run"),
        *flags(*SMALL, *SHORT, f"arm={arm}"),
    )
    assert "parameters" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_counts_a_sampled_depth_where_autograd_keeps_most(
    tmp_path: Path, cli: CommandLine
) -> None:
    def measure(*settings: str) -> str:
        return cli.run(
            *("train", "reasoning:tiny", "--dry-run", "--out", tmp_path / "run"),
            *flags(*SMALL, *SHORT, "arm=none", *settings),
        )

    told = measure("depth=2", "depth_sampling=poisson", "gradient_depth=5")
    assert told == measure("depth=5")
    assert "not estimated" not in told
    assert told != measure("depth=2")


def test_all_that_does_not_hold_together_is_refused_at_once(
    tmp_path: Path, cli: CommandLine
) -> None:
    told = cli.refuse(
        *("train", "reasoning:tiny", "--out", tmp_path / "run"),
        *flags("epochs=2", "val=0", "mask_question=true"),
    )
    for line in ("epochs is 2", "val is 0; it must be >= 1", "mask_question is True"):
        assert line in told
    assert "no puzzle 'sudoko'; did you mean 'sudoku'" in cli.refuse(
        "train", "reasoning:tiny", "--out", tmp_path / "run", *flags("puzzle=sudoko")
    )
    with pytest.raises(UnknownName):
        build(replace(GRAPHS, puzzle="sudoko"))


def test_items_without_steps_are_refused_where_an_arm_learns_from_them() -> None:
    config = replace(GRAPHS, puzzle="reversal", train=100, val=10, test=10)
    with pytest.raises(
        ValueError, match=r"100 of 100 training items have no steps \(items 0, 1"
    ):
        load(config)
    assert len(load(replace(config, arm="none")).items["train"]) == 100


def test_more_latents_than_context_are_refused() -> None:
    def problems(limit: int, **change: int) -> list[str]:
        config = replace(GRAPHS, limit=limit, **change)  # type: ignore[arg-type]
        return list_item_problems(config, load(GRAPHS))

    # 33 words of a question, BEGIN; a thought or a word for each of 4 steps; SPEAK, ANSWER, a
    # word, END; for an answer 2 words more, the last of which is not read
    assert problems(34 + 4 + 4 + 1) == []
    assert problems(42) == [
        "limit is 42, and an item takes up to 43 tokens; give a larger limit"
    ]
    assert problems(37)[0].startswith("4 latents (latents x stages) do not fit the context")
    assert problems(60, latents=100)[0].startswith("400 latents")


@pytest.mark.parametrize(
    ("arm", "tokens"),
    [
        ("none", 34 + 2 + 4 - 1),
        ("cot", 34 + 1 + 4 + 1 + 4 - 1),
        ("icot", 34 + 4 + 4),  # in training, with all steps
        ("pause", 34 + 4 + 2 + 4 - 1),
        ("codi", 34 + 4 + 2 + 4 - 1),
    ],
)
def test_the_context_of_an_arm_is_counted_exactly(arm: Arm, tokens: int) -> None:
    config = replace(GRAPHS, arm=arm)
    assert count_context(config, load(config)) == tokens
    with seeded(0):
        model = build(replace(config, limit=tokens))
    answer_split(config, model, "test")
    for epoch in range(config.epochs):
        TASK.training.loss(config, model, next(iter(batches(config, "train", epoch))), 0.0)
    model = build(replace(config, limit=tokens - 1))
    model.head.weight.data.zero_()  # it only says PAD
    with pytest.raises(ValueError, match=f"exceed the limit of {tokens - 1}"):  # noqa: PT012
        answer_split(config, model, "test")
        TASK.training.loss(config, model, next(iter(batches(config, "train", 0))), 0.0)


def test_a_question_in_two_splits_and_a_small_vocabulary_are_refused() -> None:
    data = load(replace(GRAPHS, train=20, val=4, test=4))
    items = {**data.items, "test": (data.items["train"][3],)}
    doubled = ReasoningData(data.words, items)  # type: ignore[arg-type]
    (told,) = list_item_problems(GRAPHS, doubled)
    assert told.startswith("1 questions stand in more than one split, such as '")
    (small,) = list_item_problems(replace(GRAPHS, vocabulary=7), data)
    assert small == f"vocabulary is 7, and the items have {len(data.words)} words; give at " + (
        "least so many, or 0"
    )
    assert build(replace(GRAPHS, vocabulary=40)).embedding.num_embeddings == 40


@pytest.mark.parametrize("arm", ["none", "cot", "icot", "coconut", "pause", "codi"])
def test_every_arm_learns(arm: str) -> None:
    """On sums of two digits the loss of an arm falls, and its model says whole answers."""
    config = ReasoningConfig(
        arm=arm,  # type: ignore[arg-type]
        puzzle="addition",
        size=2,
        width=16,
        hidden=32,
        heads=2,
        train=60,
        val=4,
        test=4,
        batch=20,
        stages=1,
        first_epochs=1,
        epochs=4,
        lr=1e-2,
    )
    with seeded(0):
        model = build(config)
    optimizer = make_plan(config).build_optimizer(model)
    losses = []
    for epoch in range(config.epochs):
        for batch in TASK.training.batches(config, "train", epoch):
            loss = TASK.training.loss(config, model, batch, 0.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert END in (model.head(model(*_as_call(batch))[0].hidden)[-2]).argmax(-1)


def _as_call(batch: object) -> tuple[torch.Tensor, int, torch.Tensor]:
    question, thoughts, said, _ = batch  # type: ignore[misc]
    return question, len(thoughts), said


def test_training_is_over_the_axis_of_samples_and_a_seed_changes_weights_alone() -> None:
    training = TASK.training
    config = replace(GRAPHS, train=40)
    first, again, other = (next(iter(training.batches(config, "train", e))) for e in (0, 0, 1))
    assert torch.equal(first.question, again.question)
    assert not torch.equal(first.question, other.question)
    assert sum(1 for _ in training.batches(config, "train", 0)) == training.steps(config) == 1
    assert first.question.shape[training.batch_axis] == 40


def test_the_best_fixed_answer_and_the_best_place_of_the_question_by_hand() -> None:
    def items(*rows: tuple[tuple[int, ...], int]) -> tuple[EncodedItem, ...]:
        return tuple(EncodedItem(question, (), (answer,)) for question, answer in rows)

    train = items(((9, 7, 8), 7), ((7, 6, 8, 5), 8), ((8, 7, 9), 7), ((7, 8, 5), 7))
    test = items(((6, 5, 4), 5), ((4, 7, 6), 7), ((8, 9, 7), 7), ((9, 4, 8), 7))
    assert measure_baselines(ReasoningData((), {"train": train, "test": test})) == {
        "the most frequent answer": {"accuracy": 0.75},
        "copying word 2 of the question, counted from its end": {"accuracy": 0.5},
    }


def test_fewer_words_calls_iterations_and_less_difference_are_better() -> None:
    assert {m.name for m in TASK.evaluation.metrics if m.better == "lower"} == {
        *("said_words", "network_calls", "core_iterations", "largest_logit_difference")
    }

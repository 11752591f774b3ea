"""``attribution`` from the command line: training, evaluation, report; what is refused."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from safetensors.torch import load_file
from small_attribution import small_attribution

from neuro.base.seeds import seeded
from neuro.io.run_folder import Run
from tasks.attribution.answers import Answer, answer_by_chains, answer_by_probe, measure_gap
from tasks.attribution.config import Arm, tiny
from tasks.attribution.documents import Documents, Part, find_authors, load
from tasks.attribution.evaluate import evaluate, measure_answers, tabulate_example
from tasks.attribution.model import build
from tasks.attribution.task import TASK
from tasks.attribution.training import batches, count_steps, train_lm
from tasks.cli import main

OF_TEST: tuple[Part, ...] = ("test", "composed")


def flags(**change: object) -> list[str]:
    default, own = tiny(), small_attribution()
    small = {
        f.name: value
        for f in fields(own)
        if (value := getattr(own, f.name)) != getattr(default, f.name)
    }
    return [w for k, v in {**small, **change}.items() for w in ("--set", f"{k}={v}")]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run of arm "lm"."""
    folder = tmp_path_factory.mktemp("runs") / "lm"
    main(["train", "attribution:tiny", "--out", str(folder), *flags(arm="lm")])
    return folder


@pytest.mark.slow
def test_a_language_model_is_measured_and_is_that_of_a_probe(
    lm: Path, cli: CommandLine
) -> None:
    assert "gap closed" in cli.run("eval", lm)
    found = json.loads((lm / "eval.json").read_text())
    assert 0.5 < found["gap_closed"] == found["gap"]["closed"] < 1
    assert found["gap"]["aware"] < found["gap"]["nats"] < found["gap"]["pooled"]
    table, *others = found["tables"]
    assert [other["title"] for other in others] == ["Documents from outside", "What it costs"]
    assert [float(row[1]) for row in table["rows"]] == sorted(
        (float(row[1]) for row in table["rows"]), reverse=True
    )
    saved = load_file(lm / "best.safetensors")
    own = train_lm(small_attribution(), load(small_attribution(), "lm_train"), 0)
    for name, weight in own.state_dict().items():
        (kept,) = (v for k, v in saved.items() if k.endswith(f"lm.{name}"))
        assert torch.equal(weight, kept)


@pytest.mark.slow
def test_a_run_from_training_to_the_report(tmp_path: Path, cli: CommandLine, lm: Path) -> None:
    folder = tmp_path / "run"
    main(["train", "attribution:tiny", "--out", str(folder), *flags(lm=lm)])
    told = cli.run("eval", folder)
    assert "total variation" in told
    found = json.loads((folder / "eval.json").read_text())
    assert (found["n"], found["counted"]) == (30, "documents of one corpus")
    assert found["notes"]["total_variation"] == "20 mixed documents"
    example, best, *others = found["tables"]
    assert [other["title"] for other in others] == ["Documents from outside", "What it costs"]
    assert (example["title"], example["example"]) == ("Two texts and their sources", True)
    assert [row[0] for row in best["rows"]] == ["probe", "oracle"]
    assert best["rows"][1][3] == "0.000"
    methods = found["methods"]
    beside = ["k-NN", "n-gram", "naive Bayes", "equal shares"]
    assert found["beside"] == {name: methods[name] for name in beside}
    assert {*methods} == {*beside, "probe", "oracle"}
    share = load(small_attribution(), "composed").sources.double().mean(0)
    far = float((share - 0.5).abs().mean())  # of two corpora
    assert found["beside"]["equal shares"]["total_variation"] == pytest.approx(far)
    assert methods["oracle"]["total_variation_to_oracle"] == 0
    assert methods["equal shares"]["accuracy"] == 0.5
    best = min(own["total_variation"] for own in methods.values())
    assert methods["oracle"]["total_variation"] < best + 0.05
    assert found["total_variation"] == methods["probe"]["total_variation"]
    assert (folder / "shares.png").read_bytes().startswith(b"\x89PNG")
    assert "sends no spikes" in cli.refuse("verify", folder)
    cli.run("report", folder)
    assert ": worse than n-gram (0." in (folder / "report.html").read_text()


def test_an_example_is_the_text_with_the_most_switches_and_its_shares() -> None:
    sources = torch.tensor([[1, 0], [1, 1], [1, 1], [1, 0], [1, 0]])
    documents = Documents(torch.tensor([[9, 3], [9, 4], [9, 5], [9, 2], [9, 1]]), sources)
    along = np.zeros((5, 2, 2))
    along[:, 1, 0] = 0.8, 0.25, 0.5, 0.1, 0.5
    along[:, 1, 1] = 1 - along[:, 1, 0]
    answer = Answer(along[0], np.array([[1.0, 0.0], [0.43, 0.57]]), along)
    pure = Documents(torch.tensor([[7, 9]] * 17), torch.tensor([[1, 0]] * 17))
    of_pure = Answer(np.array([[0.125, 0.875], [0.9, 0.1]]), along[0])
    table = tabulate_example(small_attribution(), pure, documents, (of_pure, answer))
    assert table.rows == [
        ("one source", " ".join("7" * 16) + " ...", "corpus 2", "12%", "88%"),
        ("mixed, part 1", "3 ...", "corpus 1", "80%", "20%"),
        ("mixed, part 2", "4 5 ...", "corpus 2", "38%", "62%"),
        ("mixed, part 3", "2 1 ...", "corpus 1", "30%", "70%"),
        ("mixed, true shares", "", "", "60%", "40%"),
        ("mixed, answered shares", "", "", "43%", "57%"),
    ]
    assert table.caption.startswith("The texts are generated, one author per corpus: a number")
    real = replace(small_attribution(), source="library", names=("os", "re"), vocabulary=256)
    own = Documents(torch.tensor([[104], [10], [105]]), torch.tensor([[0], [0], [1]]))
    table = tabulate_example(real, own, own, (of_pure, Answer(along[0], along[0], along[:3])))
    assert [row[1:3] for row in table.rows[1:3]] == [("h ...", "os"), ("i ...", "re")]
    assert table.caption.startswith("Shown are the first 16 tokens")


@pytest.mark.slow
def test_a_language_model_that_has_not_learned_is_not_probed(
    tmp_path: Path, cli: CommandLine
) -> None:
    weak = flags(documents=20, lm_epochs=1, epochs=1)
    told = cli.refuse("train", "attribution:tiny", "--out", tmp_path / "a", *weak)
    assert "it is probed from 50% on" in " ".join(told.split())
    main(  # the same folder: what is refused leaves no run in it
        [
            "train",
            "attribution:tiny",
            "--out",
            str(tmp_path / "a"),
            *weak,
            "--set",
            "arm=random_lm",
        ]
    )  # a control
    assert "gap closed" in cli.run("eval", tmp_path / "a")


def test_a_run_of_something_else_is_no_language_model(
    tmp_path: Path, cli: CommandLine, lm: Path
) -> None:
    told = cli.refuse(
        "train", "attribution:tiny", "--out", tmp_path / "a", *flags(lm=lm, delta=0.9)
    )
    assert "differs in delta (1.0 there, 0.9 here)" in " ".join(told.split())
    more = flags(lm=lm, documents=401)  # of which it has not read all
    told = cli.refuse("train", "attribution:tiny", "--out", tmp_path / "b", *more)
    assert "differs in documents (400 there, 401 here)" in " ".join(told.split())


@pytest.mark.slow
def test_a_run_is_measured_by_the_documents_of_its_own_seed(tmp_path: Path) -> None:
    config = replace(small_attribution(), arm="random_lm", seed_of_data=3, seed_of_lm=4)
    with seeded(0):
        model = build(config)
    run = Run(folder=tmp_path, task="attribution", name="tiny", seed=0, config=config)
    found = evaluate(run, model)
    pure, composed = (answer_by_probe(model, load(config, part)) for part in OF_TEST)
    oracle = answer_by_chains(find_authors(config).select(2), load(config, "composed")).shares
    own = measure_answers(config, pure, composed, oracle)
    assert found.values == {**own, "gap_closed": measure_gap(config, model.lm).closed}
    assert found.facts["methods"]["probe"] == own
    assert (found.n, found.notes["gap_closed"]) == (30, "exact bounds")


def test_corpora_that_are_refused_leave_no_run(tmp_path: Path, cli: CommandLine) -> None:
    folder, own = tmp_path / "a", {"source": "folders", "vocabulary": 256}
    (tmp_path / "empty" / "a").mkdir(parents=True)
    for data, why in (("empty", "a: no document"), ("nowhere", "nowhere")):
        words = flags(**own, data=tmp_path / data)
        assert why in cli.refuse("train", "attribution:tiny", "--out", folder, *words)
    words = flags(tokens=3, vocabulary=2)
    told = cli.refuse("train", "attribution:tiny", "--out", folder, *words)
    assert "the same documents stand in" in told
    assert not folder.exists()


@pytest.mark.parametrize("arm", ["inner_probe", "mean", "alif"])
def test_a_probe_is_trained_by_the_fields_of_its_configuration(arm: Arm) -> None:
    own = {"epochs": 7, "lr": 0.25, "warm": 0.125, "decay": 0.5, "clip": 3.0}
    plan = TASK.training.plan(replace(small_attribution(), arm=arm, **own))
    assert {name: getattr(plan, name) for name in own} == own


def test_a_dry_run_needs_no_training(tmp_path: Path, cli: CommandLine) -> None:
    told = cli.run("train", "attribution:tiny", "--out", tmp_path / "a", "--dry-run")
    assert "parameters" in told
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("arm", ["lm", "inner_probe"])
def test_batches_depend_on_the_epoch_alone(arm: str) -> None:
    config = small_attribution().__class__(arm=arm, documents=90, train=110)  # type: ignore[arg-type]
    first, again, other = (list(batches(config, "train", epoch)) for epoch in (0, 0, 1))
    assert len(first) == count_steps(config) == (2 if arm == "lm" else 3)
    assert torch.equal(first[0][0], again[0][0])
    assert not torch.equal(first[0][0], other[0][0])
    with seeded(1):
        assert torch.equal(next(batches(config, "train", 0))[0], first[0][0])


def test_tiny_can_be_trained() -> None:
    with seeded(0):
        model = TASK.training.build(tiny())
        batch = next(iter(TASK.training.batches(tiny(), "train", 0)))
        loss = TASK.training.loss(tiny(), model, batch, 0.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert model.probe.head.weight.grad.any()

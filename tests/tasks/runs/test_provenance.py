"""Results of earlier weights, other configurations, data or code are never shown as of now."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blank_pictures import leave_blank
from command_line import CommandLine
from killed_verb import train_until
from written_graphs import wire

from neuro.energy import chip_file
from neuro.graph import Input
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph
from neuro.io.run_folder import RunError
from neuro.io.store import load_tensors, save_tensors
from neuro.neurons import LIF
from neuro.spikes import to_events
from tasks.cli import main
from tasks.measures.verify import verify_run
from tasks.runs import provenance, trained_run
from tasks.runs.find import open_folder
from tasks.runs.provenance import (
    OF_EVERY_RESULT,
    OUT_OF_DATE,
    RESULTS,
    describe_provenance,
    describe_samples,
    describe_trained,
    digest_code,
    digest_stimuli,
    explain_difference,
    list_out_of_date,
    write_result,
)
from tasks.runs.task import Task, TaskRun
from tasks.runs.trained_run import open_trained_run

SUPPORT = Path(__file__).parents[2] / "support"
TASK = str(SUPPORT / "forecast_task.py")


@pytest.fixture(autouse=True)
def without_lava(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")  # it takes long


def read(folder: Path, verb: str) -> Any:
    return json.loads((folder / f"{verb}.json").read_text())


def digest_trained(folder: Path) -> str:
    return digest_graph(open_trained_run(open_folder(folder)).network.graph)


def words(folder: Path) -> str:
    with leave_blank():
        main(["report", str(folder)])
    return unescape(re.sub(r"<[^>]*>", " ", (folder / "report.html").read_text()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run where every verb has been."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    main(["train", TASK, "--out", str(folder)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
        for verb in RESULTS:
            main([verb, str(folder)])
    return folder


@pytest.mark.slow
def test_results_measured_before_a_training_went_on_are_told_as_such(
    tmp_path: Path, cli: CommandLine
) -> None:
    folder = tmp_path / "run"
    argv = ["train", TASK, "--out", str(folder)]
    train_until(2, argv)
    # What lies there are the weights of one epoch out of three.
    told = "".join(cli.run(verb, folder) for verb in ("export", "eval", "energy"))
    early = read(folder, "eval")["rmse"]
    assert "of earlier weights" not in told
    again = f"{folder / Path(TASK).name}:tiny --out {folder} --seed 0"
    unfinished = f"trained 1 of 3 epochs; resume: neuro train {again}"
    assert told.count(unfinished) == 3
    assert unfinished in words(folder)
    before = read(folder, "eval")["measured_on"]
    told = cli.run(*argv)
    for verb in ("eval", "energy", "export"):
        assert f"{verb}.json is of earlier weights; measure again: neuro {verb}" in told
    assert "resume: " not in told + words(folder)
    told = cli.run("verify", folder)
    assert "eval.json is of earlier weights" in told
    assert "verify.json is" not in told
    late = read(folder, "verify")["metrics"]["rmse"]["torch"]
    assert late != pytest.approx(early, rel=1e-3)
    # The graph is that of the weights of now, not the one that was exported before.
    exported = load_graph(folder / "graph.safetensors")
    assert digest_trained(folder) != digest_graph(exported)
    now = read(folder, "verify")["measured_on"]
    assert {k for k in OF_EVERY_RESULT if now[k] != before[k]} == {"weights"}
    page = words(folder)
    assert re.search(r"energy, loihi2.*chip\s+[\d.]+ \w+\s+of earlier weights; ", page)
    assert re.search(r"rmse, events\s+[\d.]+ kW\s+60 samples", page)
    for verb in ("eval", "export", "energy"):
        assert f"The result of {verb} below is of earlier weights:  neuro {verb} " in page
    assert "The result of verify" not in page
    for verb in ("eval", "energy", "export"):
        main([verb, str(folder)])
    assert "of earlier weights" not in words(folder)
    assert read(folder, "eval")["rmse"] == pytest.approx(late, rel=1e-4)


@pytest.mark.slow
def test_every_results_file_carries_what_it_was_measured_on(run: Path) -> None:
    now = describe_provenance(open_folder(run))
    assert set(now) == {"weights", "configuration", "data", "code"}
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in now.values())
    assert len(set(now.values())) == 4
    for verb in RESULTS:
        assert read(run, verb)["measured_on"] == now
    assert list_out_of_date(run, now) == {}
    page = words(run)
    assert "below is of" not in page
    assert now["data"] in page


@pytest.mark.slow
def test_a_touched_file_and_an_old_graph_change_nothing(run: Path) -> None:
    opened = open_folder(run)
    before, graph = (describe_provenance(opened), digest_trained(run))
    (run / "graph.safetensors").write_bytes(b"of another network")
    for name in ("best.safetensors", "config.json", "eval.json"):
        os.utime(run / name, (2e9, 2e9))
        assert describe_provenance(opened) == before
        assert digest_trained(run) == graph
        os.utime(run / name, (1e9, 1e9))
    assert describe_provenance(opened) == before
    assert digest_trained(run) == graph


@pytest.mark.slow
def test_a_changed_configuration_is_told_and_measured_by_no_verb(
    run: Path, tmp_path: Path, cli: CommandLine
) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    header = json.loads((tmp_path / "config.json").read_text())
    header["config"]["epochs"] += 1
    (tmp_path / "config.json").write_text(json.dumps(header))
    why = list_out_of_date(tmp_path, describe_trained(tmp_path))
    assert why == dict.fromkeys(RESULTS, "of another configuration")
    # The weights are not of it either: no verb measures them as if they were.
    for verb in (*RESULTS, "report"):
        told = cli.refuse(verb, tmp_path)
        assert "config.json: was edited after the training began" in told, verb
        assert "(epochs is 4, forecast_task.py:tiny has 3)" in told
    told = cli.refuse("train", TASK, "--out", tmp_path)
    assert "was edited after the training began" in told
    header["config"]["epochs"] -= 1
    header["neuro"] = "of another version"  # which the code's digest tells of
    backwards = dict(reversed(header.items()))
    (tmp_path / "config.json").write_text(json.dumps(backwards))
    assert list_out_of_date(tmp_path, describe_trained(tmp_path)) == {}
    assert open_folder(tmp_path).config.epochs == 3


def test_a_damaged_result_is_told_with_the_verb(
    run: Path, tmp_path: Path, cli: CommandLine
) -> None:
    shutil.copytree(run, tmp_path, dirs_exist_ok=True)
    (tmp_path / "simulate.json").write_text("[1, 2]")
    (tmp_path / "export.json").write_text('{"scaling": [')
    told = cli.run("eval", tmp_path)
    for verb in ("simulate", "export"):
        assert f"{verb}.json is damaged; measure again: neuro {verb} {tmp_path}" in told


@pytest.mark.slow
def test_the_chip_file_of_an_estimate_belongs_to_what_it_was_measured_on(
    run: Path, tmp_path: Path, cli: CommandLine
) -> None:
    folder, chip = tmp_path / "run", tmp_path / "mine.toml"
    shutil.copytree(run, folder)
    chip.write_text((chip_file.FOLDER / "loihi1.toml").read_text())
    assert ".json is" not in cli.run("energy", folder, "--chip", chip)
    now = describe_trained(folder)
    found = read(folder, "energy")
    assert re.fullmatch("mine [0-9a-f]{16}", found["measured_on"]["chip_file"])
    assert found["chip_file"] == {"path": str(chip)}
    assert list_out_of_date(folder, now) == {}
    chip.write_text(chip.read_text() + "\n# a remark\n")
    assert list_out_of_date(folder, now) == {}
    chip.write_text(chip.read_text().replace("low = 23.6", "low = 23.5"))
    assert list_out_of_date(folder, now) == {"energy": "of another content of its chip file"}
    chip.unlink()  # then nobody knows
    assert list_out_of_date(folder, now) == {}
    main(["energy", str(folder), "--chip", "loihi2"])
    assert "chip_file" not in read(folder, "energy")["measured_on"]


def test_the_digest_of_a_stimulus_is_of_its_meaning() -> None:
    raster = np.zeros((4, 2, 3), np.float32)
    raster[1, 0, 2] = raster[3, 1, 0] = 1
    e = to_events(raster)
    found = digest_stimuli({"x": e})
    assert len(set(found)) == 2
    wide = e._replace(tick=e.tick.astype(np.int64), value=e.value.astype(np.float64))
    assert digest_stimuli({"x": wide}) == found
    longer = to_events(np.concatenate([raster, raster[:1]]))  # a silent tick behind
    for other in (longer, e._replace(value=2 * e.value), e._replace(tick=e.tick - 1)):
        assert not set(found) & set(digest_stimuli({"x": other}))
    assert digest_stimuli({"y": e}) != found


def test_what_is_measured_without_a_run_names_the_graph_and_all_samples_in_their_order() -> (
    None
):
    node = LIF(tau=0.02)
    graph = wire(
        "x>cells y>cells", {"x": Input(shape=(3,)), "y": Input(shape=(3,)), "cells": node}
    )
    raster = np.zeros((4, 2, 3), np.float32)
    raster[1, 0, 2] = raster[3, 1, 0] = 1
    x, y = to_events(raster), to_events(raster[::-1].copy())
    stimuli = digest_stimuli({"x": x, "y": y})
    assert digest_stimuli({"y": y, "x": x}) == stimuli
    assert digest_stimuli({"x": y, "y": x}) != stimuli
    found = describe_samples(graph, stimuli)
    assert found["graph"] == digest_graph(graph)
    assert found["first"] == stimuli[0]
    assert describe_samples(graph, stimuli[::-1])["samples"] != found["samples"]
    assert describe_samples(graph, tuple(stimuli)) == found
    assert describe_samples(graph, [])["first"] == ""


def with_other_data(
    task: Task, monkeypatch: pytest.MonkeyPatch, sample: int, *, target: bool = False
) -> None:
    given = task.training.batches

    def changed(config: Any, split: Any, epoch: int) -> Iterator[Any]:
        first = 0
        for x, targets in given(config, split, epoch):
            if split == "test" and first <= sample < first + len(targets):
                x, targets = x.clone(), targets.clone()
                changed = targets[sample - first] if target else x[-1, sample - first]
                changed.view(-1)[-1] += 1
            first += len(targets)
            yield x, targets

    other = replace(task, training=replace(task.training, batches=changed))
    monkeypatch.setattr("tasks.runs.find.load_task", lambda _: other)


@pytest.mark.slow
@pytest.mark.parametrize(("sample", "target"), [(0, False), (59, False), (59, True)])
def test_changed_test_data_are_told(
    run: Path, monkeypatch: pytest.MonkeyPatch, sample: int, target: bool
) -> None:
    with_other_data(open_folder(run).definition, monkeypatch, sample, target=target)
    why = list_out_of_date(run, describe_provenance(open_folder(run)))
    assert why == dict.fromkeys(RESULTS, "of other test data")
    assert "The result of verify below is of other test data" in words(run)


@pytest.mark.slow
def test_data_that_are_not_here_are_not_compared(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: TaskRun) -> str:
        raise FileNotFoundError("the data are gone")

    monkeypatch.setattr("tasks.runs.provenance.digest_test_data", gone)
    page = words(run)
    assert "below is of" not in page
    assert re.search(r"digest of data\s+not here", page)


def test_draws_of_a_test_split_are_the_same_each_time(run: Path) -> None:
    opened = open_folder(run)

    def drawn(config: Any, split: Any, epoch: int) -> Iterator[Any]:  # noqa: ARG001
        yield torch.rand(2, 3), torch.zeros(3)

    task = opened.definition
    other = replace(task, training=replace(task.training, batches=drawn))
    opened = replace(opened, definition=other)
    assert describe_provenance(opened) == describe_provenance(opened)


@pytest.mark.slow
def test_another_version_of_the_code_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__init__.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance.lava_export, "__file__", str(tmp_path / "__init__.py"))
    digests = []
    for name, text in (("chip.toml", "a = 1"), ("chip.toml", "a = 2"), ("notes.md", "x")):
        (tmp_path / name).write_text(text)
        digest_code.cache_clear()
        digests.append(digest_code())
    (tmp_path / "chip.toml").rename(tmp_path / "ship.toml")  # whose name is that of the chip
    digest_code.cache_clear()
    digests.append(digest_code())
    assert digests[0] != digests[1] == digests[2] != digests[3]
    why = list_out_of_date(run, describe_trained(run))
    assert why == dict.fromkeys(RESULTS, "of another version of the code")
    digest_code.cache_clear()


@pytest.mark.slow
def test_weights_that_training_replaces_meanwhile_are_refused(run: Path) -> None:
    opened = open_folder(run)
    measured_on = describe_provenance(opened)
    before = (run / "eval.json").read_bytes()
    path = run / "best.safetensors"
    kept = path.read_bytes()
    path.write_bytes(kept + b" ")
    with pytest.raises(RunError, match="the result of eval is of earlier weights by now"):
        write_result(opened, "eval", {"rmse": 0.0}, measured_on)
    path.write_bytes(kept)
    assert (run / "eval.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("verb", RESULTS)
def test_what_a_verb_measures_belongs_to_the_weights_of_its_start(
    verb: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    """A training replaces them after they have been read: by equal ones, with another score."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    load = trained_run.load_weights

    def load_and_replace(path: Path, model: torch.nn.Module, digest: str) -> None:
        load(path, model, digest)
        tensors, meta = load_tensors(path, "weights")
        save_tensors(path, "weights", tensors, meta | {"score": meta["score"] + 1})

    monkeypatch.setattr(trained_run, "load_weights", load_and_replace)
    before = (folder / f"{verb}.json").read_bytes()
    assert f"the result of {verb} is of earlier weights by now" in cli.refuse(verb, folder)
    assert (folder / f"{verb}.json").read_bytes() == before


def test_what_differs_is_told_together() -> None:
    now = dict.fromkeys(OUT_OF_DATE, "a")
    assert explain_difference(now, now) == ""
    assert explain_difference({**now, "weights": "b", "code": "b"}, now) == (
        "of earlier weights and another version of the code"
    )
    assert explain_difference({**now, "data": "b"}, {"weights": "a"}) == ""
    assert explain_difference({k: v for k, v in now.items() if k != "data"}, now) == (
        "of other test data"  # that nobody wrote down
    )
    assert explain_difference(None, now).startswith("of unknown weights")
    assert explain_difference("x", now).startswith("of unknown weights")


@pytest.mark.slow
def test_a_verb_measures_anew_whatever_lies_there(run: Path) -> None:
    expected = read(run, "verify")["metrics"]
    (run / "graph.safetensors").write_bytes(b"of another network")
    assert verify_run(open_folder(run))["metrics"] == expected

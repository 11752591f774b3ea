"""``neuro train RUN --integers loihi2``: a run goes on with the integers of a chip."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine

from lava_export import load_program
from lava_export.lower import lower
from lava_export.program import take_apart
from lava_export.xylo import XyloProgram, lower_to_xylo
from lava_export.xylo.chip import XyloChipProgram
from lava_export.xylo.program import Shifts
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph
from neuro.nn import Net
from neuro.training import Plan
from tasks.measures import train_on_integers
from tasks.runs.find import open_folder
from tasks.runs.provenance import describe_trained, digest_file, list_out_of_date
from tasks.runs.results import name_verb
from tasks.runs.trained_run import open_trained_run

SMALL = ("blocks=0,", "hidden=7,", "ticks=3", "train=80", "held=20", "test=30", "batch=20")

XYLO = ("hidden=9", "train=40", "test=20", "batch=20", "epochs=1")


@pytest.fixture
def trained(tmp_path: Path, cli: CommandLine) -> Path:
    words = [word for field in SMALL for word in ("--set", field)]
    cli.run("train", "mnist:tiny", *words, "--out", tmp_path / "run")
    return tmp_path / "run"


def test_both_trainings_go_on_and_what_was_trained_is_exported(
    trained: Path, cli: CommandLine
) -> None:
    told = cli.run("train", trained, "--integers", "loihi2", "--largest-weight", 6)
    folder = trained / "integers-6"
    found = json.loads((trained / "integers-6.json").read_text())
    who = ["in floats", "lowered", "trained on integers, lowered", "control in floats, lowered"]
    assert [*found["metrics"]] == who
    lines = [line for line in told.splitlines() if line.strip().startswith(tuple(who))]
    shown = [f"{100 * found['metrics'][name]['accuracy']:.2f}%" for name in who]
    assert [line.split()[-1] for line in lines] == shown
    assert "30 test samples, integer weights up to 6" in told
    assert f"1 epoch each; wrote {folder}" in told
    assert (found["epochs"], found["n"], found["largest_weight"]) == (1, 30, 6)
    assert found["chip"] == "loihi2"
    assert found["program"] == digest_file(folder / "program.safetensors")
    assert found["graph"] == digest_graph(load_graph(folder / "graph.safetensors"))
    program, graph = load_program(folder / "program.safetensors").program, None
    graph = load_graph(folder / "graph.safetensors")
    arrays, _ = take_apart(program)
    again, _ = take_apart(lower(graph, ticks=3, largest_weight=6))
    assert all(np.array_equal(x, again[name]) for name, x in arrays.items())
    assert max(int(np.abs(c.weight).max()) for c in program.connections) == 6
    before = open_trained_run(open_folder(trained)).network.graph
    change = np.abs(graph.nodes["fc"].weight - before.nodes["fc"].weight).max()  # type: ignore[union-attr]
    assert 0 < change < 0.02


def test_results_on_integers_are_told_when_they_are_out_of_date(
    trained: Path, cli: CommandLine
) -> None:
    cli.run("train", trained, "--integers", "loihi2", "--out", trained / "eval")
    assert not (trained / "eval.json").exists()
    now = describe_trained(trained)
    assert list_out_of_date(trained, now) == {}
    assert list_out_of_date(trained, now | {"weights": "new"}) == {
        "integers-254": "of earlier weights"
    }
    verb = "train --integers loihi2 --largest-weight 254"
    assert (name_verb("integers-254"), name_verb("integers-xylo")) == (
        verb,
        "train --integers xylo",
    )


def test_a_run_goes_on_with_the_integers_of_xylo(tmp_path: Path, cli: CommandLine) -> None:
    run = tmp_path / "run"
    words = [w for f in XYLO for w in ("--set", f)]
    cli.run("train", "yinyang:xylo", *words, "--out", run)
    told = cli.run("train", run, "--integers", "xylo")
    folder, found = run / "integers-xylo", json.loads((run / "integers-xylo.json").read_text())
    program = load_program(folder / "program.safetensors").program
    assert isinstance(program, XyloProgram)
    samples = next(open_trained_run(open_folder(run)).network.iterate_samples())
    graph = open_trained_run(open_folder(run)).network.graph
    plain = XyloChipProgram(lower_to_xylo(graph, ticks=samples.ticks))
    start = plain.calibrate(graph, samples.inputs).program
    shifts = Shifts(start.shift, start.shift_out)
    assert (program.shift, program.shift_out) == shifts
    again = lower_to_xylo(
        load_graph(folder / "graph.safetensors"), ticks=samples.ticks, shifts=shifts
    )
    arrays = take_apart(again)[0]
    assert all(np.array_equal(x, arrays[name]) for name, x in take_apart(program)[0].items())
    assert found["chip"] == "xylo"
    assert "integers of Xylo" in told


def test_the_control_takes_the_same_steps_on_new_batches(
    trained: Path, monkeypatch: pytest.MonkeyPatch, cli: CommandLine
) -> None:
    stages: list[Any] = []
    monkeypatch.setattr(
        train_on_integers, "train_stage", lambda stage, *_: stages.append(stage)
    )
    cli.run("train", trained, "--integers", "loihi2", "--out", trained / "other")
    one, other = stages
    assert isinstance(other.model.net, Net)
    assert one.model.net.setting["ticks"] == 3
    assert one.plan == other.plan
    assert (one.course.steps, one.course.seed) == (other.course.steps, 0) == (4, 0)
    assert one.course.run != other.course.run
    own = open_folder(trained)
    x, _ = next(iter(one.course.batches(1)))
    y, _ = next(iter(own.definition.training.batches(own.config, "train", 2 + 1)))
    assert (x == y).all()
    assert (trained / "other" / "program.safetensors").exists()


def test_a_tenth_of_the_epochs_at_a_tenth_of_the_rate() -> None:
    plan = Plan(epochs=26, lr=0.5, warm=0.1, decay=0.25)
    assert train_on_integers._shorten(plan) == Plan(epochs=3, lr=0.05, decay=0.25)
    assert train_on_integers._shorten(Plan(epochs=4, lr=1.0)).epochs == 1


def test_what_cannot_go_on_is_refused(trained: Path, cli: CommandLine) -> None:
    said = cli.refuse("train", trained, "--integers", "loihi2", "--seed", 1)
    assert "--integers takes a RUN, --out and --largest-weight" in said
    said = cli.refuse("train", "mnist:tiny", "--largest-weight", 6)
    assert "--largest-weight is 6; it counts with --integers loihi2 only" in said
    said = cli.refuse("train", trained, "--integers", "loihi2", "--largest-weight", 5)
    assert "largest_weight must be even" in said
    words = [word for field in (*SMALL, "code=direct") for word in ("--set", field)]
    direct = trained.parent / "direct"
    cli.run("train", "mnist:tiny", *words, "--out", direct)
    said = cli.refuse("train", direct, "--integers", "loihi2")
    assert "input takes values such as 0." in said
    assert "a chip takes spikes or whole numbers: use --set code=rate" in said
    said = cli.refuse("train", trained, "--integers", "xylo", "--largest-weight", 6)
    assert "--largest-weight is 6; it counts with --integers loihi2 only" in said
    said = cli.refuse("train", trained, "--integers", "xylo")
    assert "dense1: a hard reset, and Xylo subtracts the threshold" in said

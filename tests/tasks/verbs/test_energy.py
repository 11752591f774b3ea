"""What `neuro energy` says of a chip that the network does not fit."""

import json
from dataclasses import replace
from typing import Any

import pytest
from command_line import CommandLine

from neuro.io.run_folder import begin_run
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from tasks.image_classification.mnist import tiny
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import build_fresh_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    """Return a run as training leaves it, of a network that has learnt nothing but adapts."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = replace(tiny(), beta=0.1)
    made = replace(make_run("mnist:tiny", folder), config=config)
    about = {"epoch": 0, "run": begin_run(made)}
    save_weights(get_best_weights_path(folder), get_weights(build_fresh_model(made)), about)
    return made


def test_the_verb_says_beside_its_figures_that_the_network_does_not_fit(
    run: TaskRun, cli: CommandLine
) -> None:
    told = " ".join(cli.run("energy", run.folder).split())
    found: dict[str, Any] = json.loads((run.folder / "energy.json").read_text())
    (reason, *_) = found["loihi1"]["misfits"]
    assert "beta > 0 adapts the threshold, Loihi 1 cannot; use beta=0" in reason
    assert found["loihi2"]["misfits"] == []
    assert "loihi1 (does not fit)" in told
    assert "loihi2 (does not fit)" not in told
    why = f"loihi1: the network does not fit, the figures are of one that would; {reason}"
    assert why in told
    page = write_report(run).read_text()
    assert "energy, loihi1 (does not fit) chip" in page
    assert "energy, loihi2 chip" in page
    assert "loihi1: the network does not fit, the figures are of one that would;" in page

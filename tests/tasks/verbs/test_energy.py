"""What `neuro energy` says of a chip that the network does not fit."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuro.energy import find_chip
from neuro.graph import Dense, Edge, Graph, Input, Node, Softmax
from neuro.io.run_folder import begin_run
from neuro.neurons import LI, LIF
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from neuro.units import Seconds
from tasks.cli import main
from tasks.image_classification.mnist import tiny
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import build_fresh_model
from tasks.verbs.energy import list_misfits

CHIPS = (find_chip("loihi1"), find_chip("loihi1_sanafe"), find_chip("loihi2"))
SOFT = (
    "only a programmable chip resets softly or adapts or forgets: n: soft reset, Loihi 1 sets "
    "v to 0"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    """Return a run as training leaves it, of a network that has learnt nothing but adapts."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = replace(tiny(), beta=0.1)
    made = replace(make_run("mnist:tiny", folder), config=config)
    about = {"epoch": 0, "run": begin_run(made)}
    save_weights(get_best_weights_path(folder), get_weights(build_fresh_model(made)), about)
    return made


def graph_of(neuron: Node) -> Graph:
    nodes = {"x": Input(shape=(2,)), "w": Dense(weight=np.eye(2)), "n": neuron}
    edges = (Edge("x", "w"), Edge("w", "n"))
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


def test_what_a_chip_lacks_is_named_for_each_constants_of_it() -> None:
    found = list_misfits(graph_of(LIF(tau=0.01, reset="soft")), 9, CHIPS)
    assert [len(found[chip.name]) for chip in CHIPS] == [1, 1, 0]
    assert found["loihi1"] == found["loihi1_sanafe"]
    assert found["loihi1"][0].startswith(SOFT)
    fits: dict[str, list[str]] = {chip.name: [] for chip in CHIPS}
    assert list_misfits(graph_of(LIF(tau=0.01, reset="hard")), 9, CHIPS) == fits


def test_what_integers_cannot_hold_fits_no_chip() -> None:
    found = list_misfits(graph_of(LIF(tau=0.01, refractory=3e-3)), 9, CHIPS)
    assert all(reasons[0].startswith("n: a refractory period") for reasons in found.values())
    # As long as the runs are, and no longer: a leakless read-out of 9 ticks fits.
    assert not any(list_misfits(graph_of(LI(tau=np.inf)), 9, CHIPS).values())


def test_the_part_for_the_chip_is_what_must_fit() -> None:
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "soft": Softmax(),
        "w": Dense(weight=np.eye(2)),
        "n": LIF(tau=0.01, reset="hard"),
    }
    edges = (Edge("x", "soft"), Edge("soft", "w"), Edge("w", "n"))
    hosted = Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))
    assert not any(list_misfits(hosted, 9, CHIPS).values())


def test_the_verb_says_beside_its_figures_that_the_network_does_not_fit(
    run: TaskRun, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["energy", str(run.folder)])
    told = " ".join(capsys.readouterr().out.split())
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

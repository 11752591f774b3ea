"""What `neuro energy` says of a chip that the network does not fit."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from energy_cases import record_of
from written_graphs import chain

from neuro.energy import estimate
from neuro.graph import Dense, Input
from neuro.io.run_folder import begin_run
from neuro.neurons import LIF
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from tasks.images.classification.mnist import tiny
from tasks.measures import energy
from tasks.measures.energy import estimate_energy, search_placement
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.task import Stimulus, TaskRun
from tasks.runs.trained_run import build_fresh_model, open_trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TaskRun:
    """Return a run as training leaves it, of a network that has learnt nothing but adapts."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = replace(tiny(), beta=0.1)
    made = replace(make_run("mnist:tiny", folder), config=config)
    about = {"epoch": 0, "run": begin_run(made)}
    save_weights(get_best_weights_path(folder), get_weights(build_fresh_model(made)), about)
    return made


@pytest.mark.slow
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
    assert "energy, loihi1" not in page
    assert "Does not fit loihi1: " in page
    assert "energy, loihi2 chip" in page
    assert "loihi1: the network does not fit, the figures are of one that would;" in page


@pytest.mark.slow
def test_a_searched_mapping_is_priced_printed_and_reported_beside_the_greedy_one(
    run: TaskRun, cli: CommandLine
) -> None:
    cli.run("energy", run.folder)
    greedy = json.loads((run.folder / "energy.json").read_text())
    told = cli.run("energy", run.folder, "--map", "time")
    found: dict[str, Any] = json.loads((run.folder / "energy.json").read_text())
    assert "Mapping: searched and greedy" in told
    for chip in ("loihi1", "loihi2"):
        searched, before = found[chip]["mapping"]["searched"], greedy[chip]
        assert searched["goal"] == "time"
        assert searched["kept"] == []
        assert searched["greedy"]["chip"] == before["chip"]["nominal"]
        assert searched["greedy"]["seconds"] == before["latency"]["inference"]["nominal"]
        assert searched["found"]["seconds"] == found[chip]["latency"]["inference"]["nominal"]
        assert searched["found"]["seconds"] < searched["greedy"]["seconds"]
        loads = found[chip]["mapping"]["loads"]
        assert (
            len(loads["core"])
            == searched["found"]["cores"]
            > len(before["mapping"]["loads"]["core"])
        )
        assert found[chip]["misfits"] == before["misfits"]
        assert "searched" not in before["mapping"]
    page = write_report(run).read_text()
    assert "Mapping: searched and greedy" in page
    assert "<h2>Appendix: validation of the estimates</h2>" in page
    assert (run.folder / "cores.png").read_bytes().startswith(b"\x89PNG")
    assert "no mapping 'speed'; there are greedy, energy, time" in cli.refuse(
        "energy", run.folder, "--map", "speed"
    )


def test_a_network_that_runs_several_times_counts_as_often(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_trained_run(run)
    x = next(iter(opened.network.stimuli("test")))
    few = Stimulus({name: raster[:, :3] for name, raster in x.inputs.items()}, ())
    one = replace(opened.network, stimuli=lambda _: [few])
    monkeypatch.setattr(energy, "open_trained_run", lambda _: opened)
    found = []
    for networks in ({"": one}, {"": one, "camera": replace(one, runs=3)}):
        opened.__dict__["networks"] = networks  # a cached property
        found.append(estimate_energy(run)["loihi2"])
    alone, both = found
    assert both["core"]["nominal"] == pytest.approx(4 * alone["core"]["nominal"])
    assert list(both["layers"]) == [
        *alone["layers"],
        *(f"camera: {n}" for n in alone["layers"]),
    ]


def test_a_network_beyond_a_chip_keeps_its_greedy_mapping_and_says_why() -> None:
    weight = np.ones((2, 5000))
    graph = chain(x=Input(shape=(5000,)), w=Dense(weight=weight), cells=LIF(tau=0.01))
    record = record_of(x=np.ones((1, 1, 5000)), cells=np.zeros((1, 1, 2)))
    greedy = estimate(graph, record, "loihi1")
    found, why = search_placement(graph, record, greedy, "energy")
    assert found is greedy
    assert why[0].startswith("cells: one neuron alone needs 5000 in axons of the 4096")
    assert search_placement(graph, record, estimate(graph, record, "loihi2"), "time")[1] == ()

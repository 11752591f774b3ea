"""The page of samples shows what belongs together, and refuses the rest by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from tables import read_table, require_answer
from written_graphs import wire

from neuro.events import Exact, simulate
from neuro.graph import Dense, Graph, Input
from neuro.neurons import LI, LIF
from neuro.spikes import Events, join, of_sample, to_events
from neuro.spikes.record import Record
from tasks.measures.energy import estimate_samples
from tasks.measures.verify import verify_samples
from tasks.report.standalone import _require_fit, write_samples_report
from tasks.runs.samples import Samples

WEIGHT = np.random.default_rng(0).random((4, 3))
LABELS = torch.tensor([0, 1, 0])


def graph(scale: float = 1.0) -> Graph:
    nodes = {
        "x": Input(shape=(3,)),
        "in": Dense(weight=scale * WEIGHT),
        "hidden": LIF(tau=0.02, threshold=0.9, reset="soft"),
        "on": Dense(weight=WEIGHT[:2].T[:2] @ np.eye(2, 4)),
        "out": LI(tau=0.02),
    }
    return wire("x>in in>hidden hidden>on on>out", nodes)


def stimulus(seed: int = 1) -> Events:
    return to_events(np.random.default_rng(seed).random((6, 3, 3)) < 0.5)


MINE, OTHER = graph(), graph(2.0)


@pytest.fixture(autouse=True)
def without_lava_and_checks_of_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users run it: in tests beartype would be there first."""
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Return what is shown: results and a record of one graph on the same samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
        return make(MINE, stimulus())


def make(network: Graph, x: Events) -> dict[str, Any]:
    samples = Samples({"x": x}, LABELS[: x.shape[1]])
    return {
        "record": simulate(network, samples.inputs)[0],
        "verify": verify_samples(network, samples),
        "energy": estimate_samples(network, samples, ["loihi2"]),
    }


def first(n: int) -> Record:
    few = join([of_sample(stimulus(), i) for i in range(n)])
    return simulate(MINE, {"x": few})[0]


@pytest.mark.slow
def test_what_belongs_together_is_shown(made: dict[str, Any], tmp_path: Path) -> None:
    path = write_samples_report(str(tmp_path / "a.html"), MINE, **{**made, "record": first(1)})
    assert path == tmp_path / "a.html"
    assert path.with_suffix(".png").exists()
    write_samples_report(path, MINE)
    results = {name: made[name] for name in ("verify", "energy")}
    exact, _ = simulate(MINE, {"x": stimulus()}, Exact())
    for record in (made["record"], exact, replace(exact, digest="")):
        _require_fit(MINE, record, results)


def test_a_result_is_of_samples_however_they_were_batched(made: dict[str, Any]) -> None:
    parts = [Samples({"x": of_sample(stimulus(), i)}, LABELS[i : i + 1]) for i in range(3)]
    expected = made["verify"]["measured_on"]
    assert expected == made["energy"]["measured_on"]
    assert verify_samples(MINE, parts)["measured_on"] == expected
    assert estimate_samples(MINE, parts, ["loihi2"])["measured_on"] == expected
    assert set(expected) == {"graph", "samples", "first"}


SLIPS = """
write_samples_report(MINE, "a.html")
    TypeError: path must be the path of a page, got a Graph
write_samples_report("a.html", torch.nn.Linear(2, 2))
    TypeError: graph must be a Graph, got a Linear
write_samples_report("a.html", MINE, record=(1, 2))
    TypeError: record must be a Record, got a tuple; simulate returns (record, state)
write_samples_report("a.html", MINE, verify=0.5)
    TypeError: verify must be what verify_samples returned, got 0.5; give verify=verify_samples
write_samples_report("a.html", MINE, metrics="accuracy")
    TypeError: metrics must be a
write_samples_report("a.html", MINE, metrics=["accuracy"])
    TypeError: metrics must be a tuple
"""


@pytest.mark.parametrize(("code", "answer"), read_table(SLIPS))
def test_an_argument_of_another_kind_is_named_with_the_cure(code: str, answer: str) -> None:
    require_answer(code, answer, globals())


def test_results_in_each_others_place_are_refused(made: dict[str, Any], tmp_path: Path) -> None:
    turned = {"verify": made["energy"], "energy": made["verify"]}
    with pytest.raises(ValueError, match="one graph and its samples") as told:
        write_samples_report(tmp_path / "a.html", MINE, **turned)
    lines = str(told.value).splitlines()[1:]
    assert [line.split(":")[0] for line in lines] == ["verify", "energy"]
    assert "torch_events: is missing" in lines[0]
    assert "give what verify_samples(graph, samples) returns" in lines[0]
    assert "give what estimate_samples(graph, samples) returns" in lines[1]
    assert not list(tmp_path.iterdir())


def test_what_is_of_another_network_is_refused(made: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one graph and its samples") as told:
        write_samples_report(tmp_path / "a.html", OTHER, **made)
    lines = str(told.value).splitlines()[1:]
    assert lines[0].startswith("verify: is of another network; give what verify_samples(graph,")
    assert lines[1].startswith("energy: is of another network; give what estimate_samples(")
    assert lines[2].startswith("record: the record does not belong to this graph")
    assert "it belongs to another network" in lines[3]


@pytest.mark.slow
def test_results_of_other_samples_are_refused(made: dict[str, Any], tmp_path: Path) -> None:
    others = make(MINE, stimulus(2))
    fewer = make(MINE, join([of_sample(stimulus(), i) for i in range(2)]))
    page = tmp_path / "a.html"
    for mixed, told in (
        ({"verify": others["verify"]}, "verify, energy, record are of different samples; give"),
        ({"energy": others["energy"]}, "verify, energy, record are of different samples"),
        ({"record": others["record"]}, "verify, energy, record are of different samples"),
        ({"energy": fewer["energy"]}, "verify, energy, record are of different samples"),
        ({"verify": fewer["verify"], "energy": None}, "verify, record are of different"),
        ({"verify": None, "record": others["record"]}, "energy, record are of different"),
    ):
        with pytest.raises(ValueError, match=told):
            write_samples_report(page, MINE, **{**made, **mixed})
    write_samples_report(page, MINE, **fewer)

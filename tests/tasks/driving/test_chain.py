"""A driving run goes through every verb: it is measured, replayed, lowered, priced, shown."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from blank_pictures import leave_blank
from driving_windows import make_window, small_config

from drivers.nuscenes.box import Box
from lava_export.parity import Parity
from neuro.events import Exact
from neuro.graph import Graph, GraphError
from tasks.driving import data, evaluate
from tasks.driving.config import DrivingConfig
from tasks.driving.deployment import HOST
from tasks.driving.joules import show_joules
from tasks.measures import export, simulate as simulating
from tasks.measures.energy import estimate_energy
from tasks.measures.export import export_run
from tasks.measures.simulate import simulate_run
from tasks.measures.train import evaluate_run, launch_fabric, train_run
from tasks.measures.verify import verify_run
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.task import Split, TaskRun

SMALL = small_config()
PARTS = ("encoder", "uncertainty", "pathways", "start", "GRU")


class Few(list):
    """Windows of one scene, with nothing around."""

    spans = ()
    skipped = ()

    def read_boxes(self, number: int) -> tuple[Box, ...]:  # noqa: ARG002
        return ()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskRun]:
    """Return a run that every verb has been at; Lava and the film take too long here."""

    def open_split(config: DrivingConfig, split: Split) -> Few:
        many = {"train": 2, "val": 1, "test": 1}[split]
        return Few(make_window(config, 10 * len(split) + k) for k in range(many))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "open_split", open_split)
        patch.setattr(evaluate, "draw_pictures", lambda *_: [])
        patch.setattr(evaluate, "open_submission", lambda _: None)
        skipped = Parity(samples=0, skipped="not here")
        patch.setattr(export, "check_samples", lambda *_: skipped)
        folder = tmp_path_factory.mktemp("run") / "run"
        run = replace(make_run("driving:small", folder), config=SMALL)
        train_run(run, launch_fabric(run, "cpu", 1))
        evaluate_run(run)
        simulate_run(run, Exact())
        verify_run(run, lava_samples=0)
        export_run(run)
        estimate_energy(run)
        with leave_blank():
            write_report(run)
        yield run


def read(run: TaskRun, verb: str) -> Any:
    return json.loads((run.folder / f"{verb}.json").read_text())


@pytest.mark.slow
def test_all_spiking_parts_are_the_same_on_events_and_lower_to_integers(run: TaskRun) -> None:
    found = read(run, "verify")
    assert found["torch_events"]["mismatches"] == 0
    assert not found["torch_events"]["unexplained"]
    assert "misfits" not in found
    layers = found["torch_events"]["layers"]
    assert {name.split(": ")[0] for name in layers if ": " in name} == set(PARTS)
    assert set(found["metrics"]) == {"iou_vehicle", "iou_lane", "iou_drivable"}
    assert found["n"] == 1
    assert found["without_metric"] == list(PARTS)


@pytest.mark.slow
def test_all_parts_are_exported(run: TaskRun) -> None:
    files = {path.name for path in run.folder.glob("*.safetensors")}
    assert files >= {f"graph-{part}.safetensors" for part in PARTS}
    assert files >= {f"program-{part}.safetensors" for part in PARTS}
    layers = [row["layer"] for row in read(run, "export")["scaling"]]
    assert {name.split(": ")[0] for name in layers if ": " in name} == set(PARTS)


@pytest.mark.slow
def test_energy_is_of_all_parts_and_the_host_is_listed(run: TaskRun) -> None:
    found = read(run, "energy")
    assert {name: part["runs"] for name, part in found["parts"].items()} == {
        "first": 1,
        "encoder": 18,
    } | dict.fromkeys(PARTS[1:], 1)
    layers = found["loihi2"]["layers"]
    assert sum(x["nominal"] for x in layers.values()) == pytest.approx(
        found["loihi2"]["core"]["nominal"]
    )
    assert {part["node"] for part in found["host"]} == {*HOST, "lift"}


@pytest.mark.slow
def test_every_layer_has_a_rate_and_counts_under_both_clocks(run: TaskRun) -> None:
    found = read(run, "simulate")
    for way in (found["exact"], found["exact_spread"]):
        assert way["per_sample"].keys() == found["per_sample"].keys()
        assert way["milliseconds_per_sample"] > 0
        assert {"iou_vehicle", "change"} <= way.keys()
    assert found["without_metric"] == list(PARTS)
    rates = found["others"]
    assert {name.split(": ")[0] for name in rates} == set(PARTS)
    name = "encoder: near_spikes"
    assert 0 <= rates[name]["rate"] < 1
    assert rates[name]["neurons"] == 6 * 4 * 8
    ticks = SMALL.encoder.ticks
    spikes = 18 * rates[name]["rate"] * rates[name]["neurons"] * ticks
    assert found["per_sample"][name]["spikes"] == pytest.approx(spikes)


@pytest.mark.slow
def test_the_report_shows_it(run: TaskRun) -> None:
    text = (run.folder / "report.html").read_text()
    for part in ("Joules per planned second", "streaming, 6 images", "encoder: near_spikes"):
        assert part in text
    assert "not measured yet" not in text
    sweeping = replace(SMALL, source=replace(SMALL.source, sweeps=1))
    for config, told in ((SMALL, False), (sweeping, True)):
        shown = str(show_joules(replace(run, config=config), {}))
        assert ("An image stands for 2, one for each tick of the encoder." in shown) is told
    told = f"no metric covers the other networks of the chip: {', '.join(PARTS)}"
    assert text.count(told) == 2  # of verify, of simulate
    assert f"that of {len(PARTS)} further networks not counted" in text


@pytest.mark.slow
def test_a_network_that_does_not_run_under_a_clock_is_named(
    run: TaskRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(graph: Graph, *_: object) -> dict[str, Any]:
        if "stem_bits" in graph.inputs:
            raise GraphError(["far: no"], "the graph cannot run in continuous time")
        return {}

    monkeypatch.setattr(simulating, "simulate_samples", refuse)
    with pytest.raises(GraphError, match="in continuous time:\nencoder: far: no"):
        simulate_run(run, Exact())

"""A network that does not fire is right about nothing: verify, energy and reports say so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from written_slips import GRAPH, RASTER

from neuro import LI, LIF, Dense, Edge, Graph, to_events
from neuro.energy import estimate
from neuro.events import Exact, simulate
from neuro.nn import replay
from tasks.measures.energy import estimate_samples
from tasks.measures.verify import verify_samples
from tasks.report.key_figures import DIFFER, list_agreement
from tasks.report.standalone import write_samples_report
from tasks.report.tables import describe_energy, describe_silence, list_silent
from tasks.runs.samples import Samples

TOLD = "no spike of {} in all samples: there is nothing to compare or to price; raise weights"


def two_layers(weight: float) -> Graph:
    """Return GRAPH with a read-out behind it; its neurons fire if the weight is large."""
    nodes: dict[str, Any] = {
        **GRAPH.nodes,
        "fc": Dense(weight=np.full((2, 3), weight)),
        "on": Dense(weight=np.eye(2)),
        "read": LI(tau=0.02),
    }
    edges = (*GRAPH.edges, Edge("out", "on"), Edge("on", "read"))
    return replace(GRAPH, nodes=nodes, edges=edges)


def samples(raster: np.ndarray) -> Samples:
    return Samples({"input": to_events(raster)}, torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("weight", "raster", "silent"),
    [(1e-3, RASTER, ["out"]), (1.0, 0 * RASTER, ["out"]), (1.0, RASTER, [])],
)
def test_what_never_fires_is_told_in_terminal_and_page(
    weight: float, raster: np.ndarray, silent: list[str], tmp_path: Path
) -> None:
    graph, some = two_layers(weight), samples(raster)
    verify = verify_samples(graph, some, lava_samples=0)
    energy = estimate_samples(graph, some, ["loihi1"])
    assert list_silent(verify) == silent
    inputs = [] if raster.any() else ["input"]
    assert energy.get("silent", {}).get("nodes", []) == inputs + silent
    page = write_samples_report(tmp_path / "a.html", graph, verify=verify, energy=energy)
    text = page.read_text()
    assert ("of no spike: nothing fired" in text) == bool(silent)
    for names in (silent, inputs + silent):
        told = TOLD.format(", ".join(names))
        assert (told in text) == bool(names)
        assert [told in line for line in describe_silence(names)] == [True] * bool(names)
    assert (TOLD.format(", ".join(inputs + silent)) in describe_energy(energy)) == bool(silent)
    (figure,) = [f for f in list_agreement(verify, ()) if f.label == DIFFER]
    assert figure.note == ("of no spike: nothing fired" if silent else "of 16 spikes")


def test_a_network_without_neurons_that_spike_is_not_silent() -> None:
    graph = replace(GRAPH, nodes={**GRAPH.nodes, "out": LI(tau=0.02)})
    verify = verify_samples(graph, samples(RASTER), lava_samples=0)
    (figure,) = [f for f in list_agreement(verify, ()) if f.label == DIFFER]
    assert figure.note == "of all values of read-outs"


def test_an_estimate_names_what_is_silent() -> None:
    graph = two_layers(1e-3)
    record, _ = simulate(graph, {"input": to_events(RASTER)})
    assert estimate(graph, record, "loihi2").silent == ("out",)


@pytest.mark.slow
def test_a_page_says_which_clock_its_record_is_of(tmp_path: Path) -> None:
    graph = replace(GRAPH, nodes={**GRAPH.nodes, "out": LIF(tau=0.02)})
    stimulus = {"input": to_events(RASTER)}
    path = tmp_path / "a.html"
    exact, _ = simulate(graph, stimulus, Exact())
    text = write_samples_report(path, graph, record=exact).read_text()
    assert "2 test samples on the event engine." in text
    assert "The record is of the exact clock, in continuous time: each spike is drawn" in text
    text = write_samples_report(path, graph, record=replay(graph, stimulus)).read_text()
    assert "2 test samples on torch's clock." in text.replace("&#x27;", "'")
    assert "exact clock" not in text

"""The part of the report about joules, seconds and cores: each figure where it belongs."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from energy_results import CONVENTION, chip, span
from matplotlib.figure import Figure

from tasks.report import figures as pictures
from tasks.report.energy import show_energy, show_mapping
from tasks.report.figures import Bar
from tasks.report.validation import show_validation
from tasks.runs.task import Html

PUBLISHED = {"unit": "spikes", "statement": "they say", "source": "A 2020"}


def found(**more: Any) -> dict[str, Any]:
    published = [{**PUBLISHED, "low": low, "high": high} for low, high in ((0.5, 0.75), (0, 2))]
    first = chip("Loihi 1", 4e-6, "a", "b", in_axons=0.5, neurons=0.25)
    return {
        "loihi1": {**first, "system": span(8e-5)},
        "mine": chip("Mine", 2e-9, "a", "b", in_axons=0.125, synapse_words=0.0),
        "conventional45nm": {**CONVENTION, "ann_passes": 12, "published": published},
        **more,
    }


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what is drawn, by function; no picture is written."""
    seen: dict[str, Any] = {}

    def watch(name: str) -> None:
        draw = getattr(pictures, name)

        def drawing(given: Any) -> Html:
            seen[name] = given
            out: Html = draw(given)
            return out

        monkeypatch.setattr(pictures, name, drawing)

    def name_alone(figure: Figure, name: str, title: str) -> Html:  # noqa: ARG001
        return Html(f"<svg><title>{title}</title></svg>")

    monkeypatch.setattr(pictures, "_svg", name_alone)
    watch("draw_energies")
    watch("draw_layer_energies")
    return seen


def rows(page: str, head: str) -> list[list[str]]:
    """Return the cells of the table whose head begins with a word; its head first."""
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        cells = [
            [unescape(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
            for row in re.findall(r"<tr>(.*?)</tr>", table)
        ]
        if cells[0][0] == head:
            return cells
    raise AssertionError(f"no table of {head}")


def paragraphs(page: str) -> list[str]:
    return [unescape(p) for p in re.findall(r"<p[^>]*>(.*?)</p>", page)]


def test_bars_are_the_tiers_of_each_chip_and_the_convention(drawn: dict[str, Any]) -> None:
    show_energy(found())
    convention = "45 nm convention"
    assert drawn["draw_energies"] == [
        Bar("Loihi 1", "core", **span(4e-6)),
        Bar("Loihi 1", "chip", **span(10 * 4e-6)),
        Bar("Loihi 1", "system", **span(8e-5)),
        Bar("Mine", "core", **span(2e-9)),
        Bar("Mine", "chip", **span(10 * 2e-9)),
        Bar(convention, "spiking network", 1.76e-7, 1.76e-7, 1.76e-7),
        Bar(convention, "same-shape ANN, 12 passes", 4.09e-7, 4.09e-7, 4.09e-7),
    ]
    layers = drawn["draw_layer_energies"]
    assert list(layers) == ["Loihi 1", "Mine"]
    assert layers["Mine"] == found()["mine"]["layers"]


def test_a_tier_without_a_nominal_value_is_a_bar_without_a_mark(drawn: dict[str, Any]) -> None:
    given = found()
    given["mine"]["system"] = {"low": 1e-8, "nominal": None, "high": 6e-8, "reason": "of none"}
    show_energy(given)
    assert Bar("Mine", "system", 1e-8, None, 6e-8) in drawn["draw_energies"]


def test_a_chip_that_is_too_small_is_called_so_wherever_it_is_drawn(
    drawn: dict[str, Any],
) -> None:
    given = found()
    given["mine"]["misfits"] = ["a: 9 bits"]
    page = show_energy(given)
    assert [bar.group for bar in drawn["draw_energies"]][3] == "Mine (does not fit)"
    assert list(drawn["draw_layer_energies"]) == ["Loihi 1", "Mine (does not fit)"]
    told = "mine: the network does not fit, the figures are of one that would; a: 9 bits"
    assert told in paragraphs(page)


def test_layers_stand_beside_each_other_by_chip() -> None:
    assert rows(show_energy(found()), "layer") == [
        ["layer", "loihi1", "mine"],
        ["a", "2 µJ (1 µJ – 6 µJ)", "1 nJ (500 pJ – 3 nJ)"],
        ["b", "2 µJ (1 µJ – 6 µJ)", "1 nJ (500 pJ – 3 nJ)"],
    ]


def test_the_break_even_is_told_with_what_is_published() -> None:
    told = paragraphs(show_energy(found()))
    (own,) = (t for t in told if t.startswith("The same-shape ANN"))
    assert "takes 12 passes over its layers" in own
    assert "break even with it at 5.11 spikes per synapse and inference (1.28 a tick)" in own
    assert "this run has 0.807; both count zero weights" in own
    assert [t for t in told if t.startswith("Break-even in the literature")] == [
        "Break-even in the literature: 0.5 to 0.75 spikes, they say (A 2020).",
        "Break-even in the literature: 2 spikes, they say (A 2020).",
    ]


def test_silence_hosts_and_own_tables_are_told_where_there_are_any() -> None:
    table = {"title": "By token", "head": ["part", "pJ"], "rows": [["a", 3]], "caption": "C."}
    more = {
        "silent": {"nodes": ["b"]},
        "host": [{"node": "lift", "macs": 1230}],
        "tables": [table],
    }
    page = show_energy(found(**more))
    told = paragraphs(page)
    assert any(t.startswith("no spike of b in all samples") for t in told)
    assert any(t.startswith("host: lift run on a host, 1,230 MACs") for t in told)
    assert "C." in told
    assert "<h3>By token</h3>" in page
    assert rows(page, "part") == [["part", "pJ"], ["a", "3"]]
    plain = show_energy(found())
    assert not re.search("no spike of|run on a host|By token", plain)


def test_the_mapping_shows_each_limit_that_a_layer_uses() -> None:
    assert rows(show_mapping(found()), "chip")[:5] == [
        ["chip", "layer", "neurons", "cores", "per core", "in axons used", "neurons used",
         "binds"],
        ["loihi1", "a", "1,300", "2", "650", "50.0%", "25.0%", "in axons"],
        ["loihi1", "b", "7", "1", "650", "", "", ""],
        ["mine", "a", "1,300", "2", "650", "12.5%", "", "in axons"],
        ["mine", "b", "7", "1", "650", "", "", ""],
    ]  # fmt: skip
    told = paragraphs(show_mapping(found()))
    assert told[1:3] == ["loihi1: Loihi 1: b is too large", "mine: Mine: b is too large"]


def test_times_are_nominal_with_their_range() -> None:
    page = show_mapping(found())
    times = page.split("<table>")[2]
    assert rows(f"<table>{times}", "chip") == [
        ["chip", "cores", "chips", "an inference", "a tick", "slowest layer", "static share"],
        ["loihi1", "3", "1", "2.0 ms (1.0 ms – 6.0 ms)", "40.0 µs (20.0 µs – 120.0 µs)", "b",
         "34.5%"],
        ["mine", "3", "1", "2.0 ms (1.0 ms – 6.0 ms)", "40.0 µs (20.0 µs – 120.0 µs)", "b",
         "34.5%"],
    ]  # fmt: skip


def test_what_binds_is_told_by_chip_and_by_its_busiest_core() -> None:
    page = show_mapping(found())
    table = page.split("<table>")[3]
    assert rows(f"<table>{table}", "chip") == [
        ["chip", "binds", "memory", "compute", "traffic", "barrier", "busiest core",
         "there binds"],
        ["loihi1", "memory", "50.0%", "10.0%", "15.0%", "25.0%", "0 (a)", "memory"],
        ["mine", "memory", "50.0%", "10.0%", "15.0%", "25.0%", "0 (a)", "memory"],
    ]  # fmt: skip
    assert "<title>cores of each chip with their load</title>" in page


def test_cores_are_drawn_where_they_lie_and_as_dark_as_they_are_busy(tmp_path: Path) -> None:
    loads = found()["loihi1"]["mapping"]["loads"]
    ax = Figure().subplots()
    pictures._cores(ax, "Loihi 1", loads)
    (first, second, third) = ax.patches
    assert [p.get_xy() for p in (first, second, third)] == [(0, 0), (0.45, 0), (8, 0)]
    assert [t.get_text() for t in ax.texts] == ["m", "m", "c"]
    busy = [1.2e-3, 6e-4, 1e-4]
    shares = [0.08 + 0.92 * x / busy[0] for x in busy]
    assert [p.get_facecolor()[3] for p in ax.patches] == pytest.approx(shares)
    assert ax.get_title() == "Loihi 1: 3 cores, the busiest 1.2 ms an inference"
    many = {**loads, "chip": [0, 0, 7]}
    ax = Figure().subplots()
    pictures._cores(ax, "Loihi 1", many)
    assert len(ax.patches) == 2
    assert ax.get_title().endswith(", the first 4 of 8 chips")
    pictures.draw_cores({"Loihi 1": loads}, tmp_path / "cores.png")
    assert (tmp_path / "cores.png").read_bytes().startswith(b"\x89PNG")


def test_a_searched_mapping_stands_beside_the_greedy_one() -> None:
    side = {"chip": 4e-6, "core": 1e-6, "seconds": 2e-3, "hop": 5e-7, "messages": 1200.0}
    greedy = {**side, "crossings": 0.0, "cores": 12, "chips": 1}
    result = found()
    result["mine"]["mapping"]["searched"] = {
        "goal": "energy",
        "kept": ["encoder: no other placement takes less energy"],
        "found": {**greedy, "chip": 1e-6, "seconds": 5e-4, "cores": 48},
        "greedy": greedy,
    }
    assert rows(show_mapping(result), "chip")[0][-1] == "binds"
    table = show_mapping(result).split("<table>")[-1]
    assert rows(f"<table>{table}", "chip") == [
        ["chip", "what", "greedy", "searched", "greedy / searched"],
        ["mine", "energy, chip tier", "4 µJ", "1 µJ", "4"],
        ["mine", "time of an inference", "2 ms", "0.5 ms", "4"],
        ["mine", "energy, core tier", "1 µJ", "1 µJ", "1"],
        ["mine", "of it, hops on the mesh", "500 nJ", "500 nJ", "1"],
        ["mine", "messages", "1,200", "1,200", "1"],
        ["mine", "crossings between chips", "0", "0", ""],
        ["mine", "cores", "12", "48", "0.25"],
    ]
    assert "mine: greedy is kept: encoder: no other placement takes less energy" in table


def test_the_appendix_sets_the_model_beside_what_was_measured() -> None:
    result = found()
    result["conventional45nm"]["operations"] = {"acs": 9095.0, "macs": 0.0, "dense": 118400.0}
    page = show_validation(result)
    head, energy, *steps = rows(page, "check")
    assert head == ["check", "model", "measured", "ratio", "accepted"]
    assert energy[1:] == ["66.5 µJ", "68.3 µJ", "0.972", "0.8 to 1.25"]
    assert [step[-1] for step in steps] == ["0.9 to 1.1"] * 4
    assert paragraphs(page)[-1].endswith(
        "Effective_ACs 9,095.0, Effective_MACs 0.0, Dense 118,400."
    )
    assert "Effective_ACs" not in show_validation(found())


def test_more_than_30_layers_are_folded() -> None:
    for n in (30, 31):
        many = found()
        for name in ("loihi1", "mine"):
            names = [f"n{k}" for k in range(n)]
            many[name] = chip(many[name]["title"], 1e-6, *names, in_axons=1.0)
        assert (f"<summary>{n} rows</summary>" in show_energy(many)) == (n > 30)
        assert "<summary>" in show_mapping(many)  # 60 rows: of both chips
    assert "<summary>" not in show_energy(found()) + show_mapping(found())

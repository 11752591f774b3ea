"""``neuro bench imports``: what its rows compare, and how its tables show them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tasks.bench.options import BenchOptions
from tasks.imported import bench as bench_imports
from tasks.imported.bench import (
    DigitSplit,
    compare_random,
    compare_tutorials,
    draw_imports,
    import_tutorial,
    list_tutorials,
    tabulate_random,
    tabulate_tutorials,
)

pytest.importorskip("snntorch")
pytest.importorskip("norse")
pytest.importorskip("spikingjelly")
QUICK = BenchOptions(quick=True)
FIRST = "snnTorch 3, feedforward"


def printed(table: object) -> str:
    file = io.StringIO()
    Console(file=file, width=140).print(table)
    return " ".join(file.getvalue().split())


@pytest.mark.slow
def test_a_tutorial_has_spikes_accuracies_and_joules_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tutorial = list_tutorials()[FIRST]
    monkeypatch.setattr(bench_imports, "list_tutorials", lambda: {FIRST: tutorial})
    monkeypatch.delenv("NEURO_DATA", raising=False)
    rows = {row.subject: row for row in compare_tutorials(QUICK)}
    spikes = rows["different spikes"]
    assert spikes.ours == 0
    assert spikes.theirs is not None
    assert spikes.theirs > 1000
    error = rows["largest error"].ours
    assert error is not None
    assert 0 < error < 1e-12
    shares = [rows[f"accuracy, {who}"] for who in ("torch", "events", "integers")]
    assert shares[0].ours == shares[1].ours == shares[0].theirs == shares[2].theirs
    energy = rows["core energy, loihi2"].ours
    assert energy is not None
    assert 1e-6 < energy < 1e-3
    line = printed(tabulate_tutorials([*rows.values()]))
    assert f"{FIRST} {spikes.theirs:,.0f} 0" in line
    draw_imports([*rows.values()], tmp_path / "imports.png")
    assert (tmp_path / "imports.png").read_bytes().startswith(b"\x89PNG")


def test_a_tutorial_that_is_refused_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_backwards() -> torch.nn.Module:
        class Backwards(type(tutorial.make())):  # type: ignore[misc]
            def forward(self, x: torch.Tensor) -> object:
                return super().forward(x.flip(0))

        return Backwards()

    tutorial = list_tutorials()[FIRST]
    odd = replace(tutorial, make=run_backwards, trains=False)
    monkeypatch.setattr(bench_imports, "list_tutorials", lambda: {FIRST: odd})
    monkeypatch.delenv("NEURO_DATA", raising=False)
    (row,) = compare_tutorials(QUICK)
    assert (row.subject, row.ours) == ("refused", None)
    assert "flip() has no node" in row.note
    assert f"{FIRST} refused" in printed(tabulate_tutorials([row]))


def test_files_of_nir_stand_beside_the_tutorials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nir = pytest.importorskip("nir")
    (tmp_path / "nir").mkdir()
    one = np.ones(1)
    cell = nir.LIF(
        tau=0.002 * one, r=20 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one
    )
    graph = nir.NIRGraph.from_list(nir.Affine(np.ones((1, 2)), np.zeros(1)), cell)
    nir.write(tmp_path / "nir" / "good.nir", graph)
    (tmp_path / "nir" / "other.nir").write_bytes(b"nothing")
    monkeypatch.setattr(bench_imports, "list_tutorials", dict)
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    rows = list(compare_tutorials(QUICK))
    good = {row.subject: row for row in rows if row.case == "good.nir"}
    assert good["different spikes"].ours == 0
    assert good["different spikes"].theirs is not None
    assert good["different spikes"].theirs > 3
    assert good["core energy, loihi2"].ours is not None
    (bad,) = [row for row in rows if row.case == "other.nir"]
    assert bad.subject == "refused"
    assert "other.nir" in bad.note


@pytest.mark.slow
def test_random_networks_of_four_kinds_have_the_spikes_of_their_sources() -> None:
    rows = list(compare_random(QUICK))
    assert [row.peer for row in rows] == ["snntorch", "spikingjelly", "norse", "nir"]
    for row in rows:
        assert row.ours == 0
        assert row.theirs is not None
        assert row.theirs > 50
        assert row.conditions["networks"] == 3
    assert "snntorch 3" in printed(tabulate_random(rows))


def test_stimuli_are_digits_as_the_tutorial_shows_them() -> None:
    image = np.zeros((1, 1, 28, 28), np.uint8)
    image[0, 0, 3, 5] = 255
    digits = DigitSplit(images=image, labels=np.array([7]))
    for name in (FIRST, "snnTorch 5, static image"):
        tutorial = list_tutorials()[name]
        x = tutorial.encode(digits.images, np.random.default_rng(0))
        assert x.shape == (tutorial.ticks, 1, 784)
        assert (x[:, 0, 3 * 28 + 5] == 1).all()
        assert x.sum() == tutorial.ticks


@pytest.mark.parametrize(
    "name", ["snnTorch 5, static image", "Norse, sequential convolutional"]
)
def test_a_tutorial_is_imported_as_it_is(name: str) -> None:
    tutorial = list_tutorials()[name]
    network = import_tutorial(tutorial, tutorial.make().eval())
    assert network.library.startswith(tutorial.library)
    assert network.graph.shapes[network.graph.inputs[0]] == tutorial.input_shape

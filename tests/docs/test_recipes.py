"""The code of the recipes runs, and what they say of other libraries is so.

Peers are compared in float64 on random input, where no membrane lies on a threshold.
Axes: T ticks, B samples, N neurons.
"""

import json
import math
import re
import shlex
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from blank_pictures import leave_blank
from torch import Tensor, nn

from drivers.puzzles import UnsolvablePuzzleError, read_items
from drivers.text import find_part
from neuro import ALIF, IF, LI, LIF, Recurrent, Spiking, Stack
from neuro.energy import chip_file, estimate, find_chip
from neuro.energy.chip import ChipLimits, Confidence
from neuro.events import Grid, simulate
from neuro.interop.imported import RETURNED, verify_import
from neuro.mixers import MIXERS, NamedMixer
from neuro.neurons.surrogate import arctan
from neuro.nn.layers import DT
from neuro.nn.trace import trace
from neuro.training import Plan
from tasks.cli import main
from tasks.imported import import_network
from tasks.language.checkpoint import from_pretrained, save_pretrained
from tasks.language.config import matmulfree_370m
from tasks.language.model import LanguageModel
from tasks.language.rwkv import RWKV, RWKVSizes, initialise
from tasks.reasoning.config import tiny
from tasks.reasoning.data import PUZZLES, load
from tasks.reasoning.model import build
from tasks.reasoning.task import TASK
from tasks.runs.task import Deployment, Evaluation, Findings, Stimulus, Training

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
N = 40
BETA = 0.875  # exact in float32, in which snnTorch keeps it


def blocks(page: str) -> list[str]:
    """Return the Python of a page."""
    return re.findall(r"```python\n(.*?)```", (RECIPES / f"{page}.md").read_text(), re.DOTALL)


@cache
def run_page(page: str) -> SimpleNamespace:
    got: dict[str, Any] = {}
    for code in blocks(page):
        exec(code, got)
    return SimpleNamespace(**got)


def as_raster(record: Any, name: str, like: Tensor) -> Tensor:
    """Return the spikes of a population in a Record as those of a tensor T B N."""
    out, events = torch.zeros_like(like), record.spikes[name]
    out[events.tick, events.sample, events.neuron] = 1
    return out


def current(scale: float = 1.0) -> Tensor:
    """Return random input, T B N."""
    return scale * torch.randn(60, 5, N, dtype=torch.float64)


def step_through(cell: Any, x: Tensor, *states: Any) -> Tensor:
    """Return the first output of a cell (x, *states) -> (y, *states) at each tick."""
    out = []
    for x_t in x:
        y, *states = cell(x_t, *states)
        out.append(y)
    return torch.stack(out).to(x)


def detached(cell: Any, x: Tensor) -> Tensor:
    """Return the same from rest, without gradient."""
    return step_through(cell, x, None).detach()


def require_equal_spikes(ours: nn.Module, x: Tensor, expected: Tensor) -> None:
    y, _ = ours(x)
    assert 0.02 < expected.mean() < 0.8
    assert torch.equal(y, expected)


def tau(decay: float) -> float:
    return -DT / math.log(decay)


class TestAWholeTask:
    @pytest.mark.slow
    def test_goes_from_nothing_through_every_verb(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "speed.py").write_text("\n\n".join(blocks("whole_task")))
        monkeypatch.chdir(tmp_path)
        commands = re.findall(r"(?m)^neuro (.*)$", (RECIPES / "whole_task.md").read_text())
        assert [c.split()[0] for c in commands] == [
            *("train", "eval", "simulate", "verify", "export", "energy", "report")
        ]
        with leave_blank():
            for command in commands:
                main(command.split())
        run = tmp_path / "runs/speed"
        found = json.loads((run / "eval.json").read_text())
        assert found["speed_error"] < 0.1  # of 0.25 that a constant has
        verify = json.loads((run / "verify.json").read_text())
        assert verify["torch_events"]["mismatches"] == 0
        assert verify["reference_lava"].get("mismatches", 0) == 0
        assert verify["metrics"]["speed_error"]["integers"] < 0.1
        energy = json.loads((run / "energy.json").read_text())
        assert energy["conventional45nm"]["ann_passes"] == 12
        assert "same-shape ANN takes 12 passes" in (run / "report.html").read_text()
        assert "not measured yet" not in (run / "report.html").read_text()
        assert (run / "speed.py").exists()

    def test_names_all_that_the_parts_of_a_task_may_hold(self) -> None:
        page = (RECIPES / "whole_task.md").read_text()
        for part in (Training, Deployment, Evaluation, Findings, Plan, Stimulus):
            names = part._fields if part is Stimulus else [f.name for f in fields(part)]  # type: ignore[attr-defined, arg-type]
            for name in names:
                assert re.search(rf"`{name}`|[(,] ?{name}[,)]", page), f"{part.__name__}.{name}"


class TestAChip:
    PAGE = (RECIPES / "chip.md").read_text()

    def test_the_file_of_the_page_is_the_base_but_for_what_it_gives(
        self, tmp_path: Path
    ) -> None:
        (code,) = re.findall(r"```toml\n(.*?)```", self.PAGE, re.DOTALL)
        path = tmp_path / "my_chip.toml"
        path.write_text(code)
        chip, base = find_chip(str(path)), find_chip("loihi1")
        assert (chip.name, chip.title, chip.base) == (
            "my_chip",
            "Loihi 1 (Davies 2018): my_chip",
            "loihi1",
        )
        mine, shared = chip.energy.synapse, chip.energy.synapse_conv
        assert (mine.low, mine.value, mine.high) == pytest.approx((25.5e-12, 27e-12, 28.5e-12))
        assert (shared.low, shared.high) == pytest.approx((21.6e-12, 26.4e-12))
        assert (mine.confidence, mine.source) == ("measured", "our laboratory, protocol 12")
        as_there = replace(
            chip.energy, synapse=base.energy.synapse, synapse_conv=base.energy.synapse_conv
        )
        assert as_there == base.energy
        for name in ("time", "power", "limits", "barrier", "hardware", "programmable"):
            assert getattr(chip, name) == getattr(base, name)

    def test_every_key_of_a_chip_file_stands_on_the_page(self) -> None:
        keys = {*chip_file.KEYS} - {*chip_file.TABLES}
        origin = [f.name for f in fields(chip_file.Origin)]
        for name in (*keys, *origin, *get_args(Confidence)):
            assert f"`{name}`" in self.PAGE or f"[{name}." in self.PAGE or name == "base", name
        assert 'base = "loihi1"' in self.PAGE
        for table, kind in chip_file.TABLES.items():
            assert f"`[{table}]`" in self.PAGE
            for f in fields(kind):
                assert f"`{f.name}`" in self.PAGE, f"{table}.{f.name}"
        limits = get_type_hints(ChipLimits, include_extras=True)
        unit = {name: hint.__metadata__[0].unit for name, hint in limits.items()}
        told = re.findall(
            r"(?m)^\| (`[a-z_`, ]+`) \| (\w+) \|", self.PAGE.split("`[limits]`")[1]
        )
        assert {n: u for names, u in told for n in re.findall("[a-z_]+", names)} == unit


@pytest.mark.slow
def test_a_recurrent_network_learns_what_it_has_to_keep() -> None:
    page = run_page("sequence")
    assert page.neuron.leak == pytest.approx(-math.expm1(-0.1), rel=1e-6)
    assert len(page.losses) == 40
    assert page.losses[0] > 0.5
    assert np.mean(page.losses[-5:]) < 0.4
    assert page.accuracy > 0.9
    assert torch.equal(torch.cat([page.first, page.rest]), page.y)
    assert page.graph.dt == 2e-3
    found = page.record.values["out"]
    assert found.shape == (30, 200, 2)
    assert (found[-5:].mean(0).argmax(1) == page.y[-5:].mean(0).argmax(1).numpy()).mean() > 0.98


@pytest.mark.slow
def test_events_of_a_users_own_go_from_files_to_joules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = run_page("event_data")
    assert page.x.shape == (30, 40, 2, 8, 8)
    words = np.array([(5 << 8) | (9 << 1) | 1, 1000, (6 << 8) | (10 << 1), 999], ">u4")
    Path("a.aedat").write_bytes(b"#!AER-DAT2.0\r\n# a comment\r\n" + words.tobytes())
    clip = page.read_dvs128("a.aedat", 3)
    columns = [c.tolist() for c in (clip.x, clip.y, clip.polarity, clip.time)]
    assert columns == [[9, 10], [5, 6], [1, 0], [1000, 999]]
    assert page.x.unique().tolist() == [0, 1]
    assert page.graph.dt == page.dt
    assert page.equality["torch_events"]["mismatches"] == 0
    accuracy = page.equality["metrics"]["accuracy"]
    assert accuracy["torch"] == accuracy["events"] >= 0.9
    assert "misfits" not in page.equality
    assert 0 < page.energy["loihi2"]["core"]["nominal"] < 1e-6
    assert "per inference" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_a_model_is_trained_on_texts_of_a_users_own_writes_and_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is priced, and its page, are those of every spiking run: tests/tasks/language."""
    monkeypatch.chdir(tmp_path)
    page = (RECIPES / "own_text.md").read_text()
    (tmp_path / "my_text.py").write_text("\n".join(blocks("own_text")))
    (tmp_path / "texts").mkdir()
    names = [f"{number}.txt" for number in range(100)]
    assert {find_part(Path(name)) for name in names} == {"train", "val", "test"}
    for name in names:
        (tmp_path / "texts" / name).write_text(f"Once there was the number {name[:-4]}.\n" * 20)
    commands = [
        shlex.split(re.split(r" {2,}", line)[0])
        for line in re.findall(r"(?m)^neuro (.*)$", page)
    ]
    verbs = ["train", "eval", "generate", "pack", "generate", "energy", "report"]
    assert [command[0] for command in commands] == verbs
    for command in commands[:5]:
        main(command)
    told = capsys.readouterr().out
    assert "bits per byte" in told
    assert told.count("Once ") == 2
    assert "18,432 ternary weights in 2.01 bits each" in told


@pytest.mark.slow
def test_a_network_from_elsewhere_goes_through_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("snntorch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_network, "TICKS", 12)
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")  # other tests run Lava
    page = (RECIPES / "import_network.md").read_text()
    code = blocks("import_network")
    (tmp_path / "my_net.py").write_text("\n".join([code[0], code[2]]))
    exec(code[1], {})
    commands = [
        shlex.split(re.split(r" {2,}", line)[0])
        for line in re.findall(r"(?m)^neuro (.*)$", page)
    ]
    verbs = ["import", "check", "eval", "simulate", "verify", "export", "energy", "report"]
    assert [command[0] for command in commands] == verbs
    for command in commands:
        main(command)
    told = capsys.readouterr().out
    assert "lif1" in told
    assert ", 0 different. Stimuli:" in told
    assert "accuracy" in told
    verify = json.loads((tmp_path / "runs/net/verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    page = (tmp_path / "runs/net/report.html").read_text()
    assert "Compared with its source at every tick" in page
    main(["import", "my_net.py:make_with_loop", "--stimulus", "data.npz", "--out", "runs/own"])
    assert ", 0 different. Stimuli:" in capsys.readouterr().out


def test_a_nir_graph_is_read_written_and_has_the_same_spikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nir")
    monkeypatch.chdir(tmp_path)
    page: dict[str, Any] = {}
    for code in blocks("from_nir"):
        exec(code, page)
    model = page["network"].graph.nodes["lif"]
    assert (model.decay, model.gain, model.reset_to) == (pytest.approx(0.95), 1, -0.5)
    assert page["network"].choices["dt"].startswith("0.0001 in the file's unit of time")
    assert all(row.agrees for row in verify_import(page["network"], ticks=32))
    assert page["again"].graph.nodes["lif"].reset_to == -0.5
    for column in ("tick", "sample", "neuron"):
        written, read = getattr(page["train"], column), getattr(page["back"]["input"], column)
        assert sorted(written.tolist()) == sorted(read.tolist())


def test_a_new_mixer_is_a_layer_of_a_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIXERS, "average", NamedMixer(make=nn.Identity))  # is taken out again
    page = run_page("mixer")
    torch.testing.assert_close(torch.cat([page.first, page.rest]), page.logits)
    mixer = page.Average(3).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    f, h, want = mixer.decay.sigmoid(), torch.zeros(2, 3), []
    for token in x:
        h = f * h + (1 - f) * mixer.value(token)
        want.append(mixer.output(torch.sigmoid(mixer.gate(token)) * h))
    torch.testing.assert_close(mixer(x)[0], torch.stack(want))
    macs = sum(p.numel() for p in mixer.parameters() if p.dim() == 2) + 2 * 3
    assert mixer.macs() == macs


@pytest.mark.slow
def test_a_puzzle_of_ones_own_is_drawn_solved_and_trained_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = run_page("../reasoning")
    assert [make().arm for make in page.TASK.configs.values()] == ["pause", "coconut"]
    ring = page.RingWalk
    monkeypatch.setitem(PUZZLES, "ring", lambda moves: ring(moves or 8))  # type: ignore[arg-type]
    config = replace(tiny(), puzzle="ring", size=0)
    assert sum(len(own) for own in load(config).items.values()) == 950
    batch = next(TASK.training.batches(config, "train", 0))
    assert TASK.training.loss(config, build(config), batch, 0.0).isfinite()
    assert ring(3).solve(("g", "up", "up", "down")) == ("a",)
    with pytest.raises(UnsolvablePuzzleError, match="no walk: g left"):
        ring(1).solve(("g", "left"))
    with pytest.raises(ValueError, match="ask for fewer items"):
        load(replace(config, size=2))


def test_questions_of_ones_own_are_read_as_the_page_says(tmp_path: Path) -> None:
    page = (RECIPES.parent / "reasoning.md").read_text()
    (text,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "walks_train.json").write_text(text)
    (item,) = read_items(tmp_path / "walks_train.json")
    assert item.question == ("from", "d", ":", "down", "flip")
    assert item.steps == (("down", "c"), ("flip", "f"))
    assert item.answer == ("f",)


def test_a_published_checkpoint_of_rwkv_writes_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks("rwkv")[0]
    checkpoint, vocabulary = re.findall(r'load_\w+\("(.*)"\)', code)
    sizes = RWKVSizes(version=6, vocabulary=300, width=16, layers=2, hidden=24, head_width=8)
    model = RWKV(sizes)
    initialise(model)
    torch.save(model.state_dict(), checkpoint)
    lines = [f"{b + 1} {bytes([b])!r} 1\n" for b in range(256)]
    more = [f"{k} '{k} ' 4\n" for k in range(257, 300)]
    Path(vocabulary).write_text("".join([*lines, *more]), encoding="utf-8")
    page = run_page("rwkv")
    assert page.prompt == [b + 1 for b in b"The capital of France is"]
    assert len(page.tokens) == 40 or page.token == 0
    assert page.logits.shape == (24, 1, 300)
    whole, _ = page.model(torch.tensor([*page.prompt, page.token])[:, None])
    torch.testing.assert_close(page.more[0], whole[-1])


def test_a_published_matmul_free_model_becomes_a_spiking_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = replace(matmulfree_370m(), stack="mlgru*2", width=8, hidden=16, vocabulary=20)
    save_pretrained("mm370m", LanguageModel(config), config)
    page = run_page("matmulfree")
    whole, _ = page.model(torch.tensor([[1], [5], [9], [7]]))
    torch.testing.assert_close(page.more[0], whole[-1])
    assert page.spiking.head.quantise.threshold == 0.25
    assert torch.equal(from_pretrained("copy")[0].head.weight, page.model.head.weight)


def test_a_balanced_network_fires_irregularly_goes_on_and_stays_in_its_loop() -> None:
    page = run_page("balanced_network")
    delays = page.graph.nodes["E to I"].delay
    assert (delays.dtype, delays.min(), delays.max()) == (np.uint16, 5, 30)
    for name in page.sizes:
        assert 5 < page.found[name].rate < 20
        assert page.found[name].cv > 0.6
        assert abs(page.found[name].correlation) < 0.02
    whole, _ = simulate(
        page.graph, {}, Grid(dtype=np.float32), ticks=11_000, record=page.spikes
    )
    for name, size in page.sizes.items():
        parts = [page.record.spikes[name], page.more.spikes[name]]
        assert sum(p.tick.size for p in parts) == whole.spikes[name].tick.size
        assert parts[1].shape == (1_000, 1, size)
        assert page.exact.times[name].time.size > 0


def test_a_graph_by_hand_runs_everywhere_and_says_what_is_true() -> None:
    page = run_page("own_graph")
    assert (page.graph.shapes["w_in"], page.graph.outputs) == ((8,), ("out",))
    cells = page.events.spikes["cells"]
    assert len(cells.tick) > 100
    assert all(map(np.array_equal, page.clock.spikes["cells"], cells))
    assert len(page.exact.times["cells"].time) > 100
    assert len(page.integers.spikes["cells"].tick) > 100
    assert page.more.ticks == 50
    assert page.joules.convention.ann_passes == 50
    assert 0 < page.joules.core.low < page.joules.core.high
    assert estimate(page.graph, page.clock, "loihi2").core == page.joules.core
    assert estimate(page.graph, page.integers, "loihi2").core != page.joules.core
    before, after = (g.nodes["back"].weight for g in (page.graph, page.trained))
    assert np.abs(after - before).max() > 0.01
    assert page.traced.dt == 0.5e-3
    delays = {(e.source, e.target): e.delay for e in page.traced.edges}
    assert delays["fc1", "cells_spiking"] == 4
    assert delays["cells_spiking", "cells_feedback"] == 1
    assert page.traced.nodes["adapting"].leak == pytest.approx(1 - math.exp(-0.5 / 20))


class TestSnnTorch:
    @pytest.fixture(autouse=True)
    def snn(self) -> Any:
        return pytest.importorskip("snntorch")

    @pytest.mark.slow
    def test_the_page_imports_networks_with_the_same_spikes(self) -> None:
        page = run_page("from_snntorch")
        expected = torch.from_numpy(page.expected)
        assert expected.sum() > 100
        assert torch.equal(as_raster(page.record, "lif2", expected), expected)
        activity, _ = page.net.double()({"input": page.x})
        assert torch.equal(activity["lif2"], expected)
        assert {row.population for row in page.rows} == {"lif1", "lif2", RETURNED}
        assert set(page.convolutional.graph.hosts) == {"1"}
        assert all(row.agrees for row in verify_import(page.convolutional, ticks=16))

    def test_the_default_surrogate_has_the_derivative_that_the_page_gives(
        self, snn: Any
    ) -> None:
        z = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
        snn.surrogate.atan()(z).sum().backward()
        torch.testing.assert_close(z.grad, arctan(z.detach()), rtol=1e-12, atol=0)


class TestSpikingJelly:
    @pytest.fixture(autouse=True)
    def neuron(self) -> Any:
        return pytest.importorskip("spikingjelly.activation_based.neuron")

    @pytest.mark.slow
    def test_the_page_imports_a_network_that_fires_as_theirs(self) -> None:
        page = run_page("from_spikingjelly")
        functional = pytest.importorskip("spikingjelly.activation_based.functional")
        theirs = page.theirs.double().eval()
        functional.reset_net(theirs)
        with torch.no_grad():
            expected = theirs(page.x.double())
        assert expected.sum() > 100
        assert torch.equal(as_raster(page.record, "layers_10", expected), expected)
        assert sum(row.spikes for row in page.compared) > 100

    @pytest.mark.parametrize("v_reset", [0.0, -0.25, None])
    @pytest.mark.parametrize("decay_input", [True, False])
    def test_a_lif_with_every_reset(
        self, neuron: Any, v_reset: float | None, decay_input: bool
    ) -> None:
        kind = {"decay_input": decay_input, "v_reset": v_reset, "v_threshold": 0.75}
        cell, x = neuron.LIFNode(tau=4.0, step_mode="m", **kind), current()
        reset: Any = "soft" if v_reset is None else "hard"
        threshold = 0.75 - (v_reset or 0.0)
        decaying = ALIF(leak=1 / 4, threshold=threshold, reset=reset)
        adding = LIF(tau=tau(1 - 1 / 4), threshold=threshold, reset=reset)
        x = 3 * x if decay_input else x
        require_equal_spikes(Spiking(decaying if decay_input else adding), x, cell(x))

    @pytest.mark.parametrize("v_reset", [0.0, -0.25, None])
    def test_an_integrate_and_fire(self, neuron: Any, v_reset: float | None) -> None:
        cell = neuron.IFNode(v_threshold=0.75, v_reset=v_reset, step_mode="m")
        reset: Any = "soft" if v_reset is None else "hard"
        ours, x = IF(threshold=0.75 - (v_reset or 0.0), reset=reset), current()
        require_equal_spikes(Spiking(ours), x, cell(x))

    def test_a_parametric_lif_trains_the_same_leak(self, neuron: Any) -> None:
        surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
        how = {"detach_reset": True, "surrogate_function": surrogate.ATan()}
        cell = neuron.ParametricLIFNode(init_tau=4.0, step_mode="m", **how).double()
        ours, x = Spiking(ALIF(leak=1 / 4, threshold=1.0, reset="hard")), current(5.0)
        require_equal_spikes(ours, x, cell(x).detach())
        cell.reset()
        for y in (cell(x), ours(x)[0]):
            y.sum().backward()  # their w is the logit of the leak, as ours
        found = ours.get_parameter("logit_leak").grad
        assert found is not None
        assert float(found) == pytest.approx(float(cell.w.grad), rel=1e-6)

    def test_the_derivative_of_their_default(self) -> None:
        surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
        z = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
        surrogate.Sigmoid()(z).sum().backward()
        ours = 4 * torch.sigmoid(4 * z) * torch.sigmoid(-4 * z)
        torch.testing.assert_close(z.grad, ours.detach(), rtol=1e-9, atol=1e-12)


class TestNorse:
    @pytest.fixture(autouse=True)
    def norse(self) -> Any:
        return pytest.importorskip("norse.torch")

    @pytest.mark.slow
    def test_the_page_imports_a_network_with_their_spikes_and_voltages(self) -> None:
        page = run_page("from_norse")
        theirs, x = page.theirs.double(), page.x.double()
        with torch.no_grad():
            expected = theirs(x)
        assert expected.abs().max() > 0.01
        torch.testing.assert_close(
            torch.from_numpy(page.voltages), expected, rtol=1e-5, atol=1e-6
        )
        spikes = detached(theirs.lif, theirs.fc1(x))
        assert spikes.mean() > 0.02
        assert torch.equal(as_raster(page.record, "lif", spikes), spikes)

    @torch.no_grad()
    def test_convolutions_and_pools_have_the_same_spikes(self, norse: Any) -> None:
        conv, again = (nn.Conv2d(n, 3, 3, padding=1).double() for n in (1, 3))
        cell = norse.LIFCell(norse.LIFParameters(v_th=0.1))
        x, one, two, expected = torch.rand(60, 4, 1, 8, 8).double(), None, None, []
        for x_t in x:
            spikes, one = cell(conv(x_t), one)
            pooled = nn.AvgPool2d(2)(again(nn.MaxPool2d(2)(spikes)))
            spikes, two = cell(pooled, two)
            expected.append(spikes)
        model = LIF(tau=tau(0.9), tau_syn=tau(0.8), threshold=0.1 / 0.1, reset="hard")
        ours = Stack(
            *(conv, Spiking(model), nn.MaxPool2d(2), again, nn.AvgPool2d(2), Spiking(model))
        )
        require_equal_spikes(ours, x, torch.stack(expected))
        trace(ours, (1, 8, 8))

    def test_a_shifted_lif_has_its_threshold_shifted(self, norse: Any) -> None:
        both = torch.tensor(-0.2, dtype=torch.float64)
        cell = norse.LIFCell(norse.LIFParameters(v_leak=both, v_reset=both, v_th=0.1))
        model = LIF(tau=tau(0.9), tau_syn=tau(0.8), threshold=0.3 / 0.1, reset="hard")
        x = current()
        require_equal_spikes(Spiking(model), x, detached(cell, x))

    def test_a_recurrent_lif(self, norse: Any) -> None:
        p = norse.LIFParameters(v_th=0.1)
        cell = norse.LIFRecurrentCell(N, 30, p).double()
        assert not cell.recurrent_weights.diagonal().any()
        back, into = nn.Linear(30, 30, bias=False), nn.Linear(N, 30, bias=False)
        model = LIF(tau=tau(0.9), tau_syn=tau(0.8), threshold=0.1 / 0.1, reset="hard")
        ours = Stack(into, Recurrent(Spiking(model), back)).double()
        into.weight, back.weight = cell.input_weights, cell.recurrent_weights
        x = (current() > 0).double()
        require_equal_spikes(ours, x, detached(cell, x))

    def test_models_without_a_current(self, norse: Any) -> None:
        x = current()
        box = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=250.0, v_th=0.375))
        ours = ALIF(leak=0.25, threshold=0.375, reset="hard")
        require_equal_spikes(Spiking(ours), x, detached(box, x))
        iaf = norse.IAFCell()
        require_equal_spikes(Spiking(IF(reset="hard")), x, detached(iaf, x))
        li = norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=250.0))
        y, _ = Spiking(LI(tau=tau(0.75), gain=0.25))(x)
        torch.testing.assert_close(y, detached(li, x), rtol=1e-6, atol=1e-7)

    def test_the_surrogate_ignores_its_alpha(self, norse: Any) -> None:
        z = torch.linspace(-2, 2, 41, dtype=torch.float64).requires_grad_()
        threshold = norse.functional.threshold.threshold
        threshold(z, "super", 100.0).sum().backward()
        ours = 1 / (1 + z.detach().abs()) ** 2
        torch.testing.assert_close(z.grad, ours, rtol=1e-12, atol=0)

"""The answers of an imported network: those of its module, or none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from imported_networks import graph, make
from torch import Tensor

from neuro.interop.decoding import Decoding, DecodingError
from neuro.interop.imported import ImportedNetwork, OwnPrecision, run_clock, verify_import
from neuro.io.run_folder import RunError
from neuro.io.store import StoreError
from tasks.imported import import_network
from tasks.imported.answers import compare_answers, compare_precision, find_answers
from tasks.imported.files import load_decoding, save_decoding
from tasks.imported.stimulus import ImportedStimulus
from tasks.imported.task import score_others

pytest.importorskip("snntorch")

NETS = """
import snntorch as snn
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, end):
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.fc1, self.fc2, self.head = nn.Linear(6, 9), nn.Linear(9, 4), nn.Linear(4, 3)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=draw) * 2
        self.lif1, self.lif2 = snn.Leaky(0.9), snn.Leaky(0.8)
        self.end = end

    def forward(self, x):
        mem1 = mem2 = None
        out = []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return self.end(self, torch.stack(out))


def shared():
    return Net(lambda net, out: out[out.sum((1, 2)).argmax()])


def long():
    return Net(lambda net, out: out.sum(0) if len(out) > 11 else out.cumsum(0).clamp(max=1))


def late():
    return Net(lambda net, out: out[7:])


def permuted():
    return Net(lambda net, out: out.sum(0)[:, [2, 3, 1, 0]])


def head():
    return Net(lambda net, out: net.head(out[::2].mean(0)).log_softmax(1))


def first():
    return Net(lambda net, out: -(out.cumsum(0) == 0).float().sum(0))


class Gated(Net):
    def forward(self, x):
        mem1 = None
        out = []
        for t, x_t in enumerate(x):
            spk1, mem1 = self.lif1(self.fc1(x_t if t < 9 else 2 * x_t), mem1)
            out.append(spk1)
        return torch.stack(out)


def gated():
    return Gated(None)


class Narrow(Net):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


def cast():
    return Narrow(lambda net, out: out)
"""
TICKS, SAMPLES = 13, 37


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with nets.py and the stimulus of all tests."""
    here = tmp_path_factory.mktemp("answers")
    (here / "nets.py").write_text(NETS)
    x = np.random.default_rng(2).random((TICKS, SAMPLES, 6)) < 0.4
    np.save(here / "x.npy", x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_network, "TICKS", 12)
        yield here


def ask(folder: Path, name: str) -> np.ndarray:
    """Return the answers of a module, which is run as its user would."""
    space: dict[str, Any] = {}
    exec(compile(NETS, "nets.py", "exec"), space)
    with torch.no_grad():
        scores: Tensor = space[name]()(torch.from_numpy(np.load(folder / "x.npy")).float())
    return (scores.sum(0) if scores.dim() == 3 else scores).argmax(1).numpy()


def write_labels(folder: Path, name: str, wrong: int) -> np.ndarray:
    """Write labels that are the answers of the module, but for the first samples."""
    labels = ask(folder, name)
    labels[:wrong] = (labels[:wrong] + 1) % 3
    np.save(folder / f"{name}.npy", labels)
    return labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong", "told", "macs"),
    [
        ("late", 2, "the sum of the output over ticks 7 to 12", 0),
        ("permuted", 3, "a weighted sum of the output over all 13 ticks, of 4 val", 4),
        ("head", 5, "a weighted sum of the output over 7 of the ticks 0 to 12, of 4", 12),
    ],
)
def test_a_run_answers_as_its_module(
    folder: Path, cli: CommandLine, name: str, wrong: int, told: str, macs: int
) -> None:
    labels, run = write_labels(folder, name, wrong), folder / f"run_{name}"
    out = cli.run(
        *("import", f"{folder / 'nets.py'}:{name}", "--out", run),
        *("--stimulus", folder / "x.npy", "--labels", folder / f"{name}.npy"),
    )
    right = SAMPLES - wrong
    share = f"({right / SAMPLES:.2%})"
    assert (
        f"of 37 labelled samples the source answers {right} right in float32 {share}, the run "
        f"{right} {share}; 0 answers differ" in out
    )
    assert f"answers: {told}" in out
    facts = json.loads((run / "import.json").read_text())
    assert facts["verification"]["answers"] == {
        **{"precision": "float32", "samples": SAMPLES, "source": right, "run": right},
        "different": 0,
    }
    cli.run("eval", run)
    found = json.loads((run / "eval.json").read_text())
    assert found["accuracy"] == right / SAMPLES
    classes = 3 if name == "head" else 4
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, ask(folder, name)), 1)
    assert found["confusion"] == confusion.tolist()
    cli.run("energy", run)
    host = json.loads((run / "energy.json").read_text()).get("host", [])
    assert host == ([{"node": "decoding", "macs": macs}] if macs else [])


@pytest.mark.slow
def test_every_executor_has_these_answers(
    folder: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(folder, "late", 4)
    cli.run(
        *("import", f"{folder / 'nets.py'}:late", "--out", folder / "all"),
        *("--stimulus", folder / "x.npy", "--labels", folder / "late.npy"),
    )
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    cli.run("verify", folder / "all")
    accuracy = json.loads((folder / "all" / "verify.json").read_text())["metrics"]["accuracy"]
    assert accuracy["torch"] == accuracy["events"] == 33 / SAMPLES
    cli.run("report", folder / "all")
    page = (folder / "all" / "report.html").read_text()
    assert "the sum of the output over ticks 7 to 12" in page
    assert "of 37 labelled samples the source answers 33 right in float32 (89.19%)" in page
    path = folder / "all" / "decoding.npz"
    path.write_bytes(path.read_bytes() + b" ")
    assert f"{path}: has changed since the import" in cli.refuse("eval", folder / "all")


@pytest.mark.slow
def test_answers_that_a_run_cannot_hold_leave_none(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    write_labels(folder, "first", 0)
    argv = ("import", f"{folder / 'nets.py'}:first", "--out", tmp_path / "run")
    data = ("--stimulus", folder / "x.npy")
    text = cli.refuse(*argv, *data, "--labels", folder / "first.npy")
    assert "neither a weighted sum nor the maximum of its output over ticks (sum() at" in text
    assert "Nothing was written, since an accuracy would be of other answers" in text
    assert list(tmp_path.iterdir()) == []
    assert "answers: not decoded: what the module returns is neither" in cli.run(*argv, *data)
    late = ("import", f"{folder / 'nets.py'}:late", "--shape", "6", "--out")
    out = cli.run(*late, tmp_path / "late", "--ticks", "9")
    assert "answers: the sum of the output over ticks 7 to 8" in out
    text = cli.refuse(*late, tmp_path / "less", "--ticks", "5")
    assert "no neuron reaches what the module returns of 5 ticks" in text
    text = cli.refuse(*late, tmp_path / "less", *data, "--ticks", "5")
    assert "x.npy has its own ticks; leave --ticks out" in text
    assert not (tmp_path / "run" / "decoding.npz").exists()
    cli.run("eval", tmp_path / "run")
    assert "accuracy" not in json.loads((tmp_path / "run" / "eval.json").read_text())


def test_a_module_that_changes_by_the_tick_is_refused_with_its_line(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    argv = ("import", f"{folder / 'nets.py'}:gated", "--out", tmp_path / "run")
    for words in (("--shape", "6"), ("--stimulus", folder / "x.npy")):
        text = cli.refuse(*argv, *words)
        assert "nets.py:56: in tick 0 lif1 gets fc1 of input, where tick 1" in text
        assert "the last, makes one expect fc1 of scale; a network does the same in" in text


@pytest.mark.slow
def test_a_decoding_that_holds_for_some_inputs_alone_is_none(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    """The module returns the tick with the most spikes of all samples."""
    write_labels(folder, "shared", 1)
    argv = ("import", f"{folder / 'nets.py'}:shared", "--out", tmp_path / "run")
    data = ("--stimulus", folder / "x.npy")
    text = cli.refuse(*argv, *data, "--labels", folder / "shared.npy")
    assert "Nothing was written, since an accuracy would be of other answers" in text
    assert "fault of the import" not in text
    assert "answers: not decoded: " in cli.run(*argv, *data)


@pytest.mark.slow
def test_a_decoding_may_be_known_for_the_ticks_of_the_run_alone(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    write_labels(folder, "long", 6)
    argv = ("import", f"{folder / 'nets.py'}:long", "--out", tmp_path / "run")
    data = ("--stimulus", folder / "x.npy", "--labels", folder / "long.npy")
    assert "the source answers 31 right in float32" in cli.run(*argv, *data)
    cli.run("eval", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "eval.json").read_text())["accuracy"] == 31 / 37


def test_labels_are_of_the_classes_of_the_answer(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    labels = write_labels(folder, "head", 0)
    labels[5] = 3
    np.save(tmp_path / "y.npy", labels)
    text = cli.refuse(
        *("import", f"{folder / 'nets.py'}:head", "--out", tmp_path / "run"),
        *("--stimulus", folder / "x.npy", "--labels", tmp_path / "y.npy"),
    )
    assert "label 3 is outside 0 ... 2: there are 3 classes; count them from 0" in text


@pytest.mark.slow
def test_a_module_that_casts_is_compared_in_its_own_precision(
    folder: Path, tmp_path: Path, cli: CommandLine
) -> None:
    out = cli.run(
        "import", f"{folder / 'nets.py'}:cast", "--shape", "6", "--out", tmp_path / "r"
    )
    own = json.loads((tmp_path / "r" / "import.json").read_text())["verification"]["precision"]
    assert own["name"] == "float32"
    assert own["casts"] == ["bfloat16 at nets.py:20"]
    assert 0 < own["different"] < own["spikes"]
    assert own["failed"] == ""
    assert (
        "the run is of the network in float64; in its own precision (float32, bfloat16 at "
        f"nets.py:20) {own['different']:,} spikes of the source differ (of {own['spikes']:,})"
    ) in out
    cli.run("report", tmp_path / "r")
    assert "bfloat16 at nets.py:20" in (tmp_path / "r" / "report.html").read_text()


def test_a_precision_in_which_the_module_fails_is_said() -> None:
    def fail(_: object) -> Any:
        raise RuntimeError("no kernel for Half")

    own = OwnPrecision(name="float16", casts=(), run=fail)
    found = compare_precision(make(), own, verify_import)
    assert found == {
        **{"name": "float16", "casts": [], "spikes": 0, "different": 0},
        "failed": "no kernel for Half",
    }


def returning(
    answers: Callable[[np.ndarray], np.ndarray], own: Callable[[np.ndarray], np.ndarray]
) -> tuple[ImportedNetwork, ImportedStimulus, Decoding]:
    """Return a network, 5 samples of 7 ticks and its decoding, by what the source returns."""

    def run(read: Callable[[np.ndarray], np.ndarray]) -> Any:
        return lambda inputs: run_clock(graph(), inputs)._replace(returned=read(inputs["x"]))

    x = np.random.default_rng(1).random((7, 5, 6)) * 0.3
    spikes = run_clock(graph(), {"x": x}).outputs["out"].sum(0)
    network = replace(
        make(),
        run_source=run(lambda _: answers(spikes)),
        own=OwnPrecision(name="float32", casts=(), run=run(lambda _: own(spikes))),
    )
    labels = np.array([0, 1, 2, 0, 1])
    decoding = Decoding(weights=np.ones((7, 3)), bias=np.zeros(3))
    return network, ImportedStimulus(inputs={"x": x}, labels=labels), decoding


def test_answers_that_differ_by_precision_are_counted() -> None:
    network, stimulus, decoding = returning(
        lambda s: s, lambda s: np.where((np.arange(5) == 3)[:, None], s[:, ::-1], s)
    )
    facts = compare_answers("net", network, stimulus, decoding)
    assert facts == {
        **{"precision": "float32", "samples": 5, "source": 2, "run": 1, "different": 1}
    }


def test_answers_that_differ_in_float64_are_refused() -> None:
    network, stimulus, decoding = returning(lambda s: -s, lambda s: -s)
    with pytest.raises(RunError, match=r"^net: what the module returns is not always"):
        compare_answers("net", network, stimulus, decoding)


def test_classes_that_a_source_returns_are_its_answers() -> None:
    network, stimulus, decoding = returning(lambda s: s.argmax(1), lambda s: s.argmax(1))
    facts = compare_answers("net", replace(network, own=None), stimulus, decoding)
    assert facts["precision"] == "float64"
    assert facts["different"] == 0


def test_without_a_word_of_the_source_the_ticks_are_summed() -> None:
    network, stimulus, _ = returning(lambda s: s, lambda s: s)
    found = find_answers("net", network, stimulus)
    assert found is not None
    assert (found.is_plain, found.weights.shape) == (True, (7, 3))
    assert find_answers("net", network, replace(stimulus, labels=None)) is None

    def refuse(ticks: int) -> Decoding:
        raise DecodingError(f"no way to decode {ticks} ticks")

    with pytest.raises(RunError, match=r"^net: no way to decode 7 ticks\. Nothing was written"):
        find_answers("net", replace(network, find_decoding=refuse), stimulus)


def test_a_decoding_in_a_file_is_the_same(tmp_path: Path) -> None:
    weights = np.arange(24.0).reshape(2, 3, 4)
    one = Decoding(weights=weights, bias=np.array([1.0, 0, -2, 3]), final="softmax")
    save_decoding(tmp_path / "a.npz", one)
    back = load_decoding(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.weights, weights)
    np.testing.assert_array_equal(back.bias, one.bias)
    assert (back.over_ticks, back.final) == ("sum", "softmax")
    save_decoding(tmp_path / "b.npz", replace(one, over_ticks="maximum", weights=weights[0]))
    assert load_decoding(tmp_path / "b.npz").over_ticks == "maximum"
    np.savez(tmp_path / "c.npz", weights=weights)
    with pytest.raises(StoreError, match=r"c\.npz.*neuro import makes the run again"):
        load_decoding(tmp_path / "c.npz")


def test_a_sample_is_judged_by_means_without_it() -> None:
    """Sample 2 (2.9) is nearest to the mean of its class, 1.63, and without it to 4.3.

    Sample 3 is wrong either way; the only sample of class 7 has no mean.
    """
    values = np.array([0, 2, 2.9, 2.6, 6, 20, 30, 31])[:, None]
    x, labels = np.stack([values - 1, values + 1]), np.array([0, 0, 0, 4, 4, 7, 9, 9])
    assert score_others({"a": x, "b": np.zeros((2, 8, 2, 2))}, labels) == {
        "most frequent label": {"accuracy": 0.375},
        "nearest mean of the other samples": {"accuracy": 0.625},
    }

"""Values that are no spikes: graded by default where they are constant, else as they are."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from imported_networks import graph, write_networks

from neuro.graph import GradedInput
from neuro.io.graph_file import load_graph
from neuro.nn.net import Net
from tasks.imported import import_network
from tasks.imported.coding import choose_code, code_network
from tasks.imported.sections import describe_code
from tasks.imported.stimulus import ImportedStimulus, StimulusError, load_stimulus
from tasks.runs.task import ACCURACY


@pytest.fixture(autouse=True)
def few_ticks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_network, "TICKS", 12)
        yield


def draw_images(ticks: int = 9, samples: int = 5) -> np.ndarray:
    """Return values from 0 to 1, T B 6, the same in every tick."""
    image = np.random.default_rng(2).random((1, samples, 6))
    return np.repeat(image, ticks, 0)


def count_spikes(folder: Path) -> dict[str, np.ndarray]:
    net = Net(load_graph(folder / "graph.safetensors")).double()
    x = load_stimulus(folder / "stimulus.npz").inputs["x"].astype(np.float64)
    activity, _ = net({"x": torch.from_numpy(x)})
    return {name: activity[name].detach().numpy() for name in ("hidden", "out")}


@pytest.mark.slow
def test_constant_values_are_graded_and_every_verb_takes_the_run(
    tmp_path: Path, cli: CommandLine
) -> None:
    nets, x = write_networks(tmp_path), draw_images()
    np.savez(tmp_path / "data.npz", x=x, labels=np.array([0, 2, 1, 1, 0]))
    flags = ("--stimulus", tmp_path / "data.npz", "--out")
    text = cli.run("import", f"{nets}:soft", *flags, tmp_path / "graded")
    cli.run("import", f"{nets}:soft", *flags, tmp_path / "real", "--set", "input=real")
    run = tmp_path / "graded"
    own = load_graph(run / "graph.safetensors")
    assert isinstance(own.nodes["x"], GradedInput)
    unit = float(x.max()) / 127
    np.testing.assert_allclose(
        own.nodes["fc1"].weight, unit * graph("soft").nodes["fc1"].weight
    )  # type: ignore[union-attr]
    kept = load_stimulus(run / "stimulus.npz").inputs["x"]
    np.testing.assert_array_equal(kept, np.rint(x / unit))
    facts = json.loads((run / "import.json").read_text())["code"]
    coded, real = count_spikes(run), count_spikes(tmp_path / "real")
    assert facts["code"] == "graded"
    assert (facts["bits"], facts["units"], facts["samples"]) == (8, {"x": unit}, 5)
    assert facts["spikes"] == sum(int(s.sum()) for s in real.values())
    assert facts["different"] == sum(int((real[n] != coded[n]).sum()) for n in real)
    labels = np.array([0, 2, 1, 1, 0])
    hits = [s["out"].sum(0).argmax(1) == labels for s in (real, coded)]
    assert facts["right"] == [int(own.sum()) for own in hits]
    assert facts["changed"] == int((hits[0] != hits[1]).sum())
    assert describe_code(facts) in text
    assert "code" not in json.loads((tmp_path / "real" / "import.json").read_text())
    assert cli.run("check", run, "--target", "loihi2,lava").count("takes it") == 2
    for verb in ("verify", "export", "energy"):
        cli.run(verb, run)
    verified = json.loads((run / "verify.json").read_text())
    assert verified["torch_events"]["mismatches"] == 0
    assert "integers" in verified["metrics"]["accuracy"]
    energy = json.loads((run / "energy.json").read_text())
    assert not energy["loihi2"].get("misfits")
    assert any("graded spikes" in problem for problem in energy["loihi1"]["misfits"])
    assert "input=rate" in "".join(energy["loihi1"]["misfits"])


def test_what_a_chip_refuses_of_real_values_every_verb_says_in_the_same_words(
    tmp_path: Path, cli: CommandLine
) -> None:
    nets = write_networks(tmp_path)
    np.savez(tmp_path / "data.npz", x=draw_images())
    run = tmp_path / "real"
    flags = ("--stimulus", tmp_path / "data.npz", "--set", "input=real", "--out", run)
    cli.run("import", f"{nets}:make", *flags)
    words = "spikes are not 1"
    cure = "whole numbers of a GradedInput (neuro import --set input=graded)"
    cli.run("energy", run)
    cli.run("verify", run)
    results = [json.loads((run / f"{name}.json").read_text()) for name in ("verify", "energy")]
    for said in (
        cli.end(1, "check", run, "--target", "loihi2,lava,netx")[0],
        cli.refuse("export", run),
        *results[0]["misfits"],
        *results[1]["loihi2"]["misfits"],
    ):
        assert words in said
        assert cure in said


def test_a_rate_replaces_values_by_spikes(tmp_path: Path, cli: CommandLine) -> None:
    nets, x = write_networks(tmp_path), draw_images(ticks=10)
    np.savez(tmp_path / "data.npz", x=x)
    run = tmp_path / "rate"
    flags = ("--stimulus", tmp_path / "data.npz", "--set", "input=rate", "--out", run)
    text = cli.run("import", f"{nets}:make", *flags)
    kept = load_stimulus(run / "stimulus.npz").inputs["x"]
    assert kept.dtype == np.bool_
    np.testing.assert_array_equal(kept.sum(0), np.floor(10 * x[0] + 0.5))
    assert "input: rate: evenly spaced spikes" in text
    assert type(load_graph(run / "graph.safetensors").nodes["x"]) is not GradedInput
    check = cli.run("check", run, "--target", "loihi2,lava")
    assert check.count("takes it") == 2


def test_what_a_code_costs_is_told_with_the_interval_of_paired_answers() -> None:
    facts: dict[str, Any] = {
        "code": "rate",
        "bits": 1,
        "units": {},
        "spikes": 90,
        "different": 7,
    }
    facts |= {"samples": 400, "right": [300, 292], "changed": 12}
    told = describe_code(facts)  # type: ignore[arg-type]
    error = math.sqrt(12 / 400 - 0.02**2) / 20
    assert f"(73.00%; 300 before): {ACCURACY.describe_change(-0.02, error, 400)}" in told
    assert "2.0 ± 1.7 points lost (" in told
    del facts["changed"]
    assert describe_code(facts).endswith("2.00 points lost, of unknown uncertainty")  # type: ignore[arg-type]


SPIKES = np.array([0.0, 1.0, 1.0, 0.0]).reshape(2, 2, 1)
SHOWN = np.array([0.5, 1.0, 0.5, 1.0]).reshape(2, 2, 1)
CHANGING = np.array([0.5, 1.0, 0.5, 0.0]).reshape(2, 2, 1)


@pytest.mark.parametrize(
    ("inputs", "word", "code"),
    [
        ({"x": SPIKES}, "", "real"),
        ({"x": SHOWN}, "", "graded"),
        ({"x": CHANGING}, "", "real"),
        ({"x": SHOWN, "y": CHANGING}, "", "real"),
        ({"x": SHOWN, "y": SPIKES}, "", "graded"),
        ({"x": CHANGING}, "graded", "graded"),
        ({"x": SHOWN}, "rate", "rate"),
        ({"x": SHOWN}, "real", "real"),
    ],
)
def test_without_a_word_constant_values_alone_are_graded(
    inputs: dict[str, np.ndarray], word: str, code: str
) -> None:
    assert choose_code(word, ImportedStimulus(inputs=inputs)) == code


@pytest.mark.parametrize(
    ("x", "word", "message"),
    [
        (
            SPIKES,
            "graded",
            "input is graded, and the stimulus is spikes; leave --set input out",
        ),
        (CHANGING, "rate", "x: its values change from tick to tick"),
        (
            SHOWN - 0.75,
            "rate",
            r"x: its values are -0.25 to 0.25; a rate must be >= 0 and <= 1",
        ),
        (SHOWN + 0.25, "rate", "x: its values are 0.75 to 1.25; .*input=graded"),
        (SHOWN, "greyed", "greyed"),
    ],
)
def test_a_code_that_does_not_suit_the_stimulus_is_refused(
    x: np.ndarray, word: str, message: str
) -> None:
    with pytest.raises((StimulusError, ValueError), match=message):
        choose_code(word, ImportedStimulus(inputs={"x": x}))


def test_other_inputs_stay_as_they_are() -> None:
    x = draw_images()
    coded = code_network("graded", graph(), ImportedStimulus(inputs={"x": x}), None)
    assert coded.facts is not None
    assert coded.facts["right"] is None
    spikes = ImportedStimulus(inputs={"x": x > 0.5})
    for code in ("real", "graded"):
        plain = code_network(code, own := graph(), spikes, None)  # type: ignore[arg-type]
        assert (plain.graph, plain.stimulus, plain.facts) == (own, spikes, None)

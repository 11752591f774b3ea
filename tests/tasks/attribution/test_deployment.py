"""The spiking probe and the spiking language model on every executor; what stays on torch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from small_attribution import small_attribution

from neuro.base.seeds import seeded
from neuro.graph import RMSNorm
from neuro.io.run_folder import RunError
from neuro.nn.net import Net
from tasks.attribution.config import Arm, AttributionConfig
from tasks.attribution.deployment import (
    CORPUS,
    chip_part,
    count_host_macs,
    count_ticks,
    decode,
    describe,
    explain_only_torch,
    make_read_out_graph,
    measure,
    stimuli,
)
from tasks.attribution.documents import load
from tasks.attribution.model import AttributionModel, build
from tasks.attribution.task import TASK
from tasks.cli import main

SPIKING = {"linear": "spiking", "stack": "mlgru*2"}


def make(**change: object) -> tuple[AttributionConfig, AttributionModel]:
    config = replace(small_attribution(), **change)  # type: ignore[arg-type]
    with seeded(11):  # weights that no seed of a configuration begins with
        return config, build(config).eval()


def train(folder: Path, **change: object) -> None:
    own = {**vars(small_attribution()), "train": 40, "epochs": 1, "lm_epochs": 4, **change}
    words = [w for k, v in own.items() if v not in ("", ()) for w in ("--set", f"{k}={v}")]
    main(["train", "attribution:tiny", "--out", str(folder), *words])


@pytest.mark.slow
def test_every_verb_takes_the_spiking_probe(tmp_path: Path, cli: CommandLine) -> None:
    folder = tmp_path / "run"
    train(folder, arm="alif", theta=0.5)
    for verb in ("eval", "verify", "export"):
        cli.run(verb, folder)
    verify = json.loads((folder / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["torch_events"]["layers"]["hidden_spiking"]["spikes"] > 0
    assert verify["reference_lava"]["mismatches"] == 0
    assert (verify["n"], verify["ticks"]) == (30, 24)
    tables = json.loads((folder / "eval.json").read_text())["tables"]
    assert tables[-1]["title"] == "Operations of the probe"
    assert tables[-1]["rows"][-1][1] == f"{24 * (24 + 4 * 8 * (24 + 8) + 8 * 2):,}"
    assert "language model" in cli.run("energy", folder)


@pytest.mark.slow
def test_every_verb_takes_the_spiking_language_model_with_its_read_out(
    tmp_path: Path, cli: CommandLine
) -> None:
    folder = tmp_path / "run"
    train(folder, arm="mean", **SPIKING)
    for verb in ("eval", "verify", "export", "energy"):
        cli.run(verb, folder)
    verify = json.loads((folder / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["reference_lava"]["mismatches"] == 0
    assert (verify["n"], verify["ticks"]) == (30, 25)
    answers = verify["metrics"]["accuracy"]
    assert answers["torch"] == answers["events"] == answers["integers"]


@pytest.mark.parametrize("change", [{"arm": "alif"}, {"arm": "mean", **SPIKING}])
def test_what_a_chip_answers_is_what_the_model_answers(change: dict[str, str]) -> None:
    config, model = make(**change)
    stimulus = next(stimuli(config, model, "test"))
    part = chip_part(config, model)
    with torch.no_grad():
        if isinstance(part, Net):
            outputs, _ = part(stimulus.inputs)
        else:
            outputs = {"readout": part(stimulus.inputs["input"])[0]}
        want = model(load(config, "test").tokens).mean(0)
    (ticks,) = {len(x) for x in stimulus.inputs.values()}
    assert ticks == count_ticks(config)
    answers = decode(config, model, outputs)
    torch.testing.assert_close(answers.float(), want, atol=1e-4, rtol=1e-4)
    values = measure(config, answers, stimulus.targets)
    right = (want.argmax(1) == stimulus.targets).double().mean()
    assert values["accuracy"] == float(right)
    first = int(stimulus.targets[0])
    assert (
        describe(config, answers, stimulus.targets)[0] == f"{first} → {int(want[0].argmax())}"
    )


def test_a_graph_holds_what_the_read_out_depends_on_alone() -> None:
    _, model = make(arm="mean", **SPIKING)
    graph = make_read_out_graph(model.lm, model.probe)  # type: ignore[arg-type]
    assert graph.outputs == (CORPUS,)
    norm = graph.nodes[f"{CORPUS}_state0"]
    assert isinstance(norm, RMSNorm)
    assert norm.eps == torch.finfo(torch.float32).eps  # as torch's RMSNorm of no eps
    assert "block1_output" in graph.nodes
    assert not {"logits", "norm", "block1_up_gate", "block1_end"} & set(graph.nodes)


def test_the_language_model_behind_events_is_the_host() -> None:
    config, model = make(arm="alif", stack="softmax")
    attention = sum(4 * 24**2 + 2 * 24 * (k + 1) for k in range(25))
    assert count_host_macs(config, model) == {"language model": attention + 25 * 3 * 24**2}
    assert count_host_macs(*make(arm="mean", **SPIKING)) == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arm": "inner_probe"}, "sends no spikes"),
        ({"arm": "lm", **SPIKING}, "sends no spikes"),
        ({"arm": "mean"}, "its maps are float"),
        ({"arm": "mean", "linear": "spiking", "stack": "gla"}, "a Graph has MLGRU"),
    ],
)
def test_what_stays_on_torch_says_why(change: dict[str, Arm], told: str) -> None:
    config, model = make(**change)
    assert told in explain_only_torch(config)
    with pytest.raises(RunError, match=told):
        TASK.deployment.part(config, model)
    with pytest.raises(RunError, match=told):
        next(iter(TASK.deployment.stimuli(config, model, "test")))


def test_a_read_out_that_is_no_map_of_spikes_is_refused() -> None:
    _, spiking = make(arm="mean", **SPIKING)
    _, plain = make(arm="mean")
    _, recurrent = make(arm="inner_probe", **SPIKING)
    with pytest.raises(TypeError, match="got Linear; set linear=spiking"):
        make_read_out_graph(spiking.lm, plain.probe)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="plain read-out"):
        make_read_out_graph(recurrent.lm, recurrent.probe)  # type: ignore[arg-type]

"""The spiking network on every executor; what stays on torch, and why."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from torch import nn

from lava_export.parity import Parity
from neuro.base.seeds import seeded
from neuro.io.run_folder import RunError
from neuro.nn.net import Net
from neuro.nn.ternary import BitLinear
from tasks.cli import main
from tasks.flow.chip import INPUT, list_maps
from tasks.flow.chip_states import list_states
from tasks.flow.config import FlowConfig, tiny, tiny_spiking
from tasks.flow.cost import count_macs
from tasks.flow.deployment import (
    DIFFERENCE,
    chip_part,
    count_ticks,
    decode,
    explain_only_torch,
    host,
    list_further_maps,
    measure,
    record_map,
    stimuli,
)
from tasks.flow.generate import draw_start
from tasks.flow.model import FlowModel, build
from tasks.flow.task import TASK

SMALL = {"width": 16, "heads": 2, "depth": 1, "side": 4, "steps": 3, "samples": 70}


def make(**change: object) -> tuple[FlowConfig, FlowModel]:
    config = replace(tiny_spiking(), **{**SMALL, **change})  # type: ignore[arg-type]
    with seeded(0):
        model = build(config)
        for p in model.parameters():
            nn.init.normal_(p, std=0.3)
    return config, model.eval()


def run(part: object, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the read-outs of a network that the chip runs."""
    assert isinstance(part, Net)
    with torch.no_grad():
        every, _ = part(dict(inputs))
    return {name: every[name] for name in part.graph().outputs}


@pytest.mark.parametrize("arm", ["arflow", "sit"])
def test_graphs_put_out_what_the_maps_of_the_network_do(arm: str) -> None:
    config, model = make(arm=arm)
    further = list_further_maps(config, model)
    names = ["block0_output", "block0_gate", "block0_up", "block0_down"]
    names = [n for n in names if arm == "arflow" or n != "block0_gate"]
    assert list(further) == [*names, *(["block0_state"] if arm == "arflow" else [])]
    for name in names:
        network = further[name]
        (driven,), seen = network.stimuli("test"), record_map(config, model, name)
        assert torch.equal(driven.inputs[INPUT], seen.x)
        assert len(seen.x) == count_ticks(config) == network.ann_passes == 3 * 4
        outputs = run(network.module, driven.inputs)
        torch.testing.assert_close(outputs[name], seen.y, rtol=1e-5, atol=1e-5)
        assert seen.y.std() > 0.1
    (own,) = stimuli(config, model, "test")
    outputs = run(chip_part(config, model), own.inputs)
    assert list(outputs) == ["block0_qkv"]
    found = measure(config, decode(config, model, outputs), own.targets)
    assert found[DIFFERENCE.name] < 1e-5
    off = measure(config, decode(config, model, outputs) + 0.5, own.targets)
    share = 0.5 / float(own.targets.double().square().mean().sqrt())
    assert off[DIFFERENCE.name] == pytest.approx(share, abs=1e-5)


def test_every_block_has_its_maps_and_its_state() -> None:
    config, model = make(depth=2)
    maps = [f"block{k}_{n}" for k in (0, 1) for n in ("qkv", "output", "gate", "up", "down")]
    assert [name for name, _ in list_maps(model)] == maps
    states = ["block0_state", "block1_state"]
    assert list(list_states(model)) == states
    assert list(list_further_maps(config, model)) == [*maps[1:], *states]


@pytest.mark.parametrize(
    ("change", "calls"),
    [({"guidance": 1.5}, 6), ({"sampler": "heun"}, 6), ({"sampler": "sde"}, 3)],
)
def test_what_reaches_a_map_is_recorded_at_every_call(
    change: dict[str, object], calls: int
) -> None:
    config, model = make(**change)
    seen = record_map(config, model, "block0_up")
    assert seen.x.shape == (calls * 4, 2, 16)
    assert count_ticks(config) == calls * 4
    assert not any(layer._forward_hooks for _, layer in list_maps(model))


def test_tokens_are_ticks_in_their_order() -> None:
    """The first map reads the modulated tokens of the noise one by one."""
    config, model = make()
    start, calls = draw_start(config, 2, 0), list[torch.Tensor]()
    hook = model.blocks[0].attention.qkv.register_forward_pre_hook(  # type: ignore[union-attr,operator]
        lambda _, given: calls.append(given[0])
    )
    with hook, torch.no_grad():
        model(start.noise[None], torch.zeros(1, 2), start.labels[None])
    (stimulus,) = stimuli(config, model, "test")
    assert torch.equal(stimulus.inputs[INPUT][:4], calls[0][0].transpose(0, 1))


def test_maps_of_tokens_read_spikes_and_the_host_does_the_rest() -> None:
    config, model = make()
    maps = dict(list_maps(model))
    assert all(isinstance(layer, BitLinear) for layer in maps.values())
    (macs,) = host(config, model).values()
    of_maps = 4 * sum(layer.weight.numel() for layer in maps.values())
    kept = 2 * 8 * 8  # values of a state that decay on the chip
    assert macs == 3 * (count_macs(config) - of_maps - kept) > 0


def test_what_stays_on_torch_is_told_with_a_cure() -> None:
    config, model = make(maps="float")
    told = "its maps are float, and only spikes"
    assert told in explain_only_torch(config)
    assert "take a run of flow:tiny_spiking" in explain_only_torch(config)
    asked = TASK.deployment
    for ask in (asked.part, asked.others, asked.host):
        with pytest.raises(RunError, match=told):
            ask(config, model)
    with pytest.raises(RunError, match=told):
        next(iter(asked.stimuli(config, model, "test")))
    with pytest.raises(TypeError, match=r"block0_qkv: a chip needs spikes; set maps=spiking"):
        next(list_maps(model))
    assert explain_only_torch(tiny_spiking()) == ""
    assert "its maps are float" in explain_only_torch(tiny())


@pytest.mark.slow
def test_every_verb_takes_the_spiking_network(
    tmp_path: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lava runs in verify; a second run for export would take too long."""
    monkeypatch.setattr("tasks.flow.features.STEPS", 5)
    skipped = Parity(samples=0, skipped="not here")
    monkeypatch.setattr("tasks.measures.export.check_samples", lambda *_: skipped)
    folder = tmp_path / "run"
    small = {
        **SMALL,
        "train": 60,
        "held": 50,
        "test": 80,
        "images": 2,
        "batch": 15,
        "epochs": 1,
    }
    words = [w for k, v in small.items() for w in ("--set", f"{k}={v}")]
    main(["train", "flow:tiny_spiking", "--out", str(folder), *words])
    for verb in ("eval", "verify", "export", "energy"):
        cli.run(verb, folder)
    _, table = json.loads((folder / "eval.json").read_text())["tables"]
    assert table["title"] == "Delta codes between steps"
    assert [row[0] for row in table["rows"]][:3] == ["counts anew", "0.375", "0.75"]
    assert table["rows"][0][2] == "100.0%"
    verify = json.loads((folder / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["reference_lava"]["mismatches"] == 0
    assert len(verify["torch_events"]["layers"]) == 6
    others = ("output", "gate", "up", "down", "state")
    assert verify["without_metric"] == [f"block0_{n}" for n in others]
    assert (verify["n"], verify["ticks"]) == (2, 12)
    farthest = verify["metrics"][DIFFERENCE.name]
    assert farthest["torch"] < 1e-5
    assert farthest["events"] < 1e-5
    assert farthest["integers"] < 1e-3
    export = json.loads((folder / "export.json").read_text())
    assert export["fits"]["loihi2"] == []
    assert (folder / "program-block0_gate.safetensors").exists()
    energy = json.loads((folder / "energy.json").read_text())
    (macs,) = (p["macs"] for p in energy["host"] if p["node"].startswith("attention, outer"))
    assert macs > 0

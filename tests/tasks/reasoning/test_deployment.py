"""The spiking network on every executor; what stays on torch, and why."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from command_line import CommandLine

from neuro.base.seeds import seeded
from neuro.energy import NetworkRuns, find_chip, join_estimates
from neuro.io.run_folder import RunError
from neuro.nn.mixer_graph import DRIVEN, EMBEDDED, LOGITS, make_loop_graph
from neuro.spikes import to_events
from tasks.cli import main
from tasks.measures.energy import price_samples
from tasks.reasoning import deployment
from tasks.reasoning.answer import answer_split
from tasks.reasoning.config import Arm, ReasoningConfig, tiny, tiny_depth, tiny_spiking
from tasks.reasoning.deployment import (
    GREEDY,
    chip_part,
    count_ticks,
    decode,
    explain_only_torch,
    measure,
    pick_items,
    stimuli,
)
from tasks.reasoning.evaluate import explain_exit
from tasks.reasoning.items import ANSWER, END, EncodedItem
from tasks.reasoning.model import ReasoningModel, build
from tasks.reasoning.task import TASK
from tasks.runs.samples import Samples

SMALL = ("train=40", "val=6", "test=8", "batch=20", "width=16", "hidden=16", "stages=2")
SHORT = ("epochs=3", "first_epochs=1", "stage_epochs=1", "puzzle=addition", "size=3")


def make(arm: Arm) -> tuple[ReasoningConfig, ReasoningModel]:
    config = replace(tiny_spiking(), arm=arm, train=20, val=4, test=6, width=16, hidden=16)
    with seeded(0):
        return config, build(config)


def make_core(**change: float) -> tuple[ReasoningConfig, ReasoningModel]:
    small = replace(tiny_depth(), depth=3, train=20, val=4, test=6, width=16, hidden=16)
    config = replace(small, **change)  # type: ignore[arg-type]
    with seeded(0):
        return config, build(config).eval()


@pytest.mark.slow
def test_every_verb_takes_the_spiking_network(tmp_path: Path, cli: CommandLine) -> None:
    folder = tmp_path / "run"
    words = [w for s in (*SMALL, *SHORT) for w in ("--set", s)]
    main(["train", "reasoning:tiny_spiking", "--out", str(folder), *words])
    for verb in ("eval", "verify", "export", "energy"):
        cli.run(verb, folder)
    verify = json.loads((folder / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert verify["n"] == 8
    assert "answers" not in verify
    # 3 digits, =, BEGIN; 2 pauses; SPEAK, ANSWER, a digit
    assert verify["ticks"] == 5 + 2 + 3
    by_executor = verify["metrics"][GREEDY.name]
    assert by_executor["torch"] == by_executor["events"] == 1.0


@pytest.mark.slow
def test_every_verb_takes_a_spiking_core_that_recurs(tmp_path: Path, cli: CommandLine) -> None:
    folder = tmp_path / "run"
    words = [w for s in (*SMALL, "size=4", "depth=3", "epochs=1") for w in ("--set", s)]
    main(["train", "reasoning:tiny_depth", "--out", str(folder), *words])
    for verb in ("eval", "verify", "export", "energy", "report"):
        cli.run(verb, folder)
    table = json.loads((folder / "eval.json").read_text())["tables"][-1]
    assert [row[0] for row in table["rows"]] == ["1", "2", "3", "4", "8", "16"]
    assert table["caption"].endswith(explain_exit(0.0))
    assert (folder / "accuracy_by_depth.png").read_bytes().startswith(b"\x89PNG")
    verify = json.loads((folder / "verify.json").read_text())
    assert verify["torch_events"]["mismatches"] == 0
    assert (verify["n"], verify["ticks"]) == (8 * 3, 9)  # each run is a sample
    assert verify["answers"] == 8
    assert "8 samples" in (folder / "report.html").read_text()
    by_executor = verify["metrics"][GREEDY.name]
    assert by_executor["torch"] == by_executor["events"] == 1.0
    energy = json.loads((folder / "energy.json").read_text())
    assert energy["sequence"]["steps"] == 9
    (added,) = (part["macs"] for part in energy["host"] if part["node"] == "s + e")
    assert added == 3 * 9 * 16


def test_runs_are_priced_one_by_one_and_weights_lie_there_once() -> None:
    config, model = make_core()
    graph, batches = make_loop_graph(model), list(stimuli(config, model, "test"))
    samples = [
        Samples({DRIVEN: to_events(b.inputs[DRIVEN].numpy())}, b.targets) for b in batches
    ]
    chip = find_chip("loihi2")
    (one,) = price_samples(graph, samples, [chip], {}, None).estimates
    thrice = join_estimates({"": NetworkRuns(one, 3)})
    assert thrice.placement.cores == one.placement.cores
    assert thrice.core.nominal == pytest.approx(3 * one.core.nominal)
    assert thrice.latency.inference.nominal == pytest.approx(3 * one.latency.inference.nominal)
    apart = [price_samples(graph, s, [chip], {}, None).estimates[0] for s in samples]
    assert thrice.core.nominal == pytest.approx(sum(e.core.nominal for e in apart))


@pytest.mark.parametrize("arm", ["none", "cot", "pause"])
def test_the_answer_of_a_graph_is_that_of_the_network_word_by_word(arm: Arm) -> None:
    config, model = make(arm)
    (stimulus,) = stimuli(config, model, "test")
    x = stimulus.inputs[EMBEDDED]
    part = chip_part(config, model)
    with torch.no_grad():
        outputs, _ = part(stimulus.inputs)
    answers = decode(config, model, {LOGITS: outputs[LOGITS]})
    found = measure(config, answers, stimulus.targets)
    said = answer_split(config, model, "test")
    assert found["accuracy"] == sum(one.right for one in said) / len(said)
    assert found[GREEDY.name] == 1.0
    assert found["largest_logit_difference"] < 1e-4
    due = stimulus.targets.words
    assert (due == END).sum(1).tolist() == [1] * 6
    assert ((due == ANSWER).sum(1) == (1 if arm == "cot" else 0)).all()
    assert len(x) == count_ticks(config)


def test_compared_items_are_spread_over_the_commonest_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, _ = make("none")
    items = tuple(
        EncodedItem((k,) * (3 if k < 20 or k % 7 == 0 else 4), (), (8,)) for k in range(70)
    )
    data = SimpleNamespace(items={"val": items[:12], "test": items})
    monkeypatch.setattr(deployment, "load", lambda _: data)
    few, drawn = pick_items(config, "test")
    firsts = [item.question[0] for item in few]
    assert drawn == "spread at random over 43 of 4 words of the split"
    assert len(firsts) == 16
    assert firsts == sorted(set(firsts))
    assert firsts[0] < 24
    assert firsts[-1] > 66
    assert all(k >= 20 and k % 7 for k in firsts)
    few, drawn = pick_items(config, "val")
    assert [item.question[0] for item in few] == list(range(12))
    assert drawn == "all of the split"


def test_a_wrong_word_makes_an_answer_wrong() -> None:
    config, model = make("pause")
    (stimulus,) = stimuli(config, model, "test")
    words, logits = stimulus.targets
    right = torch.nn.functional.one_hot(words, logits.shape[-1]).float()
    assert measure(config, right, stimulus.targets)["accuracy"] == 1.0
    right[2, 0] = 0
    right[2, 0, END] = 1
    assert measure(config, right, stimulus.targets)["accuracy"] == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arm": "coconut"}, 'the thoughts of "coconut" are hidden states, which return'),
        ({"arm": "codi"}, 'the thoughts of "codi" are hidden states, which return'),
        ({"stack": "gdn*2"}, "a Graph has MLGRU, and no gdn"),
        ({"linear": "ternary"}, "its maps are ternary, and only spikes"),
        ({"depth": 2}, "its hidden state passes an adapter, and is no membrane"),
        (
            {"depth": 2, "injection": "membrane", "coda": "mlgru"},
            "a prelude and a coda are networks beside the core",
        ),
    ],
)
def test_what_stays_on_torch_is_told_with_a_cure(change: dict[str, Any], told: str) -> None:
    config = replace(tiny_spiking(), **change)
    assert told in explain_only_torch(config)
    cure = "reasoning:tiny_depth" if config.depth else "reasoning:tiny_spiking"
    assert f"take a run of {cure}" in explain_only_torch(config)
    with seeded(0), pytest.raises(RunError, match=told):
        TASK.deployment.part(config, build(config))
    assert explain_only_torch(tiny_spiking()) == explain_only_torch(tiny_depth()) == ""
    assert explain_only_torch(replace(tiny_spiking(), arm="coconut", latents=0)) == ""
    assert "its maps are float" in explain_only_torch(tiny())

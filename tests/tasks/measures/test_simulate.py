"""What `neuro simulate` measures, under either clock."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from command_line import CommandLine
from graphs import random_graph, stimulus

from neuro.io.record_file import load_record
from neuro.io.run_folder import begin_run
from neuro.spikes import to_ticks
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from tasks.cli import main
from tasks.measures.simulate import compare_answers, spread
from tasks.runs import trained_run
from tasks.runs.find import make_run
from tasks.runs.provenance import digest_file
from tasks.runs.trained_run import build_fresh_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run as training leaves it, of a network that has learnt nothing."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    made = make_run("mnist:tiny", folder)
    about = {"epoch": 0, "run": begin_run(made)}
    save_weights(get_best_weights_path(folder), get_weights(build_fresh_model(made)), about)
    return folder


def measured(run: Path, *argv: str) -> dict:
    main(["simulate", str(run), *argv])
    result = json.loads((run / "simulate.json").read_text())
    assert isinstance(result, dict)
    return result


def untimed(result: dict) -> dict:
    timed = ("milliseconds_per_sample", "workers", "checksum")  # the last is that of the others
    return {k: v for k, v in result.items() if k not in timed}


def test_the_grid_alone_is_measured_unless_asked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = measured(run)
    assert "exact" not in result
    assert result["record"] == digest_file(run / "records" / "events.safetensors")
    assert (result["clock"], result["n"], result["workers"]) == ("grid", 100, 1)
    told = f"accuracy {result['accuracy']:.2%} on 100 test samples"
    assert told in capsys.readouterr().out


def test_workers_change_no_figure(run: Path) -> None:
    assert untimed(measured(run, "--workers", "3")) == untimed(measured(run))


@pytest.mark.slow
def test_exact_timing_stands_beside_the_grid_on_the_same_samples(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = measured(run)
    result = measured(run, "--clock", "exact", "--workers", "2")
    ways = [result.pop(name) for name in ("exact", "exact_spread")]
    assert untimed(result) == untimed(alone)
    for way in ways:
        assert way["change"] == {"accuracy": way["accuracy"] - result["accuracy"]}
        assert abs(way["change"]["accuracy"]) <= way["answered_differently"] + 1e-9
        assert way["per_sample"]["input"] == result["per_sample"]["input"]
        synapses = way["per_sample"]["conv1"]["synaptic_events"]
        assert synapses == result["per_sample"]["conv1"]["synaptic_events"]
    assert not load_record(run / "records/events.safetensors").times
    out = capsys.readouterr().out
    assert "The same 100 samples under both clocks" in out
    assert f"{ways[1]['answered_differently']:.2%}" in out


@pytest.mark.slow
def test_voltage_jumps_at_ends_of_ticks_are_the_grid_and_spread_ones_are_not(run: Path) -> None:
    """Hard reset, no delay: all that happens in exact time then happens at ends of ticks."""
    result = measured(run, "--clock", "exact")
    at_ends, spread = result["exact"], result["exact_spread"]
    assert at_ends["answered_differently"] == 0
    spikes = [way["per_sample"]["alif1"]["spikes"] for way in (result, at_ends, spread)]
    assert spikes[0] == spikes[1] < spikes[2]


def test_chosen_answers_are_counted_and_values_are_measured() -> None:
    chosen, other = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0, 3, 5])
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 12.0], [0.0, 0.0]])
    moved = values + torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.3, 0.0]])
    assert compare_answers(chosen, other) == {"answered_differently": 0.5}
    assert compare_answers(moved, values) == {"answers_apart": pytest.approx(0.1, rel=1e-6)}
    both = compare_answers({"a": chosen, "b": values}, {"a": other, "b": values})
    assert both == {"answered_differently": 0.5, "answers_apart": 0.0}
    two = compare_answers((values, moved), (values, values))
    assert two == {"answers_apart": pytest.approx(0.1, rel=1e-6)}  # the larger of both
    nan = (torch.full_like(values, torch.nan), moved)
    assert np.isnan(compare_answers(nan[::-1], (values, values))["answers_apart"])
    assert compare_answers((), ()) == {}
    one = compare_answers((chosen, other), (chosen, chosen))  # a sample counts once
    assert one == {"answered_differently": 0.5}


def test_a_spread_stimulus_is_the_same_on_the_grid() -> None:
    graph = random_graph(0)
    x = stimulus(graph, 3)
    moved = spread(x, graph.dt, np.random.default_rng(0))["x"]
    assert np.unique(moved.time).size == moved.time.size
    back = to_ticks(moved, graph.dt)
    assert back.tick.tolist() == x["x"].tick.tolist()
    assert back.neuron.tolist() == x["x"].neuron.tolist()


def test_a_run_needs_at_least_one_worker(run: Path, cli: CommandLine) -> None:
    before = list_files(run)
    assert "workers must be >= 1, got 0" in cli.refuse("simulate", run, "--workers", "0")
    assert list_files(run) == before  # nothing was simulated before it was told


def list_files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["eval", "simulate", "verify", "export", "energy"])
def test_a_verb_builds_and_loads_the_model_once(
    run: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")
    names = ("build_fresh_model", "load_weights")
    spies = [Mock(wraps=getattr(trained_run, name)) for name in names]
    for name, spy in zip(names, spies, strict=True):
        monkeypatch.setattr(trained_run, name, spy)
    main([verb, str(run)])
    assert [spy.call_count for spy in spies] == [1, 1]

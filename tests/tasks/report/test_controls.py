"""The controls of a run are found beside it; a missing one has its command."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from neuro.io.run_folder import begin_run
from neuro.io.store import StoreError
from tasks.bottlenecks.config import BoundaryConfig
from tasks.report.controls import find_controls
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.provenance import describe_trained, write_result
from tasks.runs.task import TaskRun


def begin(
    folder: Path,
    seed: int = 3,
    fd: float | None = None,
    n: int = 70,
    note: str = "",
    **fields: Any,
) -> TaskRun:
    """Begin a run of flow; fd: its result, on n images, with a note."""
    made = make_run("flow:tiny", folder, seed)
    run = replace(made, config=replace(made.config, **fields))
    begin_run(run)
    if fd is not None:
        result = {"feature_fd": fd, "n": n, "notes": {"feature_fd": note}, "split": None}
        write_result(run, "eval", result, describe_trained(folder))
    return run


def test_a_control_is_the_run_of_its_fields_and_seed_beside_it(tmp_path: Path) -> None:
    run = begin(tmp_path / "a run", fd=2.5)
    begin(tmp_path / "other-seed", seed=4, fd=7.0, arm="sit")
    begin(tmp_path / "other-field", fd=7.0, arm="sit", steps=24)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    there = f"{tmp_path}/a run-sit"
    train = f"neuro train flow:tiny --out '{there}' --seed 3 --set arm=sit"
    assert find_controls(run) == ({}, {"SiT": f"{train} && neuro eval '{there}'"})
    text = write_report(run).read_text()
    assert "not compared yet with SiT: <code>neuro train flow:tiny" in text
    sit = begin(tmp_path / "sit", arm="sit")
    assert find_controls(run) == ({}, {"SiT": f"neuro eval {sit.folder}"})
    begin(sit.folder, arm="sit", fd=1.75)
    assert find_controls(run) == ({"SiT": {"feature_fd": 1.75}}, {})
    text = write_report(run).read_text()
    assert "same seed: SiT 1.750. A difference" in text
    assert '<td class="num best">1.750</td>' in text
    assert "not compared yet" not in text
    assert find_controls(sit) == ({}, {})


def test_arms_of_a_bench_are_found_and_results_out_of_date_are_not(tmp_path: Path) -> None:
    run = begin(tmp_path / "arflow" / "seed-3", fd=2.5)
    sit = begin(tmp_path / "sit" / "seed-3", arm="sit", fd=1.5)
    assert find_controls(run)[0] == {"SiT": {"feature_fd": 1.5}}
    (sit.folder / "best.safetensors").write_bytes(b"other weights")
    assert find_controls(run) == ({}, {"SiT": f"neuro eval {sit.folder}"})
    (sit.folder / "eval.json").write_text("{}")
    with pytest.raises(StoreError, match=r"eval\.json"):
        find_controls(run)


def test_results_of_other_samples_or_of_another_judge_are_not_compared(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", fd=2.5, note="own")
    again = f"neuro eval {run.folder} && neuro eval {tmp_path / 'sit'}"
    for n, note in ((71, "own"), (70, "published")):
        begin(tmp_path / "sit", arm="sit", fd=7.0, n=n, note=note)
        assert find_controls(run) == ({}, {"SiT": again})
    begin(tmp_path / "sit", arm="sit", fd=7.0, note="own")
    assert find_controls(run) == ({"SiT": {"feature_fd": 7.0}}, {})


def test_what_each_system_is_compared_with() -> None:
    pause, none = {"arm": "pause"}, {"arm": "none", "surprise": 0.0}
    relu = {"neuron": "relu", "ticks": 1, "code": "direct"}
    kl = {"model": "ann", "ticks": 1, "distance": "kl", "weight": 1 / 240}
    for name, fields, control in (
        ("flow:tiny", {"arm": "arflow_unlabelled"}, [{"arm": "sit_unlabelled"}]),
        ("reasoning:tiny", {}, [pause]),
        ("reasoning:tiny", {"arm": "codi"}, [pause]),
        ("reasoning:tiny", {"arm": "pause"}, []),
        ("forecasting:tiny", {"surprise": 0.5}, [none]),
        ("forecasting:tiny", {"arm": "none"}, []),
        (
            "language:tiny",
            {"lr": 0.5},
            [{"linear": "float"}, {"linear": "ternary", "lr": 0.25}],
        ),
        (
            "language:tiny",
            {"event_penalty": 0.25, "lr": 0.5},
            [
                {"linear": "float", "event_penalty": 0.0},
                {"linear": "ternary", "lr": 0.25, "event_penalty": 0.0},
            ],
        ),
        ("language:tiny", {"linear": "ternary"}, []),
        ("hybrids:recall", {}, [{"stack": "gdn*8"}, {"stack": "softmax*8"}]),
        ("hybrids:tiny", {"stack": "gdn*3"}, []),
        ("image_generation:tiny", {}, [kl]),
        ("image_generation:small_ann", {}, []),
        ("mnist:tiny", {}, [relu]),
        ("cifar10:tiny", {"neuron": "counted"}, []),
        ("bottlenecks:tiny", {}, [{"cells": "relu", "ticks": 1, "code": "direct"}]),
        ("bottlenecks:tiny_relu", {}, []),
        ("bottlenecks:tiny", {"narrow": BoundaryConfig(after=(1,), widths=(3,))}, []),
        ("delays:tiny", {}, [{"delays": "fixed"}, {"delays": "none"}]),
        ("events:shd_delays", {}, [{"delays": "fixed"}, {"delays": "none"}]),
        ("events:shd", {}, []),
        ("delays:fixed", {}, []),
    ):
        run = make_run(name, Path("r"))
        found = run.definition.evaluation.controls(replace(run.config, **fields))
        assert list(found.values()) == control
        for changes in control:
            assert run.definition.evaluation.controls(replace(run.config, **changes)) == {}


def test_the_folder_of_a_control_needs_no_quotes(tmp_path: Path) -> None:
    run = make_run("hybrids:tiny", tmp_path / "run", 3)
    command = find_controls(run)[1]["gdn in every layer"]
    assert f"--out {tmp_path}/run-gdn-2 " in command
    assert "--set 'stack=gdn*2'" in command

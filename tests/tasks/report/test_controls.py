"""The controls of a run are found beside it; a missing one has its command."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from neuro.io.run_folder import begin_run
from neuro.io.store import StoreError
from tasks.report.controls import find_controls
from tasks.report.report import write_report
from tasks.runs.find import make_run
from tasks.runs.provenance import describe_trained, write_result
from tasks.runs.task import TaskRun


def begin(folder: Path, seed: int = 3, fd: float | None = None, **fields: Any) -> TaskRun:
    """Begin a run of flow; fd: its result."""
    made = make_run("flow:tiny", folder, seed)
    run = replace(made, config=replace(made.config, **fields))
    begin_run(run)
    if fd is not None:
        result = {"feature_fd": fd, "n": 70, "split": None}
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


def test_what_each_system_is_compared_with() -> None:
    pause, none = {"arm": "pause"}, {"arm": "none", "surprise": 0.0}
    for name, fields, control in (
        ("flow:tiny", {"arm": "arflow_unlabelled"}, [{"arm": "sit_unlabelled"}]),
        ("reasoning:tiny", {}, [pause]),
        ("reasoning:tiny", {"arm": "codi"}, [pause]),
        ("reasoning:tiny", {"arm": "pause"}, []),
        ("forecasting:tiny", {"surprise": 0.5}, [none]),
        ("forecasting:tiny", {"arm": "none"}, []),
    ):
        run = make_run(name, Path("r"))
        found = run.definition.evaluation.controls(replace(run.config, **fields))
        assert list(found.values()) == control

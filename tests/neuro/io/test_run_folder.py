import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from neuro.io.run_folder import Run, RunError, begin_run, open_run
from neuro.io.store import StoreError


@dataclass(frozen=True)
class Config:
    epochs: int = 3
    channels: tuple[int, int] = (1, 2)


def configs(task: str) -> Any:  # noqa: ARG001
    return {"small": Config}


def run(folder: Path, **changes: Any) -> Run:
    asked = {"task": "digits", "name": "small", "seed": 1, "config": Config(), **changes}
    return Run(folder=folder, **asked)


def test_a_run_opens_as_it_was_begun(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    opened = open_run(tmp_path, configs)
    assert opened == run(tmp_path)
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"]["torch"].startswith("2.")


def test_another_question_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    begin_run(run(tmp_path))
    with pytest.raises(RunError, match=r"seed is 1, asked for 2; choose another --out"):
        begin_run(run(tmp_path, seed=2))
    with pytest.raises(RunError, match=r"gradient is surrogate, asked for eventprop"):
        begin_run(run(tmp_path, gradient="eventprop"))


def test_a_run_from_before_gradients_were_recorded_is_one_of_surrogates(
    tmp_path: Path,
) -> None:
    begin_run(run(tmp_path))
    path = tmp_path / "config.json"
    found = json.loads(path.read_text())
    del found["gradient"]
    path.write_text(json.dumps(found))
    assert open_run(tmp_path, configs).gradient == "surrogate"
    begin_run(run(tmp_path))


def test_a_folder_without_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run: it has no config.json.*neuro train"):
        open_run(tmp_path, configs)


def test_a_configuration_of_another_version_names_its_fields(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    path = tmp_path / "config.json"
    found = json.loads(path.read_text())
    found["config"] = {"epochs": 3, "width": 7}
    found["neuro"] = "0.0.9"
    path.write_text(json.dumps(found))
    with pytest.raises(RunError) as e:
        open_run(tmp_path, configs)
    assert "written by neuro 0.0.9" in str(e.value)
    assert "has width which this version does not know and lacks channels" in str(e.value)


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"task": "dig')
    with pytest.raises(StoreError, match=r"config.json: cannot be read as JSON"):
        open_run(tmp_path, configs)
    (tmp_path / "config.json").write_text('{"task": "digits"}')
    with pytest.raises(RunError, match="lacks config, name, neuro, seed"):
        open_run(tmp_path, configs)
    (tmp_path / "config.json").write_text("null")
    with pytest.raises(RunError, match="holds no configuration"):
        open_run(tmp_path, configs)


def test_a_result_that_is_not_there_yet_is_none(tmp_path: Path) -> None:
    assert run(tmp_path).read("eval.json") is None
    run(tmp_path).write("eval.json", {"n": 1})
    assert run(tmp_path).read("eval.json") == {"n": 1}

import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neuro.io import run_folder
from neuro.io.run_folder import (
    Run,
    RunError,
    begin_run,
    check_values,
    digest_configuration,
    open_run,
)
from neuro.io.schema import SchemaError
from neuro.io.store import StoreError, load_tensors, save_tensors


@dataclass(frozen=True)
class Config:
    epochs: int = 3
    channels: tuple[int, int] = (1, 2)


def configs(task: str) -> Any:  # noqa: ARG001
    return {"small": Config}


def run(folder: Path, **changes: Any) -> Run:
    asked = {"task": "digits", "name": "small", "seed": 1, "config": Config(), **changes}
    return Run(folder=folder, **asked)


def rewrite(folder: Path, **changes: Any) -> None:
    """Write another config.json, as a training of that would have written it."""
    path = folder / "config.json"
    header = {**json.loads(path.read_text()), **changes}
    header["trained"] = digest_configuration(header)
    path.write_text(json.dumps(header))


def edit(folder: Path, **changes: Any) -> None:
    """Change config.json by hand; None takes a key away."""
    path = folder / "config.json"
    header = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in header.items() if v is not None}))


def test_a_run_opens_as_it_was_begun(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    opened = open_run(tmp_path, configs)
    assert opened == run(tmp_path)
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"]["torch"].startswith("2.")


def test_of_two_seeds_that_begin_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other begins in the middle of the first one's beginning."""
    made = run_folder.describe_environment
    describe = run_folder.digest_configuration

    def begin_another(header: Any) -> str:
        monkeypatch.setattr(run_folder, "digest_configuration", describe)
        begin_run(run(tmp_path, seed=2))
        return describe(header)

    monkeypatch.setattr(run_folder, "digest_configuration", begin_another)
    with pytest.raises(RunError, match=r"seed is 2 there and 1 here; choose another --out"):
        begin_run(run(tmp_path, seed=1))
    assert open_run(tmp_path, configs).seed == 2
    assert json.loads((tmp_path / "environment.json").read_text()) == made()


def test_what_a_killed_process_left_out_is_written_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "describe_environment", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            begin_run(run(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    begin_run(run(tmp_path), write=False)
    assert not (tmp_path / "environment.json").exists()
    digest = begin_run(run(tmp_path))
    environment = tmp_path / "environment.json"
    assert json.loads(environment.read_text()) == run_folder.describe_environment()
    environment.write_text("{}")  # that of the machine on which the run began
    assert begin_run(run(tmp_path)) == digest
    assert environment.read_text() == "{}"


def test_a_run_that_begins_has_the_digest_of_its_file(tmp_path: Path) -> None:
    found = begin_run(run(tmp_path), write=False)  # before the process that writes
    assert not list(tmp_path.iterdir())
    assert begin_run(run(tmp_path)) == found
    header = json.loads((tmp_path / "config.json").read_text())
    assert found == digest_configuration(header) == header["trained"]
    assert begin_run(run(tmp_path / "other", seed=2)) != found


@pytest.mark.parametrize("file", ["metrics.jsonl", "last.safetensors", "best.safetensors"])
def test_a_training_has_begun_where_it_left_weights_or_the_curve_alone(
    tmp_path: Path, file: str
) -> None:
    begin_run(run(tmp_path))
    assert not run_folder.has_begun(tmp_path)
    (tmp_path / file).touch()
    assert run_folder.has_begun(tmp_path)


def test_another_question_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    begin_run(run(tmp_path))
    with pytest.raises(RunError, match=r"seed is 1 there and 2 here; choose another --out"):
        begin_run(run(tmp_path, seed=2))
    with pytest.raises(RunError, match=r"gradient is 'surrogate' there and 'eventprop' here"):
        begin_run(run(tmp_path, gradient="eventprop"))
    with pytest.raises(RunError, match=r"run: epochs is 3 there and 4 here; choose"):
        begin_run(run(tmp_path, config=Config(epochs=4)))
    with pytest.raises(RunError, match=r"digest is '' there and 'ab' here; choose another"):
        begin_run(run(tmp_path, digest="ab"))


def test_five_differences_are_told_and_the_others_counted(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    five = run(tmp_path, task="a", name="b", seed=2, config=Config(4, (2, 2)))
    told = r"is 'digits' there and 'a' here; .*; channels is \[1, 2\] there and \[2, 2\] here; "
    with pytest.raises(RunError, match=f"{told}choose another"):
        begin_run(five)
    with pytest.raises(RunError, match=f"{told}and 1 more; choose another"):
        begin_run(replace(five, gradient="eventprop"))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("gradient", None, "is missing"),
        ("digest", None, "is missing"),
        ("seed", None, "is missing"),
        ("config", None, "is missing"),
        ("task", 5, "is 5, expected text"),
        ("seed", "0", "is '0', expected a whole number"),
        ("seed", True, "is True, expected a whole number"),
        ("config", [3], r"is \[3\], expected an object"),
        ("gradient", "none", "is 'none', expected one of 'surrogate', 'eventprop'"),
        ("digest", {}, "is {}, expected text"),
    ],
)
def test_a_part_that_is_missing_or_of_another_type_is_named_with_a_cure(
    tmp_path: Path, key: str, value: object, told: str
) -> None:
    begin_run(run(tmp_path))
    edit(tmp_path, **{key: value})
    for use in (lambda: open_run(tmp_path, configs), lambda: begin_run(run(tmp_path))):
        with pytest.raises(RunError, match=f"config.json: {key}: {told}; restore it from a"):
            use()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("epochs", [], r"epochs: is \[\], expected a whole number"),
        ("epochs", True, "epochs: is True, expected a whole number"),
        ("channels", [1], r"channels: is \[1\], expected a list of 2"),
        ("channels", [1, "2"], r"channels\[1\]: is '2', expected a whole number"),
    ],
)
def test_a_field_of_another_type_is_refused(
    tmp_path: Path, key: str, value: object, told: str
) -> None:
    begin_run(run(tmp_path))
    rewrite(tmp_path, config={"epochs": 3, "channels": [1, 2], key: value})
    with pytest.raises(RunError, match=rf"config.json: .*{told}"):
        open_run(tmp_path, configs)


def test_a_run_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StoreError, match=r"out: is a file, and not a folder"):
        begin_run(run(tmp_path / "out"))
    with pytest.raises(StoreError, match=r"below: cannot be written"):
        begin_run(run(tmp_path / "out" / "below"))


def test_a_run_folder_whose_name_is_no_utf_8_is_refused_before_it_is_made(
    tmp_path: Path,
) -> None:
    folder = tmp_path / os.fsdecode(b"r\xff")
    with pytest.raises(StoreError, match="its name is not UTF-8, and safetensors can"):
        begin_run(run(folder))
    assert not list(tmp_path.iterdir())
    begin_run(run(tmp_path / "µ"))
    save_tensors(tmp_path / "µ" / "w.safetensors", "weights", {}, {})
    (tmp_path / "µ").rename(folder)
    with pytest.raises(StoreError, match=r"w.safetensors: its name is not UTF-8"):
        load_tensors(folder / "w.safetensors", "weights")


def test_a_result_that_cannot_be_written_is_told_whole(tmp_path: Path) -> None:
    (tmp_path / "eval.json").mkdir()
    with pytest.raises(
        RunError, match=r'eval.json: cannot be .*should hold: {"accuracy": 0.5}'
    ):
        run(tmp_path).write("eval.json", {"accuracy": 0.5})


def test_a_folder_without_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run: it has no config.json.*neuro train"):
        open_run(tmp_path, configs)


def test_a_configuration_of_another_version_names_its_fields(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    rewrite(tmp_path, config={"epochs": 3, "width": 7}, neuro="0.0.9")
    with pytest.raises(RunError) as e:
        open_run(tmp_path, configs)
    assert "written by neuro 0.0.9" in str(e.value)
    assert "no such field; there are epochs, channels; channels: is missing" in str(e.value)


def test_a_configuration_that_was_edited_is_told_as_such(tmp_path: Path) -> None:
    for config, told in (
        ({"epochs": 30, "channels": [1, 2]}, r"\(epochs is 30, digits:small has 3\)"),
        ({"epochs": "3", "channels": [1, 2]}, r"\(epochs is 3, digits:small has 3\)"),
        ({"epochs": 3}, r"\(channels is missing, digits:small has \[1, 2\]\)"),
        ({"epochs": 3, "channels": [1, 2], "tau": 1}, r"tau is 1, digits:small has no such"),
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        begin_run(run(folder))
        edit(folder, config=config)
        for use in (partial(open_run, folder, configs), partial(begin_run, run(folder))):
            with pytest.raises(RunError, match=f"config.json: was edited after .*{told}"):
                use()


@pytest.mark.parametrize("key", ["seed", "trained"])
def test_any_part_that_was_edited_is_told(tmp_path: Path, key: str) -> None:
    begin_run(run(tmp_path))
    edit(tmp_path, **{"seed": {"seed": 2}, "trained": {"trained": "0" * 16}}[key])
    with pytest.raises(RunError, match=r"was edited .*\(its task, name, seed, gradient or"):
        open_run(tmp_path, configs)


def test_the_order_of_keys_means_nothing(tmp_path: Path) -> None:
    begin_run(run(tmp_path))
    path = tmp_path / "config.json"
    header = json.loads(path.read_text())
    turned = dict(reversed(header.items())) | {
        "config": dict(reversed(header["config"].items()))
    }
    assert list(turned["config"]) == ["channels", "epochs"]
    path.write_text(json.dumps(turned))
    assert digest_configuration(turned) == digest_configuration(header)
    assert open_run(tmp_path, configs) == run(tmp_path)
    begin_run(run(tmp_path))


def test_a_run_of_an_earlier_version_is_read_if_it_is_as_the_task_makes_it(
    tmp_path: Path,
) -> None:
    """It does not say what was trained."""
    begin_run(run(tmp_path))
    edit(tmp_path, trained=None)
    assert "trained" not in json.loads((tmp_path / "config.json").read_text())
    assert open_run(tmp_path, configs) == run(tmp_path)
    edit(tmp_path, config={"epochs": 4, "channels": [1, 2]})
    with pytest.raises(RunError, match=r"earlier version, .* \(epochs is 4, digits:small has"):
        open_run(tmp_path, configs)


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"task": "dig')
    with pytest.raises(StoreError, match=r"config.json: cannot be read as JSON.*; restore it"):
        open_run(tmp_path, configs)
    (tmp_path / "config.json").write_text('{"seed": 0, "task": "digits", "seed": 1}')
    with pytest.raises(StoreError, match=r"config.json: .*'seed' stands there twice.*restore"):
        open_run(tmp_path, configs)
    (tmp_path / "config.json").write_text('{"task": "digits"}')
    with pytest.raises(RunError, match="neuro: is missing; name: is missing; seed: is missing"):
        open_run(tmp_path, configs)
    (tmp_path / "config.json").write_text("null")
    with pytest.raises(RunError, match="the file: is None, expected an object"):
        open_run(tmp_path, configs)


def test_a_result_that_is_not_there_yet_is_none(tmp_path: Path) -> None:
    assert run(tmp_path).read("eval.json") is None
    run(tmp_path).write("eval.json", {"n": 1})
    assert run(tmp_path).read("eval.json") == {"n": 1}


def test_every_part_of_a_configuration_and_nothing_else_changes_its_digest() -> None:
    parts = ("task", "name", "seed", "config", "gradient", "digest")
    header = dict.fromkeys(parts, "a")
    same = digest_configuration(header)
    assert digest_configuration({**header, "neuro": "0.2", "trained": "b"}) == same
    changed = {digest_configuration({**header, part: "b"}) for part in parts}
    assert len(changed - {same}) == len(parts)


@dataclass(frozen=True)
class Inner:
    rate: float


@dataclass(frozen=True)
class Outer:
    rates: tuple[float, ...]
    inner: Inner


def test_numbers_that_are_not_finite_are_named_wherever_they_stand() -> None:
    check_values(Outer((1.0, 2.0), Inner(3.0)))
    with pytest.raises(SchemaError, match=r"^rates.1 is nan, inner.rate is -inf; give finite"):
        check_values(Outer((1.0, float("nan")), Inner(float("-inf"))))

"""What a user typed is printed as it is, and what a verb found is never lost."""

import contextlib
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from tasks.cli import main
from tasks.terminal import DONE, make_console

NAMES = ("a[/b]c", "[bold]q", "x:smile:y", "[red]r[/]")
ON_A_RUN = ("eval", "simulate", "export", "verify", "energy", "report")


def seen(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that the terminal shows, without line breaks."""
    with contextlib.suppress(SystemExit):
        main(argv)
    out, err = capsys.readouterr()
    return "".join(f"{out}{err}".split("\n"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / NAMES[0] / NAMES[1] / NAMES[2]
    main(["train", "mnist:tiny", "--out", str(folder)])
    return folder


def test_a_pipe_is_wide_unless_columns_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console().width == make_console(stderr=True).width == 160
    monkeypatch.setenv("COLUMNS", "90")
    assert make_console().width == 90


def test_a_console_prints_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        make_console().print(DONE, f"wrote {name}", Text("1 s", "dim"))
        assert capsys.readouterr().out == f"✓ wrote {name} 1 s\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", ON_A_RUN)
def test_every_verb_names_a_folder_without_a_run_as_it_is(
    tmp_path: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = seen([verb, str(tmp_path / name)], capsys)
    assert f"neuro: {tmp_path / name} is no run" in told


@pytest.mark.parametrize("name", NAMES)
def test_other_verbs_name_what_was_typed(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name / "task.py"
    assert f"wrote {file}; train it with neuro train {file}:tiny" in seen(
        ["new", str(file)], capsys
    )
    assert f"neuro: {file} exists" in seen(["new", str(file)], capsys)
    found = seen(["compare", str(tmp_path / f"{name}!")], capsys)
    assert f"neuro: {tmp_path / name}!: no run of that name" in found
    assert f"neuro: no configuration '{name}'" in seen(["train", f"mnist:{name}"], capsys)
    task = name.partition(":")[0]
    assert f"neuro: no task '{task}'" in seen(["train", name], capsys)
    assert f"neuro: no benchmark '{name}'" in seen(["bench", name], capsys)
    (tmp_path / "out").write_text("")
    for verb in (["train", "mnist:tiny"], ["demo"], ["bench", "engine", "--quick"]):
        told = seen([*verb, "--out", str(tmp_path / "out" / name)], capsys)
        assert f"neuro: {tmp_path / 'out' / name}" in told
        assert "Not a directory" in told
        told = seen([*verb, "--out", str(tmp_path / "out")], capsys)
        assert "out: is a file, where a folder is asked for" in told


def test_verbs_name_what_they_wrote(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")  # it takes long
    told = seen(["train", "mnist:tiny", "--out", str(trained)], capsys)
    assert f"in {trained}" in told
    seen(["eval", str(trained)], capsys)
    assert f"wrote {trained / 'report.html'}" in seen(["report", str(trained)], capsys)
    assert f"wrote {trained / 'graph.npz'}" in seen(["export", str(trained)], capsys)
    told = seen(["compare", str(trained), "--out", str(trained / "out")], capsys)
    assert f"wrote {trained / 'out' / 'compare.json'}" in told


@pytest.mark.parametrize("verb", ON_A_RUN)
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(
    trained: Path,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Path, "touch", full(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr("tasks.verbs.trained_run.load_weights", full(0, "computed"))
    told = seen([verb, str(trained)], capsys)
    assert told.startswith(f"neuro: {trained}: cannot be written (Read-only file system)")


def test_what_cannot_be_written_after_all_is_printed(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen(["eval", str(trained)], capsys)
    found = json.loads((trained / "eval.json").read_text())
    monkeypatch.setattr(Path, "write_bytes", full(errno.ENOSPC, "No space left on device"))
    told = seen(["eval", str(trained)], capsys)
    assert "eval.json: cannot be written (No space left on device)" in told
    assert json.loads(told.partition("should hold: ")[2]) == found
    assert json.loads((trained / "eval.json").read_text()) == found
    assert not list(trained.glob(".*"))


def full(number: int, why: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, why)

    return refuse

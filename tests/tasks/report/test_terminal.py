"""What a user typed is printed as it is, and what a verb found is never lost."""

import codecs
import contextlib
import errno
import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from tasks.cli import main
from tasks.report import terminal
from tasks.report.tables import make_table
from tasks.report.terminal import (
    DONE,
    make_console,
    prepare_process,
    show_controls,
    spell_out,
    write_text,
)

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


ATTACKS = {  # and how a string is shown
    "a\x1b]0;title\x07": r"a\x1b]0;title\x07",
    "\x1b[2J": r"\x1b[2J",
    "\x9b31m": r"\x9b31m",
    "b\x08\x7f\x00\r": r"b\x08\x7f\x00\r",
    "py.\u202efdp": r"py.\u202efdp",
    "\u2066a\u2069\u200e\u200f\u061c": r"\u2066a\u2069\u200e\u200f\u061c",
    "\u200b\u2028\u2029\ufeff\udcff\U000e0041": r"\u200b\u2028\u2029\ufeff\udcff\U000e0041",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_console_sends_no_command_to_the_terminal(
    attack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table(f"t {attack}", f"c {attack}")
    table.add_row(f"r {attack}")
    table.caption = f"f {attack}"
    for made in (make_console(), make_console(stderr=True)):
        made.print(DONE, f"k {attack}\t", Text(attack, "red"), table)
        with made.status(attack):
            pass
    told = "".join(capsys.readouterr())
    assert not set(told) & set(map(chr, (*range(9), *range(11, 32), *range(127, 160))))
    assert not set(told) & (set(attack) - set(map(chr, range(32, 127))))
    for begin in "ktcrf":  # whole: a column of a table is as wide as what is shown in it
        assert told.count(f"{begin} {ATTACKS[attack]}") >= 2, begin


def test_letters_of_any_script_are_no_control_characters() -> None:
    text = "é µ 漢 a\xa0b \u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb \t\n"
    assert show_controls(text) == text


def test_styles_of_our_own_reach_a_terminal() -> None:
    out = io.StringIO()
    console = terminal._ShowingConsole(file=out, force_terminal=True, color_system="standard")
    console.print(Text("\x1b[31m", "green"))
    assert out.getvalue() == "\x1b[32m\\x1b[31m\x1b[0m\n"


def test_a_name_in_a_file_sends_no_command_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ``config.json`` says comes back in the message."""
    names = '{"task": "\\u001b[31m\\u0007", "neuro": "\\u009b", "seed": "a\\u202eb"}'
    (tmp_path / "config.json").write_text(names)
    told = seen(["eval", str(tmp_path)], capsys)
    assert "config.json" in told
    assert r"a\u202eb" in told
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(told)


def test_text_of_a_model_is_whole_in_a_pipe_and_shown_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text("a\x1b[31m\n")
    assert capsys.readouterr().out == "a\x1b[31m\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_text("a\x1b[31m\n")
    assert capsys.readouterr().out == "a\\x1b[31m\n"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("✓ 3 µJ ± 1 – 2 × 4", "ok 3 uJ +- 1 - 2 x 4"),
        ("a ≠ b → c ✗ ·", "a != b -> c failed ."),
        ("\udcff ä 漢", "\\udcff \\xe4 \\u6f22"),
    ],
)
def test_what_ascii_has_no_letters_for_is_spelled_out(given: str, told: str) -> None:
    codecs.register_error("test_spelling", spell_out)
    assert given.encode("ascii", "test_spelling").decode() == told
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "test_spelling")


@pytest.mark.slow
def test_a_path_that_is_no_utf_8_is_told_in_ascii_whatever_backend_is_asked_for() -> None:
    script = (
        "import sys; from tasks.cli.parser import main; sys.argv[1:] = sys.argv[2:]; main()"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "MPLBACKEND": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-c", script, "-", "eval", b"\xff\x1b\xc2\xb5J"],
        env=env, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    told = " ".join(done.stderr.decode("ascii").split())
    assert told.startswith(r"neuro: \udcff\x1buJ is no run: it has no config.json"), told


def test_warnings_and_tracebacks_show_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", lambda message, *_: f"Warning: {message}\n")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", told_of := io.StringIO())
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    prepare_process()
    assert os.environ["MPLBACKEND"] == "agg"
    told = warnings.formatwarning("\x1b[31m", UserWarning, "f.py", 3)
    assert told == "Warning: \\x1b[31m\n"
    error = KeyError("no \u202e here").with_traceback(None)
    error.add_note("\x1b[2J")
    sys.excepthook(KeyError, error, None)
    assert told_of.getvalue() == "KeyError: 'no \\u202e here'\n\\x1b[2J\n"


@pytest.mark.parametrize("verb", ON_A_RUN)
def test_every_verb_names_a_folder_without_a_run_as_it_is(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path.joinpath(*NAMES)
    assert f"neuro: {folder} is no run" in seen([verb, str(folder)], capsys)


@pytest.mark.slow
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
        assert "out: is a file, and not a folder" in told


@pytest.mark.slow
def test_verbs_name_what_they_wrote(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURO_LAVA_PYTHON", "no-such-python")  # it takes long
    told = seen(["train", "mnist:tiny", "--out", str(trained)], capsys)
    assert f"in {trained}" in told
    seen(["eval", str(trained)], capsys)
    assert f"wrote {trained / 'report.html'}" in seen(["report", str(trained)], capsys)
    assert f"wrote {trained / 'graph.safetensors'}" in seen(["export", str(trained)], capsys)
    told = seen(["compare", str(trained), "--out", str(trained / "out")], capsys)
    assert f"wrote {trained / 'out' / 'compare.json'}" in told


@pytest.mark.slow
@pytest.mark.parametrize("verb", ON_A_RUN)
def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(
    trained: Path,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Path, "touch", full(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr("tasks.runs.trained_run.load_weights", full(0, "computed"))
    told = seen([verb, str(trained)], capsys)
    assert told.startswith(f"neuro: {trained}: cannot be written (Read-only file system)")


@pytest.mark.slow
def test_what_cannot_be_written_after_all_is_printed(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen(["eval", str(trained)], capsys)
    found = json.loads((trained / "eval.json").read_text())
    refuse, write = full(errno.ENOSPC, "No space left on device"), Path.write_bytes

    def write_pictures(path: Path, data: bytes) -> Any:
        return write(path, data) if "examples.png" in path.name else refuse()

    monkeypatch.setattr(Path, "write_bytes", write_pictures)
    told = seen(["eval", str(trained)], capsys)
    assert "eval.json: cannot be written (No space left on device)" in told
    assert json.loads(told.partition("should hold: ")[2]) == found
    assert json.loads((trained / "eval.json").read_text()) == found
    assert not list(trained.glob(".*"))


def full(number: int, why: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, why)

    return refuse

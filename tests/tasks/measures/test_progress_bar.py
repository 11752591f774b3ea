"""What verbs show of the work that is done."""

import io
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tasks.measures import progress_bar
from tasks.measures.progress_bar import ShareOfWork, show_share
from tasks.runs.share import REPORT, report_share


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_line_tells_the_time_the_share_and_the_time_that_remains(clock: list[float]) -> None:
    work = ShareOfWork("eval")
    assert work.describe(161.2) == "eval: 0:01:01 so far"
    clock[0] = 110.0
    assert work.report("samples", 0.1)
    assert work.describe(130.0) == "eval: 0:00:30 so far; samples: 10%"
    clock[0] = 120.0
    assert not work.report("samples", 0.3)  # a fifth in 20 s, so that the rest takes 70 s
    line = "eval: 0:00:30 so far; samples: 30%, about 0:01:10 left"
    assert work.describe(130.0) == line
    assert work.report("samples", 0.2)  # begins again
    assert work.report("images", 0.2)
    assert work.describe(130.0) == "eval: 0:00:30 so far; images: 20%"
    assert work.report("images", 1.0)
    assert work.describe(130.0) == "eval: 0:00:30 so far"
    assert not work.report("images", 1.0)


class Waiting(io.StringIO):
    """A stream that lets a test wait for its first line."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        out = super().write(text)
        self.written.set()
        return out


def test_outside_a_terminal_lines_are_printed_on_stderr_until_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_bar, "PERIOD", 1e-3)
    monkeypatch.setattr(sys, "stderr", err := Waiting())
    before = threading.active_count()
    with show_share("verify"):
        report_share("samples", 0.25)
        assert err.written.wait(60)
    lines = err.getvalue().splitlines()
    assert set(lines) <= {"verify: 0:00:00 so far", lines[-1]}
    assert lines[-1].startswith("verify: 0:00:00 so far; samples: 25%")
    assert capsys.readouterr().out == ""
    assert threading.active_count() == before
    assert REPORT.get() is None


@pytest.mark.parametrize("both", [False, True])
def test_a_terminal_shows_a_bar_and_keeps_what_is_printed_out_of_a_pipe(
    monkeypatch: pytest.MonkeyPatch, both: bool
) -> None:
    err, out = io.StringIO(), io.StringIO()
    console = Console(file=err, force_terminal=True, width=120)
    make: Callable[..., Any] = lambda *, stderr: console  # noqa: ARG005, E731
    monkeypatch.setattr(progress_bar, "make_console", make)
    monkeypatch.setattr(out, "isatty", lambda: both)
    monkeypatch.setattr(sys, "stdout", out)
    with show_share("energy"):
        report_share("samples", 0.5)
        sys.stdout.write("from a task\n")
        report_share("samples", 1.0)
    assert "energy: samples" in err.getvalue()
    assert ("from a task" in err.getvalue()) is both
    assert ("from a task" in out.getvalue()) is not both

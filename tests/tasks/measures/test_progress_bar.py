"""What verbs show of the work that is done."""

import io
import sys
from unittest.mock import Mock

import pytest
from rich.console import Console

from tasks.measures import progress_bar
from tasks.measures.progress_bar import show_share
from tasks.runs.share import REPORT, report_share


def test_outside_a_terminal_lines_tell_the_share_and_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, end, thread = [100.0], Mock(), Mock()
    console = Mock(is_terminal=False, get_time=lambda: now[0])
    monkeypatch.setattr(progress_bar, "Event", lambda: end)
    monkeypatch.setattr(progress_bar, "Thread", thread)
    monkeypatch.setattr(progress_bar, "make_console", lambda *, stderr: console)  # noqa: ARG005
    steps = [(0.1, 110.0), (0.3, 120.0), (0.3, 140.0), (0.2, 125.0), (0.2, 126.0), (1.0, 130.0)]
    with show_share("eval"):
        for k, (share, seconds) in enumerate([(0.0, 161.2), *steps]):
            now[0] = seconds
            if k:
                report_share("samples" if k < 5 else "images", share)
            end.wait.side_effect = [False, True]
            thread.call_args.kwargs["target"]()
    assert [call.args[0] for call in console.print.call_args_list] == [
        "eval, 0:01:01 so far",
        "eval: samples, 0:00:00 so far, 10%",
        "eval: samples, 0:00:10 so far, 30%, about 0:00:35 left",
        "eval: samples, 0:00:30 so far, 30%, about 0:01:45 left",  # it stands still
        "eval: samples, 0:00:00 so far, 20%",  # begins again
        "eval: images, 0:00:00 so far, 20%",
        "eval, 0:00:00 so far",
    ]
    assert thread.return_value.start.called
    assert end.set.called
    assert {call.args for call in end.wait.call_args_list} == {(30.0,)}
    assert REPORT.get() is None


@pytest.mark.parametrize("both", [False, True])
def test_a_terminal_shows_a_bar_and_keeps_what_is_printed_out_of_a_pipe(
    monkeypatch: pytest.MonkeyPatch, both: bool
) -> None:
    err, out = io.StringIO(), io.StringIO()
    console = Console(file=err, force_terminal=True, width=120)
    monkeypatch.setattr(progress_bar, "make_console", lambda *, stderr: console)  # noqa: ARG005
    monkeypatch.setattr(out, "isatty", lambda: both)
    monkeypatch.setattr(sys, "stdout", out)
    with show_share("energy"):
        report_share("samples", 0.5)
        sys.stdout.write("from a task\n")
    assert "energy: samples" in err.getvalue()
    assert ("from a task" in err.getvalue()) is both
    assert ("from a task" in out.getvalue()) is not both

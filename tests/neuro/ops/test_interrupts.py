"""Ctrl-C is heard behind a block, once, and in the main thread."""

import signal
import threading

import pytest

from neuro.ops.threads import delay_interrupts


def test_ctrl_c_inside_a_block_is_handled_behind_it() -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def run() -> None:
        with delay_interrupts():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["the rest of the block"]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_ctrl_c_nothing_is_raised_and_errors_pass() -> None:
    before = signal.getsignal(signal.SIGINT)
    with delay_interrupts():
        pass
    with pytest.raises(ValueError, match="own"), delay_interrupts():
        raise ValueError("own")
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_and_an_ignored_signal_leave_the_handler_alone() -> None:
    seen = []

    def run() -> None:
        with delay_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [before, signal.SIG_IGN]

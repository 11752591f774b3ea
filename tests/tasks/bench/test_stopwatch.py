"""What a subject tells of its own time."""

from types import SimpleNamespace

import pytest

from tasks.bench import stopwatch


class Clocks:
    """The clocks of a machine on which one call takes 0.06 s, and 0.09 s of CPU time."""

    def __init__(self) -> None:
        self.calls = 0

    def once(self) -> tuple[int, int]:
        self.calls += 1
        return 7, 50

    def time(self) -> SimpleNamespace:
        return SimpleNamespace(
            perf_counter=lambda: 0.06 * self.calls, process_time=lambda: 0.09 * self.calls
        )


def test_what_is_short_is_repeated_and_the_mean_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clocks = Clocks()
    monkeypatch.setattr(stopwatch, "time", clocks.time())
    monkeypatch.setattr(stopwatch, "measure_growth", lambda once, _: once()[1])
    run = stopwatch.repeat(clocks.once)
    assert clocks.calls == 2  # to compile, and to see how long it takes
    timing = run()
    assert clocks.calls == 2 + 4  # 0.24 s, the least that is not below 0.2
    assert timing.cpu == pytest.approx(0.09)
    assert timing.wall == pytest.approx(0.06)
    assert (timing.counted, timing.events, timing.grown) == (7, 50, 50)

"""What is trained side by side is the same network: it spikes alike before the first step."""

from functools import partial

import pytest
from one_process import measure_together

from tasks.bench import memory
from tasks.bench.harness import Measurement
from tasks.bench.peers import subjects_tick
from tasks.bench.peers.training import (
    ALL,
    ALONE,
    CASES,
    FLOOR,
    LIBRARIES,
    NEURO,
    PEERS,
    SMALL,
)

# The graph of a tick is captured whole, as for inductor, and run without its C++.
CAPTURED = {"torch.compile by ticks": partial(subjects_tick.compiled, backend="aot_eager")}


@pytest.fixture(scope="module")
def ran() -> dict[str, Measurement]:
    """Return a step of everyone by name."""
    return measure_together({n: partial(m, SMALL) for n, m in {**ALL, **CAPTURED}.items()})


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_libraries_count_as_many_output_spikes(ran: dict[str, Measurement], name: str) -> None:
    if "is not installed" in ran[name].problem:
        pytest.skip(ran[name].problem)
    (ours,), (theirs,) = ran[NEURO].runs, ran[name].runs
    assert ours.counted > 20
    assert (ours.counted == theirs.counted) == (name not in ALONE)


@pytest.mark.slow
def test_the_floor_has_no_neurons(ran: dict[str, Measurement]) -> None:
    assert ran[FLOOR].problem == ""


def test_the_best_peer_is_one_that_runs_the_same_network() -> None:
    for cases in CASES.values():
        for case in cases(True):
            first, libraries, *rest, last = case.pairs
            assert set(first.theirs) == set(last.theirs) == set(PEERS) - set(ALONE)
            assert set(libraries.theirs) == set(LIBRARIES) - set(ALONE)
            assert first.target == 1
            assert libraries.target >= 1
            assert [pair.target for pair in rest] == [None] * len(rest)
            assert [pair.by for pair in rest] == ["time"] * len(rest)
            assert (last.by, last.target) == ("memory", 1)


@pytest.mark.slow
def test_memory_of_a_step_is_known_where_the_system_tells(ran: dict[str, Measurement]) -> None:
    known = ran[NEURO].grown is not None
    assert known == memory.OWN.exists()
    assert not known or 0 < ran[NEURO].grown < 100e6  # type: ignore[operator]

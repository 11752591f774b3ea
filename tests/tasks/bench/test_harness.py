"""Subjects run in turns, each in a process of its own, and none spoils what others measured."""

from functools import partial
from pathlib import Path

import bench_subjects
import pytest

from tasks.bench.harness import Measurement, RunTiming, measure


def test_subjects_are_built_once_and_then_run_in_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    names = ("a", "b", "c")
    found = measure({n: partial(bench_subjects.writes, n, log) for n in names}, 2, threads=3)
    words = log.read_text().split()
    assert sorted(words[:3]) == ["build-a", "build-b", "build-c"]
    assert words[3:] == ["a", "b", "c", "a", "b", "c"]
    assert found["b"].runs == (RunTiming(1.0, 2.0, 3),) * 2
    assert found["b"].built > 0
    assert found["b"].peak > 10**6


@pytest.mark.slow
def test_one_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    found = measure(
        {
            "unbuilt": bench_subjects.cannot_build,
            "hot": bench_subjects.fails_to_run,
            "worn": bench_subjects.fails_the_second_time,
            "dead": bench_subjects.dies,
            "loud": bench_subjects.prints,
            "poor": bench_subjects.lacks_a_package,
            "well": partial(bench_subjects.writes, "well", tmp_path / "log"),
        },
        repeats=2,
    )
    assert {name: m.problem for name, m in found.items()} == {
        "unbuilt": "ValueError: no such network",
        "hot": "ValueError: too hot",
        "worn": "IndexError: pop from empty list",
        "dead": "its process died with exit status 7: last words",
        "loud": "",
        "poor": (
            "no_such_simulator is not installed; "
            "pip install -e '.[peers]' in a clone of neuro brings it"
        ),
        "well": "",
    }
    assert {name: len(m.runs) for name, m in found.items()} == {
        "unbuilt": 0,
        "hot": 0,
        "worn": 0,
        "dead": 0,
        "loud": 2,
        "poor": 0,
        "well": 2,
    }


@pytest.mark.slow
def test_one_that_never_ends_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    well = partial(bench_subjects.writes, "well", tmp_path / "log")
    for limit in (5, 50, 500):  # s, to start a process too, which a busy machine makes long
        monkeypatch.setattr("tasks.bench.harness.LIMIT", limit)
        found = measure({"endless": bench_subjects.never_ends, "well": well}, 1)
        assert found["endless"].problem == f"took longer than {limit} s"
        if found["well"].runs:
            break
    assert len(found["well"].runs) == 1


@pytest.mark.parametrize("prefix", ["OMP", "MKL", "OPENBLAS", "NUMBA"])
def test_libraries_see_the_number_of_threads_before_they_are_imported(prefix: str) -> None:
    subject = {"s": partial(bench_subjects.reads_environment, f"{prefix}_NUM_THREADS")}
    for threads in (1, 2):
        assert measure(subject, 1, threads)["s"].runs[0].counted == threads


def test_a_child_sees_what_is_added_to_the_environment() -> None:
    subjects = {n: partial(bench_subjects.reads_environment, "SOME") for n in ("s", "other")}
    found = measure(subjects, 1, environments={"s": {"SOME": "17"}})
    assert found["s"].runs[0].counted == 17
    assert found["other"].problem == "KeyError: 'SOME'"


def test_the_memory_of_a_subject_is_the_most_that_a_run_needed() -> None:
    runs = tuple(RunTiming(1.0, 1.0, 1, grown=grown) for grown in (3, None, 5, 4))
    assert Measurement(runs=runs).grown == 5
    assert Measurement(runs=runs[1:2]).grown is None


def test_best_and_median_are_of_the_clock_asked_for() -> None:
    runs = [RunTiming(cpu, wall, 1) for cpu, wall in ((3.0, 5.0), (1.0, 9.0), (2.0, 7.0))]
    measured = Measurement(runs=runs)
    assert (measured.best("cpu"), measured.median("cpu")) == (1.0, 2.0)
    assert (measured.best("wall"), measured.median("wall")) == (5.0, 7.0)
    assert Measurement(runs=runs[:2]).median("cpu") == 3.0

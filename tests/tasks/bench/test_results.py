from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from neuro.io.store import StoreError
from tasks.bench import results
from tasks.bench.results import (
    append_result,
    complete_results,
    make_key,
    read_results,
    read_value,
)
from tasks.driving.closed_loop import Outcome
from tasks.runs.share import REPORT, report_share


def test_results_are_found_by_their_key(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.jsonl"
    assert read_results(path) == {}
    value = append_result(path, "k1", {"planner": "p"}, [np.float64(1.5)])
    assert type(value[0]) is float  # as it is read
    append_result(path, "k2", {"planner": "q"}, {"end": "time"})
    assert read_results(path) == {"k1": [1.5], "k2": {"end": "time"}}


def test_what_a_killed_process_left_of_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_result(path, "k1", {}, 1)
    whole = path.read_text()
    path.write_text(f'{whole}{{"key": "k2", "val')
    assert read_results(path) == {"k1": 1}
    append_result(path, "k3", {}, 3)
    assert read_results(path) == {"k1": 1, "k3": 3}


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", '{"key": 3, "value": 1}', '{"key": "k"}'),
        '{"key": "k", "value": 1, "value": 2}',
    ],
)
def test_other_damage_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    append_result(path, "k1", {}, 1)
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(StoreError, match=r"a\.jsonl: line 2"):
        read_results(path)


def test_a_key_changes_with_all_that_is_told_and_with_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = {"planner": "p", "seed": 1, "digest": "d", "course": 2}
    key = make_key(about)
    assert make_key(dict(about)) == key
    for name in about:
        assert make_key({**about, name: 7}) != key
    monkeypatch.setattr(results, "digest_code", lambda: "later code")
    assert make_key(about) != key


def test_what_is_missing_is_measured_and_its_share_reported(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    about = {name: {"name": name} for name in "abc"}
    append_result(tmp_path / "a.jsonl", make_key(about["b"]), about["b"], 7)

    def measure(names: list[str]) -> Iterator[tuple[str, int]]:
        assert names == ["a", "c"]
        for k, name in enumerate(names):
            report_share("one of them", 0.5)
            yield name, k

    token = REPORT.set(lambda what, share: told.append((what, share)))
    found = complete_results(tmp_path / "a.jsonl", about, int, measure)
    REPORT.reset(token)
    assert found == {"a": 0, "b": 7, "c": 1}
    assert told == [("measurements", share) for share in (0.25, 0.5, 0.75, 1.0)]


def test_a_value_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"as no version writes it .*remove the file"):
        read_value(tmp_path / "a.jsonl", {"end": "time"}, Outcome)

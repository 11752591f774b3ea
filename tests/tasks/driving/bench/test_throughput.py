from dataclasses import replace
from pathlib import Path

import pytest
from driving_runs import SMALL, make_run, put_small

from tasks.bench.harness import Measurement, RunTiming
from tasks.driving.bench import throughput
from tasks.driving.bench.entrants import open_comparison
from tasks.driving.bench.throughput import (
    MODULES,
    REST,
    make_windows,
    measure_modules,
    measure_throughput,
    time_modules,
)
from tasks.driving.model import Driver


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    put_small(monkeypatch)


def test_modules_and_the_rest_are_all_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: float(next(clock)))
    model = Driver(SMALL).eval()
    found = measure_modules(model, 1, 2)
    # The clock ticks once a look: twice a module, twice a pass. The decoder is used once.
    assert found == dict.fromkeys(MODULES, 1.0) | {REST: 11.0 - 5.0}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_hooks_are_gone_after_an_error() -> None:
    model = Driver(SMALL).eval()
    with pytest.raises(KeyError), time_modules(model):
        raise KeyError
    assert not model.encoder._forward_hooks


def test_windows_are_black_and_as_many_as_asked_for() -> None:
    seen = make_windows(Driver(SMALL), 3)
    assert seen.images.shape == (3, 3, 6, 3, 32, 64)
    assert seen.ego.speed.shape == (3,)
    assert seen.images.is_contiguous()


def test_images_of_sweeps_are_images_too(tmp_path: Path) -> None:
    config = replace(SMALL, source=replace(SMALL.source, sweeps=1))
    comparison = replace(open_comparison([make_run(tmp_path / "a")]), config=config)
    took = {comparison.subject: Measurement(runs=[RunTiming(1.0, 0.5, 4, grown=1)])}
    rows = list(throughput._list_speeds(comparison, took, 4, 2))
    found = {row.case: row.ours for row in rows}
    assert found["batch of 4: images"] == 2 * 3 * 6 * found["batch of 4: windows"]


def test_rates_come_from_the_best_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "tiny_ann")]

    def pretend(subjects: dict, repeats: int) -> dict[str, Measurement]:
        assert repeats == 2
        slow = Measurement(
            runs=[
                RunTiming(1.0, 0.5, 4, grown=3_000_000),
                RunTiming(1.0, 0.4, 4, grown=2_000_000),
            ]
        )
        dead = Measurement(problem="out of memory")
        return dict(zip(subjects, (slow, dead), strict=True))

    monkeypatch.setattr(throughput, "measure", pretend)
    rows = list(measure_throughput(open_comparison(runs), 2, (4,)))
    found = {row.case: row for row in rows}
    windows = found["batch of 4: windows"]
    assert (windows.ours, windows.theirs, windows.ratio) == (10.0, None, None)
    assert windows.peer == "driving:tiny_ann"
    assert windows.note == "driving:tiny_ann: out of memory"
    assert found["batch of 4: images"].ours == 10 * 3 * 6  # of three frames, six cameras
    assert found["batch of 4: peak memory"].ours == 3.0
    times = [found[f"time of {name}"] for name in (*MODULES, REST)]
    shares = [row.conditions["share"] for row in times]
    for name in ("driving:tiny", "driving:tiny_ann"):
        assert sum(share[name] for share in shares) == pytest.approx(1)
    assert sum(row.conditions["share_of_macs"] for row in times) == pytest.approx(1)
    assert all(row.ratio == pytest.approx(row.theirs / row.ours) for row in times)  # type: ignore[operator]


def test_alone_there_are_rows_without_a_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = Measurement(runs=[RunTiming(1.0, 0.25, 1)])
    monkeypatch.setattr(
        throughput, "measure", lambda subjects, _: dict.fromkeys(subjects, fast)
    )
    rows = list(measure_throughput(open_comparison([make_run(tmp_path / "a")]), 1, (1,)))
    assert {row.peer for row in rows} == {"none"}
    assert (rows[0].ours, rows[0].theirs, rows[0].note) == (4.0, None, "")
    assert rows[2].ours is None  # memory that no system told

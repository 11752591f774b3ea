"""What the engine costs by itself: memory of a synapse, first uses, a cache that is used."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.bench.harness import Measurement, RunTiming, measure
from tasks.bench.peers import cost
from tasks.bench.peers.engine import EXACT, NEST, of_delta
from tasks.bench.peers.subjects_neuro import exact


def test_a_synapse_of_a_compiled_network_takes_twelve_bytes() -> None:
    make = partial(of_delta, 300, 0.01)
    synapses = make().graph.nodes["recurrent"].weight.size  # type: ignore[union-attr]
    for dtype, size in ((np.float64, 12), (np.float32, 8)):
        timing = cost.compiled_bytes(make, dtype, 1)()
        assert (timing.counted, timing.events) == (size * synapses, synapses)


@pytest.mark.nightly
def test_the_first_use_is_compared_with_a_limit_and_the_next_process_with_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = []

    def measured(
        *subject: Any, environments: dict[str, dict[str, str]]
    ) -> dict[str, Measurement]:
        """Measure; then note the files of what is compiled, and when they were written."""
        found = measure(*subject, environments=environments)
        (environment,) = environments.values()
        files = Path(environment["NUMBA_CACHE_DIR"]).rglob("*.nb?")
        kept.append({file: file.stat().st_mtime_ns for file in files})
        return found

    monkeypatch.setattr(cost, "measure", measured)
    cold, warm = cost.first_uses(quick=True)
    assert (cold.case, cold.theirs, cold.note) == ("first use, grid, float32", 30, "")
    assert warm.theirs == cold.ours
    assert warm.ratio is not None
    first, second = kept
    assert first == second  # what was compiled is kept, and nothing is compiled again
    assert len(first) > 10


@pytest.mark.nightly
def test_rows_of_memory_tell_bytes_and_the_peak_of_both() -> None:
    if find_spec("nest") is None:  # not imported: it stays out of this process
        pytest.skip("NEST, whose peak is compared, is not installed")
    double, single, peak = cost.memory(quick=True)
    assert (double.ours, double.reached, double.unit) == (12.0, True, "bytes")
    assert (single.ours, single.ratio) == (8.0, 1.5)
    assert peak.peer == "NEST precise"
    assert peak.ours is not None
    assert 100 < peak.ours < 4000  # MB, most of it Python with its libraries
    assert peak.conditions["synapses"] == pytest.approx(0.02 * 400**2, rel=0.05)


def test_the_row_of_memory_sets_the_peak_of_one_beside_that_of_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(subjects: Any, repeats: int) -> dict[str, Measurement]:  # noqa: ARG001
        ran = {name: Measurement(runs=(RunTiming(1.0, 1.0, 480, 40),)) for name in subjects}
        peaks = {EXACT: 200_000_000, NEST: 500_000_000}
        return {**ran, **{k: replace(ran[k], peak=peak) for k, peak in peaks.items()}}

    monkeypatch.setattr(cost, "measure", measured)
    *sizes, peak = cost.memory(quick=True)
    # At the limit itself it is reached.
    assert [(row.ours, row.ratio, row.reached) for row in sizes] == [(12.0, 1.0, True)] * 2
    assert (peak.ours, peak.theirs, peak.ratio) == (200.0, 500.0, 2.5)


@pytest.mark.slow
def test_a_failure_leaves_rows_with_reasons() -> None:
    found = measure({EXACT: partial(exact, partial(of_delta, 10, -1.0))}, 1)
    row = cost._bytes("bytes", found[EXACT])
    assert (row.ours, row.ratio) == (None, None)
    assert "duration must be >= 0" in row.note

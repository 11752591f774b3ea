"""A fifth of Brunel's network shows his four regimes: their rates, rhythm and synchrony."""

import pytest

from neuro.base.units import Seconds
from neuro.events import Grid
from neuro.spikes.statistics import Statistics
from tasks.bench.peers.networks import REGIMES
from tasks.bench.peers.regimes import Extent, activity, rows

# Half of all cells reach each cell: the correlations of AI are .07 to .18 in 8 seeds.
EXTENT = Extent(n=2500, duration=Seconds(0.3), seed=5)


@pytest.fixture(scope="module")
def found() -> dict[str, Statistics]:
    return {name: activity(regime, EXTENT, Grid()) for name, regime in REGIMES.items()}


def test_rates_are_those_that_brunel_published(found: dict[str, Statistics]) -> None:
    assert found["SI fast"].rate == pytest.approx(60.7, rel=0.1)
    assert found["AI"].rate == pytest.approx(37.7, rel=0.1)
    assert 1 < found["SI slow"].rate < 15  # a few waves: the number of them decides


def test_only_in_the_regular_regime_cells_fire_like_clocks(
    found: dict[str, Statistics],
) -> None:
    assert found["SR"].rate == pytest.approx(1 / 3e-3, rel=0.01)
    assert found["SR"].cv < 0.01
    assert min(found["AI"].cv, found["SI fast"].cv) > 0.3


def test_only_in_the_asynchronous_regime_cells_hardly_fire_together(
    found: dict[str, Statistics],
) -> None:
    together = {name: f.correlation for name, f in found.items()}
    asynchronous = together.pop("AI")
    assert asynchronous < 0.1
    assert min(together.values()) > 1.5 * asynchronous


def test_a_row_a_clock_stands_beside_the_paper_and_says_what_that_leaves_open() -> None:
    small = Extent(n=1250, duration=Seconds(0.3))  # a CV takes five spikes of a cell
    found = list(rows("AI", small))
    assert [r.subject for r in found] == ["neuro exact", "neuro grid"]
    for row in found:
        assert (row.theirs, row.unit, row.peer) == (37.7, "Hz", "Brunel 2000")
        assert row.ratio == row.ours / 37.7  # type: ignore[operator]
        assert row.conditions["n"] == 1250
        assert set(row.conditions["statistics"]) == {"rate", "cv", "correlation", "fano"}
    for row in rows("SR", small):
        assert (row.theirs, row.ratio) == (None, None)
        assert "no rate" in row.note

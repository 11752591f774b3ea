"""A Poisson node under both clocks: the spikes of torch's clock, in any division of a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.energy import count
from neuro.events import Clock, Exact, Grid, Recording, simulate
from neuro.events.checks import Runaway
from neuro.events.exact import run
from neuro.events.grid.oracle import simulate_slowly
from neuro.events.settings import measure_draws
from neuro.events.to_disk import StreamError, read_state, simulate_to_disk
from neuro.graph import Dense, Graph, Input, Node, Poisson, Sparse
from neuro.neurons import LIF
from neuro.nn import replay
from neuro.spikes import Events, join_in_time
from neuro.spikes.record import Record

TICKS, SAMPLES = 60, 3
RATES = np.array([700.0, 0.0, 1600.0, 90.0, 333.0])
CLOCKS = pytest.mark.parametrize("clock", [Grid(), Exact()])


def make_graph(*, beside: bool = False, seed: int = 6) -> Graph:
    """Return a loop that a source drives by individual delays, and an Input beside it."""
    rng = np.random.default_rng(2)
    source, target = np.divmod(np.arange(20), 4)
    nodes: dict[str, Node] = {
        "p": Poisson(rate=RATES, shape=(5,), seed=seed),
        "w": Sparse.from_coo(
            source,
            target,
            rng.integers(1, 9, 20) / 16,
            shape=(4, 5),
            delay=rng.integers(0, 4, 20).astype(np.int32),
        ),
        "n": LIF(tau=0.02, threshold=2.25, reset="hard", refractory=Seconds(0.002)),
        "back": Dense(weight=rng.integers(-4, 5, (4, 4)) / 8),
        "m": LIF(tau=0.01, reset="hard"),
    }
    edges = "p>w:2 w>n n>back:3 back>n n>m:1"
    if beside:
        nodes |= {"x": Input(shape=(4,))}
        edges += " x>m"
    return wire(edges, nodes)


def same(first: Events, second: Events) -> bool:
    columns = zip(first[:4], second[:4], strict=True)
    return first.shape == second.shape and all(np.array_equal(a, b) for a, b in columns)


def silence(ticks: int) -> Events:
    none = np.zeros(0, np.int32)
    return Events(none, none, none, np.zeros(0), (ticks, SAMPLES, 4))


@pytest.mark.slow
def test_every_executor_has_the_same_spikes() -> None:
    graph = make_graph()
    torch, extent = replay(graph, {}, ticks=TICKS, samples=SAMPLES), (TICKS, SAMPLES)
    grid, _ = simulate(graph, {}, ticks=TICKS, samples=SAMPLES)
    exact, _ = simulate(graph, {}, Exact(), ticks=TICKS, samples=SAMPLES)
    low, _ = simulate(graph, {}, Grid(np.float32), ticks=TICKS, samples=SAMPLES)
    oracle = simulate_slowly(graph, {"p": torch.spikes["p"]})
    for record in (grid, exact, low):
        assert (record.ticks, record.samples) == extent
        assert list(record.spikes) == list(torch.spikes)
        assert same(record.spikes["p"], torch.spikes["p"])
        assert record.counts["p"].spikes == torch.spikes["p"].tick.size
    for name in ("n", "m"):
        assert torch.spikes[name].tick.size > 20
        assert same(grid.spikes[name], torch.spikes[name])
        assert same(grid.spikes[name], oracle.spikes[name])
    counts = {name: replace(own, updates=0) for name, own in oracle.counts.items()}
    assert {name: replace(own, updates=0) for name, own in grid.counts.items()} == counts
    for record in (grid, exact):
        assert count(graph, record)["p"] == record.counts["p"]
    assert exact.times["p"].time == pytest.approx((torch.spikes["p"].tick + 1) * graph.dt)


@pytest.mark.slow
@CLOCKS
@given(st.integers(1, TICKS - 1), st.integers(1, 4), st.integers(1, 9), st.booleans())
@settings(max_examples=12)
def test_division_changes_no_spike(
    clock: Clock, cut: int, workers: int, drawn: int, beside: bool
) -> None:
    graph = make_graph(beside=beside)

    def runs(ticks: int, **how: object) -> tuple[Record, object]:
        inputs = {"x": silence(ticks)} if beside else {}
        clocks = replace(clock, stretch=drawn) if isinstance(clock, Grid) and how else clock
        return simulate(graph, inputs, clocks, ticks=ticks, samples=SAMPLES, **how)  # type: ignore[arg-type]

    whole, end = runs(TICKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "MOST_DRAWN", drawn * 10)
        first, state = runs(cut, workers=workers)
        second, state = runs(TICKS - cut, state=state, workers=workers)
    for name in ("p", "n", "m"):
        parts = [(first.spikes[name], cut), (second.spikes[name], TICKS - cut)]
        assert same(join_in_time(parts, 1), whole.spikes[name])
    assert state.ticks == end.ticks == TICKS  # type: ignore[attr-defined]
    for name, counts in whole.counts.items():
        own = first.counts[name].synaptic_events + second.counts[name].synaptic_events
        assert own == counts.synaptic_events


@CLOCKS
def test_a_recording_leaves_the_source_out(clock: Clock) -> None:
    record, _ = simulate(make_graph(), {}, clock, ticks=TICKS, record=Recording(spikes=("m",)))
    whole, _ = simulate(make_graph(), {}, clock, ticks=TICKS)
    assert list(record.spikes) == ["m"]
    assert record.counts == whole.counts
    assert record.samples == 1
    other, _ = simulate(make_graph(seed=7), {}, clock, ticks=TICKS)
    assert not same(other.spikes["p"], whole.spikes["p"])


@CLOCKS
def test_a_budget_is_of_the_whole_run(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "MOST_DRAWN", 40)
    record, _ = simulate(make_graph(), {}, clock, ticks=TICKS)
    fired = record.counts["n"].spikes + record.counts["m"].spikes
    simulate(make_graph(), {}, replace(clock, budget=fired), ticks=TICKS)
    with pytest.raises(Runaway) as stopped:
        simulate(make_graph(), {}, replace(clock, budget=fired - 1), ticks=TICKS)
    assert stopped.value.record.ticks <= TICKS
    assert stopped.value.record.counts["p"].spikes > 0


@CLOCKS
def test_recorded_states_and_a_stream_continue_the_source(clock: Clock, tmp_path: Path) -> None:
    graph = make_graph()
    whole, end = simulate(graph, {}, clock, ticks=TICKS, record=Recording(states=(8, 40)))
    simulate_to_disk(graph, [17], tmp_path, clock)
    with pytest.raises(StreamError, match="chunk 0 is of another stimulus"):
        simulate_to_disk(graph, [18], tmp_path, clock)
    stream = simulate_to_disk(graph, [17, TICKS - 17], tmp_path, clock)
    for name in ("p", "n", "m"):
        assert same(stream.spikes(name), whole.spikes[name])
    assert read_state(tmp_path).ticks == end.ticks  # type: ignore[union-attr]


@CLOCKS
def test_the_length_of_a_run_is_said_once(clock: Clock) -> None:
    with pytest.raises(ValueError, match="ticks is not given, and there is no Input"):
        simulate(make_graph(), {}, clock)
    with pytest.raises(
        ValueError, match=r"samples is 4; the inputs have 3\. Leave samples out"
    ):
        simulate(make_graph(beside=True), {"x": silence(5)}, clock, ticks=5, samples=4)
    with pytest.raises(ValueError, match="x: no events for this Input"):
        simulate(make_graph(beside=True), {}, clock, ticks=5)
    with pytest.raises(ValueError, match="p: not an Input; there are x"):
        simulate(make_graph(beside=True), {"x": silence(5), "p": silence(5)}, clock)


@CLOCKS
def test_recorded_spikes_that_do_not_fit_are_refused_before_the_run(clock: Clock) -> None:
    graph = wire("p>n", {"p": Poisson(rate=1e4, shape=(9000,), seed=1), "n": LIF(tau=0.02)})
    with pytest.raises(ValueError, match=r"the spikes of p \S+ GB"):
        simulate(graph, {}, clock, ticks=10**8)
    spikes = -9000 * np.expm1(-10)
    assert measure_draws(graph, Recording(), 50) == {"the spikes of p": int(40 * spikes * 50)}
    assert measure_draws(graph, Recording(spikes=("n",)), 50) == {}

"""The forward run against the sum of exponentials, and against a search that misses nothing."""

import math

import numpy as np
import pytest
from exact_networks import DT, T, drawn, network, one_neuron, times
from hypothesis import given, strategies as st
from written_graphs import chain

from neuro.eventprop import EventPropError, adjoint, compute_activity
from neuro.graph import Dense, Input
from neuro.neurons import LIF
from neuro.spikes import to_events, to_times

END = T * DT


def membrane(tau: float, tau_syn: float, arrivals: np.ndarray, since: float, t: np.ndarray):  # type: ignore[no-untyped-def]
    """Return V at times t of a neuron reset at ``since``; arrivals: rows of (time, weight).

    Written as the integral of the current from the reset on, arrival by arrival.
    """
    a, c = math.exp(-DT / tau), math.exp(-DT / tau_syn)
    v = np.zeros_like(t)
    for time, weight in arrivals:
        start = np.maximum(time, since)
        old, new = np.exp(-(start - time) / tau_syn), np.maximum(t - start, 0)
        v += weight * old * (np.exp(-new / tau) - np.exp(-new / tau_syn)) / (a - c)
    return v


@given(
    seed=st.integers(0, 10**6),
    tau=st.floats(0.003, 0.05),
    ratio=st.sampled_from([0.2, 0.7, 3.0]),
)
def test_every_spike_is_a_crossing_and_no_crossing_is_missed(
    seed: int, tau: float, ratio: float
) -> None:
    rng = np.random.default_rng(seed)
    x = drawn(rng, 1, 6)
    weight = rng.normal(0.1, 0.3, (1, 6))
    graph = chain(
        input=Input(shape=(6,)),
        fc=Dense(weight=weight),
        out=LIF(tau=tau, tau_syn=ratio * tau, reset="hard"),
        dt=DT,
    )
    found = compute_activity(graph, {"input": x}).times["out"].time
    arrivals = np.stack([x.time, weight[0, x.neuron]], 1)
    since = 0.0
    for spike in [*found, END]:
        known = arrivals[arrivals[:, 0] < spike]
        between = np.linspace(since, spike, 400)[1:-1]
        assert membrane(tau, ratio * tau, known, since, between).max(initial=0) < 1 + 1e-9
        if spike < END:
            at = membrane(tau, ratio * tau, known, since, np.array([spike]))[0]
            assert at == pytest.approx(1.0, abs=1e-10)
        since = spike


def test_equal_time_constants_are_the_limit_of_nearly_equal_ones() -> None:
    x = {"input": times([(0.001, 0), (0.004, 0)], size=1)}
    at = [
        compute_activity(one_neuron(0.8, tau=0.01, tau_syn=0.01 * (1 + e)), x).times["out"].time
        for e in (0.0, 1e-12, -1e-12, 1e-5)
    ]
    assert at[0].size > 2
    for other, tolerance in zip(at[1:], (1e-13, 1e-13, 1e-6), strict=True):
        np.testing.assert_allclose(other, at[0], rtol=0, atol=tolerance)


def test_without_leak_and_with_equal_synapses_neurons_fire_together_in_order() -> None:
    graph = chain(
        input=Input(shape=(1,)),
        fc=Dense(weight=np.full((3, 1), 0.5)),
        out=LIF(tau=math.inf, tau_syn=0.004, reset="hard"),
        dt=DT,
    )
    out = compute_activity(graph, {"input": times([(0.001, 0)], size=1)}).times["out"]
    # 0.5 (1 - exp(-s / tau_syn)) / (1 - exp(-dt / tau_syn)) = 1
    s = -0.004 * math.log(1 - (1 - math.exp(-DT / 0.004)) / 0.5)
    np.testing.assert_allclose(out.time[:3], 0.001 + s, rtol=0, atol=1e-15)
    assert out.neuron[:3].tolist() == [0, 1, 2]


def test_events_stand_for_their_times() -> None:
    graph = network(5)
    raster = (np.random.default_rng(5).random((T, 2, 3)) < 0.5).astype(np.float64)
    events = to_events(raster)
    some = compute_activity(graph, {"input": events})
    other = compute_activity(graph, {"input": to_times(events, graph.dt)})
    assert some.times["hidden"].time.size > 5
    np.testing.assert_equal(some.times, other.times)
    np.testing.assert_array_equal(some.means["read"], other.means["read"])


def test_the_read_out_is_the_mean_of_each_tick() -> None:
    graph = network(5)
    x = drawn(np.random.default_rng(5), 2, 3)
    done = compute_activity(graph, {"input": x})
    weight = {n: np.asarray(graph.nodes[n].weight) for n in ("fc3", "skip")}  # type: ignore[union-attr]
    jumps = []  # (sample, time, jump of both neurons)
    for train, delay, rows in (
        (done.times["hidden"], 1, weight["fc3"].T),
        (x, 3, weight["skip"].T),
        (done.times["out"], 0, np.eye(2)),
    ):
        for b, t, n in zip(train.sample, train.time, train.neuron, strict=True):
            jumps.append((b, t + delay * DT, 0.5 * rows[n]))
    fine = (np.arange(T * 2000) + 0.5) * DT / 2000
    expected = np.zeros((fine.size, 2, 2))
    for b, t, jump in jumps:
        expected[:, b] += np.where(fine > t, np.exp(-(fine - t) / 0.01), 0)[:, None] * jump
    means = expected.reshape(T, 2000, 2, 2).mean(1)
    np.testing.assert_allclose(done.means["read"], means, rtol=0, atol=2e-3)
    assert np.abs(means).max() > 1


def test_activity_that_runs_away_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjoint, "MAX_SPIKES", 100)
    graph = one_neuron(1000.0, tau=0.01, tau_syn=0.005)
    with pytest.raises(EventPropError, match=r"out: [0-9,]+ spikes in one run are too many"):
        compute_activity(graph, {"input": times([(0.001, 0)], size=1)})

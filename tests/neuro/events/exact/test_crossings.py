"""No crossing is missed, none is invented, and inputs push spikes the way they should."""

from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, run
from hypothesis import Phase, given, settings, strategies as st
from written_graphs import wire

from neuro.base.units import Seconds
from neuro.events import Exact, simulate
from neuro.events.exact.oracle_neuron import integrate_product
from neuro.events.exact.state import make_rest_state
from neuro.graph import Dense, Graph, Input, Node, Sparse
from neuro.neurons import LI, LIF
from neuro.spikes import Events, Times

HEAP = replace(CLOCK, driver="heap")
CELLS, FINE = 600, 400
TAU, RISE, FALL = 0.01, 0.002, 0.005


def laws(examples: int) -> settings:
    return settings(max_examples=examples, phases=(Phase.explicit, Phase.generate))


def pushed(tau: float | np.ndarray) -> Graph:
    """Return many cells with a fast and a slow current, which nothing feeds."""
    nothing = Sparse.from_coo(np.zeros(0, int), np.zeros(0, int), np.zeros(0), shape=(CELLS, 1))
    nodes: dict[str, Node] = {
        "x": Input(shape=(1,)),
        "up": nothing,
        "down": nothing,
        "fast": LI(tau=RISE),
        "slow": LI(tau=FALL),
        "cells": LIF(tau=tau, reset="hard", refractory=Seconds(1.0)),
    }
    return wire("x>up x>down up>fast down>slow fast>cells slow>cells", nodes, DT)


def analytic(
    v: np.ndarray, fast: np.ndarray, slow: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Return v at ``times`` (K) of cells that never fire, K N."""
    units = [1 / integrate_product(np, 1 / TAU, 1 / tau, DT) for tau in (RISE, FALL)]
    gained = [
        np.array([integrate_product(np, 1 / TAU, 1 / tau, h) for h in times])
        for tau in (RISE, FALL)
    ]
    out = np.exp(-times / TAU)[:, None] * v
    return out + sum(
        u * g[:, None] * y for u, g, y in zip(units, gained, (fast, slow), strict=True)
    )


@pytest.mark.parametrize("uneven", [False, True], ids=["fast window", "general window"])
@pytest.mark.parametrize("ticks", [1, 9])
@laws(6)
@given(seed=st.integers(0, 10**6))
def test_wherever_a_fine_grid_sees_v_above_the_threshold_there_was_a_spike(
    ticks: int, uneven: bool, seed: int
) -> None:
    """Excitation ahead of inhibition: v peaks inside and falls back (Krishnan et al. 2018)."""
    rng = np.random.default_rng(seed)
    times = np.linspace(0, ticks * DT, FINE * ticks + 1)
    v, fast = rng.uniform(-1, 0.99, CELLS), rng.uniform(0, 2, CELLS)
    slow = -fast * rng.uniform(0, 1.5, CELLS)
    if seed % 2:  # half of them: as much that the peak just passes the threshold, or just not
        peaks = analytic(0 * v, fast, slow, times).max(0)
        touch = np.maximum((1 + rng.uniform(-1e-4, 1e-4, CELLS)) / np.maximum(peaks, 0.2), 0)
        v, fast, slow = 0 * v, fast * touch, slow * touch
    graph = pushed(np.where(np.arange(CELLS) < 1, 2 * TAU, TAU) if uneven else TAU)
    rest = make_rest_state(graph, 1)
    rows = {name: r.copy() for name, r in rest.neurons.items()}
    rows["cells"][0, 0], rows["fast"][0, 0], rows["slow"][0, 0] = v, fast, slow
    empty = np.zeros(0, np.int32)
    train = Times(empty, np.zeros(0), empty, np.zeros(0), (ticks, 1, 1))
    course = analytic(v, fast, slow, times)
    above = course >= 1 + 1e-12
    first = np.where(above.any(0), times[above.argmax(0)], np.inf)
    near = course.max(0) > 1 - 1e-6
    for clock in (CLOCK, HEAP):
        record, _ = simulate(graph, {"x": train}, clock, state=replace(rest, neurons=rows))
        got = np.full(CELLS, np.inf)
        got[record.times["cells"].neuron] = record.times["cells"].time
        mine = slice(1 if uneven else 0, None)
        assert (got <= first + 1e-15)[mine].all()  # none is missed
        assert (near | ~np.isfinite(got))[mine].all()  # none is invented
        fired = np.isfinite(got) & (np.arange(CELLS) >= (1 if uneven else 0))
        assert fired.sum() > 5
        at = [
            analytic(*(y[[j]] for y in (v, fast, slow)), got[[j]])[0, 0]
            for j in np.flatnonzero(fired)
        ]
        # Times are multiples of 2^-40 ticks: v may rise for half of one more, or less.
        slope = np.abs(np.diff(course, axis=0)).max() / (times[1] / DT)
        np.testing.assert_allclose(at, 1, rtol=0, atol=1e-13 + 2**-41 * slope)


def single(between: LI | None, drive: float) -> Graph:
    """Return two inputs, one that excites and one that inhibits, into one cell."""
    bias = np.array([drive]) if drive else None
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "fc": Dense(weight=np.array([[0.45, -0.6]])),
        "drive": Dense(weight=np.array([[0.0, 0.0]]), bias=bias),
        "cells": LIF(tau=0.01, reset="hard"),
    }
    if between is not None:
        nodes["i"] = between
    behind = "fc>i i>cells" if between else "fc>cells"
    return wire(f"x>fc x>drive drive>cells {behind}", nodes, DT)


def spikes(arrivals: list[tuple[float, int]]) -> Times:
    rows = np.array(sorted(set(arrivals)), float).reshape(-1, 2)
    zero, value = np.zeros(len(rows), np.int32), np.ones(len(rows))
    return Times(zero, rows[:, 0].copy(), rows[:, 1].astype(np.int32), value, (40, 1, 2))


ARRIVALS = st.lists(st.floats(1e-6, 40 * DT), min_size=1, max_size=20)


@pytest.mark.parametrize("between", [None, LI(tau=0.004)], ids=["delta", "current"])
@laws(15)
@given(excite=ARRIVALS, inhibit=ARRIVALS, drive=st.sampled_from([0.0, 0.04, 0.12]))
def test_inhibition_never_advances_a_spike(
    between: LI | None, excite: list[float], inhibit: list[float], drive: float
) -> None:
    graph = single(between, drive)
    plain = [(t, 0) for t in excite]
    for clock in (CLOCK, HEAP):
        free = run(graph, spikes(plain), clock).times["cells"].time
        both = spikes(plain + [(t, 1) for t in inhibit])
        held = run(graph, both, clock).times["cells"].time
        assert held.size <= free.size
        assert (held >= free[: held.size] - 1e-14).all()


@pytest.mark.parametrize("between", [None, LI(tau=0.004)], ids=["delta", "current"])
@laws(15)
@given(excite=ARRIVALS, inhibit=ARRIVALS, more=ARRIVALS)
def test_excitation_never_delays_the_first_spike(
    between: LI | None, excite: list[float], inhibit: list[float], more: list[float]
) -> None:
    graph = single(between, 0.04)
    few = [(t, 0) for t in excite] + [(t, 1) for t in inhibit]
    for clock in (CLOCK, HEAP):
        before = run(graph, spikes(few), clock).times["cells"].time
        after = run(graph, spikes(few + [(t, 0) for t in more]), clock).times["cells"].time
        if before.size:
            assert after[0] <= before[0] + 1e-14


@pytest.mark.parametrize("order", [("fast", "slow"), ("slow", "fast")])
def test_either_current_may_lift_a_neuron_over_its_threshold_inside_a_long_window(
    order: tuple[str, str],
) -> None:
    """v is above its threshold in the middle of a window of 20 ticks, at its ends below."""
    dt = Seconds(1e-3)
    nodes: dict[str, Node] = {
        "x": Input(shape=(1,)),
        "up": Dense(weight=np.array([[1.2]])),
        "fast": LI(tau=2 * dt),
        "none": Dense(weight=np.zeros((1, 1))),
        "slow": LI(tau=9 * dt),
        "cells": LIF(tau=5 * dt, reset="hard", refractory=Seconds(15 * dt)),
        "back": Dense(weight=np.zeros((1, 1))),
    }
    first, second = order
    edges = (
        f"x>up up>fast x>none none>slow {first}>cells {second}>cells cells>back:20 back>slow"
    )
    graph = wire(edges, nodes, dt)
    x = {"x": Events(*(np.array([k]) for k in (0, 2, 0)), np.ones(1), (60, 1, 1))}
    record, _ = simulate(graph, x, Exact())
    (time,) = record.times["cells"].time
    assert 3 * dt < time < 8 * dt
    heap, _ = simulate(graph, x, Exact(driver="heap"))
    np.testing.assert_allclose(heap.times["cells"].time, [time], rtol=0, atol=1e-12 * dt)
    late = replace(graph, nodes={**nodes, "cells": LIF(tau=5 * dt, threshold=1e3)})
    _, state = simulate(late, {"x": x["x"]._replace(shape=(20, 1, 1))}, Exact())
    assert state.neurons["cells"][0, 0, 0] < 1  # below the threshold as the window ends

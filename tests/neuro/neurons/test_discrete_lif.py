"""DiscreteLIF: numbers by hand, plain voltages, and every executor at its threshold."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from written_graphs import chain

from lava_export import lower, reference
from neuro.base.units import Seconds
from neuro.eventprop import EventPropError
from neuro.eventprop.layers import build_layers
from neuro.events import Exact, Grid, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.events.grid.oracle import simulate_slowly
from neuro.graph import Dense, Graph, Input
from neuro.interop.nest_plan import NestError, plan
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph, save_graph
from neuro.neurons import DiscreteLIF
from neuro.nn import compute_margins, replay
from neuro.spikes import Events, to_events, to_raster, to_times
from neuro.spikes.record import Record

DT = Seconds(2**-10)
SEEDS = st.integers(0, 10**6)
Run = Callable[[Graph, dict[str, Events]], Record]

# Every executor at ticks; those in float32 take numbers whose sums it holds.
CLOCKS: dict[str, Run] = {
    "torch": replay,
    "torch, float32": lambda g, x: replay(g, x, torch.float32),
    "grid": lambda g, x: simulate(g, x)[0],
    "grid, float32": lambda g, x: simulate(g, x, Grid(dtype=np.float32))[0],
    "oracle": simulate_slowly,
}
INTEGERS: dict[str, Run] = {
    "chip integers": lambda g, x: reference.run(lower(g, ticks=12), x, x["x"].shape[0])
}
EXACT: dict[str, Run] = {
    "windows": lambda g, x: simulate(g, x, Exact())[0],
    "heap": lambda g, x: simulate(g, x, Exact(driver="heap"))[0],
    "oracle": lambda g, x: simulate_exactly_slowly(g, x)[0],
}


def network(
    model: DiscreteLIF, weight: float = 1.0, bias: float = 0.0, dt: float = DT
) -> Graph:
    own = np.array([bias]) if bias else None
    fc = Dense(weight=np.array([[weight]]), bias=own)
    return chain(dt, x=Input(shape=(1,)), fc=fc, cells=model)


def values(*x: float) -> dict[str, Events]:
    return {"x": to_events(np.array(x, np.float64).reshape(-1, 1, 1))}


def ticks_of(run: Run, graph: Graph, *x: float) -> list[int]:
    return run(graph, values(*x)).spikes["cells"].tick.tolist()


def step_through(model: DiscreteLIF, *x: float) -> tuple[list[float], list[float]]:
    """Return spikes and membranes after their reset, tick by tick."""
    state, spikes, membranes = model.initial(torch.zeros(1, 1)), [], []
    for value in x:
        s, state = model.step(torch.tensor([[float(value)]]), state, DT)
        spikes.append(s.item())
        membranes.append(state.v.item())
    return spikes, membranes


def test_a_soft_reset_by_a_value_by_hand() -> None:
    model = DiscreteLIF(decay=0.5, gain=0.25, threshold=1.0, reset_by=0.5)
    assert step_through(model, 4, 2, 8, 0) == ([1, 0, 1, 0], [0.5, 0.75, 1.875, 0.9375])
    assert step_through(replace(model, reset_by=0.0), 8, 0, 0) == ([1, 1, 0], [2, 1, 0.5])
    assert step_through(replace(model, reset_by=3.0), 4, 0, 14) == ([1, 0, 1], [-2, -1, 0])


def test_a_hard_reset_to_a_value_by_hand_with_rest_refractory_period_and_current() -> None:
    model = DiscreteLIF(
        decay=0.5, threshold=-50.0, reset="hard", reset_to=-72.0, rest=-70.0, refractory=2 * DT
    )
    # v counts from rest: the threshold is 20, a reset leaves -2
    spikes, v = step_through(model, 20, 99, 99, 9, 16)
    assert spikes == [1, 0, 0, 0, 1]
    assert v == [-2, -2, -2, 8, -2]
    with_current = replace(model, decay_syn=0.5, reset_to=None)
    spikes, v = step_through(with_current, 20, 8, 0, 0, 0)  # i: 20, 18, 9, 4.5, 2.25
    assert (spikes, v) == ([1, 0, 0, 0, 0], [0, 0, 0, 4.5, 4.5])


@pytest.mark.parametrize("executor", [*CLOCKS, *INTEGERS])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("threshold", [0.75, 0.1])
def test_only_a_strict_threshold_keeps_a_membrane_silent_that_equals_it(
    executor: str, reset: Any, threshold: float
) -> None:
    model = DiscreteLIF(decay=1.0, threshold=threshold, reset=reset)
    run = {**CLOCKS, **INTEGERS}[executor]
    if "float32" in executor:  # the weight and the threshold become the same float32
        threshold = float(np.float32(threshold))
    graph = network(model, weight=threshold)
    assert ticks_of(run, graph, 1, 0, 0, 1) == [0, 3]
    strict = network(replace(model, strict=True), weight=threshold)
    # The second input lifts v to twice the threshold; a soft reset leaves one threshold.
    assert ticks_of(run, strict, 1, 0, 0, 1, 0) == [3]
    again = [3, 4] if reset == "soft" else [3]
    assert ticks_of(run, strict, 1, 0, 0, 1, 1) == again


def test_a_strict_threshold_passes_the_same_gradient() -> None:
    gradients = []
    for strict in (False, True):
        x = torch.tensor([[0.5, 1.0, 1.5]], requires_grad=True)
        model = DiscreteLIF(decay=0.5, strict=strict)
        spikes, _ = model.step(x, model.initial(x), DT)
        (gradient,) = torch.autograd.grad(spikes.sum(), x)
        gradients.append(gradient.ravel().tolist())
    assert gradients[0] == gradients[1]
    assert min(gradients[0]) > 0


@pytest.mark.parametrize("executor", [*CLOCKS, *INTEGERS])
def test_a_neuron_that_no_reset_lowers_stays_awake(executor: str) -> None:
    run = {**CLOCKS, **INTEGERS}[executor]
    model = DiscreteLIF(decay=0.5, threshold=1.0, reset_by=0.0)
    assert ticks_of(run, network(model, 4.0), 1, 0, 0, 0, 0, 1, 0) == [0, 1, 2, 5, 6]
    strict = replace(model, strict=True)
    assert ticks_of(run, network(strict, 4.0), 1, 0, 0, 0, 0, 1, 0) == [0, 1, 5, 6]


@pytest.mark.parametrize("executor", [*CLOCKS, *INTEGERS])
def test_a_reset_to_a_value_moves_the_next_spike_that_a_bias_brings_about(
    executor: str,
) -> None:
    run = {**CLOCKS, **INTEGERS}[executor]
    silence = (0,) * 12
    for to, ticks in ((0.0, [3, 7, 11]), (0.5, [3, 5, 7, 9, 11]), (-1.0, [3, 11]), (-2.0, [3])):
        model = DiscreteLIF(decay=1.0, threshold=1.0, reset="hard", reset_to=to)
        graph = network(model, bias=0.25)
        assert ticks_of(run, graph, *silence) == ticks, to


def drawn(seed: int, *, fires_between: bool = False) -> tuple[DiscreteLIF, np.ndarray]:
    """Return a model of dyadic numbers and an input of 12 ticks.

    fires_between: in continuous time.
    """
    rng = np.random.default_rng(seed)
    rest = float(rng.choice([0.0, -0.5, 0.25]))
    hard = rng.random() < 0.5
    by = [0.125, 0.5, 0.75, 1.5, None] + [0.0] * (not fires_between)
    model = DiscreteLIF(
        decay=float(rng.choice([0.5, 0.75, 1.0] + [0.0] * (not fires_between))),
        gain=float(rng.choice([0.5, 1.0, 2.0])),
        decay_syn=rng.choice([None, 0.5, 0.75]),
        threshold=0.5,
        strict=bool(rng.random() < 0.5) and not fires_between,
        reset="hard" if hard else "soft",
        reset_to=rng.choice([None, -0.75, 0.0, 0.4375]) if hard else None,
        reset_by=None if hard else rng.choice(np.array(by, object)),
        rest=rest,
        refractory=Seconds(int(rng.integers(0, 3)) * DT),
    )
    return model, rng.integers(-8, 16, 12) / 16


def run_plainly(m: DiscreteLIF, x: np.ndarray) -> list[int]:
    """Return the ticks of spikes, from voltages as they are."""
    v, i, wait, fired = m.rest, 0.0, 0, []
    for t, value in enumerate(x.tolist()):
        i = (m.decay_syn or 0.0) * i + value
        if wait > 0:
            wait -= 1
            continue
        v = m.rest + m.decay * (v - m.rest) + m.gain * i
        if v > m.threshold or (v == m.threshold and not m.strict):
            fired.append(t)
            v -= m.threshold if m.reset_by is None else m.reset_by
            if m.reset == "hard":
                v = m.rest if m.reset_to is None else m.reset_to
            wait = round(m.refractory / DT)
    return fired


@given(seed=SEEDS)
def test_in_float64_every_executor_at_ticks_computes_the_plain_voltages(seed: int) -> None:
    model, x = drawn(seed)
    want = run_plainly(model, x)
    for executor in ("torch", "grid", "oracle"):
        assert ticks_of(CLOCKS[executor], network(model), *x) == want, (executor, model)


@given(seed=SEEDS)
def test_in_float32_torch_and_grid_agree_with_any_numbers(seed: int) -> None:
    model, x = drawn(seed)
    model = replace(model, decay=0.9, gain=0.7, threshold=0.45)
    graph = network(model, weight=1 / 3)
    one, other = (ticks_of(CLOCKS[f"{name}, float32"], graph, *x) for name in ("torch", "grid"))
    assert one == other


@given(seed=SEEDS)
def test_chip_integers_have_the_spikes_of_floats_where_no_decay_rounds(seed: int) -> None:
    model, x = drawn(seed)
    model = replace(model, decay=1.0, decay_syn=None, gain=1.0, refractory=Seconds(0.0))
    graph, spikes = network(model, weight=0.25, bias=0.0625), (x > 0).astype(float)
    assert ticks_of(INTEGERS["chip integers"], graph, *spikes) == ticks_of(
        replay, graph, *spikes
    )


@pytest.mark.slow
@given(
    seed=SEEDS,
    decay=st.sampled_from([0.5, 0.25, 1.0]),
    r=st.sampled_from([0.25, 0.5, 1.0]),
    strict=st.booleans(),
)
def test_a_soft_reset_one_tick_late_subtracts_r_over_decay(
    seed: int, decay: float, r: float, strict: bool
) -> None:
    x = np.random.default_rng(seed).integers(-4, 16, 14) / 8
    v, s, late, membranes = 0.0, 0.0, [], []
    for value in x.tolist():
        v = decay * v + value - r * s
        s = float(v > 0.5) if strict else float(v >= 0.5)
        late.append(s)
        membranes.append(v)
    model = DiscreteLIF(decay=decay, threshold=0.5, reset_by=r / decay, strict=strict)
    graph = network(model)
    for executor in ("torch", "grid", "oracle"):
        record = CLOCKS[executor](graph, values(*x))
        assert to_raster(record.spikes["cells"]).ravel().tolist() == late
    margins = compute_margins(graph, values(*x), "cells")
    assert (margins.ravel() + 0.5).tolist() == membranes  # bit for bit


@pytest.mark.parametrize("executor", EXACT)
def test_in_continuous_time_resets_act_at_the_instant_of_the_spike(executor: str) -> None:
    def instants(model: DiscreteLIF, *x: float, bias: float = 0.0) -> list[float]:
        record = EXACT[executor](network(model, bias=bias), values(*x))
        return (record.times["cells"].time / DT).tolist()

    by_half = DiscreteLIF(decay=0.5, threshold=1.0, reset_by=0.5)
    # 2 falls to 1.5, 1 and 0.5 at once, and is 0.0625 when 0.9375 arrives
    assert instants(by_half, 2, 0, 0.75, 0.5625) == [1, 1, 1, 4]
    below = DiscreteLIF(decay=0.5, threshold=1.0, reset="hard", reset_to=-1.0)
    assert instants(below, 9, 1.5, 1.25, 0.5) == [1, 2]
    for model, want in (
        (replace(by_half, decay=1.0), [4, 6, 8, 10, 12]),
        (replace(below, decay=1.0), [4, 12]),
        (replace(below, decay=1.0, reset_to=0.5), [4, 6, 8, 10, 12]),
        (replace(below, decay=1.0, reset_to=0.5, strict=True), [4, 6, 8, 10, 12]),
    ):
        assert instants(model, *(0,) * 12, bias=0.25) == want


def test_continuous_time_refuses_what_has_no_meaning_there() -> None:
    for model, told in (
        (DiscreteLIF(decay=0.0), "decay > 0, got 0"),
        (DiscreteLIF(decay=0.5, decay_syn=0.0), "decay_syn > 0, got 0"),
        (DiscreteLIF(decay=0.5, reset_by=0.0), "reset_by > 0, got 0"),
    ):
        with pytest.raises(ValueError, match=f"cells: a DiscreteLIF .* needs {told}"):
            simulate(network(model), values(1), Exact())


@pytest.mark.slow
@given(seed=SEEDS)
def test_in_continuous_time_the_drivers_agree_with_the_oracle(seed: int) -> None:
    model, x = drawn(seed, fires_between=True)
    # Numbers with all their digits: where rounding decides about ties is another subject.
    graph = network(model, weight=0.7319, bias=0.9137 * float(x[0]))
    one, two, want = (run(graph, values(*x)).times["cells"].time for run in EXACT.values())
    np.testing.assert_allclose(one, want, rtol=0, atol=1e-12)
    np.testing.assert_allclose(two, want, rtol=0, atol=1e-12)


def test_what_eventprop_and_nest_cannot_do_is_refused_by_name() -> None:
    dt = Seconds(1e-3)
    model = DiscreteLIF(
        decay=0.5, decay_syn=0.25, reset="hard", reset_to=-0.5, strict=True, refractory=dt
    )
    graph, x = network(model, dt=dt), {"x": to_times(values(1)["x"], dt)}
    with pytest.raises(EventPropError, match="cells: a reset to a value has no adjoint"):
        build_layers(graph)
    with pytest.raises(NestError, match=r"cells: at ticks .* strict; use strict=False or prec"):
        plan(graph, x, {}, precise=False)
    population = plan(graph, x, {}).populations["cells"]  # between ticks it is none
    assert population.parameters["V_reset"].tolist() == [-0.5]
    soft = replace(model, reset="soft", reset_to=None)
    with pytest.raises(NestError, match="cells: NEST resets to a value, never by one"):
        plan(network(soft, dt=dt), x, {})


def test_a_file_keeps_every_field(tmp_path: Path) -> None:
    model = DiscreteLIF(
        decay=np.array([0.5, 0.75]),
        gain=0.5,
        decay_syn=0.25,
        threshold=2.0,
        strict=True,
        reset="hard",
        reset_to=-0.5,
        rest=-1.0,
        refractory=2 * DT,
    )
    fc = Dense(weight=np.ones((2, 1)))
    graph, path = chain(DT, x=Input(shape=(1,)), fc=fc, cells=model), tmp_path / "g.safetensors"
    save_graph(path, graph)
    assert digest_graph(load_graph(path)) == digest_graph(graph)
    changes: dict[str, Any]
    for changes in (
        {"strict": False},
        {"reset_to": 0.5},
        {"reset_to": None},
        {"rest": 0.0},
        {"reset": "soft", "reset_to": None},
        {"reset": "soft", "reset_to": None, "reset_by": 1.0},
    ):
        other = replace(graph, nodes={**graph.nodes, "cells": replace(model, **changes)})
        assert digest_graph(other) != digest_graph(graph), changes
        save_graph(path, other)
        assert digest_graph(load_graph(path)) == digest_graph(other), changes


def test_wrong_parameters_are_refused_with_their_cure() -> None:
    for wrong, told in (
        ({"decay": 1.5}, r"decay must be in \[0, 1\], got 1.5"),
        ({"gain": 0.0}, "gain must be > 0"),
        ({"decay_syn": 1.0}, "decay_syn must be in"),
        ({"threshold": 0.5, "rest": 0.5}, "threshold must be > rest"),
        ({"reset": "hard", "reset_to": 1.0}, "reset_to must be < threshold"),
        ({"reset_to": 0.0}, "reset_to has no effect with reset='soft'"),
        ({"reset": "hard", "reset_by": 1.0}, "reset_by has no effect with reset='hard'"),
        ({"reset_by": -1.0}, "reset_by must be >= 0"),
        ({"threshold": -50.0, "rest": -70.0}, "threshold must be >= 0, got -50.0; a soft"),
    ):
        with pytest.raises(ValueError, match=rf"DiscreteLIF\.{told}"):
            DiscreteLIF(**{"decay": 0.5, **wrong})  # type: ignore[arg-type]

"""What cannot run in continuous time is refused, or stopped, with a message that names it."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from exact_laws import CLOCK, DT, KINDS, PLAIN, at_any_time, network, run, with_nodes

from neuro.base.units import Seconds, Ticks
from neuro.events import Exact, Grid, Recording, Runaway, simulate
from neuro.events.exact import heap_driver, run as exact_run, window_driver
from neuro.graph import Dense, Edge, Graph, GraphError, Input, Sparse
from neuro.neurons import ALIF, LI, LIF
from neuro.spikes import Times

TRAIN = at_any_time(0)


def test_clocks_that_cannot_be_are_refused() -> None:
    for window in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"Exact\.window must be > 0 s and finite"):
            Exact(window=Seconds(window))
    for clock, field in ((Exact, "threads"), (Exact, "budget"), (Grid, "stretch")):
        with pytest.raises(ValueError, match=rf"{clock.__name__}\.{field} must be >= 1, got 0"):
            clock(**{field: 0})
    with pytest.raises(ValueError, match=r"Grid.budget must be >= 1, got 0 spike; 10\*\*9 is"):
        Grid(budget=0)


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("kind", PLAIN)
def test_a_loop_that_explodes_ends_under_the_budget_that_it_comes_with(
    kind: str, driver: str
) -> None:
    graph = network(kind, 1)
    back = np.full(12, 40.0)
    graph = with_nodes(
        graph,
        fc=replace(graph.nodes["fc"], weight=np.full((5, 3), 40.0)),
        back=replace(graph.nodes["back"], weight=back),
    )
    soft = replace(graph.nodes["cells"], reset="soft")
    train = TRAIN._replace(shape=(4000, *TRAIN.shape[1:]))
    with pytest.raises(Runaway, match=r"more than 16 spikes per neuron in one window by tick"):
        run(with_nodes(graph, cells=soft), train, Exact(driver=driver))  # type: ignore[arg-type]


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_goes_back_to_python_now_and_then_is_the_same_run(
    kind: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, clock = network(kind, 5, refractory=0.0013), Exact(driver=driver)  # type: ignore[arg-type]
    train = at_any_time(5)
    whole, end = simulate(graph, {"x": train}, clock)
    windows, calls = driver == "window", []
    module, name = (window_driver, "continue_run") if windows else (heap_driver, "run_to_pause")
    part = getattr(module, name)

    def counted(*arguments: object) -> object:
        calls.append(1)
        return part(*arguments)

    monkeypatch.setattr(exact_run, "WORK_PER_PAUSE", -(10**9))
    monkeypatch.setattr(module, name, counted)
    record, state = simulate(graph, {"x": train}, clock)
    assert len(calls) > 10
    assert sum(t.time.size for t in whole.times.values()) > train.time.size + 5
    for name, t in whole.times.items():
        np.testing.assert_array_equal(record.times[name].time, t.time)
        np.testing.assert_array_equal(record.times[name].neuron, t.neuron)
    np.testing.assert_equal(state.neurons, end.neurons)


@pytest.mark.parametrize("driver", ["window", "heap"])
@pytest.mark.parametrize("kind", ["delta", "two currents", "adaptive"])
def test_a_runaway_is_stopped_names_its_node_and_keeps_its_record(
    kind: str, driver: str
) -> None:
    graph = network(kind, 1)
    loud = {"weight": np.full((5, 3), 3.0)}
    graph = with_nodes(
        graph,
        fc=replace(graph.nodes["fc"], **loud),
        back=replace(graph.nodes["back"], weight=np.full(12, 3.0)),
    )
    clock = Exact(driver=driver, budget=20)  # type: ignore[arg-type]
    with pytest.raises(Runaway, match=r"more than 20 spikes by tick .*cells fired most") as e:
        run(graph, TRAIN, clock)
    record = e.value.record
    assert record.counts["cells"].spikes == record.times["cells"].time.size > 5
    assert (np.diff(record.times["cells"].time) >= 0).all()
    again = pickle.loads(pickle.dumps(e.value))
    assert str(again) == str(e.value)
    with pytest.raises(Runaway) as later:
        run(graph, TRAIN, replace(clock, budget=60))
    whole = later.value.record.times["cells"].time
    assert whole.size >= record.times["cells"].time.size
    np.testing.assert_array_equal(
        record.times["cells"].time, whole[: record.times["cells"].time.size]
    )


@pytest.mark.parametrize("wild", [0, 1])
@pytest.mark.parametrize("recorded", [(), (3,)])
def test_a_runaway_of_one_sample_keeps_what_all_samples_reached(
    wild: int, recorded: tuple[int, ...]
) -> None:
    graph = network("delta", 1)
    graph = with_nodes(graph, fc=replace(graph.nodes["fc"], weight=np.full((5, 3), 3.0)))
    none = np.zeros(20, np.int32)
    late = np.linspace(4.5, 9.5, 20) * DT
    train = Times(none + wild, late, none, np.ones(20), (16, 2, 3))
    with pytest.raises(Runaway, match="more than 5 spikes by tick 16: cells fired") as e:
        simulate(graph, {"x": train}, Exact(budget=5), record=Recording(states=recorded))
    record = e.value.record
    assert set(record.times["cells"].sample.tolist()) == {wild}
    assert record.values.keys() == set()


def test_the_state_of_another_clock_graph_or_batch_is_refused() -> None:
    graph = network("two currents", 0)
    _, state = simulate(graph, {"x": TRAIN}, CLOCK)
    _, grid = simulate(graph, {"x": TRAIN}, Grid())
    with pytest.raises(ValueError, match=r"Exact\(\) continues from an ExactState, got"):
        simulate(graph, {"x": TRAIN}, CLOCK, state=grid)
    with pytest.raises(ValueError, match=r"Grid\(\) continues from an EngineState, got"):
        simulate(graph, {"x": TRAIN}, Grid(), state=state)
    with pytest.raises(ValueError, match=r"(?s)the state does not fit.*i0: the state has"):
        simulate(network("delta", 0), {"x": TRAIN}, CLOCK, state=state)
    with pytest.raises(ValueError, match=r"cells: the state has \(4, 1, 5\), the run needs"):
        simulate(graph, {"x": TRAIN._replace(shape=(16, 2, 3))}, CLOCK, state=state)


def two(model: object, connection: Dense | Sparse, *edges: Edge, **nodes: object) -> Graph:
    """Return x -> fc -> cells, with more nodes and edges."""
    every = {"x": Input(shape=(1,)), "fc": connection, "cells": model, **nodes}
    return Graph(nodes=every, edges=edges, dt=DT)  # type: ignore[arg-type]


def test_what_has_no_counterpart_in_continuous_time_is_refused_by_name() -> None:
    cell, fc = LIF(tau=0.01), Dense(weight=np.ones((1, 1)), bias=np.ones(1))
    empty = np.zeros(0, np.int32)
    train = Times(empty, np.zeros(0), empty, np.zeros(0), (4, 1, 1))
    late_bias = two(cell, fc, Edge("x", "fc"), Edge("fc", "cells", Ticks(2)))
    with pytest.raises(GraphError, match="cells: a bias arrives 2 ticks late; put the delays"):
        run(late_bias, train)
    late = (Edge("x", "fc"), Edge("fc", "i"), Edge("i", "cells", Ticks(1)))
    with pytest.raises(GraphError, match="edge i -> cells: a current has a delay of 1 ticks"):
        run(two(cell, fc, *late, i=LI(tau=0.01)), train)
    through = (Edge("x", "fc"), Edge("fc", "i"), Edge("i", "cells"))
    with pytest.raises(GraphError, match="i: a current with a bias decays too slowly"):
        run(two(cell, fc, *through, i=LI(tau=math.inf)), train)
    direct = (Edge("x", "fc"), Edge("fc", "cells"))
    with pytest.raises(ValueError, match="an ALIF in continuous time needs leak < 1"):
        run(two(ALIF(leak=1.0), fc, *direct), train)
    for reset in ("hard", "soft"):
        at_once = ALIF(rho=np.array([0.0]), beta=0.5, reset=reset)
        with pytest.raises(GraphError, match=r"cells: .* \(beta > 0\) for no time .* use"):
            run(two(at_once, fc, *direct), train)
    run(two(ALIF(rho=0.0, beta=0.0), fc, *direct), train)
    run(two(ALIF(rho=1e-9, beta=0.5), fc, *direct), train)

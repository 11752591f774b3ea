"""A delay costs nothing before it matters: no executor keeps room for its ticks."""

import numpy as np
import pytest
from written_graphs import wire

from neuro.events import Clock, Exact, Grid, simulate
from neuro.events.exact.delay_queue import WindowPlan, count_slots
from neuro.graph import Dense, Graph, Input, Node, Sparse
from neuro.neurons import LI, LIF
from neuro.spikes import Events, to_events

LONGEST = 2**31 - 1
CLOCKS = (Grid(), Exact(), Exact(driver="heap"))


def network(edge: int, synapse: int = 0) -> Graph:
    """Return x -> cells -> far (late by edge and one synapse) -> out, end."""
    late = {"delay": np.array([0, synapse], np.int32)} if synapse else {}
    each, weight = np.arange(2), np.array([0.5, 0.75])
    nodes: dict[str, Node] = {
        "x": Input(shape=(2,)),
        "fc": Dense(weight=np.array([[0.5, 0.25], [0.125, 0.75]])),
        "cells": LIF(tau=0.01, threshold=0.5),
        "far": Sparse.from_coo(each, each, weight, shape=(2, 2), **late),
        "out": LI(tau=0.01),
        "end": LIF(tau=0.01, threshold=0.4),
    }
    return wire(f"x>fc fc>cells cells>far:{edge} far>out far>end", nodes)


def stimulus(ticks: int = 12) -> dict[str, Events]:
    drawn = np.random.default_rng(3).random((ticks, 3, 2)) < 0.5
    return {"x": to_events(drawn.astype(np.float32))}


def cut(start: int, stop: int) -> dict[str, Events]:
    e = stimulus()["x"]
    own = (e.tick >= start) & (e.tick < stop)
    columns = (e.sample[own], e.tick[own] - np.int32(start), e.neuron[own], e.value[own])
    return {"x": Events(*columns, (stop - start, 3, 2))}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("delays", [(0, 4), (4, 0), (2, 7), (11, 0), (LONGEST, 0)])
def test_a_run_in_parts_is_one_run_however_long_delays_are(
    clock: Clock, delays: tuple[int, int]
) -> None:
    graph = network(*delays)
    whole, _ = simulate(graph, stimulus(), clock)
    state, values, fired = None, [], []
    for start, stop in ((0, 3), (3, 4), (4, 12)):
        part, state = simulate(graph, cut(start, stop), clock, state=state)
        values.append(part.values["out"])
        fired += (part.spikes["end"].tick + start).tolist()
    assert np.array_equal(np.concatenate(values), whole.values["out"])
    assert sorted(fired) == sorted(whole.spikes["end"].tick.tolist())
    assert (len(fired) > 0) == whole.values["out"].any() == (delays != (LONGEST, 0))


def test_a_longer_delay_is_refused_by_the_grid() -> None:
    simulate(network(LONGEST - 3, 3), stimulus())
    with pytest.raises(ValueError, match="the delay of") as told:
        simulate(network(LONGEST - 3, 4), stimulus())
    assert str(told.value) == (
        "the delay of cells -> far is 2147483648 ticks; with Grid() it must be <= 2147483647. "
        "Shorten it, or use a longer dt"
    )


@pytest.mark.parametrize(("delay", "slots"), [(3.5, 6), (7.0, 10), (9.0, 11), (2.0**40, 11)])
def test_a_ring_has_no_more_slots_than_the_run_has_windows(delay: float, slots: int) -> None:
    plan = WindowPlan(9.5, 1.0, delay, 2.0**-20, 10, 10)
    assert count_slots(plan) == slots

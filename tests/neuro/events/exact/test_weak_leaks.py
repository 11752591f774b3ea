"""Membranes and currents that hardly decay: next to none of it is lost to rounding."""

import math

import numpy as np
import pytest
from exact_laws import CLOCK, DT, agree
from written_graphs import chain

from neuro.events import Exact, simulate
from neuro.events.exact.oracle import simulate_exactly_slowly
from neuro.graph import Dense, GraphError, Input, Node
from neuro.neurons import LIF
from neuro.spikes import Times

pytestmark = pytest.mark.filterwarnings("ignore:LIF.tau")  # so long a time is meant
CLOCKS = {"window": CLOCK, "heap": Exact(driver="heap")}
every_clock = pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS.keys())


def run(
    cell: Node, bias: float, ticks: list[float], weight: float, clock: Exact, end: int = 8
) -> np.ndarray:
    """Return when one neuron fires that receives the weight at some times [ticks]."""
    w = Dense(weight=np.array([[weight]]), bias=np.array([bias]))
    graph = chain(x=Input(shape=(1,)), w=w, cell=cell, dt=DT)
    none = np.zeros(len(ticks), np.int32)
    x = Times(none, np.array(ticks) * DT, none, np.ones(len(ticks)), (end, 1, 1))
    record, _ = simulate(graph, {"x": x}, clock)
    want, _ = simulate_exactly_slowly(graph, {"x": x})
    agree(record, want)
    return record.times["cell"].time / DT


@every_clock
@pytest.mark.parametrize("tau", [1e5, 1e8, 1e10, 1e14, math.inf])
def test_a_membrane_that_hardly_leaks_does_not_fire_below_its_threshold(
    tau: float, clock: Exact
) -> None:
    # The input leaves it at 0.9990234375; the bias adds 2^-10 in another 2^-9 ticks.
    fired = run(LIF(tau=tau), 0.5, [1.0], 0.4990234375, clock, end=2)
    np.testing.assert_allclose(
        fired, [1.0 + 2.0**-9], rtol=0, atol=1e-7 if tau == 1e5 else 1e-10
    )


@every_clock
@pytest.mark.parametrize("tau", [1e8, 1e12, math.inf])
def test_a_bias_drives_a_membrane_that_hardly_leaks_in_a_line(tau: float, clock: Exact) -> None:
    fired = run(LIF(tau=tau), 0.8, [], 1.0, clock)
    np.testing.assert_allclose(fired, np.arange(1, 7) / 0.8, rtol=0, atol=3e-10)


@every_clock
def test_currents_and_membranes_that_both_hardly_decay_add_up(clock: Exact) -> None:
    for tau_syn in (DT * 1e11, DT * 5e11):  # a quotient of 2, with a closed form, and another
        fired = run(LIF(tau=DT * 1e12, tau_syn=tau_syn), 0.0, [1.0], 0.4, clock)
        np.testing.assert_allclose(fired, [3.5, 6.0], rtol=0, atol=1e-10)


def test_a_bias_into_a_current_that_hardly_decays_is_refused_with_the_ratio() -> None:
    for clock in CLOCKS.values():
        with pytest.raises(GraphError, match=r"cell: a current with a bias .* = 1e-07; give"):
            run(LIF(tau=0.01, tau_syn=DT * 1e7), 0.1, [], 1.0, clock)
        assert run(LIF(tau=0.01, tau_syn=DT * 1e7), 0.0, [1.0], 0.4, clock).size > 0

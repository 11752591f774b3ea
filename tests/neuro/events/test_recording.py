import numpy as np
import pytest
from graphs import random_graph, stimulus
from written_graphs import chain

from neuro.events import Recording, simulate
from neuro.graph import Dense, Input
from neuro.neurons import LI, LIF
from neuro.spikes import to_events

GRAPH = chain(
    x=Input(shape=(1,)),
    w=Dense(weight=np.array([[0.5]])),
    current=LI(tau=0.005),
    cell=LIF(tau=0.02),
    out=LI(tau=0.01),
)
X = {"x": to_events(np.ones((12, 2, 1), np.float32))}


def test_everything_but_currents_is_kept_by_default() -> None:
    record, _ = simulate(GRAPH, X)
    assert record.spikes.keys() == {"x", "cell"}
    assert record.values.keys() == {"out"}
    assert not record.states


def test_only_what_is_named_is_kept_and_the_rest_is_still_counted() -> None:
    whole, _ = simulate(GRAPH, X)
    record, _ = simulate(GRAPH, X, record=Recording(spikes=("cell",), values=("current",)))
    assert record.spikes.keys() == {"cell"}
    assert record.values.keys() == {"current"}
    assert record.counts == whole.counts
    np.testing.assert_array_equal(record.spikes["cell"].tick, whole.spikes["cell"].tick)
    assert record.values["current"][0].tolist() == [[0.5], [0.5]]


def test_counts_alone_are_kept_where_nothing_is_named() -> None:
    record, _ = simulate(GRAPH, X, record=Recording(spikes=(), values=()))
    assert not record.spikes
    assert not record.values
    assert record.counts["x"].spikes == 24


@pytest.mark.parametrize("seed", range(4))
def test_the_state_after_a_tick_is_that_of_a_run_that_stops_there(seed: int) -> None:
    graph = random_graph(seed)
    x = stimulus(graph, seed, ticks=9, samples=3)
    plain, end = simulate(graph, x)
    record, same = simulate(graph, x, record=Recording(states=(3, 8)))
    assert list(record.states) == [3, 8]
    short = {n: e._replace(shape=(4, *e.shape[1:])) for n, e in x.items()}
    for name, events in short.items():
        sample, tick, neuron, value = (c[events.tick < 4] for c in events[:4])
        short[name] = events._replace(sample=sample, tick=tick, neuron=neuron, value=value)
    _, middle = simulate(graph, short)
    np.testing.assert_equal(record.states[3], middle.neurons)
    np.testing.assert_equal(record.states[8], end.neurons)
    np.testing.assert_equal(same.neurons, end.neurons)
    np.testing.assert_equal(record.spikes, plain.spikes)
    assert record.counts == plain.counts


def test_all_that_cannot_be_kept_is_refused_at_once() -> None:
    record = Recording(spikes=("cell", "out", "soma"), values=("cell",), states=(-1, 12))
    with pytest.raises(ValueError, match="the recording does not fit the graph") as error:
        simulate(GRAPH, X, record=record)
    assert str(error.value).splitlines()[1:] == [
        "spikes: out has no spikes; use x, cell",
        "spikes: soma has no spikes; use x, cell",
        "values: cell has no values; use current, out",
        "states: tick -1 is not one of 0 ... 11",
        "states: tick 12 is not one of 0 ... 11",
    ]

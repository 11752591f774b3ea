import numpy as np
import pytest
from written_graphs import chain, wire

from neuro.events.grid.oracle import list_synapses, simulate_slowly
from neuro.graph import AvgPool2d, Conv2d, Dense, Input
from neuro.neurons import LIF
from neuro.spikes import to_events
from neuro.spikes.record import Counts

GRAPH = chain(
    x=Input(shape=(1, 2, 3)),
    conv=Conv2d(weight=np.arange(4).reshape(1, 1, 2, 2), padding=(1, 0), stride=(2, 1)),
    pool=AvgPool2d(kernel=(2, 2), stride=(1, 1)),
    lif=LIF(tau=0.01),
)


def pairs(name: str) -> list[list[tuple[int, float]]]:
    return [[(s.target, s.weight) for s in row] for row in list_synapses(GRAPH, name)]


def test_a_convolution_reaches_the_places_whose_window_holds_the_source() -> None:
    assert pairs("conv") == [
        [(0, 2.0)],
        [(0, 3.0), (1, 2.0)],
        [(1, 3.0)],
        [(2, 0.0)],
        [(2, 1.0), (3, 0.0)],
        [(3, 1.0)],
    ]


def test_a_pool_reaches_each_window_once() -> None:
    assert pairs("pool") == [[(0, 1.0)]] * 4


@pytest.mark.filterwarnings("ignore:LIF.tau")  # no leak to speak of is meant
def test_a_loop_by_hand() -> None:
    nodes = {
        "x": Input(shape=(1,)),
        "in": Dense(weight=np.array([[1.0]])),
        "back": Dense(weight=np.array([[2.0]])),
        "lif": LIF(tau=1e9, threshold=2.0),
    }
    graph = wire("x>in in>lif lif>back:3 back>lif", nodes)
    x = to_events(np.array([1, 1.5, 0, 0, 0, 0, 0, 0], np.float32).reshape(-1, 1, 1))
    record = simulate_slowly(graph, {"x": x})
    assert record.spikes["lif"].tick.tolist() == [1, 4, 7]
    assert record.counts["back"] == Counts(synaptic_events=2, synaptic_events_all=2)
    assert record.counts["lif"] == Counts(spikes=3, updates=8)

"""What a host computes is counted as its own, never as work of a chip."""

from itertools import pairwise

import numpy as np
import pytest
from written_graphs import chain

from neuro.base.units import Seconds
from neuro.energy import (
    add_host_macs,
    as_json,
    count_host_macs,
    count_macs,
    estimate,
    find_chip,
    place,
)
from neuro.energy.active import count_reached
from neuro.energy.count import count_arrivals
from neuro.graph import Dense, Edge, Graph, Input, Softmax
from neuro.neurons import LI, LIF, GatedLI
from neuro.nn import replay
from neuro.spikes import to_events
from neuro.spikes.record import Record


def lifted() -> Graph:
    """Return a network whose spikes pass a softmax on their way to a neuron."""
    return chain(
        x=Input(shape=(2,)),
        w1=Dense(weight=np.array([[1.0, 0], [1, 1], [0.5, 0]])),
        soft=Softmax(),
        w2=Dense(weight=np.array([[1.0, 0, 2]])),
        cell=LIF(tau=0.01),
    )


def ran(graph: Graph) -> Record:
    given = np.array([[1, 0], [1, 1], [0, 0]])[:, None]
    return replay(graph, {"x": to_events(given)})


def test_a_softmax_is_host_work_and_sends_its_values_as_spikes() -> None:
    graph = lifted()
    record = ran(graph)
    found = estimate(graph, record, find_chip("loihi1"))
    assert count_macs(graph) == {"w1": 6, "soft": 6, "w2": 3}
    assert count_host_macs(graph) == {"w1": 6, "soft": 6}
    assert found.host_macs == {"w1": 18, "soft": 18}  # in 3 ticks
    # On the chip: 3 values a tick come from the host, of which 2 meet a weight.
    assert set(found.parts) == {"soft", "w2", "cell"}
    assert found.operations["w2"].synaptic_events == 6
    assert found.operations["w2"].synaptic_events_all == 9
    assert found.operations["soft"].sent.messages == 9
    assert found.operations["cell"].active == 3
    of_chip = 6 * 23.6 + 9 * 1.7 + 3 * 81
    spikes = record.spikes["cell"].tick.size
    assert spikes == 2
    assert found.core.nominal == pytest.approx(of_chip * 1e-12)  # its spikes lead nowhere


def test_the_45_nm_convention_prices_an_operation_of_a_host_as_a_mac() -> None:
    graph = lifted()
    found = estimate(graph, ran(graph), find_chip("loihi1")).convention
    # x: 2 spikes of neuron 0 (3 weights), 1 of neuron 1 (1 weight): 7 accumulates; softmax:
    # 6 operations a tick, and 2 real values a tick through weights.
    assert found.host == pytest.approx(18 * 4.6e-12)
    assert found.snn == pytest.approx((7 * 0.9 + 6 * 4.6 + 18 * 4.6) * 1e-12)
    assert found.ann == pytest.approx((6 + 6 + 3) * 4.6e-12)


def test_the_report_lists_what_no_chip_does() -> None:
    graph = lifted()
    found = as_json(estimate(graph, ran(graph), find_chip("loihi1")))
    assert found["host"] == [{"node": "w1", "macs": 18}, {"node": "soft", "macs": 18}]
    assert found["conventional45nm"]["host"] == pytest.approx(18 * 4.6e-12)
    assert set(found["loihi1"]["layers"]) == {"soft (host)", "w2", "cell"}


def test_a_whole_graph_has_no_place_on_a_chip() -> None:
    with pytest.raises(ValueError, match="soft: no chip runs a Softmax, its host does; leave"):
        place(lifted(), find_chip("loihi1"))


def test_values_that_never_rest_keep_their_targets_active() -> None:
    graph, nodes = lifted(), dict(lifted().nodes)
    busy = count_reached(graph, ran(graph))
    assert busy["cell"].neurons.tolist() == [[1], [1], [1]]
    nodes |= {"w2": Dense(weight=np.zeros((2, 3))), "cell": GatedLI()}
    silent = Graph(nodes=nodes, edges=graph.edges, dt=graph.dt)
    assert count_reached(silent, ran(silent))["cell"].neurons.tolist() == [[1], [1], [1]]
    cell = LIF(tau=0.01, reset="hard")
    nodes |= {"soft": cell, "w2": Dense(weight=np.ones((1, 3))), "cell": cell}
    spiking = Graph(nodes=nodes, edges=graph.edges, dt=graph.dt)
    record = ran(spiking)
    assert count_reached(spiking, record)["cell"].neurons.tolist() == [[1], [1], [0]]


def test_a_host_reads_an_integrator_as_it_is() -> None:
    """The membrane counts, not what reaches it: it is there when nothing arrives any more."""
    nodes = {
        "x": Input(shape=(2,)),
        "li": LI(tau=0.01),
        "soft": Softmax(),
        "w": Dense(weight=np.ones((1, 2))),
        "cell": LIF(tau=0.01, threshold=9.0),
        "h": GatedLI(),
        "v": Dense(weight=np.ones((1, 1))),
        "out": LI(tau=0.01),
    }
    names = ["x", "li", "h", "v", "out"]
    edges = [Edge(a, b) for a, b in pairwise(names)]
    edges += [Edge("li", "soft"), Edge("soft", "w"), Edge("w", "cell")]
    graph = Graph(nodes=nodes, edges=tuple(edges), dt=Seconds(1e-3))
    record = ran(graph)
    events = {a.edge.target: a.events[:, 0].tolist() for a in count_arrivals(graph, record)}
    assert events["v"] == [0, 1, 1]  # its candidate is neuron 1, which fires at tick 1 alone
    assert events["w"] == [2, 2, 2]
    assert events["li"] == [1, 2, 0]


def test_what_a_host_does_beside_the_graph_is_listed_and_priced_for_both_networks() -> None:
    graph = lifted()
    found = estimate(graph, ran(graph), find_chip("loihi1"))
    alone, both = as_json(found), as_json(add_host_macs(found, {"encoder": 1000}))
    assert both["host"] == [{"node": "encoder", "macs": 1000}, *alone["host"]]
    for who in ("snn", "ann", "host"):
        more = both["conventional45nm"][who] - alone["conventional45nm"][who]
        assert more == pytest.approx(1000 * 4.6e-12)
    assert both["loihi1"] == alone["loihi1"]

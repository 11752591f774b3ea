import numpy as np
import pytest
from written_graphs import wire

from neuro.events import Grid, simulate
from neuro.graph import Edge, Graph, Input
from neuro.neurons import LI
from neuro.spikes import Events, to_events

GRAPH = wire("x>out:1", {"x": Input(shape=(2, 2)), "out": LI(tau=0.01)})


def events(
    sample: list[int], tick: list[int], neuron: list[int], value: list[float] | None = None
) -> Events:
    values = np.array([1.0] * len(sample) if value is None else value, np.float32)
    columns = (np.array(c, np.int32) for c in (sample, tick, neuron))
    return Events(*columns, values, (5, 2, 4))


def test_inputs_must_agree_in_ticks_and_samples() -> None:
    two = Graph(
        nodes={**GRAPH.nodes, "y": Input(shape=(2, 2))},
        edges=(*GRAPH.edges, Edge("y", "out")),
        dt=GRAPH.dt,
    )
    x, y = to_events(np.zeros((5, 1, 4))), to_events(np.zeros((6, 1, 4)))
    with pytest.raises(ValueError, match=r"inputs differ in \(ticks, samples\)"):
        simulate(two, {"x": x, "y": y})


def test_a_state_of_another_run_is_refused() -> None:
    x = events([0], [4], [0])
    _, state = simulate(GRAPH, {"x": x})
    with pytest.raises(ValueError, match="continue with the same graph, samples and") as error:
        simulate(GRAPH, {"x": x}, Grid(dtype=np.float32), state=state)
    assert "out: the state has ('float64', (4, 2, 4)), the run needs ('float32'" in str(
        error.value
    )
    with pytest.raises(ValueError, match="pending Edge"):
        simulate(GRAPH, {"x": to_events(np.zeros((5, 1, 4)))}, state=state)


def test_a_value_of_zero_is_no_spike() -> None:
    record, _ = simulate(GRAPH, {"x": events([0, 0], [0, 1], [0, 0], [0.0, 1.0])})
    assert record.counts["x"].spikes == record.counts["out"].synaptic_events == 1
    assert record.spikes["x"].tick.tolist() == [1]

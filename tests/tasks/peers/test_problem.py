"""What simulators are given. Axes: N cells."""

import numpy as np
import pytest

from neuro.graph import Edge, Graph, Input, Sparse
from neuro.neurons import LI, LIF
from neuro.units import Seconds, Ticks
from tasks.peers.problem import CELLS, BenchProblem, beside_silent, iterate_projections


def two_cells() -> BenchProblem:
    """Return two cells with a drive; the first excites the second through a current."""
    synapses = Sparse(
        indptr=np.array([0, 1, 1]),
        indices=np.array([1], np.int32),
        weight=np.array([3.0]),
        shape=(2,),
        bias=np.array([0.5, 1.0]),
    )
    graph = Graph(
        nodes={
            "in": Input(shape=(2,)),
            "kick": Sparse(
                indptr=np.array([0, 1, 2]),
                indices=np.array([0, 1], np.int32),
                weight=np.array([9.0, 9.0]),
                shape=(2,),
            ),
            CELLS: LIF(tau=0.02, threshold=20.0, reset="hard"),
            "exc": synapses,
            "current": LI(tau=0.005),
        },
        edges=(
            Edge("in", "kick"),
            Edge("kick", CELLS, Ticks(4)),
            Edge(CELLS, "exc", Ticks(2)),
            Edge("exc", "current", Ticks(1)),
            Edge("current", CELLS),
        ),
        dt=Seconds(1e-3),
    )
    return BenchProblem(
        graph=graph, membranes={CELLS: np.zeros(2)}, inputs={}, duration=Seconds(0.1)
    )


def test_a_delay_is_that_of_both_edges_of_a_connection() -> None:
    found = {
        p.name: (p.source, p.tau, pytest.approx(p.delay))
        for p in iterate_projections(two_cells())
    }
    assert found == {"kick": ("in", None, 0.004), "exc": (CELLS, 0.005, 0.003)}


def test_silent_cells_get_no_synapse_and_stay_at_half_the_threshold() -> None:
    problem = two_cells()
    among = beside_silent(problem, 4)
    assert among.size == 8
    exc = among.graph.nodes["exc"]
    assert isinstance(exc, Sparse)
    assert exc.indices.tolist() == [1]
    assert np.diff(exc.indptr).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert among.membranes[CELLS].tolist() == [0, 0, 10, 10, 10, 10, 10, 10]

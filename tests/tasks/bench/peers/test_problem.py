"""What simulators are given. Axes: N cells."""

import numpy as np
import pytest

from neuro.base.units import Seconds, Ticks
from neuro.graph import Edge, Graph, Input, Sparse
from neuro.neurons import LI, LIF
from tasks.bench.peers.problem import (
    CELLS,
    BenchProblem,
    iterate_projections,
    list_synapses,
)


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
        p.name: (p.source, p.target, p.tau, pytest.approx(p.delay))
        for p in iterate_projections(two_cells())
    }
    assert found == {"kick": ("in", CELLS, None, 0.004), "exc": (CELLS, CELLS, 0.005, 0.003)}


def two_populations(refractory: float = 0.002) -> BenchProblem:
    """Return 3 and 2 cells; both populations reach the second, the second itself late."""
    cell = LIF(tau=0.02, threshold=20.0, reset="hard", refractory=Seconds(0.002))
    other = LIF(tau=0.02, threshold=20.0, reset="hard", refractory=Seconds(refractory))
    graph = Graph(
        nodes={
            "in": Input(shape=(1,)),
            "kick": Sparse.from_coo(
                np.array([0]),
                np.array([2]),
                np.array([9.0]),
                shape=(3, 1),
                bias=np.full(3, 0.5),
            ),
            "first": cell,
            "second": other,
            "forth": Sparse.from_coo(
                np.array([2, 0]), np.array([1, 0]), np.array([4.0, 5.0]), shape=(2, 3)
            ),
            "back": Sparse.from_coo(
                np.array([1]),
                np.array([1]),
                np.array([-6.0]),
                shape=(2, 2),
                delay=np.array([7]),
                bias=np.array([0.25, 1.0]),
            ),
            "current": LI(tau=0.005),
        },
        edges=(
            Edge("in", "kick"),
            Edge("kick", "first"),
            Edge("first", "forth", Ticks(3)),
            Edge("forth", "current"),
            Edge("second", "back", Ticks(2)),
            Edge("back", "second"),
            Edge("current", "second"),
        ),
        dt=Seconds(1e-3),
    )
    membranes = {"second": np.array([4.0, 5.0]), "first": np.array([1.0, 2.0, 3.0])}
    return BenchProblem(graph=graph, membranes=membranes, inputs={}, duration=Seconds(0.1))


def test_cells_are_numbered_through_all_populations() -> None:
    problem = two_populations()
    assert problem.graph.firing == ("first", "second")
    assert problem.first_cells == {"first": 0, "second": 3}
    assert problem.size == 5
    assert problem.start.tolist() == [1, 2, 3, 4, 5]
    leak = -np.expm1(-1e-3 / 0.02)
    np.testing.assert_allclose(problem.v_inf * leak, [0.5, 0.5, 0.5, 0.25, 1.0], rtol=1e-12)
    found = [(p.name, p.source, p.target, p.tau) for p in iterate_projections(problem)]
    assert found == [
        ("kick", "in", "first", None),
        ("forth", "first", "second", 0.005),
        ("back", "second", "second", None),
    ]
    listed = list_synapses(problem, list(iterate_projections(problem))[1:])
    assert [column.tolist() for column in listed[:3]] == [[0, 2, 4], [3, 4, 4], [5, 4, -6]]
    np.testing.assert_allclose(listed.delay, [0.003, 0.003, 0.009], rtol=1e-12)
    kick, *_ = iterate_projections(problem)
    listed = list_synapses(problem, [kick])
    assert [listed.source.tolist(), listed.target.tolist()] == [[0], [2]]


def test_cells_of_two_kinds_are_refused() -> None:
    assert two_populations().cell.tau == 0.02
    with pytest.raises(ValueError, match="cells must be of one kind, got 2"):
        _ = two_populations(0.003).cell

"""Small networks for the tests of the benchmarks; child processes build them too."""

from neuro.units import Seconds
from tasks.peers import networks, problem
from tasks.peers.problem import BenchProblem

DURATION = Seconds(0.2)


def cuba() -> BenchProblem:
    """Return currents: 400 cells, as densely connected as to fire."""
    return problem.recurrent(networks.cuba(1, 400, 0.2), DURATION)


def kicked() -> BenchProblem:
    """Return jumps, of which those from outside make the cells fire."""
    return problem.kicked(networks.delta(1, 400, v_inf=10.0), 200, 15.0, DURATION)

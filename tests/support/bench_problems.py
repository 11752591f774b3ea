"""Small networks for the tests of the benchmarks; child processes build them too."""

from neuro.base.units import Seconds, Ticks
from tasks.bench.peers import networks, potjans_diesmann, problem
from tasks.bench.peers.problem import BenchProblem

DURATION = Seconds(0.2)


def cuba() -> BenchProblem:
    """Return currents: 400 cells, as densely connected as to fire."""
    return problem.recurrent(networks.cuba(1, 400, 0.2), DURATION)


def kicked() -> BenchProblem:
    """Return jumps, of which those from outside make the cells fire."""
    return problem.kicked(networks.delta(1, 400, v_inf=10.0), 200, 15.0, DURATION)


def microcircuit(late: int = 0) -> BenchProblem:
    """Return eight populations whose synapses have their own delays. late: ticks on top."""
    network = potjans_diesmann.microcircuit(0.004, 1, late=Ticks(late))
    return problem.recurrent(network, Seconds(0.1))


def late_microcircuit() -> BenchProblem:
    """Return the same for a clock on which spikes act a tick earlier than in NEST."""
    return microcircuit(late=1)

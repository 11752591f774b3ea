"""The limits of the exact clock: sizes of numbers, and times that float64 resolves.

Beyond them a run would end in infinite states or miss times between its instants. Errors name
the node before the run begins.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from neuro.events.exact.currents import make_refusal, read_dynamics
from neuro.graph import Graph, GraphError, Sparse
from neuro.spikes import Events, Times, find_quantum

# Largest weight, bias and value of a spike. The product of a weight and a value, scaled by
# exp(50), is far below the marks of a scaled state (1e300), and so is any realistic sum.
LARGEST = 1e100
COARSEST = 2.0**-20  # longest quantum of instants [ticks]; less than NEAR
QUANTA = 2**10  # least number of quanta per shortest time constant
MOST_GROWTH = 1e8  # most growth of a current's effect on v, from a tick's end to its start
FASTEST = 1e6  # [1/tick]: then the rounding of LIs at the ends of ticks, 1e-9, is negligible
CURE = "use a shorter dt, a longer time constant or clock=Grid()"


def find_run_quantum(graph: Graph, ticks: int) -> float:
    """Return the quantum of instants in a run of ``ticks`` ticks.

    Raises:
        GraphError: the run, with its delays and refractory periods, is so long that the quantum
            exceeds COARSEST; a time constant is too short; or a current and its membrane both
            decay within a tick. Lists all.
    """
    waits = dict(_list_waits(graph))
    longest = ticks + sum(waits.values())
    most = 2.0**53 * COARSEST
    if not longest <= most:
        what, wait = max(waits.items(), key=lambda item: item[1], default=("", 0.0))
        cause = f"{what} lasts {wait:.3g} ticks" if wait > ticks else f"the run has {ticks:,}"
        raise make_refusal(
            f"float64 resolves times up to {most:.3g} ticks, including delays and refractory "
            f"periods; {cause}: shorten it, or use a longer dt"
        )
    quantum = find_quantum(longest)
    fastest = min(FASTEST, 1 / (QUANTA * quantum))
    problems = [
        f"{name}: dt / {tau} = {rate:.3g}, and the instants of this run resolve ratios up to "
        f"{fastest:.3g}; {CURE}"
        for name, tau, rate in _list_rates(graph)
        if not rate <= fastest
    ]
    problems += _list_short_pairs(graph)
    if problems:
        raise GraphError(problems, "the graph cannot run in continuous time")
    return quantum


def _list_waits(graph: Graph) -> Iterator[tuple[str, float]]:
    """Yield delays and refractory periods [ticks], which put instants after a run's end."""
    for edge in graph.edges:
        yield f"the delay of {edge.source} -> {edge.target}", float(edge.delay)
    for name, node in graph.nodes.items():
        if isinstance(node, Sparse) and node.delay is not None:
            yield f"a delay of {name}", float(node.delay.max(initial=0))
        elif name in graph.firing:
            refractory = read_dynamics(graph, name)[0].refractory / graph.dt
            yield f"the refractory period of {name}", refractory


def _list_rates(graph: Graph) -> Iterator[tuple[str, str, float]]:
    """Yield a node's name, the name of a time constant, and its largest rate [1/tick]."""
    for name in graph.populations:
        _, arrays = read_dynamics(graph, name)
        for key, tau in (("rate", "tau"), ("rate_syn", "tau_syn")):
            if key in arrays:
                yield name, tau, float(arrays[key].max())
        adapts = arrays["rate_adapt"][arrays["beta"] > 0] if "beta" in arrays else np.zeros(0)
        yield name, "tau of the adaptation", float(adapts.max(initial=0.0))


def _list_short_pairs(graph: Graph) -> list[str]:
    """List the populations whose membrane and current both decay within a tick.

    A current that adds 1 to v by the end of a tick must add exp(rate) at its start, where rate
    is the smaller of both rates; v loses as many digits as this factor has.
    """
    problems = []
    for name in graph.firing:
        _, arrays = read_dynamics(graph, name)
        sources = [e.source for e in graph.into(name) if e.source in graph.currents]
        own = [(name, arrays["rate_syn"])] if "rate_syn" in arrays else []
        for source, rate in own + [(s, read_dynamics(graph, s)[1]["rate"]) for s in sources]:
            least = float(np.minimum(rate, arrays["rate"]).max())
            if least > math.log(MOST_GROWTH):
                problems.append(
                    f"{name}: dt / tau of its membrane and of its current ({source}) are both "
                    f"{least:.3g} or more: a spike decays within a tick; one of them must be "
                    f"at most {math.log(MOST_GROWTH):.3g}; {CURE}"
                )
    return problems


def require_sizes(inputs: Mapping[str, Events | Times]) -> None:
    """Raise a ValueError if a spike has a value beyond LARGEST."""
    for name, train in inputs.items():
        size = float(np.abs(train.value).max(initial=0.0))
        if size > LARGEST:
            raise ValueError(
                f"{name}: values of spikes must be <= {LARGEST:.3g} for the exact clock, got "
                f"{size:.3g}; scale them down, and the weights up"
            )


def require_size(what: str, values: np.ndarray) -> None:
    """Raise a GraphError if a weight or drive exceeds LARGEST, or is NaN."""
    size = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if not size <= LARGEST:
        raise make_refusal(
            f"{what} up to {size:.3g}, the limit of the exact clock is {LARGEST:.3g}; "
            "scale weights and thresholds down"
        )


def require_finite_states(neurons: Mapping[str, np.ndarray]) -> None:
    """Raise a ValueError if a final state is not finite; names all nodes."""
    names = [name for name, rows in neurons.items() if not np.isfinite(rows).all()]
    if names:
        raise ValueError(
            f"the run left the range of float64 in {', '.join(names)}; scale weights, "
            "thresholds and values of spikes down"
        )

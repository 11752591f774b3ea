"""The event engine: a Graph driven by spikes, tick for tick what the torch clock computes.

Axes: T ticks, B samples, N neurons of a node in C order of its shape.
"""

from collections.abc import Mapping

import numpy as np

from neuro.events.checks import require_state
from neuro.events.clock import Clock, Exact, Grid
from neuro.events.program import compile_graph
from neuro.events.run import Run
from neuro.events.state import EngineState, join_states, samples_of_state, some_samples
from neuro.graph import Graph
from neuro.record import Record, concatenate
from neuro.spikes import Events
from neuro.stimulus import require_inputs

BUFFER = 2**18  # values in one node's buffer: small enough to stay in a core's cache


def simulate(
    graph: Graph,
    inputs: Mapping[str, Events],
    clock: Clock = Grid(),  # noqa: B008
    *,
    state: EngineState | None = None,
    dtype: type[np.float32 | np.float64] = np.float64,
    stretch: int = 64,
) -> tuple[Record, EngineState]:
    """Run a network on events.

    Args:
        graph: the network.
        inputs: the spikes of every Input, all with the same T and B.
        clock: ``Grid()`` runs in ticks of ``graph.dt``.
        state: of an earlier run, to go on from there; None starts at rest. A run in two
            parts equals one run bit for bit.
        dtype: float64 or float32, the precision of membranes and sums.
        stretch: the most ticks that a node runs in one go [ticks]; it bounds the memory.

    Returns:
        The Record, with ``counts``, and the state.

    Raises:
        ValueError: the inputs or the state do not fit the graph; lists every problem by node.
        NotImplementedError: the clock is ``Exact()``.
    """
    if isinstance(clock, Exact):
        raise NotImplementedError(
            "the event engine does not run in continuous time; grid mode is what runs today: "
            "pass clock=Grid()"
        )
    if stretch < 1:
        raise ValueError(f"stretch must be >= 1 tick, got {stretch}; 64 is usual")
    require_inputs(graph, inputs)
    program = compile_graph(graph, np.dtype(dtype))
    ticks, samples, _ = next(iter(inputs.values())).shape
    if state is not None:
        require_state(program, samples, state)
    fitting = max(1, BUFFER // max(graph.size(name) for name in graph.nodes))
    length = min(ticks, stretch, fitting)
    together = max(1, fitting // length)
    records, states = [], []
    for start in range(0, samples, together):
        stop = min(start + together, samples)
        run = Run(
            program,
            {name: some_samples(e, start, stop) for name, e in inputs.items()},
            None if state is None else samples_of_state(state, start, stop),
        )
        run.advance(length)
        records.append(run.record())
        states.append(run.state())
    return concatenate(records), join_states(states)

"""``neuro bench fly_brain``: the whole brain of a fly, after Shiu et al. 2024, beside Brian2.

The brain is the generated one of :mod:`drivers.connectome`, which needs no files. Published for
FlyWire's own connections, at 17,000 spikes per second: 2.55 s per simulated second with Brian2
in C++ (github.com/eonsystemspbc/fly-brain). Axes: N neurons, K stimulated ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Int

from drivers.connectome import NEURONS, PAIRS, Connectome, draw_connectome
from neuro.base.units import Seconds, Ticks, ticks
from neuro.graph import Edge, Graph, Input, Node, Poisson
from neuro.graph.poisson import draw_events
from neuro.neurons import LI, LIF, psc_gain
from neuro.ops.poisson import Span
from tasks.bench.comparison import Case, Pair
from tasks.bench.peers import subjects_brian, subjects_neuro
from tasks.bench.peers.cost import LIMIT
from tasks.bench.peers.engine import CPP, EXACT, of_network
from tasks.bench.peers.microcircuit import GRID, take
from tasks.bench.peers.networks import DT, MS, TAU, PeerNetwork
from tasks.bench.peers.problem import CELLS, BenchProblem

SYNAPSE = 0.275  # current per synapse [mV]
TAU_SYN, REFRACTORY, DELAY = Seconds(5 * MS), Seconds(2.2 * MS), Seconds(1.8 * MS)
STIMULUS, RATE, SEED = "stimulus", 200.0, 1  # Hz
MOST_SECONDS = 0.2  # limit per simulated second
# Neurons, pairs, stimulated neurons. FULL emits 17,000 spikes per second: 14,000 by sources.
FULL, SMALL = (NEURONS, PAIRS, 70), (1000, 60_000, 200)


def fly_brain(
    connectome: Connectome, stimulated: Int[np.ndarray, " K"], late: Ticks = Ticks(0)
) -> PeerNetwork:
    """Return the leaky integrate-and-fire model of a brain, at rest.

        tau dv/dt = -v + g    tau_syn dg/dt = -g    g jumps by 0.275 mV per synapse

    v: membrane above rest [mV]. A spike at 7 mV resets v to 0, holds it for 2.2 ms and arrives
    after 1.8 ms. A Poisson source of 200 Hz adds spikes to those of each stimulated neuron.

    Two things differ from the published model. There, a spike sets g to 0, and g does not decay
    for 2.2 ms; here g always decays. There, each event of the source lifts v by 68.75 mV and so
    fires the stimulated neuron, which has no refractory period; here the spikes of the source
    leave v and g as they are.

    late: additional delay. A spike acts a tick earlier with ``Grid()`` than in Brian2.
    """
    pairs, k = connectome.connections, stimulated.size
    synapses = replace(pairs, weight=pairs.weight * np.float32(SYNAPSE))
    ends = pairs.indptr[stimulated], pairs.indptr[stimulated + 1]
    rows = np.concatenate([np.arange(a, b) for a, b in zip(*ends, strict=True)])
    nodes: dict[str, Node] = {
        STIMULUS: Poisson(shape=(k,), rate=RATE, seed=SEED),
        "stimulated": replace(
            synapses,
            indptr=np.cumsum([0, *(ends[1] - ends[0])]),
            indices=pairs.indices[rows],
            weight=synapses.weight[rows],
        ),
        CELLS: LIF(tau=TAU, threshold=7.0, reset="hard", refractory=REFRACTORY),
        "synapses": synapses,
        "current": LI(tau=TAU_SYN, gain=psc_gain(TAU_SYN, TAU, DT)),
    }
    delay = Ticks(ticks(DELAY, DT) + late)
    edges = (
        Edge(STIMULUS, "stimulated", delay),
        Edge(CELLS, "synapses", delay),
        Edge("stimulated", "current"),
        Edge("synapses", "current"),
        Edge("current", CELLS),
    )
    return PeerNetwork(
        Graph(nodes=nodes, edges=edges, dt=DT), {CELLS: np.zeros(connectome.ids.size)}
    )


def make_problem(size: tuple[int, int, int], seconds: float, late: int = 0) -> BenchProblem:
    """Return a generated brain; all simulators get the same spikes of the Poisson source.

    The source emits at most one spike per neuron and tick, as in Brian2; a Poisson node may
    draw more. size: like FULL. late: see :func:`fly_brain`.
    """
    neurons, pairs, k = size
    connectome = draw_connectome(SEED, neurons, pairs)
    graph, membranes = fly_brain(connectome, np.arange(k), Ticks(late))
    span = Span(first_sample=0, samples=1, first_tick=0, ticks=ticks(Seconds(seconds), DT))
    events = draw_events(graph, STIMULUS, span)
    return BenchProblem(
        graph=replace(graph, nodes={**graph.nodes, STIMULUS: Input(shape=(k,))}),
        membranes=membranes,
        inputs={STIMULUS: events._replace(value=np.ones_like(events.value))},
        duration=Seconds(seconds),
    )


def brain(quick: bool) -> list[Case]:
    """Return the brain on one thread: both clocks beside Brian2, Exact() beside its limit."""
    size, seconds = (SMALL, 0.1) if quick else (FULL, 1.0)
    own = partial(make_problem, size, seconds)
    subjects = {
        EXACT: partial(subjects_neuro.exact, own),
        GRID: partial(subjects_neuro.grid, partial(own, late=1), dtype=np.float32),
        CPP: partial(subjects_brian.cpp, own),
        LIMIT: partial(take, MOST_SECONDS * seconds),
    }
    pairs = (Pair(EXACT, (LIMIT,), 1.0), Pair(EXACT, (CPP,)), Pair(GRID, (CPP,)))
    return [of_network("fly brain", subjects, pairs, (size[0], seconds))]


CASES: Mapping[str, Callable[[bool], list[Case]]] = {"brain": brain}

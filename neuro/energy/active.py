"""Which neurons are active in a tick; on a chip they cost more than neurons at rest.

**Reached**: in that tick something arrived at the neuron, through non-zero weights or from a
    bias,
even if it sums to zero; or the neuron fired. A host node and a GatedLI output a value every
tick; a GatedLI is always active.

**Charged**: the neuron's membrane was not zero before the tick. A chip keeps membranes in 1/64
    of
the unit of its integer weights, and the leak drops what is smaller; so the scaling of a network
to integers decides when a charge is gone. The largest weight of a population is between 1 unit
(its weights are put on a chip unchanged) and 254 (as :mod:`lava_export.lower` scales them).

Axes: T ticks, B samples, N neurons, S scales.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from neuro.energy.count import (
    compute_node_outputs,
    delay_raster,
    iterate_rasters,
    mark_all_weights,
    mark_nonzero_weights,
    require_record,
)
from neuro.graph import Graph, Hosted, Weighted
from neuro.graph.paths import Route
from neuro.graph.sparse import unroll_delays
from neuro.neurons import Coefficients, has_normal_form
from neuro.neurons.normal_form import charge_membrane, reset_membrane, rest_membrane
from neuro.spikes.record import Record

Rasters = Mapping[str, np.ndarray]


LARGEST_WEIGHTS = (1, 254)  # a population's largest weight [units]: the range, nominal last
FRACTIONS = 64  # fractions of a unit in which a membrane is kept
NOISE = 1e-6  # fractions: the charge that rounding of floats can leave


class Active(NamedTuple):
    """How many neurons of a population were active, with bounds for unknown scales.

    most: also counts neurons that are reached only through weights of zero.
    """

    least: Int[np.ndarray, "T B"]
    neurons: Int[np.ndarray, "T B"]
    most: Int[np.ndarray, "T B"]


def count_reached(graph: Graph, record: Record) -> dict[str, Active]:
    """Count the neurons of each population that were reached; the bounds equal the count.

    Raises:
        ValueError: the record does not belong to this graph.
    """
    require_record(graph, record)
    graph = unroll_delays(graph).graph
    marked = mark_nonzero_weights(graph)
    counts = _make_counts(graph, record)
    for sample, spikes in iterate_rasters(graph, record):
        for name, reached in _mark_reached(graph, marked, spikes).items():
            counts[name].neurons[:, sample] = reached.sum(1)
    return {name: Active(x.neurons, x.neurons, x.neurons) for name, x in counts.items()}


def count_charged(graph: Graph, record: Record, composed: Sequence[Route]) -> dict[str, Active]:
    """Count the neurons of each population that were reached or charged.

    Membranes follow the normal form, from rest; the spikes of the record reset them.

    composed: result of :func:`neuro.energy.synapses.compose` for the graph.

    Raises:
        ValueError: the record does not belong to this graph.
    """
    require_record(graph, record)
    largest = {
        name: max(np.abs(r.weight).max(initial=0.0) for r in composed if r.target == name)
        for name in {r.target for r in composed}
    }
    graph = unroll_delays(graph).graph
    marked, fully = mark_nonzero_weights(graph), mark_all_weights(graph)
    full = all(x.weight.all() for x in graph.nodes.values() if isinstance(x, Weighted))
    counts = _make_counts(graph, record)
    for sample, spikes in iterate_rasters(graph, record):
        charged = _mark_charged(graph, spikes, largest)
        reached = _mark_reached(graph, marked, spikes)
        most = reached if full else _mark_reached(graph, fully, spikes)
        for name, (coarse, fine) in charged.items():
            for by, active in enumerate(
                (coarse | reached[name], fine | reached[name], fine | most[name])
            ):
                counts[name][by][:, sample] = active.sum(1)
    return counts


def _make_counts(graph: Graph, record: Record) -> dict[str, Active]:
    """Return counts that say all neurons are active."""
    size = (record.ticks, record.samples)
    return {
        n: Active(*(np.full(size, graph.size(n)) for _ in Active._fields))
        for n in graph.populations
    }


def _mark_reached(
    graph: Graph, marked: Graph, spikes: Rasters
) -> dict[str, Bool[np.ndarray, "T _"]]:
    """Mark the neurons that were reached, in all populations except those of a host.

    marked: the graph with 1 for each weight that counts, and 0 for the others.
    """
    ticks = len(next(iter(spikes.values())))
    present = {
        n: np.ones((ticks, graph.size(n)), np.float32)
        for n, node in graph.nodes.items()
        if isinstance(node, Hosted)
    }
    present |= {n: (x != 0).astype(np.float32) for n, x in spikes.items()}
    emitted = compute_node_outputs(marked, {e.source for e in graph.edges}, present)
    reached = {}
    for name in graph.populations:
        if not isinstance(graph.nodes[name], Hosted):
            arrived = [delay_raster(emitted[e.source], e.delay) for e in graph.into(name)]
            fired = present.get(name, np.zeros_like(arrived[0]))
            reached[name] = np.sum([*arrived, fired], 0) > 0
    return reached


def _mark_charged(
    graph: Graph, spikes: Rasters, largest: Mapping[str, float]
) -> dict[str, Bool[np.ndarray, "S T _"]]:
    """Mark the neurons that were charged, in all populations with a normal form.

    largest: the largest weight of each population, for :data:`LARGEST_WEIGHTS`.
    """
    charged, into = {}, [e for n in graph.populations for e in graph.into(n)]
    emitted = compute_node_outputs(graph, {e.source for e in into}, spikes)
    for name in graph.populations:
        neuron = graph.nodes[name]
        if has_normal_form(neuron):
            arrived = [delay_raster(emitted[e.source], e.delay) for e in graph.into(name)]
            k = neuron.coefficients(graph.dt)
            scale = FRACTIONS * np.array(LARGEST_WEIGHTS) / (largest.get(name) or 1.0)
            charged[name] = _follow_membranes(
                k.spread(graph.shapes[name]), np.sum(arrived, 0), spikes.get(name), scale
            )
    return charged


def _follow_membranes(
    k: Coefficients,
    drive: Float[np.ndarray, "T N"],
    fired: Float[np.ndarray, "T N"] | None,
    scale: Float[np.ndarray, " S"],
) -> Bool[np.ndarray, "S T N"]:
    """Return where v was not zero before a tick.

    fired: spikes; None for neurons that never fire.
    scale: how many fractions of a unit v = 1 is.
    """
    unit = scale[:, None]
    charged = np.zeros((len(scale), *drive.shape), bool)
    state = rest_membrane(len(scale), drive.shape[1])
    for t, x in enumerate(drive):
        charged[:, t] = np.abs(state.v) * unit > NOISE
        left = k.decay * state.v * unit
        kept = np.where(k.decay < 1, np.trunc(left + np.copysign(NOISE, left)), left) / unit
        state = charge_membrane(k, state, x, kept)
        if fired is not None:
            state = reset_membrane(k, state, fired[t] != 0)
    return charged

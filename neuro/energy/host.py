"""The host beside a chip: its operations in a run, and what it sends to the chip."""

from dataclasses import replace

import numpy as np

from neuro.energy.count import count_macs, iterate_rasters, require_record
from neuro.energy.node_outputs import compute_node_outputs
from neuro.graph import Graph
from neuro.graph.partition import chip_part, find_host_nodes
from neuro.graph.sparse import unroll_delays
from neuro.io.graph_digest import digest_graph
from neuro.record import Record
from neuro.spikes import to_events


def count_host_macs(graph: Graph) -> dict[str, int]:
    """Return the operations of a tick of one sample, by node that a host computes.

    Those of a connection that leads to a host node are its :func:`neuro.energy.count_macs`.
    """
    macs = count_macs(graph)
    return {name: macs[name] for name in find_host_nodes(graph)}


def restrict_to_chip(graph: Graph, record: Record) -> tuple[Graph, Record]:
    """Return the part of a graph that a chip runs, and the record of that part.

    A host sends a value that is not zero as a graded spike, in each tick.

    Raises:
        ValueError: the record is not one of this graph, or nothing runs on a chip.
    """
    require_record(graph, record)
    part = chip_part(graph)
    entering = [n for n in part.inputs if n not in graph.inputs]
    sent = {
        n: np.zeros((record.ticks, record.samples, part.size(n)), np.float64) for n in entering
    }
    if entering:
        whole = unroll_delays(graph).graph
        for sample, spikes in iterate_rasters(graph, record):
            emitted = compute_node_outputs(whole, entering, spikes)
            for name, values in sent.items():
                values[:, sample] = emitted[name]
    kept = {n: e for n, e in record.spikes.items() if n in part.nodes}
    driven = kept | {n: to_events(v) for n, v in sent.items()}
    return part, replace(record, spikes=driven, digest=digest_graph(part))

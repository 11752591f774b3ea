"""A spiking language model and a plain read-out of its states as one Graph.

    spikes = count(RMSNorm sum_l w_l n(s_l))
    corpus = scale threshold (sum of -1, 0 or 1 times spikes)

The states s are membranes of :func:`neuro.nn.mixer_graph.make_graph`; n divides by the root
mean square. What answers nothing, such as the logits of the next token, is left out.
Axes: D channels, K corpora.
"""

import numpy as np
import torch

from neuro.graph import CountSpikes, Dense, Edge, Graph, Node, Pointwise, RMSNorm
from neuro.neurons import LI
from neuro.nn.mixer_graph import NOTHING_KEPT, as_array, make_graph
from neuro.nn.ternary import BitLinear, SpikeCount, round_weights
from tasks.attribution.language_model import SourceModel
from tasks.attribution.probes import Probe

CORPUS = "corpus"  # the output: K membranes at each token
STATES = {"attention": "output", "unit": "down", "residual": "end"}  # their nodes in a block


def make_read_out_graph(lm: SourceModel, probe: Probe) -> Graph:
    """Return the graph from embeddings of tokens to the membranes of the corpora.

    Raises:
        TypeError: a layer of the model is no MLGRU, or a map reads no spike counts; or the
            probe is recurrent.
    """
    head = probe.head
    if probe.lstm is not None or probe.is_unique:
        raise TypeError('make_read_out_graph: a Graph holds a plain read-out, arm "mean"')
    if not (isinstance(head, BitLinear) and isinstance(head.quantise, SpikeCount)):
        raise TypeError(
            "make_read_out_graph: the read-out needs ternary weights on spike counts, got "
            f"{type(head).__name__}; set linear=spiking"
        )
    graph = make_graph(lm)
    nodes, edges = dict(graph.nodes), list(graph.edges)

    def add(name: str, node: Node, *sources: str) -> str:
        nodes[name] = node
        edges.extend(Edge(source, name) for source in sources)
        return name

    with torch.no_grad():
        signs, scale = round_weights(head.weight)
        weights = as_array(probe.layers.softmax(0))
    width, eps = lm.embedding.embedding_dim, float(torch.finfo(probe.layers.dtype).eps)
    read = [
        add(
            f"{CORPUS}_state{k}",
            RMSNorm(gain=np.full(width, weight, weights.dtype), eps=eps),
            f"block{k + probe.first}_{STATES[probe.reads]}",
        )
        for k, weight in enumerate(weights)
    ]
    x = add(f"{CORPUS}_sum", Pointwise(function="identity"), *read)
    x = add(f"{CORPUS}_norm", RMSNorm(gain=as_array(head.gain), eps=head.eps), x)
    count = CountSpikes(ticks=head.quantise.ticks, threshold=head.quantise.threshold)
    x = add(f"{CORPUS}_spikes", count, x)
    x = add(f"{CORPUS}_synapses", Dense(weight=as_array(signs)), x)
    add(CORPUS, LI(tau=NOTHING_KEPT, gain=float(scale) * head.quantise.threshold), x)
    return keep_sources(Graph(nodes=nodes, edges=tuple(edges), dt=graph.dt), CORPUS)


def keep_sources(graph: Graph, name: str) -> Graph:
    """Return the part of a graph that a node depends on, the node included."""
    kept, waiting = set[str](), [name]
    while waiting:
        node = waiting.pop()
        if node not in kept:
            kept.add(node)
            waiting += [edge.source for edge in graph.edges if edge.target == node]
    return Graph(
        nodes={key: node for key, node in graph.nodes.items() if key in kept},
        edges=tuple(edge for edge in graph.edges if edge.target in kept),
        dt=graph.dt,
    )

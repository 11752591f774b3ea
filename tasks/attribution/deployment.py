"""The part of an attribution model that a chip runs, and its stimuli: one tick per token.

"alif"    the spiking probe; a host runs the language model and codes its states as events
"mean"    with spiking maps: the language model behind its embeddings, and the read-out

The other arms have no spikes. Axes: T tokens (ticks), B samples, D channels, K corpora.

What an arm costs: parameters, operations and network calls per document, documents read.

A spiking language model and a plain read-out of its states as one Graph.

    spikes = count(RMSNorm sum_l w_l n(s_l))
    corpus = scale threshold (sum of -1, 0 or 1 times spikes)

The states s are membranes of :func:`neuro.nn.mixer_graph.make_graph`; n divides by the root
mean square. Nodes that the answer does not depend on, such as the logits of the next token, are
left out.
Axes: D channels, K corpora.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.graph import CountSpikes, Dense, Edge, Graph, Node, Pointwise, RMSNorm
from neuro.io.run_folder import RunError
from neuro.neurons import LI
from neuro.nn.mixer_graph import EMBEDDED, NOTHING_KEPT, as_array, explain_no_graph, make_graph
from neuro.nn.net import Net
from neuro.nn.ternary import BitLinear, SpikeCount, round_weights
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import load
from tasks.attribution.model import (
    AttributionModel,
    Probe,
    SourceModel,
    SpikingProbe,
    build,
    prepend_begin,
    read_states,
    require_attribution,
)
from tasks.attribution.training import LOSS
from tasks.runs.samples import pick_spread
from tasks.runs.task import ACCURACY, Split, Stimulus


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """The cost of a language model or of a probe.

    parameters: number of weights.
    macs: multiply-accumulates per document.
    documents: documents that the training reads, counted once per reading.
    """

    parameters: int
    macs: int
    documents: int


def count_costs(config: AttributionConfig) -> dict[str, PartCost]:
    """Return the costs of "lm" and, if the arm has a probe, of "probe".

    Each is called once per document. A probe needs no logits of its language model.
    """
    with torch.device("meta"):
        model = build(config)
    read_again = config.lm_epochs if config.is_lm or config.reads_trained_lm else 0
    costs = {
        "lm": PartCost(
            parameters=_count_weights(model.lm),
            macs=count_lm_macs(config, model),
            documents=config.documents * read_again,
        )
    }
    if model.probe is not None:
        costs["probe"] = PartCost(
            parameters=_count_weights(model.probe),
            macs=count_probe_macs(config),
            documents=config.train * config.epochs,
        )
    return costs


def count_lm_macs(config: AttributionConfig, model: AttributionModel) -> int:
    """Return the multiply-accumulates of a language model per document.

    Counts mixers (``Mixer.macs``) and linear maps. A language model alone reads the begin token
    and all tokens but the last, and computes logits for each. With a probe it also reads the
    last token, and computes no logits.
    """
    mixers: list[Any] = [block.get_submodule("mixer") for block in model.lm.blocks]
    read = config.tokens + (0 if config.is_lm else 1)
    each: list[int] = [mixer.macs(k) for mixer in mixers for k in range(read)]
    units = 3 * config.width * config.hidden * len(mixers) * read
    logits = config.width * model.lm.vocabulary * read if config.is_lm else 0
    return sum(each) + units + logits


def count_probe_macs(config: AttributionConfig) -> int:
    """Return the multiply-accumulates of a probe: weighting of layers, LSTM, read-out.

    A spiking probe is counted as the same layers without spikes, at every token.
    """
    width, layers = config.width, 1 if config.arm == "last" else len(config.layers)
    if config.is_spiking:
        inputs, hidden = 2 * layers * width, config.probe_width
        return config.tokens * hidden * (inputs + hidden + config.protected)
    token = layers * width * (3 if config.is_unique else 1)  # distances, and their weights
    if config.is_recurrent:
        token += 4 * config.probe_width * (width + config.probe_width)
        width = config.probe_width
    return config.tokens * (token + width * config.protected)


def _count_weights(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


CORPUS = "corpus"  # the output: K membranes at each token
STATES = {"attention": "output", "unit": "down", "residual": "end"}  # node names in a block


def make_read_out_graph(lm: SourceModel, probe: Probe) -> Graph:
    """Return the graph from embeddings of tokens to the membranes of the corpora.

    Raises:
        TypeError: a layer of the model is not an MLGRU, a map does not read spike counts, or
            the probe is recurrent.
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
    """Return the subgraph of a node and of all nodes that it depends on."""
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


COMPARED = 60  # documents of a split that every executor answers
CURE = "take a run of attribution:tiny_alif or attribution:tiny_spiking"


def explain_only_torch(config: AttributionConfig) -> str:
    """Explain why only torch can run a model. Returns "" if every executor can."""
    if config.is_spiking:
        return ""
    if config.arm != "mean":
        return f'arm "{config.arm}" sends no spikes, so only torch runs it; {CURE}'
    why = explain_no_graph(config)
    return why and f"only torch runs this language model: {why}; {CURE}"


def chip_part(config: AttributionConfig, model: nn.Module) -> nn.Module:
    """Return the network of the spiking probe, or the language model with its read-out."""
    own = require_attribution(model)
    if isinstance(own.probe, SpikingProbe):
        return own.probe.network
    if not isinstance(own.probe, Probe):
        raise RunError(f'a language model without a probe, and arm "{config.arm}" has one')
    return Net(make_read_out_graph(own.lm, own.probe))


def count_host_macs(config: AttributionConfig, model: nn.Module) -> dict[str, int]:
    """Return the language model's multiply-accumulates per document if a host runs it."""
    if not config.is_spiking:
        return {}
    return {"language model": count_lm_macs(config, require_attribution(model))}


def count_ticks(config: AttributionConfig) -> int:
    """Return the tokens per document that the chip part reads."""
    return config.tokens + (0 if config.is_spiking else 1)


@torch.no_grad()
def stimuli(config: AttributionConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield documents spread over a split, as events or embeddings, and their corpora."""
    own = require_attribution(model)
    documents = load(config, split)
    few = pick_spread(total := len(documents.labels), COMPARED)
    tokens = documents.tokens[:, few].to(own.lm.embedding.weight.device)
    labels, drawn = documents.labels[few], f"spread at random over {total:,}"
    if isinstance(own.probe, SpikingProbe):
        events, _ = own.probe.code(read_states(own.lm, tokens))
        yield Stimulus({"input": events.cpu()}, labels, drawn)
    else:
        embedded = own.lm.embedding(prepend_begin(own.lm, tokens))
        yield Stimulus({EMBEDDED: embedded.cpu()}, labels, drawn)


def decode(
    config: AttributionConfig,
    model: nn.Module,  # noqa: ARG001
    outputs: Mapping[str, Tensor],
) -> Float[Tensor, "B K"]:
    """Return the logits of each document: the membranes' mean over its tokens."""
    if config.is_spiking:
        (membranes,) = outputs.values()
        return membranes.mean(0)
    return outputs[CORPUS][1:].mean(0)


def measure(
    _: AttributionConfig, logits: Float[Tensor, "B K"], labels: Int64[Tensor, " B"]
) -> dict[str, float]:
    """Return the share of correct answers, and the loss."""
    return {
        ACCURACY.name: float((logits.argmax(1) == labels).double().mean()),
        LOSS.name: float(F.cross_entropy(logits.double(), labels)),
    }


def describe(
    _: AttributionConfig, logits: Float[Tensor, "B K"], labels: Int64[Tensor, " B"]
) -> list[str]:
    """Return "true corpus → answer" for each document."""
    answers = logits.argmax(1).tolist()
    return [f"{true} → {own}" for true, own in zip(labels.tolist(), answers, strict=True)]

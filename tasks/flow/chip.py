"""The token maps of a spiking network, each as its own Graph: one tick per token.

    spikes = count(RMSNorm x)        y = scale threshold (sum of -1, 0 or 1 times spikes)

Each state is a Graph, too: one tick per call of the network.

A host computes what lies between these graphs: softmax, outer products, norms, the sampler.
"""

from collections.abc import Iterator
from itertools import pairwise

from neuro.graph import CountSpikes, Dense, Edge, Graph, Input, Node, RMSNorm
from neuro.neurons import LI, GatedLI
from neuro.nn.mixer_graph import NOTHING_KEPT, TICK, as_array
from neuro.nn.ternary import BitLinear, SpikeCount, round_weights
from tasks.flow.model import FlowBlock, FlowModel, HybridAttention

INPUT = "input"


def list_maps(model: FlowModel) -> Iterator[tuple[str, BitLinear]]:
    """Yield (name, token map), block by block.

    Raises:
        TypeError: the inputs of a map are not spikes.
    """
    blocks = [block for block in model.blocks if isinstance(block, FlowBlock)]
    for k, block in enumerate(blocks):
        attention = block.attention
        own = {"qkv": attention.qkv, "output": attention.output}
        if isinstance(attention, HybridAttention):
            own["gate"] = attention.gate
        for name, layer in {**own, "up": block.up, "down": block.down}.items():
            if not isinstance(layer, BitLinear):
                raise TypeError(f"block{k}_{name}: a chip needs spikes; set maps=spiking")
            yield f"block{k}_{name}", layer


def make_graph(name: str, layer: BitLinear) -> Graph:
    """Return the Graph of a token map; ``name`` becomes the name of its output.

    Raises:
        TypeError: the inputs of the map are not spike counts.
    """
    signs, scale = round_weights(layer.weight.detach())
    count = layer.quantise
    if not isinstance(count, SpikeCount):
        raise TypeError(f"{name}: a chip needs counts of spikes, got {type(count).__name__}")
    nodes: dict[str, Node] = {
        INPUT: Input(shape=(layer.weight.shape[1],)),
        "norm": RMSNorm(gain=as_array(layer.gain), eps=layer.eps),
        "spikes": CountSpikes(ticks=count.ticks, threshold=count.threshold),
        "synapses": Dense(weight=as_array(signs)),
        name: LI(tau=NOTHING_KEPT, gain=float(scale) * count.threshold),
    }
    return Graph(nodes=nodes, edges=tuple(Edge(a, b) for a, b in pairwise(nodes)), dt=TICK)


def make_state_graph(name: str, size: int) -> Graph:
    """Return the Graph of a state of ``size`` values; its output is the state.

    Its input has two halves: the logit of the share that a tick keeps, and the drive.
    """
    nodes: dict[str, Node] = {
        INPUT: Input(shape=(2 * size,)),
        f"{name}_kept": GatedLI(),
        name: LI(tau=NOTHING_KEPT),
    }
    return Graph(nodes=nodes, edges=tuple(Edge(a, b) for a, b in pairwise(nodes)), dt=TICK)

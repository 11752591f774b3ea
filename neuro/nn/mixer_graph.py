"""A spiking MatMul-free sequence model as a Graph: one tick per token.

    spikes = count(RMSNorm x)    membrane = scale threshold (sum of -1, 0 or 1 times spikes)

Every ternary map is a Dense of -1, 0 and 1 from graded spikes (signed counts) to membranes that
keep nothing from token to token (LI). The map's scale is the membranes' gain, so that the sums
are whole numbers. Norms, gates and the state of MLGRU (GatedLI) are host nodes: no fixed neuron
model computes them. The input is a token's embedding, which a host looks up. Axes: D channels.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.base.units import Seconds
from neuro.graph import (
    Concat,
    CountSpikes,
    Dense,
    Edge,
    Graph,
    Input,
    Multiply,
    Node,
    Pointwise,
    RMSNorm,
)
from neuro.mixers import MLGRU, layer_floors
from neuro.neurons import LI, GatedLI
from neuro.nn.mixer_block import BlockSizes, MixerBlock, MixerModel
from neuro.nn.recurrent_depth import DepthSizes, RecurrentModel
from neuro.nn.ternary import BitLinear, SpikeCount, round_weights

TICK = Seconds(1e-3)  # one token; any length would do
NOTHING_KEPT = 1e-6 * TICK  # a time constant so short that a tick leaves exp(-10^6) = 0
EMBEDDED, LOGITS = "embedded", "logits"
DRIVEN, MEMBRANE = "driven", "membrane"  # input and hidden state of a recurrent core


def explain_no_graph(sizes: BlockSizes) -> str:
    """Explain why no Graph can hold such a model; "" if one can."""
    if sizes.linear != "spiking":
        return f"its maps are {sizes.linear}, and only spikes run on events and chips"
    if others := sorted(set(sizes.layers) - {"mlgru"}):
        return f"a Graph has MLGRU, and no {', '.join(others)}"
    return ""


def make_graph(model: MixerModel) -> Graph:
    """Return a Graph from the embeddings of tokens (EMBEDDED) to the LOGITS of the next token.

    It has the precision of the model's weights. Its nodes are named block0_forget,
    block0_up_gate, and so on.

    Raises:
        TypeError: a layer is not an MLGRU, or a map does not read spike counts.
    """
    with torch.no_grad():
        walk = _begin(model, EMBEDDED)
        _add_blocks(walk, model, EMBEDDED)
    return walk.close()


def make_loop_graph(model: RecurrentModel) -> Graph:
    """Return the Graph of one iteration of a recurrent core whose hidden state is a membrane.

    It maps s + e (DRIVEN), which a host adds, to the next s (MEMBRANE) and its LOGITS. A run is
    one pass over the tokens; the next pass starts with every MLGRU state at rest.

    Raises:
        TypeError: as :func:`make_graph`; or the model has no recurrent core, s is not a
            membrane, or there are blocks before or after the core.
    """
    sizes = model.depth_sizes
    if why := explain_no_loop(sizes):
        raise TypeError(f"make_loop_graph: {why}")
    with torch.no_grad():
        walk = _begin(model, DRIVEN)
        walk.add(MEMBRANE, LI(tau=NOTHING_KEPT), _add_blocks(walk, model, DRIVEN))
    return walk.close()


def explain_no_loop(sizes: DepthSizes) -> str:
    """Explain why no Graph can hold an iteration of a core; "" if one can."""
    if not sizes.depth:
        return "no core recurs, as depth is 0"
    if sizes.injection != "membrane":
        return "its hidden state passes an adapter, and is no membrane"
    if sizes.prelude or sizes.coda:
        return "a prelude and a coda are networks beside the core"
    return ""


def _begin(model: MixerModel, name: str) -> "_Walk":
    return _Walk({name: Input(shape=(model.embedding.embedding_dim,))})


def _add_blocks(walk: "_Walk", model: MixerModel, x: str) -> str:
    """Add the blocks, the norm and the read-out; return the last block's output node."""
    floors = None if model.floors is None else layer_floors(model.floors)
    for k, block in enumerate(model.blocks):
        x = _add_block(walk, f"block{k}", block, x, None if floors is None else floors[k])
    walk.map(LOGITS, walk.norm("norm", x, model.norm), model.head)
    return x


@dataclass
class _Walk:
    """A Graph that is built from its input on."""

    nodes: dict[str, Node]
    edges: list[Edge] = field(default_factory=list)

    def close(self) -> Graph:
        return Graph(nodes=self.nodes, edges=tuple(self.edges), dt=TICK)

    def add(self, name: str, node: Node, *sources: str) -> str:
        self.nodes[name] = node
        self.edges += [Edge(source, name) for source in sources]
        return name

    def norm(self, name: str, x: str, layer: Any) -> str:
        return self.add(name, RMSNorm(gain=as_array(layer.weight), eps=layer.eps), x)

    def spikes(self, name: str, x: str, layer: Any) -> str:
        """Add the spikes that a ternary map reads."""
        quantise = layer.fixed_quantise if isinstance(layer, BitLinear) else None
        if not isinstance(quantise, SpikeCount):
            raise TypeError(
                f"{name}: a Graph needs ternary maps of spike counts, got "
                f"{type(layer).__name__}; make the model with linear='spiking'"
            )
        x = self.add(f"{name}_norm", RMSNorm(gain=as_array(layer.gain), eps=layer.eps), x)
        count = CountSpikes(ticks=quantise.ticks, threshold=quantise.threshold)
        return self.add(f"{name}_spikes", count, x)

    def synapses(self, name: str, x: str, layer: Any, part: slice = slice(None)) -> str:
        """Add the synapses of a ternary map (or of some rows) and their membranes."""
        signs, scale = round_weights(layer.weight)
        x = self.add(f"{name}_synapses", Dense(weight=as_array(signs[part])), x)
        gain = float(scale) * layer.fixed_quantise.threshold
        return self.add(name, LI(tau=NOTHING_KEPT, gain=gain), x)

    def map(self, name: str, x: str, layer: Any) -> str:
        """Add a complete ternary map."""
        return self.synapses(name, self.spikes(name, x, layer), layer)

    def product(self, name: str, opened: str, factor: str) -> str:
        """Add SiLU(opened) factor."""
        opened = self.add(f"{name}_open", Pointwise(function="silu"), opened)
        both = self.add(f"{name}_both", Concat(), opened, factor)
        return self.add(f"{name}_product", Multiply(), both)

    def hand_on(self, name: str, *sources: str) -> str:
        """Add the sum of values for a node that accepts neither membranes nor several edges."""
        return self.add(name, Pointwise(function="identity"), *sources)


def _add_block(walk: _Walk, name: str, block: Any, x: str, floor: Tensor | None) -> str:
    if not isinstance(block, MixerBlock) or not isinstance(block.mixer, MLGRU):
        raise TypeError(f"{name}: a Graph holds blocks of MLGRU, got {block}")
    mixer, own = block.mixer, walk.norm(f"{name}_mixer_norm", x, block.mixer_norm)
    forget, candidate, gate = (
        walk.map(f"{name}_{part}", own, getattr(mixer, part))
        for part in ("forget", "candidate", "gate")
    )
    silu = walk.add(f"{name}_candidate_silu", Pointwise(function="silu"), candidate)
    both = walk.add(f"{name}_gates", Concat(), walk.hand_on(f"{forget}_value", forget), silu)
    kept = 0.0 if floor is None else as_array(floor)
    state = walk.add(f"{name}_state", GatedLI(floor=kept), both)
    gate = walk.norm(f"{name}_read_norm", gate, mixer.norm)
    read = walk.product(f"{name}_read", state, gate)
    x = walk.hand_on(f"{name}_mixed", x, walk.map(f"{name}_output", read, mixer.output))
    unit = walk.norm(f"{name}_unit_norm", x, block.unit_norm)
    counts, half = walk.spikes(f"{name}_up", unit, block.up), block.down.weight.shape[1]
    opens = walk.synapses(f"{name}_up_gate", counts, block.up, slice(half))
    value = walk.synapses(f"{name}_up_value", counts, block.up, slice(half, None))
    unit = walk.product(f"{name}_unit", opens, walk.hand_on(f"{value}_value", value))
    return walk.hand_on(f"{name}_end", x, walk.map(f"{name}_down", unit, block.down))


def as_array(tensor: Any) -> np.ndarray:
    """Return a parameter as an array."""
    out: np.ndarray = tensor.detach().cpu().numpy()
    return out

"""The driver's spiking parts other than the decoder, as networks that take only spikes.

A chip takes binary spikes. If a part takes real values, the host sends each value as bits: it
rounds the magnitude to :data:`FINEST`, clips it below 8, and uses separate planes for positive
and negative values. The chip's first connection adds the planes; the rest is the trained
network.

    value = sum over planes of weight bit    weights: 2, 2, 2, 1, 1/2 ... 1/32, and -2 ... -1/32

A loop on a chip needs one tick per connection. For longer loops :func:`stretch` spreads a frame
over several ticks: it scales delays and decays accordingly, and replaces biases by a clock that
spikes once per frame. Axes: T ticks, B samples, C channels, H and W.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from drivers.nuscenes.rig import CAMERAS
from neuro.base.units import Seconds, Ticks
from neuro.graph import AvgPool2d, Concat, Conv2d, Edge, Graph, Input, Node, Upsample
from neuro.graph.partition import find_tight_loops
from neuro.graph.paths import find_routes
from neuro.neurons import LIF
from neuro.neurons.reset import Reset
from neuro.nn import Net, Stack
from neuro.nn.trace import Tracer
from tasks.driving.batch import Observation
from tasks.driving.config import DrivingConfig
from tasks.driving.data import read_spread
from tasks.driving.encoder import Encoder
from tasks.driving.model import Driver, require_driver
from tasks.driving.refine import make_inputs
from tasks.runs.task import FurtherNetwork, Split, Stimulus

FINEST = 1 / 32
PLANES = (2.0, 2.0, 2.0, 1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)  # 4 is two planes of 2
BITS = (7, 7, 6, 5, 4, 3, 2, 1, 0)  # bit of the magnitude that each plane carries
LARGEST = 2 ** (max(BITS) + 1) - 1  # largest magnitude, in units of FINEST
MOST = 8  # largest number of ticks per frame
WINDOWS = 2  # windows on which executors are compared
CLOCK = "clock"


def split_bits(x: Float[Tensor, "T B C H W"]) -> Float[Tensor, "T B C18 H W"]:
    """Return the bit planes of values; per channel, planes of positive values come first.

    Warns if values are clipped.
    """
    magnitude = (x.abs() / FINEST).round()
    beyond = int((magnitude > LARGEST).sum())
    if beyond:
        warnings.warn(
            f"driving: {beyond} of {x.numel()} real inputs of the chip exceed "
            f"{LARGEST * FINEST:.2f}, the largest is {float(x.abs().max()):.2f}: all executors "
            "clip them, the trained network does not",
            stacklevel=2,
        )
    magnitude = magnitude.clamp(max=LARGEST).long()
    bits = torch.stack([(magnitude >> bit) & 1 for bit in BITS], 3)
    signed = torch.cat([bits * (x > 0)[:, :, :, None], bits * (x < 0)[:, :, :, None]], 3)
    return signed.flatten(2, 3).to(x)


def join_bits(channels: int) -> Conv2d:
    """Return the connection that adds up the planes of :func:`split_bits`."""
    weight = np.array([*PLANES, *(-w for w in PLANES)], np.float32)
    return Conv2d(
        weight=np.tile(weight[None, :, None, None], (channels, 1, 1, 1)), groups=channels
    )


def take_bits(graph: Graph, name: str) -> Graph:
    """Return a graph whose input ``name`` is replaced by its bits, the input "NAME_bits"."""
    channels, *rest = graph.shapes[name]
    planes = Input(shape=(2 * len(PLANES) * channels, *rest))
    nodes: dict[str, Node] = {f"{name}_bits": planes, **graph.nodes, name: join_bits(channels)}
    return replace(graph, nodes=nodes, edges=(Edge(f"{name}_bits", name), *graph.edges))


def count_ticks_of_a_frame(graph: Graph) -> int:
    """Return the smallest number of ticks per frame that all loops of a graph allow.

    Raises:
        ValueError: a loop needs more than :data:`MOST`.
    """
    for ticks in range(1, MOST + 1):
        stretched = stretch(graph, ticks)
        if not find_tight_loops(stretched, find_routes(stretched, [])):
            return ticks
    raise ValueError(
        f"loops need more than {MOST} ticks per frame; use fewer connections in a loop"
    )


def stretch(graph: Graph, ticks: int) -> Graph:
    """Return a graph that computes tick k of ``graph`` at tick k ``ticks``, silent in between.

    A bias becomes a connection from the input :data:`CLOCK`, which spikes at ticks k ``ticks``.

    Raises:
        ValueError: a population could fire in between, because it is not a LIF with hard reset,
            without synaptic current and without refractory period.
    """
    if ticks == 1:
        return graph
    nodes: dict[str, Node] = {CLOCK: Input(shape=(1, 1, 1))}
    edges = [e._replace(delay=Ticks(ticks * e.delay)) for e in graph.edges]
    for name, node in graph.nodes.items():
        nodes[name] = node
        if name in graph.populations:
            nodes[name] = _stretch_population(name, node, graph.dt, ticks)
        bias = getattr(node, "bias", None)
        if bias is not None and np.any(bias):
            size = graph.shapes[name][1:]
            nodes[name] = replace(node, bias=None)
            nodes[f"{name}_bias"] = Conv2d(weight=np.asarray(bias)[:, None, None, None])
            nodes[f"{name}_biases"] = Upsample(scale=(int(size[0]), int(size[1])))
            edges += [Edge(CLOCK, f"{name}_bias"), Edge(f"{name}_bias", f"{name}_biases")]
            edges += [
                Edge(f"{name}_biases", e.target, Ticks(ticks * e.delay))
                for e in graph.edges
                if e.source == name
            ]
    if not any(e.source == CLOCK for e in edges):
        del nodes[CLOCK]
    return replace(graph, nodes=nodes, edges=tuple(edges), dt=Seconds(graph.dt / ticks))


def _stretch_population(name: str, node: Node, dt: float, ticks: int) -> Node:
    plain = isinstance(node, LIF) and node.reset is Reset.HARD and node.tau_syn is None
    if not plain or node.refractory:  # type: ignore[union-attr]
        raise ValueError(
            f"{name}: must be a LIF with hard reset, without synaptic current and refractory "
            "period, to stay silent between frames"
        )
    kept = np.exp(-dt / np.asarray(node.tau))  # type: ignore[union-attr]
    # A membrane without memory must lose its value within the shorter tick as well.
    return replace(node, tau=node.tau / ticks) if not kept.any() else node  # type: ignore


def spread_frames(x: Float[Tensor, "T B ..."], ticks: int) -> Float[Tensor, "T2 B ..."]:
    """Return a stimulus for a stretched graph: each frame is followed by silent ticks."""
    out = x.new_zeros(len(x) * ticks, *x.shape[1:])
    out[::ticks] = x
    return out


def make_encoder_graph(
    encoder: Encoder, shape: tuple[int, int, int], far_size: tuple[int, int]
) -> Graph:
    """Return the graph of trunk, branches and pyramids; its input is the stem's current.

    shape: C, H and W of the input.
    far_size: height and width of the branch at 1/16, which feeds the pyramids.
    Outputs: the spikes at 1/8 ("near"), and the last spikes of each pyramid.
    """
    walk = Tracer(nodes={"stem": Input(shape=shape)})
    trunk = walk.visit(encoder.trunk, "trunk", (("stem", 0),))
    walk.visit(encoder.near, "near", trunk)
    far = walk.visit(encoder.far, "far", trunk)
    height, width = far_size
    for name in ("features", "depth"):
        pyramid = getattr(encoder, name).pyramid
        ends = [
            walk.visit(branch, f"{name}_branch{k}", far)[0]
            for k, branch in enumerate(pyramid.branches)
        ]
        whole = AvgPool2d(kernel=(height, width), stride=(height, width))
        mean = walk.add(f"{name}_mean", whole, far)
        mean = walk.visit(pyramid.mean, f"{name}_mean_conv", mean)
        ends += walk.add(f"{name}_mean_spread", Upsample(scale=(height, width)), mean)
        joined = walk.add(f"{name}_joined", Concat(), tuple(ends))
        body = Stack(**{k: m for k, m in pyramid.end.named_children() if k != "widen"})
        walk.visit(body, name, joined)
    return walk.graph()


def make_parts(config: DrivingConfig, module: nn.Module) -> dict[str, FurtherNetwork]:
    """Return the encoder, the uncertainty, the pathways and the planner's refinement."""
    model = require_driver(module)
    uncertainty, start = model.prediction.uncertainty, model.planner.refinement.start
    out = {"encoder": _make_encoder_part(config, model)}
    if uncertainty is not None:
        out["uncertainty"] = _make_rest_part(
            config, model, uncertainty.shrink, lambda seen: model.perceive(seen).states[-1:]
        )
    out["pathways"] = _make_pathways_part(config, model)
    out["start"] = _make_rest_part(config, model, start, partial(_look_ahead, model))
    out["GRU"] = _make_gru_part(config, model)
    return out


def _look_ahead(model: Driver, seen: Observation) -> Float[Tensor, "1 B C h w"]:
    """Return the features of the front camera as one tick."""
    front = model.perceive(seen).front
    if front is None:
        raise ValueError("a driver that sees maps has no front camera; see chip_part")
    return front[None]


def _make_part(
    config: DrivingConfig,
    model: Driver,
    module: nn.Module,
    encode: Callable[[Observation], dict[str, Tensor]],
    runs: int = 1,
    ann_passes: int | None = None,
) -> FurtherNetwork:
    """Return a network; ``encode`` maps an observation to the network's inputs by name."""

    def stimuli(split: Split) -> Iterator[Stimulus]:
        device = next(model.parameters()).device
        for seen, _ in read_spread(config, split, WINDOWS, device):
            with torch.no_grad():
                inputs = {name: x.cpu() for name, x in encode(seen).items()}
            yield Stimulus(inputs, ())

    return FurtherNetwork(module=module, stimuli=stimuli, runs=runs, ann_passes=ann_passes)


def _make_rest_part(
    config: DrivingConfig, model: Driver, stack: Stack, read: Callable[[Observation], Tensor]
) -> FurtherNetwork:
    """Return a Stack without its first layer, whose spikes the host computes."""
    (_, first), *rest = stack.named_children()
    return _make_part(
        config, model, Stack(**dict(rest)), lambda seen: {"input": first(read(seen))[0]}
    )


def _make_encoder_part(config: DrivingConfig, model: Driver) -> FurtherNetwork:
    encoder, c = model.encoder, config.encoder
    height, width = config.image.height // c.stem, config.image.width // c.stem
    shape = (c.channels[0], height, width)
    far = config.feature_size[0] // 2, config.feature_size[1] // 2
    graph = take_bits(make_encoder_graph(encoder, shape, far), "stem")

    def encode(seen: Observation) -> dict[str, Tensor]:
        now = model.normalise(model.list_ticks(seen)[:, :, -1].flatten(1, 2))
        bits = split_bits(encoder.stem(now)[0])
        return {"stem_bits": bits.expand(c.ticks, *bits.shape[1:])}

    images = len(CAMERAS) * config.past
    return _make_part(config, model, Net(graph), encode, runs=images, ann_passes=1)


def _make_pathways_part(config: DrivingConfig, model: Driver) -> FurtherNetwork:
    prediction = model.prediction
    graph = prediction.pathways.graph()
    if "latent" in graph.inputs:
        graph = take_bits(graph, "latent")
    # Products need a host: such a graph stays unstretched, and lowering refuses it.
    ticks = count_ticks_of_a_frame(graph) if config.prediction.fusion == "add" else 1
    graph = stretch(graph, ticks)

    def encode(seen: Observation) -> dict[str, Tensor]:
        inputs = prediction.make_inputs(model.perceive(seen).states, config.future)
        if "latent" in inputs:
            inputs["latent_bits"] = split_bits(inputs.pop("latent"))
        return _spread(graph, inputs, ticks)

    frames = config.past + config.future
    return _make_part(config, model, Net(graph), encode, ann_passes=frames)


def _make_gru_part(config: DrivingConfig, model: Driver) -> FurtherNetwork:
    refinement = model.planner.refinement
    graph = take_bits(refinement.gru.graph(), "x")  # type: ignore[operator]
    ticks = count_ticks_of_a_frame(graph)
    graph = stretch(graph, ticks)

    def encode(seen: Observation) -> dict[str, Tensor]:
        x = make_inputs(model(seen).plan.taken, seen.ego, config.planner.navigation)
        start = refinement.start(_look_ahead(model, seen))[0]
        first = torch.cat([start, start.new_zeros(len(x) - 1, *start.shape[1:])])
        inputs = {"x_bits": split_bits(x[..., None, None]), "start": first[..., None, None]}
        return _spread(graph, inputs, ticks)

    return _make_part(config, model, Net(graph), encode, ann_passes=config.future)


def _spread(graph: Graph, inputs: dict[str, Tensor], ticks: int) -> dict[str, Tensor]:
    """Spread the inputs of frames for a stretched graph; add its clock if it has one."""
    if CLOCK in graph.inputs:
        x = next(iter(inputs.values()))
        inputs = inputs | {CLOCK: x.new_ones(*x.shape[:2], 1, 1, 1)}
    return {name: spread_frames(x, ticks) for name, x in inputs.items()}

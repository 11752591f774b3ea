"""The spiking parts of the driver besides its decoder, as networks with spiking inputs only.

A chip takes binary spikes. If a part takes real values, its host sends them as bits: the
magnitude of each value, rounded to :data:`FINEST` and clipped at 8, in separate planes for
either sign. The first connection adds the planes up again; the rest is the trained network.

    value = sum over planes of weight bit    weights: 2, 2, 2, 1, 1/2 ... 1/32, and -2 ... -1/32

A loop on a chip needs a tick for each of its connections. For longer loops :func:`stretch`
spreads a frame over several ticks: delays and decays follow, and a clock with one spike per
frame replaces biases. Axes: T ticks, B samples, C channels, H and W.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import itemgetter, methodcaller

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from drivers.nuscenes.rig import CAMERAS
from neuro.graph import AvgPool2d, Concat, Conv2d, Edge, Graph, Input, Node, Upsample
from neuro.graph.partition import find_tight_loops
from neuro.graph.paths import find_routes
from neuro.neurons import LIF
from neuro.neurons.reset import Reset
from neuro.nn import Net, Stack
from neuro.nn.trace import Tracer
from neuro.units import Seconds, Ticks
from tasks.driving.batch import Observation
from tasks.driving.config import DrivingConfig
from tasks.driving.data import read_batches
from tasks.driving.encoder import Encoder
from tasks.driving.model import Driver, require_driver
from tasks.driving.refine import make_inputs
from tasks.runs.task import FurtherNetwork, Split, Stimulus

FINEST = 1 / 32
PLANES = (2.0, 2.0, 2.0, 1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)  # the first two are 4
BITS = (7, 7, 6, 5, 4, 3, 2, 1, 0)  # of the magnitude, one per plane
LARGEST = 2 ** (max(BITS) + 1) - 1  # magnitude, in units of FINEST
MOST = 8  # largest number of ticks per frame
WINDOWS = 2  # for the comparison of executors
CLOCK = "clock"
Stimuli = Callable[[Split], Iterator[Stimulus]]


def split_bits(x: Float[Tensor, "T B C H W"]) -> Float[Tensor, "T B C18 H W"]:
    """Return the planes of values; each channel starts with those of positive values.

    Warns about clipped values.
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
    """Return a graph that takes an input as bits, at "NAME_bits"."""
    channels, *rest = graph.shapes[name]
    planes = Input(shape=(2 * len(PLANES) * channels, *rest))
    nodes: dict[str, Node] = {f"{name}_bits": planes, **graph.nodes, name: join_bits(channels)}
    return replace(graph, nodes=nodes, edges=(Edge(f"{name}_bits", name), *graph.edges))


def count_ticks_of_a_frame(graph: Graph) -> int:
    """Return the least number of ticks per frame that the loops of a graph need.

    Raises:
        ValueError: they need more than :data:`MOST`.
    """
    for ticks in range(1, MOST + 1):
        stretched = stretch(graph, ticks)
        if not find_tight_loops(stretched, find_routes(stretched, [])):
            return ticks
    raise ValueError(
        f"loops need more than {MOST} ticks per frame; use fewer connections in a loop"
    )


def stretch(graph: Graph, ticks: int) -> Graph:
    """Return a graph whose tick ``ticks`` k is the tick k of this one; other ticks are silent.

    A bias becomes a connection from the input :data:`CLOCK`, which spikes at those ticks.

    Raises:
        ValueError: a population could fire in between, because it is not a LIF with hard reset,
            without synaptic current and refractory period.
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
    # A membrane without memory must stay without memory for a part of a tick.
    return replace(node, tau=node.tau / ticks) if not kept.any() else node  # type: ignore


def spread_frames(x: Float[Tensor, "T B ..."], ticks: int) -> Float[Tensor, "T2 B ..."]:
    """Return a stimulus for a stretched graph: each frame, then silence until the next."""
    out = x.new_zeros(len(x) * ticks, *x.shape[1:])
    out[::ticks] = x
    return out


def make_encoder_graph(
    encoder: Encoder, shape: tuple[int, int, int], far_size: tuple[int, int]
) -> Graph:
    """Return the graph of trunk, branches and pyramids; its input is the stem's current.

    shape: C, H and W of the input. far_size: of the branch at 1/16, the input of the pyramids.
    Outputs: spikes near (1/8), and the last spikes of each pyramid.
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


def drop_first_layer(stack: Stack) -> Stack:
    """Return a Stack without its first layer, the neurons that turn real values into spikes."""
    return Stack(**dict(list(stack.named_children())[1:]))


def run_first_layer(stack: Stack, x: Float[Tensor, "T B ..."]) -> Float[Tensor, "T B ..."]:
    """Return the spikes of the first layer of a Stack, which the host computes."""
    y: Tensor = next(iter(stack.children()))(x)[0]
    return y


def _look_ahead(model: Driver, seen: Observation) -> Float[Tensor, "1 B C h w"]:
    """Return the features of the front camera as one tick."""
    front = model.perceive(seen).front
    if front is None:
        raise ValueError("a driver that sees maps has no front camera; see chip_part")
    return front[None]


def make_parts(config: DrivingConfig, module: nn.Module) -> dict[str, FurtherNetwork]:
    """Return the encoder, the uncertainty, the pathways and the planner's refinement."""
    model = require_driver(module)
    images = len(CAMERAS) * config.past
    out = {"encoder": _make_encoder_part(config, model, images)}
    prediction, refinement = model.prediction, model.planner.refinement
    if prediction.uncertainty is not None:
        shrink = prediction.uncertainty.shrink

        def give_present(split: Split) -> Iterator[Stimulus]:
            for seen in _read(config, model, split):
                present = model.perceive(seen).states[-1:]
                yield Stimulus({"input": run_first_layer(shrink, present).cpu()}, ())

        out["uncertainty"] = FurtherNetwork(
            module=drop_first_layer(shrink), stimuli=_without_gradient(give_present)
        )
    out["pathways"] = _make_pathways_part(config, model)

    def give_front(split: Split) -> Iterator[Stimulus]:
        for seen in _read(config, model, split):
            front = _look_ahead(model, seen)
            yield Stimulus({"input": run_first_layer(refinement.start, front).cpu()}, ())

    out["start"] = FurtherNetwork(
        module=drop_first_layer(refinement.start), stimuli=_without_gradient(give_front)
    )
    out["GRU"] = _make_gru_part(config, model)
    return out


def _make_encoder_part(config: DrivingConfig, model: Driver, images: int) -> FurtherNetwork:
    encoder, c = model.encoder, config.encoder
    height, width = config.image.height // c.stem, config.image.width // c.stem
    shape = (c.channels[0], height, width)
    far = config.feature_size[0] // 2, config.feature_size[1] // 2
    graph = take_bits(make_encoder_graph(encoder, shape, far), "stem")

    def give(split: Split) -> Iterator[Stimulus]:
        for seen in _read(config, model, split):
            now = model.normalise(seen.images[:, -1].flatten(0, 1))
            bits = split_bits(encoder.stem(now[None])[0])
            yield Stimulus({"stem_bits": bits.expand(c.ticks, *bits.shape[1:]).cpu()}, ())

    return FurtherNetwork(
        module=Net(graph), stimuli=_without_gradient(give), runs=images, ann_passes=1
    )


def _make_pathways_part(config: DrivingConfig, model: Driver) -> FurtherNetwork:
    prediction = model.prediction
    graph = prediction.pathways.graph()
    if "latent" in graph.inputs:
        graph = take_bits(graph, "latent")
    # A product needs a host: leave it unstretched, lowering refuses it.
    ticks = count_ticks_of_a_frame(graph) if config.prediction.fusion == "add" else 1
    graph = stretch(graph, ticks)

    def give(split: Split) -> Iterator[Stimulus]:
        for seen in _read(config, model, split):
            states = model.perceive(seen).states
            inputs = prediction.make_inputs(states, config.future)
            if "latent" in inputs:
                inputs["latent_bits"] = split_bits(inputs.pop("latent"))
            yield Stimulus(_spread(graph, inputs, ticks), ())

    frames = config.past + config.future
    return FurtherNetwork(module=Net(graph), stimuli=_without_gradient(give), ann_passes=frames)


def _make_gru_part(config: DrivingConfig, model: Driver) -> FurtherNetwork:
    refinement = model.planner.refinement
    graph = take_bits(refinement.gru.graph(), "x")  # type: ignore[operator]
    ticks = count_ticks_of_a_frame(graph)
    graph = stretch(graph, ticks)

    def give(split: Split) -> Iterator[Stimulus]:
        for seen in _read(config, model, split):
            plan = model(seen).plan
            x = make_inputs(plan.taken, seen.ego)
            start = refinement.start(_look_ahead(model, seen))[0]
            first = torch.cat([start, start.new_zeros(len(x) - 1, *start.shape[1:])])
            inputs = {"x_bits": split_bits(x[..., None, None]), "start": first[..., None, None]}
            yield Stimulus(_spread(graph, inputs, ticks), ())

    return FurtherNetwork(
        module=Net(graph), stimuli=_without_gradient(give), ann_passes=config.future
    )


def _spread(graph: Graph, inputs: dict[str, Tensor], ticks: int) -> dict[str, Tensor]:
    """Return inputs of frames for a stretched graph, with its clock if it has one."""
    if CLOCK in graph.inputs:
        x = next(iter(inputs.values()))
        inputs = inputs | {CLOCK: x.new_ones(*x.shape[:2], 1, 1, 1)}
    return {name: spread_frames(x, ticks).cpu() for name, x in inputs.items()}


def _read(config: DrivingConfig, model: Driver, split: Split) -> Iterator[Observation]:
    """Yield the first windows of a split, on the device of the model."""
    device, done = next(model.parameters()).device, 0
    for batch in read_batches(config, split, 0):
        seen = tree_map_only(Tensor, itemgetter(slice(WINDOWS - done)), batch.seen)
        yield tree_map_only(Tensor, methodcaller("to", device), seen)
        done += len(seen.images)
        if done >= WINDOWS:
            return


def _without_gradient(give: Stimuli) -> Stimuli:
    """Return the same stimuli, computed without gradients."""

    def stimuli(split: Split) -> Iterator[Stimulus]:
        source = give(split)
        while True:
            with torch.no_grad():
                stimulus = next(source, None)
            if stimulus is None:
                return
            yield stimulus

    return stimuli

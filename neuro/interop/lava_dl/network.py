"""Layers of a ``.net`` file as a Graph of neurons in Loihi's integers, in one of two times.

"slayer" is the time in which SLAYER trains: all layers share a tick, and a delay belongs to
what a layer sends. "lava" is the time of netx on Lava, whose step t + 1 is tick t: a spike
takes a tick through each layer, a bias acts from the first tick on, before any spike arrives,
and a delay belongs to what a layer receives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from neuro.base.units import Seconds, Ticks
from neuro.graph import (
    Conv2d,
    Dense,
    Edge,
    Flatten,
    GradedInput,
    Graph,
    Input,
    Node,
    Unflatten,
)
from neuro.graph.sparse import make_delays
from neuro.interop.imported import ImportedNetwork, SourceRun
from neuro.interop.lava_dl.read import NetFile, NetFileError, NetLayer, read_net
from neuro.interop.lava_dl.report import describe_netx, map_keys
from neuro.neurons import LoihiLI, LoihiLIF

Time = Literal["slayer", "lava"]
RunSource = Callable[[Mapping[str, np.ndarray]], SourceRun]
INPUT = "input"  # name of the stimulus
IMAGE_BITS = 13  # of a pixel, which stands for a bias
DT = Seconds(1e-3)  # a file does not say how long a tick is


def read(
    source: str | Path, *, time: Time = "slayer", layers: int = 0, reset_interval: int = 0
) -> ImportedNetwork:
    """Return the network of a ``.net`` file of lava-dl, in the integers of Loihi.

    Args:
        source: the file.
        time: "slayer" as in training, or "lava" as netx runs it.
        layers: number of layers, counted from the input, that are imported; 0: all.
        reset_interval: ticks after which all states return to 0, as in netx; 0: never. With the
            time "lava" the k-th layer with neurons, from 0, does so before each tick t with
            t mod reset_interval = k mod reset_interval; with "slayer" k is 0 for all.

    Raises:
        NetFileError: lists every problem of the file, each with its place and cure.
        ValueError: an argument is none of those above.
        FileNotFoundError: the file does not exist.
        RuntimeError: h5py is not installed.
    """
    if time not in get_args(Time):
        raise ValueError(f"time is {time!r}; it must be slayer or lava. Use --set time=slayer")
    for name, value in (("layers", layers), ("reset_interval", reset_interval)):
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be >= 0. Leave --set {name} out")
    net = read_net(source, layers)
    return import_layers(net, time, reset_interval, name=str(source))


def import_layers(
    net: NetFile,
    time: Time,
    reset_interval: int = 0,
    *,
    name: str = "the network",
    library: str = "lava-dl, a .net file",
    run_source: RunSource = lambda _: SourceRun({}, {}, {}),
) -> ImportedNetwork:
    """Return the network of layers; see :func:`read`, and ``ImportedNetwork`` for the rest.

    name: of the layers' source in messages.
    """
    problems = list_problems(net, time)
    if problems:
        raise NetFileError(problems, Path(name))
    head = net.layers[0]
    low, high = head.image_range if head.neuron is not None else (0, 0)
    return ImportedNetwork(
        graph=make_graph(net, time, reset_interval),
        library=library,
        mapping=map_keys(net),
        choices={
            "time": {
                "slayer": "slayer: all layers share a tick, as in training",
                "lava": "lava: a spike takes a tick through each layer, as netx runs it",
            }[time],
            "reset_interval": f"{reset_interval} ticks" if reset_interval else "no reset",
            **describe_netx(net, time),
        },
        run_source=run_source,
        images=(low, high) if head.neuron is not None else None,
    )


def list_problems(net: NetFile, time: Time) -> list[str]:
    """Return what has no form in a time, each with its cure."""
    *inner, last = [layer for layer in net.layers if layer.neuron is not None]
    problems = [
        f"layer/{layer.index}: neuron/vThMant: its neurons never fire, so that nothing reaches "
        f"the layers behind; --set layers={layer.index + 1} ends the network with them"
        for layer in inner
        if layer.is_silent
    ]
    if time == "slayer" and last.delay is not None and last.delay.any():
        problems.append(
            f"layer/{last.index}: delay: in SLAYER's time the delays of the last layer shift "
            "only what leaves the network; use --set time=lava, or train it without delays"
        )
    return problems


def make_graph(net: NetFile, time: Time, reset_interval: int = 0) -> Graph:
    """Return the Graph of a file; for its arguments see :func:`read`."""
    head, *others = net.layers
    if sum(n > 1 for n in head.shape) < 2 and others[0].type != "conv":
        head = replace(head, shape=(head.size,))
    image = head.neuron is not None
    builder = _GraphBuilder(
        time=time, reset_interval=Ticks(reset_interval), shapes={INPUT: head.shape}
    )
    builder.nodes[INPUT] = (
        GradedInput(shape=head.shape, message_bits=IMAGE_BITS)
        if image
        else Input(shape=head.shape)
    )
    if image:
        builder.add_population(head)
        builder.edges.append(Edge(INPUT, head.name))
    before = (head.name if image else INPUT), None
    for layer in (layer for layer in others if layer.neuron is not None):
        builder.add_population(layer)
        builder.connect(layer, *before)
        before = layer.name, layer.delay
    return Graph(nodes=builder.nodes, edges=tuple(builder.edges), dt=DT)


@dataclass(kw_only=True, eq=False)
class _GraphBuilder:
    """Builder of a Graph, layer by layer. shapes: of the input and the populations."""

    time: Time
    reset_interval: Ticks
    shapes: dict[str, tuple[int, ...]]
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def add_population(self, layer: NetLayer) -> None:
        """Add the neurons of a layer."""
        if layer.neuron is None:
            raise TypeError(f"{layer.name} has no neurons; it is no population")
        registers = vars(layer.neuron).items()
        values: dict[str, Any] = {k: _lay_out(v, layer.shape) for k, v in registers}
        if layer.bias is not None:
            values["bias"] = _lay_out(layer.bias, layer.shape)
        if layer.type == "input" and self.time == "lava":
            values["du"] = 4095.0  # the image is a bias, which no current delays
        resets = {"reset_interval": self.reset_interval}
        if self.time == "lava" and self.reset_interval:
            resets["reset_offset"] = Ticks((len(self.shapes) - 1) % self.reset_interval)
        if layer.is_silent:
            del values["vth"]
        make = LoihiLI if layer.is_silent else LoihiLIF
        self.nodes[layer.name] = make(**values, **resets)
        self.shapes[layer.name] = layer.shape

    def connect(self, layer: NetLayer, source: str, waits: np.ndarray | None) -> None:
        """Connect the population of a layer with the one before it, and with itself.

        waits: delays of what the source sends.
        """
        lava = self.time == "lava"
        behind = layer.delay if lava else None
        own = [(source, layer.weight, None if lava else waits, Ticks(int(lava)), "synapses")]
        if layer.weight_rec.size and not layer.is_silent:
            own.append((layer.name, layer.weight_rec, None, Ticks(1), "loop"))
        for start, weight, before, delay, what in own:
            chain = [start, *self.wait(f"{layer.name}:{what} wait", start, before)]
            chain += self.add_synapses(layer, start, weight, what)
            chain += self.wait(f"{layer.name}:{what} delay", layer.name, behind)
            steps = [*pairwise([*chain, layer.name])]
            self.edges += [Edge(a, b, delay if a == start else Ticks(0)) for a, b in steps]

    def add_synapses(
        self, layer: NetLayer, source: str, weight: np.ndarray, what: str
    ) -> list[str]:
        """Add the synapses of a layer, behind a Flatten if neurons have several axes."""
        name, values = f"{layer.name}:{what}", weight.astype(np.float32)
        if layer.type == "conv":
            keys = ("stride", "padding", "dilation", "groups")
            self.nodes[name] = Conv2d(weight=values, **{k: getattr(layer, k) for k in keys})
            return [name]
        self.nodes[name] = Dense(weight=values)
        if len(self.shapes[source]) == 1:
            return [name]
        self.nodes[f"{name} flatten"] = Flatten()
        return [f"{name} flatten", name]

    def wait(self, name: str, neurons: str, waits: np.ndarray | None) -> list[str]:
        """Add nodes that delay the values of some neurons by their own ticks, if any."""
        if waits is None or not waits.any():
            return []
        shape = self.shapes[neurons]
        chain: dict[str, Node] = {name: make_delays(waits)}
        if len(shape) > 1:
            chain = {
                f"{name} flatten": Flatten(),
                **chain,
                f"{name} unflatten": Unflatten(shape=shape),
            }
        self.nodes |= chain
        return [*chain]


def _lay_out(values: np.ndarray, shape: tuple[int, ...]) -> float | np.ndarray:
    """Return values of all neurons in their shape, or one number if they are equal."""
    if (values == values[0]).all():
        return float(values[0])
    return values.reshape(shape).astype(np.float64)

"""Layers of a ``.net`` file as a Graph of neurons in Loihi's integers, in one of two times.

"slayer" is the time of SLAYER's own forward pass. With ``delay_shift``, the default of its
blocks, a spike takes a tick from layer to layer, the first layer sees its input at once, and a
bias acts from tick 0 in all layers; without it, all layers share a tick. A delay belongs to
what a layer sends. "lava" is the time of netx on Lava, whose step t + 1 is tick t: a spike
takes a tick through each layer, the first one too, and a delay belongs to what a layer
receives.

Values of sigma-delta networks count weight units, 64 of which are 1 in training. SLAYER's
sigma-delta blocks have no ``delay_shift`` by default, and never one behind the input.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from neuro.base.units import Seconds, Ticks
from neuro.graph import (
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
from neuro.neurons import LI, Delta, LoihiLI, LoihiLIF, SigmaDelta
from neuro.neurons.neuron import Neuron

Time = Literal["slayer", "lava"]
RunSource = Callable[[Mapping[str, np.ndarray]], SourceRun]
INPUT = "input"  # name of the stimulus
IMAGE_BITS = 13  # of a pixel, which stands for a bias
CODED_BITS = 12  # of a pixel whose changes a Delta sends: states have 12 bits more
MESSAGE_BITS = 24
UNIT = 64  # weight units that are 1 in training; messages are as many per weight unit
SPIKE_EXP = 6
DT = Seconds(1e-3)  # a file does not say how long a tick is


def read(
    source: str | Path,
    *,
    time: Time = "slayer",
    delay_shift: bool | None = None,
    layers: int = 0,
    reset_interval: int = 0,
) -> ImportedNetwork:
    """Return the network of a ``.net`` file of lava-dl, in the integers of Loihi.

    Args:
        source: the file.
        time: "slayer" as in training, or "lava" as netx runs it.
        delay_shift: of the blocks in training; only of the time "slayer". None: their default,
            True, or False of sigma-delta networks.
        layers: number of layers, counted from the input, that are imported; 0: all.
        reset_interval: ticks after which all states return to 0, as in netx; 0: never. The k-th
            layer with neurons, from 0, does so before each tick t with t mod reset_interval =
            k mod reset_interval; k is 0 for all where they share a tick.

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
    return import_layers(net, time, delay_shift, reset_interval, name=str(source))


def import_layers(  # noqa: PLR0913 - what read takes, and what a source of layers adds
    net: NetFile,
    time: Time,
    delay_shift: bool | None = None,
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
    weight, bias = net.layers[0].transform
    coded = net.layers[0].neuron is not None
    if _sends_changes(net) and reset_interval:
        raise ValueError(
            f"reset_interval is {reset_interval}; sigma-delta neurons have no reset. Leave "
            "--set reset_interval out"
        )
    shift = _shifts(net, delay_shift)
    return ImportedNetwork(
        graph=make_graph(net, time, reset_interval, shift),
        library=library,
        mapping=map_keys(net),
        choices={
            "time": _describe_time(time, shift),
            "reset_interval": f"{reset_interval} ticks" if reset_interval else "no reset",
            **describe_netx(
                net,
                early=time == "slayer" and (_sends_changes(net) or not (shift and coded)),
            ),
        },
        run_source=run_source,
        images=(bias - abs(weight), bias + abs(weight)) if coded else None,
    )


def _sends_changes(net: NetFile) -> bool:
    """Return whether a network has sigma-delta neurons."""
    return any(layer.codes for layer in net.layers)


def _shifts(net: NetFile, delay_shift: bool | None) -> bool:
    return not _sends_changes(net) if delay_shift is None else delay_shift


def _describe_time(time: Time, delay_shift: bool) -> str:
    if time == "lava":
        return "lava, as netx runs it"
    return f"slayer, as in training with delay_shift={delay_shift}"


def list_problems(net: NetFile, time: Time) -> list[str]:
    """Return what has no form in a time, each with its cure."""
    *inner, last = layers = [layer for layer in net.layers if layer.neuron is not None]
    problems = [
        f"layer/{layer.index}: neuron/type: CUBA neurons, as those of layers without, beside "
        "SDNN; train all layers with one type, and end with sigma_delta.Output"
        for layer in layers
        if _sends_changes(net) and not layer.codes
    ]
    problems += [
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


def make_graph(
    net: NetFile, time: Time, reset_interval: int = 0, delay_shift: bool | None = None
) -> Graph:
    """Return the Graph of a file; for its arguments see :func:`read`."""
    head, *others = net.layers
    if sum(n > 1 for n in head.shape) < 2 and others[0].type != "conv":
        head = replace(head, shape=(head.size,))
    source: Node = Input(shape=head.shape)
    if head.neuron is not None:
        bits = CODED_BITS if head.codes else IMAGE_BITS
        source = GradedInput(shape=head.shape, message_bits=bits)
    elif _sends_changes(net):
        source = GradedInput(shape=head.shape, message_bits=MESSAGE_BITS)
    lava = time == "lava"
    builder = _GraphBuilder(
        lava=lava,
        shift=lava or _shifts(net, delay_shift),
        interval=reset_interval,
        nodes={INPUT: source},
    )
    before = replace(head, neuron=None)
    if head.neuron is not None:
        builder.add_population(head)
        builder.edges.append(Edge(INPUT, head.name))
        before = head
    for layer in (layer for layer in others if layer.neuron is not None):
        builder.add_population(layer)
        builder.connect(layer, before)
        before = layer
    return Graph(nodes=builder.nodes, edges=tuple(builder.edges), dt=DT)


@dataclass(kw_only=True, eq=False)
class _GraphBuilder:
    """Builder of a Graph, layer by layer.

    lava: whether delays and the first layer are those of netx.
    shift: whether a spike takes a tick from layer to layer.
    populations: number of those that it has.
    """

    lava: bool
    shift: bool
    interval: int
    nodes: dict[str, Node]
    edges: list[Edge] = field(default_factory=list)
    populations: int = 0

    def add_population(self, layer: NetLayer) -> None:
        """Add the neurons of a layer."""
        if layer.codes:
            self.nodes[layer.name] = _make_coder(layer, self.lava)
            return
        registers = {**(layer.neuron or {})}
        if layer.bias is not None:
            registers["bias"] = layer.bias
        if layer.type == "input" and self.lava:
            registers["du"] = np.array([4095])  # the image is a bias, which no current delays
        if layer.is_silent:
            del registers["vth"]
        values: dict[str, Any] = {k: _lay_out(v, layer.shape) for k, v in registers.items()}
        if self.interval:
            offset = self.populations % self.interval if self.shift else 0
            resets = {"reset_interval": self.interval, "reset_offset": offset}
            values |= {name: Ticks(ticks) for name, ticks in resets.items()}
        self.nodes[layer.name] = (LoihiLI if layer.is_silent else LoihiLIF)(**values)
        self.populations += 1

    def connect(self, layer: NetLayer, before: NetLayer) -> None:
        """Connect the population of a layer with the one before it, and with itself."""
        start = INPUT if before.neuron is None else before.name
        first = start == INPUT or (before.codes and before.type == "input")
        tick = Ticks(int(self.lava or (self.shift and not first)))
        late = None if self.lava else before.delay
        self.add_chain(layer, "synapses", Edge(start, layer.name, tick), before, late)
        if layer.loop is not None and not layer.is_silent:
            self.add_chain(layer, "loop", Edge(layer.name, layer.name, Ticks(1)), layer, None)

    def add_chain(
        self, layer: NetLayer, what: str, edge: Edge, before: NetLayer, late: np.ndarray | None
    ) -> None:
        """Put the synapses of a layer on an edge, between the delays of both its ends.

        late: delays of the values that come from the layer before.
        """
        name, node = f"{layer.name}:{what}", layer.loop if what == "loop" else layer.synapses
        if node is None:
            raise TypeError(f"{layer.name} has no synapses; it cannot be connected")
        if layer.codes:  # without neurons the input has whole numbers as its messages
            unit = UNIT if before.codes else UNIT * 2**SPIKE_EXP
            node = replace(node, weight=node.weight / unit)
        chain = _delay(f"{name} wait", late, before.shape)
        if isinstance(node, Dense) and len(before.shape) > 1:
            chain[f"{name} flatten"] = Flatten()
        chain[name] = node
        chain |= _delay(f"{name} delay", layer.delay if self.lava else None, layer.shape)
        self.nodes |= chain
        for k, pair in enumerate(pairwise([edge.source, *chain, edge.target])):
            self.edges.append(Edge(*pair, Ticks(0) if k else edge.delay))


def _make_coder(layer: NetLayer, lava: bool) -> Neuron:
    """Return sigma-delta neurons in weight units, or the read-out that sums changes.

    lava: whether a threshold of 0 is one of Lava, which sends every change. SLAYER raises it to
    the unit of its messages.
    """
    if not layer.neuron:
        return LI(tau=math.inf)
    vth = float(layer.neuron["vth"][0]) or (0.0 if lava else 2.0**-SPIKE_EXP)
    if layer.type == "input":
        return Delta(threshold=vth, spike_exp=SPIKE_EXP)
    bias = 0.0 if layer.bias is None else _lay_out(layer.bias, layer.shape)
    return SigmaDelta(threshold=vth, bias=bias, spike_exp=SPIKE_EXP)


def _delay(name: str, waits: np.ndarray | None, shape: tuple[int, ...]) -> dict[str, Node]:
    """Return nodes that delay each value of a shape by its own ticks; none without a delay."""
    if waits is None or not waits.any():
        return {}
    node = make_delays(np.broadcast_to(waits, math.prod(shape)))
    if len(shape) == 1:
        return {name: node}
    back = Unflatten(shape=shape)
    return {f"{name} flatten": Flatten(), name: node, f"{name} unflatten": back}


def _lay_out(values: np.ndarray, shape: tuple[int, ...]) -> float | np.ndarray:
    """Return values of all neurons in their shape, or one number if they are equal."""
    if (values == values[0]).all():
        return float(values[0])
    return values.reshape(shape).astype(np.float64)

"""Paths of spikes between populations; each chain of linear nodes becomes one float map.

A chip has one layer of synapses between two populations, so pool -> conv becomes one strided
convolution, and pool -> flatten -> dense one matrix, before anything is rounded. A map that is
neither, and too large for a matrix, is listed synapse by synapse. A sequence (C, L) is treated
as an image (C, 1, L).
Axes: K cases, C channels, H height, W width, L length.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from neuro.graph.connections import (
    Connection,
    Dense,
    Flatten,
    Reshaping,
    Slot,
    Sparse,
    Unflatten,
    apply_connection,
    find_output_shape,
    get_bias,
)
from neuro.graph.convolutions import AvgPool2d, Conv1d, Conv2d, count_windows
from neuro.graph.graph import Graph
from neuro.graph.impulse import list_synapses, to_matrix
from neuro.graph.nodes import Edge
from neuro.graph.requirements import problems_of_neurons, problems_on_a_chip
from neuro.graph.sparse import unroll_delays
from neuro.graph.validate import Hosted
from neuro.neurons import has_normal_form, is_stepped

LIMIT = 2**24  # more 8-bit weights than fit on a whole Loihi 1 (128 cores of 128 KiB)

EdgePath = tuple[Edge, ...]
RouteKind = Literal["dense", "conv", "identity", "sparse"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One connection in float64; the target's gain is folded into the weight.

    via: the linear nodes on the way.
    delay: sum of the delays of all its edges [ticks].
    weight: dense (out, in), conv as in a Conv2d, identity (N,), sparse (E,).
    shape: shape of the source (C, H, W), a sequence as (C, 1, L); only conv has it, and stride,
        padding, dilation and groups.
    places: (2, E), target and source of each weight; sparse only.
    sizes: (out, in); sparse only.
    """

    source: str
    target: str
    via: tuple[str, ...]
    delay: int
    kind: RouteKind
    weight: np.ndarray
    shape: tuple[int, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    places: np.ndarray = field(default_factory=lambda: np.empty((2, 0), np.int32))
    sizes: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """The name of the route in messages and tables."""
        return "+".join(self.via) if self.via else f"{self.source}->{self.target}"

    @cached_property
    def conv(self) -> Conv2d:
        """The connection as a node; conv only."""
        return Conv2d(
            weight=self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the target's neurons; () unless the route is a conv."""
        return find_output_shape(self.conv, self.shape) if self.kind == "conv" else ()

    @cached_property
    def most_synapses(self) -> int:
        """Largest number of synapses into one target neuron; sparse only."""
        return count_most_synapses(self.places)


def count_most_synapses(places: Int[np.ndarray, "2 E"]) -> int:
    """Return the largest number of synapses into one neuron. places: targets and sources."""
    return int(np.bincount(places[0]).max(initial=0))


def _cure_current(graph: Graph, edge: Edge) -> str:
    """Explain, with the cure, why no chip has this current as a node."""
    if graph.nodes[edge.target].fires:  # type: ignore[union-attr]
        tau = graph.nodes[edge.source].tau  # type: ignore[union-attr]
        why = "which a chip keeps in the neuron itself"
        return f"{why}; leave it out and give {edge.target} tau_syn={tau}"
    return (
        "a read-out of two stages, which is not written for chips; end the network in one LI "
        "(in Norse an LIBoxCell), or cut it at the spikes before"
    )


def find_routes(graph: Graph, problems: list[str]) -> list[Route]:
    """Return every route between two populations; add the impossible ones to ``problems``."""
    graph = unroll_delays(graph).graph
    unknown = problems_of_neurons(graph, "a chip")
    problems += problems_on_a_chip(graph) + unknown
    if unknown:
        return []
    problems += [
        f"{source}: is a current into {e.target}, {_cure_current(graph, e)}"
        for source in graph.currents
        for e in graph.out_of(source)
        if not isinstance(graph.nodes[e.target], Hosted)
    ]
    found = []
    for source in (*graph.sources, *graph.firing):
        for path in find_paths(graph, source):
            if isinstance(graph.nodes[path[-1].target], Hosted):
                continue
            route = _compose(graph, path)
            if isinstance(route, str):
                problems.append(route)
            else:
                found.append(route)
    return found


def find_gain(graph: Graph, name: str) -> Float[np.ndarray, " N"]:
    """Return the input gain of each neuron of a population; it is 1 for a SteppedNeuron."""
    population = graph.nodes[name]
    if is_stepped(population):
        return np.ones(graph.size(name))
    if not has_normal_form(population):
        raise TypeError(f"{name} is no population with a gain")
    return np.broadcast_to(population.coefficients(graph.dt).gain, graph.shapes[name]).ravel()


def find_bias(
    graph: Graph, name: str, problems: list[str]
) -> tuple[Float[np.ndarray, " N"], int]:
    """Return the bias that linear nodes add to a population, gain included, and its first tick.

    An edge with a delay holds back its source's bias: nothing is added before that tick.
    """
    parts: dict[int, Tensor] = {}
    for edge in graph.into(name):
        _add(parts, find_silent_output(graph, edge.source), edge.delay)
    parts = {delay: b for delay, b in parts.items() if b.any()}
    if len(parts) > 1:
        problems.append(
            f"{name}: biases arrive after {sorted(parts)} ticks, a neuron has one bias; "
            "put the delays on the edges into the biased nodes"
        )
    delay, total = next(iter(parts.items()), (0, torch.zeros(())))
    flat = np.broadcast_to(total.numpy(), graph.shapes[name]).ravel()
    return np.asarray(find_gain(graph, name) * flat), delay


def find_silent_output(graph: Graph, name: str) -> dict[int, Tensor]:
    """Return a linear node's output without spikes, by the tick at which that output begins."""
    node = graph.nodes[name]
    if not isinstance(node, Connection):
        return {}
    parts: dict[int, Tensor] = {}
    for edge in graph.into(name):
        own = graph.along(edge)
        given = find_silent_output(graph, edge.source)
        if isinstance(own, Slot):
            given = {delay: own.apply(b[None])[0] for delay, b in given.items()}
        _add(parts, given, edge.delay)
    out = {delay: apply_connection(node, b[None])[0] for delay, b in parts.items()}
    b = get_bias(node, torch.float64)
    if b is not None:
        b = b.reshape(-1, *[1] * (len(graph.shapes[name]) - 1)).expand(graph.shapes[name])
        _add(out, {0: b}, 0)
    return out


def _add(parts: dict[int, Tensor], more: dict[int, Tensor], delay: int) -> None:
    for since, b in more.items():
        known = parts.get(since + delay)
        parts[since + delay] = b if known is None else known + b


def list_links(graph: Graph, path: EdgePath) -> list[Connection | Slot]:
    """Return the linear nodes along a path; a Concat is represented by the path's slot."""
    acting = (graph.along(e) for e in path)
    return [node for node in acting if isinstance(node, Connection | Slot)]


def find_paths(graph: Graph, name: str, *, backwards: bool = False) -> Iterator[EdgePath]:
    """Yield every path from a node through connections to another node, shortest first.

    backwards: yield every path that leads to the node instead.
    """
    edges = graph.into if backwards else graph.out_of
    waiting: deque[EdgePath] = deque((e,) for e in edges(name))
    while waiting:
        path = waiting.popleft()
        end = path[0].source if backwards else path[-1].target
        if not isinstance(graph.nodes[end], Connection):
            yield path
        elif backwards:
            waiting += [(e, *path) for e in edges(end)]
        else:
            waiting += [(*path, e) for e in edges(end)]


def _compose(graph: Graph, path: EdgePath) -> Route | str:
    """Return the chain as one map, or explain why it cannot be one."""
    source, target = path[0].source, path[-1].target
    via = tuple(e.target for e in path[:-1])
    chain = list_links(graph, path)
    linear = [node for node in chain if not isinstance(node, Reshaping)]
    shape = graph.shapes[source]
    if linear and isinstance(chain[0], Unflatten):
        shape, chain = graph.shapes[via[0]], chain[1:]
    factor = find_gain(graph, target)
    route = partial(
        Route, source=source, target=target, via=via, delay=sum(e.delay for e in path)
    )
    if not linear:
        return route(kind="identity", weight=factor.copy())
    if isinstance(linear[0], Dense) and len(linear) == 1:  # of any size: nothing to compose
        return route(kind="dense", weight=factor[:, None] * linear[0].weight)
    kernel = fuse_chain(chain, shape)
    if kernel is not None:
        per_channel = factor.reshape(kernel.weight.shape[0], -1)
        if np.all(per_channel == per_channel[:, :1]):
            folded = kernel.weight * per_channel[:, 0].reshape(-1, 1, 1, 1)
            steps = {k: getattr(kernel, k) for k in ("stride", "padding", "dilation", "groups")}
            return route(kind="conv", weight=folded, shape=as_image(shape), **steps)
    sizes = (graph.size(target), graph.size(source))
    if math.prod(sizes) <= LIMIT:
        return route(kind="dense", weight=factor[:, None] * to_matrix(chain, shape))
    sources, targets, weight = list_synapses(chain, shape, limit=LIMIT)
    if weight.size <= LIMIT:
        places = np.stack([targets, sources])
        gained = factor[places[0]] * weight
        return route(kind="sparse", weight=gained, places=places, sizes=sizes)
    cure = (
        "use smaller populations, or run it on the event engine"
        if any(isinstance(node, Sparse) for node in linear)
        else "put a population between, make kernel, stride and size fit, or use one leak "
        "for each channel"
    )
    return (
        f"{' -> '.join([source, *via, target])}: is no single convolution, and has "
        f"{weight.size} synapses or more, more than a whole chip holds; {cure}"
    )


def fuse_chain(chain: Sequence[Connection | Slot], shape: tuple[int, ...]) -> Conv2d | None:
    """Return the chain as one float64 convolution of images, or None if it is not one.

    Biases are ignored. shape: shape of the input, (C, H, W) or (C, L).
    """
    whole: Conv2d | None = None
    for node in chain:
        if isinstance(node, Flatten):
            continue
        this = _as_convolution(node, shape[0] if whole is None else len(whole.weight))
        if this is None:
            return None
        if whole is not None and not _edges_agree(whole, this, as_image(shape)[1:]):
            return None
        whole = this if whole is None else _after(whole, this)
    only_pools = not any(isinstance(node, Conv1d | Conv2d) for node in chain)
    return whole.plain() if whole is not None and only_pools else whole


def as_image(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the image shape (C, H, W) for (C, H, W) or (C, L)."""
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _as_convolution(node: Connection | Slot, channels: int) -> Conv2d | None:
    """Return a node that takes ``channels`` channels as a Conv2d, or None if it is not one."""
    if isinstance(node, Conv2d):
        return replace(node, weight=node.weight.astype(np.float64), bias=None)
    if isinstance(node, Conv1d):
        return Conv2d(
            weight=node.weight.astype(np.float64)[:, :, None],
            stride=(1, node.stride),
            padding=(0, node.padding),
            dilation=(1, node.dilation),
            groups=node.groups,
        )
    one = np.eye(channels)[:, :, None, None]
    if isinstance(node, Slot) and len(node.shape) > 1:
        behind = node.shape[0] - node.first - channels
        return Conv2d(weight=np.pad(one, ((node.first, behind), *[(0, 0)] * 3)))
    if isinstance(node, AvgPool2d):
        mean = np.full((channels, 1, *node.kernel), 1 / node.divisor)
        return Conv2d(weight=mean, stride=node.stride, groups=channels)
    return None


def _after(first: Conv2d, second: Conv2d) -> Conv2d:
    """Return second(first(x)) as one kernel: size k1 + s1 (k2 - 1), stride s1 s2.

    The groups of ``second`` are kept if ``first`` treats each channel separately, as a pool
    does.
    """
    s, p = first.stride, first.padding
    if len(first.weight) == first.groups == first.input_length:
        weight, groups = _after_each_channel(first, second), second.groups
    else:
        one, two = torch.tensor(first.plain().weight), torch.tensor(second.plain().weight)
        weight, groups = F.conv_transpose2d(two, one, stride=s).numpy(), 1
    return Conv2d(
        weight=weight,
        stride=(s[0] * second.stride[0], s[1] * second.stride[1]),
        padding=(p[0] + s[0] * second.padding[0], p[1] + s[1] * second.padding[1]),
        groups=groups,
    )


def _after_each_channel(first: Conv2d, second: Conv2d) -> np.ndarray:
    """Return the kernel of second(first(x)), in the groups of ``second``.

    ``first`` has one kernel per channel.
    """
    one, two = (replace(conv, groups=1).plain().weight for conv in (first, second))
    outputs, inputs = two.shape[:2]
    group = np.arange(outputs)[:, None] // (outputs // second.groups)
    channel = (group * inputs + np.arange(inputs)).ravel()
    kernels = F.conv_transpose2d(
        torch.tensor(two).flatten(0, 1)[None],
        torch.tensor(one[channel]),
        stride=first.stride,
        groups=len(channel),
    )
    out: np.ndarray = kernels[0].numpy()
    return out.reshape(outputs, inputs, *out.shape[1:])


def _edges_agree(first: Conv2d, second: Conv2d, size: tuple[int, ...]) -> bool:
    """Say whether the values that ``second`` pads with zeros are 0 in the combined kernel too.

    In the padding, the combined kernel sees windows of ``first`` beyond its output. These must
    lie outside the image: on the far side, the first of them must start at the image's end n or
    later. Then those on the near side are outside too: the last of them ends at k1 - s1 - p1,
    which is <= 0, because the first one on the far side starts at n + p1 + s1 - k1 at most.
    """
    for axis in (0, 1):
        n, s, p = size[axis], first.stride[axis], first.padding[axis]
        beyond = count_windows(n, first.window[axis], s, p) * s - p
        if second.padding[axis] and beyond < n:
            return False
    return True

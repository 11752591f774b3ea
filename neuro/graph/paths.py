"""The ways of a spike through a Graph: each chain of linear nodes becomes one float map.

Between two populations a chip has one layer of synapses, so pool -> conv becomes one strided
convolution and pool -> flatten -> dense one matrix, before anything is rounded. A map that is
neither, and too large for a matrix, is listed synapse by synapse.
Axes: K cases, C channels, H height, W width.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import dropwhile
from typing import Literal

import numpy as np
import torch
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
    bias_of,
)
from neuro.graph.convolutions import Conv2d, behind
from neuro.graph.fuse_conv import one_kernel
from neuro.graph.graph import Graph
from neuro.graph.nodes import Edge
from neuro.graph.requirements import problems_on_a_chip
from neuro.graph.sparse import unrolled
from neuro.graph.validate import Hosted
from neuro.neurons import ALIF, LI, LIF

LIMIT = 2**24  # more 8-bit weights than a whole Loihi 1 holds: 128 cores of 128 KiB
IMPULSES = 256  # pushed through a chain at a time
MADE = 2**22  # values that they become, at most

Wiring = Literal["dense", "conv", "identity", "sparse"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One connection in float64, the gain of the target folded in.

    via: the linear nodes on the way. delay: of all its edges together [ticks].
    weight: dense (out, in), conv as of a Conv2d, identity (N,), sparse (E,).
    shape: of the source (C, H, W), conv only, as are stride, padding, dilation and groups.
    places: (2, E), target and source of each weight, and sizes: (out, in), sparse only.
    """

    source: str
    target: str
    via: tuple[str, ...]
    delay: int
    kind: Wiring
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
        """What messages and tables call it."""
        return "+".join(self.via) if self.via else f"{self.source}->{self.target}"

    @cached_property
    def conv(self) -> Conv2d:
        """The connection as a node, conv only."""
        return Conv2d(
            weight=self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    @property
    def out_shape(self) -> tuple[int, ...]:
        """How the target's neurons lie, (C, H, W), conv only."""
        return behind(self.conv, self.shape)

    @cached_property
    def most_synapses(self) -> int:
        """Those of the target's neuron that has most, sparse only."""
        return most_synapses(self.places)


def most_synapses(places: Int[np.ndarray, "2 E"]) -> int:
    """Return the synapses of the neuron that has most. places: targets and sources."""
    return int(np.bincount(places[0]).max(initial=0))


def routes(graph: Graph, problems: list[str]) -> list[Route]:
    """Return every route between two populations; what cannot go is added to ``problems``."""
    graph = unrolled(graph).graph
    problems += problems_on_a_chip(graph)
    problems += [
        f"{source}: is a current into {e.target}, which a chip keeps in the neuron itself; "
        f"leave it out and give {e.target} tau_syn={graph.nodes[source].tau}"  # type: ignore[union-attr]
        for source in graph.currents
        for e in graph.out_of(source)
        if not isinstance(graph.nodes[e.target], Hosted)
    ]
    found = []
    for source in (*graph.inputs, *graph.firing):
        for way in _ways(graph, source):
            route = _compose(graph, way)
            if isinstance(route, str):
                problems.append(route)
            else:
                found.append(route)
    return found


def gain(graph: Graph, name: str) -> Float[np.ndarray, " N"]:
    """Return the gain of a population's input, for each neuron."""
    population = graph.nodes[name]
    if not isinstance(population, LIF | ALIF | LI):
        raise TypeError(f"{name} is no population with a gain")
    return np.broadcast_to(population.coefficients(graph.dt).gain, graph.shapes[name]).ravel()


def bias(graph: Graph, name: str, problems: list[str]) -> tuple[Float[np.ndarray, " N"], int]:
    """Return what linear nodes add to a population, gain included, and from when.

    An edge with a delay holds the bias of its source back: until that tick nothing is added.
    """
    parts: dict[int, Tensor] = {}
    for edge in graph.into(name):
        _add(parts, silent(graph, edge.source), edge.delay)
    parts = {delay: b for delay, b in parts.items() if b.any()}
    if len(parts) > 1:
        problems.append(
            f"{name}: biases arrive after {sorted(parts)} ticks, a neuron has one bias; "
            "put the delays on the edges into the biased nodes"
        )
    delay, total = next(iter(parts.items()), (0, torch.zeros(())))
    flat = np.broadcast_to(total.numpy(), graph.shapes[name]).ravel()
    return np.asarray(gain(graph, name) * flat), delay


def silent(graph: Graph, name: str) -> dict[int, Tensor]:
    """Return what a node emits without any spike, by the tick at which it sets in."""
    node = graph.nodes[name]
    if not isinstance(node, Connection):
        return {}
    parts: dict[int, Tensor] = {}
    for edge in graph.into(name):
        own = graph.along(edge)
        given = silent(graph, edge.source)
        if isinstance(own, Slot):
            given = {delay: own.apply(b[None])[0] for delay, b in given.items()}
        _add(parts, given, edge.delay)
    out = {delay: apply_connection(node, b[None])[0] for delay, b in parts.items()}
    b = bias_of(node, torch.float64)
    if b is not None:
        b = b.reshape(-1, *[1] * (len(graph.shapes[name]) - 1)).expand(graph.shapes[name])
        _add(out, {0: b}, 0)
    return out


def _add(parts: dict[int, Tensor], more: dict[int, Tensor], delay: int) -> None:
    for since, b in more.items():
        known = parts.get(since + delay)
        parts[since + delay] = b if known is None else known + b


def links(graph: Graph, way: Iterable[Edge]) -> list[Connection | Slot]:
    """Return the linear nodes that the values of a way pass; for a Concat, their slot."""
    acting = (graph.along(e) for e in way)
    return [node for node in acting if isinstance(node, Connection | Slot)]


def _ways(graph: Graph, source: str) -> list[list[Edge]]:
    """Return every path of edges from a population to the next ones, linear nodes between."""
    done, open_ways = [], [[e] for e in graph.out_of(source)]
    while open_ways:
        way = open_ways.pop(0)
        end = way[-1].target
        if isinstance(graph.nodes[end], LIF | ALIF | LI):
            done.append(way)
        elif isinstance(graph.nodes[end], Connection):
            open_ways += [[*way, e] for e in graph.out_of(end)]
    return done


def _compose(graph: Graph, way: list[Edge]) -> Route | str:
    """Return the chain as one map, or what is wrong with it."""
    source, target = way[0].source, way[-1].target
    via = tuple(e.target for e in way[:-1])
    chain = links(graph, way)
    linear = [node for node in chain if not isinstance(node, Reshaping)]
    shape = graph.shapes[source]
    if linear and isinstance(chain[0], Unflatten):
        shape, chain = graph.shapes[via[0]], chain[1:]
    factor = gain(graph, target)

    def route(kind: Wiring, weight: np.ndarray, kernel: Conv2d | None = None) -> Route:
        return Route(
            source=source,
            target=target,
            via=via,
            delay=sum(e.delay for e in way),
            kind=kind,
            weight=weight,
            shape=shape if kernel else (),
            stride=kernel.stride if kernel else (1, 1),
            padding=kernel.padding if kernel else (0, 0),
            dilation=kernel.dilation if kernel else (1, 1),
            groups=kernel.groups if kernel else 1,
        )

    if not linear:
        return route("identity", factor.copy())
    if isinstance(linear[0], Dense) and len(linear) == 1:  # however large: nothing to compose
        return route("dense", factor[:, None] * linear[0].weight)
    kernel = one_kernel(chain, shape)
    if kernel is not None:
        per_channel = factor.reshape(kernel.weight.shape[0], -1)
        if np.all(per_channel == per_channel[:, :1]):
            folded = kernel.weight * per_channel[:, 0].reshape(-1, 1, 1, 1)
            return route("conv", folded, kernel)
    sizes = (graph.size(target), graph.size(source))
    if math.prod(sizes) <= LIMIT:
        return route("dense", factor[:, None] * _matrix(chain, shape, sizes[0]))
    places, weight = _synapses(chain, shape, sizes[0])
    if weight.size <= LIMIT:
        return replace(route("sparse", factor[places[0]] * weight), places=places, sizes=sizes)
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


def _synapses(
    chain: Sequence[Connection | Slot], shape: tuple[int, ...], made: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (targets and sources, 2 E; weights that are not 0, E); stops above the limit."""
    places, weights, known = [], [], 0
    for first, y in _pushed(chain, shape, made):
        source, target = np.nonzero(y)
        places.append(np.stack([target, source + first]).astype(np.int32))
        weights.append(y[source, target])
        known += source.size
        if known > LIMIT:
            break
    return np.concatenate(places, 1), np.concatenate(weights)


def _matrix(
    chain: Sequence[Connection | Slot], shape: tuple[int, ...], made: int
) -> np.ndarray:
    """Return the chain as a matrix (``made``, in)."""
    return np.asarray(np.concatenate([y for _, y in _pushed(chain, shape, made)]).T)


def _pushed(
    chain: Sequence[Connection | Slot], shape: tuple[int, ...], made: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first input, what unit impulses at it and the next ones become, K ``made``)."""
    head, *tail = dropwhile(lambda node: isinstance(node, Flatten), chain)
    n, many = math.prod(shape), max(1, min(IMPULSES, MADE // made))
    shape = (n,) if isinstance(chain[0], Flatten) else shape
    for first in range(0, n, many):
        x = _answers(head, shape, range(first, min(first + many, n)))
        for node in tail:
            x = apply_connection(node, x)
        yield first, x.flatten(1).numpy()


def _answers(node: Connection | Slot, shape: tuple[int, ...], cases: range) -> Tensor:
    """Return what a linear node makes of unit impulses at the positions ``cases``."""
    if isinstance(node, Dense):  # impulses of a wide layer would cost its size squared
        return torch.as_tensor(np.array(node.weight[:, cases].T, np.float64))
    x = torch.zeros((len(cases), math.prod(shape)), dtype=torch.float64)
    x[range(len(cases)), cases] = 1
    return apply_connection(node, x.reshape(-1, *shape))

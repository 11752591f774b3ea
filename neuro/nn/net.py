"""A Graph as a trainable torch module: the clocked executor.

Nodes outside loops run over all ticks at once; loops run tick by tick.
Axes: T ticks, B samples, ``*N`` a node's shape.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neuro.base.arguments import describe, make_type_error
from neuro.base.text import format_model
from neuro.graph import (
    Concat,
    Connection,
    Edge,
    Graph,
    GraphError,
    Host,
    Input,
    Sparse,
    Weighted,
)
from neuro.graph.inputs import find_span, require_inputs
from neuro.graph.poisson import draw_events
from neuro.graph.requirements import require_clocked, require_graph
from neuro.graph.sparse import unroll_delays
from neuro.io.graph_digest import digest_graph
from neuro.nn.spiking import (
    RESTART,
    LayerError,
    Spiking,
    require_cells,
    require_floats,
    require_stimulus,
)
from neuro.ops.poisson import Span
from neuro.spikes import Events, to_events, to_raster
from neuro.spikes.record import Record


class NetState(NamedTuple):
    """The state that continues a run: populations by node name, ticks in flight by edge.

    An edge holds the last ticks of its source (D B *N): ``delay`` of them, or all since the
    start at rest if there are fewer. ticks: number of finished ticks; Poisson nodes draw from
    there on.
    """

    populations: dict[str, Any]
    edges: dict[Edge, Tensor]
    ticks: int = 0


class _ConnectionModule(nn.Module):
    """A Connection with trainable weight and bias in the precision of its node."""

    weight: Any
    bias: Any

    def __init__(self, node: Connection | Host) -> None:
        super().__init__()
        self.node: Any = node
        for name in ("weight", "bias"):
            value = getattr(node, name, None)
            tensor = None if value is None else nn.Parameter(torch.tensor(value))
            self.register_parameter(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        # The cast has an effect only if Graph and run differ in precision.
        weight, bias = (None if p is None else p.to(x.dtype) for p in (self.weight, self.bias))
        y: Tensor = self.node.apply(x, weight, bias)
        return y

    def extra_repr(self) -> str:
        return format_model(self.node)

    def frozen(self) -> Any:
        """Return the node with its current weights."""
        if not isinstance(self.node, Weighted):
            return self.node
        bias = None if self.bias is None else self.bias.detach().cpu().numpy()
        return self.node.with_weight(self.weight.detach().cpu().numpy(), bias)


class _HostModule(_ConnectionModule):
    """A host node, without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.node.run(x)
        return y


class Net(nn.Module):
    """A Graph as a torch module; :meth:`graph` inverts it bit for bit.

    Raises:
        GraphError: the graph does not run on a clock, see
            :func:`neuro.graph.requirements.require_clocked`; or single synapses have delays.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        require_graph(graph)
        require_clocked(graph)
        _require_one_delay(graph)
        self.wiring = graph
        if graph.poisson:  # they get device and dtype of the Net from this buffer
            self.register_buffer("like", torch.empty(0), persistent=False)
        self.parts = nn.ModuleDict()
        for name, node in graph.nodes.items():
            if isinstance(node, Connection):
                self.parts[_key(name)] = _ConnectionModule(node)
            elif isinstance(node, Host):
                self.parts[_key(name)] = _HostModule(node)
            elif not isinstance(node, Input):
                self.parts[_key(name)] = Spiking(node, graph.dt)

    def graph(self) -> Graph:
        """Return the Graph with the current parameters."""
        nodes = {
            name: node if isinstance(node, Input) else self.parts[_key(name)].frozen()  # type: ignore[operator]
            for name, node in self.wiring.nodes.items()
        }
        return replace(self.wiring, nodes=nodes)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        state: NetState | None = None,
        *,
        ticks: int | None = None,
        samples: int | None = None,
    ) -> tuple[dict[str, Tensor], NetState]:
        """Run T >= 1 ticks.

        Args:
            inputs: tensors by Input name, axes T B *N.
            state: state of the run to continue; None starts at rest.
            ticks, samples: size of a run of a graph without Inputs, as in
                :func:`neuro.events.simulate`.

        Returns:
            The activity of every node by name (axes T B *N), and the state after the run.
        """
        run = _ForwardPass(self, inputs, state, ticks, samples)
        try:
            for group in self.wiring.components:
                edges = self.wiring.edges
                inner = [e for e in edges if e.source in group and e.target in group]
                if inner:
                    run.run_loop(group, inner)
                else:
                    run.run_node(group[0])
        except LayerError as error:
            names = [n for n in self.wiring.nodes if n not in self.wiring.sources]
            error.find_name((name, self.parts[_key(name)]) for name in names)
            raise
        return run.out, run.state()


def _require_one_delay(graph: Graph) -> None:
    problems = [
        f"{name}: its synapses have individual delays; train "
        "Net(unroll_delays(graph).graph), see neuro.graph.sparse, or replay the graph as it is"
        for name, node in graph.nodes.items()
        if isinstance(node, Sparse) and node.delay is not None
    ]
    if problems:
        raise GraphError(problems, "the graph cannot become a module")


def _list_misfits(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """List the inputs whose shape is not (T, B, *N) of the graph, or that differ in T or B."""
    problems = []
    for name, shape in shapes.items():
        own = graph.shapes[name]
        if shape[2:] != own:
            alone = shape[1:] == own
            cure = "for one sample use x[:, None]" if alone else "see Input.shape"
            need = f"(ticks, samples{''.join(f', {n}' for n in own)})"
            problems.append(f"{name} takes {need}, got {shape}; {cure}")
    if not problems and len({shape[:2] for shape in shapes.values()}) > 1:
        problems.append(f"inputs differ in (ticks, samples): {dict(shapes)}; make them equal")
    return problems


def _require_state(net: "Net", state: Any, samples: int) -> None:
    """Raise a LayerError unless a state fits the net; populations check their own state."""
    graph = net.wiring
    if not isinstance(state, NetState):
        what = f"takes a state of type NetState, got {describe(state)}"
        raise LayerError(net, f"{what}; {RESTART}")
    delayed = [e for e in graph.edges if e.delay]
    if set(state.populations) != set(graph.populations) or set(state.edges) != set(delayed):
        raise LayerError(net, f"its state has other populations or edges; {RESTART}")
    cells, need = {}, {}
    for e in delayed:
        name, held = f"{e.source} -> {e.target} ({e.delay} ticks)", state.edges[e]
        ticks = min(len(held), e.delay) if isinstance(held, Tensor) and held.dim() else e.delay
        cells[name], need[name] = held, (ticks, samples, *graph.shapes[e.source])
    require_cells(net, cells, need)


def _key(name: str) -> str:
    """Return the name of a node's module; the prefix avoids clashes with torch's attributes."""
    return f"node_{name}"


class _ForwardPass:
    """A forward pass: the activity so far, and the past of each delayed edge."""

    def __init__(
        self,
        net: Net,
        inputs: Mapping[str, Tensor],
        state: NetState | None,
        ticks: int | None,
        samples: int | None,
    ) -> None:
        graph = net.wiring
        if not isinstance(inputs, Mapping):
            cure = f"for example {{{next(iter(graph.inputs), 'input')!r}: x}}"
            raise make_type_error("inputs of a Net", "tensors by name", inputs, cure)
        for x in inputs.values():
            require_stimulus(net, x)
            require_floats(net, x)
        if set(inputs) != set(graph.inputs):
            raise ValueError(
                f"inputs are {sorted(inputs)}, the graph has {sorted(graph.inputs)}; pass a "
                "tensor for each, by these names"
            )
        problems = _list_misfits(graph, {name: tuple(x.shape) for name, x in inputs.items()})
        if problems:
            raise LayerError(net, "; ".join(problems))
        spans = [(x.shape[0], x.shape[1]) for x in inputs.values()]
        self.ticks, self.batch = find_span(spans, ticks, samples)
        if state is not None:
            _require_state(net, state, self.batch)
        self.net, self.graph, self.before = net, graph, state
        self.out: dict[str, Tensor] = dict(inputs)
        self.populations: dict[str, Any] = dict(state.populations) if state else {}
        own = (*inputs.values(), *net.parameters(), *net.buffers())
        self.like = next(x for x in own if x.is_floating_point())
        self.first = state.ticks if state else 0
        for name in graph.poisson:
            span = Span(0, self.batch, self.first, self.ticks)
            self.out[name] = _to_tensor(graph, name, draw_events(graph, name, span), self.like)

    def past(self, e: Edge) -> Tensor:
        """Return the ticks that an edge holds from before the run, at most ``delay``."""
        if self.before is not None and e.delay:
            return self.before.edges[e]
        return self._silence(e, 0)

    def start(self, e: Edge) -> Tensor:
        """Return the values that arrive before the run's own output, cut to the run's length.

        Zeros precede the ticks that the edge holds. The cut keeps a long delay as cheap as the
        run.
        """
        past = self.past(e)
        return torch.cat([self._silence(e, min(e.delay - len(past), self.ticks)), past])

    def _silence(self, e: Edge, ticks: int) -> Tensor:
        return self.like.new_zeros(ticks, self.batch, *self.graph.shapes[e.source])

    def run_node(self, name: str) -> None:
        """Run a node that is in no loop over all ticks."""
        if name in self.out:
            return
        arriving = [self._delayed(e) for e in self.graph.into(name)]
        x = self._combine(name, arriving)
        part = self.net.parts[_key(name)]
        if isinstance(part, Spiking):
            self.out[name], self.populations[name] = part(x, self.populations.get(name))
        else:
            self.out[name] = part(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def _combine(self, name: str, arriving: list[Tensor]) -> Tensor:
        """Combine the values of all edges into a node, each ``... B *N``, into one tensor."""
        if isinstance(self.graph.nodes[name], Concat):
            return torch.cat(arriving, -len(self.graph.shapes[name]))
        return arriving[0] if len(arriving) == 1 else torch.stack(arriving).sum(0)

    def _delayed(self, e: Edge) -> Tensor:
        if e.delay == 0:
            return self.out[e.source]
        return torch.cat([self.start(e), self.out[e.source]])[: self.ticks]

    def run_loop(self, group: tuple[str, ...], inner: list[Edge]) -> None:
        """Run the nodes of a loop tick by tick."""
        into = {n: self.graph.into(n) for n in group}
        arriving: dict[Edge, Any] = {
            e: list(self.start(e)) if e in inner else self._delayed(e)
            for edges in into.values()
            for e in edges
        }
        outputs: dict[str, list[Tensor]] = {n: [] for n in group}
        for t in range(self.ticks):
            for name in group:
                x = self._combine(name, [arriving[e][t] for e in into[name]])
                y = self._tick(name, x)
                outputs[name].append(y)
                for e in inner:
                    if e.source == name:
                        arriving[e].append(y)
        self.out.update({n: torch.stack(ys) for n, ys in outputs.items()})

    def _tick(self, name: str, x: Tensor) -> Tensor:
        part = self.net.parts[_key(name)]
        if not isinstance(part, Spiking):
            y: Tensor = part(x)
            return y
        ys: Tensor
        ys, self.populations[name] = part(x[None], self.populations.get(name))
        return ys[0]

    def state(self) -> NetState:
        """Return the state with which a later run continues this one."""
        edges = {
            e: torch.cat([self.past(e), self.out[e.source]])[-e.delay :]
            for e in self.graph.edges
            if e.delay > 0
        }
        return NetState(self.populations, edges, self.first + self.ticks)


def _to_tensor(graph: Graph, name: str, events: Events, like: Tensor) -> Tensor:
    """Return a node's raster, T B *N, with the dtype and device of ``like``."""
    raster = torch.as_tensor(to_raster(events), dtype=like.dtype, device=like.device)
    return raster.reshape(*events.shape[:2], *graph.shapes[name])


def replay(
    graph: Graph,
    inputs: Mapping[str, Events],
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    *,
    ticks: int | None = None,
    samples: int | None = None,
) -> Record:
    """Run a Graph on the clock: every neuron at every tick.

    In float64, the default, sums of float32 weights are exact in practice, so that no spike
    depends on their order. For ticks and samples, used without Inputs, see
    :func:`neuro.events.simulate`.
    Raises:
        TypeError: ``graph`` is not a Graph, or inputs are not Events.
        GraphError: the graph does not run on a clock; lists every problem by node.
        ValueError: the inputs do not fit the graph; lists every problem by node.
    """
    activity = record_activity(graph, inputs, dtype, device, ticks=ticks, samples=samples)
    return record(graph, activity)


@torch.no_grad()
def record_activity(
    graph: Graph,
    inputs: Mapping[str, Events],
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    *,
    ticks: int | None = None,
    samples: int | None = None,
) -> dict[str, Tensor]:
    """Return the output of every node, connections included (axes T B *N).

    Arguments and errors are those of :func:`replay`.
    """
    require_graph(graph)
    if not isinstance(dtype, torch.dtype):
        raise make_type_error("dtype", "a precision of torch", dtype, "such as torch.float32")
    require_inputs(graph, inputs, in_ticks=True)
    net = Net(unroll_delays(graph).graph).to(device=device, dtype=dtype)
    like = torch.empty(0, dtype=dtype, device=device)
    rasters = {name: _to_tensor(graph, name, e, like) for name, e in inputs.items()}
    activity: dict[str, Tensor]
    activity, _ = net(rasters, ticks=ticks, samples=samples)
    return activity


def record(graph: Graph, activity: Mapping[str, Tensor]) -> Record:
    """Convert the activity that the clocked executor returned to a Record."""
    flat = {k: v.detach().flatten(2).cpu().numpy() for k, v in activity.items()}
    firing = [*graph.sources, *graph.firing]
    raster: np.ndarray = flat[firing[0]]
    return Record(
        executor="torch",
        ticks=raster.shape[0],
        samples=raster.shape[1],
        spikes={n: to_events(flat[n]) for n in firing},
        values={n: flat[n] for n in graph.readouts},
        digest=digest_graph(graph),
    )

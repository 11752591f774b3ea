"""Folds recorded ticks into one: the Graph of a run, or every reason why there is none.

The input of every neuron is written as a sum of terms, each a node with a delay in ticks. The
terms of the last tick are the network; those of every earlier tick must be the same, apart from
terms from before the first tick. Axes: ``*N`` of one tick of one sample.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
from torch import nn

from neuro.base.text import format_model
from neuro.base.units import Seconds, Ticks
from neuro.graph import Edge, Graph, Input, MaxPool2d, Node
from neuro.graph.scaling import make_scale_node
from neuro.interop.imported import MappedNode
from neuro.interop.layer_operations import PADDED_MAXIMUM, digest
from neuro.interop.neuron_reader import CaptureError, NeuronNodes, NeuronReader
from neuro.interop.outputs import MIN_TICKS, find_tick, follow_outputs, list_leaves
from neuro.interop.parameters import list_unknown
from neuro.interop.recording import (
    Applied,
    Lost,
    NeuronTick,
    RecordedConstant,
    RecordedLayer,
    RecordedRun,
    Result,
    Series,
    Shape,
    StimulusTick,
    Symbol,
    Total,
)
from neuro.neurons import LI, is_neuron
from neuro.nn.trace import make_any_spike_nodes

INPUT, STIMULUS = "input", "@input"  # name of the node, and its key
MAX_CHOICES = 6  # layers of late spikes for which both positions are tried
FORGETS = 1e-3  # tau in units of dt: exp(-1000) is 0 in float64, so an LI keeps nothing

Term = tuple[str, int]  # a node, by its name or key, and a delay in ticks


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A Graph, and how the recorded parts were converted.

    names: name of the population of each neuron module, by its recorded name.
    notes: what the module does with its outputs, by name.
    outputs: the recorded output of each tick; empty if the Graph has several outputs.
    factor: value of an output spike (J).
    weights: problems, unless a decoding includes the layers that they name.
    """

    graph: Graph
    mapping: tuple[MappedNode, ...]
    names: Mapping[str, str]
    notes: Mapping[str, str]
    outputs: list[list[Symbol]]
    factor: np.ndarray
    weights: list[str]


@dataclass(frozen=True, eq=False)
class _Step:
    """A layer in a tick. sources: groups of terms, several if it joins. where: a call."""

    layer: RecordedLayer
    sources: tuple[tuple[Term, ...], ...]
    where: str


@dataclass
class TickNetwork:
    """The terms of a recording. carried: layers that pass on late outputs, not inputs."""

    factors: Mapping[str, RecordedLayer]
    carried: frozenset[str] = frozenset()
    steps: dict[str, _Step] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    delayed: set[str] = field(default_factory=set)
    _known: dict[tuple[int, int], tuple[Term, ...]] = field(default_factory=dict)

    def terms(self, value: Symbol, tick: int, user: str) -> tuple[Term, ...]:
        """Return the terms whose sum is the value that ``user`` takes in a tick."""
        place = (id(value), tick)
        if place not in self._known:
            self._known[place] = tuple(sorted(self._find(value, tick, user)))
        return self._known[place]

    def _find(self, value: Symbol, tick: int, user: str) -> Iterable[Term]:
        match value:
            case StimulusTick():
                return [(STIMULUS, 0 if value.tick is None else tick - value.tick)]
            case Result():
                return self._neuron(value, tick)
            case Total():
                return [t for part in value.terms for t in self.terms(part, tick, user)]
            case RecordedConstant() if not value.is_zero:
                self.problems.append(
                    f"{user}: begins with, or takes, a constant that is not 0; begin with "
                    "zeros, and add constants as the bias of a layer"
                )
            case Applied():
                return self._apply(value, tick, user)
            case Lost():
                self.problems += _list_lost(value, user)
            case Series():
                self.problems.append(f"{user}: takes several ticks at once; loop over ticks")
        return []

    def _apply(self, value: Applied, tick: int, user: str) -> list[Term]:
        groups = [self.terms(part, tick, user) for part in value.sources]
        late = min((delay for group in groups for _, delay in group), default=0)
        if not any(groups) and value.layer.silent:
            return []
        if late:
            self.delayed.add(value.layer.name)
        if value.layer.name not in self.carried:
            late = 0
        moved = tuple(tuple((n, d - late) for n, d in group) for group in groups)
        return [(self.add(_Step(value.layer, moved, value.where)), late)]

    def _neuron(self, value: Result, tick: int) -> list[Term]:
        name = value.neuron.name
        late = tick - value.neuron.tick
        factor = self.factors.get(name)
        if factor is None:
            return [(name, late)]
        return [(self.add(_Step(factor, (((name, 0),),), value.neuron.where)), late)]

    def add(self, step: _Step) -> str:
        """Return the key of the layer with these sources."""
        key = "#" + digest(step.layer.key, step.sources)
        self.steps.setdefault(key, step)
        return key

    def expect(self, terms: Iterable[Term], tick: int) -> tuple[Term, ...]:
        """Return which of the network's terms exist in an early tick."""
        left = []
        for key, delay in terms:
            if delay > tick:
                continue
            if key in self.steps:
                step = self.steps[key]
                groups = tuple(self.expect(group, tick - delay) for group in step.sources)
                if not any(groups) and step.layer.silent:
                    continue
                key = self.add(_Step(step.layer, groups, step.where))
            left.append((key, delay))
        return tuple(sorted(left))


def _list_lost(value: Symbol, user: str, *, own: bool = False) -> list[str]:
    """List the operations without a node that lead to a value, the first one first.

    Left out is what follows from another such operation; and, if ``own``, what may follow from
    anything else.
    """
    found, seen, waiting = list[str](), set[int](), [value]
    while waiting:
        for leaf in list_leaves(waiting.pop()):
            if not isinstance(leaf, Lost) or id(leaf) in seen:
                continue
            seen.add(id(leaf))
            waiting += leaf.sources
            before = [v for source in leaf.sources for v in list_leaves(source)]
            first = not own and not any(isinstance(v, Lost) for v in before)
            if leaf.what and (leaf.unsupported or first):
                found.append(f"{leaf.where}: {leaf.what}; it reaches {user}")
    return found[::-1]


def fold_ticks(
    record: RecordedRun, reader: NeuronReader, input_shape: Shape, dt: Seconds
) -> Folded:
    """Return the Graph of a recording.

    Raises:
        CaptureError: ticks differ, or the recording contains what a Graph cannot hold.
        GraphError: the parts do not fit together.
    """
    found = follow_outputs(record.outputs)
    ends, problems = list(found.values.values()), list(record.problems)
    used = _list_used(record, ends)
    if not used:
        nothing = (
            f"no neuron reaches what the module returns of {record.ticks} ticks; return its "
            "spikes, or record more ticks if the first are left out: ticks=200, --set ticks=200"
        )
        raise CaptureError([*problems, nothing] if found.weights else problems or [nothing])
    neurons = {name: ticks for name, ticks in record.neurons.items() if name in used}
    unknown = [n for n, t in neurons.items() if list_unknown(t[0].module, reader)]
    problems += _list_problems_of_calls(record, used, unknown)
    made = {}
    for name, ticks in neurons.items():
        outside = {v.key for v in ends if isinstance(v, Result) and v.neuron.name == name}
        every = frozenset(used[name] | outside)
        try:
            made[name] = reader.convert(ticks[0].module, ticks[0].shape, every, dt)
        except (CaptureError, ValueError, TypeError) as error:
            why = error.problems if isinstance(error, CaptureError) else [str(error)]
            problems += [f"{name}: {problem}" for problem in why]
            continue
        emits = made[name].emits
        problems += _list_problems_of_results(name, emits, used[name], outside)
        for key in sorted(outside - {emits}):
            found.notes[f"{name}: {key}"] = "returned by the module, not put out here"
    if problems:
        for name, ticks in neurons.items():
            problems += _list_lost(ticks[-1].current, name, own=True)
        raise CaptureError(list(dict.fromkeys(problems)))
    layers = {n: _make_factor(n, parts, neurons[n][0].shape) for n, parts in made.items()}
    factors = {name: layer for name, layer in layers.items() if layer is not None}
    found.note_factors(factors)
    network, currents = _find_network(neurons, factors)
    shown = [v for v in ends if not isinstance(v, Result)]
    last = [v for v in shown if find_tick(v) == record.ticks - 1] or shown
    sums = [network.terms(value, find_tick(value), "the output") for value in last]
    read = dict.fromkeys(terms for terms in sums if terms)
    network.problems += _compare_read(network, found.early, read)
    if network.problems:
        raise CaptureError(list(dict.fromkeys(network.problems)))
    builder = GraphBuilder(network, {INPUT: Input(shape=input_shape)}, {STIMULUS: INPUT})
    builder.add_populations(made, currents)
    builder.add_readouts(read, dt)
    if builder.problems:
        raise CaptureError(builder.problems)
    graph = Graph(nodes=builder.nodes, edges=tuple(builder.edges), dt=dt)
    names = {name: builder.names[name] for name in neurons}
    own = next((name for name in neurons if graph.outputs == (names[name],)), None)
    outputs = [] if own is None else _list_results(neurons[own], made[own])
    if own is None and len(graph.outputs) == 1:
        outputs = [[v for v in found.parts if find_tick(v) == t] for t in range(record.ticks)]
    return Folded(
        graph=graph,
        mapping=tuple(sorted(builder.mapping, key=lambda part: graph.order.index(part.node))),
        names=names,
        notes=found.notes,
        outputs=outputs,
        factor=np.ones(1) if own is None else _read_factor(made[own], neurons[own]),
        weights=found.weights,
    )


def _list_results(ticks: list[NeuronTick], parts: NeuronNodes) -> list[list[Symbol]]:
    return [[Result(shape=tick.shape, neuron=tick, key=parts.emits)] for tick in ticks]


def _read_factor(parts: NeuronNodes, ticks: list[NeuronTick]) -> np.ndarray:
    """Return the value of a spike for each neuron."""
    return np.broadcast_to(parts.factor, ticks[0].shape).reshape(-1)


def _list_problems_of_results(
    name: str, emits: str, used: set[str], outside: set[str]
) -> list[str]:
    problems = [
        f"{name}: its {key} reaches another layer, and the node puts out {emits}; hand on that"
        for key in sorted(used - {emits})
    ]
    if outside and emits not in outside and not used:
        problems.append(
            f"{name}: the module returns its {', '.join(sorted(outside))} only, and the node "
            f"puts out {emits}; return that, too, or let the neuron never reset (snnTorch: "
            'reset_mechanism="none"), so that it is a read-out'
        )
    return problems


def _compare_read(
    network: TickNetwork, early: Iterable[Symbol], read: Iterable[tuple[Term, ...]]
) -> list[str]:
    """Report where the module returns something else than in the last tick."""
    last = list(read)
    for value in early:
        tick = find_tick(value)
        have = network.terms(value, tick, "the output")
        if have and have not in [network.expect(terms, tick) for terms in last]:
            what = _describe(network, have)
            where = getattr(value, "where", "the output")
            return [
                f"{where}: what the module returns of tick {tick}, {what}, has other weights "
                "or sources than that of the last tick; return the same of each"
            ]
    return []


def _list_used(record: RecordedRun, ends: Iterable[Symbol]) -> dict[str, set[str]]:
    """Return the neurons that reach the output, each with its results that reach a node."""
    used: dict[str, set[str]] = {}
    waiting: list[str] = []

    def visit(value: Symbol, *, inside: bool) -> None:
        for leaf in list_leaves(value):
            if isinstance(leaf, Result):
                name = leaf.neuron.name
                if name not in used:
                    used[name] = set()
                    waiting.append(name)
                if inside:
                    used[name].add(leaf.key)
            elif isinstance(leaf, Lost):  # to report other problems behind it too
                for source in leaf.sources:
                    visit(source, inside=False)

    for end in ends:
        visit(end, inside=not isinstance(end, Result))
    while waiting:
        visit(record.neurons[waiting.pop()][-1].current, inside=True)
    return used


def _list_problems_of_calls(
    record: RecordedRun, used: Container[str], unknown: Container[str]
) -> list[str]:
    """List how the calls of neurons that have a node differ from one call per tick."""
    calls = {name: ticks for name, ticks in record.neurons.items() if name not in unknown}
    count = max(map(len, calls.values()), default=0)
    return [
        problem
        for name, ticks in calls.items()
        if name in used
        for problem in _list_problems_of_time(name, ticks, count)
    ]


def _list_problems_of_time(name: str, ticks: list[NeuronTick], count: int) -> list[str]:
    """List what distinguishes a neuron from one that is called once per tick with its state."""
    kind = type(ticks[0].module).__name__
    if len(ticks) != count:
        return [
            f"{ticks[-1].where}: {name} ({kind}) is called {len(ticks)} times while another "
            f"neuron is called {count} times; call each once a tick, and make one for each "
            "place"
        ]
    if count < MIN_TICKS:
        return [
            f"{ticks[-1].where}: {name} ({kind}) ran {count} ticks, and an import needs "
            f"{MIN_TICKS} or more to see what is handed on; let it run longer; if it takes x "
            "of (B, T, ...), import it with run=lambda net, x: net(x.transpose(0, 1))"
        ]
    for tick in ticks:
        before = ticks[tick.tick - 1] if tick.tick else None
        for key, value in tick.states.items():
            own = isinstance(value, Result) and value.key == key and value.neuron is before
            begins = before is None and (value is None or isinstance(value, RecordedConstant))
            if not (own or begins):
                return [f"{tick.where}: {name} ({kind}): {_explain_state(key, tick, value)}"]
    return []


def _explain_state(key: str, tick: NeuronTick, value: Symbol | None) -> str:
    if value is None or isinstance(value, RecordedConstant):
        return (
            f"in tick {tick.tick} its {key} begins anew; set states back before the loop only, "
            "and hand on what the neuron returns"
        )
    if isinstance(value, Lost):
        return f"its {key} was changed by {value.what} at {value.where}; hand it on as it is"
    return (
        f"in tick {tick.tick} its {key} is not that which it returned in the tick before; hand "
        "on what it returns"
    )


def _make_factor(name: str, parts: NeuronNodes, shape: Shape) -> RecordedLayer | None:
    """Return the layer after spikes that count other than 1, or None."""
    factor = np.asarray(parts.factor, np.float64)
    if (factor == 1).all():
        return None
    node = make_scale_node(shape, factor, None)
    if node is None:
        raise CaptureError([f"{name}: the values of its spikes differ within a channel"])
    name = f"{name}_factor"
    return RecordedLayer(name=name, kind="scale", nodes=(node,), key=(name, digest(factor)))


def _find_network(
    neurons: Mapping[str, list[NeuronTick]], factors: Mapping[str, RecordedLayer]
) -> tuple[TickNetwork, dict[str, tuple[Term, ...]]]:
    """Return the terms of all currents; the network's ``problems`` say where ticks differ.

    A layer of late spikes may be computed late, or computed at once and its output passed on.
    The first tick shows which: only in the first case does the layer add its bias there.
    """
    first: tuple[TickNetwork, dict[str, tuple[Term, ...]]] | None = None
    delayed: tuple[str, ...] = ()
    while True:
        for choice in product((False, True), repeat=len(delayed)):
            names = frozenset(n for n, late in zip(delayed, choice, strict=True) if late)
            network = TickNetwork(factors, names)
            currents = {}
            for name, ticks in neurons.items():
                last = ticks[-1]
                currents[name] = network.terms(last.current, last.tick, name)
            if network.problems:
                return network, currents
            network.problems += [
                p
                for name in neurons
                for p in _compare(network, name, neurons[name], currents[name])
            ]
            if not network.problems:
                return network, currents
            first = first or (network, currents)
        found = tuple(sorted(network.delayed))[:MAX_CHOICES]
        if delayed or not found:
            return first  # type: ignore[return-value]
        delayed = found


def _compare(
    network: TickNetwork, name: str, ticks: list[NeuronTick], last: tuple[Term, ...]
) -> list[str]:
    """Report where a neuron's input differs from that of the last tick."""
    for tick in ticks[:-1]:
        need = network.expect(last, tick.tick)
        have = network.terms(tick.current, tick.tick, name)
        if need != have:
            now, then = _tell_apart(network, have, need)
            return [
                f"{tick.where}: in tick {tick.tick} {name} gets {now}, where tick "
                f"{ticks[-1].tick}, the last, makes one expect {then}; a network does the same "
                "in every tick, and begins with zeros"
            ]
    return []


def _tell_apart(
    network: TickNetwork, have: Iterable[Term], need: Iterable[Term]
) -> tuple[str, str]:
    """Describe two different sums of terms, at the depth at which they first differ."""
    now, then = _describe(network, have), _describe(network, need)
    if now != then:
        return now, then
    # The names are equal: layers whose weights or sources differ.
    for key, other in _pair_keys(network, have, need):
        step, expected = network.steps[key], network.steps[other]
        if step.layer.key != expected.layer.key:
            return step.layer.compare_weights(expected.layer), expected.layer.name
        for own, its in zip(step.sources, expected.sources, strict=False):
            if own != its:
                inner, wanted = _tell_apart(network, own, its)
                return f"{step.layer.name} of {inner}", f"{step.layer.name} of {wanted}"
    return now, "it with other sources"


def _pair_keys(
    network: TickNetwork, have: Iterable[Term], need: Iterable[Term]
) -> list[tuple[str, str]]:
    """Pair layers that only one of two sums has, by name."""
    have, need = set(have), set(need)
    sides = [
        sorted((network.steps[k].layer.name, delay, k) for k, delay in terms)
        for terms in (have - need, need - have)
    ]
    return [(a[-1], b[-1]) for a, b in zip(*sides, strict=True)]


def _describe(network: TickNetwork, terms: Iterable[Term]) -> str:
    words = [
        network.steps[key].layer.name if key in network.steps else key.strip("@")
        for key, _ in terms
    ]
    late = [f" ({delay} ticks before)" if delay else "" for _, delay in terms]
    return " + ".join(w + d for w, d in zip(words, late, strict=True)) or "nothing"


@dataclass
class GraphBuilder:
    """Nodes and edges, under unique names."""

    network: TickNetwork
    nodes: dict[str, Node]
    names: dict[str, str]
    edges: list[Edge] = field(default_factory=list)
    mapping: list[MappedNode] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, node: Node, source: str) -> str:
        """Add a node under this name, or under a similar one if it is taken."""
        free = (
            name
            if name not in self.nodes
            else next(
                f"{name}_{k}"
                for k in range(2, len(self.nodes) + 3)
                if f"{name}_{k}" not in self.nodes
            )
        )
        self.nodes[free] = node
        self.mapping.append(MappedNode(node=free, source=source, became=format_model(node)))
        return free

    def add_populations(
        self, made: Mapping[str, NeuronNodes], currents: Mapping[str, tuple[Term, ...]]
    ) -> None:
        """Add the nodes of all neurons, then the nodes that lead to them."""
        for name, parts in made.items():
            self.names[name] = self.add(name, parts.node, parts.source)
        for name, parts in made.items():
            own = self.names[name]
            chain = [
                self.add(f"{own}_{end}", node, f"{end} of {parts.source}")
                for end, node in parts.before
            ] + [own]
            self.connect(currents[name], chain[0])
            self.edges += [Edge(a, b) for a, b in pairwise(chain)]
            if parts.recurrent is not None:
                source = f"recurrent of {parts.source}"
                back = self.add(f"{own}_recurrent", parts.recurrent, source)
                self.edges += [Edge(own, back, Ticks(1)), Edge(back, own)]

    def add_readouts(self, read: Iterable[tuple[Term, ...]], dt: Seconds) -> None:
        """Add an integrator without memory after each sum that is returned unchanged."""
        for terms in read:
            only = self.network.steps.get(terms[0][0]) if len(terms) == 1 else None
            base = "output" if only is None else f"{only.layer.name}_readout"
            source = "what the module returns of every tick"
            self.connect(terms, self.add(base, LI(tau=FORGETS * dt), source))

    def connect(self, terms: Iterable[Term], target: str) -> None:
        """Add the edges into a node."""
        for key, delay in terms:
            edge = Edge(self.emit(key), target, Ticks(delay))
            if edge in self.edges:
                self.problems.append(
                    f"{target}: adds {edge.source} more than once; multiply it instead"
                )
            self.edges.append(edge)

    def emit(self, key: str) -> str:
        """Return the node that outputs the value of a term."""
        if key in self.names:
            return self.names[key]
        step = self.network.steps[key]
        ((source_key, late), *_) = step.sources[0] or (("", 0),)
        if step.layer.kind == "relu" and not late and self._takes_spikes(step):
            self.names[key] = self.emit(source_key)  # 0 and 1 stay unchanged
            return self.names[key]
        source = f"{step.layer.kind} at {step.where}"
        nodes, name = list(step.layer.nodes), step.layer.name
        if isinstance(nodes[0], MaxPool2d) and self._takes_spikes(step):
            nodes = list(make_any_spike_nodes(nn.MaxPool2d(nodes[0].kernel, nodes[0].stride)))
        if step.layer.kind == PADDED_MAXIMUM and not self._takes_spikes(step):
            self.problems.append(
                f"{step.where}: max_pool2d() with padding takes other values than the spikes "
                "of one neuron; put it behind the neuron, or use AvgPool2d"
            )
        made: list[str] = []
        for k, node in enumerate(nodes):
            suffix = "" if not k else "_any" if is_neuron(node) else "_again"
            made.append(self.add(name + suffix, node, source))
        self.names[key] = made[-1]
        for group in step.sources:
            self.connect(group, made[0])
        self.edges += [Edge(a, b) for a, b in pairwise(made)]
        return made[-1]

    def _takes_spikes(self, step: _Step) -> bool:
        """Say whether a layer takes the spikes of exactly one population."""
        ((key, _), *more) = step.sources[0] or (("", 0),)
        node = None if more or not key or key == STIMULUS else self.nodes[self.emit(key)]
        return node is not None and is_neuron(node) and bool(node.fires)

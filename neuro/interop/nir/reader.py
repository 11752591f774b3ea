"""Import of a NIR network as a Graph that computes the same.

:func:`neuro.interop.imported.verify_import` measures whether it does: it runs the equations of
NIR (:mod:`neuro.interop.nir.equations`) beside our clock. A network that a Graph cannot hold
exactly is refused; the error lists every such node with its cure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np

from neuro.base.arguments import require_dt
from neuro.base.text import format_model
from neuro.base.units import Seconds, Ticks
from neuro.graph import Edge, Graph, GraphError, Node, Pointwise
from neuro.graph.connections import Connection
from neuro.graph.sparse import unroll_delays
from neuro.interop.imported import ImportedNetwork, MappedNode, SourceRun
from neuro.interop.nir.convert import convert_node, count_waits, find_tau
from neuro.interop.nir.equations import interpret
from neuro.interop.nir.file import NirError, as_tree, read_tree
from neuro.interop.nir.nodes import FIRING, NirNode, check_tree, describe
from neuro.interop.nir.shapes import NirPlan, plan
from neuro.interop.nir.steps import (
    Discretisation,
    NirReset,
    NirStep,
    choose_discretisation,
    choose_dt,
    choose_tick,
    find_decays,
    find_rest,
)
from neuro.neurons import LI, DiscreteLIF


def read(
    source: Any,
    *,
    dt: float | None = None,
    tick: Seconds | None = None,
    discretisation: Discretisation | None = None,
    reset: NirReset = "hard",
    ignore_declared_shapes: bool = False,
) -> ImportedNetwork:
    """Return a NIR network as a Graph, with a list of what each of its nodes became.

    NIR leaves the step and the kind of reset open; ``choices`` of the result states them.

    Args:
        source: a file, or a nir.NIRGraph.
        dt: the step, in the file's unit of time. None: the step at which all r and w_in of the
            file scale input by 1, if they agree on one; else 1e-4.
        tick: the same step in seconds. None: the file's unit is the second; a file without time
            constants gets 1 ms.
        discretisation: "euler" or "exponential", see :mod:`neuro.interop.nir.steps`. None: the
            one in the file's metadata, which :func:`neuro.interop.nir.write` adds, else Euler.
        reset: "hard" sets v to v_reset, as NIR defines. "soft" subtracts v_threshold - v_reset
            instead; "delayed" subtracts it one tick late, as snnTorch does. Choose the reset
            the network was trained with: a file does not state it.
        ignore_declared_shapes: take shapes from the nodes that compute, and ignore those that
            Outputs, convolutions and Flattens state.

    Raises:
        NirError: the file or a Graph cannot hold the network; lists every problem and cure.
        TypeError, ValueError: an argument is none of those above.
        FileNotFoundError: the file does not exist.
        RuntimeError: h5py is not installed.
    """
    _require_choices(dt, tick, discretisation, reset)
    if isinstance(source, str | Path):
        version, tree = read_tree(Path(source))
        library, what = f"NIR file of version {version}", f"{source} cannot be imported"
    else:
        tree = dict(as_tree(source))
        library, what = "nir.NIRGraph", "the NIR graph cannot be imported"
    network = check_tree(tree, what)
    planned = plan(network, declared=not ignore_declared_shapes, what=what)
    chosen, why = choose_dt(network) if dt is None else (float(dt), "as given")
    step = NirStep(
        dt=chosen,
        tick=choose_tick(network, chosen) if tick is None else Seconds(float(tick)),
        discretisation=discretisation or choose_discretisation(network),
        reset=reset,
        why_dt=why,
    )
    return _GraphBuilder(plan=planned, step=step, what=what).build(library)


def _require_choices(
    dt: float | None, tick: float | None, discretisation: str | None, reset: str
) -> None:
    for name, value in (("dt", dt), ("tick", tick)):
        if value is not None:
            require_dt(name, value)
    for name, word, known in (
        ("discretisation", discretisation or "euler", get_args(Discretisation)),
        ("reset", reset, get_args(NirReset)),
    ):
        if word not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}; got {word!r}")


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """The value on an edge: the output of Graph node ``name``, ``delay`` ticks late."""

    name: str
    delay: int


@dataclass(kw_only=True, eq=False)
class _GraphBuilder:
    """Builder of a Graph from a plan, node by node.

    first: the Graph node that takes the input of a NIR node, by path.
    last: the Graph node that puts out the output of a NIR node, by path.
    shown: the Graph node that shows an Output, by path.
    waits: the delay [ticks] of a NIR node that has no Graph node, by path.
    """

    plan: NirPlan
    step: NirStep
    what: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    mapping: list[MappedNode] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    waits: dict[str, int] = field(default_factory=dict)

    def build(self, library: str) -> ImportedNetwork:
        """Return the imported network."""
        nodes = self.plan.network.nodes
        for path in self.plan.order:
            self._add(path, nodes[path])
        if self.problems:
            raise NirError(self.problems, self.what)
        for path, target in self.first.items():
            self._connect(target, self._find_origins(path))
        for path in self.plan.order:
            if nodes[path].kind == "Output" and not nodes[path].inside:
                self._show(path)
        try:
            graph = Graph(nodes=self.nodes, edges=tuple(self.edges), dt=self.step.tick)
            graph = unroll_delays(graph).graph  # modules need it unrolled
        except GraphError as error:
            raise NirError(error.problems, self.what) from error
        return ImportedNetwork(
            graph=graph,
            library=library,
            mapping=tuple(self.mapping),
            choices=self._list_choices(),
            run_source=self._run,
        )

    def _add(self, path: str, node: NirNode) -> None:
        """Make the Graph nodes of a NIR node, or add its problem to the list."""
        try:
            made = convert_node(
                node, self.step, self.plan.inputs[path], self.plan.outputs[path]
            )
            if node.kind == "Delay":
                self.waits[path] = int(count_waits(node, self.step)[0])
        except ValueError as error:  # it names the parameter and the cure
            made = str(error)
        if isinstance(made, str):
            self.problems.append(f"{describe(path, node)}: {made}")
            return
        source = _describe_values(path, node)
        if not made:
            if node.kind == "Delay":
                became = f"{self.waits[path]} ticks of delay of the edges around it"
                self.mapping.append(MappedNode(node="edges", source=source, became=became))
            return
        suffixes = [f"_{k}" for k in range(1, len(made))] + [""]
        names = [self._find_name(path + suffix) for suffix in suffixes]
        for name, part in zip(names, made, strict=True):
            self.nodes[name] = part
        self.edges += [Edge(a, b) for a, b in pairwise(names)]
        self.first[path], self.last[path] = names[0], names[-1]
        became = ", then ".join(map(format_model, made))
        self.mapping.append(MappedNode(node=names[-1], source=source, became=became))

    def _find_name(self, path: str) -> str:
        """Return a name that a Graph accepts and that no node has yet."""
        name = "".join(c if c.isprintable() and c not in "./" else "_" for c in path) or "_"
        unique, k = name, 2
        while unique in self.nodes:
            unique, k = f"{name}_{k}", k + 1
        return unique

    def _find_origins(self, path: str) -> list[_Origin]:
        """Return the values into a NIR node, traced back past nodes that only pass them on."""
        origins = []
        for source, late in self.plan.sources(path):
            if source in self.last:
                origins.append(_Origin(name=self.last[source], delay=late))
                continue
            wait = late + self.waits.get(source, 0)
            origins += [
                _Origin(name=o.name, delay=o.delay + wait) for o in self._find_origins(source)
            ]
        return origins

    def _connect(self, target: str, origins: list[_Origin]) -> None:
        """Add edges to a node; a host stands between an integrator and a connection."""
        for origin in origins:
            name = origin.name
            if isinstance(self.nodes[name], LI) and isinstance(self.nodes[target], Connection):
                host = f"{name}_values"
                if host not in self.nodes:
                    self.nodes[host] = Pointwise(function="identity")
                    self.edges.append(Edge(name, host))
                    source = f"the values of {name}, which a connection takes"
                    became = "a host node: no chip sends membranes on"
                    self.mapping.append(MappedNode(node=host, source=source, became=became))
                name = host
            self.edges.append(Edge(name, target, Ticks(origin.delay)))

    def _show(self, path: str) -> None:
        """Find the population that shows an Output, or make a read-out."""
        origins = self._find_origins(path)
        name, source = origins[0].name, f"{path} (Output)"
        alone = len(origins) == 1 and not origins[0].delay
        if alone and isinstance(self.nodes[name], LI | DiscreteLIF):
            became = f"what {name} puts out"
        else:
            name = self._find_name(path)
            self.nodes[name] = LI(tau=find_tau(0.0, self.step.tick))
            self._connect(name, origins)
            became = "a read-out without memory: its value is what reaches it in a tick"
        self.shown[path] = name
        self.mapping.append(MappedNode(node=name, source=source, became=became))

    def _list_choices(self) -> dict[str, str]:
        """Return the choices that NIR leaves open, as made here."""
        step = self.step
        choices = {
            "dt": f"{step.dt:g} in the file's unit of time: {step.why_dt}",
            "tick": f"{step.tick:g} s",
            "discretisation": {
                "euler": "euler: v += dt / tau ((v_leak - v) + r I), I first takes its input",
                "exponential": "exponential: exact between ticks; an input I is constant in a "
                "tick, a spike S an impulse at its start",
            }[step.discretisation],
            "reset": {
                "hard": "hard: v = v_reset at a spike, as NIR defines",
                "soft": "soft: v -= v_threshold - v_reset at a spike",
                "delayed": "soft and late: v -= v_threshold - v_reset a tick after the spike",
            }[step.reset],
            "threshold": "a spike where v > v_threshold, as NIR defines",
            "start": "membranes at v_leak, 0 without one; currents at 0",
        }
        nodes = self.plan.network.nodes
        driven = [
            path
            for path, node in sorted(nodes.items())
            if (find_rest(node) != node.values.get("v_leak", 0)).any()
        ]
        if driven:
            where = "; at v_reset where v_leak, a constant drive, is above v_threshold"
            choices["start"] += f"{where}: {', '.join(driven)}"
        reached = sorted(p for p, node in nodes.items() if node.inclusive)
        if reached:
            names = ", ".join(reached)
            choices["threshold"] += f"; where v >= it, as the metadata says: {names}"
        if self.plan.late:
            late = ", ".join(f"{a} -> {b}" for a, b in sorted(self.plan.late))
            choices["recurrence"] = f"one tick late, as a loop must be: {late}"
        return choices

    def _run(self, inputs: Mapping[str, np.ndarray]) -> SourceRun:
        """Run the equations of NIR; return the state in units of the Graph."""
        nodes = self.plan.network.nodes
        given = {
            path: inputs[name]
            for path, name in self.last.items()
            if nodes[path].kind == "Input"
        }
        run = interpret(self.plan, self.step, given)
        cells = {path: self.last[path] for path in run.membranes}
        outputs = {name: run.outputs[path] for path, name in (self.shown | cells).items()}
        membranes = {
            name: run.membranes[path] - find_rest(nodes[path]) for path, name in cells.items()
        }
        currents = {}
        for path, current in run.currents.items():
            decays = find_decays(nodes[path], self.step)
            if nodes[path].kind in FIRING and not isinstance(decays, str):
                currents[cells[path]] = current / decays.unit
        return SourceRun(outputs, membranes, currents)


def _describe_values(path: str, node: NirNode) -> str:
    """Return a NIR node and its values in one line."""
    shown = []
    for name, value in node.values.items():
        if value is None:
            continue
        array = np.asarray(value)
        if array.dtype.kind in "US" or array.size <= 3:
            text = str(array.tolist())
        elif name in ("weight", "bias", "scale"):
            text = f"shape {array.shape}"
        elif (array == array.flat[0]).all():
            text = f"{float(array.flat[0]):.6g}"
        else:
            text = f"{float(array.min()):.6g} to {float(array.max()):.6g}"
        shown.append(f"{name} {text}")
    return f"{path} ({node.kind}): {', '.join(shown)}" if shown else f"{path} ({node.kind})"

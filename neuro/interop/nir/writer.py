"""Export of a Graph as a NIR graph, where NIR can express it.

NIR is continuous. The writer chooses time constants from which :func:`neuro.interop.nir.read`
recovers the Graph's decays, at the step that the metadata state. NIR fires above a threshold; a
neuron that fires at its threshold is written with the largest number below it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from neuro.base.extras import require_extra
from neuro.base.units import Ticks
from neuro.graph import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    Dense,
    Edge,
    Flatten,
    Graph,
    Input,
    Node,
    Pointwise,
    Sparse,
    Unflatten,
)
from neuro.graph.requirements import problems_of_poisson, problems_on_a_clock, require_graph
from neuro.interop.hdf5 import Tree
from neuro.interop.nir.convert import NOTHING
from neuro.interop.nir.file import NirError
from neuro.interop.nir.nodes import AT_THRESHOLD, FIRES, check_tree
from neuro.interop.nir.shapes import Shape, find_late_edges
from neuro.interop.nir.steps import Discretisation, find_charge
from neuro.neurons import DiscreteLIF, has_normal_form, is_neuron
from neuro.neurons.normal_form import Coefficients, as_array
from neuro.neurons.reset import Reset

WHAT = "the graph cannot be written as NIR"


def write(path: str | Path, graph: Graph, *, discretisation: Discretisation = "euler") -> Path:
    """Write a Graph as a NIR file; return its path. Errors and choices: :func:`to_nir`."""
    network = to_nir(graph, discretisation=discretisation)
    import nir

    nir.write(path, network)
    return Path(path)


def to_nir(graph: Graph, *, discretisation: Discretisation = "euler") -> Any:
    """Return a Graph as a nir.NIRGraph.

    Args:
        graph: the Graph.
        discretisation: the rule by which a reader turns the time constants into decays.

    Raises:
        NirError: NIR cannot express the graph, such as a soft reset; lists each node with a
            cure.
        TypeError, ValueError: an argument is no Graph, or no discretisation.
        RuntimeError: nir is not installed.
    """
    require_graph(graph)
    if discretisation not in get_args(Discretisation):
        known = ", ".join(get_args(Discretisation))
        raise ValueError(f"discretisation is one of {known}; got {discretisation!r}")
    with require_extra("interop", "writing NIR needs the package nir"):
        import nir
    # A reader would give a loop without delay one tick. Problems of neurons are listed below.
    problems = problems_on_a_clock(graph, without=graph.nodes)
    problems += problems_of_poisson(graph, "NIR has no source that draws spikes")
    nodes: dict[str, Tree] = {}
    skipped: set[str] = set()  # nodes that only hand values on
    for name in graph.order:
        try:
            made = _convert(graph, name, discretisation, skipped)
        except ValueError as error:  # a period is no whole number of ticks
            made = str(error)
        if isinstance(made, str):
            problems.append(f"{name}: {made}")
        elif made is not None:
            nodes[name] = made
    if problems:
        raise NirError(problems, WHAT)
    edges = [e for e in _list_edges(graph, skipped) if e.target not in skipped]
    for name in graph.outputs:
        alone = "output" if len(graph.outputs) == 1 else f"output_{name}"
        while alone in nodes:
            alone += "_"
        nodes[alone] = {"type": "Output", "shape": np.array(graph.shapes[name])}
        edges.append(Edge(name, alone))
    loops = {e for e in edges if e.delay == 1 and _in_loop(graph, e)}
    tree = _connect(graph, nodes, edges, loops)
    # A reader puts the tick of a loop on an edge of its choice: it must be the Graph's edge.
    late = find_late_edges(check_tree(tree, WHAT))
    if late != {(e.source, e.target) for e in loops}:
        tree = _connect(graph, nodes, edges, set())
    tree["metadata"] = {"dt": float(graph.dt), "discretisation": discretisation}
    # nir takes a kernel's height for its width where it infers shapes; our shapes are checked.
    return nir.NIRGraph.from_dict({**tree, "type_check": False})


def _list_edges(graph: Graph, skipped: set[str]) -> list[Edge]:
    """Return the edges; an edge out of a skipped node starts at that node's source."""
    edges = []
    for edge in graph.edges:
        source, delay = edge.source, edge.delay
        while source in skipped:
            before = graph.into(source)[0]
            source, delay = before.source, Ticks(delay + before.delay)
        edges.append(Edge(source, edge.target, delay))
    return edges


def _connect(
    graph: Graph, nodes: Mapping[str, Tree], edges: list[Edge], implied: set[Edge]
) -> Tree:
    """Return the tree of a NIR graph; delays become nodes, except those of ``implied``."""
    every, pairs = dict(nodes), []
    for edge in edges:
        source = edge.source
        if edge.delay and edge not in implied:
            source = f"{edge.source}_after_{edge.delay}"
            if source not in every:
                wait = np.full(graph.shapes[edge.source], edge.delay * float(graph.dt))
                every[source] = {"type": "Delay", "delay": wait}
                pairs.append((edge.source, source))
        pairs.append((source, edge.target))
    return {"type": "NIRGraph", "nodes": every, "edges": pairs}


def _in_loop(graph: Graph, edge: Edge) -> bool:
    return any(edge.source in loop and edge.target in loop for loop in graph.components)


def _convert(
    graph: Graph, name: str, discretisation: Discretisation, skipped: set[str]
) -> Tree | str | None:
    """Return a node as NIR or a text of what is wrong; None if it only hands values on."""
    node = graph.nodes[name]
    if isinstance(node, Input):
        return {"type": "Input", "shape": np.array(node.shape)}
    taken, given = graph.input_shape(name), graph.shapes[name]
    if is_neuron(node):
        return _convert_neuron(graph, node, given, discretisation)
    if isinstance(node, Pointwise) and node.function == "identity":
        skipped.add(name)
        return None
    if isinstance(node, Flatten):
        behind = [graph.nodes[e.target] for e in graph.out_of(name)]
        if len(behind) == 1 and isinstance(behind[0], Unflatten):
            skipped.add(name)
            return None
        return _flatten(taken, 0, -1)
    if isinstance(node, Unflatten):
        (edge,) = graph.into(name)
        whole = graph.input_shape(edge.source)
        for first in range(len(whole)):
            for last in range(first, len(whole)):
                joined = int(np.prod(whole[first : last + 1]))
                if (*whole[:first], joined, *whole[last + 1 :]) == given:
                    return _flatten(whole, first, last)
        return "NIR flattens only; let what follows take a vector"
    return _convert_connection(node, taken)


def _flatten(shape: Shape, first: int, last: int) -> Tree:
    return {
        "type": "Flatten",
        "input_type": np.array(shape),
        "start_dim": first,
        "end_dim": last,
    }


def _convert_connection(node: Node, taken: Shape) -> Tree | str:
    """Return a connection as NIR, or a text of what is wrong."""
    if isinstance(node, Dense):
        return _make_linear(node.weight, node.bias)
    if isinstance(node, Sparse):
        if node.delay is not None and node.delay.any():
            return "synapses of one node have delays of their own; unroll_delays(graph).graph"
        own = node.indices.size == node.shape[0] == node.input_length
        if own and node.bias is None and (node.indices == node.source).all():
            return {"type": "Scale", "scale": node.weight}
        weight = np.zeros((*node.shape, node.input_length), node.weight.dtype)
        np.add.at(weight, (node.indices, node.source), node.weight)
        return _make_linear(weight, node.bias)
    if isinstance(node, AvgPool2d):
        return _make_pool("AvgPool2d", node.kernel, node.stride, (0, 0))
    if isinstance(node, Conv2d):
        channelwise = len(node.weight) == node.groups == node.input_length
        sums = channelwise and node.bias is None and (node.weight == 1).all()
        if sums and node.dilation == (1, 1) and node.weight[0].size > 1:
            kernel = (int(node.weight.shape[2]), int(node.weight.shape[3]))
            return _make_pool("SumPool2d", kernel, node.stride, node.padding)
    if isinstance(node, Conv1d | Conv2d):
        bias = np.zeros(len(node.weight), node.weight.dtype) if node.bias is None else node.bias
        return {
            "type": type(node).__name__,
            "input_shape": np.array(taken[1:]) if isinstance(node, Conv2d) else taken[1],
            "weight": node.weight,
            "bias": bias,
            "stride": node.stride,
            "padding": node.padding,
            "dilation": node.dilation,
            "groups": node.groups,
        }
    return (
        f"NIR has no {type(node).__name__}; it has Linear, Affine, Conv1d, Conv2d, AvgPool2d, "
        "SumPool2d, Flatten and Scale"
    )


def _make_linear(weight: np.ndarray, bias: np.ndarray | None) -> Tree:
    if bias is None:
        return {"type": "Linear", "weight": weight}
    return {"type": "Affine", "weight": weight, "bias": bias}


def _make_pool(
    kind: str, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> Tree:
    return {
        "type": kind,
        "kernel_size": np.array(kernel),
        "stride": np.array(stride),
        "padding": np.array(padding),
    }


def _convert_neuron(
    graph: Graph, node: Any, shape: Shape, discretisation: Discretisation
) -> Tree | str:
    """Return a population as NIR, or a text of what is wrong."""
    if not has_normal_form(node):
        return f"NIR has no {type(node).__name__}; use LIF, IF, LI or DiscreteLIF"
    k = node.coefficients(graph.dt)
    wrong = _find_unsayable(k) if node.fires else ""
    tree = wrong or _convert_membrane(k, node, float(graph.dt), discretisation)
    if isinstance(tree, str):
        return tree
    if node.fires:
        threshold, reset_to = k.threshold, k.reset_to
        if isinstance(node, DiscreteLIF) and tree["type"] != "IF":  # not counted from rest
            threshold = as_array(node.threshold)
            reset_to = as_array(node.rest if node.reset_to is None else node.reset_to)
        if not k.strict:
            threshold = np.nextafter(threshold, -np.inf)
        if tree["type"] == "Threshold":
            tree["threshold"] = threshold
        else:
            tree |= {"v_threshold": threshold, "v_reset": reset_to}
    spread = {
        name: value if name == "type" else np.array(np.broadcast_to(value, shape), np.float64)
        for name, value in tree.items()
    }
    return {**spread, "metadata": {FIRES: AT_THRESHOLD} if node.fires and not k.strict else {}}


def _convert_membrane(
    k: Coefficients, node: Any, dt: float, discretisation: Discretisation
) -> Tree | str:
    """Return the kind and the parameters of a NIR node except spikes, or what is wrong."""
    current = bool((k.decay_syn != 0).any())
    plain = node.fires and not current and (k.gain == 1).all() and not k.reset_to.any()
    if plain and (k.decay == 0).all() and not np.any(getattr(node, "rest", 0.0)):
        return {"type": "Threshold"}
    if (k.decay == 1).all():  # without a leak, rest only shifts v
        if current:
            return "NIR has no IF with a current; give it a leak: decay < 1, or a finite tau"
        return {"type": "IF" if node.fires else "I", "r": k.gain / dt}
    if (k.decay == 1).any():
        return "some of its neurons leak and some do not; make a population of each"
    kind = "LIF" if node.fires else "LI"
    rest = as_array(node.rest) if isinstance(node, DiscreteLIF) else np.zeros(())
    tau, into = _find_time(k.decay, dt, discretisation)
    if not current:
        return {"type": kind, "tau": tau, "v_leak": rest, "r": k.gain / into}
    tau_syn, _ = _find_time(k.decay_syn, dt, discretisation)
    if discretisation == "exponential":
        into = find_charge(tau, tau_syn, dt)
    return {
        "type": "Cuba" + kind,
        "tau_mem": tau,
        "tau_syn": tau_syn,
        "w_in": tau_syn / dt,
        "v_leak": rest,
        "r": k.gain / into,
    }


def _find_unsayable(k: Coefficients) -> str:
    """Return why NIR cannot express a neuron, with the cure; "" if it can."""
    if k.reset != Reset.HARD:
        return (
            f"NIR knows the hard reset only, not {str(k.reset)!r}; train it with reset='hard'"
        )
    if k.refractory:
        return f"NIR has no refractory period ({k.refractory} ticks); train it without one"
    if (k.beta != 0).any():
        return "NIR has no adaptation of the threshold; use beta=0 or a LIF"
    return ""


def _find_time(
    decay: np.ndarray, dt: float, discretisation: Discretisation
) -> tuple[np.ndarray, np.ndarray]:
    """Return the time constant of a decay, and the fraction of the target reached in a tick."""
    if discretisation == "euler":
        return as_array(dt / (1 - decay)), as_array(1 - decay)
    with np.errstate(divide="ignore"):
        rate = np.minimum(-np.log(decay), NOTHING)
    return as_array(dt / rate), as_array(-np.expm1(-rate))

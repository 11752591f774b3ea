"""What an executor requires of a Graph: a clock, a normal form, continuous time, or a chip."""

from collections.abc import Container

import numpy as np

from neuro.base.arguments import make_type_error
from neuro.graph.graph import Graph
from neuro.graph.order import find_least_delay
from neuro.graph.validate import GraphError, Hosted, find_cycle, get_kind
from neuro.neurons import Dynamics, has_normal_form, is_neuron, is_stepped
from neuro.neurons.reset import SOFT_OR_HARD


def require_graph(graph: object) -> None:
    """Raise a TypeError unless a value is a Graph."""
    if not isinstance(graph, Graph):
        cure = (
            "neuro.nn.trace.trace(net, input_shape) makes one of a Stack, net.graph() of a Net"
        )
        raise make_type_error("graph", "a Graph", graph, cure)


def require_clocked(graph: Graph) -> None:
    """Raise a GraphError if :func:`problems_on_a_clock` finds problems."""
    problems = problems_on_a_clock(graph)
    if problems:
        raise GraphError(problems, "the graph cannot run on a clock")


def problems_on_a_clock(graph: Graph, without: Container[str] = ()) -> list[str]:
    """List what cannot run tick by tick.

    These are zero-delay loops, and neurons that have no normal form for this tick length.

    without: neurons to skip, because they are refused for another reason.
    """
    problems = []
    for loop in graph.instant_loops:
        inside = [e for e in graph.edges if e.source in loop and e.target in loop]
        cycle = find_cycle(graph, [e for e in inside if find_least_delay(graph, e) == 0])
        problems.append(
            f"zero-delay loop {' -> '.join(cycle)}; give one of its edges a delay of >= 1 "
            "tick, or run it with clock=Exact()"
        )
    for name, node in graph.nodes.items():
        own = has_normal_form(node) or is_stepped(node)
        form = getattr(node, "coefficients", None) if own else None
        if form is None or name in without:
            continue
        try:
            form(graph.dt)
        except ValueError as error:
            cure = "" if is_stepped(node) else ", or run it with clock=Exact()"
            problems.append(f"{name}: {error}{cure}")
    return problems


def require_normal_form(graph: Graph, executor: str) -> None:
    """Raise a GraphError if :func:`problems_of_neurons` finds problems in ticks."""
    problems = problems_of_neurons(graph, executor)
    if problems:
        raise GraphError(problems, f"{executor} cannot run the graph")


def problems_of_neurons(graph: Graph, executor: str, *, continuous: bool = False) -> list[str]:
    """List the populations that an executor of the normal form cannot run, each with a cure.

    Such an executor knows the soft and the hard reset. Nodes that a host computes are skipped.
    In ticks, so are neurons that run by their step and what :func:`problems_on_a_clock`
    reports.

    Args:
        graph: the network.
        executor: name of the executor in messages.
        continuous: whether it uses the continuous form instead of the form in ticks.
    """
    cure = "run the graph on torch's clock, neuro.nn.replay"
    clock = "run the graph on a clock, neuro.nn.replay or Grid()"
    problems = []
    for name, node in graph.nodes.items():
        if not is_neuron(node) or isinstance(node, Hosted):
            continue
        if is_stepped(node) and not continuous:
            continue
        if not has_normal_form(node):
            problems.append(
                f"{name}: a {get_kind(node)} has no normal form, by which {executor} runs "
                f"neurons; {clock if is_stepped(node) else cure}"
            )
            continue
        try:
            form = node.dynamics(graph.dt) if continuous else node.coefficients(graph.dt)
        except ValueError as error:
            problems += [f"{name}: {error}"] if continuous else []
            continue
        if form.fires and form.reset not in SOFT_OR_HARD:
            problems.append(
                f"{name}: {executor} does not know the reset {str(form.reset)!r} of this "
                f"{get_kind(node)}; use 'soft' or 'hard', or {cure}"
            )
        if not isinstance(form, Dynamics) and form.strict and form.beta.any():
            problems.append(
                f"{name}: {executor} knows a strict threshold without adaptation only, and "
                f"this {get_kind(node)} has beta > 0; use strict=False or beta=0, or {cure}"
            )
        if isinstance(form, Dynamics) and (np.isinf(form.rate_adapt) & (form.beta > 0)).any():
            problems.append(
                f"{name}: a spike raises the threshold of this {get_kind(node)} (beta > 0) for "
                "no time at all (rho = 0), which is nothing on a clock, and has no meaning "
                "between its ticks; use beta=0"
            )
        own = form.rate_syn is not None if isinstance(form, Dynamics) else form.decay_syn.any()
        if not form.fires and (own or form.beta.any() or form.refractory):
            problems.append(
                f"{name}: this {get_kind(node)} never fires, but has a current of its own, an "
                f"adaptation or a refractory period, which {executor} does not know; use LI, "
                f"or {cure}"
            )
    return problems


def require_continuous(graph: Graph) -> None:
    """Raise a GraphError that lists all nodes that cannot run in continuous time.

    These are nodes that have values at ticks only, and neurons without a continuous form.
    """
    problems = [
        f"{name}: a {get_kind(node)} has a value a tick, and none between; use clock=Grid()"
        for name, node in graph.nodes.items()
        if isinstance(node, Hosted)
    ]
    problems += problems_of_neurons(graph, "the exact clock", continuous=True)
    if problems:
        raise GraphError(problems, "the graph cannot run in continuous time")


def problems_of_poisson(graph: Graph, why: str) -> list[str]:
    """List the Poisson nodes, each with the reason why it cannot run and a cure."""
    return [
        f"{name}: is a Poisson, and {why}; replace it by Input(shape={graph.shapes[name]}) and "
        f"give it the spikes of a run of this graph, record.spikes[{name!r}]"
        for name in graph.poisson
    ]


def problems_on_a_chip(graph: Graph) -> list[str]:
    """Return the nodes that no chip runs, each with its cure."""
    return problems_of_poisson(graph, "no chip draws spikes") + [
        f"{name}: no chip runs a {get_kind(node)}, its host does; "
        f"{'neuro convert makes an ANN spike; ' * (getattr(node, 'function', '') == 'relu')}"
        "leave it out of what is lowered: Deployment.part of a task returns the module without "
        "it, "
        "neuro.graph.partition.chip_part(graph) the Graph"
        for name, node in graph.nodes.items()
        if isinstance(node, Hosted)
    ]

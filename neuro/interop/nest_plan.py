"""A Graph in NEST's terms: model, parameters and synapses of each population.

NEST's neuron is dV/dt = -V / tau + (I_e + I_ex + I_in) / C. With C = tau [pF, ms], a constant
current of 1 pA raises V by 1 mV in the long run and adds 1 / tau to dV/dt. A current y of the
Graph adds y (1 / tau_s - 1 / tau) / (a - c) to its target's dv/dt, where a = exp(-dt / tau) and
c = exp(-dt / tau_s).
Axes: N neurons of a node, E synapses.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from neuro.base.units import Seconds, ticks
from neuro.graph import Edge, Graph, Hosted, Node, Reshaping, Sparse
from neuro.graph.impulse import list_synapses
from neuro.graph.inputs import find_span
from neuro.graph.paths import find_bias, find_paths, list_links
from neuro.interop.nest_script import NestNetwork, NestPopulation, NestStimulus, NestSynapses
from neuro.neurons import Dynamics, Reset, has_normal_form
from neuro.neurons.normal_form import as_array
from neuro.spikes import Times, find_quantum, to_instants

MS = 1e3  # ms per second


class NestError(ValueError):
    """NEST cannot run a Graph; ``problems`` lists each reason with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["NEST cannot run this graph:", *problems]))
        self.problems = problems


class Port(NamedTuple):
    """The state on which a spike acts that reaches a population.

    cell: name of the LIF.
    rate: decay rate of the synaptic current to which the spike is added [1/s], (N,); None: the
        spike is added to the membrane.
    gain: NEST's weight per unit of input, (N,).
    delay: from the population that the spike reaches to ``cell`` [ticks].
    """

    cell: str
    rate: Float[np.ndarray, " N"] | None
    gain: Float[np.ndarray, " N"]
    delay: int


def find_ports(graph: Graph, node: str) -> list[Port]:
    """Return every port on which a spike acts that reaches the population ``node``."""
    own = find_dynamics(graph, node)
    gain, rates = (
        spread_parameter(graph, node, own.gain),
        own.rate_syn if own.fires else own.rate,
    )
    if rates is None:
        return [Port(node, None, gain, 0)]
    rate = spread_parameter(graph, node, rates)
    cells = [(node, 0)] if own.fires else [(e.target, e.delay) for e in graph.out_of(node)]
    return [
        Port(cell, rate, gain * _strength(graph, cell, rate), delay) for cell, delay in cells
    ]


def _strength(
    graph: Graph, cell: str, rate_syn: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Return the pA into ``cell`` of a unit current with decay ``rate_syn`` [1/s] (N)."""
    rate, dt = spread_parameter(graph, cell, find_dynamics(graph, cell).rate), graph.dt
    gap = (rate_syn - rate) * dt
    # (1 - exp(-gap)) / gap, also if both decay alike.
    share = np.where(gap == 0, 1, -np.expm1(-gap) / np.where(gap == 0, 1, gap))
    return np.asarray(1 / (rate * dt * np.exp(-rate * dt) * share))


def find_synapses(
    graph: Graph, way: tuple[Edge, ...], port: Port, *, precise: bool = True
) -> NestSynapses:
    """Return the synapses along one path of edges that act through one port.

    At ticks, a spike raises a current before the membrane of that tick is computed, and in NEST
    after it. So in NEST it must arrive one tick earlier.
    """
    pre, post, weight, extra = _listed(graph, way)
    earlier = 0 if precise or port.rate is None else 1
    steps = sum(e.delay for e in way) + port.delay + extra.astype(np.int64) - earlier
    return NestSynapses(
        source=way[0].source,
        target=port.cell,
        pre=pre,
        post=post,
        weight=weight * port.gain[post],
        delay=steps * (graph.dt * MS),
    )


def _listed(
    graph: Graph, way: tuple[Edge, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (source, target, weight, delay in addition to the edges' [ticks]), each (E,)."""
    chain = list_links(graph, way)
    linear = [node for node in chain if not isinstance(node, Reshaping)]
    size = graph.size(way[0].source)
    if not linear:
        all_of_them = np.arange(size)
        return all_of_them, all_of_them, np.ones(size), np.zeros(size, np.int32)
    node = linear[0]
    if isinstance(node, Sparse) and len(linear) == 1:
        delay = np.zeros(node.indices.size, np.int32) if node.delay is None else node.delay
        return node.source, node.indices, np.asarray(node.weight, np.float64), delay
    pre, post, weight = list_synapses(chain, graph.shapes[way[0].source])
    return pre, post, weight, np.zeros(pre.size, np.int32)


def find_dynamics(graph: Graph, name: str) -> Dynamics:
    """Return the continuous normal form of a population."""
    node = graph.nodes[name]
    if not has_normal_form(node):
        raise TypeError(f"{name} is no population with dynamics")
    return node.dynamics(graph.dt)


def spread_parameter(graph: Graph, name: str, value: np.ndarray) -> Float[np.ndarray, " N"]:
    """Return a node's parameter as one value per neuron."""
    return np.broadcast_to(value, graph.shapes[name]).ravel().astype(np.float64)


def plan(
    graph: Graph,
    inputs: Mapping[str, Times],
    membranes: Mapping[str, Float[np.ndarray, "..."]],
    *,
    precise: bool = True,
    ticks: int | None = None,
    sample: int = 0,
) -> NestNetwork:
    """Return the network that NEST runs.

    inputs: the spikes of one sample.
    membranes: initial values [weight units], by population.
    ticks: length of a run without Inputs.
    sample: number of the sample, which gives NEST another seed for Poisson nodes.

    Raises:
        NestError: lists everything that NEST cannot do.
        ValueError: neither inputs nor ``ticks`` determine the length of the run.
    """
    length, _ = find_span((t.shape[:2] for t in inputs.values()), ticks, None)
    problems = _check_inputs(graph, inputs, membranes)
    problems += [
        f"{name}: NEST has no {type(node).__name__}; end the graph before it"
        for name, node in graph.nodes.items()
        if isinstance(node, Hosted)
    ]
    for name in (n for n in graph.populations if not isinstance(graph.nodes[n], Hosted)):
        problems += _check_model(graph, name, precise)
    if problems:
        raise NestError(problems)
    arriving: dict[str, list[tuple[Port, NestSynapses]]] = {n: [] for n in graph.firing}
    for way in (w for n in (*graph.sources, *arriving) for w in find_paths(graph, n)):
        for port in find_ports(graph, way[-1].target):
            synapses = find_synapses(graph, way, port, precise=precise)
            late = not precise and port.rate is not None
            problems += _check_path(graph, way, synapses, late=late)
            if synapses.pre.size:  # a connection may carry only a bias
                arriving[port.cell].append((port, synapses))
    cells = {
        name: _make_population(graph, name, ports, precise, problems)
        for name, ports in arriving.items()
    }
    if problems:
        raise NestError(problems)
    for name, value in membranes.items():
        cells[name].start["V_m"][:] = np.broadcast_to(value, graph.shapes[name]).ravel()
    return NestNetwork(
        dt=graph.dt * MS,
        ticks=length,
        precise=precise,
        populations=cells,
        stimuli={
            n: NestStimulus(t.shape[2], t.neuron, _to_ms(t, graph.dt), t.value)
            for n, t in inputs.items()
        },
        poisson={
            n: spread_parameter(graph, n, as_array(graph.nodes[n].rate))  # type: ignore[union-attr]
            for n in graph.poisson
        },
        seed=1 + (sum(graph.nodes[n].seed for n in graph.poisson) + sample) % (2**32 - 1),  # type: ignore[union-attr]
        synapses=tuple(s for ports in arriving.values() for _, s in ports),
    )


def _to_ms(times: Times, dt: Seconds) -> Float[np.ndarray, " E"]:
    """Return the instants of the exact clock [ms], so that equal sums are equal in NEST too."""
    return to_instants(times, dt, find_quantum(float(times.shape[0]))).time * (dt * MS)


def _round_dt(dt: Seconds) -> Seconds:
    """Return a tick length that NEST can count: dt itself, or the nearest in whole µs."""
    whole = max(1, round(dt * 1e6))
    return dt if abs(dt * 1e6 - whole) <= 1e-6 else Seconds(whole * 1e-6)


def _check_inputs(
    graph: Graph, inputs: Mapping[str, Times], membranes: Mapping[str, object]
) -> list[str]:
    """List why NEST cannot take dt, the inputs or the initial membranes."""
    problems = []
    if (dt := _round_dt(graph.dt)) != graph.dt:
        problems.append(f"dt = {graph.dt:g} s: NEST counts in whole µs; take dt = {dt:.15g} s")
    problems += [
        f"{name}: negative values of input spikes; negate the weights behind it instead"
        for name, times in inputs.items()
        if (times.value < 0).any()
    ]
    problems += [
        f"membranes of {name!r}: not a LIF of this graph; have {', '.join(graph.firing)}"
        for name in membranes
        if name not in graph.firing
    ]
    return problems


def _check_model(graph: Graph, name: str, precise: bool) -> list[str]:
    """List why NEST cannot run this population."""
    node = graph.nodes[name]
    unknown = f"{name}: NEST has no {type(node).__name__} with an exact solution; use a LIF"
    if not has_normal_form(node):
        return [unknown]
    try:
        k = node.dynamics(graph.dt)
    except ValueError as error:
        return [f"{name}: {error}"]
    if k.beta.any() or (node.fires and (k.gain != 1).any()):
        return [unknown]
    if not node.fires:
        return [unknown] if k.rate_syn is not None else _check_current(graph, name)
    if found := _check_spikes(graph, name, k, precise):
        return found
    problems = []
    if (k.rate == 0).any():
        problems.append(f"{name}: NEST needs a leak; use a finite tau")
    dt = _round_dt(graph.dt)
    try:
        wait = ticks(k.refractory, dt)
    except ValueError:  # it suggests a shorter dt, which NEST may not have
        near = max(1, round(k.refractory / dt)) * dt
        whole = (
            f"{name}.refractory: {k.refractory:g} s is no whole number of ticks of dt = "
            f"{dt:g} s; take {near:.15g} s"
        )
        return [*problems, whole]
    if precise and wait < 1:
        problems.append(
            f"{name}: NEST's precise models need refractory >= dt = {graph.dt:g} s, got "
            f"{k.refractory:g} s; lengthen it or take precise=False"
        )
    return problems


def _check_spikes(graph: Graph, name: str, k: Dynamics, precise: bool) -> list[str]:
    """List why NEST does not fire or reset as this population does."""
    if k.reset == Reset.SOFT:
        return [f'{name}: NEST resets to a value, never by one; use reset="hard"']
    if k.reset != Reset.HARD:
        return [f'{name}: the reset {str(k.reset)!r} is not written for NEST; use reset="hard"']
    if not precise and _is_strict(graph.nodes[name], graph.dt):
        return [
            f"{name}: at ticks NEST fires when a membrane equals its threshold, and this "
            "threshold is strict; use strict=False or precise=True"
        ]
    return []


def _is_strict(node: Node, dt: Seconds) -> bool:
    """Say whether a threshold is strict; False if the model has no form at ticks."""
    try:
        return has_normal_form(node) and node.coefficients(dt).strict
    except ValueError:  # other checks report it
        return False


def _check_current(graph: Graph, name: str) -> list[str]:
    """List why an LI cannot be a synaptic current in NEST."""
    targets = [e.target for e in graph.out_of(name)]
    if not targets:
        return [f"{name}: NEST has no read-out; end with the population that feeds {name}"]
    problems = [
        f"{name}: feeds {target}; in NEST a current feeds a LIF only"
        for target in targets
        if target not in graph.firing
    ]
    none: list[str] = []
    if find_bias(graph, name, none)[0].any() or none:
        problems.append(f"{name}: has a bias; put it on a connection into {', '.join(targets)}")
    if (graph.nodes[name].dynamics(graph.dt).rate == 0).any():  # type: ignore[union-attr]
        problems.append(f"{name}: a current of NEST decays; use a finite tau")
    return problems


def _check_path(
    graph: Graph, way: tuple[Edge, ...], synapses: NestSynapses, *, late: bool
) -> list[str]:
    """List why NEST cannot run the synapses along a path of edges.

    late: whether they lead to a current at ticks, which acts one tick later in NEST.
    """
    path = " -> ".join(
        dict.fromkeys([*(e.source for e in way), way[-1].target, synapses.target])
    )
    via = [graph.nodes[e.target] for e in way[:-1]]
    problems = []
    own = [node for node in via if isinstance(node, Sparse) and node.delay is not None]
    if own and len([node for node in via if not isinstance(node, Reshaping)]) > 1:
        problems.append(
            f"{path}: a Sparse with delays of its own stands in a chain of connections; put a "
            "population between"
        )
    least = synapses.delay.min(initial=np.inf)
    if synapses.source not in graph.sources and least < 0.5 * graph.dt * MS:
        problems.append(
            f"{path}: its delay is less than 2 ticks, and with spikes at ticks a current of "
            "NEST acts a tick later; lengthen it to >= 2 ticks or take precise=True"
            if late
            else f"{path}: arrives without delay; NEST needs >= 1 tick on one of its edges"
        )
    return problems


def _make_population(
    graph: Graph,
    name: str,
    arriving: list[tuple[Port, NestSynapses]],
    precise: bool,
    problems: list[str],
) -> NestPopulation:
    """Return a LIF as a NEST population; add what NEST cannot do to ``problems``."""
    own, size = find_dynamics(graph, name), graph.size(name)
    tau = MS / spread_parameter(graph, name, own.rate)
    parameters = {
        "tau_m": tau,
        "C_m": tau,
        "V_th": spread_parameter(graph, name, own.threshold),
        "t_ref": np.full(size, ticks(own.refractory, graph.dt) * graph.dt * MS),
    }
    if own.reset_to.any():
        parameters["V_reset"] = spread_parameter(graph, name, own.reset_to)
    drive, since = find_bias(graph, name, problems)
    if own.rate_syn is not None and drive.any():
        problems.append(
            f"{name}: a bias goes through its own current; leave tau_syn out and send its "
            "spikes through LI nodes: then the bias acts on the membrane"
        )
    if since:
        problems.append(
            f"{name}: its bias sets in after {since} ticks; put the delay before it"
        )
    start = {
        "V_m": np.zeros(size),
        "I_e": drive / -np.expm1(-spread_parameter(graph, name, own.rate) * graph.dt),
    }
    model = "iaf_psc_delta_ps" if precise else "iaf_psc_delta"
    if any(port.rate is not None for port, _ in arriving):
        taus = _time_constants(name, arriving, problems)
        parameters |= dict(zip(("tau_syn_ex", "tau_syn_in"), taus, strict=True))
        alike = np.array_equal(*taus) and (taus[0] != tau).all()
        model = "iaf_psc_exp_ps_lossless" if alike else "iaf_psc_exp_ps"
        model = model if precise else "iaf_psc_exp"
    return NestPopulation(model, parameters, start)


def _time_constants(
    name: str, arriving: list[tuple[Port, NestSynapses]], problems: list[str]
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return tau of excitatory and inhibitory currents [ms]; add misfits to ``problems``."""
    if any(port.rate is None for port, _ in arriving):
        problems.append(
            f"{name}: some spikes make its membrane jump, others go through a current; NEST "
            "has cells for one or the other: send all of them through LI nodes, or none"
        )
    taus: list[Float[np.ndarray, " N"] | None] = []
    for kind, sign in (("excitatory", 1), ("inhibitory", -1)):
        rates = [
            p.rate for p, s in arriving if p.rate is not None and (sign * s.weight > 0).any()
        ]
        if any(not np.array_equal(rate, rates[0]) for rate in rates):
            problems.append(
                f"{name}: {kind} currents decay at different rates; NEST has one time constant "
                f"for each sign of weight: give its {kind} synapses one LI"
            )
        taus.append(MS / rates[0] if rates else None)
    first = next(p.rate for p, _ in arriving if p.rate is not None)
    excitatory = next((tau for tau in taus if tau is not None), MS / first)
    return excitatory, excitatory if taus[1] is None else taus[1]

"""Lowers a Graph to a LoihiProgram: floats become integers here and nowhere else.

Every population has one scale S (weight units per float unit), common to all its incoming
connections. S puts the largest weight on an even integer 2m, m between 64 and 127 where the
threshold's 17 bits allow it; of these S the one with the least squared error of weights and
threshold is taken, so that whatever can be exact, is exact. A smaller m is used where sums
could reach 2^23 otherwise. Weights are even: Lava keeps no odd ones where signs are mixed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lava_export.checks import list_wide_integers
from lava_export.program import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    LARGEST_WEIGHT,
    NO_MEMORY,
    THRESHOLD_BITS,
    Kind,
    LoihiConnection,
    LoihiProgram,
    Population,
    as_int32,
    list_separate_parts,
)
from lava_export.rules import compute_head_room, keeps_no_memory, list_overflows
from neuro.arguments import require_whole_ticks
from neuro.graph import Graph, Hosted, Input
from neuro.graph.partition import assign_lags, find_tight_loops
from neuro.graph.paths import Route, find_bias, find_routes
from neuro.graph.requirements import (
    problems_of_neurons,
    problems_on_a_clock,
    require_graph,
)
from neuro.io.graph_digest import digest_graph
from neuro.neurons import Coefficients, has_normal_form

MAX_THRESHOLD = 2**THRESHOLD_BITS - 1


class LowerError(ValueError):
    """A Graph that has no program for a chip; ``problems`` lists each reason and cure."""

    def __init__(self, problems: list[str], chip: str = "Loihi") -> None:
        super().__init__("\n".join([f"the graph cannot be lowered to {chip}:", *problems]))
        self.problems = problems


class Bias(NamedTuple):
    """mantissa << exponent, in units of v."""

    mantissa: np.ndarray
    exponent: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatPopulation:
    """A population before rounding; arrays have shape (N,).

    incoming: the routes that end here. bias: per tick, gain included, from tick
    ``bias_after`` on.
    """

    name: str
    c: Coefficients
    incoming: list[Route]
    bias: Float[np.ndarray, " N"]
    bias_after: int


class LoweredLayer(NamedTuple):
    """A population in integers and the connections that end there."""

    population: Population
    incoming: tuple[LoihiConnection, ...]


def lower(
    graph: Graph, *, ticks: int | None = None, largest_weight: int = LARGEST_WEIGHT
) -> LoihiProgram:
    """Return the program of a graph; the graph stays as it is.

    ticks: of the longest run to come: shorter runs need less head-room for sums, which leaves
        finer weights. None: runs of any length, which a state without leak cannot have.
    largest_weight: the largest integer weight to use, even, <= 254.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: ``ticks`` or ``largest_weight`` is out of range.
        LowerError: lists everything that cannot go, each with its cure.
    """
    require_graph(graph)
    if ticks is not None:
        require_whole_ticks("ticks", ticks)
    if not 2 <= largest_weight <= LARGEST_WEIGHT or largest_weight % 2:
        raise ValueError(
            f"largest_weight must be even, from 2 to {LARGEST_WEIGHT}, got {largest_weight}"
        )
    if ticks is not None and ticks < 1:
        raise ValueError(f"ticks must be >= 1, or None for runs of any length, got {ticks}")
    waits = _find_refractory_periods(graph)
    problems = problems_of_neurons(graph, "a chip")
    if problems or problems_on_a_clock(graph):
        problems = problems_on_a_clock(graph, without=waits) + problems
        raise LowerError([*problems, *waits.values()])
    problems = list(waits.values())
    parts = collect_populations(graph, problems)
    routes = [r for p in parts for r in p.incoming]
    problems += find_tight_loops(graph, routes)
    problems += [problem for p in parts for problem in _list_vanishing_weights(p)]
    problems += [problem for p in parts for problem in _list_vanishing_decays(p)]
    hosted = any(isinstance(node, Hosted) for node in graph.nodes.values())
    if not hosted:  # those cut it into parts
        problems += list_separate_parts(
            [*graph.inputs, *graph.populations], [(r.source, r.target) for r in routes]
        )
    if problems:
        raise LowerError(problems)
    lag = assign_lags([*graph.inputs, *graph.populations], routes)
    sources = [
        Population(name=n, kind="input", shape=node.shape)
        for n, node in graph.nodes.items()
        if isinstance(node, Input)
    ]
    layers = [_fit_scale(p, graph.shapes[p.name], lag, largest_weight, ticks) for p in parts]
    program = LoihiProgram(
        populations=(*sources, *(layer.population for layer in layers)),
        connections=tuple(c for layer in layers for c in layer.incoming),
        ticks=None if ticks is None else int(ticks),
        digest=digest_graph(graph),
    )
    problems = list_wide_integers(program) or list_overflows(program)
    if problems:
        raise LowerError(problems)
    return program


def _fit_scale(
    p: FloatPopulation,
    shape: tuple[int, ...],
    lag: dict[str, int],
    largest: int,
    ticks: int | None,
) -> LoweredLayer:
    """Return a population and its synapses at the finest scale whose sums stay below 2^23."""
    while True:
        scale = _choose_scale(p, largest)
        population = _population(p, shape, lag[p.name], scale)
        incoming = tuple(_connection(r, lag, scale) for r in p.incoming)
        forgets = population.kind == "lif" and not p.c.decay.any()
        if forgets and not keeps_no_memory(population, incoming, ticks):
            population = replace(population, kind="alif", dv=as_int32(NO_MEMORY))
        excess = compute_head_room(population, incoming, ticks)
        if excess < 1 or largest == 2:
            return LoweredLayer(population, incoming)
        largest = max(2, int(scale * _find_largest(p) / excess * 0.98) // 2 * 2)


def collect_populations(graph: Graph, problems: list[str]) -> list[FloatPopulation]:
    """Return every population before rounding, sources first; adds to ``problems``."""
    routes = find_routes(graph, problems)
    parts = []
    for name in (n for n in graph.populations if not isinstance(graph.nodes[n], Hosted)):
        k = graph.nodes[name].coefficients(graph.dt)  # type: ignore[union-attr]
        c = k.spread(graph.shapes[name])
        total, after = find_bias(graph, name, problems)
        if total.any() and c.decay_syn.any():
            problems.append(
                f"{name}: a bias passes its synaptic current in a graph, and goes straight to "
                "v on Loihi; leave out the bias or tau_syn"
            )
        incoming = [r for r in routes if r.target == name]
        parts.append(
            FloatPopulation(
                name=name,
                c=c,
                incoming=incoming,
                bias=total,
                bias_after=after,
            )
        )
    return parts


def round_to_even_integers(
    weight: Float[np.ndarray, "..."], scale: float
) -> Float[np.ndarray, "..."]:
    """Return weight x scale, rounded to even integers."""
    return np.asarray(2 * np.rint(weight * (scale / 2)))


def _find_refractory_periods(graph: Graph) -> dict[str, str]:
    """Return what to tell of refractory periods, whole ticks or not, by population."""
    messages = {}
    for name, node in graph.nodes.items():
        if not has_normal_form(node):
            continue
        try:
            wait = node.coefficients(graph.dt).refractory * graph.dt
        except ValueError:  # no whole ticks, or another problem on a clock
            wait = getattr(node, "refractory", 0.0)
        if wait:
            messages[name] = (
                f"{name}: a refractory period of {wait:g} s, which no neuron of a program here "
                "has; use refractory=0"
            )
    return messages


def _round_up(x: np.ndarray) -> np.ndarray:
    """Round up, but take what a float error puts just above an integer for that integer."""
    return np.asarray(np.ceil(x - 1e-6))


def _count_firing(
    threshold: np.ndarray, scale: float, strict: bool
) -> Float[np.ndarray, "..."]:
    """Return n, the least integer at which a neuron fires, a weight unit above vth."""
    if strict:
        return -_round_up(-threshold * scale) + 1
    return _round_up(threshold * scale)


def _find_largest(p: FloatPopulation) -> float:
    """Return the float that becomes the largest integer: the largest weight, if any."""
    largest = max((float(np.abs(r.weight).max(initial=0)) for r in p.incoming), default=0.0)
    return largest or (float(p.c.threshold.max()) if p.c.fires else 1.0)


def _limit_half_weight(p: FloatPopulation) -> int:
    """Return the largest m, half the largest weight, that leaves the threshold in its bits."""
    if not p.c.fires:
        return LARGEST_WEIGHT // 2
    most = int(MAX_THRESHOLD / p.c.threshold.max() * _find_largest(p) / 2)
    return min(LARGEST_WEIGHT // 2, most)


def _list_vanishing_weights(p: FloatPopulation) -> Iterator[str]:
    if _limit_half_weight(p) < 1:
        threshold, weight = p.c.threshold.max(), _find_largest(p)
        yield (
            f"{p.name}: its threshold {threshold:g} is more than {MAX_THRESHOLD // 2} times "
            f"its largest weight {weight:g}, so that no weight is left in integers; lower the "
            "threshold or raise the weights"
        )


def _list_vanishing_decays(p: FloatPopulation) -> Iterator[str]:
    """Yield the decays that 12 bits would turn into none, or into the loss of all memory.

    A decay that is exactly so is intended.
    """
    adapts = p.c.beta > 0
    # Where nothing of v is meant to be kept, there is a way: see keeps_no_memory.
    for state, kept, longest, shortest in (
        ("v", p.c.decay, 1.0, 0.0),
        ("the synaptic current", p.c.decay_syn, np.inf, 0.0),  # its du = 0 still decays
        ("the threshold", p.c.decay_adapt[adapts], 1.0, np.inf),  # 12 bits would leave 1/4096
    ):
        steps = np.rint(4096 * (1 - kept))
        for bad, cure in (
            ((steps < 1) & (kept != longest), "use a shorter time constant, below 8192 dt"),
            ((steps > 4095) & (kept != shortest), "use a longer time constant"),
        ):
            if bad.any():
                yield (
                    f"{p.name}: {state} keeps {kept[bad][0]:.9g} of itself a tick, which is "
                    f"no decay between 1/4096 and 4095/4096; {cure}"
                )


def _choose_scale(p: FloatPopulation, largest: int) -> float:
    """Return S for a population, see the head of this file."""
    weight = np.concatenate([r.weight.ravel() for r in p.incoming]) / _find_largest(p)
    threshold = (p.c.threshold if p.c.fires else np.zeros(1)) / _find_largest(p)
    top = min(largest // 2, _limit_half_weight(p))
    best = min(
        range(top, (top - 1) // 2, -1),
        key=lambda m: _measure_error(weight, threshold, 2.0 * m, p.c.strict),
    )
    return 2 * best / _find_largest(p)


def _measure_error(
    weight: np.ndarray, threshold: np.ndarray, scale: float, strict: bool
) -> float:
    """Return the mean squared error of weights and threshold, relative to the largest weight.

    Rounded, so that float noise does not prefer a coarser scale to a finer one as exact.
    """
    of_weight = np.square(round_to_even_integers(weight, scale) / scale - weight)
    integers: np.ndarray = _count_firing(threshold, scale, strict) - float(strict)
    of_threshold = np.square(integers / scale - threshold)
    total = of_weight.mean() if weight.size else 0.0
    return float(np.round(total + of_threshold.mean(), 15))


def _population(
    p: FloatPopulation, shape: tuple[int, ...], lag: int, scale: float
) -> Population:
    c = p.c
    n = _count_firing(c.threshold, scale, c.strict) if c.fires else np.ones(1)
    beta = np.rint(c.beta * scale)
    b = to_bias(p.bias * scale * 64)
    du, dv = _decay(c.decay_syn, offset=1), _decay(c.decay, offset=0)
    uniform = all(np.ptp(x) == 0 for x in (du, dv, n))
    # A reset to a value stays below the threshold, whatever the rounding.
    to = np.minimum(np.rint(c.reset_to * scale * 64), 64 * (n - 1))
    reset_to = _short(to) if c.hard and to.any() else None
    own = c.fires and not c.hard and (c.strict or (c.subtracted != c.threshold).any())
    reset_by = _short(np.rint(c.subtracted * scale * 64)) if own else None
    stock = uniform and c.hard and reset_to is None
    stock = stock and not beta.any() and not b.mantissa.any()
    kind: Kind = "li" if not c.fires else "lif" if stock else "alif"
    if kind == "alif":
        dv = np.where(c.decay == 0, NO_MEMORY, dv)
    elif kind == "lif" and not c.decay.any():
        n += n % 2  # sums are even: the same spikes, and the threshold is between two of them
    return Population(
        name=p.name,
        kind=kind,
        shape=shape,
        lag=lag,
        scale=scale,
        du=_short(du),
        dv=_short(dv),
        vth=_short(n - 1),
        da=_short(_decay(c.decay_adapt, offset=0)),
        beta=_short(beta),
        bias_mant=_short(b.mantissa),
        bias_exp=_short(b.exponent),
        hard=c.hard,
        bias_after=p.bias_after,
        reset_to=reset_to,
        reset_by=reset_by,
    )


def _decay(kept: np.ndarray, offset: int) -> np.ndarray:
    """Return 4096 (1 - kept) as a 12-bit integer; Loihi adds ``offset`` to it again."""
    return np.asarray(np.clip(np.rint(4096 * (1 - kept)) - offset, 0, 4095))


def _short(values: np.ndarray) -> np.ndarray:
    """Return the values as int32, as one number where all are equal."""
    return as_int32(values[:1] if np.ptp(values) == 0 else values)


def to_bias(value: Float[np.ndarray, " N"]) -> Bias:
    """Return the nearest mantissa << exponent, with the least exponent that the mantissa fits.

    Beyond exponent 7 the mantissa grows out of its 13 bits: :mod:`lava_export.rules` tells.
    """
    exponent = np.zeros(value.shape, np.int64)
    for _ in range(2**BIAS_EXPONENT_BITS - 1):
        mantissa = np.rint(value / 2.0**exponent)
        fits = (mantissa >= -(2**BIAS_MANTISSA_BITS)) & (mantissa < 2**BIAS_MANTISSA_BITS)
        exponent = np.where(fits, exponent, exponent + 1)
    return Bias(np.rint(value / 2.0**exponent), exponent)


def _connection(r: Route, lag: dict[str, int], scale: float) -> LoihiConnection:
    """Return a route in integers; a kernel is stored plain, zeros for dilation and groups."""
    weight = r.conv.plain().weight if r.kind == "conv" else r.weight
    return LoihiConnection(
        name=r.name,
        source=r.source,
        target=r.target,
        kind=r.kind,
        weight=as_int32(round_to_even_integers(weight, scale)),
        shape=r.shape,
        stride=r.stride,
        padding=r.padding,
        places=as_int32(r.places),
        sizes=r.sizes,
        extra=lag[r.target] - lag[r.source] + r.delay - 1,
    )

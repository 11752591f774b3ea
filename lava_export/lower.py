"""Lowering of a Graph to a LoihiProgram: the only step that turns floats into integers.

Every population has one scale S (weight units per float unit), common to all its incoming
connections. S maps the largest weight to an even integer 2m, with m from 64 to 127 where the
threshold's 17 bits allow it. Of these S, the lowering takes the one with the least squared
error of weights and threshold, so that values that can be exact are exact. It uses a smaller m
where sums could reach 2^23 otherwise. Weights are even: where signs are mixed, Lava keeps no
odd ones.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from lava_export.checks import list_wide_integers
from lava_export.float_population import (
    ROUNDING,
    FloatPopulation,
    LoweredLayer,
    Setting,
    find_largest_weight,
    make_connection,
    round_to_even_integers,
    round_up,
    shorten,
)
from lava_export.lower_loihi import (
    is_in_integers,
    list_problems_of_integers,
    lower_integers,
)
from lava_export.lower_sigma_delta import (
    adds_up_changes,
    choose_units,
    is_coder,
    list_lost_weights,
    list_problems_of_coders,
    lower_coder,
    lower_sum,
)
from lava_export.population import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    LARGEST_WEIGHT,
    MESSAGE_BITS,
    NO_MEMORY,
    THRESHOLD_BITS,
    Kind,
    Population,
    as_int32,
    find_messages,
)
from lava_export.program import EXPONENTS, LoihiProgram, list_separate_parts
from lava_export.rules import compute_head_room, keeps_no_memory, list_overflows
from neuro.base.arguments import require_whole_ticks
from neuro.base.units import Seconds
from neuro.graph import Graph, Hosted
from neuro.graph.partition import assign_lags, find_tight_loops
from neuro.graph.paths import find_bias, find_routes
from neuro.graph.requirements import (
    problems_of_neurons,
    problems_on_a_clock,
    require_graph,
)
from neuro.io.graph_digest import digest_graph
from neuro.neurons import (
    Coefficients,
    Delta,
    LIFReset,
    SigmaDelta,
    TernaryLIF,
    has_normal_form,
    is_stepped,
)
from neuro.neurons.normal_form import as_array

MAX_THRESHOLD = 2**THRESHOLD_BITS - 1
NO_BOUNDS: Mapping[str, float] = {}


class LowerError(ValueError):
    """The Graph has no program for a chip; ``problems`` lists each reason and cure."""

    def __init__(self, problems: list[str], chip: str = "Loihi") -> None:
        super().__init__("\n".join([f"the graph cannot be lowered to {chip}:", *problems]))
        self.problems = problems


class Bias(NamedTuple):
    """A bias: mantissa << exponent, in units of v."""

    mantissa: np.ndarray
    exponent: np.ndarray


def lower(
    graph: Graph,
    *,
    ticks: int | None = None,
    largest_weight: int = LARGEST_WEIGHT,
    bounds: Mapping[str, float] = NO_BOUNDS,
) -> LoihiProgram:
    """Return the program of a graph; the graph is unchanged.

    Args:
        graph: the Graph.
        ticks: length of the longest run to come: a shorter run needs less head-room for sums,
            which leaves finer weights. None: runs of any length, impossible for a state without
            leak.
        largest_weight: the largest integer weight to use, even, <= 254.
        bounds: by population, the largest |v| to expect [units of the float network], see
            :func:`lava_export.calibration.measure_bounds`. It counts where the bound of the
            weights, which without a leak grows with ``ticks``, needs coarser weights; v clips
            beyond its 23 bits.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: ``ticks`` or ``largest_weight`` is out of range.
        LowerError: lists everything that cannot be lowered, each with its cure.
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
    if is_in_integers(graph):
        if problems := list_problems_of_integers(graph):
            raise LowerError(problems)
        return lower_integers(graph, ticks)
    problems = problems_of_neurons(graph, "a chip") + list(_list_unknown_neurons(graph))
    if problems or problems_on_a_clock(graph):
        raise LowerError(problems_on_a_clock(graph) + problems)
    parts = collect_populations(graph, problems)
    routes = [r for p in parts for r in p.incoming]
    problems += find_tight_loops(graph, routes)
    membranes = [p for p in parts if not is_coder(p)]
    problems += [problem for p in membranes for problem in _list_vanishing_weights(p)]
    problems += [problem for p in membranes for problem in _list_vanishing_decays(p)]
    problems += [problem for p in membranes for problem in _list_mixed_ternaries(p)]
    problems += list_problems_of_coders(parts)
    hosted = any(isinstance(node, Hosted) for node in graph.nodes.values())
    if not hosted:  # a host cuts the graph into parts
        names = [*graph.inputs, *graph.populations]
        ends = [(r.source, r.target) for r in routes]
        currents = [(e.source, e.target) for e in graph.edges if {*e[:2]} <= {*names}]
        problems += list_separate_parts(names, ends + currents)
    if problems:
        raise LowerError(problems)
    sources = [
        Population(
            name=name,
            kind="input",
            shape=graph.shapes[name],
            message_bits=getattr(graph.nodes[name], "message_bits", 0),
        )
        for name in graph.inputs
    ]
    program = LoihiProgram(
        **_lower_layers(graph, sources, parts, (ticks, largest_weight, bounds)),
        ticks=None if ticks is None else int(ticks),
        digest=digest_graph(graph),
    )
    problems = list_wide_integers(program) or list_overflows(program)
    problems += [*list_lost_weights(program), *_list_lost_thresholds(program, membranes)]
    if problems:
        raise LowerError(problems)
    return program


def _lower_layers(
    graph: Graph,
    sources: list[Population],
    parts: list[FloatPopulation],
    limits: tuple[int | None, int, Mapping[str, float]],
) -> dict[str, Any]:
    """Return the populations and the connections of a program, as keyword arguments.

    limits: ticks, largest_weight and bounds of :func:`lower`.
    """
    ticks, largest_weight, bounds = limits
    routes = [r for p in parts for r in p.incoming]
    plain = [*(p.name for p in sources), *(p.name for p in parts if not is_coder(p))]
    units = dict.fromkeys(plain, 0)
    coders = choose_units(parts, units)
    setting = Setting(
        lag=assign_lags([*graph.inputs, *graph.populations], routes),
        messages={p.name: p.messages for p in sources}
        | {p.name: _find_messages(p) for p in parts},
        units=units,
        ticks=ticks,
        largest=largest_weight,
        bounds=bounds,
    )
    layers = [
        lower_coder(p, coders[p.name], setting)
        if p.name in coders
        else lower_sum(p, setting)
        if coders and adds_up_changes(p, coders)
        else _fit_scale(p, setting)
        for p in parts
    ]
    return {
        "populations": (*sources, *(layer.population for layer in layers)),
        "connections": tuple(c for layer in layers for c in layer.incoming),
    }


def _list_lost_thresholds(
    program: LoihiProgram, membranes: list[FloatPopulation]
) -> Iterator[str]:
    """Yield populations with a threshold below 1 after the right shift of their sums."""
    for p in (p for p in membranes if p.c.fires):
        least = _find_thresholds(p).min() * program[p.name].scale
        if least < 1 - ROUNDING and any(c.weight_exp < 0 for c in program.into(p.name)):
            yield (
                f"{p.name}: its threshold is {least:.3g} of a unit of its sums, with room "
                "for the largest graded spikes; use fewer message_bits, fewer sources, a "
                "shorter run, or a higher threshold"
            )


def _find_messages(p: FloatPopulation) -> tuple[int, int]:
    """Return the least and the largest spike of a population."""
    kind: Kind = "ternary" if isinstance(p.neuron, TernaryLIF) else "lif"
    return find_messages(kind, MESSAGE_BITS if is_coder(p) else 0)


def _fit_scale(p: FloatPopulation, setting: Setting) -> LoweredLayer:
    """Return a population and its synapses at the finest scale with all sums below 2^23.

    Sums of graded spikes are shifted to the right where the connections can.
    """
    largest, exponent = setting.largest, 0
    graded = any(setting.messages[r.source] != (0, 1) for r in p.incoming)
    shifts = graded and not any(r.kind == "conv" for r in p.incoming)
    while True:
        plain = _choose_scale(p, largest, exponent)
        scale = plain * 2.0**exponent
        population = _population(p, setting.lag[p.name], scale)
        incoming = tuple(make_connection(r, setting.lag, plain, exponent) for r in p.incoming)
        room = (incoming, setting.ticks, setting.messages)
        forgets = population.kind == "lif" and not p.c.decay.any()
        if forgets and not keeps_no_memory(population, *room):
            population = replace(population, kind="alif", dv=as_int32(NO_MEMORY))
        excess = compute_head_room(population, *room)
        if excess >= 1 and (bound := setting.bounds.get(p.name, 0.0)):
            population = replace(population, v_bound=math.ceil(64 * scale * bound))
            excess = compute_head_room(population, *room)
        if excess < 1 or largest == 2:
            return LoweredLayer(population, incoming)
        if shifts and exponent > EXPONENTS[0] and np.isfinite(excess):
            exponent = max(EXPONENTS[0], exponent - max(1, math.ceil(math.log2(excess))))
            continue
        largest = max(2, int(plain * _find_largest(p) / excess * 0.98) // 2 * 2)


def collect_populations(graph: Graph, problems: list[str]) -> list[FloatPopulation]:
    """Return every population before rounding, sources first; add to ``problems``."""
    routes = find_routes(graph, problems)
    parts = []
    for name in (n for n in graph.populations if not isinstance(graph.nodes[n], Hosted)):
        c = _find_form(graph.nodes[name], graph.dt).spread(graph.shapes[name])
        total, after = find_bias(graph, name, problems)
        if total.any() and c.decay_syn.any():
            problems.append(
                f"{name}: a bias passes its synaptic current in a graph, and goes straight to "
                "v on Loihi; leave out the bias or tau_syn"
            )
        parts.append(
            FloatPopulation(
                name=name,
                neuron=graph.nodes[name],  # type: ignore[arg-type]
                shape=graph.shapes[name],
                c=c,
                incoming=[r for r in routes if r.target == name],
                bias=total,
                bias_after=after,
            )
        )
    return parts


def _find_form(node: Any, dt: Seconds) -> Coefficients:
    """Return the normal form of a neuron, or the fields of one that the neuron has."""
    if has_normal_form(node):
        return node.coefficients(dt)
    form: Coefficients = FORMS[type(node)](node, dt)
    return form


def _make_form_of_coder(node: Delta | SigmaDelta, _: Seconds) -> Coefficients:
    return Coefficients(decay=np.ones(()), threshold=as_array(node.threshold), reset=None)


FORMS: Mapping[type, Callable[[Any, Seconds], Coefficients]] = {
    **dict.fromkeys((TernaryLIF, LIFReset), lambda node, dt: node.charge_form(dt)),
    **dict.fromkeys((Delta, SigmaDelta), _make_form_of_coder),
}
# Extra parameters of a population, by model of the neuron.
EXTRAS: Mapping[type, Callable[[Any, "FloatPopulation", float], dict[str, Any]]] = {
    TernaryLIF: lambda node, p, scale: {
        "vth_low": shorten(1 - _count_firing(_find_lower(node, p), scale, False))
    },
    LIFReset: lambda node, p, scale: {  # noqa: ARG005
        "reset_interval": int(node.interval),
        "reset_offset": int(node.offset),
    },
}


def _list_unknown_neurons(graph: Graph) -> Iterator[str]:
    """Yield the neurons without a normal form and without a process of Lava's."""
    for name, node in graph.nodes.items():
        if is_stepped(node) and type(node) not in FORMS:
            yield (
                f"{name}: no process of Lava's stands for a {type(node).__name__}; take "
                f"{' or '.join(kind.__name__ for kind in FORMS)}"
            )


def _list_mixed_ternaries(p: FloatPopulation) -> Iterator[str]:
    """Yield what Lava's TernaryLIF, with one value per parameter, cannot do."""
    if not isinstance(p.neuron, TernaryLIF):
        return
    lower = _find_lower(p.neuron, p)
    if any(np.ptp(x) for x in (p.c.decay, p.c.decay_syn, p.c.threshold, lower)):
        yield (
            f"{p.name}: its neurons differ in tau, tau_syn, threshold or lower, Lava's "
            "TernaryLIF has one for all; split it into populations"
        )
    if not p.c.decay.all():
        yield f"{p.name}: a TernaryLIF that keeps nothing of v; use a longer tau"


def _find_lower(node: TernaryLIF, p: FloatPopulation) -> np.ndarray:
    return np.asarray(np.broadcast_to(as_array(node.lower), p.shape).ravel())


def _find_thresholds(p: FloatPopulation) -> np.ndarray:
    """Return all thresholds of a firing population, as positive numbers."""
    if not isinstance(p.neuron, TernaryLIF):
        return p.c.threshold
    return np.concatenate([p.c.threshold, _find_lower(p.neuron, p)])


def _count_firing(
    threshold: np.ndarray, scale: float, strict: bool
) -> Float[np.ndarray, "..."]:
    """Return n, the smallest integer at which a neuron fires; vth is n - 1."""
    if strict:
        return -round_up(-threshold * scale) + 1
    return round_up(threshold * scale)


def _find_largest(p: FloatPopulation) -> float:
    """Return the float that becomes the largest integer: the largest weight, if any."""
    return find_largest_weight(p.incoming) or (float(p.c.threshold.max()) if p.c.fires else 1.0)


def _limit_half_weight(p: FloatPopulation) -> int:
    """Return the largest m, half the largest weight, whose threshold fits its bits."""
    if not p.c.fires:
        return LARGEST_WEIGHT // 2
    most = int(MAX_THRESHOLD / _find_thresholds(p).max() * _find_largest(p) / 2)
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
    """Yield the decays that 12 bits would round to no decay, or to the loss of all memory.

    A decay that is exactly one of these is intended.
    """
    adapts = p.c.beta > 0
    # Keeping nothing of v is possible: keeps_no_memory states when.
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


def _choose_scale(p: FloatPopulation, largest: int, exponent: int) -> float:
    """Return S for a population before a shift of its sums; the module docstring defines S."""
    weight = np.concatenate([r.weight.ravel() for r in p.incoming]) / _find_largest(p)
    threshold = (_find_thresholds(p) if p.c.fires else np.zeros(1)) / _find_largest(p)
    threshold = threshold * 2.0**exponent
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

    The error is rounded, so that float noise does not make a coarser scale win over a finer one
    that is just as exact.
    """
    of_weight = np.square(round_to_even_integers(weight, scale) / scale - weight)
    integers: np.ndarray = _count_firing(threshold, scale, strict) - float(strict)
    of_threshold = np.square(integers / scale - threshold)
    total = of_weight.mean() if weight.size else 0.0
    return float(np.round(total + of_threshold.mean(), 15))


def _population(p: FloatPopulation, lag: int, scale: float) -> Population:
    c = p.c
    n = _count_firing(c.threshold, scale, c.strict) if c.fires else np.ones(1)
    beta = np.rint(c.beta * scale)
    b = to_bias(p.bias * scale * 64)
    du, dv = _decay(c.decay_syn, offset=1), _decay(c.decay, offset=0)
    uniform = all(np.ptp(x) == 0 for x in (du, dv, n))
    # A reset to a value stays below the threshold after rounding, too.
    to = np.minimum(np.rint(c.reset_to * scale * 64), 64 * (n - 1))
    reset_to = shorten(to) if c.hard and to.any() else None
    own = c.fires and not c.hard and (c.strict or (c.subtracted != c.threshold).any())
    reset_by = shorten(np.rint(c.subtracted * scale * 64)) if own else None
    stock = uniform and c.hard and reset_to is None
    stock = stock and not (beta.any() or c.refractory)
    stock = stock and (bool(c.decay.any()) or not b.mantissa.any())
    kind: Kind = "li" if not c.fires else "lif" if stock else "alif"
    kind = "ternary" if isinstance(p.neuron, TernaryLIF) else kind
    extras = EXTRAS.get(type(p.neuron))
    if kind == "alif":
        dv = np.where(c.decay == 0, NO_MEMORY, dv)
    elif kind == "lif" and not c.decay.any():
        n += n % 2  # sums are even: same spikes, and the threshold lies between two sums
    return Population(
        name=p.name,
        kind=kind,
        shape=p.shape,
        lag=lag,
        scale=scale,
        du=shorten(du),
        dv=shorten(dv),
        vth=shorten(n - 1),
        da=shorten(_decay(c.decay_adapt, offset=0)),
        beta=shorten(beta),
        bias_mant=shorten(b.mantissa),
        bias_exp=shorten(b.exponent),
        hard=c.hard,
        bias_after=p.bias_after,
        reset_to=reset_to,
        reset_by=reset_by,
        refractory=int(c.refractory),
        **(extras(p.neuron, p, scale) if extras else {}),
    )


def _decay(kept: np.ndarray, offset: int) -> np.ndarray:
    """Return 4096 (1 - kept) - offset as a 12-bit integer; Loihi adds the offset back."""
    return np.asarray(np.clip(np.rint(4096 * (1 - kept)) - offset, 0, 4095))


def to_bias(value: Float[np.ndarray, " N"]) -> Bias:
    """Return the nearest mantissa << exponent, with the smallest exponent that fits.

    Beyond exponent 7 the mantissa exceeds its 13 bits: :mod:`lava_export.rules` reports it.
    """
    exponent = np.zeros(value.shape, np.int64)
    for _ in range(2**BIAS_EXPONENT_BITS - 1):
        mantissa = np.rint(value / 2.0**exponent)
        fits = (mantissa >= -(2**BIAS_MANTISSA_BITS)) & (mantissa < 2**BIAS_MANTISSA_BITS)
        exponent = np.where(fits, exponent, exponent + 1)
    return Bias(np.rint(value / 2.0**exponent), exponent)

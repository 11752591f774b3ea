"""Lowering of a Graph to a XyloProgram: the only step that turns floats into integers.

A current of the chip falls before it reaches v, and a float current after. With k = 1 -
2^-dash_syn, the chip adds k times what the network adds. So weights are S w / k and thresholds
S theta, with one S per population: units of v per unit of the float network. S maps the largest
weight to an integer from 64 to 127, chosen for the least squared error of weights and
thresholds, or to a smaller one where a threshold would exceed 16 bits. Shifts of all weights
then double S as long as states stay within 16 bits: in the worst case, or in a stimulus.

A read-out is the current of an output neuron, which is a leaky integrator: its tau becomes
dash_syn, and the neuron never fires.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from lava_export.lower import LowerError
from lava_export.program import as_int32, list_separate_parts
from lava_export.xylo.program import (
    LARGEST_SHIFT,
    LARGEST_STATE,
    LARGEST_XYLO_WEIGHT,
    LONGEST_DASH,
    NEURON_SPIKES,
    Shifts,
    XyloConnection,
    XyloKind,
    XyloPopulation,
    XyloProgram,
    find_kept,
)
from neuro.base.arguments import require_whole_ticks
from neuro.graph import GradedInput, Graph, Hosted, Input
from neuro.graph.impulse import to_matrix
from neuro.graph.partition import assign_lags, find_tight_loops
from neuro.graph.paths import Route, find_bias, find_routes
from neuro.graph.requirements import problems_of_neurons, problems_on_a_clock, require_graph
from neuro.io.graph_digest import digest_graph
from neuro.neurons import Coefficients, is_stepped

TOLERANCE = 0.1  # relative distance of a leak from a power of two
LARGEST_MATRIX = 2**22  # synapses of a route stored as a matrix; a chip has 2^16
XYLO = "Xylo"


@dataclass(frozen=True, kw_only=True, eq=False)
class XyloFloats:
    """A population before rounding; arrays have shape (N,), a weight (out, in)."""

    name: str
    kind: XyloKind
    c: Coefficients
    incoming: list[Route]

    @property
    def current(self) -> np.ndarray:
        """What a current keeps of itself per tick; a read-out is a current."""
        return self.c.decay if self.kind == "readout" else self.c.decay_syn

    @property
    def dash_syn(self) -> np.ndarray:
        """The shift by which a current falls on the chip."""
        return as_int32(np.maximum(find_dash(self.current), 1))


def lower_to_xylo(
    graph: Graph,
    *,
    ticks: int | None = None,
    tolerance: float = TOLERANCE,
    shifts: Shifts | None = None,
) -> XyloProgram:
    """Return the program of a graph for Xylo; the graph is unchanged.

    Args:
        graph: the Graph.
        ticks: length of the runs to come; None: any length.
        tolerance: how far a leak (1 - decay) may be from a power of two, relative to the leak;
            the scaling table shows the error that remains.
        shifts: shifts of the weights. None: the largest at which no state leaves 16 bits if
            every source fires at most once per tick. :func:`choose_shifts` finds larger ones
            for a stimulus.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: ``ticks`` or ``tolerance`` is out of range.
        LowerError: lists everything that cannot be lowered, each with its cure.
    """
    require_graph(graph)
    if ticks is not None and require_whole_ticks("ticks", ticks) < 1:
        raise ValueError(f"ticks must be >= 1, or None for runs of any length, got {ticks}")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be from 0 up to 1, got {tolerance}; 0.1 is usual")
    problems = problems_on_a_clock(graph) + problems_of_neurons(graph, XYLO)
    problems += [
        f"{name}: Xylo has no {type(node).__name__}; use LIF or LI, and an Input"
        for name, node in graph.nodes.items()
        if is_stepped(node) or isinstance(node, GradedInput)
    ]
    if problems:
        raise LowerError(problems, XYLO)
    parts = collect_xylo_populations(graph, problems)
    routes = [r for p in parts for r in p.incoming]
    problems += _list_misplaced(graph, parts)
    for p in parts:
        problems += [f"{p.name}: {x}" for x in _list_strange_neurons(p, graph.dt)]
        problems += [f"{p.name}: {x}" for x in _list_misfitting_leaks(p, graph.dt, tolerance)]
    problems += find_tight_loops(graph, routes)
    names = [*graph.inputs, *(p.name for p in parts)]
    problems += list_separate_parts(names, [(r.source, r.target) for r in routes])
    if not problems:
        steps = [replace(r, delay=r.delay + (r.source in graph.inputs)) for r in routes]
        lag = assign_lags(names, steps)
        problems += _list_waits(graph, routes, lag)
        problems += [f"{p.name}: {x}" for p in parts for x in _list_vanishing(p)]
    if problems:
        raise LowerError(problems, XYLO)
    plain = _make_program(graph, parts, lag, ticks, shifts or Shifts(0, 0))
    if shifts is not None:
        return plain
    room = {p.name: compute_head_room(plain, p) for p in plain.populations if p.kind != "input"}
    peaks = {name: int(np.ceil(share * LARGEST_STATE)) for name, share in room.items()}
    return _make_program(graph, parts, lag, ticks, _find_shifts(plain, peaks))


def choose_shifts(program: XyloProgram, peaks: Mapping[str, int], margin: int = 2) -> Shifts:
    """Return the largest shifts at which states stay a factor ``margin`` below 16 bits.

    peaks: by population, the largest state in a run of the program (:class:`Excess`).
    """
    return _find_shifts(program, {name: margin * peak for name, peak in peaks.items()})


def _find_shifts(program: XyloProgram, peaks: Mapping[str, int]) -> Shifts:
    """Return the shifts that raise a program's peaks and thresholds as far as 16 bits."""
    found = []
    for kinds, now in zip((("hidden",), ("output", "readout")), program.shifts, strict=True):
        own = program.select(*kinds)
        fires = [int(p.threshold.max()) for p in own if p.kind != "readout"]
        largest = max([*(peaks[p.name] for p in own), *fires, 1])
        more = int(np.floor(np.log2(LARGEST_STATE / largest)))
        found.append(int(np.clip(now + more, 0, LARGEST_SHIFT)))
    return Shifts(*found)


def _make_program(
    graph: Graph,
    parts: list[XyloFloats],
    lag: dict[str, int],
    ticks: int | None,
    shifts: Shifts,
) -> XyloProgram:
    """Return the program of populations at given shifts."""
    layers = [_fit_population(p, graph.shapes[p.name], lag[p.name], shifts) for p in parts]
    sources = [
        XyloPopulation(name=n, kind="input", shape=graph.shapes[n]) for n in graph.inputs
    ]
    return XyloProgram(
        populations=(*sources, *layers),
        connections=tuple(
            _round_weights(r, layer, shifts)
            for p, layer in zip(parts, layers, strict=True)
            for r in p.incoming
        ),
        shift=shifts.hidden,
        shift_out=shifts.output,
        ticks=None if ticks is None else int(ticks),
        digest=digest_graph(graph),
    )


def collect_xylo_populations(graph: Graph, problems: list[str]) -> list[XyloFloats]:
    """Return every population before rounding, with routes as matrices; add to ``problems``."""
    routes = [_to_dense(r, problems) for r in find_routes(graph, problems)]
    feeding = {r.source for r in routes}
    parts = []
    for name in (n for n in graph.populations if not isinstance(graph.nodes[n], Hosted)):
        k = graph.nodes[name].coefficients(graph.dt)  # type: ignore[union-attr]
        bias, _ = find_bias(graph, name, problems)
        if bias.any():
            problems.append(
                f"{name}: a bias passes its synaptic current in a graph, and goes straight to "
                "v on Xylo; leave out the bias"
            )
        kind: XyloKind = "hidden" if name in feeding else "output" if k.fires else "readout"
        parts.append(
            XyloFloats(
                name=name,
                kind=kind,
                c=k.spread(graph.shapes[name]),
                incoming=[r for r in routes if r.target == name],
            )
        )
    return parts


def find_dash(kept: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return the shift whose decay, 1 - 2^-dash, is nearest to what a state keeps per tick."""
    leak = np.maximum(1 - kept, 2.0 ** -(LONGEST_DASH + 1))
    low = np.clip(np.floor(-np.log2(leak)), 0, LONGEST_DASH)
    high = np.minimum(low + 1, LONGEST_DASH)
    nearer = np.abs(2.0**-high - leak) < np.abs(2.0**-low - leak)
    return np.asarray(np.where(nearer, high, low).astype(np.int64))


def _to_dense(route: Route, problems: list[str]) -> Route:
    """Return a route as a matrix with a kernel unrolled; zeros are no synapses."""
    if route.kind == "dense":
        return route
    if route.kind == "identity":
        return replace(route, kind="dense", weight=np.diag(route.weight))
    sizes = route.sizes
    if route.kind == "conv":
        sizes = math.prod(route.out_shape), math.prod(route.shape)
    if math.prod(sizes) > LARGEST_MATRIX:
        problems.append(
            f"{route.name}: a connection of {sizes[1]:,} to {sizes[0]:,} neurons, more than "
            "Xylo has; use smaller layers"
        )
        return replace(route, kind="dense", weight=np.zeros((1, 1)))
    if route.kind == "conv":
        matrix = to_matrix([route.conv], route.shape)
    else:
        matrix = np.zeros(sizes)
        np.add.at(matrix, tuple(route.places), route.weight)
    return replace(route, kind="dense", weight=matrix)


def _list_misplaced(graph: Graph, parts: list[XyloFloats]) -> Iterator[str]:
    """Yield problems with the place of populations between channels and output neurons."""
    for name, node in graph.nodes.items():
        if isinstance(node, Hosted):
            yield f"{name}: a host computes it, and Xylo has none beside it; leave it out"
    if all(p.kind == "hidden" for p in parts):
        yield (
            "no population is an output: each one feeds another, or itself; put a population "
            "behind the last one"
        )
    for p in parts:
        if p.kind == "hidden" and not p.c.fires:
            yield f"{p.name}: a read-out that feeds others; use a LIF, or tau_syn of its target"
        for r in p.incoming:
            if p.kind != "hidden" and isinstance(graph.nodes[r.source], Input):
                yield (
                    f"{r.name}: leads from the input {r.source} to the output {p.name}, and "
                    "channels of Xylo reach hidden neurons alone; put a population between"
                )


def _list_strange_neurons(p: XyloFloats, dt: float) -> Iterator[str]:
    """Yield what the neurons of a population do and Xylo's neurons cannot do."""
    c = p.c
    if p.kind == "readout":
        return
    if c.hard:
        yield "a hard reset, and Xylo subtracts the threshold; train with reset='soft'"
    elif c.reset is not None and (c.subtracted != c.threshold).any():
        yield "a reset by another value than the threshold, as Xylo's is; use reset_by=None"
    if c.beta.any():
        yield "its threshold adapts (beta > 0), and thresholds of Xylo are fixed; use beta=0"
    if c.refractory:
        yield f"a refractory period of {c.refractory * dt:g} s; Xylo has none: refractory=0"
    if not (c.decay_syn > 0).all():
        least = -dt / np.log(0.5)
        yield (
            "no synaptic current, and those of Xylo keep half of a spike at least; train with "
            f"tau_syn, from {least:.4g} s on"
        )


def _list_misfitting_leaks(p: XyloFloats, dt: float, tolerance: float) -> Iterator[str]:
    """Yield the leaks that no shift is near enough to."""
    states = [("its value" if p.kind == "readout" else "its current", p.current, 1)]
    if p.kind != "readout":
        states.append(("v", p.c.decay, 0))
    for state, kept, least in states:
        kept = kept[kept > 0] if state == "its current" else kept
        dash = np.maximum(find_dash(kept), least)
        off = np.abs(2.0**-dash / np.maximum(1 - kept, 1e-300) - 1)
        if not (off > tolerance).any():
            continue
        worst = int(off.argmax())
        near = sorted({max(int(dash[worst]) + d, least) for d in (-1, 0, 1)})
        taus = [f"{-dt / np.log1p(-(2.0**-d)):.4g}" for d in near if 0 < d <= LONGEST_DASH]
        yield (
            f"{state} keeps {kept[worst]:.6g} of itself a tick, and no 1 - 2^-n is within "
            f"{tolerance:.0%} of its leak; use a time constant of {' or '.join(taus)} s, which "
            "are exact"
        )


def _list_vanishing(p: XyloFloats) -> Iterator[str]:
    """Yield registers that no scale fits."""
    if p.kind == "readout":
        return
    scale = _choose_scale(p)
    if not (scale * p.c.threshold >= 0.5).all():
        yield (
            f"its least threshold {p.c.threshold.min():g} is less than half of a unit of its "
            "weights, 8 bits of them; raise the threshold or lower the largest weights"
        )
    if scale * _find_largest(p) < 1:
        yield (
            f"its largest threshold {p.c.threshold.max():g} needs so many of 16 bits that no "
            "weight is left; lower the threshold or raise the weights"
        )


def _list_waits(graph: Graph, routes: list[Route], lag: dict[str, int]) -> Iterator[str]:
    """Yield the routes on which a spike would have to wait."""
    for r in routes:
        takes = 0 if r.source in graph.inputs else 1
        extra = lag[r.target] - lag[r.source] + r.delay - takes
        if extra:
            yield (
                f"{r.name}: a spike from {r.source} to {r.target} waits {extra} steps beyond "
                f"the {takes} that it takes on Xylo, which has no delays; change the delay of "
                "this edge, or that of the others into the same population"
            )


def _find_largest(p: XyloFloats) -> float:
    """Return the largest weight that the chip would hold at S = 1."""
    rows = [np.abs(r.weight).max(1, initial=0.0) for r in p.incoming]
    return float((np.max(rows, 0) / find_kept(p.dash_syn)).max()) or 1.0


def _choose_scale(p: XyloFloats) -> float:
    """Return S for a population; the module docstring defines S."""
    largest = _find_largest(p)
    top = float(LARGEST_XYLO_WEIGHT)
    threshold = p.c.threshold if p.kind != "readout" else np.zeros(1)
    if threshold.any():
        top = min(top, largest * LARGEST_STATE / float(threshold.max()))
    if top < 2:
        return top / largest
    gain = find_kept(p.dash_syn)
    weight = np.concatenate([(r.weight.T / gain).ravel() for r in p.incoming])

    def measure(m: int) -> float:
        scale = m / largest
        of_weight = np.rint(scale * weight) / m - weight / largest
        of_threshold = np.rint(scale * threshold) / m - threshold / largest
        error = np.square(of_weight).mean() + np.square(of_threshold).mean()
        return float(np.round(error, 15))

    return min(range(int(top), (int(top) - 1) // 2, -1), key=measure) / largest


def _fit_population(
    p: XyloFloats, shape: tuple[int, ...], lag: int, shifts: Shifts
) -> XyloPopulation:
    """Return a population in integers."""
    scale = _choose_scale(p) * 2 ** shifts.into(p.kind)
    fitted = XyloPopulation(
        name=p.name, kind=p.kind, shape=shape, lag=lag, scale=scale, dash_syn=p.dash_syn
    )
    if p.kind == "readout":
        return fitted
    exact = scale * p.c.threshold
    threshold = np.floor(exact + 1e-6) + 1 if p.c.strict else np.rint(exact)
    return replace(
        fitted,
        dash_mem=as_int32(find_dash(p.c.decay)),
        threshold=as_int32(np.clip(threshold, 1, LARGEST_STATE)),
    )


def _round_weights(r: Route, p: XyloPopulation, shifts: Shifts) -> XyloConnection:
    """Return a route in integers at its target's scale."""
    gain = np.broadcast_to(find_kept(p.dash_syn), p.size)
    weight = np.rint(p.scale * r.weight / gain[:, None] / 2 ** shifts.into(p.kind))
    return XyloConnection(
        name=r.name, source=r.source, target=r.target, weight=as_int32(weight)
    )


def compute_head_room(program: XyloProgram, p: XyloPopulation) -> float:
    """Return the largest |i| or |v| over 2^15 - 1 if each source fires at most once per tick.

    A current is largest before it falls in its step. A shift rounds: it leaves at most
    keep (x + 1) of a positive x.
    """
    keep_i, keep_v = find_kept(p.dash_syn), find_kept(p.dash_mem)
    weight = np.concatenate([c.weight for c in program.into(p.name)], 1)
    weight = weight * 2.0 ** program.shifts.into(p.kind)
    into = [np.maximum(sign * weight, 0).sum(1) for sign in (1, -1)]
    up, down = (
        np.where(total > 0, (total + keep_i) * _sum_powers(keep_i, program.ticks), 0)
        for total in into
    )
    if p.kind == "readout":
        return float(np.maximum(up, down).max()) / LARGEST_STATE
    rise, fall = (keep_i * (x + (x > 0)) for x in (up, down))
    rise, fall = rise + np.maximum(p.bias, 0), fall + np.maximum(-p.bias, 0)
    highest, lowest = (
        np.where(x > 0, (x + keep_v) * _sum_powers(keep_v, program.ticks), 0)
        for x in (rise, fall)
    )
    held = keep_v * (p.threshold + 1) + rise  # if spikes bring v below the threshold
    most = NEURON_SPIKES if p.kind == "hidden" else 1
    below = (rise <= p.threshold) | (held < (most + 1) * p.threshold)
    highest = np.where(below, np.minimum(held, highest), highest)
    return float(np.maximum.reduce([up, down, highest, lowest]).max()) / LARGEST_STATE


def _sum_powers(keep: np.ndarray, ticks: int | None) -> np.ndarray:
    """Return 1 + keep + keep^2 + ... with ``ticks`` terms (None: endless)."""
    return np.asarray((1 if ticks is None else 1 - keep**ticks) / (1 - keep))

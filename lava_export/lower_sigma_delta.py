"""Lowering of neurons that code changes: Delta, SigmaDelta, and the read-outs behind them.

All units are powers of 2, so that a message is a whole number of the same unit in every tick.
For each route, k is the largest exponent for which the largest weight, times 2^k, is an 8-bit
weight, and m is the exponent of the source's unit. The sums of a SigmaDelta have the unit 2^n,
with n at most the smallest k + m of its routes. n is the sum of spike_exp, the exponent of its
messages (7 if possible), and state_exp. Where a unit is finer or coarser than 8-bit weights
give, the exponent of the connection makes up for it; a convolution has no exponent.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from lava_export.float_population import (
    FloatPopulation,
    LoweredLayer,
    Setting,
    find_largest_weight,
    make_connection,
    round_up,
    shorten,
)
from lava_export.population import LARGEST_WEIGHT, MESSAGE_BITS, SUMS, Population
from lava_export.program import EXPONENTS, LoihiConnection, LoihiProgram
from neuro.graph.paths import Route
from neuro.neurons import Delta, SigmaDelta

FINEST = 7  # spike_exp and state_exp have 3 bits
BIAS_BITS = 15  # and a sign
LEAST_BITS = 5  # of the largest weight
FINEST_SUM = 2 * FINEST


class Units(NamedTuple):
    """Exponents: of a message's unit, and how much finer the unit of a state is."""

    message: int
    state: int


def is_coder(p: FloatPopulation) -> bool:
    """Return whether a population sends changes as graded spikes."""
    return type(p.neuron) in LOWERINGS


def adds_up_changes(p: FloatPopulation, coders: Mapping[str, object]) -> bool:
    """Return whether a population sums changes: a read-out without leak behind coders."""
    sources = {r.source for r in p.incoming}
    return not p.c.fires and bool((p.c.decay == 1).all()) and sources <= coders.keys()


def list_problems_of_coders(
    parts: list[FloatPopulation],
) -> Iterator[str]:
    """Yield what Lava's Delta, SigmaDelta and Sigma cannot do for a network, with the cure."""
    coders = {p.name: p for p in parts if is_coder(p)}
    for p in parts:
        coded = [r.source for r in p.incoming if r.source in coders]
        if not is_coder(p) and coded and not adds_up_changes(p, coders):
            yield (
                f"{p.name}: takes the changes of {', '.join(coded)}, whose graded spikes no "
                "membrane of a chip has room for; let them end in SigmaDelta, or in "
                "LI(tau=math.inf) with such sources alone"
            )
        if p.bias.any() and (is_coder(p) or adds_up_changes(p, coders)) and coded:
            yield (
                f"{p.name}: the bias of a connection would add up every tick; leave it out, "
                "and use SigmaDelta(bias=...)"
            )
        elif p.bias.any() and is_coder(p):
            yield f"{p.name}: a {_name(p)} has no bias of a connection on Lava; leave it out"
        if is_coder(p) and np.ptp(p.c.threshold):
            yield (
                f"{p.name}: thresholds from {p.c.threshold.min():g} to "
                f"{p.c.threshold.max():g}, a {_name(p)} of Lava has one; give all the same"
            )


def _name(p: FloatPopulation) -> str:
    return type(p.neuron).__name__


def choose_units(parts: list[FloatPopulation], units: dict[str, int]) -> dict[str, Units]:
    """Return the units of all coders; add those of their messages to ``units``.

    A source in a loop whose unit is still unknown counts as having the finest.
    """
    chosen: dict[str, Units] = {}
    for p in filter(is_coder, parts):
        chosen[p.name] = UNITS[type(p.neuron)](p, units)
        units[p.name] = chosen[p.name].message
    return chosen


def _find_sum_unit(p: FloatPopulation, units: Mapping[str, int]) -> int:
    """Return the exponent of the finest unit in which 8-bit weights reach all sums."""
    return min(
        (_find_weight_unit(r) + units.get(r.source, FINEST) for r in p.incoming),
        default=FINEST_SUM,
    )


def _find_weight_unit(r: Route) -> int:
    """Return the largest k at which the largest weight times 2^k is an 8-bit weight."""
    largest = find_largest_weight([r])
    return math.floor(math.log2(LARGEST_WEIGHT / largest)) if largest else FINEST_SUM


def _choose_delta_units(p: FloatPopulation, units: Mapping[str, int]) -> Units:
    """Return the units of a Delta: networks of whole numbers keep their numbers.

    Behind a convolution they do not: its weights are even, and no exponent makes up for it.
    """
    whole = (
        all(
            units.get(r.source, 1) == 0 and r.kind != "conv" and not (r.weight % 1).any()
            for r in p.incoming
        )
        and not (p.c.threshold % 1).any()
    )
    return Units(0 if whole else max(0, min(FINEST, _find_sum_unit(p, units))), 0)


def _choose_sigma_delta_units(p: FloatPopulation, units: Mapping[str, int]) -> Units:
    """Return the units of a SigmaDelta, whose bias has 16 bits."""
    bias = float(np.abs(find_bias_of_coder(p)).max(initial=0))
    room = math.floor(math.log2((2**BIAS_BITS - 1) / bias)) if bias else FINEST_SUM
    total = max(0, min(_find_sum_unit(p, units), room, FINEST_SUM))
    message = max(0, min(FINEST, room))
    return Units(message, max(0, min(FINEST, total - message)))


UNITS = {Delta: _choose_delta_units, SigmaDelta: _choose_sigma_delta_units}


def find_bias_of_coder(p: FloatPopulation) -> np.ndarray:
    """Return the bias of each neuron of a SigmaDelta; 0 for a Delta, which has none."""
    bias = getattr(p.neuron, "bias", 0.0)
    return np.asarray(np.broadcast_to(np.asarray(bias, np.float64), p.shape).ravel())


def list_lost_weights(program: LoihiProgram) -> Iterator[str]:
    """Yield the connections into sums of changes whose weights have too few bits left."""
    for c in program.connections:
        largest = int(np.abs(c.weight).max(initial=0))
        if program[c.target].kind in SUMS and largest < 2**LEAST_BITS:
            bias = program[c.target].bias_mant
            cure = f", or the bias of {c.target} smaller against them" if np.any(bias) else ""
            yield (
                f"{c.name}: its largest weight becomes {largest}, less than {LEAST_BITS} bits "
                f"(at least {2**LEAST_BITS}); make its weights larger{cure}"
            )


def lower_coder(p: FloatPopulation, units: Units, setting: Setting) -> LoweredLayer:
    """Return a population of coders in integers, with its synapses."""
    incoming = _make_connections(p, sum(units), setting)
    return LoweredLayer(LOWERINGS[type(p.neuron)](p, units, setting), incoming)


def _lower_delta(p: FloatPopulation, units: Units, setting: Setting) -> Population:
    return Population(
        name=p.name,
        kind="delta",
        shape=p.shape,
        lag=setting.lag[p.name],
        scale=2.0**units.message,
        vth=shorten(round_up(p.c.threshold * 2.0**units.message)),
        message_bits=MESSAGE_BITS,
        cumulative=getattr(p.neuron, "cumulative", False),
    )


def _lower_sigma_delta(p: FloatPopulation, units: Units, setting: Setting) -> Population:
    scale, node = 2.0 ** sum(units), p.neuron
    return Population(
        name=p.name,
        kind="sigma_delta",
        shape=p.shape,
        lag=setting.lag[p.name],
        scale=scale,
        vth=shorten(round_up(p.c.threshold * scale)),
        bias_mant=shorten(np.rint(find_bias_of_coder(p) * scale)),
        message_bits=MESSAGE_BITS,
        spike_exp=units.message,
        state_exp=units.state,
        cumulative=getattr(node, "cumulative", False),
        relu=getattr(node, "relu", True),
    )


LOWERINGS = {Delta: _lower_delta, SigmaDelta: _lower_sigma_delta}


def lower_sum(p: FloatPopulation, setting: Setting) -> LoweredLayer:
    """Return a sum of changes in integers, with its synapses."""
    unit = max(0, min(_find_sum_unit(p, setting.units), FINEST_SUM))
    population = Population(
        name=p.name, kind="sigma", shape=p.shape, lag=setting.lag[p.name], scale=2.0**unit
    )
    return LoweredLayer(population, _make_connections(p, unit, setting))


def _make_connections(
    p: FloatPopulation, unit: int, setting: Setting
) -> tuple[LoihiConnection, ...]:
    """Return the connections into a population whose sums have the unit 2^unit."""
    low, high = EXPONENTS
    connections = []
    for r in p.incoming:
        needed = unit - setting.units[r.source]  # weights are multiplied by 2^needed
        shift = 0 if r.kind == "conv" else min(high, max(low, needed - _find_weight_unit(r)))
        connections.append(make_connection(r, setting.lag, 2.0 ** (needed - shift), shift))
    return tuple(connections)

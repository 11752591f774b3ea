"""Design rules of a chip: one function per rule, its name the rule, its result the breaches.

How many cores a population takes is no rule: a mapping splits populations over cores. What one
neuron needs cannot be split. The widths of registers are those of the integers of
:mod:`lava_export.program`; all other limits stand in the file of the chip.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lava_export.program import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    DECAY_BITS,
    LARGEST_WEIGHT,
    STATE_LIMIT,
    THRESHOLD_BITS,
    Connection,
    LoihiProgram,
    Population,
)
from lava_export.reference import make_weighted_sum
from neuro.energy import Chip, find_chip
from neuro.energy.mapping import count_demand


class RuleBreach(ValueError):
    """One or more design rules are broken; ``breaches`` lists them."""

    def __init__(self, chip: Chip, breaches: list[str]) -> None:
        super().__init__("\n".join([f"the program does not fit {chip.hardware}:", *breaches]))
        self.breaches = breaches


class StateBounds(NamedTuple):
    """Largest |u|, |v| and a that any input can bring about, for each neuron, units of v."""

    u: np.ndarray
    v: np.ndarray
    a: np.ndarray


def check(program: LoihiProgram, chip: str | Chip = "loihi1", ticks: int | None = None) -> None:
    """Raise one RuleBreach that lists every breach of every rule.

    chip: itself, or what :func:`neuro.energy.find_chip` takes.
    ticks: length of a run. With it, sums are those that so many ticks can reach; without,
    those of an endless run, and a neuron without leak is judged by a single tick.
    """
    chip = find_chip(chip) if isinstance(chip, str) else chip
    breaches = [
        f"{rule.__name__.replace('_', ' ')}: {breach}"
        for rule in RULES
        for breach in rule(program, chip)
    ]
    breaches += [
        f"worst case sums stay below 2^23: {breach}"
        for breach in _list_overflows(program, ticks)
    ]
    if breaches:
        raise RuleBreach(chip, breaches)


def weights_have_8_bits_and_a_sign(program: LoihiProgram, _: Chip) -> Iterator[str]:
    """Yield each connection with weights that are too large, or odd (Lava keeps none)."""
    for c in program.connections:
        low, high = -LARGEST_WEIGHT - 2, LARGEST_WEIGHT
        bad = (c.weight < low) | (c.weight > high) | (c.weight % 2 != 0)
        if bad.any():
            yield (
                f"{c.name}: {int(bad.sum())} weights like {c.weight[bad][0]}, allowed are even "
                f"numbers from {low} to {high}; lower the graph again"
            )


def thresholds_have_17_bits(program: LoihiProgram, _: Chip) -> Iterator[str]:
    """Yield each population whose threshold, or its rise, is negative or too large."""
    for p in _list_neurons(program):
        for field in ("vth", "beta"):
            cure = "use lower(graph, largest_weight=...) or a lower threshold"
            yield from _list_outside(p, field, 0, 2**THRESHOLD_BITS - 1, cure)


def decays_have_12_bits(program: LoihiProgram, _: Chip) -> Iterator[str]:
    """Yield each population with a decay of u, v or the threshold outside its bits."""
    for p in _list_neurons(program):
        for field in ("du", "dv", "da"):
            cure = "use a time constant between 1/4 and 4096 dt"
            yield from _list_outside(p, field, 0, 2**DECAY_BITS - 1, cure)


def biases_have_a_13_bit_mantissa_and_a_3_bit_exponent(
    program: LoihiProgram, _: Chip
) -> Iterator[str]:
    """Yield each population with a bias that its two fields cannot hold."""
    for p in _list_neurons(program):
        cure = "make the bias smaller, or the weights larger against it"
        most = 2**BIAS_MANTISSA_BITS
        yield from _list_outside(p, "bias_mant", -most, most - 1, cure)
        yield from _list_outside(p, "bias_exp", 0, 2**BIAS_EXPONENT_BITS - 1, cure)


def a_spike_waits_no_longer_than_the_chip_allows(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each connection whose delay is too long."""
    limit = chip.limits.delay_steps.value
    for c in program.connections:
        if c.extra > limit:
            yield (
                f"{c.name}: a spike from {c.source} to {c.target} waits {c.extra} steps, "
                f"allowed are {limit:g}; shorten the delay, or put a population between"
            )


def the_axons_of_a_neuron_fit_one_core(program: LoihiProgram, chip: Chip) -> Iterator[str]:
    """Yield each population that needs more axons for one neuron than reach a core."""
    limit = chip.limits.in_axons.value
    for p in _list_neurons(program):
        most = count_demand(program.into(p.name), p.size, 1, chip.limits)["in_axons"]
        if most > limit:
            yield (
                f"{p.name}: a neuron listens to {most} axons, a core takes {limit:g}; "
                "pool or convolve first, or put a smaller population between"
            )


def the_synapses_of_a_neuron_fit_one_core(program: LoihiProgram, chip: Chip) -> Iterator[str]:
    """Yield each population whose synapses of one neuron are more words than a core holds."""
    limit = chip.limits.synapse_words.value
    for p in _list_neurons(program):
        most = count_demand(program.into(p.name), p.size, 1, chip.limits)["synapse_words"]
        if most > limit:
            yield (
                f"{p.name}: the synapses of a neuron take {most} words, a core holds "
                f"{limit:g}; pool or convolve first, or put a smaller population between"
            )


def only_a_programmable_chip_resets_softly_or_adapts(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each population that a fixed LIF with hard reset does not do."""
    for p in _list_neurons(program):
        if chip.programmable or p.kind != "alif":
            continue
        if not p.hard:
            yield f"{p.name}: soft reset, {chip.hardware} sets v to 0; train with reset='hard'"
        if p.beta.any():
            yield f"{p.name}: beta > 0 adapts the threshold, {chip.hardware} cannot; use beta=0"


RULES: tuple[Callable[[LoihiProgram, Chip], Iterator[str]], ...] = (
    weights_have_8_bits_and_a_sign,
    thresholds_have_17_bits,
    decays_have_12_bits,
    biases_have_a_13_bit_mantissa_and_a_3_bit_exponent,
    a_spike_waits_no_longer_than_the_chip_allows,
    the_axons_of_a_neuron_fit_one_core,
    the_synapses_of_a_neuron_fit_one_core,
    only_a_programmable_chip_resets_softly_or_adapts,
)


def _list_neurons(program: LoihiProgram) -> list[Population]:
    return [p for p in program.populations if p.kind != "input"]


def _list_outside(p: Population, field: str, low: int, high: int, cure: str) -> Iterator[str]:
    values: np.ndarray = getattr(p, field)
    bad = values[(values < low) | (values > high)]
    if bad.size:
        yield f"{p.name}: {field} = {bad[0]}, allowed is {low}..{high}; {cure}"


def _list_overflows(program: LoihiProgram, ticks: int | None) -> Iterator[str]:
    for p in _list_neurons(program):
        bounds = bound_states(p, program.into(p.name), ticks)
        for state, values in bounds._asdict().items():
            worst = float(values.max(initial=0))
            if worst >= STATE_LIMIT:
                yield (
                    f"{p.name}: {state} of neuron {int(values.argmax())} can reach "
                    f"{worst:.4g}, which is {worst / STATE_LIMIT:.3g} times 2^23; use "
                    "lower(graph, ticks=...) for runs of known length, fewer inputs, or a "
                    "shorter time constant"
                )


def compute_head_room(
    p: Population, incoming: tuple[Connection, ...], ticks: int | None
) -> float:
    """Return the largest state of :func:`bound_states` over 2^23: below 1 it fits."""
    bounds = bound_states(p, incoming, ticks)
    return max(float(values.max(initial=0)) for values in bounds) / STATE_LIMIT


def bound_states(
    p: Population, incoming: tuple[Connection, ...], ticks: int | None
) -> StateBounds:
    """Return bounds on the state of a population over all possible inputs, see check.

    u sums all its positive (or all its negative) weights every tick, decaying. v sums u and
    bias alike, but upwards a reset takes it back: before a tick it is at most at threshold.
    """
    keep_u = (4095 - p.du) / 4096
    keep_v = (4096 - p.dv) / 4096
    keep_a = (4096 - p.da) / 4096
    bias = p.bias_mant.astype(np.float64) * 2.0**p.bias_exp
    up = 64 * _sum_weights(p, incoming, 1) * _sum_powers(keep_u, ticks)
    down = 64 * _sum_weights(p, incoming, -1) * _sum_powers(keep_u, ticks)
    into_v, out_of_v = up + np.maximum(bias, 0), down + np.maximum(-bias, 0)
    a = 64.0 * p.beta * _sum_powers(keep_a, ticks)
    highest = into_v * _sum_powers(keep_v, ticks)
    if p.kind != "li":
        threshold = 64.0 * (p.vth + 1) + np.minimum(a, STATE_LIMIT)
        held = keep_v * threshold + into_v
        returns = np.full(held.shape, p.hard) | (into_v <= 64.0 * (p.vth + 1))
        highest = np.where(returns, np.minimum(held, highest), highest)
    lowest = out_of_v * _sum_powers(keep_v, ticks)
    return StateBounds(u=np.maximum(up, down), v=np.maximum(highest, lowest), a=a)


def _sum_weights(p: Population, incoming: tuple[Connection, ...], sign: int) -> np.ndarray:
    """Return, for each neuron, the sum of its weights of one sign, as a positive number."""
    total = np.zeros(p.size)
    for c in incoming:
        ones = np.ones((1, c.in_size), bool)
        total += make_weighted_sum(replace(c, weight=np.maximum(sign * c.weight, 0)))(ones)[0]
    return total


def _sum_powers(keep: np.ndarray, ticks: int | None) -> np.ndarray:
    """Return 1 + keep + keep^2 + ... over ``ticks`` terms; endless: see :func:`check`."""
    leaky = np.minimum(keep, 1 - 2.0**-13)
    if ticks is None:
        return np.where(keep < 1, 1 / (1 - leaky), 1.0)
    return np.where(keep < 1, (1 - leaky**ticks) / (1 - leaky), float(ticks))

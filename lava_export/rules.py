"""Design rules of a chip: one function per rule; its name is the rule, its result the breaches.

The number of cores per population is no rule: a mapping splits populations over cores. The
needs of one neuron cannot be split. The widths of registers are rules of every chip
(:mod:`lava_export.checks`); all other limits are in the file of the chip.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lava_export.checks import list_neurons, list_wide_integers
from lava_export.population import SUMS
from lava_export.program import (
    NO_MEMORY,
    STATE_LIMIT,
    LoihiConnection,
    LoihiProgram,
    Population,
    require_program,
)
from lava_export.reference import make_weighted_sum
from neuro.energy import Chip, Hardware, find_chips
from neuro.energy.mapping import count_demand

Messages = Mapping[str, tuple[int, int]]  # by population: its least and its largest spike
# A membrane below this bound leaves less than 64 of 1/4096 of its value.
HARMLESS = 64 * 4096
HARD = "reset='hard' (in snnTorch: reset_mechanism='zero')"
SMALLER = "pool or convolve first, or put a smaller population between"


class RuleBreach(ValueError):
    """One or more design rules are broken; ``breaches`` lists them."""

    def __init__(self, chip: Hardware, breaches: list[str]) -> None:
        super().__init__("\n".join([f"the program does not fit {chip.hardware}:", *breaches]))
        self.breaches = breaches


class StateBounds(NamedTuple):
    """Bounds of |u|, |v| and a over all inputs, by neuron, in units of v."""

    u: np.ndarray
    v: np.ndarray
    a: np.ndarray


def check(program: LoihiProgram, chip: str | Chip = "loihi1") -> None:
    """Raise a RuleBreach with every breach of every rule, if there is one.

    Args:
        program: the program.
        chip: a chip, or a name that :func:`neuro.energy.find_chip` takes.
    """
    (chip,) = find_chips([chip])
    breaches = list_breaches(program, chip)
    if breaches:
        raise RuleBreach(chip, breaches)


def list_breaches(program: LoihiProgram, chip: str | Chip) -> list[str]:
    """Return every breach of every rule, by name; empty if the program fits the chip.

    chip: a chip, or a name that :func:`neuro.energy.find_chip` takes.
    """
    require_program(program)
    (chip,) = find_chips([chip])
    of_chip = [
        f"{rule.__name__.replace('_', ' ')}: {breach}"
        for rule in RULES
        for breach in rule(program, chip)
    ]
    return list_wide_integers(program) + of_chip + list_overflows(program)


def a_spike_waits_no_longer_than_the_chip_allows(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each connection whose delay is too long."""
    limit = chip.limits.delay_steps.value
    for c in program.connections:
        if c.longest_wait > limit:
            yield (
                f"{c.name}: a spike from {c.source} to {c.target} waits {c.longest_wait} "
                f"steps, allowed are {limit:g}; shorten the delay, or put a population between"
            )


def the_axons_of_a_neuron_fit_one_core(program: LoihiProgram, chip: Chip) -> Iterator[str]:
    """Yield each population in which one neuron needs more axons than reach a core."""
    for name, most, limit in _list_large_demands(program, chip, "in_axons"):
        yield f"{name}: a neuron listens to {most} axons, a core takes {limit:g}; {SMALLER}"


def the_synapses_of_a_neuron_fit_one_core(program: LoihiProgram, chip: Chip) -> Iterator[str]:
    """Yield each population in which one neuron needs more synapse words than a core holds."""
    for name, most, limit in _list_large_demands(program, chip, "synapse_words"):
        yield (
            f"{name}: the synapses of a neuron take {most} words, a core holds {limit:g}; "
            f"{SMALLER}"
        )


def _list_large_demands(
    program: LoihiProgram, chip: Chip, kind: str
) -> Iterator[tuple[str, int, float]]:
    """Yield each too large population, the need of one of its neurons, and a core's limit."""
    limit = getattr(chip.limits, kind).value
    for p in list_neurons(program):
        most = count_demand(program.into(p.name), p.size, 1, chip.limits)[kind]
        if most > limit:
            yield p.name, most, limit


def only_a_programmable_chip_resets_softly_or_adapts_or_forgets(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each population that a fixed LIF with hard reset cannot do."""
    for p in list_neurons(program):
        if chip.programmable:
            continue
        if p.kind == "alif" and not p.hard:
            yield f"{p.name}: soft reset, {chip.hardware} sets v to 0; train with {HARD}"
        if p.kind == "alif" and p.beta.any():
            yield f"{p.name}: beta > 0 adapts the threshold, {chip.hardware} cannot; use beta=0"
        if (p.dv == NO_MEMORY).any():
            yield (
                f"{p.name}: its membrane keeps nothing, {chip.hardware} keeps 1/4096 of it, "
                "which would change spikes; take a programmable chip, such as loihi2 (what "
                "Loihi 1 could run: docs/lowering.md, No memory)"
            )


def only_a_programmable_chip_counts_refractory_ticks(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each population that holds v after a spike: Lava has this in floats only."""
    for p in list_neurons(program):
        if p.refractory and not chip.programmable:
            yield (
                f"{p.name}: a refractory period of {p.refractory} ticks, which Lava has no "
                f"integer model of for {chip.hardware}; use refractory=0, or another chip"
            )


def only_a_programmable_chip_sends_graded_spikes(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each population that codes changes, or whose spikes have values."""
    for p in program.populations:
        if (p.signed or p.kind in SUMS) and not chip.programmable:
            yield (
                f"{p.name}: {p.kind} with spikes that have values, those of {chip.hardware} "
                "have none; take a programmable chip, such as loihi2, or binary spikes (neuro "
                "import --set input=rate, neuro train --set code=rate)"
            )


def only_a_programmable_chip_resets_to_a_value(
    program: LoihiProgram, chip: Chip
) -> Iterator[str]:
    """Yield each population whose hard reset sets v to a value other than 0."""
    for p in list_neurons(program):
        if p.reset_to is not None and not chip.programmable:
            yield (
                f"{p.name}: its reset sets v to a value, {chip.hardware} sets v to 0, which is "
                "rest; use reset_to=None"
            )


RULES: tuple[Callable[[LoihiProgram, Chip], Iterator[str]], ...] = (
    a_spike_waits_no_longer_than_the_chip_allows,
    the_axons_of_a_neuron_fit_one_core,
    the_synapses_of_a_neuron_fit_one_core,
    only_a_programmable_chip_resets_softly_or_adapts_or_forgets,
    only_a_programmable_chip_resets_to_a_value,
    only_a_programmable_chip_counts_refractory_ticks,
    only_a_programmable_chip_sends_graded_spikes,
)


def list_overflows(program: LoihiProgram) -> list[str]:
    """Return every state that can exceed 2^23 within ``program.ticks``, by population.

    The states of sigma-delta neurons are checked against their bits in every run instead.
    """
    rule, overflows = "worst case sums stay below 2^23", []
    for p in (p for p in list_neurons(program) if p.kind not in SUMS):
        bounds = bound_states(p, program.into(p.name), program.ticks, program.messages)
        for state, values in bounds._asdict().items():
            worst, where = float(values.max(initial=0)), int(values.argmax())
            if math.isinf(worst):
                overflows.append(
                    f"{rule}: {p.name}: {state} of neuron {where} has no leak and can grow "
                    "without end; give the length of the runs, lower(graph, ticks=...), or "
                    "use a finite time constant"
                )
            elif worst >= STATE_LIMIT:
                overflows.append(
                    f"{rule}: {p.name}: {state} of neuron {where} can reach {worst:.4g}, which "
                    f"is {worst / STATE_LIMIT:.3g} times 2^23; use lower(graph, ticks=...) for "
                    "runs of known length, fewer inputs, or a shorter time constant"
                )
    return overflows


def compute_head_room(
    p: Population, incoming: tuple[LoihiConnection, ...], ticks: int | None, messages: Messages
) -> float:
    """Return the largest state of :func:`bound_states` over 2^23; below 1 it fits."""
    bounds = bound_states(p, incoming, ticks, messages)
    return max(float(values.max(initial=0)) for values in bounds) / STATE_LIMIT


def bound_states(
    p: Population, incoming: tuple[LoihiConnection, ...], ticks: int | None, messages: Messages
) -> StateBounds:
    """Return bounds on the states of a population over all possible inputs.

    u sums all positive (or all negative) weights in every tick, and decays. v sums u and bias
    alike, but a reset bounds v above: before a tick it is at most at the threshold. After a
    reset to another value than 0, v sums on from that value. A measured bound of v replaces a
    larger one of these.

    Args:
        p: the population.
        incoming: the connections that end at the population.
        ticks: length of the run; None: endless, where a state without leak has no bound.
        messages: the least and the largest spike of each source.
    """
    keep_u = (4095 - p.du) / 4096
    keep_v = (4096 - p.dv) / 4096
    keep_a = (4096 - p.da) / 4096
    bias = p.bias_mant.astype(np.float64) * 2.0**p.bias_exp
    up = _sum_ticks(64 * _sum_weights(p, incoming, 1, messages), keep_u, ticks)
    down = _sum_ticks(64 * _sum_weights(p, incoming, -1, messages), keep_u, ticks)
    into_v, out_of_v = up + np.maximum(bias, 0), down + np.maximum(-bias, 0)
    a = _sum_ticks(64.0 * p.beta, keep_a, ticks)
    highest, lowest = _sum_ticks(into_v, keep_v, ticks), _sum_ticks(out_of_v, keep_v, ticks)
    if p.kind != "li":
        threshold = 64.0 * (p.vth + 1) + np.minimum(a, STATE_LIMIT)
        held = keep_v * np.maximum(threshold, p.after_hard) + into_v
        returns = np.full(held.shape, p.hard) | (into_v <= p.subtracted)
        highest = highest + np.maximum(p.after_hard, 0)
        highest = np.where(returns, np.minimum(held, highest), highest)
        plain = p.hard or p.reset_by is None  # a reset by the threshold leaves 0 (or -63)
        least = p.after_hard if plain else 64.0 * p.vth - p.subtracted
        lowest = lowest + np.maximum(-least, 0)
    if p.kind == "ternary":  # its lower threshold also resets
        lowest = np.minimum(lowest, keep_v * np.maximum(-p.lowest, 0) + out_of_v)
    v = np.maximum(highest, lowest)
    v = np.minimum(v, p.v_bound) if p.v_bound else v
    return StateBounds(u=np.maximum(up, down), v=v, a=a)


def keeps_no_memory(
    p: Population, incoming: tuple[LoihiConnection, ...], ticks: int | None, messages: Messages
) -> bool:
    """Return whether the part of v that Lava's LIF keeps at dv = 4095 never decides a spike.

    Sums of even weights are multiples of 128 units of v, and an odd vth puts the threshold
    midway between two multiples, 64 from either. The part that is kept, 1/4096 of v, must stay
    below 64: of a membrane below threshold (one that fired is 0), and of one pushed down by
    inhibition.
    """
    if (p.du != 4095).any() or (p.vth % 2 == 0).any() or p.bias.any():
        return False
    if any((c.weight % 2).any() or c.weight_exp < 0 for c in incoming):
        return False
    inhibition = 64 * _sum_weights(p, incoming, -1, messages)
    lowest = _sum_ticks(inhibition, (4096 - p.dv) / 4096, ticks)
    return bool(max(64 * p.vth.max(), lowest.max()) < HARMLESS)


def _sum_weights(
    p: Population, incoming: tuple[LoihiConnection, ...], sign: int, messages: Messages
) -> np.ndarray:
    """Return the largest sum of a tick with this sign, by neuron, as a positive number."""
    total = np.zeros(p.size)
    for c in incoming:
        low, high = messages[c.source]
        of_sign = replace(c, weight=np.maximum(sign * c.weight, 0), weight_exp=0)
        against = replace(c, weight=np.maximum(-sign * c.weight, 0), weight_exp=0)
        ones = np.ones((1, c.in_size), bool)
        sums = high * make_weighted_sum(of_sign)(ones)[0]
        if low:
            sums = sums - low * make_weighted_sum(against)(ones)[0]
        total += np.ceil(sums * 2.0**c.weight_exp)  # the floor of a negative sum is larger
    return total


def _sum_ticks(each: np.ndarray, keep: np.ndarray, ticks: int | None) -> np.ndarray:
    """Return each (1 + keep + keep^2 + ...) with ``ticks`` terms (None: endless)."""
    leaky = np.minimum(keep, 1 - 2.0**-13)
    series = (1 if ticks is None else 1 - leaky**ticks) / (1 - leaky)
    powers = np.where(keep < 1, series, np.inf if ticks is None else float(ticks))
    zero = np.zeros(np.broadcast(each, keep).shape)
    return np.multiply(each, powers, where=each > 0, out=zero)

"""Design rules of Loihi: one function per rule, its name the rule, its result the breaches.

How many cores a population takes is no rule: a mapping splits populations over cores. What one
neuron needs cannot be split, and the registers are as wide as they are.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lava_export.program import STATE_LIMIT, Connection, LoihiProgram, Population
from lava_export.reference import drive
from neuro.graph.paths import count_most_synapses


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one chip allows.

    axons: that may reach a core. words: of 64 bits, for the synapses of a core.
    extra_steps: that a spike may wait.
    programmable: neurons follow a program of ours, not only Loihi's LIF.
    """

    name: str
    axons: float
    words: int
    extra_steps: int
    programmable: bool


# Loihi 1: 4,096 input axons and 16,384 words a core (Davies et al. 2018; nengo-loihi). Loihi 2:
# 12,000 words (Intel's compiler logs in lava-dl's PilotNet tutorial), axons unknown. Delays: 6
# bits, of which netx lets 0..62 be used.
CHIPS = {
    "loihi1": Limits(
        name="Loihi 1", axons=4096.0, words=16_384, extra_steps=62, programmable=False
    ),
    "loihi2": Limits(
        name="Loihi 2", axons=math.inf, words=12_000, extra_steps=62, programmable=True
    ),
}


class RuleBreach(ValueError):
    """One or more design rules are broken; ``breaches`` lists them."""

    def __init__(self, chip: Limits, breaches: list[str]) -> None:
        super().__init__("\n".join([f"the program does not fit {chip.name}:", *breaches]))
        self.breaches = breaches


class Peak(NamedTuple):
    """Largest |u|, |v| and a that any input can bring about, for each neuron, units of v."""

    u: np.ndarray
    v: np.ndarray
    a: np.ndarray


def check(program: LoihiProgram, chip: str = "loihi1", ticks: int | None = None) -> None:
    """Raise one RuleBreach that lists every breach of every rule.

    ticks: length of a run. With it, sums are those that so many ticks can reach; without,
    those of an endless run, and a neuron without leak is judged by a single tick.
    """
    if chip not in CHIPS:
        raise ValueError(f"no chip {chip!r}; there are {', '.join(CHIPS)}")
    limits = CHIPS[chip]
    breaches = [
        f"{rule.__name__.replace('_', ' ')}: {breach}"
        for rule in RULES
        for breach in rule(program, limits)
    ]
    breaches += [
        f"worst case sums stay below 2^23: {breach}" for breach in _overflows(program, ticks)
    ]
    if breaches:
        raise RuleBreach(limits, breaches)


def weights_have_8_bits_and_a_sign(program: LoihiProgram, _: Limits) -> Iterator[str]:
    """Yield each connection with weights outside -256..254 or odd: mixed signs, scaled by 2."""
    for c in program.connections:
        bad = (c.weight < -256) | (c.weight > 254) | (c.weight % 2 != 0)
        if bad.any():
            yield (
                f"{c.name}: {int(bad.sum())} weights like {c.weight[bad][0]}, allowed are even "
                "numbers from -256 to 254; lower the graph again"
            )


def thresholds_have_17_bits(program: LoihiProgram, _: Limits) -> Iterator[str]:
    """Yield each population with a threshold, or a rise of it, outside 0..131071."""
    for p in _neurons(program):
        for field in ("vth", "beta"):
            cure = "use lower(graph, largest_weight=...) or a lower threshold"
            yield from _outside(p, field, 0, 2**17 - 1, cure)


def decays_have_12_bits(program: LoihiProgram, _: Limits) -> Iterator[str]:
    """Yield each population with a decay outside 0..4095 (of u, v or the threshold)."""
    for p in _neurons(program):
        for field in ("du", "dv", "da"):
            yield from _outside(
                p, field, 0, 4095, "use a time constant between 1/4 and 4096 dt"
            )


def biases_have_a_13_bit_mantissa_and_a_3_bit_exponent(
    program: LoihiProgram, _: Limits
) -> Iterator[str]:
    """Yield each population with a bias that its two fields cannot hold."""
    for p in _neurons(program):
        cure = "make the bias smaller, or the weights larger against it"
        yield from _outside(p, "bias_mant", -(2**12), 2**12 - 1, cure)
        yield from _outside(p, "bias_exp", 0, 7, cure)


def a_spike_waits_at_most_62_steps(program: LoihiProgram, limits: Limits) -> Iterator[str]:
    """Yield each connection whose delay is too long."""
    for c in program.connections:
        if c.extra > limits.extra_steps:
            yield (
                f"{c.name}: a spike from {c.source} to {c.target} waits {c.extra} steps, "
                f"allowed are {limits.extra_steps}; shorten the delay, or put a population "
                "between"
            )


def the_axons_of_a_neuron_fit_one_core(program: LoihiProgram, limits: Limits) -> Iterator[str]:
    """Yield each population that needs more axons for one neuron than reach a core."""
    for p in _neurons(program):
        most = sum(_axons(c) for c in program.into(p.name))
        if most > limits.axons:
            yield (
                f"{p.name}: a neuron listens to {most} axons, a core takes {limits.axons:g}; "
                "pool or convolve first, or put a smaller population between"
            )


def the_synapses_of_a_neuron_fit_one_core(
    program: LoihiProgram, limits: Limits
) -> Iterator[str]:
    """Yield each population whose synapses of one neuron are more words than a core holds."""
    for p in _neurons(program):
        most = sum(_words(c) for c in program.into(p.name))
        if most > limits.words:
            yield (
                f"{p.name}: the synapses of a neuron take {most} words, a core holds "
                f"{limits.words}; pool or convolve first, or put a smaller population between"
            )


def only_a_programmable_chip_resets_softly_or_adapts(
    program: LoihiProgram, limits: Limits
) -> Iterator[str]:
    """Yield each population that the fixed neuron of Loihi 1 does not do."""
    for p in _neurons(program):
        if limits.programmable or p.kind != "alif":
            continue
        if not p.hard:
            yield f"{p.name}: soft reset, {limits.name} sets v to 0; train with reset='hard'"
        if p.beta.any():
            yield f"{p.name}: beta > 0 adapts the threshold, {limits.name} cannot; use beta=0"


RULES: tuple[Callable[[LoihiProgram, Limits], Iterator[str]], ...] = (
    weights_have_8_bits_and_a_sign,
    thresholds_have_17_bits,
    decays_have_12_bits,
    biases_have_a_13_bit_mantissa_and_a_3_bit_exponent,
    a_spike_waits_at_most_62_steps,
    the_axons_of_a_neuron_fit_one_core,
    the_synapses_of_a_neuron_fit_one_core,
    only_a_programmable_chip_resets_softly_or_adapts,
)


def _neurons(program: LoihiProgram) -> list[Population]:
    return [p for p in program.populations if p.kind != "input"]


def _outside(p: Population, field: str, low: int, high: int, cure: str) -> Iterator[str]:
    values: np.ndarray = getattr(p, field)
    bad = values[(values < low) | (values > high)]
    if bad.size:
        yield f"{p.name}: {field} = {bad[0]}, allowed is {low}..{high}; {cure}"


def _axons(c: Connection) -> int:
    """Return the axons of a core with one neuron, as :mod:`neuro.energy.mapping` counts them.

    The channels of a convolution share one axon a pixel; whole rows of pixels reach the core.
    """
    if c.kind != "conv":
        return _words(c)
    (_, rows, columns), (height, *_) = c.shape, c.weight.shape[2:]
    out_rows = min(c.out_shape[1], 2)
    return int(min(rows, (out_rows - 1) * c.stride[0] + height) * columns)


def _words(c: Connection) -> int:
    """Return the words of one neuron's synapses: one each, zeros included."""
    if c.kind == "sparse":
        return count_most_synapses(c.places)
    return 1 if c.kind == "identity" else math.prod(c.weight.shape[1:])


def _overflows(program: LoihiProgram, ticks: int | None) -> Iterator[str]:
    for p in _neurons(program):
        peak = worst_case(p, program.into(p.name), ticks)
        for state, values in peak._asdict().items():
            worst = float(values.max(initial=0))
            if worst >= STATE_LIMIT:
                yield (
                    f"{p.name}: {state} of neuron {int(values.argmax())} can reach "
                    f"{worst:.4g}, which is {worst / STATE_LIMIT:.3g} times 2^23; use "
                    "lower(graph, ticks=...) for runs of known length, fewer inputs, or a "
                    "shorter time constant"
                )


def head_room(p: Population, incoming: tuple[Connection, ...], ticks: int | None) -> float:
    """Return the largest state of :func:`worst_case` over 2^23: below 1 it fits."""
    peak = worst_case(p, incoming, ticks)
    return max(float(values.max(initial=0)) for values in peak) / STATE_LIMIT


def worst_case(p: Population, incoming: tuple[Connection, ...], ticks: int | None) -> Peak:
    """Return bounds on the state of a population over all possible inputs, see check.

    u sums all its positive (or all its negative) weights every tick, decaying. v sums u and
    bias alike, but upwards a reset takes it back: before a tick it is at most at threshold.
    """
    keep_u = (4095 - p.du) / 4096
    keep_v = (4096 - p.dv) / 4096
    keep_a = (4096 - p.da) / 4096
    bias = p.bias_mant.astype(np.float64) * 2.0**p.bias_exp
    up = 64 * _sums(p, incoming, 1) * _repeated(keep_u, ticks)
    down = 64 * _sums(p, incoming, -1) * _repeated(keep_u, ticks)
    into_v, out_of_v = up + np.maximum(bias, 0), down + np.maximum(-bias, 0)
    a = 64.0 * p.beta * _repeated(keep_a, ticks)
    highest = into_v * _repeated(keep_v, ticks)
    if p.kind != "li":
        threshold = 64.0 * (p.vth + 1) + np.minimum(a, STATE_LIMIT)
        held = keep_v * threshold + into_v
        returns = np.full(held.shape, p.hard) | (into_v <= 64.0 * (p.vth + 1))
        highest = np.where(returns, np.minimum(held, highest), highest)
    lowest = out_of_v * _repeated(keep_v, ticks)
    return Peak(u=np.maximum(up, down), v=np.maximum(highest, lowest), a=a)


def _sums(p: Population, incoming: tuple[Connection, ...], sign: int) -> np.ndarray:
    """Return, for each neuron, the sum of its weights of one sign, as a positive number."""
    total = np.zeros(p.size)
    for c in incoming:
        ones = np.ones((1, c.in_size), bool)
        total += drive(replace(c, weight=np.maximum(sign * c.weight, 0)))(ones)[0]
    return total


def _repeated(keep: np.ndarray, ticks: int | None) -> np.ndarray:
    """Return 1 + keep + keep^2 + ... over ``ticks`` terms; endless: see :func:`check`."""
    leaky = np.minimum(keep, 1 - 2.0**-13)
    if ticks is None:
        return np.where(keep < 1, 1 / (1 - leaky), 1.0)
    return np.where(keep < 1, (1 - leaky**ticks) / (1 - leaky), float(ticks))

"""Checks before a program runs: every executor refuses the same runs, with all reasons at once.

They find integers wider than the registers of :mod:`lava_export.program`, which Lava's own
processes would cut off or overflow, runs longer than those the program was lowered for, and a
stimulus that does not fit.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Bool

from lava_export.program import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    DECAY_BITS,
    LARGEST_WEIGHT,
    NO_MEMORY,
    THRESHOLD_BITS,
    LoihiProgram,
    Population,
    ProgramError,
    require_program,
)
from neuro.arguments import require_whole_ticks
from neuro.graph.inputs import CANNOT_START, list_problems_of_inputs
from neuro.spikes import Events


def require_run(program: LoihiProgram, inputs: Mapping[str, Events], ticks: int) -> None:
    """Raise unless a run can start.

    Raises:
        TypeError: an argument is of another kind.
        ProgramError: lists all that keeps the run from starting.
    """
    require_program(program)
    require_whole_ticks("ticks", ticks)
    problems = list_wide_integers(program)
    if ticks < 1:
        problems.append(f"a run of {ticks} ticks; ask for one at least")
    elif program.ticks is not None and ticks > program.ticks:
        problems.append(
            f"a run of {ticks} ticks, and the program was lowered for {program.ticks}; sums "
            f"of more may not fit: use lower(graph, ticks={ticks})"
        )
    sizes = {p.name: p.size for p in program.populations if p.kind == "input"}
    unfit = list_problems_of_inputs(sizes, inputs, None)
    problems += unfit
    if not unfit:
        problems += [p for n, e in inputs.items() for p in _list_unfit_events(n, e, ticks)]
    if problems:
        raise ProgramError("\n".join([CANNOT_START, *problems]))


def _list_unfit_events(name: str, events: Events, ticks: int) -> Iterator[str]:
    """Yield what Loihi does not take, of a sound spike train."""
    if 1 <= ticks < events.shape[0]:
        yield (
            f"{name}: events of {events.shape[0]} ticks for a run of {ticks}; cut the train or "
            "ask for as many ticks"
        )
    graded = events.value[events.value != 1]
    if graded.size:
        yield (
            f"{name}: {graded.size} spikes are not 1 (first {graded[0]}); Loihi takes binary "
            "spikes: encode the values, e.g. with neuro.codes.rate"
        )


def rasterize(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, Bool[np.ndarray, "T B N"]]:
    """Return the raster of every input, T = ``ticks``; after the train's own T it is silent.

    Raises:
        TypeError, ProgramError: the run cannot start, see :func:`require_run`.
    """
    require_run(program, inputs, ticks)
    out = {}
    for name, e in inputs.items():
        out[name] = np.zeros((ticks, *e.shape[1:]), bool)
        out[name][e.tick, e.sample, e.neuron] = True
    return out


def list_wide_integers(program: LoihiProgram) -> list[str]:
    """Return every integer that its register cannot hold, by the rule that it breaks."""
    return [
        f"{rule.__name__.replace('_', ' ')}: {breach}"
        for rule in REGISTERS
        for breach in rule(program)
    ]


def weights_have_8_bits_and_a_sign(program: LoihiProgram) -> Iterator[str]:
    """Yield each connection with weights that are too large, or odd (Lava keeps none)."""
    for c in program.connections:
        low, high = -LARGEST_WEIGHT - 2, LARGEST_WEIGHT
        bad = (c.weight < low) | (c.weight > high) | (c.weight % 2 != 0)
        if bad.any():
            yield (
                f"{c.name}: {int(bad.sum())} weights like {c.weight[bad][0]}, allowed are even "
                f"numbers from {low} to {high}; lower the graph again"
            )


def thresholds_have_17_bits(program: LoihiProgram) -> Iterator[str]:
    """Yield each population whose threshold, or its rise, is negative or too large."""
    for p in list_neurons(program):
        for field in ("vth", "beta"):
            cure = "use lower(graph, largest_weight=...) or a lower threshold"
            yield from _list_outside(p, field, 0, 2**THRESHOLD_BITS - 1, cure)


def decays_have_12_bits(program: LoihiProgram) -> Iterator[str]:
    """Yield each population with a decay of u, v or the threshold outside its bits."""
    for p in list_neurons(program):
        for field in ("du", "dv", "da"):
            cure = "use a time constant between 1/4 and 4096 dt"
            forgets = field == "dv" and p.kind == "alif"
            most = NO_MEMORY if forgets else 2**DECAY_BITS - 1
            yield from _list_outside(p, field, 0, most, cure)


def biases_have_a_13_bit_mantissa_and_a_3_bit_exponent(
    program: LoihiProgram,
) -> Iterator[str]:
    """Yield each population with a bias that its two fields cannot hold."""
    for p in list_neurons(program):
        cure = "make the bias smaller, or the weights larger against it"
        most = 2**BIAS_MANTISSA_BITS
        yield from _list_outside(p, "bias_mant", -most, most - 1, cure)
        yield from _list_outside(p, "bias_exp", 0, 2**BIAS_EXPONENT_BITS - 1, cure)


REGISTERS: tuple[Callable[[LoihiProgram], Iterator[str]], ...] = (
    weights_have_8_bits_and_a_sign,
    thresholds_have_17_bits,
    decays_have_12_bits,
    biases_have_a_13_bit_mantissa_and_a_3_bit_exponent,
)


def list_neurons(program: LoihiProgram) -> list[Population]:
    """Return the populations that are no inputs."""
    return [p for p in program.populations if p.kind != "input"]


def _list_outside(p: Population, field: str, low: int, high: int, cure: str) -> Iterator[str]:
    values: np.ndarray = getattr(p, field)
    bad = values[(values < low) | (values > high)]
    if bad.size:
        yield f"{p.name}: {field} = {bad[0]}, allowed is {low}..{high}; {cure}"

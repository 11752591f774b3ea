"""Checks before a program runs: every executor refuses the same runs and lists all reasons.

The checks find integers wider than the registers of :mod:`lava_export.program`, which Lava's
own processes would cut off or overflow; runs longer than the program was lowered for; and a
stimulus that does not fit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from lava_export.population import SUM_LIMIT, SUMS
from lava_export.program import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    DECAY_BITS,
    NO_MEMORY,
    STATE_LIMIT,
    THRESHOLD_BITS,
    LoihiConnection,
    LoihiProgram,
    Population,
    ProgramError,
    require_program,
)
from neuro.base.arguments import require_whole_ticks
from neuro.graph.inputs import (
    CANNOT_START,
    list_problems_of_inputs,
    list_ungraded_values,
)
from neuro.spikes import Events


def require_run(program: LoihiProgram, inputs: Mapping[str, Events], ticks: int) -> None:
    """Raise an error if a run cannot start.

    Raises:
        TypeError: an argument has the wrong type.
        ProgramError: lists everything that keeps the run from starting.
    """
    require_program(program)
    require_start(
        program,
        inputs,
        ticks,
        longer=f"sums of more may not fit: use lower(graph, ticks={ticks})",
        check=lambda name, e: _list_unfit_events(program[name], e),
        wide=list_wide_integers,
    )


def require_start(
    program: Any,
    inputs: Mapping[str, Events],
    ticks: int,
    *,
    longer: str,
    check: Callable[[str, Events], Iterable[str]],
    wide: Callable[[Any], Iterable[str]] = lambda _: (),
) -> None:
    """Raise a TypeError or ProgramError if a run of a program in any integers cannot start.

    longer: the cure for longer runs than the program was lowered for. check: yields why a spike
    train does not suit its input. wide: yields the integers beyond their registers.
    """
    require_whole_ticks("ticks", ticks)
    problems = [*wide(program)]
    if ticks < 1:
        problems.append(f"a run of {ticks} ticks; ask for one at least")
    elif program.ticks is not None and ticks > program.ticks:
        problems.append(
            f"a run of {ticks} ticks, and the program was lowered for {program.ticks}; {longer}"
        )
    sizes = {p.name: p.size for p in program.populations if p.kind == "input"}
    unfit = list_problems_of_inputs(sizes, inputs, None)
    problems += unfit
    for name, e in () if unfit else inputs.items():
        if 1 <= ticks < e.shape[0]:
            problems.append(
                f"{name}: events of {e.shape[0]} ticks for a run of {ticks}; cut the train or "
                "ask for as many ticks"
            )
        problems += check(name, e)
    if problems:
        raise ProgramError("\n".join([CANNOT_START, *problems]))


def _list_unfit_events(p: Population, events: Events) -> Iterator[str]:
    """Yield why Loihi does not accept an input's spike train, which is valid in itself."""
    if not p.signed:
        graded = events.value[events.value != 1]
        if graded.size:
            yield (
                f"{p.name}: {graded.size} spikes are not 1 (first {graded[0]}); Loihi takes "
                "binary spikes: encode the values, e.g. with neuro.spikes.codes.rate, or make "
                "them whole numbers of a GradedInput (neuro import --set input=graded)"
            )
        return
    yield from list_ungraded_values(p.name, events.value, p.message_bits)


def rasterize(
    program: LoihiProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, Bool[np.ndarray, "T B N"] | Int[np.ndarray, "T B N"]]:
    """Return the raster of every input over T = ``ticks`` ticks, silent after the train's end.

    A raster holds bools, or whole numbers if the spikes of the input are graded.

    Raises:
        TypeError, ProgramError: the run cannot start, see :func:`require_run`.
    """
    require_run(program, inputs, ticks)
    out: dict[str, np.ndarray] = {}
    for name, e in inputs.items():
        kind = np.int32 if program[name].signed else np.bool_
        out[name] = np.zeros((ticks, *e.shape[1:]), kind)
        out[name][e.tick, e.sample, e.neuron] = e.value
    return out


COUNTER_BITS = 6  # of a refractory period
# For the kinds in SUMS, thresholds and biases are as wide as states. Lava declares 16 bits for
# their biases and keeps 32; netx sets biases of more than 16.
OF_CODERS: Mapping[str, tuple[int, int]] = {
    "vth": (0, STATE_LIMIT - 1),
    "bias_mant": (1 - STATE_LIMIT, STATE_LIMIT - 1),
    "bias_exp": (0, 0),
}

# By rule: the registers with their least and largest integer, and the cure.
REGISTERS: Mapping[str, tuple[Mapping[str, tuple[int, int]], str]] = {
    "thresholds have 17 bits": (
        dict.fromkeys(("vth", "beta"), (0, 2**THRESHOLD_BITS - 1)),
        "use lower(graph, largest_weight=...) or a lower threshold",
    ),
    "decays have 12 bits": (
        # du = -1, with which u never decays, is what lava-dl writes for a current decay of 0
        {"du": (-1, 2**DECAY_BITS - 1), **dict.fromkeys(("dv", "da"), (0, 2**DECAY_BITS - 1))},
        "use a time constant between 1/4 and 4096 dt",
    ),
    "biases have a 13 bit mantissa and a 3 bit exponent": (
        {
            "bias_mant": (-(2**BIAS_MANTISSA_BITS), 2**BIAS_MANTISSA_BITS - 1),
            "bias_exp": (0, 2**BIAS_EXPONENT_BITS - 1),
        },
        "make the bias smaller, or the weights larger against it",
    ),
    "a reset is a value of v, which has 23 bits and a sign": (
        {"reset_to": (1 - STATE_LIMIT, STATE_LIMIT - 1), "reset_by": (0, STATE_LIMIT - 1)},
        "use lower(graph, largest_weight=...), or a reset nearer to the threshold",
    ),
    "a lower threshold has 17 bits and is not above 0": (
        {"vth_low": (1 - 2**THRESHOLD_BITS, 0)},
        "use lower(graph, largest_weight=...); above 0 it would fire at rest",
    ),
    "a refractory period has 6 bits": (
        {"refractory": (0, 2**COUNTER_BITS - 1)},
        "use a shorter period",
    ),
    "exponents of messages and states have 3 bits": (
        dict.fromkeys(("spike_exp", "state_exp"), (0, 7)),
        "scale the weights before instead",
    ),
}


def list_wide_integers(program: LoihiProgram) -> list[str]:
    """Return every integer that does not fit its register, with the rule it breaks."""
    wide = []
    for c in program.connections:
        low, high, step = c.weight_range
        bad = c.weight[(c.weight < low) | (c.weight > high) | (c.weight % step != 0)]
        if bad.size:  # with mixed signs Lava keeps even weights only
            numbers = {1: "whole", 2: "even"}.get(step, f"multiples of {step} among the whole")
            wide.append(
                f"weights have 8 bits and a sign: {c.name}: {bad.size} weights like {bad[0]}, "
                f"allowed are {numbers} numbers from {low} to {high}; lower the graph again"
            )
    neurons = list_neurons(program)
    wide += [problem for p in neurons for problem in _list_wide_sums(program, p)]
    for rule, (ranges, cure) in REGISTERS.items():
        for p, (field, (low, high)) in product(neurons, ranges.items()):
            low, high = OF_CODERS.get(field, (low, high)) if p.kind in SUMS else (low, high)
            most = NO_MEMORY if field == "dv" and p.kind in ("alif", "li") else high
            if getattr(p, field) is None:
                continue
            values = np.atleast_1d(getattr(p, field))
            bad = values[(values < low) | (values > most)]
            if bad.size:
                wide.append(
                    f"{rule}: {p.name}: {field} = {bad[0]}, allowed is {low}..{most}; {cure}"
                )
    return wide


def _list_wide_sums(program: LoihiProgram, p: Population) -> Iterator[str]:
    """Yield why a sum of one tick could overflow Lava, which adds in 32 bits.

    Sums of graded spikes are checked in every run instead: their worst case is far from what
    happens.
    """
    total = sum(
        int(sum_absolutes(c).max(initial=0)) * 2 ** max(c.weight_exp, 0)
        for c in program.into(p.name)
        if not program[c.source].message_bits
    )
    if total >= SUM_LIMIT:
        yield (
            f"sums of a tick have 24 bits: {p.name}: its spikes can bring {total:,} weight "
            f"units in a tick, allowed are less than {SUM_LIMIT:,}; use a smaller weight_exp "
            "or fewer sources"
        )


def sum_absolutes(c: LoihiConnection) -> Int[np.ndarray, " R"]:
    """Return sums of |weight| over synapses, before the exponent: one sum per target neuron.

    A convolution has one sum per kernel.
    """
    size = np.abs(c.weight.astype(np.int64))
    if c.kind == "sparse":
        return np.bincount(c.places[0], size, c.sizes[0]).astype(np.int64)
    return np.asarray(size.reshape(len(size), -1).sum(1))


def list_neurons(program: LoihiProgram) -> list[Population]:
    """Return the populations that are not inputs."""
    return [p for p in program.populations if p.kind != "input"]

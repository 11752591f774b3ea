"""Checks before a program runs: every executor refuses the same runs, with all reasons at once.

They find integers wider than the registers of :mod:`lava_export.program`, which Lava's own
processes would cut off or overflow, runs longer than those the program was lowered for, and a
stimulus that does not fit.
"""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
from jaxtyping import Bool

from lava_export.program import (
    BIAS_EXPONENT_BITS,
    BIAS_MANTISSA_BITS,
    DECAY_BITS,
    LARGEST_WEIGHT,
    NO_MEMORY,
    STATE_LIMIT,
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


# The rule of some registers, the least and the largest integer of each, and the cure.
REGISTERS: Mapping[str, tuple[Mapping[str, tuple[int, int]], str]] = {
    "thresholds have 17 bits": (
        dict.fromkeys(("vth", "beta"), (0, 2**THRESHOLD_BITS - 1)),
        "use lower(graph, largest_weight=...) or a lower threshold",
    ),
    "decays have 12 bits": (
        dict.fromkeys(("du", "dv", "da"), (0, 2**DECAY_BITS - 1)),
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
}


def list_wide_integers(program: LoihiProgram) -> list[str]:
    """Return every integer that its register cannot hold, by the rule that it breaks."""
    wide = []
    low, high = -LARGEST_WEIGHT - 2, LARGEST_WEIGHT
    for c in program.connections:
        bad = c.weight[(c.weight < low) | (c.weight > high) | (c.weight % 2 != 0)]
        if bad.size:  # Lava keeps no odd ones
            wide.append(
                f"weights have 8 bits and a sign: {c.name}: {bad.size} weights like {bad[0]}, "
                f"allowed are even numbers from {low} to {high}; lower the graph again"
            )
    for rule, (ranges, cure) in REGISTERS.items():
        for p, (field, (low, high)) in product(list_neurons(program), ranges.items()):
            most = NO_MEMORY if field == "dv" and p.kind == "alif" else high
            values = getattr(p, field)
            if values is None:
                continue
            bad = values[(values < low) | (values > most)]
            if bad.size:
                wide.append(
                    f"{rule}: {p.name}: {field} = {bad[0]}, allowed is {low}..{most}; {cure}"
                )
    return wide


def list_neurons(program: LoihiProgram) -> list[Population]:
    """Return the populations that are no inputs."""
    return [p for p in program.populations if p.kind != "input"]

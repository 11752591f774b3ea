"""The specification of a GradedProgram: a bit-exact executor in NumPy.

Axes: T ticks (tokens), B samples, N neurons.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from lava_export.graded.program import GradedProgram, NeuronGroup, require_graded_program
from lava_export.processes import fixed_point as arithmetic
from lava_export.processes.fixed_point import FRACTION, LIMIT
from neuro.graph.inputs import list_problems_of_inputs
from neuro.spikes import Events, to_events, to_raster
from neuro.spikes.record import Record


class RangeError(ValueError):
    """A value needs more than its 24 bits."""


def run_graded(program: GradedProgram, inputs: Mapping[str, Events]) -> Record:
    """Return the Record of a run from rest.

    It holds the graded spikes of the input (in units of 2^-16) and of every group that counts,
    and the values of the read-outs (int64, in units of 2^-16).

    Raises:
        TypeError: the program has the wrong type.
        ValueError: the inputs do not fit.
        RangeError: a value has more than 24 bits; the message states where, and the cure.
    """
    x = quantise_input(program, inputs)
    values: dict[str, np.ndarray] = {program.input.name: x}
    for g in program.groups:
        if g.kind == "input":
            continue
        sources = [values[s] for s in g.sources]
        arriving = (
            np.concatenate(sources, -1) if g.kind == "join" else sum(sources[1:], sources[0])
        )
        if g.kind == "gated":
            values[g.name] = _run_gate(g, arriving)
        else:
            values[g.name] = compute_group(g, arriving)
        require_range(g.name, values[g.name])
    counted = {g.name: values[g.name] for g in program.groups if g.kind in ("input", "spikes")}
    return Record(
        executor="integers",
        ticks=x.shape[0],
        samples=x.shape[1],
        spikes={name: to_events(v.astype(np.float64)) for name, v in counted.items()},
        values={name: values[name] for name in program.readouts},
        digest=program.digest,
    )


def quantise_input(
    program: GradedProgram, inputs: Mapping[str, Events]
) -> Int[np.ndarray, "T B N"]:
    """Return the stimulus in units of 2^-16.

    Raises:
        TypeError, ValueError, RangeError: as in :func:`run_graded`.
    """
    require_graded_program(program)
    name, size = program.input.name, program.input.size
    if problems := list_problems_of_inputs({name: size}, inputs, None):
        raise ValueError("\n".join(["the run cannot start:", *problems]))
    x = to_raster(inputs[name]).astype(np.float64) * 2**FRACTION
    if np.abs(x).max(initial=0) < LIMIT:
        whole = np.sign(x) * np.floor(np.abs(x) + 0.5)
        return np.asarray(whole.astype(np.int64))
    raise RangeError(
        f"{name}: a value of {np.abs(x).max() / 2**FRACTION:g} needs more than 24 bits; the "
        f"limit is {LIMIT / 2**FRACTION:g}"
    )


def compute_group(g: NeuronGroup, x: Int[np.ndarray, "T B M"]) -> Int[np.ndarray, "T B N"]:
    """Return the output of a group without state for its input x."""
    if g.kind != "synapses":
        return arithmetic.compute(g.kind, x, g.numbers, g.array)
    # BLAS is exact here: no sum of a program exceeds 2^23.
    sums = x.astype(np.float32) @ g.array.astype(np.float32).T
    return np.asarray(sums.astype(np.int64))


def _run_gate(g: NeuronGroup, x: Int[np.ndarray, "T B M"]) -> Int[np.ndarray, "T B N"]:
    """Return the values of a gate from rest; raise a RangeError if a state needs more bits."""
    rest, out = g.array.astype(np.int64), np.zeros((*x.shape[:2], g.size), np.int64)
    state = np.zeros((x.shape[1], g.size), np.int64)
    for t, now in enumerate(x):
        state = arithmetic.advance_gate(now, state, rest)
        require_range(f"{g.name} (state)", state[None], tick=t)
        out[t] = arithmetic.read_gate(state)
    return out


def require_range(name: str, x: Int[np.ndarray, "T B N"], tick: int = 0) -> None:
    """Raise a RangeError if a value needs more than 24 bits."""
    wide = np.argwhere(np.abs(x) >= LIMIT)
    if len(wide):
        t, b, n = wide[0]
        raise RangeError(
            f"{name}: {int(x[t, b, n])} of neuron {n}, tick {tick + t}, sample {b} needs more "
            "than 24 bits; train with weight decay, or with a smaller learning rate, so that "
            "activations stay smaller"
        )


def to_floats(record: Record) -> Record:
    """Return the record of a run with its read-outs in units of the float network."""
    return replace(
        record, values={name: v / 2.0**FRACTION for name, v in record.values.items()}
    )

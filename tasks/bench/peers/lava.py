"""``neuro bench lava``: a program in compiled loops, in the NumPy reference, and on Lava.

Times are CPU times of all processes, per step and sample. Lava runs one sample at a time, and
starts one operating-system process per Lava Process; only its steps are timed, without the
start. The others run a batch, or one sample, from events to record.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import numpy as np

from lava_export import LoihiConnection, LoihiProgram, Population, reference
from lava_export.integers import run_integers
from lava_export.program import as_int32
from lava_export.run import measure_steps
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record
from tasks.bench.comparison import Case, Pair
from tasks.bench.harness import Run, RunTiming
from tasks.bench.stopwatch import repeat

COMPILED, REFERENCE = "neuro, compiled integers", "neuro, NumPy reference"
LAVA = "Lava, CPU simulation"
TARGET = 20.0
RUNS: Mapping[str, Callable[..., Record]] = {COMPILED: run_integers, REFERENCE: reference.run}
SIZES = (784, 512, 10)
SHARE = 0.1  # share of the inputs that fire per step


def make_program(sizes: tuple[int, ...]) -> LoihiProgram:
    """Return Lava's LIFs in dense layers of these sizes, with random weights of 8 bits."""
    rng = np.random.default_rng(0)
    names = [f"layer{k}" for k in range(len(sizes))]
    populations = [Population(name=names[0], kind="input", shape=(sizes[0],))]
    connections = []
    for k, (before, size) in enumerate(pairwise(sizes), 1):
        weight = as_int32(2 * rng.integers(-100, 110, (size, before)))
        # A sum of random weights is about as large as its spread, so some fire in each step.
        threshold = int(7 * np.sqrt(SHARE * before) * 120)
        populations.append(
            Population(
                name=names[k],
                kind="lif",
                shape=(size,),
                lag=k,
                du=as_int32(2048),
                dv=as_int32(512),
                vth=as_int32(threshold),
            )
        )
        connections.append(
            LoihiConnection(
                name=f"weight{k}",
                source=names[k - 1],
                target=names[k],
                kind="dense",
                weight=weight,
            )
        )
    return LoihiProgram(populations=tuple(populations), connections=tuple(connections))


def make_stimulus(program: LoihiProgram, ticks: int, samples: int) -> dict[str, Events]:
    """Return random spikes into the first layer."""
    rng = np.random.default_rng(1)
    (layer,) = (p for p in program.populations if p.kind == "input")
    return {layer.name: to_events(rng.random((ticks, samples, layer.size)) < SHARE)}


def run_batch(subject: str, sizes: tuple[int, ...], ticks: int, samples: int, _: int) -> Run:
    """Return runs of a batch of samples by COMPILED or REFERENCE, timed per step and sample."""
    program = make_program(sizes)
    x = make_stimulus(program, ticks, samples)

    def once() -> tuple[int, int]:
        record = RUNS[subject](program, x, ticks)
        return sum(len(e.tick) for e in record.spikes.values()), 0

    whole = repeat(once)

    def run() -> RunTiming:
        timing, steps = whole(), ticks * samples
        return timing._replace(cpu=timing.cpu / steps, wall=timing.wall / steps)

    return run


def run_lava(sizes: tuple[int, ...], ticks: int, _: int) -> Run:
    """Return runs of Lava, timed per step."""
    program = make_program(sizes)
    x = make_stimulus(program, ticks, 1)

    def run() -> RunTiming:
        wall, cpu = measure_steps(program, x, ticks)
        return RunTiming(cpu, wall, 0)

    return run


def dense(quick: bool) -> list[Case]:
    """Return dense layers of LIFs, like those of a small digit classifier, for two batches."""
    sizes, steps, batches = SIZES, 400, {64: 50, 1: 400}
    if quick:
        sizes, steps, batches = (20, 10, 3), 20, {4: 5, 1: 5}
    return [
        Case(
            name=f"{'-'.join(map(str, sizes))}, {samples} at a time",
            subjects={
                COMPILED: partial(run_batch, COMPILED, sizes, ticks, samples),
                REFERENCE: partial(run_batch, REFERENCE, sizes, ticks, samples),
                LAVA: partial(run_lava, sizes, steps),
            },
            pairs=(Pair(COMPILED, (LAVA,), TARGET), Pair(COMPILED, (REFERENCE,))),
            unit="us a step of a sample",
            per=1e-6,
            conditions={"samples": samples, "share_of_inputs_that_fire": SHARE},
        )
        for samples, ticks in batches.items()
    ]


CASES: Mapping[str, Callable[[bool], list[Case]]] = {"dense": dense}

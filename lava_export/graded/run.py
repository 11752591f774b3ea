"""Runs a GradedProgram on real Lava, in a child process: this process never imports lava."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from lava_export.graded.program import GradedProgram
from lava_export.graded.reference import quantise_input
from lava_export.graded.stages import plan_stages
from lava_export.program import take_apart
from lava_export.run import require_lava, run_child
from neuro.record import Record
from neuro.spikes import Events, to_events
from neuro.units import Seconds


def run_graded_on_lava(
    program: GradedProgram, inputs: Mapping[str, Events], timeout: Seconds = Seconds(600.0)
) -> Record:
    """Return what Lava computes, in ticks of the graph: lags are taken out.

    A step of Lava moves every token of the pipeline one stage on. Gates begin at rest: silence,
    of which all groups make zeros, reaches them before the first token.

    timeout: after so many seconds [s] the child is ended.

    Raises:
        TypeError, ValueError: the run cannot start, see
            :func:`lava_export.graded.reference.run_graded`.
        LavaMissing: Lava is not installed; the message says how to.
        LavaFailed: the child failed or hung, also where a value has more than 24 bits.
    """
    x = quantise_input(program, inputs)
    stages = plan_stages(program)
    require_lava()
    arrays, meta = take_apart(program)
    ticks, samples, _ = x.shape
    meta |= {"stages": [asdict(stage) for stage in stages], "steps": ticks + program.latency}
    job = {**arrays, "meta": np.array(json.dumps(meta)), "x": x.astype(np.int32)}
    answer = run_child(job, timeout)
    aligned = {
        g.name: answer[g.name][g.lag : g.lag + ticks].astype(np.int64)
        for g in program.groups
        if g.name in answer
    }
    counted = {g.name: aligned[g.name] for g in program.groups if g.kind == "spikes"}
    counted[program.input.name] = x
    return Record(
        executor="lava",
        ticks=ticks,
        samples=samples,
        spikes={name: to_events(v.astype(np.float64)) for name, v in counted.items()},
        values={name: aligned[name] for name in program.readouts},
        digest=program.digest,
    )

"""Runs of a GradedProgram on real Lava, in a child process: this process never imports lava.

The program is divided into stages, one per lag. Synapses take one step, so a value that a later
stage needs waits one step at every stage on its way. On a chip this is the pipeline of a
token's residual stream.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from lava_export.graded.program import GradedProgram
from lava_export.graded.reference import quantise_input
from lava_export.program import take_apart
from lava_export.run import require_lava, run_child
from neuro.base.units import Seconds
from neuro.spikes import Events, to_events
from neuro.spikes.record import Record

Ports = tuple[tuple[str, int], ...]  # name and size of each value on a port
PORTS = 4  # of lava_export.processes.stage: inputs, and outputs


def run_graded_on_lava(
    program: GradedProgram, inputs: Mapping[str, Events], timeout: Seconds = Seconds(600.0)
) -> Record:
    """Return what Lava computes, in ticks of the graph, with the lags removed.

    A step of Lava moves every token one stage along the pipeline. Gates are still at rest when
    the first token reaches them: silence arrives before it, and every group turns silence to 0.

    Args:
        program: the program.
        inputs: the stimulus.
        timeout: time after which the child is ended [s].

    Raises:
        TypeError, ValueError: the run cannot start, see
            :func:`lava_export.graded.reference.run_graded`.
        LavaMissing: Lava is not installed; the message states how to install it.
        LavaFailed: the child failed or hung, or a value has more than 24 bits.
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


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage: the groups of one lag.

    groups: names, in their order.
    receives: values from synapses, or from the input.
    takes: values from the stage before.
    sends: values to synapses, or to a read-out.
    gives: values to the next stage.
    """

    groups: tuple[str, ...]
    receives: Ports
    takes: Ports
    sends: Ports
    gives: Ports


def plan_stages(program: GradedProgram) -> tuple[StagePlan, ...]:
    """Return the stages of a program.

    Raises:
        ValueError: a stage needs more ports than its process has.
    """
    sizes = {g.name: g.size for g in program.groups}
    # The lag of the last stage that reads each group; synapses read in the group's own stage.
    needed = {g.name: g.lag for g in program.groups}
    for g in program.groups:
        for source in g.sources:
            if g.kind != "synapses":
                needed[source] = max(needed[source], g.lag)
    plans, problems = [], list[str]()
    before: Ports = ()
    for lag in range(program.latency + 1):
        here = [g for g in program.groups if g.lag == lag]
        groups = tuple(g.name for g in here if g.kind not in ("input", "synapses"))
        fed = {s for g in program.groups if g.kind == "synapses" for s in g.sources}
        receiving = [g.name for g in here if g.kind in ("input", "synapses")]
        kept = [
            n for n in (*(name for name, _ in before), *receiving, *groups) if needed[n] > lag
        ]
        receives = _ports(sizes, receiving)
        sends = _ports(sizes, [n for n in groups if n in fed or n in program.readouts])
        gives = _ports(sizes, kept)
        plans.append(
            StagePlan(groups=groups, receives=receives, takes=before, sends=sends, gives=gives)
        )
        problems += [
            f"the stage of lag {lag} has {len(ports)} ports on a side, its process {PORTS}; "
            "share counts between synapses"
            for ports in (receives, sends)
            if len(ports) > PORTS
        ]
        before = gives
    if problems or program.groups[-1].kind == "synapses":
        raise ValueError("\n".join(["the program has no stages:", *problems]))
    return tuple(plans)


def _ports(sizes: Mapping[str, int], names: list[str]) -> Ports:
    return tuple((name, sizes[name]) for name in names)

"""How a GradedProgram lies in stages, one a lag: what each receives, hands on and sends.

Synapses take a step, so a value that a later stage needs waits one step at each stage on its
way: on a chip the pipeline of a token's residual stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lava_export.graded.program import GradedProgram

Ports = tuple[tuple[str, int], ...]  # name and size of what a port, or a part of one, carries
PORTS = 4  # of lava_export.processes.stage, on either side


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage.

    groups: names, in their order. receives: from synapses, or the input. takes, gives: from the
    stage before, to the stage behind. sends: to synapses, or a read-out.
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
    kinds = {g.name: g.kind for g in program.groups}
    needed = _find_last_uses(program)
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
    if problems or kinds[program.groups[-1].name] == "synapses":
        raise ValueError("\n".join(["the program has no stages:", *problems]))
    return tuple(plans)


def _find_last_uses(program: GradedProgram) -> Mapping[str, int]:
    """Return the lag of the last stage that reads each group; synapses read at once."""
    lags = {g.name: g.lag for g in program.groups}
    for g in program.groups:
        for source in g.sources:
            if g.kind != "synapses":
                lags[source] = max(lags[source], g.lag)
    return lags


def _ports(sizes: Mapping[str, int], names: list[str]) -> Ports:
    return tuple((name, sizes[name]) for name in names)

"""Whether a GradedProgram fits a chip: every breach by name, with a cure."""

import numpy as np

from lava_export.graded.program import GradedProgram, require_graded_program
from lava_export.program import LoihiConnection as Stored
from neuro.energy import Chip
from neuro.energy.mapping import count_demand


def list_graded_breaches(program: GradedProgram, chip: Chip) -> list[str]:
    """Return why a chip cannot run a program; none if it can.

    Graded spikes and microcode need a programmable chip; the synapses of a neuron must fit a
    core. Values are held to their 24 bits as they come, in every run.
    """
    require_graded_program(program)
    breaches = []
    if not chip.programmable:
        breaches.append(
            f"{program.input.name} and all behind it: graded spikes and microcode, "
            f"{chip.hardware} has neither; take a programmable chip, such as loihi2"
        )
    for g in program.groups:
        if g.kind != "synapses":
            continue
        need = count_demand([store(g.name, *g.array.shape)], g.size, 1, chip.limits)
        for limit in ("in_axons", "synapse_words"):
            most = getattr(chip.limits, limit).value
            if need[limit] > most:
                breaches.append(
                    f"{g.name}: a neuron needs {need[limit]} {limit}, a core has {most:g}; "
                    "make the layer before it smaller"
                )
    return breaches


def store(name: str, targets: int, sources: int) -> Stored:
    """Return the matrix of some synapses as a chip stores it; its weights take no memory."""
    weight = np.broadcast_to(np.int32(0), (targets, sources))
    return Stored(name=name, source="", target="", kind="dense", weight=weight)

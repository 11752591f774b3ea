"""What rounding changed in a GradedProgram, and whether the program fits a chip."""

from typing import Any

import numpy as np

from lava_export.graded.program import GradedProgram, NeuronGroup, require_graded_program
from lava_export.processes.fixed_point import FRACTION, GATE, LIMIT
from lava_export.program import LoihiConnection as Stored
from neuro.energy import Chip
from neuro.energy.mapping import count_demand
from neuro.graph import Graph, RMSNorm
from neuro.io.graph_digest import require_program_of
from neuro.neurons import LI, GatedLI


def make_graded_scaling_table(graph: Graph, program: GradedProgram) -> list[dict[str, Any]]:
    """Return one row per group that stores numbers, with the columns of a LoihiProgram's table.

    scale: units of the integers per unit of the float network.
    weight_min, weight_max: range of the integers that the group stores.
    weight_error_max: error of gains and scales, relative to the largest; 0 for ternary weights.
    decay_error: error of the smallest share that a gate keeps.
    head_room: the largest sum of weights that counts can make, over 2^23. None for other
        groups, whose values every run checks against 24 bits.
    threshold_error: always None, since no threshold is rounded.

    Raises:
        ValueError: the program was lowered from another graph.
    """
    require_program_of(graph, program.digest)
    rows = [_measure(graph, program, g) for g in program.groups]
    return [row for row in rows if row["weight_max"] is not None]


def _measure(graph: Graph, program: GradedProgram, g: NeuronGroup) -> dict[str, Any]:
    node, stored, error, decay = graph.nodes[g.name], g.array, 0.0, 0.0
    scale, room = 2.0**FRACTION, None
    if g.kind == "synapses":
        most = program[g.sources[0]].numbers["ticks"]
        scale, room = 2.0, float(np.abs(g.array).sum(1, dtype=np.int64).max()) * most / LIMIT
    elif isinstance(node, LI) and g.kind == "scale":
        stored = np.array([g.numbers["mantissa"]])
        gain = g.numbers["mantissa"] * 2.0 ** (1 - g.numbers["exponent"] - FRACTION)
        error = abs(gain / float(node.gain) - 1)
    elif isinstance(node, RMSNorm):
        exact = node.gain.ravel().astype(np.float64) * np.sqrt(g.size)
        rounded = g.array / 2.0 ** g.numbers["shift"]
        error = float(np.abs(rounded - exact).max() / max(np.abs(exact).max(), 1e-300))
        scale = 2.0 ** g.numbers["shift"]
    elif isinstance(node, GatedLI):
        decay = float(np.abs(1 - g.array / 2.0**GATE - np.asarray(node.floor)).max())
        scale = 2.0**GATE
    return {
        "layer": g.name,
        "kind": g.kind,
        "scale": scale,
        "weight_min": int(stored.min()) if stored.size else None,
        "weight_max": int(stored.max()) if stored.size else None,
        "weight_error_max": error,
        "weight_error_rms": error,
        "threshold_error": None,
        "decay_error": decay,
        "beta_error": 0.0,
        "bias_error": 0.0,
        "lag": g.lag,
        "extra": 0,
        "head_room": room,
    }


def list_graded_breaches(program: GradedProgram, chip: Chip) -> list[str]:
    """Return why a chip cannot run a program; empty if it can.

    Graded spikes and microcode need a programmable chip, and the synapses of a neuron must fit
    one core. The 24 bits of values are checked in every run instead.
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
    """Return the matrix of synapses as a chip stores it, with weights that use no memory."""
    weight = np.broadcast_to(np.int32(0), (targets, sources))
    return Stored(name=name, source="", target="", kind="dense", weight=weight)

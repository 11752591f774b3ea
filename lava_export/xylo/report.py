"""What rounding changed in a XyloProgram, and whether the program fits a chip."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lava_export.report import describe_weights
from lava_export.xylo.lower import XyloFloats, collect_xylo_populations, compute_head_room
from lava_export.xylo.program import XyloProgram, find_kept, require_xylo_program
from lava_export.xylo.reference import lay_out, slice_kinds
from neuro.energy import OneCoreChip
from neuro.graph import Graph
from neuro.graph.requirements import require_graph
from neuro.io.graph_digest import require_program_of


def make_xylo_scaling_table(graph: Graph, program: XyloProgram) -> list[dict[str, Any]]:
    """Return one row per population, with the columns of a LoihiProgram's table.

    Errors are in units of the float network. decay_error is the largest error of v, of the
    current, or of a read-out. head_room is the largest state over 2^15 - 1 if every source
    fired once per tick; below 1, no such stimulus saturates.

    Raises:
        TypeError: an argument is no Graph or no XyloProgram.
        ValueError: the program was lowered from another graph.
    """
    require_graph(graph)
    require_xylo_program(program)
    require_program_of(graph, program.digest)
    return [_measure(program, part) for part in collect_xylo_populations(graph, [])]


def _measure(program: XyloProgram, part: XyloFloats) -> dict[str, Any]:
    p, c = program[part.name], part.c
    incoming, shift = program.into(p.name), program.shifts.into(p.kind)
    gain = np.broadcast_to(find_kept(p.dash_syn), p.size)[:, None]
    error = np.concatenate(
        [
            (own.weight * (gain * 2**shift / p.scale) - r.weight).ravel()
            for own, r in zip(incoming, part.incoming, strict=True)
        ]
    )
    weights = np.concatenate([own.weight.ravel() for own in incoming])
    decays = [_miss(p.dash_syn, part.current)]
    threshold = 0.0
    if p.kind != "readout":
        decays.append(_miss(p.dash_mem, c.decay))
        threshold = float(np.abs(p.threshold / p.scale - c.threshold).max())
    return {
        "layer": p.name,
        "kind": p.kind,
        "scale": p.scale,
        **describe_weights(weights, error),
        "threshold_error": threshold,
        "decay_error": max(decays),
        "lag": p.lag,
        "shift": shift,
        "head_room": compute_head_room(program, p),
    }


def _miss(dash: np.ndarray, kept: np.ndarray) -> float:
    """Return the largest difference of a decay from 1 - 2^-dash."""
    return float(np.abs(find_kept(dash) - kept).max())


def list_xylo_breaches(program: XyloProgram, chip: OneCoreChip) -> list[str]:
    """Return the rules of a chip that a program breaks, by rule; empty if it fits."""
    require_xylo_program(program)
    return [*_list_crowds(program, chip), *_list_wide_fans(program, chip)]


def _list_crowds(program: XyloProgram, chip: OneCoreChip) -> Iterator[str]:
    limits = chip.limits
    for kinds, limit, what in (
        (("input",), limits.channels, "input channels"),
        (("hidden",), limits.hidden, "hidden neurons"),
        (("output", "readout"), limits.outputs, "output neurons"),
    ):
        populations = program.select(*kinds)
        total = sum(p.size for p in populations)
        if total > limit.value:
            names = ", ".join(f"{p.name} {p.size:,}" for p in populations)
            yield (
                f"{chip.hardware} has {limit.value:g} {what}, the network needs {total:,} "
                f"({names}); use fewer, or a smaller layer"
            )


def _list_wide_fans(program: XyloProgram, chip: OneCoreChip) -> Iterator[str]:
    recurrent = lay_out(program).w_rec != 0
    for p, part in slice_kinds(program, "hidden"):
        most = int(recurrent[part].sum(1).max(initial=0))
        if most > chip.limits.fan_out.value:
            yield (
                f"{p.name}: a neuron reaches {most:,} hidden neurons, of {chip.hardware} "
                f"{chip.limits.fan_out.value:g} at most; prune its weights, or use a smaller "
                "layer behind it"
            )
    total = int(recurrent.sum())
    if total > chip.limits.synapses.value:
        yield (
            f"{total:,} synapses between hidden neurons, {chip.hardware} holds "
            f"{chip.limits.synapses.value:g}; prune weights, or use smaller layers"
        )

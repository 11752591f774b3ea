"""The tables of an export: the scaling of every layer, and the parity of reference and Lava."""

from typing import Any

import numpy as np

from lava_export.checks import rasterize
from lava_export.float_population import FloatPopulation
from lava_export.lower import collect_populations
from lava_export.lower_loihi import is_in_integers
from lava_export.lower_sigma_delta import find_bias_of_coder, is_coder
from lava_export.population import SUMS
from lava_export.program import (
    STATE_LIMIT,
    LoihiConnection,
    LoihiProgram,
    Population,
    require_program,
)
from lava_export.reference import NeuronState, State, iterate_ticks
from lava_export.rules import compute_head_room
from neuro.graph import Graph
from neuro.graph.requirements import require_graph
from neuro.io.graph_digest import require_program_of
from neuro.spikes import of_sample, to_raster
from neuro.spikes.record import Record, require_records


def make_scaling_table(graph: Graph, program: LoihiProgram) -> list[dict[str, Any]]:
    """Return one row per population: what rounding changed, and how much head-room is left.

    Errors are in units of the float network. Weights have two: the largest and the root mean
    square. The others are the largest error of thresholds (compared at multiples of 64, see
    :mod:`lava_export.program`), of their rises (beta), of biases, and of decays (of v, and of
    current and rise if present). ``head_room`` is the worst-case state over 2^23 in the
    longest run of the program; below 1 it fits. It is None for sigma-delta neurons, whose bits
    every run checks.

    Raises:
        TypeError: an argument is no Graph or no LoihiProgram.
        ValueError: the program was lowered from another graph.
    """
    require_graph(graph)
    require_program(program)
    require_program_of(graph, program.digest)
    if is_in_integers(graph):
        return [_describe_exact(program, p) for p in program.populations if p.kind != "input"]
    return [_measure_population(program, part) for part in collect_populations(graph, [])]


def _describe_exact(program: LoihiProgram, p: Population) -> dict[str, Any]:
    """Return the row of a population that was in integers before: nothing was rounded."""
    incoming = program.into(p.name)
    weights = np.concatenate([c.weight.ravel() for c in incoming])
    errors = ("threshold_error", "decay_error", "beta_error", "bias_error")
    return {
        "layer": p.name,
        "kind": p.kind,
        "scale": p.scale,
        **describe_weights(weights, np.zeros(1)),
        **dict.fromkeys(errors, 0.0),
        "lag": p.lag,
        "extra": max(c.longest_wait for c in incoming),
        "head_room": _find_head_room(program, p),
    }


def _find_head_room(program: LoihiProgram, p: Population) -> float | None:
    """Return the worst-case state over 2^23; None for sigma-delta neurons."""
    if p.kind in SUMS:
        return None
    return compute_head_room(p, program.into(p.name), program.ticks, program.messages)


def _measure_population(program: LoihiProgram, part: FloatPopulation) -> dict[str, Any]:
    p = program[part.name]
    incoming = program.into(p.name)
    errors = [
        (c.weight * _find_unit(program, c) - r.weight).ravel()
        for c, r in zip(incoming, part.incoming, strict=True)
    ]
    error = np.concatenate(errors)
    weights = np.concatenate([c.weight.ravel() for c in incoming])
    sums = p.kind in SUMS
    above = not (part.c.strict or sums)
    threshold = (p.vth + above) / p.scale - part.c.threshold
    bias = p.bias / (p.scale * (1 if sums else 64))
    wanted = find_bias_of_coder(part) if is_coder(part) else part.bias
    return {
        "layer": p.name,
        "kind": p.kind,
        "scale": p.scale,
        **describe_weights(weights, error),
        "threshold_error": 0.0 if not p.fires else float(np.abs(threshold).max()),
        "decay_error": 0.0 if sums else _measure_decay_error(p, part),
        "beta_error": float(np.abs(p.beta / p.scale - part.c.beta).max()),
        **_measure_reset_error(p, part),
        "bias_error": float(np.abs(bias - wanted).max()),
        "lag": p.lag,
        "extra": max(c.longest_wait for c in incoming),
        "head_room": _find_head_room(program, p),
    }


def describe_weights(weights: np.ndarray, error: np.ndarray) -> dict[str, int | float]:
    """Return the columns of integer weights and their errors in units of the float network."""
    return {
        "weight_min": int(weights.min()),
        "weight_max": int(weights.max()),
        "weight_error_max": float(np.abs(error).max()),
        "weight_error_rms": float(np.sqrt(np.square(error).mean())),
    }


def _find_unit(program: LoihiProgram, c: LoihiConnection) -> float:
    """Return the weight of the float network that the integer weight 1 stands for."""
    source, target = program[c.source], program[c.target]
    shift = target.spike_exp + target.state_exp if target.kind == "delta" else 0
    return 2.0 ** (c.weight_exp + shift) * source.message_unit / target.scale


def _measure_reset_error(p: Population, part: FloatPopulation) -> dict[str, float]:
    """Return the error of a reset to or by a value; empty if there is none."""
    if p.reset_to is not None:
        error = p.reset_to / (64 * p.scale) - part.c.reset_to
    elif p.reset_by is not None:
        error = p.reset_by / (64 * p.scale) - part.c.subtracted
    else:
        return {}
    return {"reset_error": float(np.abs(error).max())}


def _measure_decay_error(p: Population, part: FloatPopulation) -> float:
    of_v = np.abs((4096 - p.dv) / 4096 - part.c.decay)
    of_u = np.abs((4095 - p.du) / 4096 - part.c.decay_syn)[part.c.decay_syn > 0]
    of_a = np.abs((4096 - p.da) / 4096 - part.c.decay_adapt)[part.c.beta > 0]
    return float(np.concatenate([of_v, of_u, of_a]).max())


def compare(
    reference: Record, lava: Record, program: LoihiProgram | None = None
) -> dict[str, Any]:
    """Return how far two records of one stimulus agree, as plain values for json.

    Args:
        reference: the record of the reference.
        lava: the record of Lava.
        program: the program that both ran; with it, a cause includes the reference's state.

    Returns:
        layers: {name: {spikes, mismatches, first}} for inputs, populations and read-outs.
            mismatches: number of entries (tick, sample, neuron) that differ. first: the
            earliest difference, {layer, neuron, tick, sample, cause}, or None.
        mismatches: the sum over layers. first: the earliest of all; later ones may follow from
            it.

    Raises:
        TypeError: an argument is no Record.
        ValueError: the records are of different runs.
    """
    require_records(reference=reference, lava=lava)
    if (reference.ticks, reference.samples) != (lava.ticks, lava.samples):
        raise ValueError(
            f"records of (ticks, samples) {(reference.ticks, reference.samples)} and "
            f"{(lava.ticks, lava.samples)} cannot be compared; run both on one stimulus"
        )
    if "" not in (reference.digest, lava.digest) and reference.digest != lava.digest:
        raise ValueError("records of two networks cannot be compared; run one program on both")
    ours, theirs = _to_rasters(reference), _to_rasters(lava)
    if ours.keys() != theirs.keys():
        raise ValueError(
            f"records of {', '.join(ours)} and of {', '.join(theirs)} cannot be compared; run "
            "one program on both"
        )
    layers: dict[str, dict[str, Any]] = {}
    for name, raster in ours.items():
        differ = np.argwhere(raster != theirs[name])
        spikes = reference.spikes.get(name)
        layers[name] = {
            "spikes": 0 if spikes is None else len(spikes.tick),
            "mismatches": len(differ),
            "first": None,
        }
        if len(differ):
            where = tuple(int(i) for i in differ[0])
            cause = f"reference {raster[where]:g}, lava {theirs[name][where]:g}"
            if program is not None:
                cause += _tell_state(program, reference, program[name], where)
            tick, sample, neuron = where
            place = {"layer": name, "neuron": neuron, "tick": tick, "sample": sample}
            layers[name]["first"] = place | {"cause": cause}
    firsts = [layer["first"] for layer in layers.values() if layer["first"] is not None]
    return {
        "layers": layers,
        "mismatches": sum(layer["mismatches"] for layer in layers.values()),
        "first": min(firsts, key=lambda first: first["tick"], default=None),
    }


def _to_rasters(record: Record) -> dict[str, np.ndarray]:
    return {k: to_raster(e) for k, e in record.spikes.items()} | dict(record.values)


def _tell_state(
    program: LoihiProgram, reference: Record, p: Population, where: tuple[int, ...]
) -> str:
    """Return the reference's state at (tick, sample, neuron) as text, found by a second run."""
    if p.kind == "input":
        return "; the stimulus itself differs"
    tick, sample, neuron = where
    names = [q.name for q in program.populations if q.kind == "input"]
    inputs = {name: of_sample(reference.spikes[name], sample) for name in names}
    rasters = rasterize(program, inputs, reference.ticks)
    history = [t.states[p.name] for t in iterate_ticks(program, rasters, tick + 1)]
    values = history[-1]._asdict().items()
    told = ", ".join(f"{name} = {int(x[0, neuron])}" for name, x in values if x is not None)
    text = f"; after it {told}"
    if any(_reached_limit(state, neuron) for state in history):
        text += "; a state wrapped or saturated at 2^23: see lava_export.rules"
    return text


def _reached_limit(state: State, neuron: int) -> bool:
    """Return whether v or a is at its limit, or u is where only a wrap can bring it."""
    if not isinstance(state, NeuronState):
        return False  # every run checks their bits
    u, v, a = (abs(int(x[0, neuron])) for x in state[:3])
    return max(v, a) >= STATE_LIMIT - 1 or u >= STATE_LIMIT // 2

"""Estimates and constants as plain values: for JSON files, printed tables and Markdown."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np

from neuro.base.units import Joules
from neuro.energy.chip import Chip, Constant, Interval, Range
from neuro.energy.chip_file import load_chips
from neuro.energy.conventions import PUBLISHED_BREAK_EVENS, horowitz45
from neuro.energy.estimate import EnergyTiers, Estimate, JoinedEstimate
from neuro.energy.mapping import Placement
from neuro.energy.networks import join_layers
from neuro.energy.traffic import locate_cores

T = TypeVar("T", bound=EnergyTiers)


def as_json(*estimates: Estimate | JoinedEstimate) -> dict[str, Any]:
    """Return the estimates of one run as JSON values; joules and seconds are per inference.

    ``{chip: {core, chip, system: {low, nominal, high}, layers, mapping, latency, ...},
    host: [{node, macs}, ...], silent: {nodes: [...]}, conventional45nm: {snn, ann, ...}}``.
    host lists the operations per inference that the host does instead of the chip; silent lists
    nodes without a spike; both are left out if empty. A nominal value that is not published is
    None, with the reason. If an inference runs several networks, there is also
    parts: {network: {runs, chip: {core, seconds}}}.
    """
    result: dict[str, Any] = {e.chip.name: _estimate(e) for e in estimates}
    if result.keys() & {"host", "silent", "tables", "conventional45nm"}:
        raise ValueError(
            "a chip is called host, silent, tables or conventional45nm; rename its file"
        )
    if estimates:
        first = estimates[0]
        host = [{"node": name, "macs": n} for name, n in first.host_macs.items()]
        result |= {"host": host} if host else {}
        silent = list(first.silent)
        result |= {"silent": {"nodes": silent}} if silent else {}
        figures = {k: v for k, v in asdict(first.convention).items() if k != "synapses"}
        published = [vars(p) for p in PUBLISHED_BREAK_EVENS]
        result["conventional45nm"] = {**figures, "published": published}
        if len(first.networks) > 1:
            result["parts"] = {
                name or "first": {"runs": runs, **_tell_shares(name, estimates)}
                for name, (_, runs) in first.networks.items()
            }
    return result


def add_host_macs(estimate: T, beside: Mapping[str, int]) -> T:
    """Return an estimate that includes what a host computes before or after the graph.

    beside: multiply-accumulates per inference, by name.
    """
    energy = estimate.convention
    extra = sum(beside.values()) * horowitz45().mac.value
    return replace(
        estimate,
        host_macs={**beside, **estimate.host_macs},
        convention=replace(
            energy,
            snn=Joules(energy.snn + extra),
            ann=Joules(energy.ann + extra),
            host=Joules(energy.host + extra),
        ),
    )


def tabulate_constants(chip: Chip) -> list[dict[str, str]]:
    """Return rows of text for a printed table, one per constant of a chip."""
    tables = {"energy.": chip.energy, "time.": chip.time, "limit.": chip.limits, "": chip.power}
    named = {f"{prefix}{k}": c for prefix, x in tables.items() for k, c in vars(x).items()}
    named |= {f"barrier.{b.tiles} tiles": b.time for b in chip.barrier}
    return [_constant(name, c) for name, c in named.items()]


def make_chip_table(chips: Iterable[Chip] | None = None) -> str:
    """Return the constants of chips (None: all chips) with their sources, as Markdown."""
    text = []
    for chip in load_chips().values() if chips is None else chips:
        rows = tabulate_constants(chip)
        cells = [list(rows[0]), ["---"] * len(rows[0]), *(list(r.values()) for r in rows)]
        lines = ["| " + " | ".join(x.replace("|", "\\|") for x in row) + " |" for row in cells]
        neurons = "programmable" if chip.programmable else "a fixed LIF with hard reset"
        about = f"Neurons: {neurons}. File: `{chip.name}.toml`."
        text.append(
            "\n\n".join([f"## {chip.title}", chip.description, about, "\n".join(lines)])
        )
    return "\n\n".join(text) + "\n"


def _constant(name: str, constant: Range) -> dict[str, str]:
    scale, unit = {"J": (1e12, "pJ"), "s": (1e9, "ns")}.get(constant.unit, (1.0, constant.unit))
    low, high = (
        f"{x * scale:g}" if math.isfinite(x) else "not known"
        for x in (constant.low, constant.high)
    )
    value = "not published"
    if isinstance(constant, Constant):
        value = f"{constant.value * scale:g}" if math.isfinite(constant.value) else "not known"
    return {
        "name": name,
        "value": value,
        "range": low if low == high else f"{low} .. {high}",
        "unit": unit,
        "process": constant.process,
        "condition": constant.condition,
        "source": constant.source,
        "confidence": constant.confidence,
    }


def _tell_shares(
    network: str, estimates: Iterable[Estimate | JoinedEstimate]
) -> dict[str, Any]:
    """Return, by chip, the core tier and the time of one run of a network."""
    own = (e.networks[network].estimate for e in estimates)
    return {
        e.chip.name: {"core": asdict(e.core), "seconds": asdict(e.latency.inference)}
        for e in own
    }


def _estimate(e: Estimate | JoinedEstimate) -> dict[str, Any]:
    return {
        "title": e.chip.title,
        "ticks": e.ticks,
        "samples": e.samples,
        "core": asdict(e.core),
        "chip": asdict(e.whole_chip),
        "system": _system(e),
        "static_share": e.static_share,
        "layers": join_layers(
            {
                network: {_label(x, name): _scale(_layer(x, name), runs) for name in x.parts}
                for network, (x, runs) in e.networks.items()
            }
        ),
        "mapping": {**_mapping(e.placement), **_list_loads(e)},
        "latency": {**asdict(e.latency), "binds": e.latency.binds},
        **({} if e.misfits is None else {"misfits": list(e.misfits)}),
    }


def _label(e: Estimate, name: str) -> str:
    """Return the label of a chip layer; a layer whose values come from the host says so."""
    return f"{name} (host)" if name in e.host_macs and name in e.placement.layers else name


def _layer(e: Estimate, name: str) -> dict[str, Any]:
    ops = e.operations[name]
    counted = ("synaptic_events", "synaptic_events_all", "active", "inactive")
    return {
        **asdict(e.layer(name)),
        "parts": {part: x.nominal for part, x in e.parts[name].items()},
        **{k: getattr(ops, k) / e.samples for k in counted},
        "messages": ops.sent.messages / e.samples,
    }


def _scale(value: Any, factor: int) -> Any:
    """Multiply all numbers of a JSON value by a factor."""
    if isinstance(value, dict):
        return {k: _scale(x, factor) for k, x in value.items()}
    return factor * value


def _mapping(placement: Placement) -> dict[str, Any]:
    return {
        "cores": placement.cores,
        "chips": placement.chips,
        "layers": {
            name: {
                "neurons": x.neurons,
                "cores": x.cores,
                "neurons_per_core": x.per_core,
                "use": dict(x.use),
                "binds": x.binds,
            }
            for name, x in placement.layers.items()
            if x.cores
        },
        "problems": list(placement.problems),
    }


def _list_loads(e: EnergyTiers) -> dict[str, Any]:
    """Return the cores as columns: their positions, and nominal seconds per inference."""
    if not isinstance(e.chip, Chip):  # a chip of one core
        return {}
    number = [load.core for load in e.loads]
    x, y, chip = locate_cores(np.array(number, np.int64), e.chip).T.tolist()
    seconds = {
        part: [float(f"{getattr(load, part):.4g}") for load in e.loads]
        for part in ("memory", "compute", "sending", "arriving")
    }
    within = [core % int(e.chip.limits.cores.value) for core in number]
    loads = {
        "core": number,
        "layer": [load.layer for load in e.loads],
        "chip": chip,
        "x": x,
        "y": y,
        "in_tile": [core % int(e.chip.limits.tile_cores.value) for core in within],
        **seconds,
        "binds": [load.binds for load in e.loads],
    }
    return {"loads": loads}


def compare_mappings(
    found: Estimate | JoinedEstimate,
    greedy: Estimate | JoinedEstimate,
    goal: str,
    kept: Iterable[str] = (),
) -> dict[str, Any]:
    """Return as JSON how a searched mapping compares with :func:`neuro.energy.place`.

    kept: for which networks, and why, the placement of ``place`` was kept.
    """
    return {
        "goal": goal,
        "kept": list(kept),
        "found": _sum_up(found),
        "greedy": _sum_up(greedy),
    }


def _sum_up(e: Estimate | JoinedEstimate) -> dict[str, Any]:
    """Return the nominal joules and seconds per inference that the mapping determines."""
    networks = [(x, runs / x.samples) for x, runs in e.networks.values()]
    hops = sum(
        runs * x.samples * parts.get("hop", Interval()).nominal
        for x, runs in networks
        for parts in x.parts.values()
    )
    sent = [(ops.sent, each) for x, each in networks for ops in x.operations.values()]
    return {
        "chip": e.whole_chip.nominal,
        "core": e.core.nominal,
        "seconds": e.latency.inference.nominal,
        "hop": hops,
        "messages": sum(each * t.messages for t, each in sent),
        "crossings": sum(each * t.crossings for t, each in sent),
        "cores": e.placement.cores,
        "chips": e.placement.chips,
    }


def _system(e: EnergyTiers) -> dict[str, Any]:
    if isinstance(e.system, Interval):
        return asdict(e.system)
    reason = f"no nominal power of a host is published for {e.chip.hardware}"
    return {"low": e.system.low, "nominal": None, "high": e.system.high, "reason": reason}

"""Results of the several networks that a chip runs for an inference, as one result.

The first part keeps the names of its layers; those of others begin with that of their part:
"encoder: stem". Counts, joules and seconds are weighed by how often a part runs for an
inference.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from neuro.energy import Chip

Json = dict[str, Any]
ENDS = ("low", "nominal", "high")
TIERS = ("core", "chip", "system")


class Priced(NamedTuple):
    """``energy.json`` of a part. runs: for an inference. synapses: of layers with weights."""

    found: Json
    runs: int
    synapses: int


def name_layer(part: str, layer: str) -> str:
    """Return what a layer of a part is called; the first part, "", adds nothing."""
    return f"{part}: {layer}" if part else layer


def prefix(part: str, layers: Mapping[str, Any]) -> Json:
    """Return layers by their names among those of all parts."""
    return {name_layer(part, name): value for name, value in layers.items()}


def join_verified(parts: Mapping[str, Json]) -> Json:
    """Return ``verify.json`` of all parts; metrics, n and digests are those of the first."""
    first = next(iter(parts.values()))
    both = [(part, found["torch_events"]) for part, found in parts.items()]
    lava = {part: found["reference_lava"] for part, found in parts.items()}
    misfits = _join_lists(parts, "misfits")
    out = {
        **first,
        "torch_events": {
            "layers": _join(both, "layers"),
            "mismatches": sum(found["mismatches"] for _, found in both),
            "float32_flips": _join(both, "float32_flips"),
            "unexplained": [
                {**one, "name": name_layer(part, one["name"])}
                for part, found in both
                for one in found["unexplained"]
            ],
        },
        "reference_lava": join_parity(lava),
        "quantisation": _join(parts.items(), "quantisation"),
    }
    return out | ({"misfits": misfits} if misfits else {})


def join_parity(parts: Mapping[str, Json]) -> Json:
    """Return the parity with Lava of all parts; skipped, or failed, where one part's is.

    samples: of all parts together.
    """
    skipped = {part: found for part, found in parts.items() if "skipped" in found}
    samples = sum(found["samples"] for found in parts.values())
    if skipped:
        told = "; ".join(name_layer(part, found["skipped"]) for part, found in skipped.items())
        failed = any(found.get("failed") for found in skipped.values())
        return {"samples": samples, "skipped": told} | ({"failed": True} if failed else {})
    return {
        "samples": samples,
        "mismatches": sum(found["mismatches"] for found in parts.values()),
        "layers": _join(parts.items(), "layers"),
    }


def join_exported(parts: Mapping[str, Json]) -> Json:
    """Return ``export.json`` of all parts."""
    chips = next(iter(parts.values()))["fits"]
    return {
        "fits": {
            chip: [
                name_layer(part, breach)
                for part, found in parts.items()
                for breach in found["fits"][chip]
            ]
            for chip in chips
        },
        "scaling": [
            {**row, "layer": name_layer(part, row["layer"])}
            for part, found in parts.items()
            for row in found["scaling"]
        ],
        "reference_lava": join_parity({p: f["reference_lava"] for p, f in parts.items()}),
    }


def join_energies(parts: Mapping[str, Priced], chips: Iterable[Chip]) -> Json:
    """Return ``energy.json`` of all parts: each lies on cores of its own, and they take turns.

    All chips leak for as long as all parts take. host, digests: of the first part.
    """
    first = next(iter(parts.values())).found
    out = dict(first)
    for chip in chips:
        out[chip.name] = _join_chip(parts, chip)
    out["conventional45nm"] = _join_convention(parts)
    out["parts"] = {
        part or "first": {
            "runs": priced.runs,
            **{
                chip: {"core": found["core"], "seconds": found["latency"]["inference"]}
                for chip, found in _chips(priced.found).items()
            },
        }
        for part, priced in parts.items()
    }
    return out


def _chips(found: Json) -> Json:
    return {name: x for name, x in found.items() if isinstance(x, dict) and "layers" in x}


def _join_chip(parts: Mapping[str, Priced], chip: Chip) -> Json:
    found = {part: (priced.found[chip.name], priced.runs) for part, priced in parts.items()}
    cores = sum(x["mapping"]["cores"] for x, _ in found.values())
    number = max(1, math.ceil(cores / chip.limits.cores.value))
    core = {end: sum(n * x["core"][end] for x, n in found.values()) for end in ENDS}
    any_, _ = next(iter(found.values()))
    known = [end for end in ENDS if any_["system"][end] is not None]  # a property of the chip
    static, host = dict.fromkeys(ENDS, 0.0), dict.fromkeys(known, 0.0)
    for x, n in found.values():
        for end in ENDS:
            own, all_ = ("cores", cores) if end == "low" else ("chips", number)
            share = n * all_ / x["mapping"][own]
            static[end] += share * (x["chip"][end] - x["core"][end])
            if end in known:
                host[end] += share * (x["system"][end] - x["chip"][end])
    whole = {end: core[end] + static[end] for end in ENDS}
    seconds = {
        end: sum(n * x["latency"]["inference"][end] for x, n in found.values()) for end in ENDS
    }
    ticks = sum(n * x["ticks"] for x, n in found.values())
    slowest = max(
        found, key=lambda p: found[p][1] * found[p][0]["latency"]["inference"]["nominal"]
    )
    misfits = _join_lists({part: x for part, (x, _) in found.items()}, "misfits")
    out = {
        **any_,
        "ticks": ticks,
        "core": core,
        "chip": whole,
        "system": any_["system"] | {end: whole[end] + host[end] for end in known},
        "static_share": static["nominal"] / whole["nominal"],
        "layers": {
            name_layer(part, name): _scale(layer, n)
            for part, (x, n) in found.items()
            for name, layer in x["layers"].items()
        },
        "mapping": {
            "cores": cores,
            "chips": number,
            "layers": _join([(p, x["mapping"]) for p, (x, _) in found.items()], "layers"),
            "problems": _join_lists(
                {p: x["mapping"] for p, (x, _) in found.items()}, "problems"
            ),
        },
        "latency": {
            "inference": seconds,
            "tick": {end: seconds[end] / ticks for end in ENDS},
            "bottleneck": name_layer(slowest, found[slowest][0]["latency"]["bottleneck"]),
        },
    }
    return out | ({"misfits": misfits} if misfits else {})


def _scale(value: Any, by: int) -> Any:
    """Return the numbers of a JSON value, each times a factor."""
    if isinstance(value, dict):
        return {k: _scale(x, by) for k, x in value.items()}
    return by * value


def _join_convention(parts: Mapping[str, Priced]) -> Json:
    """Return the 45 nm figures of all parts; those by synapse are of all synapses together."""
    found = [(p.found["conventional45nm"], p.runs, p.synapses) for p in parts.values()]
    synapses = sum(n for _, _, n in found)

    def per_synapse(key: str, runs: bool) -> float:
        total = sum((r if runs else 1) * x[key] * n for x, r, n in found)
        return total / synapses if synapses else 0.0

    ticks = sum(
        p.runs * n * next(iter(_chips(p.found).values()))["ticks"]
        for p, (_, _, n) in zip(parts.values(), found, strict=True)
    )
    break_even = per_synapse("break_even_spikes_per_synapse", runs=True)
    return {
        **found[0][0],
        **{who: sum(r * x[who] for x, r, _ in found) for who in ("snn", "ann", "host")},
        "ann_passes": sum(r * x["ann_passes"] for x, r, _ in found),
        "spikes_per_synapse": per_synapse("spikes_per_synapse", runs=True),
        "break_even_spikes_per_synapse": break_even,
        "break_even_rate": break_even * synapses / ticks if ticks else 0.0,
    }


def _join(parts: Iterable[tuple[str, Json]], key: str) -> Json:
    """Return the layers of all parts under a key."""
    return {k: v for part, found in parts for k, v in prefix(part, found[key]).items()}


def _join_lists(parts: Mapping[str, Json], key: str) -> list[str]:
    """Return what all parts say under a key, if anything."""
    return [
        name_layer(part, told) for part, found in parts.items() for told in found.get(key, ())
    ]

"""Results as tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from neuro.energy import load_chips
from tasks.report.host import describe_host, share_host, sum_host
from tasks.runs.task import Metric

# Columns that hold text.
WORDS = (
    *("about", "tier", "what", "result", "limit", "beside", "unit", "metric", "parts"),
    *("in the source", "became", "stimulus", "text", "words", "note"),
)
MAPPED = (  # effects of a mapping: key in energy.json, words, unit
    ("chip", "energy, chip tier", "J"),
    ("seconds", "time of an inference", "s"),
    ("core", "energy, core tier", "J"),
    ("hop", "of it, hops on the mesh", "J"),
    ("messages", "messages", ""),
    ("crossings", "crossings between chips", ""),
    ("cores", "cores", ""),
)
JOULES = (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9), ("pJ", 1e-12))


def make_table(title: str, *columns: str, rows: Iterable[Iterable[Any]] = ()) -> Table:
    """Return a table; the first column and columns of words are left-aligned, others right.

    Cells wrap if the terminal is too narrow, so nothing is cut off.
    """
    out = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    out.padding = (0, 1, 0, 0)
    for i, column in enumerate(columns):
        out.add_column(
            column,
            justify="right" if i and column not in WORDS else "left",
            overflow="fold",
        )
    for row in rows:
        out.add_row(*row)
    return out


def format_joules(value: float) -> str:
    """Return an energy with three digits and an SI prefix.

    >>> format_joules(2.36e-11)
    '23.6 pJ'
    """
    for unit, size in JOULES:
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"


def format_range(tier: Mapping[str, Any]) -> str:
    """Return "nominal (low – high)" of an energy; nominal may read "not published"."""
    low, high = (format_joules(tier[k]) for k in ("low", "high"))
    return f"{format_nominal(tier['nominal'])} ({low} – {high})"


def format_nominal(value: float | None) -> str:
    """Return an energy, or "not published"."""
    return "not published" if value is None else format_joules(value)


def tabulate_equality(verify: dict[str, Any]) -> Table:
    """Return the layers of ``verify.json`` with the differences between executors."""
    out = make_table(
        "Layer by layer",
        "layer",
        "spikes",
        "torch ≠ events",
        "reference ≠ Lava",
        "float32 flips",
        "integers ≠ floats",
    )
    lava = verify["reference_lava"].get("layers", {})
    misfit = "does not fit" if verify.get("misfits") else ""
    for name, layer in verify["torch_events"]["layers"].items():
        flips = verify["torch_events"]["float32_flips"].get(name)
        gap = verify["quantisation"].get(name)
        out.add_row(
            name,
            f"{layer['spikes']:,}" if flips else "read-out",
            _mismatches(layer),
            str(lava[name]["mismatches"]) if name in lava else "not run",
            str(flips["flips"]) if flips else "",
            f"{gap:.3%}" if gap is not None else misfit,
        )
    return out


def _mismatches(layer: dict[str, Any]) -> str:
    margins = layer["margins"]
    closeness = f" (margin <= {max(margins):.1e})" if margins else ""
    if layer.get("rounding"):
        closeness = f" (rounding {layer['rounding']:.0e})"
    return f"{layer['mismatches']}{closeness}"


def list_silent(verify: Mapping[str, Any]) -> list[str]:
    """Return the populations that never fired in ``verify.json``."""
    both = verify["torch_events"]
    return [
        name
        for name, layer in both["layers"].items()
        if name in both["float32_flips"] and not layer["spikes"]
    ]


def describe_silence(names: Sequence[str]) -> list[str]:
    """Return a line on nodes that never fired, with the consequence; no line if all fired."""
    if not names:
        return []
    return [
        f"no spike of {', '.join(names)} in all samples: there is nothing to compare or to "
        "price; raise weights or input, or lower thresholds"
    ]


def describe_coverage(result: Mapping[str, Any]) -> list[str]:
    """Return a line on networks that the metrics of a result do not cover, if there are any."""
    names = result.get("without_metric", ())
    if not names:
        return []
    return [
        "metrics are of the network that answers; no metric covers the other networks of the "
        f"chip: {', '.join(names)}"
    ]


def describe_parity(parity: dict[str, Any]) -> str:
    """Describe in a line the agreement of reference and Lava, or why it is unknown."""
    skipped = f"no parity with Lava: {parity['skipped']}" if "skipped" in parity else ""
    if "mismatches" not in parity:
        return skipped
    first = f" (their first {parity['ticks']} ticks)" if "ticks" in parity else ""
    samples = f"{parity['samples']} sample{'s' if parity['samples'] != 1 else ''}"
    found = (
        f"reference and Lava: {parity['mismatches']} differences in {samples}{first}, "
        f"{len(parity['layers'])} populations, inputs and read-outs included"
    )
    return "; ".join(filter(None, [found, skipped]))


def tabulate_scaling(rows: list[dict[str, Any]], bound: str = "worst\n/ 2^23") -> Table:
    """Return the rows of a scaling table; ``export.json`` holds all columns.

    bound: header of the last column, the worst case over the chip's largest state.
    """
    errors = ("weight\nerror", "threshold\nerror", "decay\nerror")
    columns = ("layer", "kind", "scale", "weights", *errors, "lag", bound)
    out = make_table("From floats to integers", *columns)
    for row in rows:
        out.add_row(
            row["layer"],
            row["kind"],
            f"{row['scale']:.4g}",
            f"{row['weight_min']}..{row['weight_max']}",
            *(
                "" if row[k] is None else f"{row[k]:.1e}"
                for k in ("weight_error_max", "threshold_error", "decay_error")
            ),
            f"{row['lag']}",
            "" if row["head_room"] is None else format_share(row["head_room"]),
        )
    return out


def format_share(x: float) -> str:
    """Return a share in percent with three digits, without an exponent if it is large.

    >>> format_share(0.1234), format_share(14.9)
    ('12.3%', '1,490%')
    """
    return f"{100 * x:,.0f}%" if x >= 1 else f"{100 * x:.3g}%"


def tabulate_integers(result: Mapping[str, Any]) -> Table:
    """Return one row per layer of ``export-CHIP.json``: integers beside floats."""
    out = make_table(
        f"Integers of {result['chip']} beside floats", "layer", "spikes", "integers", "differ"
    )
    for name, found in result["layers"].items():
        counts = [f"{found[k]:,}" if k in found else "" for k in ("spikes", "integers")]
        out.add_row(name, *counts, f"{found['differ']:.2%}")
    out.caption = "differ: ticks and neurons; of a read-out, root mean squares"
    return out


def describe_integers(result: Mapping[str, Any], metrics: Sequence[Metric]) -> list[str]:
    """Return the contents of ``export-CHIP.json`` besides its tables, as lines."""
    both = [
        f"{m.label}: {', '.join(f'{who} {m.text(x)}' for who, x in values.items())}"
        for m in metrics
        if (values := result["metrics"].get(m.name))
    ]
    line = "; ".join([describe_length(result), *both])
    return [line, *list_costs(result, metrics), *result["excess"]]


def describe_evaluation(result: dict[str, Any], metrics: Sequence[Metric]) -> str:
    """Summarise ``eval.json`` in one line."""
    notes = {k: f" ({note})" for k, note in result.get("notes", {}).items()}
    values = [
        f"{m.label} {value}{notes.get(m.name, '')}" for m, value in list_values(result, metrics)
    ]
    return f"{', '.join(values)}; {count_samples(result)}"


def count_samples(result: Mapping[str, Any]) -> str:
    """Return the number and kind of samples of ``eval.json``, such as "1,000 test samples"."""
    of = f"{result['split']} " if result["split"] else ""
    return f"{result['n']:,} {of}{result.get('counted', 'samples')}"


def describe_raised_slopes(history: Sequence[Mapping[str, Any]]) -> str:
    """Say how many slopes at spikes EventProp raised, by rows of ``metrics.jsonl``.

    Returns "" if EventProp did not train.
    """
    rows = [row for row in history if "raised" in row]
    spikes, raised = (sum(row[k] for row in rows) for k in ("spikes", "raised"))
    if not spikes:
        return ""
    return (
        f"EventProp raised the slopes of {raised:,} of {spikes:,} spikes "
        f"({raised / spikes:.2%}) to its bound: their gradients are too small"
    )


def list_values(result: dict[str, Any], metrics: Sequence[Metric]) -> list[tuple[Metric, str]]:
    """Return the metrics that a result holds, each with its value as text."""
    return [(m, m.text(result[m.name])) for m in metrics if m.name in result]


def describe_length(verify: Mapping[str, Any]) -> str:
    """Return the number of compared samples, their length and how they were drawn, if known."""
    length = f" of {verify['ticks']:,} ticks" if "ticks" in verify else ""
    drawn = f" ({verify['drawn']})" if verify.get("drawn") else ""
    return f"{verify['n']:,} test samples{length}{drawn}"


def describe_equality(verify: dict[str, Any], metrics: Sequence[Metric]) -> list[str]:
    """Return the contents of ``verify.json`` besides its table, as lines."""
    by_executor = [
        f"{m.label}: {', '.join(f'{who} {m.text(x)}' for who, x in values.items())}"
        for m in metrics
        if (values := verify["metrics"].get(m.name))
    ]
    lines = [
        "; ".join([describe_length(verify), *by_executor]),
        *list_costs(verify, metrics),
        *describe_coverage(verify),
        describe_parity(verify["reference_lava"]),
        *describe_silence(list_silent(verify)),
        *verify.get("misfits", ()),
        *verify.get("excess", ()),
    ]
    if unexplained := verify["torch_events"]["unexplained"]:
        first = (
            "{pair}, sample {sample}, tick {tick}, {name} neuron {neuron}, {margin:.2g} from "
            "its threshold, rounding at most {bound:.2g}".format(**unexplained[0])
        )
        number = len(unexplained)
        lines.append(f"{number} differences that rounding does not explain; first: {first}")
    return lines


def tabulate_simulation(result: dict[str, Any], metrics: Sequence[Metric]) -> Table:
    """Return ``simulate.json`` as a table: counts per node, or the clocks side by side."""
    if "exact" in result:
        return _clocks(result, metrics)
    head, rows = list_counts_per_sample(result)
    out = make_table("Per sample", *head, rows=rows)
    out.caption = "an empty cell is 0"
    return out


def list_counts_per_sample(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the counts, and one row per node; host operations are marked.

    Zeros are left empty, because most nodes have one kind of count.
    """
    nodes = result["per_sample"]
    hosted = any(node.get("macs") for node in nodes.values())
    keys = ["spikes", "synaptic_events", "updates", *["macs"] * hosted]
    rows = [
        [
            f"{name} (host)" if node.get("macs") else name,
            *(f"{node[k]:,.1f}" if node[k] else "" for k in keys),
        ]
        for name, node in nodes.items()
    ]
    head = ["node", "spikes", "synaptic events", "updates", *["MACs on host"] * hosted]
    return head, rows


def _clocks(grid: dict[str, Any], metrics: Sequence[Metric]) -> Table:
    exact = (grid["exact"], grid["exact_spread"])
    columns = (
        "grid",
        "exact time,\nstimulus at\nends of ticks",
        "exact time,\nstimulus\nspread",
    )
    out = make_table(
        f"The same {grid['n']:,} samples under both clocks", "per sample", *columns
    )
    for m, value in list_values(grid, metrics):
        out.add_row(m.label, value, *(m.text(way[m.name]) for way in exact))
        changes = (m.difference(way["change"][m.name]) for way in exact)
        out.add_row("  against the grid", "", *changes)
    if all("answered_differently" in way for way in exact):
        different = (f"{way['answered_differently']:.2%}" for way in exact)
        out.add_row("answered differently", "", *different)
    if all("answers_apart" in way for way in exact):
        apart = (f"{way['answers_apart']:.2%}" for way in exact)
        out.add_row("answers apart (root mean square)", "", *apart)
    for name, node in grid["per_sample"].items():
        if node["spikes"]:
            spikes = (way["per_sample"][name]["spikes"] for way in (grid, *exact))
            out.add_row(f"spikes of {name}", *(f"{n:,.1f}" for n in spikes))
    took = (f"{way['milliseconds_per_sample']:.2f} ms" for way in (grid, *exact))
    out.add_row("wall time", *took)
    out.caption = "\n".join(
        f"{m.label}, {name} time: "
        + m.describe_change(way["change"][m.name], way.get("errors", {}).get(m.name), grid["n"])
        for m, _ in list_values(grid, metrics)
        for name, way in zip(("exact", "spread"), exact, strict=True)
    )
    out.caption_justify = "left"
    return out


def tabulate_energy(result: dict[str, Any]) -> Table:
    """Return ``energy.json`` with one row per chip and tier."""
    title = f"Energy per {name_inference(result)}"
    out = make_table(title, "chip", "tier", "nominal (low – high)")
    for chip, tiers in result.items():
        for tier in ("core", "chip", "system"):
            if tier in tiers:
                out.add_row(name_chip(chip, tiers), tier, format_range(tiers[tier]))
        if "chip" in tiers and "sequence" in result:
            tier = f"chip, per {result['sequence']['step']}"
            out.add_row(name_chip(chip, tiers), tier, format_range(share_step(result, tiers)))
    for kind, macs in sum_host(result).items():
        out.add_row("host, no chip", kind, f"{macs:,} MACs")
    convention, share = result["conventional45nm"], share_host(result)
    if share:
        out.add_row("host, no chip", "share of all operations", format_share(share.operations))
    out.add_row("45 nm convention", "spiking", format_joules(convention["snn"]))
    if share:
        joules = f"{format_joules(convention['host'])}, {format_share(share.energy)}"
        out.add_row("45 nm convention", "of it on a host, MAC", joules)
    ann = f"same-shape ANN, MAC, {count_passes(convention)}"
    out.add_row("45 nm convention", ann, format_joules(convention["ann"]))
    return out


def name_inference(result: Mapping[str, Any]) -> str:
    """Return the name of an inference of ``energy.json``, such as "inference of 32 tokens"."""
    sequence = result.get("sequence")
    if not sequence:
        return "inference"
    steps = sequence["steps"]
    return f"inference of {steps:,} {sequence['step']}{'s' * (steps != 1)}"


def share_step(result: Mapping[str, Any], chip: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean energy [J] per step of a sequence, in the chip tier."""
    steps = result["sequence"]["steps"]
    return {end: chip["chip"][end] / steps for end in ("low", "nominal", "high")}


def tabulate_own(result: Mapping[str, Any]) -> list[tuple[Table, str]]:
    """Return the task's own tables in ``energy.json``, each with its caption."""
    return [
        (
            make_table(t["title"], *t["head"], rows=[map(str, row) for row in t["rows"]]),
            t["caption"],
        )
        for t in result.get("tables", ())
    ]


def count_passes(convention: Mapping[str, Any]) -> str:
    """Return how often the same-shape ANN computes its layers per inference."""
    passes = convention.get("ann_passes", 1)
    return "one pass" if passes == 1 else f"{passes:,} passes"


def name_chip(name: str, chip: Mapping[str, Any]) -> str:
    """Return the name of a chip of ``energy.json``, marked if the network does not fit it."""
    return f"{name} (does not fit)" if chip.get("misfits") else name


def describe_misfits(result: Mapping[str, Any]) -> list[str]:
    """Return why the network does not fit chips of ``energy.json``, one line per reason."""
    return [
        f"{name}: the network does not fit, the figures are of one that would; {reason}"
        for name, chip in result.items()
        if "latency" in chip
        for reason in chip.get("misfits", ())
    ]


def describe_notes(result: Mapping[str, Any]) -> list[str]:
    """Say what variants of a chip are, and why energy and simulate count other events."""
    words = {k: " ".join(x.description.split()) for k, x in load_chips().items() if x.base}
    notes = [f"{k}: {text.partition('. ')[0]}" for k, text in words.items() if k in result]
    layers = next((chip["layers"] for chip in result.values() if "layers" in chip), ())
    folded = ", ".join(name for name in layers if "+" in name)
    told = (
        f"Synaptic events of {folded} are those of a chip, which folds these nodes into one "
        "connection and serves its whole fan-out at each spike; neuro simulate counts by node."
    )
    return [*notes, *[told] * bool(folded)]


def list_chips(result: Mapping[str, Any]) -> list[str]:
    """Return the chips of ``energy.json``, without variants of the same hardware."""
    chips = load_chips()
    estimated = [name for name, chip in result.items() if "layers" in chip]
    return [name for name in estimated if name not in chips or not chips[name].base]


def tabulate_layers(name: str, chip: dict[str, Any]) -> Table:
    """Return the layers of a chip of ``energy.json``: their core energy and their cores."""
    out = make_table(
        f"{name_chip(name, chip)}: core energy per inference, layer by layer",
        *("layer", "synaptic\nevents", "nominal (low – high)", "cores", "limit"),
    )
    mapped = chip["mapping"]["layers"]
    for layer, part in chip["layers"].items():
        where = mapped.get(layer, {"cores": "", "binds": ""})
        events = part["synaptic_events"]
        binds = where["binds"]
        limit = f"{binds.replace('_', ' ')} {where['use'][binds]:.0%}" if binds else ""
        counted = f"{events:,.0f}" if events else ""
        out.add_row(layer, counted, format_range(part), str(where["cores"]), limit)
    return out


def describe_energy(result: dict[str, Any]) -> str:
    """Return the contents of ``energy.json`` besides its tables."""
    lines = []
    for name, chip in result.items():
        if "latency" in chip:
            time = chip["latency"]["inference"]
            low, nominal, high = (f"{1e3 * time[k]:.3g}" for k in ("low", "nominal", "high"))
            lines.append(
                f"{name}: {nominal} ms per inference ({low} – {high}), slowest layer "
                f"{chip['latency']['bottleneck']}; static power is "
                f"{chip['static_share']:.0%} of the chip tier"
                + (f"; {chips} chips" if (chips := chip["mapping"].get("chips", 1)) > 1 else "")
            )
            lines += describe_binding(name, chip)
            lines += chip["mapping"]["problems"]
    lines += [*describe_notes(result), *describe_misfits(result)]
    lines += describe_silence(result.get("silent", {}).get("nodes", ()))
    if result.get("host"):
        lines.append(describe_host(result))
    convention = result["conventional45nm"]
    keys = ("spikes_per_synapse", "break_even_spikes_per_synapse")
    own, even = (f"{float(f'{convention[key]:.3g}'):,.12g}" for key in keys)
    lines.append(
        f"45 nm: {own} spikes per synapse and inference; with additions alone spiking breaks "
        f"even with the ANN at {even} (zero weights count; values other "
        "than -1, 0 and 1 are priced as multiply-accumulates)"
    )
    return "\n".join(lines)


def describe_binding(name: str, chip: Mapping[str, Any]) -> list[str]:
    """Say which resource limits the time per inference, and which core is the busiest."""
    latency, loads = chip["latency"], chip["mapping"].get("loads")
    if loads is None:  # of an earlier version
        return []
    states, seconds = latency["states"], list_core_seconds(loads)
    shares = ", ".join(
        f"{state} {x / sum(states.values()):.0%}"
        for state, x in sorted(states.items(), key=lambda item: -item[1])
    )
    busiest = max(range(len(seconds)), key=seconds.__getitem__)
    return [
        f"{name}: {latency['binds']} binds (time of an inference: {shares}); busiest is core "
        f"{loads['core'][busiest]} of {loads['layer'][busiest]}, where "
        f"{loads['binds'][busiest]} binds"
    ]


def list_core_seconds(loads: Mapping[str, Any]) -> list[float]:
    """Return the busy time of each core per inference [s]."""
    columns = (loads[key] for key in ("memory", "compute", "sending", "arriving"))
    parts = zip(*columns, strict=True)
    return [
        max(compute + sending, memory + arriving)
        for memory, compute, sending, arriving in parts
    ]


def tabulate_mappings(result: Mapping[str, Any]) -> Table:
    """Return a table of searched placements beside the greedy ones, by chip."""
    head = ("chip", "what", "greedy", "searched", "greedy / searched")
    table = make_table("Mapping: searched and greedy", *head, rows=list_mapping_rows(result))
    table.caption = "\n".join(list_kept(result)) or None
    table.caption_justify = "left"
    return table


def list_mapping_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of searched placements; none if nothing was searched."""
    rows = []
    for name, chip in result.items():
        searched = chip.get("mapping", {}).get("searched") if isinstance(chip, dict) else None
        if searched is None:
            continue
        for key, about, unit in MAPPED:
            found, greedy = (searched[side][key] for side in ("found", "greedy"))
            if unit:
                old, new = (format_quantity(x, unit) for x in (greedy, found))
            else:
                old, new = (f"{x:,.0f}" for x in (greedy, found))
            rows.append([name, about, old, new, f"{greedy / found:.3g}" if found else ""])
    return rows


def list_kept(result: Mapping[str, Any]) -> list[str]:
    """Return why a search kept the greedy placement, one line per reason."""
    mappings = {k: x.get("mapping", {}) for k, x in result.items() if isinstance(x, dict)}
    return [
        f"{name}: greedy is kept: {line}"
        for name, mapping in mappings.items()
        for line in (mapping.get("searched") or {}).get("kept", ())
    ]


def format_quantity(value: float, unit: str) -> str:
    """Return joules or seconds with three digits."""
    return format_joules(value) if unit == "J" else f"{1e3 * value:.3g} ms"


def list_costs(result: Mapping[str, Any], metrics: Sequence[Metric]) -> list[str]:
    """Return a line per metric of ``verify.json`` or ``export-CHIP.json`` on its cost."""
    return [
        f"cost of quantisation in {m.label}: {describe_loss(m, result)}"
        for m in metrics
        if "integers" in result["metrics"].get(m.name, ())
    ]


def describe_loss(metric: Metric, verify: Mapping[str, Any]) -> str:
    """Say how much worse the integers of a result answer than the floats."""
    values = verify["metrics"][metric.name]
    change = values["integers"] - values["floats" if "floats" in values else "events"]
    error = verify.get("errors", {}).get(metric.name)
    return metric.describe_change(change, error, count_answers(verify))


def count_answers(verify: Mapping[str, Any]) -> int:
    """Return the number of answers in a result: samples, or fewer if one takes several runs."""
    return int(verify.get("answers", verify["n"]))


def tabulate_summary(results: dict[str, Any], metrics: Sequence[Metric]) -> Table:
    """Return the last table of the demo."""
    evaluation, verify, energy = (results[k] for k in ("eval", "verify", "energy"))
    out = make_table("neuro demo", "what", "result")
    lava = verify["reference_lava"]
    out.add_row("held-out digits, never seen in training", f"{evaluation['n']:,}")
    for m, value in list_values(evaluation, metrics):
        out.add_row(f"{m.label}, torch", value)
        values = verify["metrics"][m.name]
        out.add_row(f"{m.label}, event engine", m.text(values["events"]))
        out.add_row(f"{m.label}, Loihi integers", m.text(values["integers"]))
        out.add_row("cost of quantisation", describe_loss(m, verify))
    layers = verify["torch_events"]["layers"].values()
    out.add_row("spikes compared, torch and events", f"{sum(x['spikes'] for x in layers):,}")
    out.add_row("of these different", str(verify["torch_events"]["mismatches"]))
    if "skipped" in lava:
        out.add_row("reference = Lava", lava["skipped"])
    if "mismatches" in lava:
        out.add_row(
            "reference ≠ Lava", f"{lava['mismatches']} in {lava['samples']} samples, all layers"
        )
    for chip in list_chips(energy):
        for tier in ("core", "chip"):
            out.add_row(
                f"energy per inference, {name_chip(chip, energy[chip])} {tier}",
                format_range(energy[chip][tier]),
            )
    convention = energy["conventional45nm"]
    out.add_row("45 nm convention, spiking", format_joules(convention["snn"]))
    out.add_row("45 nm convention, same-shape ANN", format_joules(convention["ann"]))
    return out

"""The section of the report on energy, time and cores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import EngFormatter

from neuro.energy.latency import STATES
from tasks.report import figures as pictures, html as page, tables as show
from tasks.report.figures import Bar
from tasks.report.host import describe_host
from tasks.runs.task import Html

LONG = 30  # most rows of a table that stands open
TIERS = ("core", "chip", "system")
Json = Mapping[str, Any]


def show_energy(energy: Json) -> Html:
    """Show ``energy.json`` as pictures and tables."""
    chips = _chips(energy)
    convention = energy["conventional45nm"]
    layers = {show.name_chip(x["title"], x): x["layers"] for x in chips.values()}
    rows = [
        [name, *(show.format_range(chip["layers"][name]) for chip in chips.values())]
        for name in next(iter(chips.values()))["layers"]
    ]
    by_layer = (
        page.picture(
            pictures.draw_layer_energies(layers),
            "Nominal energy of each layer by its parts; the thin line goes from low to high.",
        ),
        page.table(["layer", *chips], rows),
    )
    return page.section(
        "Energy per inference",
        page.picture(
            pictures.draw_energies(_bars(energy)),
            "Bars: low to high; mark and number: nominal. Core: synaptic events, neuron "
            "updates, spikes and messages. Chip: core and static power. System: chip and host; "
            "its nominal value is missing where the power of the host is not published. "
            "The 45 nm convention counts only arithmetic, no memory, neurons, messages or "
            "leakage: it compares the two networks with each other, not with a chip.",
        ),
        page.terminal_table(show.tabulate_energy(dict(energy))),
        *(page.paragraph(line) for line in show.describe_misfits(energy)),
        *(
            page.paragraph(line, "warning")
            for line in show.describe_silence(energy.get("silent", {}).get("nodes", ()))
        ),
        *([page.paragraph(describe_host(energy))] if energy.get("host") else []),
        page.paragraph(_break_even(convention), "caption"),
        *(page.paragraph(_published(p), "caption") for p in convention.get("published", ())),
        page.subheading("By layer, core tier"),
        *fold_long(len(rows), *by_layer),
        *(page.paragraph(line, "caption") for line in show.describe_notes(energy)),
        *(
            part
            for table, caption in show.tabulate_own(energy)
            for part in (
                page.subheading(str(table.title)),
                page.terminal_table(table),
                page.paragraph(caption, "caption"),
            )
        ),
    )


def fold_long(rows: int, *parts: Html) -> Sequence[Html]:
    """Return parts, folded if they have more than :data:`LONG` rows."""
    return [page.details(f"{rows} rows", *parts)] if rows > LONG else parts


def _chips(energy: Json) -> dict[str, Json]:
    return {name: chip for name, chip in energy.items() if "layers" in chip}


def _bars(energy: Json) -> list[Bar]:
    bars = [
        Bar(
            show.name_chip(chip["title"], chip),
            tier,
            *(chip[tier][k] for k in ("low", "nominal", "high")),
        )
        for chip in _chips(energy).values()
        for tier in TIERS
        if tier in chip
    ]
    group = "45 nm convention"
    convention = energy["conventional45nm"]
    ann = f"same-shape ANN, {show.count_passes(convention)}"
    for key, label in (("snn", "spiking network"), ("ann", ann)):
        joules = convention[key]
        bars.append(Bar(group, label, joules, joules, joules))
    return bars


def _break_even(convention: Json) -> str:
    """Describe the spike count at break-even with the ANN, and the count of this run."""
    keys = ("break_even_spikes_per_synapse", "spikes_per_synapse")
    even, own = (f"{float(f'{convention[key]:.3g}'):,.12g}" for key in keys)
    return (
        f"The same-shape ANN takes {show.count_passes(convention)} over its layers for an "
        "inference: one for an image, one for each step of a sequence. "
        f"If every event were an accumulate, spiking would break even with it at {even} spikes "
        f"per synapse and inference ({convention['break_even_rate']:.3g} a tick); this run has "
        f"{own}; both count zero weights. Events with other "
        "values than ±1, such as graded spikes or those behind a pool, are priced as "
        "multiply-accumulates."
    )


def _published(p: Json) -> str:
    low = f"{p['low']:g} to " if p["low"] else ""
    return (
        f"Break-even in the literature: {low}{p['high']:g} {p['unit']}, {p['statement']} "
        f"({p['source']})."
    )


def show_mapping(energy: Json, file: Path | None = None) -> Html:
    """Show the cores of each layer, the resource that limits them, and the time per inference.

    file: where to write the picture of the cores as PNG.
    """
    chips = _chips(energy)
    placed = [layer for chip in chips.values() for layer in chip["mapping"]["layers"].values()]
    used = (k for layer in placed for k, share in layer["use"].items() if share)
    rows, limits = [], list(dict.fromkeys(used))
    for name, chip in chips.items():
        for layer, x in chip["mapping"]["layers"].items():
            use = [f"{x['use'][k]:.1%}" if x["use"].get(k) else "" for k in limits]
            cells = (f"{x[k]:,}" for k in ("neurons", "cores", "neurons_per_core"))
            rows.append([name, layer, *cells, *use, x["binds"].replace("_", " ")])
    head = ["chip", "layer", "neurons", "cores", "per core"]
    head += [*(f"{k.replace('_', ' ')} used" for k in limits), "binds"]
    return page.section(
        "Cores and time",
        *fold_long(len(rows), page.table(head, rows)),
        page.paragraph(
            "Used: share of the limit of one core; empty: nothing, or no limit is published. "
            "Binds: the nearest limit.",
            "caption",
        ),
        *(
            page.paragraph(f"{n}: {p}")
            for n, c in chips.items()
            for p in c["mapping"]["problems"]
        ),
        _times(chips),
        *_show_loads(chips, file),
        *_show_searched(energy),
    )


def _show_loads(chips: Mapping[str, Json], file: Path | None) -> list[Html]:
    """Show the load of each core; nothing if an earlier version wrote the file."""
    mappings = {name: chip["mapping"] for name, chip in chips.items()}
    loads = {name: x["loads"] for name, x in mappings.items() if "loads" in x}
    if not loads:
        return []
    head = ["chip", "binds", *STATES, "busiest core", "there binds"]
    rows = []
    for name, load in loads.items():
        latency, seconds = chips[name]["latency"], show.list_core_seconds(load)
        total = sum(latency["states"].values())
        busiest = max(range(len(seconds)), key=seconds.__getitem__)
        shares = [f"{latency['states'][state] / total:.1%}" for state in STATES]
        core = f"{load['core'][busiest]} ({load['layer'][busiest]})"
        rows.append([name, latency["binds"], *shares, core, load["binds"][busiest]])
    return [
        page.subheading("What binds"),
        page.table(head, rows),
        page.paragraph(
            "Share of the nominal time of an inference in which the slowest core reads weights "
            "for synaptic events (memory), updates neurons (compute), or sends or takes in "
            "messages (traffic), and of the barrier at the end of each tick. A core updates "
            "neurons and sends while it takes messages in and serves synapses: the longer of "
            "both counts.",
            "caption",
        ),
        page.picture(
            pictures.draw_cores(loads, file),
            "Cores on their mesh, four or fewer a tile; the darker, the longer a core is busy "
            "in an inference, beside the busiest of the chip. The letter is what binds it: "
            "m memory, c compute, t traffic. Work of a layer counts as spread evenly over its "
            "neurons.",
        ),
    ]


def _show_searched(energy: Json) -> list[Html]:
    rows = show.list_mapping_rows(energy)
    if not rows:
        return []
    return [
        page.subheading("Mapping: searched and greedy"),
        page.table(["chip", "what", "greedy", "searched", "greedy / searched"], rows),
        page.paragraph(
            "Greedy: the fewest cores for each layer, one layer after the other. The figures "
            "above are of the searched placement.",
            "caption",
        ),
        *(page.paragraph(line, "caption") for line in show.list_kept(energy)),
    ]


def _times(chips: Mapping[str, Json]) -> Html:
    head = ("chip", "cores", "chips", "an inference", "a tick", "slowest layer", "static share")
    rows = [
        [
            name,
            chip["mapping"]["cores"],
            chip["mapping"]["chips"],
            _seconds(chip["latency"]["inference"]),
            _seconds(chip["latency"]["tick"]),
            chip["latency"]["bottleneck"],
            f"{chip['static_share']:.1%}",
        ]
        for name, chip in chips.items()
    ]
    caption = (
        "Time: nominal (low – high), estimated. Static share: the leakage, which does not "
        "depend on the activity, as a share of the nominal chip tier."
    )
    return page.join((page.table(head, rows), page.paragraph(caption, "caption")))


def _seconds(interval: Json) -> str:
    form = EngFormatter("s", places=1)
    low, nominal, high = (form(interval[k]) for k in ("low", "nominal", "high"))
    return f"{nominal} ({low} – {high})"

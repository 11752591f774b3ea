"""Describes an import for the terminal and the report."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from neuro.base.text import align_columns
from neuro.interop.imported import ComparedPopulation
from neuro.io.schema import convert
from neuro.nn.scales import ConvertedLayer, ErrorParts
from tasks.imported.files import (
    CodeFacts,
    ImportFacts,
    PrecisionFacts,
    StimulusFacts,
    name_source,
    read_mapping,
    read_rows,
)
from tasks.report import html as page
from tasks.runs.task import ACCURACY, Html

MAPPED = ("node", "in the source", "became")
TOTALS = ("population", "spikes", "different", "largest error")
COMPARED = ("population", "stimulus", *TOTALS[1:])


CURVE = ("ticks", "accuracy")
CONVERTED = (
    *("layer", "scale", "clipped", "quantisation", "unevenness", "in all", "rate"),
    "first spike",
)
CURES = {
    "clipped": "its inputs exceed the scale; use a higher --percentile",
    "quantisation": "T ticks show T + 1 values; use more --ticks, or train with CountedReLU",
}


class TotalOfPopulation(NamedTuple):
    """The comparison of a population with its source, over all stimuli."""

    population: str
    spikes: int
    different: int
    error: float


def describe_stimulus(stimulus: StimulusFacts) -> str:
    """Describe a random stimulus; "" if the stimulus is a file of the user."""
    if stimulus["file"]:
        return ""
    when = "in all" if stimulus["static"] else "in each"
    what = f"each value is a spike with probability {stimulus['rate']:g} {when}"
    if "images" in stimulus:
        low, high = stimulus["images"]
        what = f"each pixel is a whole number from {low} to {high}, the same in all"
    return (
        f"the stimulus is random, no data: {what} of {stimulus['ticks']:,} ticks, "
        f"{stimulus['samples']:,} samples, seed {stimulus['seed']}; rates and energy are of it "
        "(neuro import --stimulus FILE takes data)"
    )


def describe_code(facts: CodeFacts) -> str:
    """Describe how the stimulus is coded, and which spikes and answers the code changes."""
    if facts["code"] == "graded":
        units = ", ".join(f"{name} {unit:.4g}" for name, unit in facts["units"].items())
        how = (
            f"graded: whole numbers of {facts['bits']} bits; 1 stands for {units} of the "
            "source, folded into the first weights"
        )
    else:
        how = "rate: evenly spaced spikes in place of each value"
    told = (
        f"{how}. Beside the values themselves {facts['different']:,} spikes differ (of "
        f"{facts['spikes']:,})"
    )
    if facts["right"] is not None:
        before, after = facts["right"]
        n = facts["samples"]
        change = (after - before) / n
        error = None
        if "changed" in facts:  # not by an earlier version; of paired answers (McNemar)
            error = math.sqrt(facts["changed"] / n - change**2) / math.sqrt(n)
        told += (
            f", and {after:,} of {n:,} answers are right ({after / n:.2%}; {before:,} before): "
            + ACCURACY.describe_change(change, error, n)
        )
    return told


def tabulate_curve(facts: ImportFacts) -> list[list[str]]:
    """Return the accuracy of a converted network, a row for each length of a run."""
    found, samples = facts["conversion"], facts["stimulus"]["samples"]
    rows = [[f"{t}", f"{n / samples:.2%}"] for t, n in found["right"]]
    return [*rows, ["ANN", f"{found['ann']:.2%}"]]


def tabulate_layers(facts: ImportFacts) -> list[list[str]]:
    """Return what each layer of a converted network loses, as in the table ``CONVERTED``."""
    layers = [convert(x, ConvertedLayer) for x in facts["conversion"]["layers"]]
    return [
        [
            layer.name,
            f"{layer.scale:.4g}",
            *(f"{getattr(layer, part):.1%}" for part in (*ErrorParts._fields, "total")),
            f"{layer.rate:.3f}",
            f"tick {layer.first_spike}" if layer.first_spike else "none",
        ]
        for layer in layers
    ]


def describe_conversion(facts: ImportFacts) -> list[str]:
    """Describe a conversion: what was measured, what was lost, and the worst layer's cure."""
    found, n = facts["conversion"], facts["stimulus"]["samples"]
    ticks, layers = facts["stimulus"]["ticks"], found["layers"]
    right = {t: count for t, count in found["right"]}[ticks]
    own = [convert(layer, ConvertedLayer) for layer in layers]
    worst = max(own, key=lambda layer: layer.own_error)
    part = "clipped" if worst.own_error == worst.clipped else "quantisation"
    uneven = max(own, key=lambda layer: layer.unevenness)
    silent = [layer.name for layer in own if not layer.first_spike]
    scales = (
        f"Scales: the {found['percentile']:g}th percentile of each {found['by']} on "
        f"{found['calibrated']:,} other images."
    )
    if learned := found["learned"]:
        every = len(learned) == len(own)
        scales = (
            "All scales were trained." if every else f"{scales} Trained: {', '.join(learned)}."
        )
    cure = CURES[part] if worst.name not in learned else "use more --ticks"
    if found["by"] == "layer" and worst.name not in learned:
        cure = f"use --by channel; {cure}"
    ann = f"{found['ann']:.2%} by the ANN"
    if found["graded"] != found["ann"]:
        ann += f" ({found['graded']:.2%} where pixels are whole numbers, as in the run)"
    if found["clipped"]:
        ann += f"; {found['clipped']:.1%} of the pixels exceed the largest seen and are clipped"
    told = [
        f"In {ticks} tick{'s' * (ticks > 1)} {right / n:.2%} of {n:,} images are right, {ann}. "
        f"{scales}",
        "Errors are shares of the layer's mean ReLU, at the input that it really gets: clipped "
        "above the scale, rounded to T steps (quantisation), and spikes too many or too few "
        "because inputs arrived unevenly. Rate: spikes per neuron and tick.",
        f"The scale of {worst.name} costs most, {part} {worst.own_error:.1%}: {cure}.",
    ]
    if uneven.unevenness > worst.own_error:
        told.append(
            f"Spikes reach {uneven.name} unevenly, {uneven.unevenness:.1%}; use more --ticks"
            f"{', or train with CountedReLU' * (len(learned) < len(own))}."
        )
    if silent:
        told.append(f"No spike in {ticks} ticks: {', '.join(silent)}; use more --ticks.")
    return told


def show_conversion(facts: ImportFacts) -> Html:
    """Return the section "Conversion" of the report."""
    first, meaning, *others = describe_conversion(facts)
    return page.section(
        "Conversion",
        page.paragraph(first),
        page.table(CURVE, tabulate_curve(facts)),
        page.table(CONVERTED, tabulate_layers(facts)),
        page.paragraph(meaning, "caption"),
        *map(page.paragraph, others),
    )


def add_stimuli(rows: Sequence[ComparedPopulation]) -> list[TotalOfPopulation]:
    """Sum the comparison of each population over all stimuli."""
    out = []
    for name in dict.fromkeys(row.population for row in rows):
        of_it = [row for row in rows if row.population == name]
        total = TotalOfPopulation(
            population=name,
            spikes=sum(row.spikes for row in of_it),
            different=sum(row.different for row in of_it),
            error=max(row.error for row in of_it),
        )
        out.append(total)
    return out


def list_remarks(facts: ImportFacts) -> list[str]:
    """Return remarks on the parts that the comparison with the source does not cover."""
    verification = facts["verification"]
    if not verification["rows"]:
        return [f"{facts['library']}: not compared, there is no other library to compare with"]
    lines = []
    if verification["silent"]:
        lines.append(
            f"{', '.join(verification['silent'])} fired under no stimulus: only what happens "
            "below the threshold was compared; give a --stimulus under which it fires"
        )
    if verification["hidden"]:
        lines.append(
            f"the source does not show {', '.join(verification['hidden'])}: compared only by "
            "what follows"
        )
    precision = verification.get("precision")
    if precision is not None and precision["different"]:
        lines.append(
            f"the run is of the network in float64; in its own precision ({_name(precision)}) "
            f"{precision['different']:,} spikes of the source differ (of "
            f"{precision['spikes']:,}), and so its answers may"
        )
    return lines


def _name(precision: PrecisionFacts) -> str:
    return ", ".join([precision["name"], *precision["casts"]])


def list_own_figures(facts: ImportFacts) -> list[str]:
    """Describe the spikes and answers of the source in its own precision."""
    lines = []
    precision = facts["verification"].get("precision")
    if precision is not None and precision["failed"]:
        lines.append(
            f"not compared in its own precision ({_name(precision)}): {precision['failed']}"
        )
    elif precision is not None and not precision["different"]:
        lines.append(
            f"in its own precision ({_name(precision)}) 0 spikes of the source differ (of "
            f"{precision['spikes']:,})"
        )
    answers = facts["verification"].get("answers")
    if answers is not None:
        n = answers["samples"]
        ours = "neuro's network, before its input is coded," if "code" in facts else "the run"
        lines.append(
            f"of {n:,} labelled samples the source answers {answers['source']:,} right in "
            f"{answers['precision']} ({answers['source'] / n:.2%}), {ours} {answers['run']:,} "
            f"({answers['run'] / n:.2%}); {answers['different']:,} answers differ"
        )
    return lines


def describe_comparison(facts: ImportFacts) -> str:
    """Describe the comparison in one line; "" if there was none."""
    rows, verification = read_rows(facts), facts["verification"]
    if not rows:
        return ""
    stimuli = list(dict.fromkeys(row.stimulus for row in rows))
    return (
        f"The source ({facts['library']}) beside neuro's clock, both in float64: "
        f"{sum(row.spikes for row in rows):,} spikes, "
        f"{sum(row.different for row in rows):,} different. Stimuli: {'; '.join(stimuli)}; "
        f"{verification['samples']} samples each, random ones of {verification['ticks']} "
        f"ticks, seed {verification['seed']}. Error: largest difference of membranes, currents "
        "and values at any tick."
    )


def state_equality(facts: ImportFacts) -> str:
    """Say in a sentence whether the spikes equal those of the source; "" if not compared."""
    if not (rows := read_rows(facts)):
        return ""
    spikes, different = sum(row.spikes for row in rows), sum(row.different for row in rows)
    return (
        f" Compared with its source at every tick, {different:,} of {spikes:,} spikes differ."
    )


def show_import(facts: ImportFacts) -> list[Html]:
    """Return the section "Import" of the report."""
    source = facts["source"]
    origin = [
        ("source", name_source(facts)),
        ("SHA-256 of the file", source["digest"]),
        ("library or format", facts["library"]),
        ("stimulus", describe_stimulus(facts["stimulus"]) or facts["stimulus"]["file"]),
        *facts["choices"].items(),
        *([("input", describe_code(facts["code"]))] if "code" in facts else []),
    ]
    mapped = [[m.node, m.source, m.became] for m in read_mapping(facts)]
    rows = read_rows(facts)
    parts = [page.pairs(origin)]
    if mapped:
        parts += [page.subheading("What became of what"), page.text_table(MAPPED, mapped)]
    parts.append(page.subheading("Compared with its source at every tick"))
    parts += [page.paragraph(line, "warning") for line in list_remarks(facts)]
    parts += [page.paragraph(line) for line in list_own_figures(facts)]
    if rows:
        parts += [
            page.table(TOTALS, map(list_cells, add_stimuli(rows))),
            page.paragraph(describe_comparison(facts), "caption"),
            page.details("by stimulus", page.table(COMPARED, map(list_cells, rows))),
        ]
    sections = [page.section("Import", *parts)]
    return [show_conversion(facts), *sections] if "conversion" in facts else sections


def list_cells(row: ComparedPopulation | TotalOfPopulation) -> list[str]:
    """Return the values of a row in the table ``COMPARED`` or ``TOTALS``."""
    stimulus = [row.stimulus] if isinstance(row, ComparedPopulation) else []
    error = f"{row.error:.1e}" if row.error else "0"
    return [row.population, *stimulus, f"{row.spikes:,}", f"{row.different:,}", error]


def list_differing(rows: Sequence[ComparedPopulation]) -> str:
    """Return one line per population, for the message of a failed import."""
    return align_columns([COMPARED, *map(list_cells, rows)])

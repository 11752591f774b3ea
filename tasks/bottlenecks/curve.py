"""What ``bottleneck.json`` says, as tables, a picture and a section of the report."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from rich.table import Table

from neuro.io.run_folder import Run
from neuro.io.store import StoreError, read_bytes, read_json
from neuro.plot import ACCENT, INK, LINE, MUTED
from tasks.bench.plot import STYLE
from tasks.images.classification.classifier import show_confusion
from tasks.report import html as page
from tasks.report.figures import save_png
from tasks.report.tables import make_table
from tasks.runs.provenance import describe_trained
from tasks.runs.results import KEY
from tasks.runs.task import Html

FILE, PICTURE = "bottleneck.json", "bottleneck.png"
MARKS = {"float": "o", "8bit": "s", "4bit": "^", "spikes": "D"}


def tabulate_cuts(result: dict[str, Any]) -> Table:
    """Return a table of what crosses each cut of the original."""
    rows = [
        (
            crossing["source"],
            f"{crossing['from_chip']} to {crossing['to_chip']}",
            f"{crossing['neurons']:,}",
            f"{crossing['bits']:,.0f}",
            "" if crossing["spikes"] is None else f"{crossing['spikes']:,.1f}",
        )
        for crossing in result["original"]
    ]
    title = f"what crosses from chip to chip, a validation sample ({result['chip']})"
    return make_table(title, "from", "chips", "neurons", "bits", "spikes", rows=rows)


def tabulate_points(result: dict[str, Any]) -> Table:
    """Return a table of the figures of every cut of every narrow network."""
    rows = []
    for point in result["points"]:
        for k, cut in enumerate(point["cuts"]):
            rows.append(
                (
                    point["link"] if not k else "",
                    point["how"] if not k else "",
                    f"behind block {cut['after']}" if cut["after"] else "behind the stem",
                    f"{cut['width']} of {cut['channels']}",
                    f"{cut['bits']:,}",
                    "" if cut["spikes"] is None else f"{cut['spikes']:,.1f}",
                    "" if cut["aer_bits"] is None else f"{cut['aer_bits']:,.0f}",
                    f"{100 * point['accuracy']:.2f} %" if not k else "",
                )
            )
    return make_table(
        "narrow networks, a test sample",
        *("link", "how", "cut", "channels", "bits", "spikes", "AER bits", "accuracy"),
        rows=rows,
    )


def show_narrowing(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:
    """Return the sections of a report: the confusion matrix, cuts and narrow networks.

    Raises:
        StoreError: ``bottleneck.json`` is damaged.
    """
    title, path, narrow = "Narrow layers", run.folder / FILE, run.config.narrow
    confusion = show_confusion(run, evaluation)
    command = f"neuro bottleneck {shlex.quote(narrow.teacher or str(run.folder))} --width 1/4"
    if not path.exists():
        return [*confusion, page.section(title, page.missing(command))]
    result, parts = read_json(path), list[Html]()
    try:
        weights = narrow.teacher_weights or describe_trained(run.folder)["weights"]
        if result[KEY]["weights"] != weights:
            parts.append(page.warning("The figures below are of other weights", command))
        for table in (tabulate_cuts(result), tabulate_points(result)):
            parts += [page.subheading(str(table.title)), page.terminal_table(table)]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: is not as this version writes it; {command}") from error
    parts += show_curve(run) if not narrow.after else []  # else the headline has it
    return [*confusion, page.section(title, *parts)]


def show_curve(run: Run) -> list[Html]:
    """Return the picture of accuracy against bits, if the run folder has one."""
    if not (run.folder / PICTURE).exists():
        return []
    caption = (
        "Accuracy against the bits that cross, of networks with narrow layers: trained, and "
        "computed from the activity without training (pca). Star and line: the original."
    )
    return [page.photo(read_bytes(run.folder / PICTURE), caption)]


@mpl.rc_context(STYLE)
def draw_curve(result: dict[str, Any], path: Path) -> None:
    """Write a picture: accuracy against bits per sample, by link and training."""
    figure = Figure((6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for link in dict.fromkeys(point["link"] for point in result["points"]):
        for how, colour, line in (("pca", MUTED, ":"), ("trained", ACCENT, "")):
            curve = sorted(
                (point["bits"], 100 * point["accuracy"])
                for point in result["points"]
                if (point["link"], point["how"]) == (link, how)
            )
            if curve:
                form = f"{MARKS[link]}{line}"
                x, y = zip(*curve, strict=True)
                axes.plot(x, y, form, color=colour, ms=5, label=f"{link}, {how}")
    full = sum(crossing["bits"] for crossing in result["original"])
    axes.axvline(full, color=LINE, linewidth=1, zorder=0)
    axes.plot([full], [100 * result["accuracy"]], "*", color=INK, ms=9, label="original")
    axes.set(xscale="log", xlabel="bits of a sample that cross", ylabel="accuracy [%]")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color=LINE, linewidth=0.5)
    axes.legend()
    save_png(figure, path)

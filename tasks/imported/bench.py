"""``neuro bench imports``: tutorials, random networks and speed.

Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor, nn

from drivers import mnist
from drivers.folders import in_neuro_data
from neuro.base.seeds import seeded
from neuro.events import Grid, simulate
from neuro.interop.capture import CaptureError
from neuro.interop.imported import ComparedPopulation, ImportedNetwork, verify_import
from neuro.plot import ACCENT, INK, LINE
from neuro.spikes import to_events
from tasks.bench.comparison import Case, Pair, measure_case
from tasks.bench.harness import Run
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.plot import STYLE, draw_ratios
from tasks.bench.rows import Row, list_versions, name_processor
from tasks.bench.stopwatch import repeat
from tasks.imported.tutorials.tutorial import Tutorial, train_tutorial
from tasks.measures.energy import estimate_samples
from tasks.measures.verify import EXECUTORS, verify_samples
from tasks.report.figures import save_png
from tasks.report.tables import make_table
from tasks.runs.samples import Samples

LIBRARIES = ("snntorch", "spikingjelly", "norse")
TRAINED, TESTED = 2000, 500  # embedded digits
CHIP = "loihi2"
FILE_RATE = 0.1  # spikes per tick in the random stimulus of a NIR file
RANDOM = 300  # networks per library
# What a user writes to import a module.
IMPORT = """from neuro.interop import {0}
network = {0}.import_module(net, shape)
"""


def list_tutorials() -> dict[str, Tutorial]:
    """Return the tutorials of all libraries by name."""
    modules = [importlib.import_module(f"tasks.imported.tutorials.{n}") for n in LIBRARIES]
    return {t.name: t for module in modules for t in module.TUTORIALS}


def import_tutorial(tutorial: Tutorial, net: nn.Module) -> ImportedNetwork:
    """Import the network of a tutorial without changes."""
    return _import_module(tutorial.library, net, tutorial.input_shape)


def _import_module(library: str, net: nn.Module, shape: tuple[int, ...]) -> ImportedNetwork:
    names = {"net": net, "shape": shape}
    exec(IMPORT.format(library), names)
    network: ImportedNetwork = names["network"]  # type: ignore[assignment]
    return network


@dataclass(frozen=True, kw_only=True)
class DigitSplit:
    """Digits (B 1 28 28, pixels 0 to 255) and their labels."""

    images: np.ndarray
    labels: np.ndarray


def take_digits(split: Literal["train", "test"], most: int) -> DigitSplit:
    """Return the first embedded digits of a split."""
    digits = mnist.default(split)
    return DigitSplit(images=digits.images[:most], labels=digits.labels[:most])


def compare_tutorials(options: BenchOptions) -> Iterator[Row]:
    """Yield the rows per tutorial and NIR file: differing spikes, accuracies, energies."""
    for tutorial in list_tutorials().values():
        yield from _compare_tutorial(tutorial, options.quick)
    folder = in_neuro_data(["nir"])
    for file in sorted(folder.glob("*.nir")) if folder else ():
        yield from _compare_file(file, options.quick)


def _compare_file(file: Path, quick: bool) -> Iterator[Row]:
    """Yield the rows of a NIR file; its energy is estimated under random spikes."""
    from neuro.interop import nir

    def row(
        subject: str, unit: str, ours: float | None, theirs: float | None, note: str = ""
    ) -> Row:
        return Row(
            case=file.name,
            subject=subject,
            peer="equations of NIR",
            unit=unit,
            ours=ours,
            theirs=theirs,
            ratio=None,
            note=note,
        )

    try:
        network = nir.read(file)
    except nir.NirError as error:
        yield row("refused", "", None, None, str(error))
        return
    compared = verify_import(network, ticks=8 if quick else 64, samples=1 if quick else 4)
    yield row("different spikes", "spikes", *_count_spikes(compared))
    yield row("largest error", "", max(c.error for c in compared), None)
    rng, graph = np.random.default_rng(0), network.graph
    inputs = {
        name: to_events(rng.random((100, 4, graph.size(name))) < FILE_RATE)
        for name in graph.inputs
    }
    samples = Samples(inputs, torch.zeros(4, dtype=torch.int64))
    energy = estimate_samples(graph, samples, [CHIP])[CHIP]
    about = f"{file.name}: 100 ticks of spikes at {FILE_RATE:.0%}"
    yield row(f"core energy, {CHIP}", "J", energy["core"]["nominal"], None, about)


def _count_spikes(compared: Iterable[ComparedPopulation]) -> tuple[float, float]:
    """Return the number of spikes that differ, and the number of spikes of the source."""
    rows = tuple(compared)
    return float(sum(c.different for c in rows)), float(sum(c.spikes for c in rows))


def _compare_tutorial(tutorial: Tutorial, quick: bool) -> Iterator[Row]:
    with seeded(0):
        net = tutorial.make()
    if tutorial.trains:
        train = take_digits("train", 128 if quick else TRAINED)
        train_tutorial(tutorial, net, train.images, train.labels, seed=0)
    net.eval()

    def row(
        subject: str, unit: str, ours: float | None, theirs: float | None, note: str = ""
    ) -> Row:
        about = {"source": tutorial.source, "changed": tutorial.changed, "seed": 0}
        machine = {
            "processor": name_processor(),
            "versions": list_versions(tutorial.library, "torch"),
        }
        return Row(
            case=tutorial.name,
            subject=subject,
            peer=tutorial.library,
            unit=unit,
            ours=ours,
            theirs=theirs,
            ratio=None,
            note=note,
            conditions={**about, **machine},
        )

    try:
        network = import_tutorial(tutorial, net)
    except CaptureError as error:
        yield row("refused", "", None, None, f"{tutorial.name}: {error}")
        return
    test = take_digits("test", 20 if quick else TESTED)
    x = _stimulate(tutorial, test)
    (name,) = network.graph.inputs
    shown = {name: x[:, : 4 if quick else 20].double().numpy()}
    compared = verify_import(network, ticks=tutorial.ticks, given={"digits": shown})
    yield row("different spikes", "spikes", *_count_spikes(compared))
    yield row("largest error", "", max(c.error for c in compared), None)
    yield row("lines to import", "", float(IMPORT.count("\n")), None)
    if not tutorial.trains:
        return
    with torch.no_grad():
        parts = torch.split(x, 100, 1)
        scores = torch.cat([tutorial.run(net, part).sum(0) for part in parts])
    source = float((scores.argmax(1).numpy() == test.labels).mean())
    samples = Samples({name: to_events(x.flatten(2).numpy())}, torch.from_numpy(test.labels))
    verified = verify_samples(network.graph, samples, lava_samples=0)
    for executor, accuracy in verified["metrics"]["accuracy"].items():
        yield row(f"accuracy, {executor}", "%", 100 * accuracy, 100 * source)
    note = "; ".join(f"{tutorial.name}: {m}" for m in verified.get("misfits", ()))
    try:
        joules = estimate_samples(network.graph, samples, [CHIP])[CHIP]["core"]["nominal"]
    except ValueError as error:  # no chip holds its connections
        joules, note = None, f"{tutorial.name}: {error}"
    yield row(f"core energy, {CHIP}", "J", joules, None, note)


def _stimulate(tutorial: Tutorial, digits: DigitSplit) -> Tensor:
    """Return digits in the coding of a tutorial; other inputs get random values."""
    rng = np.random.default_rng(1)
    if tutorial.input_shape[-2:] == (28, 28) or tutorial.input_shape == (784,):
        return tutorial.encode(digits.images, rng)
    image = rng.random((1, 4, *tutorial.input_shape), np.float32)
    return torch.from_numpy(image).expand(tutorial.ticks, *image.shape[1:])


def compare_random(options: BenchOptions) -> Iterator[Row]:
    """Yield the number of spikes that differ between random networks and their imports."""
    for library in (*LIBRARIES, "nir"):
        spikes = different = error = 0.0
        count = 3 if options.quick else RANDOM
        for seed in range(count):
            compared = verify_import(_draw_import(library, seed), ticks=24, samples=2)
            wrong, all_spikes = _count_spikes(compared)
            spikes, different = spikes + all_spikes, different + wrong
            error = max(error, *(c.error / max(c.largest, 1.0) for c in compared))
        yield Row(
            case=f"{count} random networks",
            subject="different spikes",
            peer=library,
            unit="spikes",
            ours=different,
            theirs=spikes,
            ratio=None,
            conditions={
                "networks": count,
                "largest_relative_error": error,
                "versions": list_versions(library),
            },
        )


def _draw_import(library: str, seed: int) -> ImportedNetwork:
    """Draw a random network of a library and import it."""
    from tasks.imported.tutorials import (
        random_nir,
        random_norse,
        random_snntorch,
        random_spikingjelly,
    )

    if library == "nir":
        from neuro.interop import nir

        return nir.read(random_nir.draw_graph(seed), dt=1e-4)
    with seeded(seed):
        if library == "snntorch":
            module, shape = random_snntorch.draw_network(seed)
        elif library == "norse":
            module, shape = random_norse.draw_norse(np.random.default_rng(seed))
        else:
            module, shape = random_spikingjelly.draw_spikingjelly(np.random.default_rng(seed))
    return _import_module(library, module, shape)


def time_tutorials(options: BenchOptions) -> Iterator[Row]:
    """Yield the speed of each imported network beside its library, batch 1 and 64."""
    for name, tutorial in list_tutorials().items():
        if not tutorial.trains or tutorial.coding == "static":
            continue
        for batch in (1, 4 if options.quick else 64):
            builds = {"neuro": build_engine, tutorial.library: build_source}
            yield from measure_case(
                Case(
                    name=f"{name}, batch {batch}",
                    subjects={who: partial(b, name, batch) for who, b in builds.items()},
                    pairs=(Pair("neuro", (tutorial.library,)),),
                    unit="ms",
                    per=1e-3,
                    conditions={"batch": batch, "ticks": tutorial.ticks},
                ),
                options.repeats,
            )


def _make_timed(name: str, batch: int) -> tuple[Tutorial, nn.Module, Tensor]:
    tutorial = list_tutorials()[name]
    with seeded(0):
        net = tutorial.make()
    train = take_digits("train", 320)
    train_tutorial(tutorial, net, train.images, train.labels, seed=0)
    return tutorial, net.eval(), _stimulate(tutorial, take_digits("test", batch))


def build_source(name: str, batch: int, threads: int) -> Run:
    """Return a run of the library itself."""
    torch.set_num_threads(threads)
    tutorial, net, x = _make_timed(name, batch)

    @torch.no_grad()
    def once() -> tuple[int, int]:
        return int(tutorial.run(net, x).count_nonzero()), 0

    return repeat(once)


def build_engine(name: str, batch: int, threads: int) -> Run:
    """Return a run of the event engine in float32, the precision of the library."""
    torch.set_num_threads(threads)
    tutorial, net, x = _make_timed(name, batch)
    graph = import_tutorial(tutorial, net).graph
    inputs = {graph.inputs[0]: to_events(x.flatten(2).numpy())}
    clock = Grid(dtype=np.float32)

    def once() -> tuple[int, int]:
        record, _ = simulate(graph, inputs, clock)
        (out,) = graph.outputs
        values: Any = record.values.get(out)
        spikes = record.counts[out].spikes if values is None else int((values != 0).sum())
        return spikes, 0

    return repeat(once)


def tabulate_random(rows: list[Row]) -> Table:
    """Return a table with one row per library."""
    head = ("networks", "spikes", "differ", "largest relative error")
    lines = [
        (
            row.peer,
            f"{row.conditions['networks']:,}",
            f"{row.theirs:,.0f}",
            f"{row.ours:,.0f}",
            f"{row.conditions['largest_relative_error']:.1e}",
        )
        for row in rows
    ]
    return make_table("Random networks", "library", *head, rows=lines)


def tabulate_tutorials(rows: list[Row]) -> Table:
    """Return a table with one row per tutorial."""
    head = ("network", "spikes", "differ", "source", *EXECUTORS, "core, uJ")
    lines = []
    for case in dict.fromkeys(row.case for row in rows):
        own = {row.subject: row for row in rows if row.case == case}
        spikes = own.get("different spikes")
        if spikes is None:
            lines.append((case, "refused", *[""] * (len(head) - 2)))
            continue
        shares = [own.get(f"accuracy, {executor}") for executor in EXECUTORS]
        energy = own.get(f"core energy, {CHIP}")
        lines.append(
            (
                case,
                f"{spikes.theirs:,.0f}",
                f"{spikes.ours:,.0f}",
                f"{shares[0].theirs:.1f} %" if shares[0] else "",
                *(f"{share.ours:.1f} %" if share else "" for share in shares),
                f"{1e6 * energy.ours:.2f}" if energy and energy.ours is not None else "",
            )
        )
    return make_table("Tutorials", *head, rows=lines)


@mpl.rc_context(STYLE)
def draw_imports(rows: list[Row], path: Path) -> None:
    """Draw the accuracy of each tutorial in every executor above the ratios of speed."""
    shares = [row for row in rows if row.subject.startswith("accuracy, ")]
    ratios = [row for row in rows if row.ratio is not None]
    cases = list(dict.fromkeys(row.case for row in shares))
    heights = [0.9 + 0.3 * len(part) for part in (cases, ratios) if part] or [1.0]
    figure = Figure((8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    if cases:
        sides = {"source": [(row.theirs, row.case) for row in shares]}
        for row in shares:
            sides.setdefault(row.subject.removeprefix("accuracy, "), []).append(
                (row.ours, row.case)
            )
        marks = zip(("s", "|", "_", "."), (LINE, INK, INK, ACCENT), (9, 13, 13, 7), strict=True)
        for (who, values), (mark, colour, size) in zip(sides.items(), marks, strict=False):
            places = [cases.index(case) for _, case in values]
            panels[0].plot(
                [v for v, _ in values], places, mark, color=colour, ms=size, mew=1.5, label=who
            )
        panels[0].set_yticks(range(len(cases)), cases, size=7)
        panels[0].set(title="accuracy [%] of the source and of each executor")
        panels[0].invert_yaxis()
        panels[0].legend(loc="upper left", bbox_to_anchor=(1, 1))
    if ratios:
        draw_ratios(panels[-1], ratios)
    save_png(figure, path)


PARTS: Mapping[str, MeasurePart] = {
    "tutorials": compare_tutorials,
    "random": compare_random,
    "speed": time_tutorials,
}
TABLES: Mapping[str, Callable[[list[Row]], Table]] = {
    "tutorials": tabulate_tutorials,
    "random": tabulate_random,
}

"""``neuro bench bottlenecks``: accuracy against bits between chips.

An original is trained once, in a run folder beside the figures; each narrow network of it is
trained in a folder that goes away, and its figures stay in a file.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from joblib import Parallel, delayed

from neuro.energy import find_chip
from neuro.io.pytree import digest
from neuro.training.threads import limit_threads
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.bench.rows import Row
from tasks.bottlenecks import narrowing
from tasks.bottlenecks.bench import cells as cells_of, findings
from tasks.bottlenecks.bench.cells import (
    FULL,
    QUICK,
    NarrowCell,
    NarrowResult,
    NarrowScale,
    Network,
    Results,
    make_original,
)
from tasks.bottlenecks.bottleneck import train_narrow
from tasks.measures.train import launch_fabric, train_run
from tasks.runs.find import make_run
from tasks.runs.provenance import describe_trained, digest_code
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import load_trained_model

FILE = "bottlenecks-cells.jsonl"  # beside the figures
RUNS = "bottlenecks-runs"  # folder of the originals, beside the figures
CHIP = "loihi2"


def choose_scale(options: BenchOptions) -> NarrowScale:
    """Return how large what is options for is."""
    return QUICK if options.quick else FULL


def make_original_run(network: Network, seed: int, scale: NarrowScale, folder: Path) -> TaskRun:
    """Return the run of an original, in a folder named after all that it depends on."""
    config = make_original(network, scale)
    about = digest({"code": digest_code(), "config": asdict(config)})[:8]
    run = make_run("bottlenecks:tiny", folder / RUNS / f"{network}-{seed}-{about}", seed)
    return replace(run, config=config)


def train_original(network: Network, seed: int, scale: NarrowScale, folder: Path) -> None:
    """Train an original, from its last checkpoint on; a finished one stays as it is."""
    run = make_original_run(network, seed, scale, folder)
    with limit_threads(1):
        train_run(run, launch_fabric(run, "cpu", 1))


def measure_cell(cell: NarrowCell, scale: NarrowScale, folder: Path) -> dict[str, Any]:
    """Return the figures of a narrow network, trained here, of an original that is trained."""
    start = time.process_time()
    run = make_original_run(cell.network, cell.seed, scale, folder)
    original, narrow = load_trained_model(run), cell.narrow
    if cell.imitates:
        weights = describe_trained(run.folder)["weights"]
        narrow = replace(narrow, teacher=str(run.folder.resolve()), teacher_weights=weights)
    config = replace(run.config, narrow=narrow, epochs=cell.epochs or 1)
    with limit_threads(1), TemporaryDirectory() as place:
        if cell.epochs:
            out = Path(place) / "narrow"
            point = train_narrow(run, config, out, find_chip(CHIP))
        else:
            model = narrowing.build_in_closed_form(config, original)
            point = narrowing.measure_point(config, model, "pca")
        reference = narrowing.measure_point(run.config, original, "original")
    cuts, spiking = point.cuts, narrow.link == "spikes"
    result = NarrowResult(
        accuracy=point.accuracy,
        original=reference.accuracy,
        n=point.n,
        after=tuple(cut.after for cut in cuts),
        widths=tuple(cut.width for cut in cuts),
        bits=point.bits,
        spikes=sum(cut.spikes or 0.0 for cut in cuts) if spiking else None,
        aer_bits=sum(cut.aer_bits or 0.0 for cut in cuts) if spiking else None,
        seconds=time.process_time() - start,
    )
    return asdict(result)


def measure_all(cells: list[NarrowCell], options: BenchOptions) -> Results:
    """Return the figures of cells; those that the folder holds are not measured again.

    Raises:
        StoreError: a result in the folder's file is damaged.
        TrainError: a training has diverged.
    """
    scale = choose_scale(options)

    measure_each = share_work(measure_cell, options.workers, scale, options.out)

    def measure(missing: list[NarrowCell]) -> Iterator[tuple[NarrowCell, dict[str, Any]]]:
        parallel = Parallel(options.workers, return_as="generator_unordered", batch_size=1)
        originals = dict.fromkeys((cell.network, cell.seed) for cell in missing)
        for _ in parallel(delayed(train_original)(*o, scale, options.out) for o in originals):
            pass
        yield from measure_each(missing)

    about = {cell: asdict(cell) for cell in cells}
    path = options.out / FILE
    return complete_results(path, about, NarrowResult, measure, describe(scale))


def describe(scale: NarrowScale) -> dict[str, Any]:
    """Return what the figures of all cells depend on, beside the code."""
    return {"scale": repr(scale)}


def measure_depths(options: BenchOptions) -> Iterator[Row]:
    """Yield accuracy against bits of shallow and deep networks, and what it shows."""
    scale = choose_scale(options)
    curve = measure_all(cells_of.list_curve(scale), options)
    yield from findings.make_rows("depth", curve, scale)
    yield from findings.judge_depths(curve, scale)


def measure_links(options: BenchOptions) -> Iterator[Row]:
    """Yield what links of other values reach at the bits of the curve, and what it shows."""
    scale = choose_scale(options)
    trained = [c for c in cells_of.list_curve(scale) if c.network == "shallow" and c.epochs]
    links = measure_all([*trained, *cells_of.list_links(scale)], options)
    yield from findings.make_rows("links", links, scale)
    yield from findings.judge_links(links, ("8bit", "float"))


def measure_spikes(options: BenchOptions) -> Iterator[Row]:
    """Yield links of spikes beside links of values of a spiking network."""
    scale = choose_scale(options)
    spikes = measure_all(cells_of.list_spikes(scale), options)
    yield from findings.make_rows("spikes", spikes, scale)
    yield from findings.judge_links(spikes, ("spikes",))
    yield from findings.compare_events(spikes)


def measure_untrained(options: BenchOptions) -> Iterator[Row]:
    """Yield closed forms beside random cuts and pruning at no more bits: no training."""
    scale = choose_scale(options)
    cells = cells_of.list_untrained(scale, find_chip(CHIP))
    untrained = measure_all(cells, options)
    yield from findings.make_rows("untrained", untrained, scale)
    yield from findings.judge_untrained(untrained, scale)


def measure_controls(options: BenchOptions) -> Iterator[Row]:
    """Yield networks with learned widths beside controls of no more bits."""
    scale = choose_scale(options)
    learned = measure_all(cells_of.list_learned(scale, find_chip(CHIP)), options)
    controls = measure_all(list(cells_of.list_controls(scale, learned)), options)
    yield from findings.make_rows("controls", learned | controls, scale)
    yield from findings.judge_controls(learned | controls)


PARTS: Mapping[str, MeasurePart] = {
    "untrained": measure_untrained,
    "depth": measure_depths,
    "controls": measure_controls,
    "links": measure_links,
    "spikes": measure_spikes,
}
LISTS: Mapping[str, Callable[[NarrowScale], list[NarrowCell]]] = {
    "untrained": lambda scale: cells_of.list_untrained(scale, find_chip(CHIP)),
    "depth": cells_of.list_curve,
    "controls": lambda scale: cells_of.list_learned(scale, find_chip(CHIP)),
    "links": cells_of.list_links,
    "spikes": cells_of.list_spikes,
}


def announce(options: BenchOptions) -> str:
    """Return how many networks are about to be trained."""
    scale = choose_scale(options)
    wanted = {
        cell
        for part, list_cells in LISTS.items()
        if not options.parts or part in options.parts
        for cell in list_cells(scale)
    }
    about = {cell: asdict(cell) for cell in wanted}
    missing = list_missing_results(options.out / FILE, about, describe(scale))
    return (
        f"{sum(c.epochs > 0 for c in missing)} narrow networks are to be trained, their "
        f"originals in {options.out / RUNS}, and the controls of those with learned widths; "
        f"each is kept in {options.out / FILE}, and the same command goes on after an "
        f"interruption{'; networks too small to judge' if options.quick else ''}"
    )

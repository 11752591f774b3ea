"""``neuro bench energy``: searched against greedy mappings, and the model against PilotNet.

Each network runs on the event engine, and both mappings are priced for that run. The ratio is
greedy over searched, so a ratio above 1 is a gain. Networks are untrained, with norms fitted to
some stimuli, unless trained runs are named with ``--runs``.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuro.base.seeds import seeded
from neuro.energy import GOALS, Goal, MappingError, compare_mappings, load_chips, search_mapping
from neuro.energy.validation import check_energy, check_steps
from neuro.events import simulate
from neuro.graph import Graph
from neuro.nn.mixer_graph import EMBEDDED, make_graph
from neuro.spikes import to_events
from neuro.spikes.record import Record, concatenate
from tasks.bench.options import BenchOptions, MeasurePart
from tasks.bench.rows import Row, find_ratio, list_versions
from tasks.language.config import small_spiking
from tasks.language.model import LanguageModel
from tasks.runs.find import make_run, open_folder
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import TrainedRun, build_fresh_model, open_trained_run

FIGURES = (  # results of compare_mappings: key, words, factor, unit
    ("chip", "chip tier", 1e6, "µJ"),
    ("seconds", "time", 1e3, "ms"),
    ("core", "core tier", 1e6, "µJ"),
    ("hop", "ways of messages", 1e6, "µJ"),
    ("crossings", "crossings from chip to chip", 1.0, "messages"),
)
SAMPLES, TOKENS = 4, 16
OURS, PEER = "searched mapping", "greedy mapping"


@dataclass(frozen=True, kw_only=True)
class MappedNetwork:
    """A network, the record of a simulation of it, and where its weights come from."""

    name: str
    graph: Graph
    record: Record
    weights: str


def record_run(trained: TrainedRun, weights: str, samples: int = SAMPLES) -> MappedNetwork:
    """Simulate the network of a run on some test samples."""
    run, network = trained.run, trained.network
    some = network.iterate_samples(samples)
    record = concatenate([simulate(network.graph, batch.inputs)[0] for batch in some])
    name = f"{run.task}:{run.name}"
    return MappedNetwork(name=name, graph=network.graph, record=record, weights=weights)


def build_untrained(run: TaskRun) -> TrainedRun:
    """Return a run with fresh weights; its batch norms are fitted to a training batch."""
    model = build_fresh_model(run).eval()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # averages over all batches; here there is one
    if norms:
        stimulus, _ = next(iter(run.definition.training.batches(run.config, "train", 0)))
        with torch.no_grad():
            model(stimulus[:, :SAMPLES])
    return TrainedRun(run=run, model=model.eval(), measured_on={})


def make_demo(options: BenchOptions) -> Iterator[MappedNetwork]:
    """Yield the runs named with ``--runs``, or the network of the demo with fresh weights."""
    for folder in options.runs:
        yield record_run(open_trained_run(open_folder(folder)), f"trained, {folder}")
    if not options.runs:
        name = "mnist:tiny" if options.quick else "mnist:demo"
        yield record_run(build_untrained(make_run(name, Path("none"))), "untrained")


def make_alif(options: BenchOptions) -> Iterator[MappedNetwork]:
    """Yield the ALIF network for digits of Qiu et al. 2024 (arXiv 2406.03046)."""
    run = make_run("mnist:paper", Path("none"))
    small = {"blocks": (8, 0, 8, 0), "hidden": (32,), "ticks": 2} if options.quick else {}
    config = replace(run.config, source="embedded", held=500, **small)
    yield record_run(build_untrained(replace(run, config=config)), "untrained")


def make_language(options: BenchOptions) -> Iterator[MappedNetwork]:
    """Yield one block of the spiking MatMul-free model, with the width of the 370M model."""
    width, hidden = (64, 96) if options.quick else (1024, 2816)
    with seeded(0):
        config = replace(small_spiking(), stack="mlgru*1", width=width, hidden=hidden)
        model = LanguageModel(config).eval()
    tokens = np.random.default_rng(0).integers(0, config.vocabulary, (TOKENS, 1))
    with torch.no_grad():
        embedded = model.embedding(torch.from_numpy(tokens))
    graph = make_graph(model)
    record, _ = simulate(graph, {EMBEDDED: to_events(embedded)})
    name = f"a language block, width {width}"
    yield MappedNetwork(name=name, graph=graph, record=record, weights="untrained")


def map_networks(
    make: Callable[[BenchOptions], Iterator[MappedNetwork]], options: BenchOptions
) -> Iterator[Row]:
    """Yield the rows of all networks, on each chip and for each goal of the search."""
    for network in make(options):
        for chip in load_chips():
            for goal in GOALS:
                yield from compare_network(network, chip, goal)


def compare_network(network: MappedNetwork, chip: str, goal: Goal) -> Iterator[Row]:
    """Yield one row per figure, or one row with a note if the network does not fit the chip."""
    case = f"{network.name} on {chip}, least {goal}"
    started = time.perf_counter()
    try:
        searched = search_mapping(network.graph, network.record, chip, goal)
    except MappingError as error:
        note = f"{network.name} on {chip}: {'; '.join(error.problems)}"
        yield Row(
            case=case,
            subject=OURS,
            peer=PEER,
            unit="µJ",
            ours=None,
            theirs=None,
            ratio=None,
            note=note,
        )
        return
    sides = compare_mappings(searched.found, searched.greedy, goal)
    found, greedy = sides["found"], sides["greedy"]
    conditions = {
        "ticks": network.record.ticks,
        "samples": network.record.samples,
        "weights": network.weights,
        "seconds_of_search": time.perf_counter() - started,
        "ours": _describe(searched.found.latency.states, found),
        "theirs": _describe(searched.greedy.latency.states, greedy),
        "versions": list_versions(),
    }
    for key, words, factor, unit in FIGURES:
        if greedy[key]:
            ours, theirs = factor * found[key], factor * greedy[key]
            yield Row(
                case=f"{case}: {words}",
                subject=OURS,
                peer=PEER,
                unit=unit,
                ours=ours,
                theirs=theirs,
                ratio=find_ratio(ours, theirs),
                conditions=conditions,
            )


def _describe(states: Mapping[str, float], mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {"states": dict(states), "cores": mapping["cores"], "chips": mapping["chips"]}


def check_published(_: BenchOptions) -> Iterator[Row]:
    """Yield computed and measured values of PilotNet; the ratio is computed over measured."""
    chips = load_chips()
    checks = [check_energy(chip) for chip in chips.values()]
    for check in (*checks, *check_steps(chips["loihi2"])):
        scale, unit = (1e6, "µJ") if check.unit == "J" else (1.0, "of the mean")
        yield Row(
            case=check.name,
            subject="model",
            peer="measured",
            unit=unit,
            ours=scale * check.ours,
            theirs=scale * check.theirs,
            ratio=check.ratio,
            note="" if check.passes else f"{check.name}: outside of the accepted range",
            conditions={"accepted": [check.low, check.high]},
        )


def _make_part(make: Callable[[BenchOptions], Iterator[MappedNetwork]]) -> MeasurePart:
    return lambda options: map_networks(make, options)


PARTS: Mapping[str, MeasurePart] = {
    "demo": _make_part(make_demo),
    "alif": _make_part(make_alif),
    "language": _make_part(make_language),
    "pilotnet": check_published,
}

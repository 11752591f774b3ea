"""``neuro simulate``: the test split on the event engine, under one clock or both."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from neuro.base.units import Seconds
from neuro.energy.networks import name_layer
from neuro.events import Clock, Grid, Recording, simulate
from neuro.events.resources import require_workers
from neuro.graph import Graph, GraphError
from neuro.io.record_file import save_record
from neuro.io.run_folder import RECORD
from neuro.spikes import Events, Times, join
from tasks.measures.progress_bar import show_share
from tasks.runs.provenance import describe_samples, digest_file, digest_stimuli, write_result
from tasks.runs.results import KEY
from tasks.runs.samples import (
    CLASSIFIER,
    Judge,
    Samples,
    iterate_batches,
    join_batches,
    measure_answers,
    read_answers,
    read_targets,
    require_judge,
)
from tasks.runs.task import TaskRun, Tree
from tasks.runs.trained_run import ChipNetwork, open_trained_run

SHOWN = 20  # test samples whose record is kept for the report
CLOCKS = ("exact", "exact_spread")  # beside the grid


class PlacedClock(NamedTuple):
    """A clock, and how the events of the stimulus are put in time for it."""

    clock: Clock
    place: Callable[[Mapping[str, Events]], Mapping[str, Events] | Mapping[str, Times]]


def simulate_run(
    run: TaskRun,
    clock: Clock = Grid(),  # noqa: B008
    workers: int = 1,
) -> dict[str, Any]:
    """Replay the test split on the event engine; write ``simulate.json`` and a record.

    Returns:
        What :func:`simulate_samples` returns of the network that answers; captions of the
        samples in the record, and its digest.
        Of a task of several networks per_sample and milliseconds_per_sample are of all of them,
        under every clock. without_metric: those that answer nothing; the metrics are of the
        other one. others: rate and
        number of neurons of their layers on the grid.

    Raises:
        ValueError: there are no workers.
        GraphError: a network does not run under the clock; says which.
    """
    require_workers(workers)
    trained = open_trained_run(run)
    results, ticks = {}, {}
    for name, net in trained.networks.items():
        batches = list(net.iterate_samples())
        ticks[name] = batches[0].ticks
        if not name:
            shown = batches[0].take(SHOWN)
        try:
            results[name] = simulate_samples(
                net.graph, batches, net.judge, clock, workers, run.seed
            )
        except GraphError as error:
            problems = [name_layer(name, problem) for problem in error.problems]
            raise GraphError(problems, error.what) from error
    network = trained.network
    record, _ = simulate(network.graph, shown.inputs)
    save_record(path := run.folder / RECORD, record)
    captions = run.definition.evaluation.describe(
        run.config, read_answers(network.judge, network.graph, record), shown.targets
    )
    result = {
        **_join_simulated(trained.networks, results, ticks),
        "captions": list(captions),
        "record": digest_file(path),
    }
    write_result(run, "simulate", result, trained.measured_on)
    return result


@torch.no_grad()
def simulate_samples(
    graph: Graph,
    samples: Samples | Iterable[Samples],
    judge: Judge = CLASSIFIER,
    clock: Clock = Grid(),  # noqa: B008
    workers: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Replay samples on the event engine.

    Under the exact clock they run three times: on the grid; in exact time with the stimulus at
    the ends of its ticks, as on the grid; and in exact time with the stimulus anywhere in its
    ticks, as a sensor would send it.

    Args:
        graph: the network.
        samples: all of as many ticks; they are run together.
        judge: how outputs are judged against the targets.
        clock: the clock of the engine.
        workers: samples are split over so many.
        seed: of the times inside of ticks.

    Returns:
        Of the grid: the metrics by name, n; spikes, synaptic_events and updates by node, a
        sample; milliseconds of wall time a sample, in which only the spikes of outputs are
        kept; and the shape of a tick of each input.
        "exact" and "exact_spread": the same in exact time, the change of each metric, and how
        far the answers are from those of the grid, see :func:`compare_answers`.
        measured_on: of :func:`describe_samples`.

    Raises:
        TypeError, ValueError: samples or judge do not fit the graph, or do not fit each other;
            says the cure.
        GraphError: the graph does not run under the clock.
    """
    require_judge(judge)
    batches = list(iterate_batches(graph, samples))
    clocks = {"grid": PlacedClock(Grid(), dict)}
    if not isinstance(clock, Grid):
        rng = np.random.default_rng(seed)
        clocks["exact"] = PlacedClock(clock, dict)
        clocks["exact_spread"] = PlacedClock(clock, partial(spread, dt=graph.dt, rng=rng))
    few = batches[0].take(SHOWN)
    for placed in clocks.values():  # compiles each clock: the times below are without that
        simulate(graph, placed.place(few.inputs), placed.clock)
    whole = {name: join([b.inputs[name] for b in batches]) for name in graph.inputs}
    targets = join_batches([read_targets(b) for b in batches])
    kept = Recording(spikes=tuple(n for n in graph.outputs if n not in graph.readouts))
    ways: dict[str, dict[str, Any]] = {}
    answers = {}
    for name, placed in clocks.items():
        stimulus = placed.place(whole)
        start = time.perf_counter()
        with show_share("simulating") as progress:
            run = partial(simulate, graph, stimulus, placed.clock, progress=progress)
            record, _ = run(record=kept, workers=workers)
        seconds = time.perf_counter() - start
        answers[name] = read_answers(judge, graph, record)
        values = measure_answers(judge, answers[name], targets)
        ways[name] = {
            "n": record.samples,
            "per_sample": {
                node: {key: count / record.samples for key, count in vars(counts).items()}
                for node, counts in record.counts.items()
            },
            "milliseconds_per_sample": 1000 * seconds / record.samples,
            **values,
        }
    grid = ways.pop("grid")
    for name, way in ways.items():
        way["change"] = {k: way[k] - grid[k] for k in values}
        way |= compare_answers(answers[name], answers["grid"])
    return {
        "clock": "grid",
        "workers": workers,
        "input_shapes": {name: graph.shapes[name] for name in graph.inputs},
        **grid,
        **ways,
        KEY: describe_samples(graph, digest_stimuli(whole)),
    }


def _join_simulated(
    networks: Mapping[str, ChipNetwork],
    results: Mapping[str, dict[str, Any]],
    ticks: Mapping[str, int],
) -> dict[str, Any]:
    """Return the result of the network that answers, with counts and times of all networks."""
    out = dict(results[""])
    if len(results) == 1:
        return out
    runs = {name: net.runs for name, net in networks.items()}
    out |= _add_costs(runs, results)
    for clock in (c for c in CLOCKS if c in out):
        ways = {name: result[clock] for name, result in results.items()}
        out[clock] = ways[""] | _add_costs(runs, ways)
    layers: dict[str, dict[str, float]] = {}
    for name, net in list(networks.items())[1:]:
        for node in (*net.graph.inputs, *net.graph.firing):
            neurons = math.prod(net.graph.shapes[node])
            spikes = results[name]["per_sample"][node]["spikes"]
            rate = spikes / max(1, ticks[name] * neurons)
            layers[name_layer(name, node)] = {"rate": rate, "neurons": neurons}
    return {**out, "others": layers, "without_metric": list(results)[1:]}


def _add_costs(
    runs: Mapping[str, int], ways: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return counts and time of all networks, each as often as it runs for an inference."""
    return {
        "per_sample": {
            name_layer(name, node): {k: runs[name] * n for k, n in counts.items()}
            for name, way in ways.items()
            for node, counts in way["per_sample"].items()
        },
        "milliseconds_per_sample": sum(
            runs[name] * way["milliseconds_per_sample"] for name, way in ways.items()
        ),
    }


def compare_answers(one: Tree, other: Tree) -> dict[str, float]:
    """Return how far answers are from ``other`` ones; pytrees whose first axis is B.

    answered_differently: of answers that are chosen (integers, such as classes), the share of
    samples where one differs. answers_apart: of answers that are values (floats), the root mean
    square of the difference over that of ``other``, of the part where it is largest. Only what
    there is of the two.
    """
    pairs = list(zip(tree_leaves(one), tree_leaves(other), strict=True))
    chosen = [
        (a != b).reshape(len(a), -1).any(1) for a, b in pairs if not a.is_floating_point()
    ]
    apart = [
        float((a - b).double().norm() / b.double().norm())
        for a, b in pairs
        if a.is_floating_point() and b.any()
    ]
    out = {}
    if chosen:
        out["answered_differently"] = float(torch.stack(chosen).any(0).double().mean())
    if apart:
        out["answers_apart"] = float(np.max(apart))  # NaN is the largest
    return out


def spread(
    inputs: Mapping[str, Events], dt: Seconds, rng: np.random.Generator
) -> dict[str, Times]:
    """Return each event at a time drawn from its whole tick of ``dt`` [s], not at its end."""
    out = {}
    for name, e in inputs.items():
        time = (e.tick + 1.0 - rng.random(e.tick.size)) * dt
        order = np.lexsort((e.neuron, time, e.sample))
        value = e.value[order].astype(np.float64)
        out[name] = Times(e.sample[order], time[order], e.neuron[order], value, e.shape)
    return out

"""``neuro simulate``: replays the test split on the event engine, under one clock or both."""

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
from tasks.runs.provenance import describe_samples, digest_file, digest_stimuli, write_result
from tasks.runs.results import KEY
from tasks.runs.samples import (
    CLASSIFIER,
    Judge,
    Samples,
    estimate_errors,
    iterate_batches,
    join_batches,
    measure_answers,
    read_answers,
    read_targets,
    require_judge,
)
from tasks.runs.share import report_share, track
from tasks.runs.task import TaskRun, Tree
from tasks.runs.trained_run import ChipNetwork, open_trained_run

SHOWN = 20  # number of test samples in the record for the report
CLOCKS = ("exact", "exact_spread")  # beside the grid


class PlacedClock(NamedTuple):
    """A clock, and the function that places the events of a stimulus in its time."""

    clock: Clock
    place: Callable[[Mapping[str, Events]], Mapping[str, Events] | Mapping[str, Times]]


def simulate_run(
    run: TaskRun,
    clock: Clock = Grid(),  # noqa: B008
    workers: int = 1,
) -> dict[str, Any]:
    """Replay the test split on the event engine; write ``simulate.json`` and a record.

    Returns:
        The result of :func:`simulate_samples` on the network that answers, the captions of the
        samples in the record, and the digest of the record.
        If the task has several networks, per_sample and milliseconds_per_sample cover all of
        them under every clock, and the metrics cover the one that answers. without_metric names
        the others; others: rate and number of neurons of their layers on the grid.

    Raises:
        ValueError: there are no workers.
        GraphError: a network cannot run under the clock; names the network.
    """
    require_workers(workers)
    trained = open_trained_run(run)
    results, ticks = {}, {}
    for name, net in track("samples", trained.networks.items()):
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

    Under the exact clock the samples run three times: on the grid; in exact time with events at
    the ends of their ticks, as on the grid; and in exact time with events at random times
    within their ticks, as a sensor would send them.

    Args:
        graph: the network.
        samples: all of the same length; they are run together.
        judge: how outputs are judged against the targets.
        clock: the clock of the engine.
        workers: number of processes that share the samples.
        seed: of the random times within ticks.

    Returns:
        On the grid: the metrics by name; n; spikes, synaptic_events and updates per sample, by
        node; wall time per sample [ms], recording only the spikes of outputs; and the shape of
        one tick of each input.
        drawn: how the samples were drawn from the split.
        "exact" and "exact_spread": the same in exact time, with the change of each metric, its
        standard error and the distance between the answers and those of the grid, see
        :func:`compare_answers`.
        measured_on: the result of :func:`describe_samples`.

    Raises:
        TypeError, ValueError: samples or judge do not fit the graph or each other; the message
            holds the cure.
        GraphError: the graph cannot run under the clock.
    """
    require_judge(judge)
    batches = list(iterate_batches(graph, samples))
    clocks = {"grid": PlacedClock(Grid(), dict)}
    if not isinstance(clock, Grid):
        rng = np.random.default_rng(seed)
        clocks["exact"] = PlacedClock(clock, dict)
        clocks["exact_spread"] = PlacedClock(clock, partial(spread, dt=graph.dt, rng=rng))
    few = batches[0].take(SHOWN)
    for placed in clocks.values():  # compiles each clock before the timed runs
        simulate(graph, placed.place(few.inputs), placed.clock)
    whole = {name: join([b.inputs[name] for b in batches]) for name in graph.inputs}
    targets = join_batches([read_targets(b) for b in batches])
    kept = Recording(spikes=tuple(n for n in graph.outputs if n not in graph.readouts))
    ways: dict[str, dict[str, Any]] = {}
    answers = {}
    for name, placed in track("samples", clocks.items()):
        stimulus = placed.place(whole)
        start = time.perf_counter()
        run = partial(simulate, graph, stimulus, placed.clock, record=kept, workers=workers)
        record, _ = run(progress=partial(report_share, "samples"))
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
        way["errors"] = estimate_errors(judge, answers[name], answers["grid"], targets)
        way |= compare_answers(answers[name], answers["grid"])
    return {
        "clock": "grid",
        "workers": workers,
        "drawn": batches[0].drawn,
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
    """Return counts and times of all networks, each times its runs per inference."""
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
    """Return the distance between answers and ``other`` ones; pytrees whose first axis is B.

    answered_differently: for integer answers, such as classes, the share of samples with a
    differing answer.
    answers_apart: for float answers, the RMS of the difference over the RMS of ``other``, in
    the part of the pytree where this is largest.
    A key is missing if there are no answers of its kind.
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
    """Move each event from the end of its tick of ``dt`` [s] to a random time in the tick."""
    out = {}
    for name, e in inputs.items():
        time = (e.tick + 1.0 - rng.random(e.tick.size)) * dt
        order = np.lexsort((e.neuron, time, e.sample))
        value = e.value[order].astype(np.float64)
        out[name] = Times(e.sample[order], time[order], e.neuron[order], value, e.shape)
    return out

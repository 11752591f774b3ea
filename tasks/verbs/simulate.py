"""``neuro simulate``: the test split on the event engine, under one clock or both."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from neuro.events import Clock, Grid, Recording, simulate
from neuro.events.workers import require_workers
from neuro.io.record_file import save_record
from neuro.io.run_folder import RECORD, Run
from neuro.networks import name_layer
from neuro.record import Record
from neuro.spikes import Events, Times, join
from neuro.units import Seconds
from tasks.runs.find import find_task_of
from tasks.runs.provenance import describe_provenance, digest_file, write_result
from tasks.runs.samples import join_batches
from tasks.runs.task import Tree
from tasks.runs.trained_run import (
    decode,
    iterate_samples,
    load_other_networks,
    load_run_graph,
    load_trained_model,
    measure,
)

SHOWN = 20  # test samples whose record is kept for the report


class Timing(NamedTuple):
    """A clock, and how the events of the stimulus are put in time for it."""

    clock: Clock
    place: Callable[[Mapping[str, Events]], Mapping[str, Events] | Mapping[str, Times]]


def simulate_run(
    run: Run,
    clock: Clock = Grid(),  # noqa: B008
    workers: int = 1,
) -> dict[str, Any]:
    """Replay the test split on the event engine; write ``simulate.json`` and a record.

    Under the exact clock the samples run three times: on the grid, for which the network was
    trained; in exact time with the stimulus at the ends of its ticks, as on the grid; and in
    exact time with the stimulus anywhere in its ticks, as a sensor would send it.

    Returns:
        Of the grid: the task's metrics by name, n; spikes, synaptic_events and updates by node,
        a sample; milliseconds of wall time a sample, in which only the spikes of outputs are
        kept; captions of the samples in the record, its digest, and the shape of a tick of each
        input.
        others: rate and number of neurons of the layers of further networks of the chip, whose
        counts are in per_sample.
        "exact" and "exact_spread": the same in exact time, the change of each metric, and how
        far the answers are from those of the grid, see :func:`compare_answers`.

    Raises:
        ValueError: there are no workers.
    """
    require_workers(workers)
    measured_on = describe_provenance(run)
    graph, model = load_run_graph(run), load_trained_model(run)
    timings = {"grid": Timing(Grid(), dict)}
    if not isinstance(clock, Grid):
        rng = np.random.default_rng(run.seed)
        timings["exact"] = Timing(clock, dict)
        timings["exact_spread"] = Timing(clock, partial(spread, dt=graph.dt, rng=rng))
    some = next(iterate_samples(run, graph, most=SHOWN))
    # Also the first use of each clock, which compiles it: the times below are without that.
    first = {k: simulate(graph, t.place(some.inputs), t.clock)[0] for k, t in timings.items()}
    save_record(path := run.folder / RECORD, first["grid"])
    batches = list(iterate_samples(run, graph))
    whole = {name: join([b.inputs[name] for b in batches]) for name in graph.inputs}
    targets = join_batches([b.targets for b in batches])
    kept = Recording(spikes=tuple(n for n in graph.outputs if n not in graph.readouts))
    found, answers = {}, {}
    for name, timing in timings.items():
        stimulus = timing.place(whole)
        start = time.perf_counter()
        record, _ = simulate(graph, stimulus, timing.clock, record=kept, workers=workers)
        seconds = time.perf_counter() - start
        answers[name] = decode(run, model, graph, record)
        values = measure(run, answers[name], targets)
        found[name] = {**_per_sample(record, seconds), **values}
    grid = found.pop("grid")
    for name, other in found.items():
        other["change"] = {k: other[k] - grid[k] for k in values}
        other |= compare_answers(answers[name], answers["grid"])
    if not found:  # the further networks keep their ticks
        grid |= _run_others(run, model, grid)
    describe = find_task_of(run).evaluation.describe
    result = {
        "clock": "grid",
        "workers": workers,
        "captions": list(
            describe(run.config, decode(run, model, graph, first["grid"]), some.targets)
        ),
        "input_shapes": {name: graph.shapes[name] for name in graph.inputs},
        "record": digest_file(path),
        **grid,
        **found,
    }
    write_result(run, "simulate", result, measured_on)
    return result


def _run_others(run: Run, model: nn.Module, first: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts and time with those of further networks, and the rates of their layers."""
    per_sample, milliseconds = dict(first["per_sample"]), first["milliseconds_per_sample"]
    layers: dict[str, dict[str, float]] = {}
    for name, other in load_other_networks(run, model).items():
        some = list(iterate_samples(run, other.graph, stimuli=other.stimuli))
        inputs = {k: join([b.inputs[k] for b in some]) for k in other.graph.inputs}
        start = time.perf_counter()
        record, _ = simulate(other.graph, inputs)
        counted = _per_sample(record, time.perf_counter() - start)
        milliseconds += other.runs * counted["milliseconds_per_sample"]
        for node, counts in counted["per_sample"].items():
            key = name_layer(name, node)
            per_sample[key] = {k: other.runs * n for k, n in counts.items()}
        for node, e in record.spikes.items():
            ticks, samples, neurons = e.shape
            rate = len(e.tick) / max(1, ticks * samples * neurons)
            layers[name_layer(name, node)] = {"rate": rate, "neurons": neurons}
    if not layers:
        return {}
    return {
        "per_sample": per_sample,
        "milliseconds_per_sample": milliseconds,
        "others": layers,
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


def _per_sample(record: Record, seconds: float) -> dict[str, Any]:
    """Return what one clock did, a sample."""
    n = record.samples
    return {
        "n": n,
        "per_sample": {
            name: {key: count / n for key, count in vars(counts).items()}
            for name, counts in record.counts.items()
        },
        "milliseconds_per_sample": 1000 * seconds / n,
    }


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

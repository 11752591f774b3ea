"""``neuro simulate`` and ``neuro energy``: what a trained network does, and what it costs."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from neuro.energy import as_json, estimates
from neuro.events import Clock, Grid, simulate
from neuro.record import Counts, concatenate
from neuro.runs import Run
from neuro.spikes import Events, Times
from neuro.store import save_record
from neuro.units import Seconds
from tasks.work import answers, graph_of, output_of, samples

SHOWN = 20  # test samples whose record is kept for the report
Code = Callable[[Mapping[str, Events]], Mapping[str, Events] | Mapping[str, Times]]


class _Batch(NamedTuple):
    """What one clock did with one batch: answers, counts by node, seconds of wall time."""

    answers: np.ndarray
    counts: Mapping[str, Counts]
    seconds: float


def simulate_run(
    run: Run,
    clock: Clock = Grid(),  # noqa: B008
    workers: int = 1,
) -> dict[str, Any]:
    """Replay the test split on the event engine; write ``simulate.json`` and a record.

    Under the exact clock every batch runs three times: on the grid, for which the network was
    trained; in exact time with the stimulus at the ends of its ticks, as on the grid; and in
    exact time with the stimulus anywhere in its ticks, as a sensor would send it.

    Returns:
        Of the grid: accuracy, n; spikes, synaptic_events and updates by node, a sample;
        milliseconds of wall time a sample; the labels of the samples in the record. "exact"
        and "exact_spread": the same in exact time, the points of accuracy that this gains, and
        the share of samples that it answers differently.
    """
    graph = graph_of(run)
    ways: dict[str, tuple[Clock, Code]] = {"grid": (Grid(), dict)}
    if not isinstance(clock, Grid):
        rng = np.random.default_rng(run.seed)
        ways["exact"] = (clock, dict)
        ways["exact_spread"] = (clock, partial(spread, dt=graph.dt, rng=rng))
    inputs, shown = next(samples(run, graph, most=SHOWN))
    # Also the first use of each clock, which compiles it: the times below are without that.
    first = {name: simulate(graph, code(inputs), c)[0] for name, (c, code) in ways.items()}
    save_record(run.folder / "records" / "events.npz", first["grid"])
    batches: dict[str, list[_Batch]] = {name: [] for name in ways}
    labels = []
    for inputs, truth in samples(run, graph):
        labels.append(truth)
        for name, (one, code) in ways.items():
            stimulus = code(inputs)
            start = time.perf_counter()
            record, _ = simulate(graph, stimulus, one, workers=workers)
            seconds = time.perf_counter() - start
            answered = answers(run, output_of(graph, record))
            batches[name].append(_Batch(answered, record.counts, seconds))
    grid, *others = (_summary(some, np.concatenate(labels)) for some in batches.values())
    result = {"clock": "grid", "workers": workers, "labels": shown.tolist(), **grid}
    for name, other in zip(list(ways)[1:], others, strict=True):
        other["points"] = 100 * (other["accuracy"] - grid["accuracy"])
        other["answered_differently"] = _share_of_differences(batches["grid"], batches[name])
        result[name] = other
    run.write("simulate.json", result)
    return result


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


def _share_of_differences(one: list[_Batch], other: list[_Batch]) -> float:
    pairs = zip(one, other, strict=True)
    return float(np.concatenate([a.answers != b.answers for a, b in pairs]).mean())


def _summary(batches: list[_Batch], labels: np.ndarray) -> dict[str, Any]:
    """Return what one clock did, a sample."""
    n = len(labels)
    totals: dict[str, dict[str, float]] = {}
    for batch in batches:
        for name, counts in batch.counts.items():
            node = totals.setdefault(name, dict.fromkeys(vars(counts), 0.0))
            for key, value in vars(counts).items():
                node[key] += value
    return {
        "accuracy": int((np.concatenate([b.answers for b in batches]) == labels).sum()) / n,
        "n": n,
        "per_sample": {k: {c: v / n for c, v in node.items()} for k, node in totals.items()},
        "milliseconds_per_sample": 1000 * sum(b.seconds for b in batches) / n,
    }


def energy(run: Run) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``."""
    graph = graph_of(run)
    record = concatenate([simulate(graph, x)[0] for x, _ in samples(run, graph)])
    result = as_json(*estimates(graph, record))
    run.write("energy.json", result)
    return result

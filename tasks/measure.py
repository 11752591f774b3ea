"""``neuro simulate`` and ``neuro energy``: what a trained network does, and what it costs."""

import time
from typing import Any

from neuro.energy import as_json, estimates
from neuro.events import Clock, Grid, simulate
from neuro.record import concatenate
from neuro.runs import Run
from neuro.store import save_record
from tasks.work import correct, graph_of, samples

SHOWN = 20  # test samples whose record is kept for the report


def simulate_run(run: Run, clock: Clock = Grid()) -> dict[str, Any]:  # noqa: B008
    """Replay the test split on the event engine; write ``simulate.json`` and a record.

    Returns:
        accuracy, n; spikes, synaptic_events and updates by node, a sample; milliseconds of wall
        time a sample; the labels of the samples in the record.
    """
    graph = graph_of(run)
    right, n, spent = 0, 0, 0.0
    totals: dict[str, dict[str, float]] = {}
    for inputs, labels in samples(run, graph):
        start = time.perf_counter()
        record, _ = simulate(graph, inputs, clock)
        spent += time.perf_counter() - start
        right += correct(run, graph, record, labels)
        n += len(labels)
        for name, counts in record.counts.items():
            node = totals.setdefault(name, dict.fromkeys(vars(counts), 0.0))
            for key, value in vars(counts).items():
                node[key] += value
    inputs, shown = next(samples(run, graph, most=SHOWN))
    save_record(run.folder / "records" / "events.npz", simulate(graph, inputs, clock)[0])
    result = {
        "clock": type(clock).__name__.lower(),
        "accuracy": right / n,
        "n": n,
        "per_sample": {k: {c: v / n for c, v in node.items()} for k, node in totals.items()},
        "milliseconds_per_sample": 1000 * spent / n,
        "labels": shown.tolist(),
    }
    run.write("simulate.json", result)
    return result


def energy(run: Run) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``."""
    graph = graph_of(run)
    record = concatenate([simulate(graph, x)[0] for x, _ in samples(run, graph)])
    result = as_json(*estimates(graph, record))
    run.write("energy.json", result)
    return result

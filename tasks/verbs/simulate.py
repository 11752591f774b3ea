"""``neuro simulate`` and ``neuro energy``: what a trained network does, and what it costs."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from neuro.energy import Chip, as_json, estimates, load_chips
from neuro.events import Clock, Grid, Recording, simulate
from neuro.io.run_folder import Run
from neuro.io.store import save_record
from neuro.record import Record, concatenate
from neuro.spikes import Events, Times, join
from neuro.units import Seconds
from tasks.verbs.trained_run import (
    answers,
    graph_of,
    output_of,
    samples,
    task_of,
    trained_model,
)

SHOWN = 20  # test samples whose record is kept for the report
Code = Callable[[Mapping[str, Events]], Mapping[str, Events] | Mapping[str, Times]]


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
        Of the grid: accuracy where the task is to answer, n; spikes, synaptic_events and
        updates by node, a sample; milliseconds of wall time a sample, in which only the spikes
        of outputs are kept; the labels of the samples in the record, and the shape of a tick of
        their stimulus. "exact" and "exact_spread": the same in exact time, the points of
        accuracy that this gains, and the share of samples that it answers differently.
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
    stimuli, labels = zip(*samples(run, graph), strict=True)
    whole = {name: join([stimulus[name] for stimulus in stimuli]) for name in graph.inputs}
    kept = Recording(spikes=tuple(n for n in graph.outputs if n not in graph.readouts))
    found, answered = {}, {}
    for name, (one, code) in ways.items():
        stimulus = code(whole)
        start = time.perf_counter()
        record, _ = simulate(graph, stimulus, one, record=kept, workers=workers)
        seconds = time.perf_counter() - start
        answered[name] = answers(run, output_of(graph, record))
        found[name] = _per_sample(record, seconds) | _accuracy(answered[name], labels)
    grid = found.pop("grid")
    for name, other in found.items():
        if "accuracy" in grid:
            other["points"] = 100 * (other["accuracy"] - grid["accuracy"])
            other["answered_differently"] = np.mean(answered[name] != answered["grid"]).item()
    about = {
        "clock": "grid",
        "workers": workers,
        "labels": shown.tolist(),
        "input_shape": graph.shapes[graph.inputs[0]],
    }
    result = {**about, **grid, **found}
    run.write("simulate.json", result)
    return result


def _accuracy(given: np.ndarray | None, labels: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the share of right answers, where some are given."""
    return (
        {} if given is None else {"accuracy": float((given == np.concatenate(labels)).mean())}
    )


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


def energy(run: Run, chip: Chip | None = None) -> dict[str, Any]:
    """Estimate joules per inference from the test split's spikes; write ``energy.json``.

    chip: one more than those of the folder ``neuro/energy/chips``.
    """
    graph = graph_of(run)
    record = concatenate([simulate(graph, x)[0] for x, _ in samples(run, graph)])
    beside = task_of(run).host(run.config, trained_model(run))
    chips = {**load_chips(), chip.name: chip} if chip else load_chips()
    result = as_json(*estimates(graph, record, chips.values()), beside=beside)
    run.write("energy.json", result)
    return result

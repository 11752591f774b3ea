"""What the verbs share: a run's model, its graph, its test stimuli, its answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from neuro.graph import Graph
from neuro.io.run_folder import Run, RunError
from neuro.io.store import load_graph
from neuro.nn.trace import trace
from neuro.record import Record
from neuro.seeds import seeded
from neuro.spikes import Events, to_events, to_raster
from neuro.training import best_weights_path, load_weights
from tasks.task import Split, Task, find

ROUNDING = 1e-12  # float64 sums of thousands of numbers, in different orders
Sample = tuple[dict[str, Events], np.ndarray]  # inputs of a Graph by name, labels


def task_of(run: Run) -> Task[Any]:
    """Return the task that a run belongs to."""
    return find(run.task)


def fresh_model(run: Run) -> nn.Module:
    """Return the model of a run, untrained, from the run's seed."""
    with seeded(run.seed):
        return task_of(run).build(run.config)


def trained_model(run: Run) -> nn.Module:
    """Return the model of a run with its best weights, in evaluation mode.

    Raises:
        RunError: the run has no weights yet.
    """
    path = best_weights_path(run.folder)
    if not path.exists():
        raise RunError(
            f"{run.folder} is not trained yet; neuro train {run.task}:{run.name} first"
        )
    model = fresh_model(run)
    load_weights(path, model)
    return model.eval()


def graph_of(run: Run) -> Graph:
    """Return the Graph of the trained network, tracing it the first time."""
    path = run.folder / "graph.npz"
    weights = best_weights_path(run.folder)
    if path.exists() and weights.exists() and path.stat().st_mtime >= weights.stat().st_mtime:
        return load_graph(path)
    task, model = task_of(run), trained_model(run)
    x, _ = next(iter(task.stimuli(run.config, model, "test")))
    return trace(task.chip(run.config, model), tuple(x.shape[2:]))


def samples(run: Run, graph: Graph, split: Split = "test", most: int = 0) -> Iterator[Sample]:
    """Yield (stimuli as events, labels) by batch, ``most`` samples in all (0: every one)."""
    (name,) = graph.inputs
    left = most or np.inf
    for x, labels in task_of(run).stimuli(run.config, trained_model(run), split):
        n = int(min(left, len(labels)))
        if n == 0:
            return
        left -= n
        yield {name: to_events(x[:, :n].flatten(2).numpy())}, labels[:n].numpy()


def ticks_of(run: Run, graph: Graph) -> int:
    """Return T, the length of a run."""
    inputs, _ = next(samples(run, graph, most=1))
    return next(iter(inputs.values())).shape[0]


def output_of(graph: Graph, record: Record) -> np.ndarray:
    """Return what the network's one output population emitted, axes T B K."""
    (name,) = graph.outputs
    return record.values[name] if name in record.values else to_raster(record.spikes[name])


def answers(run: Run, output: np.ndarray) -> np.ndarray | None:
    """Return the class that wins for each sample; None where the task is no classifier."""
    how = task_of(run).answers
    if how is None:
        return None
    return how.scores(torch.from_numpy(output.astype(np.float64))).argmax(1).numpy()


def correct(run: Run, graph: Graph, record: Record, labels: np.ndarray) -> int | None:
    """Return how many samples of a record are answered right; None where none is answered."""
    given = answers(run, output_of(graph, record))
    return None if given is None else int((given == labels).sum())


def layer_differences(graph: Graph, one: Record, other: Record) -> dict[str, np.ndarray]:
    """Return, for each recorded population, where two records differ: bool, T B N.

    Values differ where they are farther apart than :data:`ROUNDING` of the largest: sums of the
    same numbers in another order.
    """
    out = {}
    for name in graph.populations:
        if name in one.spikes:
            out[name] = to_raster(one.spikes[name]) != to_raster(other.spikes[name])
        elif name in one.values:
            a, b = one.values[name], other.values[name]
            near = np.abs(a - b) <= ROUNDING * np.abs(a).max(initial=0)
            out[name] = ~near  # also what is no number
    return out


def rounding(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance of two arrays of values over the largest value."""
    largest = np.abs(one).max(initial=0)
    return float(np.abs(one - other).max(initial=0) / largest) if largest else 0.0


def spike_counts(record: Record) -> Mapping[str, int]:
    """Return the number of spikes of every firing node."""
    return {name: len(e.tick) for name, e in record.spikes.items()}

"""A trained run: its model, its Graph, its test samples, and what its outputs answer."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from neuro.arguments import describe
from neuro.graph import Graph
from neuro.io.run_folder import Run, RunError, digest_configuration, read_header
from neuro.nn.layers import Temporal
from neuro.nn.net import Net
from neuro.nn.trace import trace
from neuro.record import Record
from neuro.seeds import seeded
from neuro.spikes import to_events, to_raster
from neuro.training import get_best_weights_path, load_weights
from tasks.runs.find import find_task_of, name_train_command
from tasks.runs.samples import Judge, Samples
from tasks.runs.task import Split, Stimulus, Tree


def make_judge(run: Run, model: nn.Module) -> Judge:
    """Return how the task of a run judges what its trained model answers."""
    evaluation = find_task_of(run).evaluation
    return Judge(partial(evaluation.decode, run.config, model), partial(measure, run))


def build_fresh_model(run: Run) -> nn.Module:
    """Return the model of a run, untrained, from the run's seed.

    Raises:
        RunError: what the task builds is no model.
    """
    with seeded(run.seed):
        model = find_task_of(run).training.build(run.config)
    if not isinstance(model, nn.Module):
        raise RunError(
            f"{run.task}: Training.build must return a model, got {describe(model)}; return an "
            "nn.Module, such as Stack(...)"
        )
    for name, part in model.named_modules():
        if isinstance(part, nn.Sequential) and any(isinstance(m, Temporal) for m in part):
            raise RunError(
                f"{run.task}: {name or 'the model'} is a Sequential, which hands on neither "
                "ticks nor states; make it a Stack, neuro.Stack(...) of the same layers"
            )
    return model


def load_trained_model(run: Run) -> nn.Module:
    """Return the model of a run with the weights that were kept, in evaluation mode.

    Raises:
        RunError: the run has no weights yet, or some that are not finite.
        TrainError: they are of another run.
    """
    path = get_best_weights_path(run.folder)
    if not path.exists():
        raise RunError(f"{run.folder} is not trained yet; {name_train_command(run)} first")
    model = build_fresh_model(run)
    load_weights(path, model, digest_configuration(read_header(run.folder)))
    wrong = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    if wrong:
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise RunError(
            f"{path}: {', '.join(wrong[:8])}{more} hold values that are not finite (NaN or "
            "infinity), so nothing can be computed with them; restore the file from a copy, or "
            "train again, with a smaller learning rate say"
        )
    return model.eval()


def load_run_graph(run: Run) -> Graph:
    """Return the Graph of the trained network, traced anew."""
    deployment, model = find_task_of(run).deployment, load_trained_model(run)
    part = deployment.part(run.config, model)
    return _trace_part(run, part, lambda s: deployment.stimuli(run.config, model, s))


Stimuli = Callable[[Split], Iterable[Stimulus]]


class Network(NamedTuple):
    """A network that a chip runs beside the first one.

    runs, ann_passes: as of :class:`tasks.runs.task.Part`.
    """

    graph: Graph
    stimuli: Stimuli
    runs: int
    ann_passes: int | None


def load_other_networks(run: Run, model: nn.Module) -> dict[str, Network]:
    """Return the further networks that a chip runs for an inference, by name."""
    others = find_task_of(run).deployment.others(run.config, model)
    return {
        name: Network(
            _trace_part(run, part.module, part.stimuli),
            part.stimuli,
            part.runs,
            part.ann_passes,
        )
        for name, part in others.items()
    }


def _trace_part(run: Run, part: nn.Module, stimuli: Stimuli) -> Graph:
    if isinstance(part, Net):
        return trace(part)
    stimulus = next(iter(stimuli("test")))
    if len(stimulus.inputs) > 1:
        raise RunError(
            f"{run.task}: its chip part is a {type(part).__name__}, which has one input, and "
            f"its stimuli have {', '.join(stimulus.inputs)}; describe the part by a Graph and "
            "return its Net"
        )
    (x,) = stimulus.inputs.values()
    return trace(part, tuple(x.shape[2:]))


def iterate_samples(
    run: Run,
    graph: Graph,
    split: Split = "test",
    most: int = 0,
    stimuli: Stimuli | None = None,
) -> Iterator[Samples]:
    """Yield the stimuli of a split by batch, ``most`` samples in all (0: every one).

    stimuli: of another network than the first.
    """
    left = most or np.inf
    if stimuli is None:
        model = load_trained_model(run)
        found = find_task_of(run).deployment.stimuli(run.config, model, split)
    else:
        found = stimuli(split)
    for stimulus in found:
        n = int(min(left, _require_sizes(run, graph, stimulus)))
        if n == 0:
            return
        left -= n
        yield Samples(
            {k: to_events(x[:, :n].flatten(2).numpy()) for k, x in stimulus.inputs.items()},
            tree_map(itemgetter(slice(n)), stimulus.targets),
        )


def _require_sizes(run: Run, graph: Graph, stimulus: Stimulus) -> int:
    """Return B of a stimulus; raise unless it has the graph's inputs, all of the same B."""
    if set(stimulus.inputs) != set(graph.inputs):
        raise RunError(
            f"{run.task}: its stimuli drive {', '.join(stimulus.inputs)}, and the inputs of "
            f"its chip part are {', '.join(graph.inputs)}; name them alike"
        )
    sizes = [x.shape[1] for x in stimulus.inputs.values()]
    sizes += [len(y) for y in tree_leaves(stimulus.targets)]
    if len(set(sizes)) > 1:
        names = f"{', '.join(stimulus.inputs)} and the targets"
        raise RunError(f"{run.task}: {names} hold {sizes} samples; give all the same")
    return sizes[0]


class Outputs(dict[str, Tensor]):
    """What each output of a Graph emitted, by name."""

    def __missing__(self, name: str) -> Tensor:
        raise RunError(
            f"the graph has no output {name!r}; it has {', '.join(self)}: ask for one of them "
            "where the task decodes, Evaluation.decode"
        )


def collect_outputs(graph: Graph, record: Record) -> Outputs:
    """Return what each output population emitted, by name: float64, T B *N."""
    out = Outputs()
    for name in graph.outputs:
        values = (
            record.values[name] if name in record.values else to_raster(record.spikes[name])
        )
        shape = (*values.shape[:2], *graph.shapes[name])
        out[name] = torch.from_numpy(values.astype(np.float64)).reshape(shape)
    return out


@torch.no_grad()
def decode(run: Run, model: nn.Module, graph: Graph, record: Record) -> Tree:
    """Return the answers of a record, first axis B; no leaves where nothing is answered."""
    return find_task_of(run).evaluation.decode(
        run.config, model, collect_outputs(graph, record)
    )


def measure(run: Run, answers: Tree, targets: Tree) -> Mapping[str, float]:
    """Return the values of the task's metrics, of all samples together.

    Raises:
        RunError: one of them is not declared by the task, or not finite.
    """
    evaluation = find_task_of(run).evaluation
    values = evaluation.measure(run.config, answers, targets)
    require_declared(run, values)
    return values


def require_declared(run: Run, values: Mapping[str, Any]) -> None:
    """Raise unless the task declares a Metric for each value, and each is finite."""
    declared = [m.name for m in find_task_of(run).evaluation.metrics]
    unknown = [name for name in values if name not in declared]
    if unknown:
        raise RunError(
            f"{run.task}: measures {', '.join(unknown)}, which Evaluation.metrics does not "
            f"declare (it has {', '.join(declared)}); add a Metric of that name"
        )
    wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise RunError(
            f"{run.folder}: {', '.join(wrong)}: answers of the model, or what they are "
            "measured against, are not finite or too large, so there is no such figure; look "
            "at the loss in metrics.jsonl, and train again, with a smaller learning rate say"
        )

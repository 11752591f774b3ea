"""A trained run: its model, and the networks that a chip runs, each with its samples."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

import numpy as np
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from neuro.base.arguments import describe
from neuro.base.seeds import seeded
from neuro.graph import Graph
from neuro.io.run_folder import RunError, digest_configuration, read_header
from neuro.nn.layers import Temporal
from neuro.nn.net import Net
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.training import get_best_weights_path, load_weights
from tasks.runs.find import name_train_command
from tasks.runs.provenance import describe_provenance
from tasks.runs.samples import NO_ANSWERS, Judge, Samples
from tasks.runs.task import FurtherNetwork, Split, Stimulus, TaskRun, Tree

Stimuli = Callable[[Split], Iterable[Stimulus]]


@dataclass(frozen=True, kw_only=True)
class ChipNetwork:
    """A network that a chip runs for an inference.

    task: the name of its task. stimuli: split -> its stimuli.
    judge: how answers are decoded from its outputs.
    runs, ann_passes: see :class:`tasks.runs.task.FurtherNetwork`.
    """

    task: str
    graph: Graph
    stimuli: Stimuli
    judge: Judge = NO_ANSWERS
    runs: int = 1
    ann_passes: int | None = None

    def iterate_samples(self, most: int = 0) -> Iterator[Samples]:
        """Yield batches of the test split, at most ``most`` samples in total (0: all)."""
        left = most or np.inf
        for stimulus in self.stimuli("test"):
            n = int(min(left, self._require_sizes(stimulus)))
            if n == 0:
                return
            left -= n
            yield Samples(
                {k: to_events(x[:, :n].flatten(2).numpy()) for k, x in stimulus.inputs.items()},
                tree_map(itemgetter(slice(n)), stimulus.targets),
                stimulus.drawn,
            )

    def _require_sizes(self, stimulus: Stimulus) -> int:
        """Return B of a stimulus; raise unless it has the graph's inputs, all of the same B."""
        if set(stimulus.inputs) != set(self.graph.inputs):
            raise RunError(
                f"{self.task}: its stimuli drive {', '.join(stimulus.inputs)}, and the inputs "
                f"of its chip part are {', '.join(self.graph.inputs)}; name them alike"
            )
        sizes = [x.shape[1] for x in stimulus.inputs.values()]
        sizes += [len(y) for y in tree_leaves(stimulus.targets)]
        if len(set(sizes)) > 1:
            names = f"{', '.join(stimulus.inputs)} and the targets"
            raise RunError(f"{self.task}: {names} hold {sizes} samples; give all the same")
        return sizes[0]


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A run with its trained model; a verb opens it once, with :func:`open_trained_run`.

    model: in evaluation mode, with the weights that training kept.
    measured_on: the digests of weights, configuration, test data and code when the run was
    opened.
    """

    run: TaskRun
    model: nn.Module
    measured_on: Mapping[str, str]

    @property
    def network(self) -> ChipNetwork:
        """The network that answers for the task."""
        return self.networks[""]

    @cached_property
    def networks(self) -> Mapping[str, ChipNetwork]:
        """All networks that a chip runs for an inference, by name: "" is the one that answers.

        Their graphs are traced at the first use.
        """
        run, config, model = self.run, self.run.config, self.model
        deployment = run.definition.deployment
        own = FurtherNetwork(
            module=deployment.part(config, model),
            stimuli=partial(deployment.stimuli, config, model),
            runs=deployment.runs(config),
            ann_passes=deployment.ann_passes and deployment.ann_passes(config),
        )
        return {
            name: ChipNetwork(
                task=run.task,
                graph=_trace_part(run.task, network.module, network.stimuli),
                stimuli=network.stimuli,
                judge=NO_ANSWERS if name else make_judge(run, model),
                runs=network.runs,
                ann_passes=network.ann_passes,
            )
            for name, network in {"": own, **deployment.others(config, model)}.items()
        }


def open_trained_run(run: TaskRun) -> TrainedRun:
    """Return a run with its trained model, and the digests for the results to come.

    Raises:
        RunError: the run has no weights yet, or weights that are not finite.
        TrainError: the weights belong to another run.
    """
    require_trained(run)  # first, because the digests take seconds
    measured_on = describe_provenance(run)  # before the weights are read
    return TrainedRun(run=run, model=load_trained_model(run), measured_on=measured_on)


def build_fresh_model(run: TaskRun) -> nn.Module:
    """Build the untrained model of a run from the run's seed.

    Raises:
        RunError: the task does not build a model.
    """
    with seeded(run.seed):
        model = run.definition.training.build(run.config)
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


def require_trained(run: TaskRun) -> None:
    """Raise a RunError unless a run has weights or needs none."""
    if not (run.definition.origin or get_best_weights_path(run.folder).exists()):
        raise RunError(f"{run.folder} is not trained yet; {name_train_command(run)} first")


def load_trained_model(run: TaskRun) -> nn.Module:
    """Return the model of a run in evaluation mode, with the weights that training kept.

    Raises:
        RunError: the run has no weights yet, or weights that are not finite.
        TrainError: the weights belong to another run.
    """
    require_trained(run)
    if run.definition.origin:
        return build_fresh_model(run).eval()
    path = get_best_weights_path(run.folder)
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


def _trace_part(task: str, part: nn.Module | Graph, stimuli: Stimuli) -> Graph:
    if isinstance(part, Graph):
        return part
    if isinstance(part, Net):
        return trace(part)
    stimulus = next(iter(stimuli("test")))
    if len(stimulus.inputs) > 1:
        raise RunError(
            f"{task}: its chip part is a {type(part).__name__}, which has one input, and "
            f"its stimuli have {', '.join(stimulus.inputs)}; describe the part by a Graph and "
            "return its Net"
        )
    (x,) = stimulus.inputs.values()
    return trace(part, tuple(x.shape[2:]))


def make_judge(run: TaskRun, model: nn.Module) -> Judge:
    """Return the judge with which the task of a run measures its trained model's answers."""
    evaluation = run.definition.evaluation

    def measure(answers: Tree, targets: Tree) -> Mapping[str, float]:
        values = evaluation.measure(run.config, answers, targets)
        require_declared(run, values)
        return values

    return Judge(partial(evaluation.decode, run.config, model), measure)


def require_declared(run: TaskRun, values: Mapping[str, Any]) -> None:
    """Raise unless the task declares a Metric for each value, and all values are finite."""
    declared = [m.name for m in run.definition.evaluation.metrics]
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

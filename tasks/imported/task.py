"""The task of an imported network, made from the files of its run folder.

The answer to a sample is the class with the highest score; in a tie, the first class. Scores
are decoded from the output as in the source; if the source does not define a decoding, a score
is the output summed over all ticks. Samples with a tie are counted.
Axes: T ticks, B samples, K neurons of the output, ``*N`` the shape of a node.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from neuro.graph import Graph
from neuro.graph.sparse import unroll_delays
from neuro.interop.decoding import Decoding
from neuro.io.graph_file import load_graph
from neuro.io.run_folder import NETWORK, Run, RunError, read_header
from neuro.nn.net import Net
from tasks.images.classification.classifier import count_ties, show_confusion
from tasks.images.classification.examples import draw_samples
from tasks.imported.files import (
    DECODING,
    STIMULUS,
    ImportConfig,
    ImportFacts,
    load_decoding,
    make_config,
    name_source,
    read_facts,
    require_unchanged,
)
from tasks.imported.sections import describe_stimulus, show_import, state_equality
from tasks.imported.stimulus import ImportedStimulus, load_stimulus, split_samples
from tasks.runs.share import track_test
from tasks.runs.task import (
    ACCURACY,
    Deployment,
    Evaluation,
    Findings,
    Html,
    Metric,
    ModelOrigin,
    Picture,
    Split,
    Stimulus,
    Table,
    Task,
    Training,
    Tree,
)

CONVERTED = "trained ANN, converted to spiking neurons"
KIND = "spiking network of another library, imported with its weights"
FIRED = "mean number of spikes of a neuron"
FIRING_RATE = Metric(name="firing_rate", better="lower", unit="per tick", meaning=FIRED)


def define_task(folder: Path) -> Task[ImportConfig]:
    """Return the task of the network in a run folder.

    Raises:
        RunError: a file of the run has changed since the import, or is missing.
        StoreError: a file is damaged.
    """
    require_unchanged(folder)
    run = ImportedRun(folder)
    facts = run.facts
    labelled, data = facts["stimulus"]["labels"], facts["stimulus"]["file"]
    metrics = (ACCURACY, FIRING_RATE) if labelled else (FIRING_RATE,)
    return Task(
        summary=f"imported from {name_source(facts)}, {facts['library']}",
        about=f"A {CONVERTED if 'conversion' in facts else KIND}. Its stimulus goes in; the "
        "values of its outputs, and with labels the classes, come out." + state_equality(facts),
        configs={read_header(folder)["name"]: cache(partial(make_config, folder))},
        training=Training(
            build=run.build,
            plan=run.refuse,
            steps=run.refuse,
            batches=run.iterate_batches,
            loss=run.refuse,
            validation=metrics[0],
            validate=run.refuse,
            seed_changes="" if data else "the random spikes of the stimulus",
        ),
        deployment=Deployment(
            part=lambda *_: run.graph,
            stimuli=run.iterate_stimuli,
            host=lambda *_: run.count_host() if labelled else {},
        ),
        evaluation=Evaluation(
            metrics=metrics,
            evaluate=run.evaluate,
            decode=run.decode,
            measure=run.measure,
            describe=run.describe,
            reading=f"Captions: label → answer, the highest of {run.decoding.describe()}."
            if labelled
            else "",
            sections=_show_confusion if labelled else lambda *_: (),
        ),
        origin=ModelOrigin(
            refusal=run.refusal,
            remark=describe_stimulus(facts["stimulus"]),
            sections=lambda _: show_import(facts),
        ),
    )


def _show_confusion(run: Run, evaluation: Mapping[str, Any]) -> list[Html]:
    return show_confusion(run, evaluation) if "confusion" in evaluation else []


@dataclass(frozen=True)
class ImportedRun:
    """The functions of the task; each file is read at its first use."""

    folder: Path

    @cached_property
    def facts(self) -> ImportFacts:
        """``import.json``."""
        return read_facts(self.folder)

    @cached_property
    def graph(self) -> Graph:
        """The network."""
        return load_graph(self.folder / NETWORK)

    @cached_property
    def stimulus(self) -> ImportedStimulus:
        """The stimulus of the network."""
        return load_stimulus(self.folder / STIMULUS)

    @cached_property
    def decoding(self) -> Decoding:
        """The decoding of answers from the output; only with labels."""
        return load_decoding(self.folder / DECODING)

    def count_host(self) -> dict[str, int]:
        """Return the multiply-accumulates of the decoding."""
        products = self.decoding.products
        return {"decoding": products} if products else {}

    @property
    def refusal(self) -> str:
        """Why the network is not trained here, with the cure."""
        return (
            "an imported network is not trained here; to go on with its weights, write a task "
            "(neuro new FILE) whose model is Net(load_graph("
            f"{str(self.folder / NETWORK)!r})), of neuro.nn.net and neuro.io.graph_file"
        )

    def refuse(self, *_: object) -> NoReturn:
        """Raise a RunError: an imported network cannot be trained."""
        raise RunError(self.refusal)

    def build(self, _: ImportConfig) -> nn.Module:
        """Return the network as a module in float64."""
        return Net(unroll_delays(self.graph).graph).double()

    def iterate_batches(self, _: ImportConfig, __: Split, ___: int) -> Iterator[Tree]:
        """Yield (values by input T B *N, labels B or nothing), the same for every split."""
        labels = self.stimulus.labels
        for some, inputs in split_samples(self.graph, self.stimulus):
            values = {name: torch.from_numpy(x) for name, x in inputs.items()}
            yield values, () if labels is None else torch.from_numpy(labels[some])

    def iterate_stimuli(
        self, config: ImportConfig, _: nn.Module, split: Split
    ) -> Iterator[Stimulus]:
        """Yield the batches of :meth:`iterate_batches` as stimuli."""
        for inputs, labels in self.iterate_batches(config, split, 0):
            yield Stimulus(inputs, labels)

    def decode(self, _: ImportConfig, __: nn.Module, outputs: Mapping[str, Tensor]) -> Tree:
        """Return the answer to each sample; without labels, the mean of each output."""
        if self.stimulus.labels is None:
            return {name: y.mean(0) for name, y in outputs.items()}
        (y,) = outputs.values()
        return torch.from_numpy(self.decoding.score(y.cpu()).argmax(1))

    def measure(self, _: ImportConfig, answers: Tree, labels: Tree) -> dict[str, float]:
        """Return the share of correct answers, if there are labels."""
        if self.stimulus.labels is None:
            return {}
        return {"accuracy": int((answers == labels).sum()) / len(labels)}

    def describe(self, _: ImportConfig, answers: Tree, labels: Tree) -> list[str]:
        """Return "label → answer" per sample, if there are labels."""
        if self.stimulus.labels is None:
            return []
        return [
            f"{true} → {answer}" + "  ✗" * (true != answer)
            for true, answer in zip(labels.tolist(), answers.tolist(), strict=True)
        ]

    @torch.no_grad()
    def evaluate(self, run: Run, model: nn.Module) -> Findings:
        """Return rates and output values, and with labels accuracy and confusion matrix."""
        graph, stimulus = self.graph, self.stimulus
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        spikes = dict.fromkeys(graph.firing, 0.0)
        values: dict[str, list[Tensor]] = {name: [] for name in graph.readouts}
        scores = []
        for inputs, _ in track_test(self.iterate_batches(run.config, "test", 0)):
            activity, _ = model({name: x.to(device) for name, x in inputs.items()})
            for name in spikes:
                spikes[name] += float(activity[name].sum())
            for name, kept in values.items():
                y = activity[name].cpu()
                kept.append(torch.stack([y.min(), y.sum() / graph.size(name), y.max()]))
            if stimulus.labels is not None:
                scores.append(self.decoding.score(activity[graph.outputs[0]].cpu()))
        ticks = stimulus.ticks * stimulus.samples
        neurons = sum(map(graph.size, spikes))
        rate = {"firing_rate": sum(spikes.values()) / (neurons * ticks)} if neurons else {}
        tables = [_tabulate_rates(graph, spikes, stimulus), *_tabulate_values(values, stimulus)]
        if stimulus.labels is None:
            names = [f"sample {k + 1}" for k in range(stimulus.samples)]
            pictures = [self._draw(run, names)]
            return Findings(values=rate, n=stimulus.samples, tables=tables, pictures=pictures)
        found, facts = judge_scores(all_scores := np.concatenate(scores), stimulus.labels)
        given, true = map(torch.from_numpy, (all_scores.argmax(1), stimulus.labels))
        return Findings(
            values={**found, **rate},
            n=stimulus.samples,
            counted=count_ties(facts["tied"]),
            facts=facts,
            tables=tables,
            pictures=[self._draw(run, self.describe(run.config, given, true))],
            beside=self.score_beside(stimulus.labels),
        )

    def score_beside(self, labels: np.ndarray) -> dict[str, dict[str, float]]:
        """Return the accuracy of baselines, and of the ANN that was converted."""
        beside = score_others(self.stimulus.inputs, labels)
        if conversion := self.facts.get("conversion"):
            beside["the ANN"] = {"accuracy": conversion["ann"]}
        return beside

    def _draw(self, run: Run, titles: Sequence[str]) -> Picture:
        """Draw the first samples; of several inputs, all values in one raster."""
        _, inputs = next(split_samples(self.graph, self.stimulus))
        x, *others = map(torch.from_numpy, inputs.values())
        if others:
            x = torch.cat([each.flatten(2) for each in (x, *others)], 2)
        return draw_samples(run, x, torch.empty(0), titles)


def score_others(
    inputs: Mapping[str, np.ndarray], labels: np.ndarray
) -> dict[str, dict[str, float]]:
    """Return the accuracy of the most frequent label and of the nearest mean, by name.

    Each sample is left out of the mean of its own class, a mean over the ticks. inputs: T B *N.
    """
    x = np.concatenate([v.mean(0).reshape(len(labels), -1) for v in inputs.values()], 1)
    _, own, count = np.unique(labels, return_inverse=True, return_counts=True)
    gaps = [np.square(x - x[own == k].mean(0)).sum(1) for k in range(len(count))]
    of_all, each, n = np.stack(gaps, 1), np.arange(len(own)), count[own]
    without = of_all[each, own] * (n / (n - 1).clip(1)) ** 2  # the mean moves away from it
    of_all[each, own] = np.where(n > 1, without, np.inf)
    shares = {
        "most frequent label": count.max() / len(own),
        "nearest mean of the other samples": (of_all.argmin(1) == own).mean(),
    }
    return {name: {ACCURACY.name: float(share)} for name, share in shares.items()}


def judge_scores(
    scores: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return (accuracy by its name, facts for ``eval.json``) of scores B K.

    tied: number of samples in which several neurons have the highest score.
    """
    classes = scores.shape[1]
    answers = scores.argmax(1)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, answers), 1)
    tied = int(((scores == scores.max(1, keepdims=True)).sum(1) > 1).sum())
    correct = int(confusion.trace())
    facts = {
        "correct": correct,
        "classes": [str(k) for k in range(classes)],
        "confusion": confusion.tolist(),
        "tied": tied,
    }
    return {"accuracy": correct / len(labels)}, facts


def _tabulate_rates(
    graph: Graph, spikes: Mapping[str, float], stimulus: ImportedStimulus
) -> Table:
    """Return the spikes and rates of each population as a table."""
    rows = []
    for name, count in spikes.items():
        rate = count / (graph.size(name) * stimulus.ticks * stimulus.samples)
        per_sample = count / stimulus.samples
        rows.append([name, graph.size(name), per_sample, rate, rate / graph.dt])
    return Table(
        title="Firing rates",
        head=["population", "neurons", "spikes a sample", "spikes a tick", "Hz"],
        rows=rows,
        caption="Spikes a tick: of one neuron, mean over neurons, ticks and samples; in Hz "
        f"with the tick of {graph.dt:g} s.",
    )


def _tabulate_values(
    values: Mapping[str, list[Tensor]], stimulus: ImportedStimulus
) -> list[Table]:
    """Return a table with the range of each read-out; no table without read-outs.

    values: per batch (lowest, mean over neurons summed over ticks and samples, highest).
    """
    rows = []
    for name, batches in values.items():
        low, total, high = torch.stack(batches).unbind(1)
        mean = float(total.sum()) / (stimulus.ticks * stimulus.samples)
        rows.append([name, float(low.min()), mean, float(high.max())])
    if not rows:
        return []
    return [Table(title="Read-outs", head=["read-out", "lowest", "mean", "highest"], rows=rows)]

"""The experiments of ``neuro bench attribution``: probes behind one language model per seed.

The primary metrics, fixed before any training, are the total variation to the true shares of
composed documents (T1), in "causes" the linear datamodeling score (LDS) to the values of
retrained language models (T3), and in "outside" the AUROC of unseen documents. Every method
is compared with the n-gram on the text alone, and every detector of foreign documents with k-NN
on the same states, which is the filter without its contrast. The AUROC of 500 protected and 300
foreign documents has a standard deviation of about 0.02 over seeds.

In "causes" all seeds share the authors and the documents, so that the values of the language
models can be averaged. In the other parts each seed has its own authors and documents. The
authors differ by delta 0.6, or by less (0.3) or more (0.9).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from rich.table import Table
from torch import Tensor, nn

from neuro.io.run_folder import RunError
from neuro.training import Plan
from tasks.attribution.answers import (
    answer_by_neighbours,
    answer_by_probe,
    require_learned,
)
from tasks.attribution.causes import EpochModel, score_gradients
from tasks.attribution.config import Arm, AttributionConfig, four, tiny
from tasks.attribution.deployment import count_costs
from tasks.attribution.detectors import continue_text
from tasks.attribution.documents import Documents, load
from tasks.attribution.evaluate import ECE, GAP, JSD, OUTSIDE, RANKS, TV, TV_ORACLE
from tasks.attribution.model import (
    SourceModel,
    compute_log_likelihood,
    make_lm,
    require_attribution,
)
from tasks.attribution.retrain import drop_one, list_subsets, retrain_with_checkpoints
from tasks.attribution.task import TASK, choose_plan, put_lm
from tasks.attribution.truths import (
    AGAINST_CAUSES,
    SeedAnswers,
    judge_seeds,
    load_asked,
    measure_named,
)
from tasks.bench.experiment import (
    Experiment,
    Reached,
    Runs,
    Variants,
    tabulate,
    train_as_task,
)
from tasks.bench.rows import Row
from tasks.runs.task import ACCURACY, Metric, TaskRun, as_json
from tasks.runs.trained_run import load_trained_model

PROBES: Mapping[str, Arm] = {
    "attention, LSTM (CopyLens)": "inner_probe",
    "gated unit, LSTM": "unit",
    "residual, LSTM": "residual",
    "attention, mean": "mean",
    "last attention, LSTM": "last",
    "attention, uniqueness": "uniqueness",
    "initial weights, LSTM": "random_lm",
    "permuted labels": "permuted",
    "events, adaptive spiking": "alif",
}
TITLES = {arm: title for title, arm in PROBES.items()}
FIRST: Arm = "inner_probe"  # its runs also keep the answers of methods that need no training
OF_INNOCENT = (FIRST, "unit", "mean")  # arms that also read models that never saw a corpus
AGAINST_TEXT = (TV, ACCURACY, TV_ORACLE, JSD, RANKS, ECE, GAP)
DETECTION = (
    Metric(name="auroc", format=".3f"),
    Metric(name="aupr", format=".3f"),
    Metric(name="fpr95", better="lower", format=".3f"),
    GAP,
)
SAID = "said.json"  # in a run folder
NEIGHBOURS = "k-NN"

# Authors of different size, so that their effects differ; the free one teaches what all share.
FOUR = replace(four(), documents=6000, shares=(0.25, 0.2, 0.15, 0.1, 0.3))
SMALL = replace(
    tiny(),
    delta=2.0,
    vocabulary=8,
    tokens=32,
    protected=2,
    documents=500,
    held_out=60,
    train=80,
    val=40,
    test=40,
    composed=20,
    outside=10,
    width=24,
    hidden=24,
    batch=10,
    epochs=1,
    probe_width=8,
)
SMALL_OUTSIDE = replace(  # an untrained language model: a trained one would be refused
    tiny(),
    arm="random_lm",
    vocabulary=8,
    tokens=16,
    width=16,
    hidden=16,
    documents=400,
    held_out=60,
    train=80,
    val=20,
    test=40,
    composed=10,
    outside=30,
    epochs=1,
    probe_width=8,
)


def list_experiments(quick: bool) -> Mapping[str, Experiment]:
    """Return the experiments by part. quick: trainings too short to judge."""
    probes = {title: arm for title, arm in PROBES.items() if not quick or arm in OF_INNOCENT}

    def make(title: str, config: AttributionConfig, seeds: int) -> Experiment:
        base = SMALL if quick else config
        return Experiment(
            title=title,
            run="attribution:four",
            arms={title: replace(base, arm=arm) for title, arm in probes.items()},
            seeds=tuple(range(1 if quick else seeds)),
            seed_fields=("seed_of_data", "seed_of_lm"),
            baseline="n-gram",
            metrics=AGAINST_TEXT,
            measures=keep_answers,
            together=judge_runs,
            costs=count_cost,
            train=train_probe,
        )

    causes = make("every subset retrained", FOUR, 6)
    return {
        "causes": replace(
            causes,
            seeds=(0, 1) if quick else causes.seeds,
            seed_fields=("seed_of_lm",),
            metrics=AGAINST_CAUSES,
            tabulate=tabulate_shares,
            measures=partial(keep_causes, sampled=20 if quick else 200),
        ),
        "answers": make("other authors a seed", FOUR, 6),
        "near": make("authors that differ less", replace(FOUR, delta=0.3), 3),
        "far": make("authors that differ more", replace(FOUR, delta=0.9), 3),
        "outside": Experiment(
            title="documents from outside",
            run="attribution:four",
            arms={TITLES[FIRST]: SMALL_OUTSIDE if quick else four()},
            seeds=(0, 1) if quick else tuple(range(8)),
            seed_fields=("seed_of_data", "seed_of_lm"),
            baseline=NEIGHBOURS,
            metrics=DETECTION,
            together=list_detectors,
            train=train_probe,
        ),
    }


def read_lm(
    config: AttributionConfig, subset: int | None = None
) -> tuple[SourceModel, list[EpochModel]]:
    """Return the language model of a subset of corpora (None: all) and its checkpoints."""
    whole = 2**config.protected - 1
    return _retrain(replace(config, arm="lm"), whole if subset is None else subset)


@lru_cache(maxsize=64)  # the models of a few seeds, which all arms of a seed read
def _retrain(config: AttributionConfig, subset: int) -> tuple[SourceModel, list[EpochModel]]:
    held = list_subsets(config.protected)[subset]
    return retrain_with_checkpoints(config, held, config.seed_of_lm)


def train_probe(run: TaskRun) -> bool:
    """Train a probe behind the language model of its seed; return True if it diverged.

    Raises:
        RunError: the language model has not learned its corpora.
    """
    config = run.config
    if not config.reads_trained_lm:
        return train_behind(run, make_lm(config, config.seed_of_lm))
    lm, _ = read_lm(config)
    require_learned(config, lm)
    return train_behind(run, lm)


def train_behind(run: TaskRun, lm: SourceModel) -> bool:
    """Train a probe behind a given language model, keep its last weights; True: diverged."""

    def begin(config: AttributionConfig, model: nn.Module) -> None:
        put_lm(config, require_attribution(model), lm)

    def plan(config: AttributionConfig) -> Plan:
        return replace(choose_plan(config), keep="last")

    training = replace(TASK.training, earlier=None, begin=begin, plan=plan)
    return train_as_task(replace(run, definition=replace(TASK, training=training)))


def keep_answers(run: TaskRun) -> Variants:
    """Write a probe's answers; the first arm adds the methods that read its language model."""
    _write_said(run, torch.empty(run.config.tokens, 0, dtype=torch.int64), {})
    return {"": {}}


def keep_causes(run: TaskRun, sampled: int) -> Variants:
    """Write the answers, and how often they name a corpus that the language model never read.

    The first arm adds log p of the documents under the language models of all subsets.
    sampled: number of further documents, which the language model of seed 0 generates.
    """
    config, further = run.config, dict[str, Any]()
    drawn = draw_samples(replace(config, arm="lm", seed_of_lm=0), sampled)
    if config.arm == FIRST:
        asked, subsets = load_asked(config, drawn), range(2**config.protected)
        values = [compute_log_likelihood(read_lm(config, s)[0], asked) for s in subsets]
        further["log_p"] = torch.stack(values).tolist()
    if config.arm in OF_INNOCENT:
        further["innocent"] = name_innocents(run)
    _write_said(run, drawn, further)
    return {"": {}}


def _write_said(
    run: TaskRun, sampled: Int64[Tensor, "T n"], further: Mapping[str, Any]
) -> None:
    said = ask_methods(run, load_asked(run.config, sampled), *read_lm(run.config))
    rows = {name: rows.tolist() for name, rows in said.items()}
    run.write(SAID, {"rows": rows, "sampled": sampled.tolist(), **further})


@cache
def draw_samples(config: AttributionConfig, documents: int) -> Int64[Tensor, "T n"]:
    """Return documents that the language model of all corpora generates without a prompt."""
    prompt = torch.empty(0, documents, dtype=torch.int64)
    drawn = torch.Generator().manual_seed(config.seed_of_lm)
    return continue_text(read_lm(config)[0], prompt, config.tokens, drawn)


def ask_methods(
    run: TaskRun, asked: Documents, lm: SourceModel, checkpoints: list[EpochModel]
) -> dict[str, Float64[np.ndarray, "N K"]]:
    """Return the answers of a probe; the first arm adds the methods that read its model."""
    config, model = run.config, load_trained_model(run)
    said = {TITLES[config.arm]: answer_by_probe(model, asked).pure}
    if config.arm == FIRST:
        said |= score_gradients(config, lm, checkpoints, asked.tokens)
        said[NEIGHBOURS] = answer_by_neighbours(config, lm, asked).pure
    return said


def name_innocents(run: TaskRun) -> dict[str, float]:
    """Return how often each method names a corpus that its language model never read.

    A language model is retrained without corpus k and asked about the documents of k. Values
    are means over the corpora.

    Raises:
        RunError: the training of a probe has diverged.
    """
    config, rates = run.config, dict[str, list[float]]()
    test = load(config, "test")
    for k, subset in enumerate(drop_one(config.protected)):
        lm, checkpoints = read_lm(config, subset)
        with TemporaryDirectory() as folder:
            other = replace(run, folder=Path(folder))
            if train_behind(other, lm):
                raise RunError(f"{run.folder}: the training without corpus {k} has diverged")
            said = ask_methods(other, test.select(test.labels == k), lm, checkpoints)
        for name, rows in said.items():
            rates.setdefault(name, []).append(measure_named(rows, k))
    return {name: float(np.mean(own)) for name, own in rates.items()}


def judge_runs(runs: Runs) -> Mapping[str, Reached]:
    """Return the metrics of all methods of all seeds."""
    seeds = {seed: [r for (_, of), r in runs.items() if of == seed] for _, seed in runs}
    return {"": judge_seeds({seed: read_answers(own) for seed, own in seeds.items()})}


def read_answers(runs: list[TaskRun]) -> SeedAnswers:
    """Return the answers that the runs of a seed have written; the first run is of FIRST."""
    said = [run.read(SAID) for run in runs]
    first, config = said[0], runs[0].config
    return SeedAnswers(
        config=config,
        rows={name: np.array(rows) for own in said for name, rows in own["rows"].items()},
        innocent={name: x for own in said for name, x in own.get("innocent", {}).items()},
        sampled=torch.tensor(first["sampled"], dtype=torch.int64),
        log_p=np.array(first["log_p"]) if "log_p" in first else None,
    )


def list_detectors(runs: Runs) -> Mapping[str, Reached]:
    """Return the metrics of each detector, by kind of foreign documents."""
    out: dict[str, Reached] = {}
    for (_, seed), run in runs.items():
        result = run.read("eval.json")
        for name, kinds in result[OUTSIDE].items():
            for kind, found in kinds.items():
                own = out.setdefault(kind, {}).setdefault(name, {})
                for metric in DETECTION:
                    value = {**result, **found}[metric.name]
                    own.setdefault(metric.name, {})[seed] = value
    return out


def count_cost(config: AttributionConfig, _: Mapping[str, float]) -> dict[str, int]:
    """Return the costs of a probe; ``eval.json`` also holds those of its language model."""
    cost = count_costs(config)["probe"]
    return {
        "parameters": cost.parameters,
        "MACs a document": cost.macs,
        "documents read": cost.documents,
    }


def tabulate_shares(rows: list[Row]) -> Iterator[Table]:
    """Yield the table of shares for a part that is judged by another metric."""
    about = {"metrics": as_json(AGAINST_TEXT), "compared": {}, "cost": {}}
    yield from tabulate(
        "",
        [
            replace(row, case=f"{row.case}, shares", conditions={**row.conditions, **about})
            for row in rows
            if TV.name in row.conditions["reached"]
        ],
    )

"""How a run of the bench is trained, which metrics it gets, and what it costs.

All arms of a seed begin with the same weights, see the same batches, and share the seed's
teacher. A process trains the teacher once; its initial weights depend only on the seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.energy import count
from neuro.nn import replay
from neuro.nn.layers import Stack
from neuro.nn.trace import trace
from neuro.spikes import to_events
from tasks.bench.experiment import Experiment, Variants, name_folder, train_as_task
from tasks.bench.rows import Row
from tasks.forecasting.baselines import list_baselines
from tasks.forecasting.config import ForecastConfig, ann
from tasks.forecasting.data import Batch, batches, prepare
from tasks.forecasting.evaluate import measure
from tasks.forecasting.network import (
    ask_teacher,
    build_student,
    build_teacher,
    measure_divergence,
)
from tasks.forecasting.seizures import SeizureConfig
from tasks.forecasting.task import TASK, loss
from tasks.forecasting.teacher import make_teacher_training
from tasks.measures.earlier import train_alone
from tasks.runs.task import Metric, TaskRun
from tasks.runs.trained_run import load_trained_model

Change = Mapping[str, Any]  # fields of a configuration
LABELS = "labels alone"  # the baseline that all other arms are compared with
WIDE = 1e12  # placeholder of a sigma that is known once the teachers of all seeds are trained
OPERATIONS = Metric(name="synaptic_operations", better="lower", format=",.0f")  # additions
UPDATES = Metric(name="updates", format=".1%")  # share of windows on which a teacher teaches
SIGMA = Metric(name="sigma", format=".2f")  # of a smoothing that is as wide as the teacher
TEACHER = "by the teacher, which sees later"
SHARES = "updates.json"  # in a run folder: the share of updates
OF_STUDENT = ("arm", "alpha", "temperature", "sigma", "surprise", "target")
APART = 1_000_000  # distance from the seed of a student's weights to the seed of its teacher's


def list_arms(settings: Mapping[str, Any], changes: Mapping[str, Change]) -> dict[str, Any]:
    """Return the configuration of each arm in each setting, under "setting: arm"."""
    return {
        f"{name}: {arm}": replace(config, **change)
        for name, config in settings.items()
        for arm, change in changes.items()
    }


def make_experiment(arms: Mapping[str, Any], seeds: tuple[int, ...], **rest: Any) -> Experiment:
    """Return an experiment that compares each arm with labels alone in the same setting."""
    plain = {arm: f"{arm.partition(': ')[0]}: {LABELS}" for arm in arms}
    common: dict[str, Any] = {
        "seeds": seeds,
        "seed_fields": ("seed_of_data",),
        "beside": {arm: (peer,) for arm, peer in plain.items() if peer in {*arms} - {arm}},
        "train": partial(train_forecaster, seeds),
        "measures": measure_run,
        "costs": count_cost,
    }
    return Experiment(arms=arms, **{**common, **rest})


def make_finding(
    name: str, sides: tuple[str, str], values: tuple[float, float], note: str
) -> Row:
    """Return a finding about an arm and its peer as a row. values: one of each."""
    return Row(
        case=f"finding: {name}",
        subject=sides[0],
        peer=sides[1],
        unit="settings",
        ours=values[0],
        theirs=values[1],
        ratio=None,
        note=f"{name}: {note}",
    )


def train_teacher(config: ForecastConfig, seed: int) -> Stack:
    """Return the trained teacher of a seed's students; it does not depend on their arm.

    Spiking students of a series share the teacher of their twins without spikes.
    """
    if config.cells != "tanh" and not isinstance(config, SeizureConfig):
        config = ann(config)
    default: Any = {f.name: f.default for f in fields(config) if f.name in OF_STUDENT}
    return _train_teacher(replace(config, **default), seed + APART)


@lru_cache(maxsize=256)
def _train_teacher(config: ForecastConfig, seed: int) -> Stack:
    with seeded(seed):
        teacher = build_teacher(config)
    stage = make_teacher_training(config, teacher)
    stage.finish(train_alone(stage))
    return teacher.requires_grad_(False)


def train_forecaster(seeds: Sequence[int], run: TaskRun) -> bool:
    """Train a run of an arm with its seed's teacher; return True if it diverged.

    seeds: of all runs of the arm. The share of updates is counted over a whole training, so an
    interrupted training starts again if updates are counted.
    """
    config, shares = run.config, list[float]()
    if config.sigma == WIDE:
        config = replace(config, sigma=measure_width(config, seeds))

    def begin(_: ForecastConfig, model: Any) -> None:
        if model.teacher is not None:
            model.teacher.load_state_dict(train_teacher(config, run.seed).state_dict())

    def count_updates(_: ForecastConfig, model: nn.Module, batch: Batch, at: float) -> Tensor:
        x, later = batch[0], batch[2]
        with torch.no_grad():
            taught, scores = ask_teacher(train_teacher(config, run.seed), later), model(x)[0]
        seen = measure_divergence(taught, scores[-1], config.temperature)
        shares.append(float((seen > config.surprise).double().mean()))
        return loss(config, model, batch, at)

    training = replace(TASK.training, earlier=None, begin=begin)
    if config.surprise:
        training = replace(training, loss=count_updates)
        if not (run.folder / SHARES).exists():
            for file in run.folder.glob("*.safetensors"):
                file.unlink()
    definition = replace(TASK, training=training)
    has_diverged = train_as_task(replace(run, config=config, definition=definition))
    if shares:
        run.write(SHARES, float(np.mean(shares)))
    return has_diverged


def measure_width(config: ForecastConfig, seeds: Sequence[int]) -> float:
    """Return the mean width [bins] of the teachers' answers, over windows and seeds.

    The width of an answer is the standard deviation of its distribution.
    """
    each = [replace(config, seed_of_data=seed) for seed in seeds]
    later = [torch.from_numpy(prepare(own).windows["train"].later) for own in each]
    teachers = [*map(train_teacher, each, seeds)]
    p = torch.cat([*map(ask_teacher, teachers, later)]).double().softmax(-1)
    bins = torch.arange(p.shape[-1], dtype=p.dtype)
    mean = (p * bins).sum(-1, keepdim=True)
    return float((p * (bins - mean).square()).sum(-1).sqrt().mean())


def measure_run(run: TaskRun) -> Variants:
    """Return the metrics that the evaluation of a run lacks, and variants of labels alone.

    The variants are the teacher, on its own windows, and the baselines: they belong to labels
    alone because they learn from labels only.
    """
    config: ForecastConfig = run.config
    values = {UPDATES.name: run.read(SHARES) if config.surprise else float(config.taught)}
    if config.sigma != ForecastConfig.sigma:  # the training has put a measured sigma in
        values[SIGMA.name] = config.sigma
    if config.cells != "tanh":
        values[OPERATIONS.name] = count_synaptic_operations(config, load_trained_model(run))
    found: dict[str, Mapping[str, float]] = {"": values}
    if not run.folder.parent.name.endswith(name_folder(LABELS)):
        return found
    prepared = prepare(config)
    part, truth = prepared.teaching["test"], prepared.windows["test"].labels
    scores = train_teacher(config, run.seed)(torch.from_numpy(part.own)[None])[0][-1]
    found[TEACHER] = measure(config, scores, torch.from_numpy(part.labels))
    if not isinstance(config, SeizureConfig):
        for name, answers in list_baselines(prepared).items():
            found[f"by {name}"] = {"mse": float(np.mean((answers - truth) ** 2))}
    return found


@torch.no_grad()
def count_synaptic_operations(config: ForecastConfig, model: Any) -> float:
    """Return the additions per window as NeuroBench counts them.

    The count is spikes times fan-out, as a mean over the first test batch.
    """
    x, labels, _ = next(batches(config, "test", 0))
    graph = trace(model.student, tuple(x.shape[2:]))
    counts = count(graph, replay(graph, {"input": to_events(x)}))
    return sum(own.synaptic_events for own in counts.values()) / len(labels)


def count_cost(config: ForecastConfig, means: Mapping[str, float]) -> dict[str, int]:
    """Return the cost of a student's training; {} for teacher and baselines.

    parameters: of the student.
    MACs: of one answer; a spiking student adds only, so it has none.
    samples: windows that the student sees in training.
    calls: batches answered in training by the student and by the teacher, including the
        teacher's own training.
    """
    if UPDATES.name not in means:
        return {}
    student, prepared = build_student(config), prepare(config)
    dense = [m for m in student.modules() if isinstance(m, nn.Linear)]
    steps = len(prepared.windows["train"].labels) // config.batch * config.epochs
    own = len(prepared.teaching["train"].labels) // config.batch * config.teacher_epochs
    has_teacher = config.taught or config.sigma == WIDE
    return {
        "parameters": sum(p.numel() for p in student.parameters()),
        "MACs": sum(m.weight.numel() for m in dense) if config.cells == "tanh" else 0,
        "samples": steps * config.batch,
        "calls": steps + steps * config.taught + own * has_teacher,
    }

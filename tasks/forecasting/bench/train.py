"""Training of all arms of a setting, the seeds side by side; finished settings are kept.

Teachers are trained once for each seed, and all arms of that seed begin at the same weights and
see the same batches. Each network keeps the weights of its best validation.

Training of the spiking students of the bench, one by one, and what an answer costs them.
"""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from neuro.base.seeds import seeded
from neuro.energy import count
from neuro.nn import replay
from neuro.nn.layers import Stack
from neuro.nn.trace import trace
from neuro.spikes import to_events
from neuro.training import Course, fit, get_best_weights_path, load_weights
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.forecasting.baselines import list_baselines
from tasks.forecasting.bench.settings import (
    AS_WIDE,
    TWIN,
    ForecastScale,
    ForecastSetting,
    Part,
    list_arms,
    list_seeds,
    make_config,
)
from tasks.forecasting.config import ForecastConfig
from tasks.forecasting.data import batches, count_steps, prepare, shuffle_windows
from tasks.forecasting.ensemble import (
    StackedWindows,
    ask_teachers,
    run_networks,
    stack_weights,
    stack_windows,
    train_networks,
    train_teachers,
)
from tasks.forecasting.evaluate import measure, score_split, validate
from tasks.forecasting.network import (
    GuidedForecaster,
    build_student,
    build_teacher,
    compute_loss,
    measure_divergence,
)
from tasks.forecasting.task import TASK, loss
from tasks.runs.task import Split

OPERATIONS = "synaptic_operations"  # of a window, as NeuroBench counts them: additions


def train_spiking(config: ForecastConfig, teacher: Stack) -> dict[str, float]:
    """Return the metrics of a spiking student on the test split, and its operations.

    The teacher is trained already. The seed is that of the series.
    """
    with seeded(config.seed_of_data):
        student = build_student(config)
    train_student(config, student, teacher)
    model = GuidedForecaster(student, None)
    values = measure(config, *score_split(config, model, "test"))
    return {**values, OPERATIONS: count_synaptic_operations(config, model)}


def train_student(config: ForecastConfig, student: Stack, teacher: Stack) -> None:
    """Train a student by a trained teacher; it keeps the weights of its best validation."""
    model = GuidedForecaster(student, teacher if config.taught else None)

    def compute(net: nn.Module, batch: tuple[Tensor, Tensor, Tensor], at: float) -> Tensor:
        return loss(config, net, batch, at)

    course = Course(
        batches=lambda epoch: batches(config, "train", epoch),
        steps=count_steps(config),
        loss=compute,
        validate=lambda net: validate(config, net),
        better="lower",
        seed=config.seed_of_data,
        batch_axis=TASK.training.batch_axis,
    )
    with TemporaryDirectory() as folder:
        fabric = Fabric(accelerator="cpu", devices=1)
        fit(model, course, TASK.training.plan(config), fabric, Path(folder))
        load_weights(get_best_weights_path(Path(folder)), model)
    model.eval()


@torch.no_grad()
def count_synaptic_operations(config: ForecastConfig, model: GuidedForecaster) -> float:
    """Return the additions of a window: spikes times fan-out, mean of the first test batch."""
    x, labels, _ = next(batches(config, "test", 0))
    graph = trace(model.student, tuple(x.shape[2:]))
    counts = count(graph, replay(graph, {"input": to_events(x)}))
    return sum(own.synaptic_events for own in counts.values()) / len(labels)


FILE = "forecasting-settings.jsonl"  # beside the figures
SECONDS = "cpu_seconds"
UPDATES = "updates"  # share of the windows in training on which the teacher teaches
SIGMA = "sigma"  # of a smoothing that is as wide as the teacher
TEACHER = "teacher, which sees later"
Reached = dict[str, dict[str, list[float]]]  # by arm and metric, one value a seed
Found = dict[ForecastSetting, Reached]


def train_setting(setting: ForecastSetting, scale: ForecastScale) -> Reached:
    """Return what every arm, the teacher and the baselines reach on the test split.

    cpu_seconds are those of all seeds of an arm together, without the teacher's.
    """
    seeds = list_seeds(setting, scale)
    plain = [make_config(setting, scale, TWIN, seed) for seed in seeds]
    teachers, found = list[Stack](), Reached()
    with limit_threads(1):
        for config in plain:
            with seeded(config.seed_of_data + 1_000_000):
                teachers.append(build_teacher(config))
        begin = time.process_time()
        train_teachers(teachers, plain)
        found[TEACHER] = _measure_all(teachers, plain, later=True)
        found[TEACHER][SECONDS] = [time.process_time() - begin]
        for arm in list_arms(setting):
            configs = [make_config(setting, scale, arm, seed) for seed in seeds]
            if arm == AS_WIDE:
                sigma = measure_width(teachers, plain)
                configs = [replace(config, sigma=sigma) for config in configs]
            found[arm] = _train_arm(configs, teachers)
            if arm == AS_WIDE:
                found[arm][SIGMA] = [sigma]
        if setting.cells != "tanh":
            found[TWIN] = _train_arm(plain, teachers)
    for config in plain:
        prepared = prepare(config)
        truth = prepared.windows["test"].labels
        for name, answers in list_baselines(prepared).items():
            own = found.setdefault(name, {"mse": []})
            own["mse"].append(float(np.mean((answers - truth) ** 2)))
    return found


def _train_arm(
    configs: Sequence[ForecastConfig], teachers: Sequence[Stack]
) -> dict[str, list[float]]:
    """Return what the students of an arm reach, one of each seed."""
    begin = time.process_time()
    if configs[0].cells == "tanh":
        values = _train_dense(configs, teachers)
    else:
        each = [train_spiking(c, t) for c, t in zip(configs, teachers, strict=True)]
        values = {name: [own[name] for own in each] for name in each[0]}
    return {**values, SECONDS: [time.process_time() - begin]}


def _train_dense(
    configs: Sequence[ForecastConfig], teachers: Sequence[Stack]
) -> dict[str, list[float]]:
    """Train students without spikes side by side, and measure them."""
    students = list[nn.Module]()
    for config in configs:
        with seeded(config.seed_of_data):
            students.append(build_student(config))
    shares = train_students(students, configs, teachers)
    return {**_measure_all(students, configs), **({UPDATES: shares} if shares else {})}


def train_students(
    students: Sequence[nn.Module],
    configs: Sequence[ForecastConfig],
    teachers: Sequence[nn.Module],
) -> list[float]:
    """Train students without spikes side by side, each by its own trained teacher.

    configs: those of an arm, which differ in ``seed_of_data`` alone. Return for each the share
    of the windows on which the teacher teaches; nothing where every one does.
    """
    own, val = (stack_windows(configs, split) for split in ("train", "val"))
    taught = ask_teachers(teachers, configs) if configs[0].taught else None

    def order(epoch: int) -> StackedWindows:
        """Return the windows of an epoch; a shuffled teacher answers for another window."""
        if taught is None or configs[0].arm != "shuffled":
            return StackedWindows(x=own.x, labels=own.labels, taught=taught)
        count = own.labels.shape[1]
        others = [torch.from_numpy(shuffle_windows(c, count, epoch)) for c in configs]
        moved = torch.stack([answers[k] for answers, k in zip(taught, others, strict=True)])
        return StackedWindows(x=own.x, labels=own.labels, taught=moved)

    shares = list[Tensor]()

    def teach(scores: Tensor, labels: Tensor, answers: Tensor | None) -> Tensor:
        if answers is not None and configs[0].surprise:
            seen = measure_divergence(answers, scores.detach(), configs[0].temperature)
            shares.append((seen > configs[0].surprise).double().mean(-1))
        return compute_loss(configs[0], scores, labels, answers)

    train_networks(students, configs, order, val, teach, configs[0].epochs)
    return torch.stack(shares).mean(0).tolist() if shares else []


def measure_width(teachers: Sequence[nn.Module], configs: Sequence[ForecastConfig]) -> float:
    """Return the standard deviation [bins] of a teacher's answer, over windows and teachers."""
    p = ask_teachers(teachers, configs).double().softmax(-1)
    bins = torch.arange(p.shape[-1], dtype=p.dtype)
    mean = (p * bins).sum(-1, keepdim=True)
    return float((p * (bins - mean).square()).sum(-1).sqrt().mean())


@torch.no_grad()
def _measure_all(
    networks: Sequence[nn.Module], configs: Sequence[ForecastConfig], later: bool = False
) -> dict[str, list[float]]:
    """Return each metric on the test split, one value a network."""
    split: Split = "test"
    windows = stack_windows(configs, split, later)
    scores = run_networks(stack_weights(networks), windows.x)
    each = [
        measure(config, own, labels)
        for config, own, labels in zip(configs, scores, windows.labels, strict=True)
    ]
    return {name: [values[name] for values in each] for name in each[0]}


def count_cost(setting: ForecastSetting, scale: ForecastScale, arm: str) -> dict[str, int]:
    """Return the cost of an arm, for one seed, see :func:`count_training`."""
    config = make_config(setting, scale, arm, scale.seeds[0])
    return count_training(config, config.taught or arm == AS_WIDE)


def count_training(config: ForecastConfig, has_teacher: bool) -> dict[str, int]:
    """Return the cost of a training. has_teacher: whether one is trained for it.

    parameters, macs: of the student, and of an answer of it; a spiking one adds, and has no
    macs. samples: windows that the student sees in training. calls: how often a network
    answers a batch in training: the student, and the teacher, also in its own training.
    """
    student = build_student(config)
    parameters = sum(p.numel() for p in student.parameters())
    dense = [m for m in student.modules() if isinstance(m, nn.Linear)]
    macs = sum(m.weight.numel() for m in dense) if config.cells == "tanh" else 0
    prepared = prepare(config)
    steps = len(prepared.windows["train"].labels) // config.batch
    students = steps * config.epochs
    teachers = steps * config.epochs if config.taught else 0
    if has_teacher:
        own = len(prepared.teaching["train"].labels) // config.batch
        teachers += own * config.teacher_epochs
    return {
        "parameters": parameters,
        "macs": macs,
        "samples": students * config.batch,
        "calls": students + teachers,
    }


def train_all(part: Part, scale: ForecastScale, folder: Path, workers: int) -> Found:
    """Return what the settings of a part reach; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
    """
    settings = {s: asdict(s) for s in scale.settings[part]}

    train = share_work(train_setting, workers, scale)
    return complete_results(folder / FILE, settings, Reached, train, describe(scale))


def describe(scale: ForecastScale) -> Mapping[str, Any]:
    """Return what the figures of all settings depend on, beside the code."""
    sizes = f"{scale.seeds} {scale.spiking_seeds} {scale.points} {scale.epochs}"
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {"scale": sizes, **versions}


def list_missing(part: Part, scale: ForecastScale, folder: Path) -> list[ForecastSetting]:
    """Return the settings of a part that are still to be trained."""
    settings = {s: asdict(s) for s in scale.settings[part]}
    return list_missing_results(folder / FILE, settings, describe(scale))

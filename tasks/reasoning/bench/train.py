"""Trainings of the bench; a finished one is a line of a file, and is not trained again."""

import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from joblib import Parallel, delayed
from lightning_fabric import Fabric

from neuro.seeds import seeded
from neuro.training import Course, fit, get_best_weights_path, load_weights
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results, make_key, read_results
from tasks.reasoning.answer import answer_split
from tasks.reasoning.batches import batches, count_steps
from tasks.reasoning.bench.settings import (
    Part,
    ReasoningScale,
    ReasoningSetting,
    list_settings,
    make_config,
    name_order,
)
from tasks.reasoning.config import LATENT, ORDERS, Order, ReasoningConfig
from tasks.reasoning.cost import count_macs, count_parameters
from tasks.reasoning.data import load
from tasks.reasoning.deployment import explain_only_torch
from tasks.reasoning.evaluate import ITERATIONS, measure_depths, measure_said, validate
from tasks.reasoning.fill import recall_questions
from tasks.reasoning.loop import measure_loops
from tasks.reasoning.loss import loss
from tasks.reasoning.model import ReasoningModel, build
from tasks.reasoning.task import make_plan
from tasks.runs.task import ACCURACY

FILE = "reasoning-settings.jsonl"  # beside the figures
SECONDS = "cpu_seconds"
STOPPED = "accuracy_without_thoughts"  # of the trained network
RECALLED = "questions_recalled"  # from their answers, by the last weights
# Of the same weights, in orders of filling other than the default.
IN_ORDER: Mapping[Order, str] = {order: f"{ACCURACY.name}_{order}" for order in ORDERS[1:]}
OF_DIFFUSION = ("order", "denoising_steps", "temperature", "mask_question")  # fields
EXIT, EXIT_DEPTH = "accuracy with an exit", "depth at the exit"
EXIT_KL = 5e-4  # nat, as published
Values = dict[str, float]
BySeed = dict[int, float]
Found = dict[str, dict[str, BySeed]]  # by arm and value


def train_config(config: ReasoningConfig) -> Values:
    """Return what a training reaches on the test split, by the weights of its best validation.

    Raises:
        TrainError: the training has diverged.
    """
    begin = time.process_time()
    with seeded(config.seed_of_data):
        model = build(config)
    course = Course(
        batches=lambda epoch: batches(config, "train", epoch),
        steps=count_steps(config),
        loss=lambda net, batch, at: loss(config, net, batch, at),
        validate=lambda net: validate(config, net),
        better="higher",
        seed=config.seed_of_data,
        batch_axis=1,
    )
    with limit_threads(1), TemporaryDirectory() as folder:
        fabric = Fabric(accelerator="cpu", devices=1)
        fit(model, course, make_plan(config), fabric, Path(folder))
        # Before the best weights: validation asks for answers, and may stay at 0.
        recalled = recall_questions(config, model) if config.arm == "diffusion" else None
        load_weights(get_best_weights_path(Path(folder)), model)
        values = measure_said(answer_split(config, model, "test"))
        if config.arm in LATENT and config.thoughts:
            stopped = measure_said(answer_split(config, model, "test", 0))
            values[STOPPED] = stopped[ACCURACY.name]
        if config.arm == "diffusion":
            for order, name in IN_ORDER.items():
                other = answer_split(replace(config, order=order), model, "test")
                values[name] = measure_said(other)[ACCURACY.name]
        if config.depth:
            values |= measure_recurrence(config, model)
    if recalled is not None:
        values[RECALLED] = recalled
    return {**values, SECONDS: time.process_time() - begin}


def measure_recurrence(config: ReasoningConfig, model: ReasoningModel) -> Values:
    """Return accuracies by iterations and with an exit; of a spiking core, its closed loops."""
    by_depth = measure_depths(config, model, answer_split(config, model, "test"))
    values = {name_depth(depth): found[ACCURACY.name] for depth, found in by_depth.items()}
    exiting = replace(config, exit_kl=EXIT_KL)
    deep = build(exiting)
    deep.load_state_dict(model.state_dict())
    found = measure_said(answer_split(exiting, deep, "test"))
    values |= {EXIT: found[ACCURACY.name], EXIT_DEPTH: found[ITERATIONS]}
    return values if explain_only_torch(config) else {**values, **measure_loops(exiting, deep)}


def name_depth(depth: int) -> str:
    """Return the name of the accuracy of a trained network with so many iterations."""
    return f"{ACCURACY.name} at {depth}"


def count_cost(config: ReasoningConfig, words: float) -> dict[str, int]:
    """Return parameters, MACs of an answer of so many words, and samples seen in training."""
    items = load(config).items
    question = round(sum(len(i.question) for i in items["test"]) / len(items["test"]))
    return {
        "parameters": count_parameters(config),
        "macs": count_macs(config, question, round(words)),
        "samples": config.epochs * len(items["train"]),
    }


def train_all(part: Part, scale: ReasoningScale, folder: Path, workers: int) -> Found:
    """Return what the arms of a part reach; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
        TrainError: a training has diverged.
    """

    def train(missing: list[ReasoningSetting]) -> Iterator[tuple[ReasoningSetting, Values]]:
        run = delayed(_train_one)
        parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        yield from parallel(run(setting, scale) for setting in missing)

    about = {s: describe(s, scale) for s in list_settings(part, scale)}
    values = complete_results(folder / FILE, about, Values, train, list_versions())
    out: Found = {}
    for setting, own in values.items():
        for name, value in own.items():
            out.setdefault(setting.arm, {}).setdefault(name, {})[setting.seed] = value
    return out


def _train_one(
    setting: ReasoningSetting, scale: ReasoningScale
) -> tuple[ReasoningSetting, Values]:
    return setting, train_config(make_config(setting, scale))


def describe(setting: ReasoningSetting, scale: ReasoningScale) -> Mapping[str, Any]:
    """Return what a training depends on, beside code and versions: the fields of its arm."""
    fields = asdict(make_config(setting, scale))
    unused = () if fields["arm"] == "diffusion" else OF_DIFFUSION
    config = {name: value for name, value in fields.items() if name not in unused}
    return {**asdict(setting), "config": config}


def split_orders(arm: str, own: Mapping[str, BySeed]) -> dict[str, dict[str, BySeed]]:
    """Return values of an arm by title: its own, and of its weights in each other order.

    The further ones took no training: 0 s.
    """
    rest = {name: values for name, values in own.items() if name not in IN_ORDER.values()}
    free = dict.fromkeys(own[SECONDS], 0.0)
    others = {
        name_order(arm, order): {**rest, ACCURACY.name: own[name], SECONDS: free}
        for order, name in IN_ORDER.items()
        if name in own
    }
    return {arm: rest, **others}


def list_versions() -> Mapping[str, str]:
    """Return the versions on which all trainings depend."""
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def list_missing(part: Part, scale: ReasoningScale, folder: Path) -> list[ReasoningSetting]:
    """Return the trainings of a part that are still to be made."""
    known, about = read_results(folder / FILE), list_versions()
    return [
        s
        for s in list_settings(part, scale)
        if make_key({**describe(s, scale), **about}) not in known
    ]

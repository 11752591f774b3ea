"""Trainings of the bench; a finished one is a line of a file, and is not trained again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from neuro.training import get_best_weights_path, load_weights
from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.bench.training import list_training_versions, train_task
from tasks.reasoning.answer import Said, answer_split
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
from tasks.reasoning.evaluate import ITERATIONS, measure_depths, measure_said
from tasks.reasoning.fill import recall_questions
from tasks.reasoning.loop import measure_loops
from tasks.reasoning.model import build
from tasks.reasoning.task import TASK
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
    with limit_threads(1), TemporaryDirectory() as folder:
        model = train_task(TASK, config, config.seed_of_data, Path(folder))
        # Before the best weights: validation asks for answers, and may stay at 0.
        recalled = recall_questions(config, model) if config.arm == "diffusion" else None
        load_weights(get_best_weights_path(Path(folder)), model)
        said = answer_split(config, model, "test")
        values = measure_said(said)
        if config.arm in LATENT and config.thoughts:
            stopped = measure_said(answer_split(config, model, "test", 0))
            values[STOPPED] = stopped[ACCURACY.name]
        if config.arm == "diffusion":
            for order, name in IN_ORDER.items():
                other = answer_split(replace(config, order=order), model, "test")
                values[name] = measure_said(other)[ACCURACY.name]
        if config.depth:
            values |= measure_recurrence(config, model, said)
    if recalled is not None:
        values[RECALLED] = recalled
    return {**values, SECONDS: time.process_time() - begin}


def measure_recurrence(
    config: ReasoningConfig, model: nn.Module, said: Sequence[Said]
) -> Values:
    """Return accuracies by iterations and with an exit; of a spiking core, its closed loops.

    said: of the test split, with the iterations of the configuration.
    """
    by_depth = measure_depths(config, model, said)
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

    train = share_work(_train_one, workers, scale)
    about = {s: describe(s, scale) for s in list_settings(part, scale)}
    values = complete_results(folder / FILE, about, Values, train, list_training_versions())
    out: Found = {}
    for setting, own in values.items():
        for name, value in own.items():
            out.setdefault(setting.arm, {}).setdefault(name, {})[setting.seed] = value
    return out


def _train_one(setting: ReasoningSetting, scale: ReasoningScale) -> Values:
    return train_config(make_config(setting, scale))


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


def list_missing(part: Part, scale: ReasoningScale, folder: Path) -> list[ReasoningSetting]:
    """Return the trainings of a part that are still to be made."""
    about = {s: describe(s, scale) for s in list_settings(part, scale)}
    return list_missing_results(folder / FILE, about, list_training_versions())

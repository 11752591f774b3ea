"""Trainings of the bench; a finished one is a line of a file, and is not trained again."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neuro.training.threads import limit_threads
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.bench.training import list_training_versions, train_task
from tasks.flow.bench.samples import Strips, make_strips
from tasks.flow.bench.settings import (
    FlowScale,
    FlowSetting,
    Part,
    list_settings,
    make_config,
    name_arm,
)
from tasks.flow.config import FlowConfig
from tasks.flow.cost import count_macs, count_parameters
from tasks.flow.data import count_steps
from tasks.flow.evaluate import measure_contexts
from tasks.flow.features import make_reference
from tasks.flow.generate import Context, list_contexts
from tasks.flow.loss import measure_loss
from tasks.flow.sampler import count_calls
from tasks.flow.task import TASK

FILE = "flow-settings.jsonl"  # beside the figures
SECONDS, LOSS, FLOOR, TEST = "cpu_seconds", "loss", "real_halves", "real_test_images"
Values = dict[str, float]  # "own: feature_fd", for each context and metric, and the four above
Found = dict[str, dict[str, list[float]]]  # by arm and value, one a seed


@dataclass(frozen=True, kw_only=True)
class FlowResult:
    """What a training reaches. samples: of some trainings, new images by context."""

    values: Values
    samples: Strips


@dataclass(frozen=True, kw_only=True)
class FlowResults:
    """What the trainings of a part reach. samples: by arm and context, of the last seed."""

    found: Found
    samples: dict[str, Strips]


def train_config(
    config: FlowConfig, skipped: tuple[Context, ...] = (), shown: bool = False
) -> FlowResult:
    """Return what the last weights of a training reach, in every context but those skipped.

    shown: whether new images are kept, too.

    Raises:
        TrainError: the training has diverged.
    """
    begin = time.process_time()
    with limit_threads(1), TemporaryDirectory() as folder:
        model = train_task(TASK, config, config.seed_of_data, Path(folder))
        kept = tuple(c for c in list_contexts(config) if c not in skipped)
        found = measure_contexts(config, model, config.seed_of_data, kept)
        reference = make_reference(config)
        values = {f"{c}: {name}": v for c, own in found.items() for name, v in own.items()}
        values |= {LOSS: measure_loss(config, model, "test")}
        values |= {FLOOR: reference.floor, TEST: reference.test}
        seed, contexts = config.seed_of_data, kept if shown else ()
        samples = make_strips(config, model, seed, contexts)
        values[SECONDS] = time.process_time() - begin
        return FlowResult(values=values, samples=samples)


def count_cost(config: FlowConfig) -> dict[str, int]:
    """Return parameters, MACs of a call on an image, calls a sample, images seen."""
    images = config.epochs * count_steps(config) * config.batch * config.images
    return {
        "parameters": count_parameters(config),
        "macs": count_macs(config),
        "calls": count_calls(config.sampler, config.steps, config.guidance),
        "images": images,
    }


def train_all(part: Part, scale: FlowScale, folder: Path, workers: int) -> FlowResults:
    """Return what the arms of a part reach; what is in the folder is not trained again.

    Raises:
        StoreError: a result in the folder's file is damaged.
        TrainError: a training has diverged.
    """

    train = share_work(_train_one, workers, scale)
    about = {s: describe(s, scale) for s in list_settings(part, scale)}
    results = complete_results(
        folder / FILE, about, FlowResult, train, list_training_versions()
    )
    found: Found = {}
    samples: dict[str, Strips] = {}
    for setting, own in results.items():
        arm = name_arm(setting, scale)
        for name, value in own.values.items():
            found.setdefault(arm, {}).setdefault(name, []).append(value)
        if own.samples:
            samples[arm] = own.samples
    return FlowResults(found=found, samples=samples)


def _train_one(setting: FlowSetting, scale: FlowScale) -> dict[str, Any]:
    case = scale.cases[setting.part]
    shown = setting.seed == case.seeds[-1]
    return asdict(train_config(make_config(setting, scale), case.skipped, shown))


def describe(setting: FlowSetting, scale: FlowScale) -> Mapping[str, Any]:
    """Return what a training depends on, beside code and versions."""
    skipped = list(scale.cases[setting.part].skipped)
    return {
        **asdict(setting),
        "skipped": skipped,
        "config": asdict(make_config(setting, scale)),
    }


def list_missing(part: Part, scale: FlowScale, folder: Path) -> list[FlowSetting]:
    """Return the trainings of a part that are still to be made."""
    about = {s: describe(s, scale) for s in list_settings(part, scale)}
    return list_missing_results(folder / FILE, about, list_training_versions())

"""Trainings of the bench; a finished one is a line of a file, and is not trained again."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from neuro.training.threads import limit_threads
from tasks.attribution.answers import (
    answer_by_neighbours,
    answer_by_probe,
    measure_gap,
    require_learned,
)
from tasks.attribution.bench.settings import (
    AttributionScale,
    AttributionSetting,
    Part,
    is_read,
    list_probes,
    list_settings,
    make_config,
)
from tasks.attribution.causes import score_gradients
from tasks.attribution.config import Arm, AttributionConfig
from tasks.attribution.detectors import continue_text
from tasks.attribution.documents import Documents, Part as DataPart, load, require_apart
from tasks.attribution.model import (
    AttributionModel,
    SourceModel,
    compute_log_likelihood,
    make_lm,
    require_attribution,
)
from tasks.attribution.retrain import list_subsets, retrain_with_checkpoints
from tasks.attribution.task import TASK, put_lm
from tasks.bench.results import complete_results, list_missing_results, share_work
from tasks.bench.training import list_training_versions, train_task

FILE = "attribution-models.jsonl"  # beside the figures
ASKED: tuple[DataPart, ...] = ("val", "test", "composed")  # in this order
LOG_P, SAMPLED, GAP, SECONDS = "log p", "sampled", "gap_closed", "cpu_seconds"
NEIGHBOURS = "k-NN"
DIGITS = 6  # of what is kept
Rows = list[list[float]]
Values = dict[str, Rows]  # by method, N documents of K numbers; log p: N of one
Found = dict[int, dict[int, Values]]  # by seed, by subset


def load_asked(config: AttributionConfig, sampled: Rows) -> Documents:
    """Return the documents that every method is asked about.

    They are for validation, pure, composed, and drawn from a language model: of corpus -1.
    """
    drawn = torch.tensor(sampled).long().reshape(-1, config.tokens).T
    parts = [*(load(config, part) for part in ASKED), Documents(drawn, -torch.ones_like(drawn))]
    return Documents(
        torch.cat([part.tokens for part in parts], 1),
        torch.cat([part.sources for part in parts], 1),
    )


def draw_samples(config: AttributionConfig, lm: SourceModel, documents: int) -> Rows:
    """Return documents that a language model draws behind its begin token, N of T tokens."""
    prompt = torch.empty(0, documents, dtype=torch.int64)
    drawn = torch.Generator().manual_seed(config.seed_of_lm)
    return continue_text(lm, prompt, config.tokens, drawn).T.double().tolist()


def train_probe(config: AttributionConfig, lm: SourceModel, folder: Path) -> AttributionModel:
    """Return a probe on the states of a language model, whatever that has learned.

    Raises:
        TrainError: the training has diverged.
    """

    def begin(own: AttributionConfig, model: torch.nn.Module) -> None:
        put_lm(own, require_attribution(model), lm)

    task = replace(TASK, training=replace(TASK.training, begin=begin))
    return require_attribution(train_task(task, config, config.seed_of_lm, folder))


def ask_probes(
    config: AttributionConfig,
    lm: SourceModel,
    documents: Documents,
    probes: Mapping[str, Arm],
) -> dict[str, Float64[np.ndarray, "N K"]]:
    """Return the shares that each arm's probe gives to documents."""
    found = {}
    for name, arm in probes.items():
        own = replace(config, arm=arm)
        read = lm if own.reads_trained_lm else make_lm(config, config.seed_of_lm)
        with TemporaryDirectory() as folder:
            found[name] = answer_by_probe(train_probe(own, read, Path(folder)), documents).pure
    return found


def train_setting(
    setting: AttributionSetting, scale: AttributionScale, sampled: Rows | None = None
) -> Values:
    """Return what a language model says of the documents, and what methods read in it.

    sampled: documents drawn from the first language model of a part; None: this is the first.

    Raises:
        RunError: a language model of all corpora has not learned them.
        TrainError: a training has diverged.
        ValueError: a document stands in two parts.
    """
    begin, config = time.process_time(), make_config(setting, scale)
    require_apart(config)
    held = list_subsets(config.protected)[setting.subset]
    with limit_threads(1):
        lm, checkpoints = retrain_with_checkpoints(config, held, setting.seed)
        gap = require_learned(config, lm) if held.all() else measure_gap(config, lm)
        if sampled is None:
            case = scale.cases[setting.part]
            sampled = draw_samples(config, lm, case.sampled) if case.retrained else []
        asked = load_asked(config, sampled)
        found = {LOG_P: compute_log_likelihood(lm, asked)[:, None].numpy()}
        if is_read(setting, scale):
            found |= score_gradients(config, lm, checkpoints, asked.tokens)
            found |= ask_probes(config, lm, asked, list_probes(setting, scale))
            found[NEIGHBOURS] = answer_by_neighbours(config, lm, asked).pure
    return {
        **{name: round_rows(rows) for name, rows in found.items()},
        SAMPLED: sampled,
        GAP: [[gap.closed]],
        SECONDS: [[time.process_time() - begin]],
    }


def round_rows(rows: Float64[np.ndarray, "N K"]) -> Rows:
    """Return rows for a file, with six digits."""
    return [[float(f"{x:.{DIGITS}g}") for x in row] for row in rows]


def train_all(part: Part, scale: AttributionScale, folder: Path, workers: int) -> Found:
    """Return what the models of a part say; what is in the folder is not trained again.

    Raises:
        RunError: a language model of all corpora has not learned them.
        StoreError: a result in the folder's file is damaged.
        TrainError: a training has diverged.
    """
    path, settings = folder / FILE, list_settings(part, scale)
    about = {s: describe(s, scale) for s in settings}
    first = {settings[0]: about.pop(settings[0])}
    train = share_work(train_setting, 1, scale)
    values = complete_results(path, first, Values, train, list_training_versions())
    sampled = values[settings[0]][SAMPLED] if scale.cases[part].retrained else []
    train = share_work(train_setting, workers, scale, sampled)
    values |= complete_results(path, about, Values, train, list_training_versions())
    out: Found = {}
    for setting, own in values.items():
        out.setdefault(setting.seed, {})[setting.subset] = own
    return out


def describe(setting: AttributionSetting, scale: AttributionScale) -> Mapping[str, Any]:
    """Return what a training depends on, beside code and versions."""
    sampled = scale.cases[setting.part].sampled
    own = asdict(make_config(setting, scale))
    return {**asdict(setting), "sampled": sampled, "config": own}


def list_missing(part: Part, scale: AttributionScale, folder: Path) -> list[AttributionSetting]:
    """Return the trainings of a part that are still to be made."""
    about = {s: describe(s, scale) for s in list_settings(part, scale)}
    return list_missing_results(folder / FILE, about, list_training_versions())

"""Untrained runs of a small driving network, and windows of noise in the place of data sets."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from driving_windows import make_window, small_config
from torch import Tensor

from drivers.nuscenes.window import Window
from neuro.base.seeds import seeded
from neuro.io.run_folder import Run, begin_run
from neuro.training import get_best_weights_path
from neuro.training.checkpoint import get_weights, save_weights
from tasks.driving import TASK, data
from tasks.driving.batch import make_batch
from tasks.driving.config import MAPPERS, DrivingConfig
from tasks.driving.model import Driver
from tasks.driving.presets import without_spikes
from tasks.runs.task import Split

SMALL = small_config()
TWIN = without_spikes(SMALL)
MANY = {"train": 4, "val": 2, "test": 4}


def plan_off_the_way(**shares: float) -> DrivingConfig:
    """Return the small network whose planner learns from predicted maps alone.

    shares: ``displaced`` or ``driven``, of the windows of its last phase.
    """
    *before, last = SMALL.phases
    return replace(
        SMALL,
        planner=replace(SMALL.planner, learns_from="predicted"),
        phases=(*before, replace(last, frozen=MAPPERS, **shares)),
    )


def put_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace trained configurations by small ones, and data by windows."""

    def open_split(config: DrivingConfig, split: Split) -> list[Window]:
        windows = [make_window(config, 10 * len(split) + k) for k in range(MANY[split])]
        return [replace(w, scene=f"scene-{k // 2:04}") for k, w in enumerate(windows)]

    monkeypatch.setitem(TASK.configs, "small", lambda: SMALL)  # type: ignore[arg-type]
    monkeypatch.setitem(TASK.configs, "small_ann", lambda: TWIN)  # type: ignore[arg-type]
    for module in (
        "driving.data",
        "driving.bench.entrants",
        "driving.bench.window_results",
    ):
        for name in ("open_split", "open_truth"):
            monkeypatch.setattr(f"tasks.{module}.{name}", open_split, raising=False)
    monkeypatch.setattr("tasks.driving.bench.window_results.digest_tables", lambda _: "tables")
    assert data.count_windows(SMALL, "test") == MANY["test"]


@cache
def draw_weights(name: str, seed: int) -> dict[str, Tensor]:
    """Return the weights that a training begins with; norms have seen some windows.

    Those that saw nothing leave silence.
    """
    config = {"small": SMALL, "small_ann": TWIN}[name]
    with torch.no_grad(), seeded(seed):
        model = Driver(config)
        for _ in range(3):
            model(make_batch([make_window(config, k) for k in range(2)]).seen)
    return get_weights(model)


def make_run(
    folder: Path, name: str = "small", seed: int = 0, drawn: int | None = None
) -> Path:
    """Make a run folder with weights that were not trained.

    drawn: the seed of the weights, if it is not that of the run.
    """
    config = {"small": SMALL, "small_ann": TWIN}[name]
    own = begin_run(Run(folder=folder, task="driving", name=name, seed=seed, config=config))
    weights = draw_weights(name, seed if drawn is None else drawn)
    save_weights(get_best_weights_path(folder), weights, {"epoch": 0, "score": 0.0, "run": own})
    return folder

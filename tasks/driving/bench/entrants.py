"""The planners of the benchmark: trained runs, runs with black images, and camera-free ones.

The subject is the configuration of the first run. Runs of other configurations (the twin
without spikes, other fusions) are peers. All planners see the same windows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from drivers.nuscenes.window import ImageSize
from neuro.base.seeds import seeded
from neuro.io.pytree import digest
from neuro.io.run_folder import Run, RunError
from neuro.training.shuffle import shuffle_batches
from neuro.training.threads import limit_threads
from tasks.driving.batch import Observation, make_seen
from tasks.driving.closed_loop import InformedPlanner
from tasks.driving.config import DrivingConfig
from tasks.driving.data import count_windows, open_truth, read_blind
from tasks.driving.model import require_driver
from tasks.driving.planners import (
    Blanked,
    EgoMlp,
    KeepAcceleration,
    KeepVelocity,
    ModelPlanner,
    Planner,
    Stop,
    train_ego_mlp,
)
from tasks.runs.find import open_folder
from tasks.runs.provenance import describe_trained
from tasks.runs.trained_run import load_trained_model

NEEDED = (
    "neuro bench driving needs trained runs: --runs RUN [RUN ...], first several seeds of one "
    "configuration; train them with neuro train driving:small --seed 1 --out RUN"
)
VELOCITY, ACCELERATION = "constant velocity", "constant acceleration"
MLP, STOPS = "ego-only MLP", "stops"
DISTURBED = f"{MLP}, disturbed drives too"
RULES = "rules (know all)"
EPOCHS, BATCH = 60, 32  # training of the perceptrons that see only the ego state
TRAIN, TEST = 40, 8  # windows of a quick benchmark
Drives = tuple[Observation, Tensor]  # observations and true paths (B F 3) of windows


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs by the name of their configuration, such as "driving:small"; the subject is first.

    config: configuration of the windows that all planners see.
    """

    runs: dict[str, tuple[Run, ...]]
    config: DrivingConfig

    @property
    def subject(self) -> str:
        """The name of the configuration that the benchmark compares with all others."""
        return next(iter(self.runs))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the subject's runs."""
        return tuple(run.seed for run in self.runs[self.subject])


def open_comparison(folders: Sequence[Path], quick: bool = False) -> Comparison:
    """Open the runs in folders; if ``quick``, with only a few windows of their data.

    Raises:
        RunError: there is no run; a run has no configuration of driving or plans no path; two
            runs have the same name and seed; two runs with the same name have different
            configurations; or a run sees other windows than the first.
    """
    if not folders:
        raise RunError(NEEDED)
    runs = [open_folder(folder) for folder in folders]
    problems = [
        f"{run.folder} is a run of {run.task}; name only runs of driving, or of a task file "
        "with its configurations (DrivingConfig)"
        for run in runs
        if not isinstance(run.config, DrivingConfig)
    ]
    problems = problems or [
        f"{run.folder} ({run.task}:{run.name}) plans no path; measure it with neuro eval"
        for run in runs
        if not run.config.plans
    ]
    if problems:
        raise RunError("\n".join(problems))
    groups: dict[str, tuple[Run, ...]] = {}
    for run in runs:
        name = f"{run.task}:{run.name}"
        twice = [r for r in groups.get(name, ()) if r.seed == run.seed]
        problems += [
            f"{run.folder} and {r.folder} are both {name} of seed {r.seed}; name one of them"
            for r in twice
        ]
        first = groups.get(name, (run,))[0]
        if run.config != first.config:
            problems.append(
                f"{run.folder} and {first.folder} are both {name}, but their configurations "
                "differ (--set, or a changed task file); measure them separately"
            )
        if describe_windows(run.config) != describe_windows(runs[0].config):
            problems.append(
                f"{run.folder} sees other windows than {runs[0].folder} (data, images, grid or "
                "frames differ); measure it separately"
            )
        groups[name] = (*groups.get(name, ()), run)
    if problems:
        raise RunError("\n".join(problems))
    config: DrivingConfig = runs[0].config
    if quick:
        config = replace(config, source=replace(config.source, train=TRAIN, test=TEST))
    return Comparison(runs=groups, config=config)


def describe_windows(config: DrivingConfig) -> dict[str, object]:
    """Return the settings that determine the contents of windows."""
    names = ("source", "image", "grid", "road_cells", "past", "future")
    return {name: getattr(config, name) for name in names}


@dataclass(frozen=True, kw_only=True, eq=False)
class Entrant:
    """A planner of one seed.

    name: the same for all seeds.
    seed: seed of the training; 0 if the planner is not trained.
    digest: digest of everything, except code, that determines the plans.
    make: builds the planner in the process that drives; returns None for the rules.
    size: size of the images; None without images. blanked: whether the images are black.
    """

    name: str
    seed: int
    digest: str
    make: Callable[[], Planner | InformedPlanner | None]
    size: ImageSize | None = None
    blanked: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the results, besides the code and the courses or windows."""
        return {"planner": self.name, "seed": self.seed, "digest": self.digest}


def list_trained(comparison: Comparison) -> list[Entrant]:
    """Return the planners of all runs, and those of the subject again with black images."""
    entrants = []
    for name, runs in comparison.runs.items():
        for run in runs:
            identity = digest_trained(run.folder)
            make = partial(load_planner, run.folder, identity)
            entrant = Entrant(
                name=name, seed=run.seed, digest=identity, make=make, size=run.config.image
            )
            entrants.append(entrant)
            if name == comparison.subject:
                blank = replace(
                    entrant,
                    name=f"{name}, cameras blanked",
                    digest=f"{identity} blanked",
                    make=partial(_blank, make),
                    blanked=True,
                )
                entrants.append(blank)
    return entrants


def digest_trained(folder: Path) -> str:
    """Return the digest of the weights and the configuration of a run."""
    origin = describe_trained(folder)
    return digest([origin["weights"], origin["configuration"]])


def list_plain(comparison: Comparison) -> list[Entrant]:
    """Return planners without cameras; train the perceptrons, one of each kind per seed.

    One kind learns from recorded windows, as published; the other learns from the windows that
    train the subject's planner.
    """
    config, frames = comparison.config, comparison.config.future
    learned = [
        _make_plain(name, seed, digest(list(model.state_dict().values())), model)
        for name, read in ((MLP, read_recorded), (DISTURBED, read_disturbed))
        for seed, model in train_ego_mlps(config, read(config), comparison.seeds).items()
    ]
    simple: dict[str, Planner] = {
        VELOCITY: KeepVelocity(frames),
        ACCELERATION: KeepAcceleration(frames),
        STOPS: Stop(frames),
    }
    return [*(_make_plain(k, 0, repr(p), p) for k, p in simple.items()), *learned]


def _make_plain(name: str, seed: int, identity: str, planner: Planner) -> Entrant:
    return Entrant(name=name, seed=seed, digest=identity, make=partial(_return, planner))


def make_rules() -> Entrant:
    """Return the rules, which know the whole world and drive only in the generated world."""
    return Entrant(name=RULES, seed=0, digest="rules", make=lambda: None)


def _return(planner: Planner) -> Planner:
    return planner


def _blank(make: Callable[[], Planner]) -> Planner:
    return Blanked(make())


@lru_cache(maxsize=16)  # all runs stay loaded, because they take turns on the courses
def load_planner(folder: Path, identity: str) -> ModelPlanner:
    """Return the planner of a run; ``identity`` digests its weights and configuration.

    Raises:
        RunError: the run has no weights, or a later training has replaced them.
    """
    model = load_trained_model(open_folder(folder))
    if digest_trained(folder) != identity:
        raise RunError(
            f"{folder}: its weights changed during the benchmark; measure again after the "
            "training"
        )
    return ModelPlanner(require_driver(model))


def read_recorded(config: DrivingConfig) -> Drives:
    """Return the training windows, without images."""
    windows, count = open_truth(config, "train"), count_windows(config, "train")
    drives = []
    for k in range(count):  # one by one, so that the maps of each window are freed
        window = windows[k]
        drives.append((make_seen([window]), torch.from_numpy(window.path)[None]))
    return join_drives(drives)


@lru_cache(maxsize=1)  # closed and open loop share the drives, which take minutes
def read_disturbed(config: DrivingConfig) -> Drives:
    """Return the windows of the last phase's epochs, displaced and disturbed as in training."""
    epochs = range(config.epochs - config.last.epochs, config.epochs)
    return join_drives(
        [(seen, truth.path) for epoch in epochs for seen, truth in read_blind(config, epoch)]
    )


def join_drives(parts: Sequence[Drives]) -> Drives:
    """Concatenate the observations and the paths of windows."""
    joined: Drives = tree_map(lambda *tensors: torch.cat(tensors), *parts)
    return joined


def train_ego_mlps(
    config: DrivingConfig, drives: Drives, seeds: Sequence[int]
) -> dict[int, EgoMlp]:
    """Train the perceptrons that see only the ego state; return them by seed.

    drives: windows without images. The number of steps is that of EPOCHS over the training
    windows.
    """
    epochs = max(1, EPOCHS * count_windows(config, "train") // len(drives[1]))
    with limit_threads(1):
        return {seed: _train_ego_mlp(config, drives, epochs, seed) for seed in seeds}


def _train_ego_mlp(config: DrivingConfig, drives: Drives, epochs: int, seed: int) -> EgoMlp:
    count = len(drives[1])

    def batches() -> Iterator[Drives]:
        for epoch in range(epochs):
            rng = np.random.default_rng([seed, epoch])
            for order in shuffle_batches(count, min(BATCH, count), rng):
                yield tree_map(itemgetter(torch.from_numpy(order)), drives)

    with seeded(seed):
        model = EgoMlp(config.past, config.future, config.planner.navigation)
        train_ego_mlp(model, batches())
    return model.eval()

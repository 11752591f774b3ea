"""Who is compared: trained runs, the same without sight, and planners without cameras.

The subject is the configuration of the first run; runs of other configurations (the twin
without spikes, other fusions) are peers. All see the same windows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map

from drivers.nuscenes.window import ImageSize
from neuro.io.pytree import digest
from neuro.io.run_folder import Run, RunError
from neuro.seeds import seeded
from neuro.training.shuffle import shuffle_batches
from neuro.training.threads import limit_threads
from tasks.driving.batch import Seen, make_seen
from tasks.driving.config import DrivingConfig
from tasks.driving.data import count_windows, open_truth, read_blind
from tasks.driving.model import Driver, require_driver
from tasks.driving.planners import (
    Blanked,
    EgoMlp,
    KeepAcceleration,
    KeepVelocity,
    Planner,
    Stop,
    train_ego_mlp,
)
from tasks.runs.find import open_folder
from tasks.runs.provenance import describe_trained
from tasks.runs.trained_run import load_trained_model

NEEDED = (
    "neuro bench driving needs trained runs: --runs RUN [RUN ...], several seeds of one "
    "configuration first, as neuro train driving:tiny --seed 1 --out RUN makes them"
)
VELOCITY, ACCELERATION = "constant velocity", "constant acceleration"
MLP, STOPS = "ego-only MLP", "stops"
DISTURBED = f"{MLP}, disturbed drives too"
RULES = "rules (know all)"
EPOCHS, BATCH = 60, 32  # of the training of ego-only perceptrons
TRAIN, TEST = 40, 8  # windows, where quickness is asked for
Truths = tuple[Seen, Tensor]  # windows: what is seen, the path (B F 3)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Runs by name of their configuration, such as "driving:tiny", the subject's first.

    config: of the windows that all see.
    """

    runs: dict[str, tuple[Run, ...]]
    config: DrivingConfig

    @property
    def subject(self) -> str:
        """Name of the configuration that all others stand beside."""
        return next(iter(self.runs))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the subject's runs."""
        return tuple(run.seed for run in self.runs[self.subject])


def open_contest(folders: Sequence[Path], quick: bool = False) -> Contest:
    """Return the runs in some folders; quick: with a few windows of their data alone.

    Raises:
        RunError: there is none, one is of another task or plans no path, two are of one
            configuration and seed, or one sees other windows than the first.
    """
    if not folders:
        raise RunError(NEEDED)
    runs = [open_folder(folder) for folder in folders]
    problems = [
        f"{run.folder} is of the task {run.task}; name runs of driving alone"
        for run in runs
        if run.task != "driving"
    ]
    problems = problems or [
        f"{run.folder} ({run.task}:{run.name}) plans no path; neuro eval measures what it does"
        for run in runs
        if run.config.last.name != "planning"
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
        if describe_windows(run.config) != describe_windows(runs[0].config):
            problems.append(
                f"{run.folder} sees other windows than {runs[0].folder} (data, images, grid or "
                "frames differ); measure it by itself"
            )
        groups[name] = (*groups.get(name, ()), run)
    if problems:
        raise RunError("\n".join(problems))
    config: DrivingConfig = runs[0].config
    if quick:
        config = replace(config, source=replace(config.source, train=TRAIN, test=TEST))
    return Contest(runs=groups, config=config)


def describe_windows(config: DrivingConfig) -> dict[str, object]:
    """Return all that decides on what windows hold."""
    names = ("source", "image", "grid", "past", "future")
    return {name: getattr(config, name) for name in names}


@dataclass(frozen=True, kw_only=True, eq=False)
class Entrant:
    """One planner, of one seed.

    name: the same for all its seeds. seed: of its training; 0 where there is none. digest: of
    all that its plans depend on, beside the code. make: returns it, in whatever process it
    drives; None: the rules. size: of images that it sees, None: it has no use for them.
    blanked: they are black.
    """

    name: str
    seed: int
    digest: str
    make: Callable[[], Planner | None]
    size: ImageSize | None = None
    blanked: bool = False


def blank_name(name: str) -> str:
    """Return the name of a planner that is shown black images."""
    return f"{name}, cameras blanked"


def list_trained(contest: Contest) -> list[Entrant]:
    """Return all runs, and those of the subject once more without sight."""
    found = []
    for name, runs in contest.runs.items():
        for run in runs:
            marks = describe_trained(run.folder)
            own = digest([marks["weights"], marks["configuration"]])
            make = partial(load_planner, run.folder, own)
            size = run.config.image
            found.append(Entrant(name=name, seed=run.seed, digest=own, make=make, size=size))
            if name == contest.subject:
                found.append(
                    Entrant(
                        name=blank_name(name),
                        seed=run.seed,
                        digest=f"{own} blanked",
                        make=partial(_blank, make),
                        size=size,
                        blanked=True,
                    )
                )
    return found


def list_plain(contest: Contest) -> list[Entrant]:
    """Return planners without cameras; the perceptrons are trained here, one a seed.

    One learns from recorded windows, as published, the other from what the subject's planner
    learns from.
    """
    config, frames = contest.config, contest.config.future
    learned = [
        Entrant(
            name=name,
            seed=seed,
            digest=digest(list(model.state_dict().values())),
            make=partial(_give, model),
        )
        for name, read in ((MLP, read_recorded), (DISTURBED, read_disturbed))
        for seed, model in train_ego_mlps(config, read(config), contest.seeds).items()
    ]
    simple: dict[str, Planner] = {
        VELOCITY: KeepVelocity(frames),
        ACCELERATION: KeepAcceleration(frames),
        STOPS: Stop(frames),
    }
    return [
        *(
            Entrant(name=k, seed=0, digest=repr(p), make=partial(_give, p))
            for k, p in simple.items()
        ),
        *learned,
    ]


def make_rules() -> Entrant:
    """Return the driver that knows all, which only drives in the generated world."""
    return Entrant(name=RULES, seed=0, digest="rules", make=_give_none)


def _give(planner: Planner) -> Planner:
    return planner


def _give_none() -> None:
    return None


def _blank(make: Callable[[], Planner]) -> Planner:
    return Blanked(make())


class Trained:
    """Plans with a trained network."""

    def __init__(self, model: Driver) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, seen: Seen) -> Float[Tensor, "B F 3"]:
        """Return the path."""
        path: Tensor = self.model(seen).plan.path
        return path


@lru_cache(maxsize=16)  # courses are dealt out in turns of all runs
def load_planner(folder: Path, own: str) -> Trained:
    """Return the planner of a run; own: digest of weights and configuration that it must have.

    Raises:
        RunError: it is not trained, or a training has replaced its weights meanwhile.
    """
    model = load_trained_model(open_folder(folder))
    marks = describe_trained(folder)
    if digest([marks["weights"], marks["configuration"]]) != own:
        raise RunError(
            f"{folder}: its weights are others than when the benchmark began; measure again "
            "when the training has ended"
        )
    return Trained(require_driver(model))


def read_recorded(config: DrivingConfig) -> Truths:
    """Return the training windows, without images."""
    windows, many = open_truth(config, "train"), count_windows(config, "train")
    found = []
    for k in range(many):  # one by one: their maps are not kept
        window = windows[k]
        found.append((make_seen([window]), torch.from_numpy(window.path)[None]))
    return join_truths(found)


@lru_cache(maxsize=1)  # for closed and open loop; the rules drive through it for minutes
def read_disturbed(config: DrivingConfig) -> Truths:
    """Return the windows of all epochs of the last phase, displaced and driven as there."""
    epochs = range(config.epochs - config.last.epochs, config.epochs)
    return join_truths(
        [(seen, truth.path) for epoch in epochs for seen, truth in read_blind(config, epoch)]
    )


def join_truths(some: Sequence[Truths]) -> Truths:
    """Return what some windows show and their paths as one."""
    joined: Truths = tree_map(lambda *parts: torch.cat(parts), *some)
    return joined


def train_ego_mlps(
    config: DrivingConfig, truths: Truths, seeds: Sequence[int]
) -> dict[int, EgoMlp]:
    """Return ego-only perceptrons by seed, trained on windows without images.

    They take as many steps as EPOCHS of the training windows would.
    """
    epochs = max(1, EPOCHS * count_windows(config, "train") // len(truths[1]))
    with limit_threads(1):
        return {seed: _train_ego_mlp(config, truths, epochs, seed) for seed in seeds}


def _train_ego_mlp(config: DrivingConfig, truths: Truths, epochs: int, seed: int) -> EgoMlp:
    many = len(truths[1])

    def batches() -> Iterator[Truths]:
        for epoch in range(epochs):
            rng = np.random.default_rng([seed, epoch])
            for order in shuffle_batches(many, min(BATCH, many), rng):
                yield tree_map(itemgetter(torch.from_numpy(order)), truths)

    with seeded(seed):
        model = EgoMlp(config.past, config.future)
        train_ego_mlp(model, batches())
    return model.eval()

"""Planners without cameras, the baselines of planners with cameras.

A planner is a function from an :class:`~tasks.driving.batch.Observation` to a path: (x, y, yaw)
in the present ego frame at the next frames [m, rad].
Axes: B windows, S past and present frames, F future frames.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from drivers.nuscenes.window import FRAME
from tasks.driving.batch import Observation, blank_images
from tasks.driving.config import DrivingConfig, Navigation
from tasks.driving.model import require_driver
from tasks.driving.sampler import NAVIGATION, encode_navigation

Planner = Callable[[Observation], Float[Tensor, "B F 3"]]


@dataclass(frozen=True)
class Stop:
    """Stands still."""

    frames: int

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path."""
        return torch.zeros(len(seen.ego.speed), self.frames, 3, device=seen.ego.speed.device)


@dataclass(frozen=True)
class KeepVelocity:
    """Continues straight ahead at the present speed."""

    frames: int

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path."""
        times = _times(self.frames, seen)
        return _straight(seen.ego.speed[:, None] * times)


@dataclass(frozen=True)
class KeepAcceleration:
    """Continues straight ahead with the acceleration of the last frame, without reversing.

    The distance since the last frame determines the earlier speed.
    """

    frames: int

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path."""
        speed = seen.ego.speed[:, None]
        way = seen.to_present[:, -2, :2, 3].norm(dim=-1)[:, None]  # since the last frame
        gain = 2 * (speed * FRAME - way) / FRAME**2
        times = _times(self.frames, seen)
        until = torch.where(gain < 0, speed / gain.abs().clamp(min=1e-6), torch.inf)
        driven = torch.minimum(times, until)
        return _straight(speed * driven + gain * driven**2 / 2)


class ModelPlanner:
    """Plans with a trained model.

    Raises:
        TypeError: the model is not a :class:`~tasks.driving.model.Driver`.
        ValueError: it plans no path.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = require_driver(model)
        if not self.model.config.plans:
            raise ValueError(
                "ModelPlanner: the network plans no path, because the last of its phases is "
                f"{self.model.config.last.name}; use a run whose last phase is planning"
            )

    @torch.no_grad()
    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path, refined and braked.

        Raises:
            ValueError: images, frames or sweeps are not those that the network learned from.
        """
        if problems := _list_misfits(self.model.config, seen):
            heading = "driving: the network learned from other input:"
            raise ValueError("\n".join([heading, *problems]))
        device = next(self.model.parameters()).device
        path: Tensor = self.model(tree_map_only(Tensor, lambda x: x.to(device), seen)).plan.path
        return path


def _list_misfits(config: DrivingConfig, seen: Observation) -> list[str]:
    """Return in what an observation differs from those that a network learned from."""
    _, past, cameras, sweeps, _, height, width = seen.sweeps.shape
    size, wrong = config.image, []
    if not cameras or (height, width) != (size.height, size.width):
        found = f"{height} x {width}" if cameras else "none"
        wrong.append(
            f"it needs images of {size.height} x {size.width} pixels, got {found}: set "
            "Trial.size=config.image, of the network's configuration"
        )
    if past != config.past:
        wrong.append(
            f"it needs {config.past} frames up to the present, got {past}: set "
            f"Trial.past={config.past}, its config.past"
        )
    if sweeps != config.source.sweeps:
        wrong.append(
            f"it needs {config.source.sweeps} sweeps of each camera, got {sweeps}: set "
            f"Trial.sweeps={config.source.sweeps}, its config.source.sweeps"
        )
    return wrong


class EgoMlp(nn.Module):
    """A perceptron over the state of the car: no camera, no map (AD-MLP, arXiv 2305.10430).

    Input: its past poses, its present speed and yaw rate, and the navigation.
    """

    def __init__(
        self, past: int, frames: int, navigation: Navigation, hidden: int = 128
    ) -> None:
        super().__init__()
        inputs = 3 * (past - 1) + 2 + NAVIGATION[navigation]
        self.frames, self.navigation = frames, navigation
        self.body = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 3 * frames),
        )

    def forward(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path of constant velocity plus the output of the layers."""
        ego, pose = seen.ego, seen.to_present[:, :-1]
        yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])
        past = torch.stack([pose[..., 0, 3], pose[..., 1, 3], yaw], -1)
        known = torch.stack([ego.speed, ego.yaw_rate], -1)
        # Scale metres, metres per second and radians to a size of about 1.
        size = known.new_tensor([10.0, 0.5])
        inputs = torch.cat(
            [past.flatten(1) / 10, known / size, encode_navigation(ego, self.navigation)], 1
        )
        change: Tensor = self.body(inputs).unflatten(1, (self.frames, 3))
        return KeepVelocity(self.frames)(seen) + change


def train_ego_mlp(
    model: EgoMlp,
    batches: Iterable[tuple[Observation, Float[Tensor, "B F 3"]]],
    lr: float = 3e-3,
) -> float:
    """Train in place on (observation, true path), a step per batch; return the last loss [m].

    Loss: smooth L1 of x and y [m] and of yaw [rad]. The rate falls to zero along a cosine.
    """
    steps = list(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, len(steps)))
    last = float("nan")
    for seen, path in steps:
        loss = F.smooth_l1_loss(model(seen), path)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        last = float(loss.detach())
    return last


@dataclass(frozen=True)
class Blanked:
    """A planner with black images."""

    planner: Planner

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return its path."""
        return self.planner(blank_images(seen))


def _times(frames: int, seen: Observation) -> Float[Tensor, " F"]:
    return FRAME * torch.arange(1, frames + 1, device=seen.ego.speed.device)


def _straight(way: Float[Tensor, "B F"]) -> Float[Tensor, "B F 3"]:
    return F.pad(way[..., None], (0, 2))

"""Planners: those without cameras, as baselines, and a wrapper of trained models.

A planner is a function from an :class:`~tasks.driving.batch.Observation` to a path: the poses
(x, y, yaw) of the next frames, in the present ego frame [m, rad].
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

    The earlier speed follows from the distance since the last frame.
    """

    frames: int

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path."""
        speed = seen.ego.speed[:, None]
        way = seen.to_present[:, -2, :2, 3].norm(dim=-1)[:, None]  # driven since the last frame
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
        """Return the path, refined and braked as configured.

        Raises:
            ValueError: the observation differs from those that the network was trained on, in
                images, frames or sweeps.
        """
        if problems := _list_misfits(self.model.config, seen):
            heading = "driving: the network learned from other input:"
            raise ValueError("\n".join([heading, *problems]))
        device = next(self.model.parameters()).device
        path: Tensor = self.model(tree_map_only(Tensor, lambda x: x.to(device), seen)).plan.path
        return path


def _list_misfits(config: DrivingConfig, seen: Observation) -> list[str]:
    """Return the differences of an observation from those that a network was trained on."""
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
    """A perceptron that sees the car's state, but no camera or map (AD-MLP, arXiv 2305.10430).

    Input: the car's past poses, its present speed and yaw rate, and the navigation.
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
        """Return the constant-velocity path plus the output of the layers."""
        ego, pose = seen.ego, seen.to_present[:, :-1]
        yaw = torch.atan2(pose[..., 1, 0], pose[..., 0, 0])
        past = torch.stack([pose[..., 0, 3], pose[..., 1, 3], yaw], -1)
        known = torch.stack([ego.speed, ego.yaw_rate], -1)
        # Scale metres, metres per second and radians to a magnitude of about 1.
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
    """Train in place on (observation, true path), one step per batch; return the last loss.

    Loss: smooth L1 of x, y [m] and yaw [rad]. The learning rate falls to 0 along a cosine.
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
    """Calls a planner with black images."""

    planner: Planner

    def __call__(self, seen: Observation) -> Float[Tensor, "B F 3"]:
        """Return the path of the planner."""
        return self.planner(blank_images(seen))


def _times(frames: int, seen: Observation) -> Float[Tensor, " F"]:
    return FRAME * torch.arange(1, frames + 1, device=seen.ego.speed.device)


def _straight(way: Float[Tensor, "B F"]) -> Float[Tensor, "B F 3"]:
    return F.pad(way[..., None], (0, 2))

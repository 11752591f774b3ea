"""Batches of windows as tensors: observations and truth.

Axes: B windows, S past and present frames, F future frames, T = 1 + F present and future
frames, N cameras, L sweeps, H and W of images, h and w of features, X and Y cells of the grid,
U and V cells of the drivable area.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from drivers.nuscenes.rig import CAMERAS
from drivers.nuscenes.window import ROUTE_LENGTH, ROUTE_STEP, Window
from tasks.driving.config import DrivingConfig
from tasks.driving.sampler import EgoState

MOVING = ("vehicle", "pedestrian")
MAPS = (*MOVING, "drivable", "lane")
ROUTE_POINTS = round(ROUTE_LENGTH / ROUTE_STEP) + 1


Value = TypeVar("Value")


class Unrounded(Generic[Value]):
    """A network argument that mixed precision must not round.

    Lightning Fabric rounds every floating-point tensor in the arguments of a network to 16
    bits, including poses in metres. It does not look into objects of this class.
    """

    def __init__(self, value: Value) -> None:
        self.value = value


class Observation(NamedTuple):
    """Input of a planner; fields as in :class:`drivers.nuscenes.window.Window`.

    maps: true masks of MAPS for models that see true maps; K = 0 for all other models. Every
    frame has the road map of the present frame.
    """

    images: UInt8[Tensor, "B S N 3 H W"]
    sweeps: UInt8[Tensor, "B S N L 3 H W"]
    intrinsic: Float[Tensor, "B S N 3 3"]
    to_ego: Float[Tensor, "B S N 4 4"]
    to_present: Float[Tensor, "B S 4 4"]
    maps: Bool[Tensor, "B S K X Y"]
    ego: EgoState


def blank_images(seen: Observation) -> Observation:
    """Return an observation with black images."""
    images, sweeps = (torch.zeros_like(x) for x in (seen.images, seen.sweeps))
    return seen._replace(images=images, sweeps=sweeps)


def join_ticks(seen: Observation) -> UInt8[Tensor, "T B S N 3 H W"]:
    """Return the encoder's images per tick: L sweeps, then the frame's image (T = L + 1)."""
    return torch.cat([seen.sweeps, seen.images[:, :, :, None]], 3).movedim(3, 0)


class Truth(NamedTuple):
    """The true masks of present and future frames, the true present map and the true path.

    route: the route ahead; a displaced start takes its target from it.
    shown: whether the images show the view from the start of the path.
    """

    vehicle: Bool[Tensor, "B T X Y"]
    pedestrian: Bool[Tensor, "B T X Y"]
    instance: Int[Tensor, "B T X Y"]
    drivable: Bool[Tensor, "B U V"]
    lane: Bool[Tensor, "B X Y"]
    depth: Float[Tensor, "B S N h w"]
    path: Float[Tensor, "B F 3"]
    route: Float[Tensor, "B R 2"]
    shown: Bool[Tensor, " B"]


class DrivingBatch(NamedTuple):
    """Observations and truth; the first axis of every tensor is B."""

    seen: Observation
    truth: Truth


def make_seen(windows: Sequence[Window], maps: bool = False) -> Observation:
    """Return the observations of windows, with true maps if ``maps`` is set."""
    return Observation(
        **{
            name: _stack([getattr(w, name) for w in windows])
            for name in ("images", "sweeps", "intrinsic", "to_ego", "to_present")
        },
        maps=_stack([_see_maps(w, MAPS if maps else ()) for w in windows]),
        ego=EgoState(
            speed=_stack([w.speed[-1] for w in windows]),
            yaw_rate=_stack([w.yaw_rate[-1] for w in windows]),
            target=_stack([w.target for w in windows]),
        ),
    )


def _see_maps(window: Window, names: tuple[str, ...]) -> np.ndarray:
    """Return the named masks of past and present frames, S K X Y."""
    frames, size = len(window.images), window.vehicle.shape[1:]
    masks = [getattr(window, name)[:frames] for name in names if name in MOVING]
    still = [getattr(window, name) for name in names if name not in MOVING]
    masks += [np.broadcast_to(mask, (frames, *size)) for mask in still]
    return np.stack(masks, 1) if masks else np.zeros((frames, 0, *size), np.bool_)


def make_batch(windows: Sequence[Window], maps: bool = False) -> DrivingBatch:
    """Return a batch of windows, whose observations have true maps if ``maps`` is set."""
    present = windows[0].images.shape[0] - 1
    moving = (*MOVING, "instance")
    still = ("drivable", "lane", "depth", "path", "route")
    truth = {n: _stack([getattr(w, n)[present:] for w in windows]) for n in moving}
    truth |= {n: _stack([getattr(w, n) for w in windows]) for n in still}
    shown = torch.ones(len(windows), dtype=torch.bool)
    return DrivingBatch(make_seen(windows, maps), Truth(**truth, shown=shown))


def make_blank(config: DrivingConfig, device: str | None = None) -> Observation:
    """Return the observation of a standing car with black images.

    device: None means torch's default device.
    """
    frames, cameras = config.past, len(CAMERAS)
    eye = torch.eye(4, device=device)
    size, maps = config.image, len(MAPS) if config.sees == "maps" else 0
    ticks = torch.zeros(
        *(1, frames, cameras, config.source.sweeps + 1, 3, size.height, size.width),
        dtype=torch.uint8,
        device=device,
    )
    return Observation(
        images=ticks[:, :, :, -1],
        sweeps=ticks[:, :, :, :-1],
        intrinsic=eye[:3, :3].expand(1, frames, cameras, 3, 3),
        to_ego=eye.expand(1, frames, cameras, 4, 4),
        to_present=eye.expand(1, frames, 4, 4),
        maps=torch.zeros(1, frames, maps, *config.grid.shape, dtype=torch.bool, device=device),
        ego=EgoState(
            speed=torch.zeros(1, device=device),
            yaw_rate=torch.zeros(1, device=device),
            target=torch.zeros(1, 2, device=device),
        ),
    )


def make_dummy_batch(config: DrivingConfig) -> DrivingBatch:
    """Return a batch of black images and empty truth, with the shapes of :func:`make_batch`."""
    size, frames = config.batch, 1 + config.future
    seen: Observation = tree_map(lambda x: x.repeat_interleave(size, 0), make_blank(config))
    cameras = len(CAMERAS) if config.sees == "cameras" else 0  # like windows without images
    looks = ("images", "sweeps", "intrinsic", "to_ego")
    seen = seen._replace(**{name: getattr(seen, name)[:, :, :cameras] for name in looks})
    masks = torch.zeros(size, frames, *config.grid.shape, dtype=torch.bool)
    truth = Truth(
        vehicle=masks,
        pedestrian=masks,
        instance=masks.int(),
        drivable=torch.zeros(size, *config.road.shape, dtype=torch.bool),
        lane=masks[:, 0],
        depth=torch.zeros(size, config.past, cameras, *config.feature_size),
        path=torch.zeros(size, config.future, 3),
        route=torch.zeros(size, ROUTE_POINTS, 2),
        shown=torch.ones(size, dtype=torch.bool),
    )
    return DrivingBatch(seen, truth)


def keep_frames(batch: DrivingBatch, past: int) -> DrivingBatch:
    """Return a batch with only the last ``past`` of its S past and present frames."""
    seen, truth = batch
    framed = ("images", "sweeps", "intrinsic", "to_ego", "to_present", "maps")
    kept = {name: getattr(seen, name)[:, -past:] for name in framed}
    return DrivingBatch(seen._replace(**kept), truth._replace(depth=truth.depth[:, -past:]))


def _stack(arrays: Sequence[np.ndarray | np.generic]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))

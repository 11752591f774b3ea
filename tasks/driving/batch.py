"""Batches of windows: what a model sees, and the truth it is trained on, as tensors.

Axes: B windows, S past and present frames, F future frames, T = 1 + F from the present on,
N cameras, H and W of images, h and w of features, X and Y cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from drivers.nuscenes.window import Window
from tasks.driving.sampler import COMMANDS, Ego


class Seen(NamedTuple):
    """What a car can know; fields as of :class:`drivers.nuscenes.window.Window`."""

    images: UInt8[Tensor, "B S N 3 H W"]
    intrinsic: Float[Tensor, "B S N 3 3"]
    to_ego: Float[Tensor, "B S N 4 4"]
    to_present: Float[Tensor, "B S 4 4"]
    ego: Ego


class Truth(NamedTuple):
    """The truth; masks of the present frame and of future ones, of the map the present one."""

    vehicle: Bool[Tensor, "B T X Y"]
    pedestrian: Bool[Tensor, "B T X Y"]
    instance: Int[Tensor, "B T X Y"]
    drivable: Bool[Tensor, "B X Y"]
    lane: Bool[Tensor, "B X Y"]
    depth: Float[Tensor, "B S N h w"]
    path: Float[Tensor, "B F 3"]


class Batch(NamedTuple):
    """Both; every tensor's first axis is B."""

    seen: Seen
    truth: Truth


def make_seen(windows: Sequence[Window]) -> Seen:
    """Return what windows show."""
    return Seen(
        **{
            name: _stack([getattr(w, name) for w in windows])
            for name in ("images", "intrinsic", "to_ego", "to_present")
        },
        ego=Ego(
            speed=_stack([w.speed[-1] for w in windows]),
            yaw_rate=_stack([w.yaw_rate[-1] for w in windows]),
            command=torch.tensor([COMMANDS.index(w.command) for w in windows]),
        ),
    )


def make_batch(windows: Sequence[Window]) -> Batch:
    """Return a batch of windows."""
    present = windows[0].images.shape[0] - 1
    moving = ("vehicle", "pedestrian", "instance")
    still = ("drivable", "lane", "depth", "path")
    truth = {n: _stack([getattr(w, n)[present:] for w in windows]) for n in moving}
    truth |= {n: _stack([getattr(w, n) for w in windows]) for n in still}
    return Batch(make_seen(windows), Truth(**truth))


def _stack(arrays: Sequence[np.ndarray | np.generic]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))

"""Batches with left and right exchanged: twice the scenes, for training.

A mirrored window is what cameras would see in a world that is mirrored along y: images are
flipped and trade places, the principal point and the poses of cameras follow, and so do maps,
the command and the path. Traffic then keeps to the other side, as it does in Singapore.
Axes: B windows, S frames, N cameras, K maps, X and Y cells.
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.utils._pytree import tree_map

from drivers.nuscenes.rig import CAMERAS
from tasks.driving.batch import DrivingBatch, Seen, Truth
from tasks.driving.sampler import COMMANDS


def _exchange(name: str) -> str:
    left, right = "LEFT", "RIGHT"
    return name.replace(left, right) if left in name else name.replace(right, left)


TRADED = [CAMERAS.index(_exchange(name)) for name in CAMERAS]  # who sees the other side
MASKS = ("vehicle", "pedestrian", "instance", "drivable", "lane")


def mirror_windows(batch: DrivingBatch, chosen: Bool[Tensor, " B"]) -> DrivingBatch:
    """Return a batch in which the chosen windows are mirrored; its grid must be symmetric."""

    def choose(plain: Tensor, other: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (plain.dim() - 1)), other, plain)

    made: DrivingBatch = tree_map(choose, batch, mirror(batch))
    return made


def mirror(batch: DrivingBatch) -> DrivingBatch:
    """Return a batch of which all windows are mirrored."""
    return DrivingBatch(_mirror_seen(batch.seen), _mirror_truth(batch.truth))


def _mirror_seen(seen: Seen) -> Seen:
    intrinsic = _trade(seen.intrinsic).clone()
    intrinsic[..., 0, 2] = seen.images.shape[-1] - intrinsic[..., 0, 2]
    ego = seen.ego
    return Seen(
        images=_trade(seen.images).flip(-1),
        intrinsic=intrinsic,
        # An axis of a camera points to the right, one of the car to the left.
        to_ego=_negate(_trade(seen.to_ego), 1, 0),
        to_present=_negate(seen.to_present, 1, 1),
        maps=seen.maps.flip(-1),
        ego=ego._replace(yaw_rate=-ego.yaw_rate, command=len(COMMANDS) - 1 - ego.command),
    )


def _trade(cameras: Shaped[Tensor, "B S N ..."]) -> Shaped[Tensor, "B S N ..."]:
    """Return what cameras see, or are, at the places of those of the other side; N 0 or 6."""
    return cameras[:, :, TRADED] if cameras.shape[2] else cameras


def _negate(pose: Float[Tensor, "*B 4 4"], row: int, column: int) -> Float[Tensor, "*B 4 4"]:
    """Return poses with a row and a column negated."""
    signs = pose.new_ones(2, 4)
    signs[0, row] = signs[1, column] = -1
    return pose * signs[0, :, None] * signs[1]


def _mirror_truth(truth: Truth) -> Truth:
    return truth._replace(
        depth=_trade(truth.depth).flip(-1),
        path=truth.path * truth.path.new_tensor([1.0, -1.0, -1.0]),
        **{name: getattr(truth, name).flip(-1) for name in MASKS},
    )

"""Exchange left and right in batches, which doubles the scenes for training.

A mirrored window shows a world mirrored along y: images are flipped and trade places, and the
principal point and the poses of cameras, the maps, the command and the path follow.
Axes: B windows, S frames, N cameras, K maps, X and Y cells.
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.utils._pytree import tree_map

from drivers.nuscenes.rig import CAMERAS
from tasks.driving.batch import DrivingBatch, Observation
from tasks.driving.sampler import COMMANDS


def _exchange(name: str) -> str:
    left, right = "LEFT", "RIGHT"
    return name.replace(left, right) if left in name else name.replace(right, left)


TRADED = [CAMERAS.index(_exchange(name)) for name in CAMERAS]  # camera on the other side
MASKS = ("vehicle", "pedestrian", "instance", "drivable", "lane")


def mirror_windows(batch: DrivingBatch, chosen: Bool[Tensor, " B"]) -> DrivingBatch:
    """Mirror the chosen windows of a batch; its grid must be symmetric."""

    def choose(plain: Tensor, mirrored: Tensor) -> Tensor:
        return torch.where(chosen.view(-1, *[1] * (plain.dim() - 1)), mirrored, plain)

    out: DrivingBatch = tree_map(choose, batch, mirror(batch))
    return out


def mirror(batch: DrivingBatch) -> DrivingBatch:
    """Mirror all windows of a batch."""
    seen, truth = batch
    intrinsic = _trade(seen.intrinsic).clone()
    intrinsic[..., 0, 2] = seen.images.shape[-1] - intrinsic[..., 0, 2]
    ego = seen.ego
    mirrored = Observation(
        images=_trade(seen.images).flip(-1),
        intrinsic=intrinsic,
        # The lateral axis of a camera points to the right, that of the car to the left.
        to_ego=_negate(_trade(seen.to_ego), 1, 0),
        to_present=_negate(seen.to_present, 1, 1),
        maps=seen.maps.flip(-1),
        ego=ego._replace(yaw_rate=-ego.yaw_rate, command=len(COMMANDS) - 1 - ego.command),
    )
    truth = truth._replace(
        depth=_trade(truth.depth).flip(-1),
        path=truth.path * truth.path.new_tensor([1.0, -1.0, -1.0]),
        **{name: getattr(truth, name).flip(-1) for name in MASKS},
    )
    return DrivingBatch(mirrored, truth)


def _trade(cameras: Shaped[Tensor, "B S N ..."]) -> Shaped[Tensor, "B S N ..."]:
    """Exchange the values of the cameras on both sides; N is 0 or 6."""
    return cameras[:, :, TRADED] if cameras.shape[2] else cameras


def _negate(pose: Float[Tensor, "*B 4 4"], row: int, column: int) -> Float[Tensor, "*B 4 4"]:
    """Return poses with a row and a column negated."""
    signs = pose.new_ones(2, 4)
    signs[0, row] = signs[1, column] = -1
    return pose * signs[0, :, None] * signs[1]

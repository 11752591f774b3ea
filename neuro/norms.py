"""Batch norms whose batch is shared by several processes (DDP), on any device.

Each process normalises by the mean and variance of the whole batch, as one process would:
torch's own SyncBatchNorm does so on GPUs only. All processes must hold as many samples.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_BatchNorm = nn.modules.batchnorm._BatchNorm


def shared(module: nn.Module) -> bool:
    """Say whether other processes hold parts of the batch that a module normalises by."""
    return (
        isinstance(module, _BatchNorm)
        and module.training
        and dist.is_available()
        and dist.is_initialized()
        and dist.get_world_size() > 1
    )


def normalised(module: Any, x: Tensor) -> Tensor:
    """Return what a batch norm in training makes of a part of the batch, axes N C ...."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    rows = [1, -1, *[1] * (x.dim() - 2)]
    number = x.numel() // x.shape[1] * dist.get_world_size()
    mean = _sum(x.sum(axes)) / number
    apart = x - mean.view(rows)
    variance = _sum(apart.square().sum(axes)) / number
    _remember(module, mean.detach(), variance.detach() * number / max(number - 1, 1))
    y = apart * torch.rsqrt(variance + module.eps).view(rows)
    return y * module.weight.view(rows) + module.bias.view(rows) if module.affine else y


def _sum(values: Tensor) -> Tensor:
    """Return the sum over all processes; gradients are summed on the way back."""
    apply: Any = _Sum.apply
    out: Tensor = apply(values)
    return out


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004
        out = values.clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, flowing: Tensor) -> Tensor:  # noqa: ARG004
        out = flowing.contiguous().clone()
        dist.all_reduce(out)
        return out


@torch.no_grad()
def _remember(module: Any, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as torch does."""
    if not module.track_running_stats:
        return
    module.num_batches_tracked += 1
    share = module.momentum
    if share is None:  # the mean of all batches so far
        share = 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance, share)

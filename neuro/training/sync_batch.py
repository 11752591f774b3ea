"""Batch norms and dropouts over the whole batch of several processes (DDP), on any device.

Each process normalises by the mean and variance of the whole batch; torch's SyncBatchNorm does
so on GPUs only. Each process draws the dropout mask of the whole batch, so N processes draw the
mask of one. All shards must have the same size.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neuro.training.distributed import get_rank_and_world_size, shard_slice


def synchronize_layers(model: nn.Module) -> None:
    """Make a model's batch norms and dropouts, in training mode, work on the whole batch.

    A single process changes nothing. Parameters, buffers and their names stay the same.
    """
    if get_rank_and_world_size()[1] == 1:
        return
    for module in model.modules():
        for kind, apply in _WHOLE_BATCH.items():
            if isinstance(module, kind):
                layer: Any = module
                layer.forward = partial(_forward, module, apply)


def _forward(module: Any, apply: Callable[[Any, Tensor], Tensor], x: Tensor) -> Tensor:
    together = module.training and get_rank_and_world_size()[1] > 1
    out: Tensor = apply(module, x) if together else type(module).forward(module, x)
    return out


def apply_dropout(module: Any, x: Tensor) -> Tensor:
    """Return the output of a dropout in training mode for a shard, axes B ....

    Computes the whole batch, with zeros for the samples of other processes, which briefly takes
    n times the memory. torch draws the mask in memory order, so the whole batch has the memory
    format of ``x``.
    """
    rows = (len(x) * get_rank_and_world_size()[1], *x.shape[1:])
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    whole = torch.empty_permuted(rows, order, dtype=x.dtype, device=x.device).zero_()
    whole[shard_slice()] = x
    out: Tensor = type(module).forward(module, whole)[shard_slice()]
    return out


def apply_batch_norm(module: Any, x: Tensor) -> Tensor:
    """Return the output of a batch norm in training mode for a shard, axes B C ....

    Processes wait for each other once, and once more in the backward pass.
    """
    apply: Any = _BatchNorm.apply
    y, mean, variance, number = apply(x, module.weight, module.bias, module.eps)
    _update_statistics(module, mean, variance * number / max(number - 1, 1))
    out: Tensor = y
    return out


class _BatchNorm(torch.autograd.Function):
    """The normalised values, their mean and variance, and the number of values.

    The variance of the batch is the mean of the shards' variances plus the variance of their
    means, which avoids cancellation. With g the gradient of y, z = (x - mean) / s and s the
    standard deviation, the gradient of x is w / s (g - mean of g - z mean of g z), with means
    over all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        processes = get_rank_and_world_size()[1]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        wide = torch.promote_types(x.dtype, torch.float32)
        kind = wide if weight is None else weight.dtype  # wider than x in mixed precision
        own = torch.stack(torch.var_mean(x.to(kind), axes, correction=0))
        moments = [torch.empty_like(own) for _ in range(processes)]
        dist.all_gather(moments, own)
        variances, means = torch.stack(moments, 1)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        y = F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps))
        ctx.number = x.numel() // x.shape[1] * processes
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance, ctx.number

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, g: Tensor, *_: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, mean, rstd = ctx.saved_tensors
        axes = [axis for axis in range(x.dim()) if axis != 1]
        rows = [1, -1, *[1] * (x.dim() - 2)]
        z = (x - mean.view(rows)) * rstd.view(rows)
        own = torch.stack([g.sum(axes), (g * z).sum(axes)])
        whole = own.clone()
        dist.all_reduce(whole)
        of_g, of_gz = (whole / ctx.number).view(2, *rows)
        slope = rstd if weight is None else weight * rstd
        gradient = (slope.view(rows) * (g - of_g - z * of_gz)).to(x.dtype)
        if weight is None:
            return gradient, None, None, None
        return gradient, own[1], own[0], None


@torch.no_grad()
def _update_statistics(module: Any, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics as torch does."""
    if not module.track_running_stats:
        return
    module.num_batches_tracked += 1
    momentum = module.momentum
    if momentum is None:  # the mean of all batches so far
        momentum = 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean.to(module.running_mean), momentum)
    module.running_var.lerp_(variance.to(module.running_var), momentum)


_WHOLE_BATCH: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.modules.batchnorm._BatchNorm: apply_batch_norm,
    nn.modules.dropout._DropoutNd: apply_dropout,
}

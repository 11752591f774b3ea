"""Batch norms and dropouts over the whole batch of several processes (DDP), on any device.

Each process normalises by the mean and variance of the whole batch, as one process would:
torch's own SyncBatchNorm does so on GPUs only. Each draws the dropout
mask of the whole batch, so that N processes draw what one would. All shards must have the same
size.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from neuro.training.distributed import get_rank_and_world_size, shard_slice


def synchronize_layers(model: nn.Module) -> None:
    """Make a model's batch norms and dropouts, in training mode, work on the whole batch.

    In one process nothing changes. Parameters, buffers and their names stay as they are.
    """
    if get_rank_and_world_size()[1] == 1:
        return
    for module in model.modules():
        for kind, apply in _WHOLE_BATCH.items():
            if isinstance(module, kind):
                changed: Any = module
                changed.forward = partial(_forward, module, apply)


def _forward(module: Any, apply: Callable[[Any, Tensor], Tensor], x: Tensor) -> Tensor:
    together = module.training and get_rank_and_world_size()[1] > 1
    out: Tensor = apply(module, x) if together else type(module).forward(module, x)
    return out


def apply_dropout(module: Any, x: Tensor) -> Tensor:
    """Return the output of a dropout in training mode for a shard, axes B ....

    It is computed for the whole batch, with zeros for the samples of other processes: for a
    moment it takes n times the memory. The mask is drawn in memory order, so the whole batch
    has the memory format of ``x``.
    """
    rows = (len(x) * get_rank_and_world_size()[1], *x.shape[1:])
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    whole = torch.empty_permuted(rows, order, dtype=x.dtype, device=x.device).zero_()
    whole[shard_slice()] = x
    out: Tensor = type(module).forward(module, whole)[shard_slice()]
    return out


def apply_batch_norm(module: Any, x: Tensor) -> Tensor:
    """Return the output of a batch norm in training mode for a shard, axes B C ...."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    rows = [1, -1, *[1] * (x.dim() - 2)]
    number = x.numel() // x.shape[1] * get_rank_and_world_size()[1]
    mean = _sum(x.sum(axes)) / number
    centred = x - mean.view(rows)
    variance = _sum(centred.square().sum(axes)) / number
    _update_statistics(module, mean.detach(), variance.detach() * number / max(number - 1, 1))
    y = centred * torch.rsqrt(variance + module.eps).view(rows)
    return y * module.weight.view(rows) + module.bias.view(rows) if module.affine else y


def _sum(values: Tensor) -> Tensor:
    """Return the sum over all processes; the backward pass sums the gradients."""
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
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        out = gradient.contiguous().clone()
        dist.all_reduce(out)
        return out


@torch.no_grad()
def _update_statistics(module: Any, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics as torch does."""
    if not module.track_running_stats:
        return
    module.num_batches_tracked += 1
    momentum = module.momentum
    if momentum is None:  # the mean of all batches so far
        momentum = 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean, momentum)
    module.running_var.lerp_(variance, momentum)


_WHOLE_BATCH: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.modules.batchnorm._BatchNorm: apply_batch_norm,
    nn.modules.dropout._DropoutNd: apply_dropout,
}

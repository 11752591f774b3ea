"""Batch norms and dropout over a batch that several processes share (DDP), on any device.

Each process normalises by the mean and variance of the whole batch, as one process would:
torch's own SyncBatchNorm does so on GPUs only. Each draws for the whole batch what dropout
keeps, so that N processes draw what one would. All processes must hold as many samples.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from neuro.training.distributed import own, processes


def share_batch(model: nn.Module) -> None:
    """Let a model's batch norms and dropouts, in training, work on the whole batch.

    In one process nothing changes. Parameters, buffers and their names stay as they are.
    """
    if processes()[1] == 1:
        return
    for module in model.modules():
        for kind, do in _WAYS.items():
            if isinstance(module, kind):
                changed: Any = module
                changed.forward = partial(_forward, module, do)


def _forward(module: Any, do: Callable[[Any, Tensor], Tensor], x: Tensor) -> Tensor:
    together = module.training and processes()[1] > 1
    out: Tensor = do(module, x) if together else type(module).forward(module, x)
    return out


def dropped(module: Any, x: Tensor) -> Tensor:
    """Return what a dropout in training makes of a part of the batch, the first axis rows.

    The rows of the other processes stand in as zeros: it takes n times the memory for a moment.
    What is kept is drawn in the order of the memory, so they have that of ``x``.
    """
    rows = (len(x) * processes()[1], *x.shape[1:])
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    whole = torch.empty_permuted(rows, order, dtype=x.dtype, device=x.device).zero_()
    whole[own()] = x
    out: Tensor = type(module).forward(module, whole)[own()]
    return out


def normalised(module: Any, x: Tensor) -> Tensor:
    """Return what a batch norm in training makes of a part of the batch, axes N C ...."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    rows = [1, -1, *[1] * (x.dim() - 2)]
    number = x.numel() // x.shape[1] * processes()[1]
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


_WAYS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.modules.batchnorm._BatchNorm: normalised,
    nn.modules.dropout._DropoutNd: dropped,
}

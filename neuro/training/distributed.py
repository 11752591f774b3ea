"""Several processes: shards of a batch (DDP) and of a model (FSDP), and layers that span them.

Process r of n holds the samples r, r + n, r + 2 n, ... of the whole batch: its shard. Where
ticks and samples share one axis (rows T B), the shard has the same rows.

Each process normalises by the mean and variance of the whole batch; torch's SyncBatchNorm does
so on GPUs only. Each process draws the dropout mask of the whole batch, so that N processes use
the mask of one. All shards must have the same size.

If the model is sharded, each process keeps 1 / n of every parameter, and gathers a block's
parameters while it computes the block. The functions for that import parts of torch and Fabric
late, because the import takes long.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim import Optimizer
from torch.utils._pytree import (
    _broadcast_to_and_flatten,
    tree_flatten,
    tree_map_only,
    tree_unflatten,
)

from neuro.training.course import TrainError

PLAIN = (bool, int, float, str, type(None))  # parts of a batch that every process gets whole


def get_rank_and_world_size() -> tuple[int, int]:
    """Return (index of this process, number of processes that train together)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def shard_slice(of: tuple[int, int] | None = None) -> slice:
    """Return the slice of the whole batch that this process holds.

    of: (index, number) of processes; None: the running processes.
    """
    rank, n = of or get_rank_and_world_size()
    return slice(rank, None, n)


def list_own_samples(samples: int) -> range:
    """Return the indices of this process's samples in a whole batch.

    Raises:
        TrainError: the number of samples is not a multiple of the number of processes.
    """
    _check_sizes([samples], None, get_rank_and_world_size()[1])
    return range(samples)[shard_slice()]


def draw_shard(draw: Callable[[int], Tensor], samples: int, axis: int = 0) -> Tensor:
    """Draw random values for this process's samples of the whole batch.

    Every process draws for all samples from the same seed and keeps the values of its shard, so
    that N processes use the values of one process. Only for training: evaluation does not shard
    batches.

    Args:
        draw: number of samples -> tensor.
        samples: number of samples in this process's shard.
        axis: of the samples in the tensor.

    >>> import torch
    >>> draw_shard(lambda samples: torch.zeros(3, samples), 4, axis=1).shape
    torch.Size([3, 4])
    """
    whole = draw(samples * get_rank_and_world_size()[1])
    return whole[(slice(None),) * axis + (shard_slice(),)]


def keep_strides_of_gradients(model: nn.Module) -> None:
    """Give gradients the strides of their parameters if several processes train.

    A stride along an axis of length 1 has no meaning. But a convolution of channels-last images
    returns a gradient whose stride there differs from the weight's, and DDP would warn.
    """
    if get_rank_and_world_size()[1] == 1:
        return
    for p in model.parameters():
        if p.requires_grad and 1 in p.shape:
            p.register_hook(partial(_replace_strides, p.stride()))  # type: ignore[no-untyped-call]


def _replace_strides(strides: tuple[int, ...], gradient: Tensor) -> Tensor:
    """Return a gradient that has these strides along its axes of length 1."""
    axes = zip(gradient.shape, strides, gradient.stride(), strict=True)
    return gradient.as_strided(gradient.shape, [a if n == 1 else b for n, a, b in axes])


def shard_batch(
    batch: Any, batch_axis: Any, device: torch.device, of: tuple[int, int] | None = None
) -> Any:
    """Return this process's shard of a whole batch, on ``device``.

    Args:
        batch: a pytree of tensors; its numbers, strings and None stay unchanged.
        batch_axis: the axis of the samples in every tensor, as ``in_dims`` of torch.vmap: an
            integer, or a pytree of integers whose leaves stand for whole subtrees of the batch;
            None: every process gets the tensors whole.
        device: device of the shard.
        of: (index, number) of processes; None: the running processes.

    Raises:
        TrainError: the axes do not fit the batch, its tensors differ in their number of
            samples, or the samples do not divide into the processes.
    """
    leaves, structure = tree_flatten(batch)
    axes = _broadcast_to_and_flatten(batch_axis, structure)
    if axes is None:
        raise TrainError(
            f"batch_axis {batch_axis} does not fit a batch of structure {structure}; give one "
            "axis for all tensors, or a structure of axes that is the start of the batch's"
        )
    sizes = {_count_samples(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True)}
    n = (of or get_rank_and_world_size())[1]
    _check_sizes(sorted(n for n in sizes if n is not None), batch_axis, n)
    shard = []
    for leaf, axis in zip(leaves, axes, strict=True):
        if not isinstance(leaf, Tensor):
            shard.append(leaf)
            continue
        if axis is not None:
            leaf = leaf[(slice(None),) * (axis % leaf.dim()) + (shard_slice(of),)]
        shard.append(leaf.to(device))
    return tree_unflatten(shard, structure)


def _count_samples(leaf: Any, axis: int | None) -> int | None:
    if not isinstance(leaf, (Tensor, *PLAIN)):
        raise TrainError(
            f"a batch holds a {type(leaf).__name__}; build it of tensors, tuples, lists and "
            "mappings (arrays: torch.from_numpy), or register the type as a pytree with torch"
        )
    if axis is None or not isinstance(leaf, Tensor):
        return None
    if not -leaf.dim() <= axis < leaf.dim():
        raise TrainError(
            f"batch_axis {axis} does not exist in a tensor of shape {tuple(leaf.shape)}"
        )
    return leaf.shape[axis]


def _check_sizes(sizes: list[int], batch_axis: Any, n: int) -> None:
    if len(sizes) > 1:
        raise TrainError(
            f"the tensors of a batch hold {' and '.join(map(str, sizes))} samples along "
            f"batch_axis {batch_axis}; name the axis of the samples in each"
        )
    if sizes and sizes[0] % n:
        raise TrainError(
            f"a batch of {sizes[0]} does not divide into {n} processes; choose a batch size "
            "that is a multiple of --devices, and drop a smaller last batch"
        )


def synchronize_layers(model: nn.Module) -> None:
    """Make a model's batch norms and dropouts, in training mode, act on the whole batch.

    With a single process nothing changes. Parameters, buffers and their names stay the same.
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
    """Return a dropout's output for a shard in training mode, axes B ....

    It computes the whole batch, with zeros for other processes' samples, which briefly takes n
    times the memory. torch draws the mask in memory order, so the whole batch has the memory
    format of ``x``.
    """
    rows = (len(x) * get_rank_and_world_size()[1], *x.shape[1:])
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    whole = torch.empty_permuted(rows, order, dtype=x.dtype, device=x.device).zero_()
    whole[shard_slice()] = x
    out: Tensor = type(module).forward(module, whole)[shard_slice()]
    return out


def apply_batch_norm(module: Any, x: Tensor) -> Tensor:
    """Return a batch norm's output for a shard in training mode, axes B C ....

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
    """Update the running statistics in the way torch does."""
    if not module.track_running_stats:
        return
    module.num_batches_tracked += 1
    momentum = module.momentum
    if momentum is None:  # None: the mean over all batches so far
        momentum = 1 / float(module.num_batches_tracked)
    module.running_mean.lerp_(mean.to(module.running_mean), momentum)
    module.running_var.lerp_(variance.to(module.running_var), momentum)


_WHOLE_BATCH: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.modules.batchnorm._BatchNorm: apply_batch_norm,
    nn.modules.dropout._DropoutNd: apply_dropout,
}


if TYPE_CHECKING:
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy


def make_sharding(processes: int) -> "ModelParallelStrategy":
    """Return Fabric's sharding strategy for this number of processes."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    return ModelParallelStrategy(
        shard_model, data_parallel_size=processes, tensor_parallel_size=1
    )


def shard_model(model: nn.Module, mesh: Any) -> nn.Module:
    """Shard a model in place: each block separately, then the rest."""
    from torch.distributed.fsdp import fully_shard

    for module in (*list_blocks(model), model):
        module.register_forward_hook(_copy_views)  # before the hooks that gather weights
        fully_shard(module, mesh=mesh["data_parallel"])
    return model


def _copy_views(module: nn.Module, inputs: Any, out: Any) -> Any:  # noqa: ARG001
    """Return outputs with views copied: changing a view in place would lose its gradients."""
    return tree_map_only(Tensor, lambda t: t if t._base is None else t.clone(), out)


def list_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the modules to shard separately: the entries of the outermost ModuleLists."""

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            yield from child if isinstance(child, nn.ModuleList) else walk(child)

    return list(walk(model))


def is_sharded(model: nn.Module) -> bool:
    """Say whether a model's parameters are shards."""
    return any(map(_is_shard, model.parameters()))


def gather(values: Any) -> Any:
    """Return a pytree with sharded tensors made whole; every process must call it."""
    return tree_map_only(Tensor, lambda t: t.full_tensor() if _is_shard(t) else t, values)


def shard_states(optimizer: Optimizer) -> None:
    """Shard an optimizer's states like its parameters; every process must call it."""
    p: Any  # a shard has attributes that Tensor lacks
    for p, states in optimizer.state.items():
        for name, value in states.items() if _is_shard(p) else ():
            if isinstance(value, Tensor) and value.shape == p.shape:
                from torch.distributed.tensor import distribute_tensor

                states[name] = distribute_tensor(value, p.device_mesh, p.placements)


def _is_shard(tensor: Tensor) -> bool:
    """Say whether a tensor is a shard; if the shards' module is not imported, none is."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)

"""Plain torch modules on every tick: T is folded into the batch.

What is the same at every tick is computed once; a linear layer skips inputs that are zero;
images are stored channels last, which is faster on a CPU. Axes: T ticks, B batch.
"""

import torch
from torch import Tensor, nn

from neuro.ops.avg_pool import apply_avg_pool
from neuro.ops.sparse_linear import ArrangeWeights, apply_linear, arrange_weights

# Modules whose output depends on their input alone, whatever the tick.
TIMELESS = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.Linear,
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.Upsample,
    nn.ReLU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softmax,
    nn.Tanh,
    nn.Sequential,
)


def is_one_tick(x: Tensor) -> bool:
    """Say whether ``x`` is one tick, expanded to several."""
    return len(x) > 1 and x.stride(0) == 0


def is_timeless(module: nn.Module) -> bool:
    """Say whether the output of a module depends on its input alone, whatever the tick."""
    return all(isinstance(m, TIMELESS) for m in module.modules())


def run_on_ticks(
    module: nn.Module, x: Tensor, arrange: ArrangeWeights = arrange_weights
) -> Tensor:
    """Return the outputs of a module for each tick.

    arrange: as of :func:`neuro.ops.sparse_linear.apply_linear`.

    A batch norm that is trained sees all ticks of all samples as one batch (tdBN, Zheng et al.
    2021). Over an input that is the same at every tick its mean and variance are those of one,
    and its running variance that of B and not of T B values. Over several processes it sees the
    whole batch, see :mod:`neuro.training.sync_batch`.
    """
    if is_one_tick(x) and is_timeless(module):
        y = run_on_ticks(module, x[:1])
        return y.expand(len(x), *y.shape[1:])
    folded = x.flatten(0, 1)
    if has_hooks(module) or x.device.type != "cpu":
        y = module(folded)
    elif type(module) is nn.Linear and folded.dim() == 2:
        y = apply_linear(folded, module.weight, module.bias, arrange)
    elif type(module) is nn.AvgPool2d:
        y = apply_avg_pool(folded, module)
    elif type(module) in (nn.Conv2d, nn.ConvTranspose2d):
        last = torch.channels_last  # asked for twice: from one channel it is not kept
        y = module(folded.contiguous(memory_format=last)).contiguous(memory_format=last)
    else:
        y = module(folded)
    out: Tensor = y.reshape(*x.shape[:2], *y.shape[1:])
    return out


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module has hooks: it must be called then."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)

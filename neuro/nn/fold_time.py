"""Plain torch modules that act on every tick: T is folded into the batch.

An input that is equal at every tick is computed once, a linear layer skips inputs that are
zero, and images are stored channels last, which is faster on a CPU. Axes: T ticks, B batch.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.modules.module as _torch
from torch import Tensor, nn

from neuro.base.arguments import describe
from neuro.nn.spiking import LayerError, Temporal, require_module
from neuro.ops.avg_pool import apply_avg_pool
from neuro.ops.sparse_linear import ArrangeWeights, apply_linear, arrange_weights

# Modules that map each sample to one output, in the same way at every tick. A subclass, or a
# module with a hook, may do anything.
WITH_WEIGHTS = frozenset(
    {
        *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
        *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    }
)
SAMPLE_WISE = WITH_WEIGHTS | frozenset(
    {
        *(nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.Sequential),
        *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        *(nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softmax),
    }
)
BATCH_NORMS = frozenset({nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d})
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_SIZES = {3: "L", 4: "H, W", 5: "D, H, W"}  # image axes, by the number of weight axes
DROPOUTS = frozenset({nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout})
_WITH_STATE = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
_ENCODERS = (nn.TransformerEncoderLayer, nn.TransformerEncoder)
# Classes of other libraries whose modules keep a state between calls, or return it.
_PEERS_WITH_STATE = {
    "snntorch": ("SpikingNeuron",),
    "spikingjelly": ("MemoryModule",),
    "norse": ("SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell", "SequentialState"),
}
_OWN_STATE = (
    "; write neurons as Spiking(LIF(...)), recurrent neurons as Recurrent(Spiking(LIF(...)), "
    "nn.Linear(n, n)), and another module with a state as a class that extends "
    "neuro.nn.Temporal, with forward(x, state) -> (y, state) over all ticks"
)


def is_one_tick(x: Tensor) -> bool:
    """Say whether ``x`` is a single tick that was expanded to several."""
    return len(x) > 1 and x.stride(0) == 0


def is_timeless(module: nn.Module) -> bool:
    """Say whether a module maps every tick in the same way, by its input alone."""
    known = SAMPLE_WISE | BATCH_NORMS
    return all(
        type(m) in known and not has_hooks(m) and not _mixes_samples(m)
        for m in module.modules()
    )


def is_sample_wise(module: nn.Module) -> bool:
    """Say whether a module, without its children, is deterministic per sample."""
    if has_hooks(module) or _mixes_samples(module):
        return False
    if type(module) in BATCH_NORMS:
        return not module.training and module.running_mean is not None
    return type(module) in SAMPLE_WISE or (type(module) in DROPOUTS and not module.training)


def _mixes_samples(module: nn.Module) -> bool:
    """Say whether a module is a softmax that may run along axis 0 (ticks and samples)."""
    return type(module) is nn.Softmax and not (module.dim == -1 or (module.dim or 0) > 0)


def require_on_ticks(what: str, module: object) -> None:
    """Raise an error unless a value is a torch module that can be part of a Stack.

    A plain module acts on each tick: it maps one tensor to one tensor and keeps no state.

    Raises:
        TypeError: the value is not a torch module.
        ValueError: the module needs several arguments or keeps a state.
    """
    require_module(what, module)
    if isinstance(module, Temporal):
        return
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        if any(isinstance(part, Temporal) for part in module.modules()):
            raise ValueError(
                f"{what}: a Sequential passes on neither ticks nor state; make it a Stack"
            )
        for name, child in module._modules.items():
            require_on_ticks(f"{name} of {what}", child)
        return
    if isinstance(module, nn.Module) and (why := _explain_no_tick(module)):
        raise ValueError(f"{what}: {type(module).__name__} {why}")


def _explain_no_tick(module: nn.Module) -> str:
    """Explain, with the cure, why a module cannot act on each tick separately; "" if it can."""
    forward = type(module).forward
    keeps = f"keeps a state, which a Stack does not pass on{_OWN_STATE}"
    for kind in type(module).__mro__:
        library = kind.__module__.split(".")[0]
        if kind.__name__ in _PEERS_WITH_STATE.get(library, ()):
            page = f"see docs/recipes/from_{library}.md"
            return f"of {library} {keeps}; {page}"
    if any(isinstance(module, kind) and forward is kind.forward for kind in _WITH_STATE):
        return keeps
    if any(isinstance(module, kind) and forward is kind.forward for kind in _ENCODERS):
        first: Any = module.layers[0] if isinstance(module, nn.TransformerEncoder) else module
        if not first.self_attn.batch_first:
            return "attends along axis 0, ticks and samples; use batch_first=True"
    if forward is nn.Module.forward:
        return "has no forward; use Stack(*modules) for the modules inside it"
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # a compiled forward has no signature
        return ""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needs = [p.name for p in parameters if p.kind in kinds and p.default is p.empty]
    if len(needs) < 2:
        return ""
    return (
        f"takes {', '.join(needs)}, and a layer of a Stack takes one tensor; wrap it in a "
        "module with forward(self, x)"
    )


def is_quantised(module: nn.Module) -> bool:
    """Say whether torch has quantised a module, for example with ``quantize_dynamic``."""
    return type(module).__module__.startswith("torch.ao.nn.quantized.")


def keep_input(module: nn.Module, x: Tensor) -> Tensor:
    """Return ``x``, or a copy if the module writes to its input (``inplace=True``)."""
    return x.clone() if any(getattr(m, "inplace", False) for m in module.modules()) else x


def run_on_ticks(
    module: nn.Module, x: Tensor, arrange: ArrangeWeights = arrange_weights
) -> Tensor:
    """Return a module's outputs for every tick.

    arrange: as in :func:`neuro.ops.sparse_linear.apply_linear`.

    In training, a batch norm treats all ticks of all samples as one batch (tdBN, Zheng et al.
    2021). If the input is equal at every tick, mean and variance are those of one tick, and the
    running variance is that of B values instead of T B. With several processes the norm sees
    the whole batch, see :mod:`neuro.training.distributed`.
    """
    _require_precision(module, x)
    require_fit(module, x)
    if is_one_tick(x) and is_timeless(module):
        y = run_on_ticks(module, x[:1])
        return y.expand(len(x), *y.shape[1:])
    folded = keep_input(module, x.flatten(0, 1))
    if has_hooks(module) or x.device.type != "cpu":
        y = module(folded)
    elif type(module) is nn.Linear and folded.dim() == 2:
        y = apply_linear(folded, module.weight, module.bias, arrange)
    elif type(module) is nn.AvgPool2d:
        y = apply_avg_pool(folded, module)
    elif type(module) in (nn.Conv2d, nn.ConvTranspose2d):
        last = torch.channels_last  # set twice: images of one channel lose it
        y = module(folded.contiguous(memory_format=last)).contiguous(memory_format=last)
    else:
        y = module(folded)
    if not isinstance(y, Tensor) or y.shape[:1] != folded.shape[:1]:
        what = f"a tensor of shape {tuple(y.shape)}" if isinstance(y, Tensor) else describe(y)
        raise LayerError(
            module,
            f"mapped {tuple(folded.shape)}, with ticks and samples as one axis, to {what}; a "
            "layer of a Stack returns one tensor with the same axis 0",
        )
    out: Tensor = y.reshape(*x.shape[:2], *y.shape[1:])
    return out


def _require_precision(module: nn.Module, x: Tensor) -> None:
    """Raise a LayerError if a known layer does not accept the precision of ``x``."""
    if has_hooks(module):
        return
    if type(module) in _EMBEDDINGS and x.dtype not in (torch.int64, torch.int32):
        cure = "use x.long() for indices, or a Linear for spikes"
        raise LayerError(module, f"takes indices of rows, torch.int64, x is {x.dtype}; {cure}")
    if _is_quantised_linear(module) and x.dtype != torch.float32:
        cure = "use x.to(torch.float32), or the layer before quantize_dynamic"
        raise LayerError(
            module, f"is quantised and takes torch.float32, x is {x.dtype}; {cure}"
        )
    weight = module.weight if type(module) in WITH_WEIGHTS else None
    if not isinstance(weight, Tensor) or x.dtype == weight.dtype:
        return
    if not torch.is_autocast_enabled(x.device.type):
        cure = f"use x.to({weight.dtype}), or net.double() for float64"
        raise LayerError(module, f"its weights are {weight.dtype}, x is {x.dtype}; {cure}")


def require_fit(module: nn.Module, x: Tensor) -> None:
    """Raise a LayerError if ``x`` has a shape that a known layer does not accept."""
    linear = type(module) is nn.Linear or _is_quantised_linear(module)
    known: Any = module if linear or type(module) in WITH_WEIGHTS | BATCH_NORMS else None
    if known is None or has_hooks(module) or _fits(module, x.shape):
        return
    if linear:
        need = f"(ticks, samples, ..., {known.in_features})"
    elif type(module) in BATCH_NORMS:
        need = f"(ticks, samples, {known.num_features}, ...)"
    else:
        need = f"(ticks, samples, {known.in_channels}, {_SIZES[known.weight.dim()]})"
    alone = _fits(module, (*x.shape[:1], 1, *x.shape[1:]))
    cure = "for one sample use x[:, None]" if alone else "change it, or the layer before it"
    raise LayerError(module, f"takes {need}, got {tuple(x.shape)}; {cure}")


def _is_quantised_linear(module: nn.Module) -> bool:
    """Say whether a module is a Linear with integer weights that takes floats."""
    dynamic = type(module).__module__.startswith("torch.ao.nn.quantized.dynamic.")
    return dynamic and hasattr(module, "in_features")


def _fits(module: Any, shape: Sequence[int]) -> bool:
    if type(module) is nn.Linear or _is_quantised_linear(module):
        return len(shape) > 2 and bool(shape[-1] == module.in_features)
    if type(module) in BATCH_NORMS:
        return len(shape) > 2 and bool(shape[2] == module.num_features)
    axes: int = module.weight.dim()
    return len(shape) == 1 + axes and bool(shape[2] == module.in_channels)


def has_hooks(module: nn.Module) -> bool:
    """Say whether a module must be called, because it has hooks or its own forward."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return bool(hooks) or has_own_forward(module) or has_global_hooks()


def has_global_hooks() -> bool:
    """Say whether hooks are registered for all modules of this process."""
    return bool(_torch._global_forward_hooks or _torch._global_forward_pre_hooks)


def has_own_forward(module: nn.Module) -> bool:
    """Say whether an instance has a forward that replaces the forward of its class.

    The forward that :mod:`neuro.training.distributed` sets for several processes does not
    count: it computes the same over the whole batch.
    """
    own = vars(module).get("forward")
    function = getattr(own, "func", own)
    ours = getattr(function, "__module__", None) == "neuro.training.distributed"
    return own is not None and not ours

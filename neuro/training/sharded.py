"""Models whose parameters, gradients and optimizer states are sharded over processes (FSDP).

Each process keeps 1 / n of every parameter, and gathers those of a block while it computes.
The functions import what they need of torch and Fabric, because these imports take long.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

if TYPE_CHECKING:
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy


def make_sharding(processes: int) -> "ModelParallelStrategy":
    """Return Fabric's sharding strategy for a number of processes."""
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
    """Return outputs with views copied: changing a view in place would lose gradients."""
    return tree_map_only(Tensor, lambda t: t if t._base is None else t.clone(), out)


def list_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the modules to shard separately: those of the outermost ModuleLists."""

    def walk(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            yield from child if isinstance(child, nn.ModuleList) else walk(child)

    return list(walk(model))


def is_sharded(model: nn.Module) -> bool:
    """Say whether a model's parameters are shards."""
    return any(map(_is_shard, model.parameters()))


def gather(values: Any) -> Any:
    """Return a pytree with whole tensors for sharded ones; every process must call it."""
    return tree_map_only(Tensor, lambda t: t.full_tensor() if _is_shard(t) else t, values)


def shard_states(optimizer: Optimizer) -> None:
    """Shard the states of an optimizer as its parameters are; every process must call it."""
    p: Any  # a shard has more attributes than Tensor
    for p, states in optimizer.state.items():
        for name, value in states.items() if _is_shard(p) else ():
            if isinstance(value, Tensor) and value.shape == p.shape:
                from torch.distributed.tensor import distribute_tensor

                states[name] = distribute_tensor(value, p.device_mesh, p.placements)


def _is_shard(tensor: Tensor) -> bool:
    """Say whether a tensor is a shard; without the import of its type there are none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)

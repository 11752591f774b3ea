"""``neuro train --dry-run``: the memory that a training would take of each device, from shapes.

Model, optimizer and loss run on torch's device "meta", which has shapes and no values: a model
of any size is measured on any machine.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from neuro.io.run_folder import Run, RunError
from neuro.training import TrainError
from neuro.training.distributed import shard_batch
from neuro.training.sharded import list_blocks
from tasks.find import find_task_of
from tasks.verbs.train import make_plan
from tasks.verbs.trained_run import build_fresh_model

META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a training takes of each device [bytes].

    optimizer: its states. activations: what autograd keeps from the forward to the backward
    pass of this device's share of a batch, in float32; of gated linear attention as much as
    with strong decays, an eighth more than with weak ones. gathered: with whole models (DDP)
    the buckets in which gradients are exchanged; sharded (FSDP) the largest block, and what
    lies outside of blocks, whose weights are whole while they compute. Code and temporary
    values are not counted.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    gathered: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return sum(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """A training that did not happen. parameters: how many. samples: of a device's batch."""

    parameters: int
    devices: int
    whole: Memory
    sharded: Memory


def measure_dry_run(run: Run, devices: int) -> DryRun:
    """Return the memory of a training on so many devices, whole on each (DDP) and sharded.

    Raises:
        RunError: the model or its loss asks for values, which there are none of.
        TrainError: a batch does not divide into the devices.
    """
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    plan = make_plan(run)
    try:
        with META:
            model = build_fresh_model(run)
        activations = measure_activations(run, model, devices)
        for p in model.parameters():
            p.grad = torch.zeros_like(p) if p.requires_grad else None
        optimizer = plan.build_optimizer(model)
        optimizer.step()
    except TrainError:
        raise
    except (NotImplementedError, RuntimeError) as error:
        raise RunError(
            f"{run.task} cannot be measured without values ({error}); --dry-run needs a model "
            'and a loss that run on torch\'s device "meta", as those of language do'
        ) from error
    states = count_bytes(v for s in optimizer.state.values() for v in s.values())
    parameters = count_bytes(model.parameters())
    gradients = count_bytes(p.grad for p in model.parameters())

    def share(size: int) -> int:
        return -(-size // devices)

    return DryRun(
        parameters=sum(p.numel() for p in model.parameters()),
        devices=devices,
        whole=Memory(
            parameters=parameters,
            gradients=gradients,
            optimizer=states,
            activations=activations,
            gathered=gradients if devices > 1 else 0,
        ),
        sharded=Memory(
            parameters=share(parameters),
            gradients=share(gradients),
            optimizer=share(states),
            activations=activations,
            gathered=count_gathered(model) if devices > 1 else 0,
        ),
    )


def measure_activations(run: Run, model: nn.Module, devices: int) -> int:
    """Return the bytes that autograd keeps of the loss of one device's share of a batch."""
    training = find_task_of(run).training
    batch = next(iter(training.batches(run.config, "train", 0)))
    shard = shard_batch(batch, training.batch_axis, META, of=(0, devices))
    own = {id_of(t) for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # kept alive, so that no other has its place

    def keep(tensor: Tensor) -> Tensor:
        if id_of(tensor) not in own:
            kept[id_of(tensor)] = tensor
        return tensor

    state = () if training.carry == "no" else (None,)
    with saved_tensors_hooks(keep, lambda tensor: tensor), META:
        training.loss(run.config, model.train(), shard, 0.0, *state)
    return sum(t.untyped_storage().nbytes() for t in kept.values())


def id_of(tensor: Tensor) -> int:
    """Return what tensors that share their memory have alike."""
    storage: Any = tensor.untyped_storage()
    return int(storage._cdata)


def count_bytes(values: Iterable[Any]) -> int:
    """Return the bytes of tensors; others have none."""
    return sum(v.nbytes for v in values if isinstance(v, Tensor))


def count_gathered(model: nn.Module) -> int:
    """Return the bytes that are whole at a time where the rest is sharded."""
    blocks = [count_bytes(block.parameters()) for block in list_blocks(model)]
    return count_bytes(model.parameters()) - sum(blocks) + max(blocks, default=0)


def describe_dry_run(found: DryRun) -> list[tuple[str, str, str]]:
    """Return rows (what, whole on each device, sharded) in MB."""
    names = {
        "parameters": "parameters",
        "gradients": "gradients",
        "optimizer": "states of the optimizer",
        "activations": "activations of a batch",
        "gathered": "exchanged or gathered",
        "total": "in all",
    }

    def tell(side: Memory, name: str) -> str:
        return f"{getattr(side, name) / 1e6:,.1f}"

    return [
        (told, tell(found.whole, name), tell(found.sharded, name))
        for name, told in names.items()
    ]

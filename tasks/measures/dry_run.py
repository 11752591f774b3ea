"""``neuro train --dry-run``: computes the memory of a training on each device from shapes.

Model, optimizer and loss run on torch's device "meta", which has shapes without values: any
machine can measure a model of any size.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from neuro.io.run_folder import RunError
from neuro.nn.recompute import count_kept, note_recomputed
from neuro.training import Plan, Stage, TrainError
from neuro.training.distributed import list_blocks, shard_batch
from tasks.measures.train import count_steps, make_plan
from tasks.runs.task import TaskRun
from tasks.runs.trained_run import build_fresh_model

META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of a training on each device [bytes].

    gradients, activations: maximum over the stages. optimizer: states of the optimizer.
    activations: the values that autograd keeps from the forward to the backward pass of this
    device's share of a batch, in float32, on a GPU with Triton; None: unknown. A CPU keeps
    less: it skips zeros and keeps no membranes. Gated linear attention is counted with strong
    decays, which need an eighth more than weak ones. Blocks that the backward pass recomputes
    count with their inputs, and the largest of them in full.
    gathered: with whole models (DDP) the buckets of gradients that processes exchange; sharded
    (FSDP) the largest block and everything outside of blocks, whose weights are whole during
    their computation.
    Code and temporary values are not counted.
    """

    parameters: int
    gradients: int
    optimizer: int
    activations: int | None
    gathered: int

    @property
    def total(self) -> int:
        """Return the sum of the known sizes."""
        return sum(size for size in vars(self).values() if size is not None)


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The result of a dry run.

    parameters: number of parameters. sharded: None if the training has stages.
    unknown: why the size of activations is unknown; "" if it is known.
    precision: of the training; activations are always those of "32-true".
    data: the task's description of the training data, in lines.
    """

    parameters: int
    devices: int
    whole: Memory
    sharded: Memory | None
    unknown: str = ""
    precision: str = "32-true"
    data: tuple[str, ...] = ()


def measure_dry_run(run: TaskRun, devices: int) -> DryRun:
    """Compute the memory of a training on ``devices`` devices, with DDP and with FSDP.

    Raises:
        RunError: building the model needs values.
        TrainError: a batch cannot be divided among the devices.
        ValueError: the task finds that its data rule the training out.
    """
    if devices < 1:
        raise RunError(f"--devices must be >= 1, got {devices}")
    plan = make_plan(run)
    describe = run.definition.training.describe_data
    data = () if describe is None else tuple(describe(run.config))
    try:
        with META:
            model = build_fresh_model(run)
    except (NotImplementedError, RuntimeError) as error:
        raise RunError(
            f"{run.task} cannot be measured without values ({error}); --dry-run needs a model "
            'that can be built on torch\'s device "meta": draw its weights only with torch'
        ) from error
    gradients, trained, activations, unknown = 0, set[str](), None, ""
    own = {name for name, p in model.named_parameters() if p.requires_grad}
    for at, stage in list_stages(run, plan):
        learns = {n for n in own if stage is None or not stage.is_frozen(n)}
        for name, p in model.named_parameters():
            p.requires_grad_(name in learns)
        trained |= learns
        gradients = max(gradients, count_bytes(model.get_parameter(n) for n in learns))
        if not unknown:
            kept, unknown = measure_activations(run, model, devices, at)
            activations = None if unknown else max(activations or 0, kept)
    for name, p in model.named_parameters():
        p.requires_grad_(name in own)
        p.grad = torch.zeros_like(p) if name in trained else None
    optimizer = plan.build_optimizer(model)
    optimizer.step()
    states = count_bytes(v for s in optimizer.state.values() for v in s.values())
    whole = Memory(
        parameters=count_bytes(model.parameters()),
        gradients=gradients,
        optimizer=states,
        activations=activations,
        gathered=gradients if devices > 1 else 0,
    )
    shared = ("parameters", "gradients", "optimizer")
    sharded = replace(
        whole,
        **{name: -(-getattr(whole, name) // devices) for name in shared},
        gathered=count_gathered(model) if devices > 1 else 0,
    )
    return DryRun(
        parameters=sum(p.numel() for p in model.parameters()),
        devices=devices,
        whole=whole,
        sharded=None if plan.stages else sharded,
        unknown=unknown,
        precision=plan.precision,
        data=data,
    )


def list_stages(run: TaskRun, plan: Plan) -> list[tuple[float, Stage | None]]:
    """Return (share of the training at the middle of the stage, stage) for each stage."""
    if not plan.stages:
        return [(0.0, None)]
    in_steps = any(stage.steps is not None for stage in plan.stages)
    steps = count_steps(run) if in_steps else 1
    out: list[tuple[float, Stage | None]] = []
    begin = 0
    for stage in plan.stages:
        length = stage.count_steps(steps)
        out.append(((begin + length / 2) / (plan.epochs * steps), stage))
        begin += length
    return out


def measure_activations(
    run: TaskRun, model: nn.Module, devices: int, at: float
) -> tuple[int, str]:
    """Return (bytes that autograd keeps for the loss of one device's share of a batch, "").

    Returns (0, reason) if the bytes are unknown. at: share of the training that is done.
    """
    training = run.definition.training
    if run.gradient == "eventprop":
        return 0, "EventProp keeps the spikes, whose number depends on the data"
    if training.dummy_batch is None:
        batch = next(iter(training.batches(run.config, "train", 0)))
    else:
        with META:
            batch = training.dummy_batch(run.config)
    shard = shard_batch(batch, training.batch_axis, META, of=(0, devices))
    state = () if training.carry == "no" else (None,)
    try:
        with note_recomputed() as again, count_kept(model) as count, META:
            training.loss(run.config, model.train(), shard, at, *state)
    except TrainError:
        raise
    except (NotImplementedError, RuntimeError) as error:
        return 0, f"the loss needs values ({str(error).splitlines()[0]})"
    return count() + max(again, default=0), ""


def count_bytes(values: Iterable[Any]) -> int:
    """Return the total size [bytes] of the tensors among some values."""
    return sum(v.nbytes for v in values if isinstance(v, Tensor))


def count_gathered(model: nn.Module) -> int:
    """Return the largest size [bytes] that FSDP keeps whole at the same time."""
    blocks = [count_bytes(block.parameters()) for block in list_blocks(model)]
    return count_bytes(model.parameters()) - sum(blocks) + max(blocks, default=0)


def describe_dry_run(result: DryRun) -> list[tuple[str, str, str]]:
    """Return rows (what, whole on each device, sharded) in MB."""
    names = {
        "parameters": "parameters",
        "gradients": "gradients",
        "optimizer": "states of the optimizer",
        "activations": "activations of a batch",
        "gathered": "exchanged or gathered",
        "total": "in all, without activations" if result.unknown else "in all",
    }
    if result.precision != "32-true" and not result.unknown:
        names["activations"] += f", in float32 ({result.precision} keeps less; not estimated)"
        names["total"] += ", with activations in float32"

    def write(side: Memory | None, name: str) -> str:
        if side is None:
            return "not with stages"
        size = getattr(side, name)
        return "not estimated" if size is None else f"{size / 1e6:,.1f}"

    return [
        (what, write(result.whole, name), write(result.sharded, name))
        for name, what in names.items()
    ]


def explain_dry_run(result: DryRun) -> str:
    """Return the sentence that explains the numbers of a dry run."""
    size = f"{result.parameters:,} parameters; activations: "
    if result.unknown:
        return f"{size}not estimated: {result.unknown}; code and temporary values come on top"
    less = (
        "a CPU keeps less"
        if result.precision == "32-true"
        else f"{result.precision} keeps most of them in 16 bits, and a CPU keeps less"
    )
    return (
        f"{size}everything that autograd keeps of a device's share of a batch on a GPU, in "
        f"float32, from shapes; {less}; code and temporary values come on top"
    )

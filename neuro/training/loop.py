"""One training loop, on Lightning Fabric: one CPU, a GPU, or many processes (DDP, FSDP).

The data and all random draws depend on seed, epoch and step alone, and the position in the data
is part of each checkpoint: a killed training resumes, also in the middle of an epoch, to the
same end, bit for bit. Every process is given the same whole batches and takes its shard, batch
norms see the whole batch and dropouts draw for it, so that N processes follow the loss curve of
one.
"""

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from neuro.arguments import describe
from neuro.io.pytree import flatten, unflatten
from neuro.neurons import ALIFState, GatedState, LIFState, LIState
from neuro.seeds import derive_seed, seeded
from neuro.training import growth
from neuro.training.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    get_weights,
    load_checkpoint,
    put_weights,
    require_same_run,
    restore_best,
    save_checkpoint,
    save_weights,
)
from neuro.training.distributed import (
    get_rank_and_world_size,
    keep_strides_of_gradients,
    shard_batch,
)
from neuro.training.errors import TrainError
from neuro.training.nonfinite import find_nonfinite
from neuro.training.plan import Plan, Stage
from neuro.training.sharded import gather, is_sharded, shard_states
from neuro.training.silence import watch_silence
from neuro.training.sync_batch import synchronize_layers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, Tensor]  # stimulus with axes T B ..., targets with axis B
NEURON_STATES = (LIFState, ALIFState, LIState, GatedState)  # that a loss may carry
LOSS, DATA, VALIDATION = 0, 1, 2  # what random numbers are drawn for


@dataclass(kw_only=True)
class Progress:
    """How far a training is.

    epoch: finished epochs. step: finished batches of the next one. best: the validation score
    of the weights that are kept so far, infinitely bad before the first. history: one row a
    validation: epoch (2.5: in the middle of the third), train_loss since the last row, the
    score, and what was counted.
    first_loss: of the first batch; None: it has not run yet.
    silent: populations of which the last validation saw no spike. grown: parameters that grew
    until then, in words, and the learning rate.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    history: list[dict[str, float | int]] = field(default_factory=list)
    first_loss: float | None = None
    silent: tuple[str, ...] = ()
    grown: str = ""

    @property
    def has_diverged(self) -> bool:
        """Whether the last loss lies above the first by more than the first one's size."""
        if self.first_loss is None or not self.history:
            return False
        return self.history[-1]["train_loss"] - self.first_loss > abs(self.first_loss)


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is trained on: data, loss and validation.

    batches: epoch -> the whole batches of that epoch, the same each time it is called; a batch
        is any pytree of tensors. ``steps`` of them are taken: the iterable may be endless.
    loss: (model, batch, at) -> mean loss over the batch; at: share of the training done. What
        it draws for each sample it draws by :func:`neuro.training.distributed.draw_shard`.
    validate: model -> score on the validation split, the same in every process; the weights
        with the best score are kept, if the plan says nothing else. metric: its name. better:
        which scores are.
    seed: with epoch and step, of all that these functions draw from torch's global generator.
    batch_axis: the axis of the samples in each tensor of a batch, as ``in_dims`` of torch.vmap:
        an integer, or a pytree of them; None for what every process gets whole. By default a
        batch is (x with axes T B ..., targets with axis B).
    sharded: whether batches hold this process's samples alone, which
        :func:`neuro.training.distributed.list_own_samples` lists: where reading a sample costs
        much, no process reads those of others.
    batches_from: (epoch, step) -> the batches of that epoch from that step on, to resume in the
        middle of an epoch; None: those before it are made and passed over.
    carry: for continuing streams: how long the state that a loss returns is handed to the next
        batch. "epoch" or "training": the loss is called (model, batch, at, state), state None
        at the start, and returns (mean loss, state), a pytree; gradients do not flow through
        it. It is part of the checkpoint, for each process that of its shard.
    carry_types: named tuples and frozen dataclasses in that state, beside those of neurons.
    watched: whether a validation calls each population, so that silent ones are seen.
    tally: counters that the loss adds to. Each row of the history holds what was counted since
        the last one, by the first process where there are several.
    run: digest of all that the training depends on; a checkpoint of another run is refused, as
        one of another seed is. "": not known.
    """

    batches: Callable[[int], Iterable[Any]]
    steps: int
    loss: Callable[..., Any]
    validate: Callable[[nn.Module], float]
    metric: str = "score"
    better: Literal["higher", "lower"] = "higher"
    seed: int = 0
    batch_axis: Any = (1, 0)
    sharded: bool = False
    batches_from: Callable[[int, int], Iterable[Any]] | None = None
    carry: Literal["no", "epoch", "training"] = "no"
    carry_types: tuple[type, ...] = ()
    watched: bool = True
    tally: MutableMapping[str, int] = field(default_factory=dict)
    run: str = ""

    @property
    def worst(self) -> float:
        """The score that every other is better than."""
        return -math.inf if self.better == "higher" else math.inf

    def is_better(self, score: float, other: float) -> bool:
        """Return whether a score is better than another one."""
        return score > other if self.better == "higher" else score < other


def fit(
    model: nn.Module,
    course: Course,
    plan: Plan,
    fabric: "Fabric",
    folder: Path,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Progress:
    """Train ``model`` in place, from where ``folder/last.safetensors`` left off if it exists.

    Writes ``last.safetensors`` after every epoch and as often as the plan says, and
    ``best.safetensors`` after the best validation, or each, as the plan says. Logs to Fabric's
    loggers, if it has any. From here on the process keeps the memory that it frees.

    Of N processes each computes the loss of its shard of a batch. Their curve is that of one
    process, up to the order of sums, if the loss is a mean over samples and what it draws for
    each of them comes from :func:`neuro.training.distributed.draw_shard`. Batch norms and the
    dropouts of ``torch.nn`` are taken care of, see :mod:`neuro.training.sync_batch`.

    Args:
        model: the network.
        course: data, loss and validation.
        plan: how to train.
        fabric: launched, of the plan's precision.
        folder: of the run.
        on_step: called after every step with the progress before it and its index in its epoch.

    Raises:
        TrainError: the loss or a gradient is no longer finite, plan, data and processes do not
            fit together, or the checkpoint is of another run.
        StoreError: the checkpoint is damaged, or of an earlier version.
    """
    precision = fabric.strategy.precision.precision
    if precision != plan.precision:
        raise TrainError(
            f"the plan asks for precision {plan.precision}, Fabric was made with {precision}; "
            "make it with Fabric(precision=plan.precision)"
        )
    if course.steps < 1:
        raise TrainError(
            f"an epoch has {course.steps} batches; use a smaller batch, or more samples"
        )
    synchronize_layers(model)
    keep_strides_of_gradients(model)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    plan.check_stages(trained, course.steps)
    try:
        return _Training(model, course, plan, fabric, folder, trained).run(on_step)
    finally:
        _freeze(model, trained, None)


def _freeze(model: nn.Module, trained: list[str], stage: Stage | None) -> None:
    """Let those of the ``trained`` parameters require a gradient that a stage trains."""
    for name in trained:
        parameter = model.get_parameter(name)
        parameter.requires_grad_(stage is None or not stage.is_frozen(name))
        if not parameter.requires_grad:
            parameter.grad = None


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(gather(values)).all())


class _Training:
    """A training under way."""

    def __init__(
        self,
        model: nn.Module,
        course: Course,
        plan: Plan,
        fabric: "Fabric",
        folder: Path,
        trained: list[str],
    ) -> None:
        self.model, self.course, self.plan = model, course, plan
        self.fabric, self.folder, self.trained = fabric, folder, trained
        self.progress = Progress(best=course.worst)
        self.sizes = growth.measure_sizes(model)  # fresh: of no checkpoint yet
        self._count({})
        self.losses: list[Tensor] = []  # since the last validation
        self.carry: Any = None
        self._carry_types = (*NEURON_STATES, *course.carry_types)
        self.best_meta: dict[str, Any] | None = None
        found = load_checkpoint(folder)
        if found is not None:
            self._restore(found)
        if fabric.is_global_zero:
            restore_best(folder, found)
        self.saved_at, self.saved_step = time.monotonic(), self._count_steps()
        self.stage = plan.find_stage(self._count_steps(), course.steps)
        _freeze(model, trained, self.stage)
        self.wrapped = fabric.setup_module(model)  # whose parameters may be others by now
        self.optimizer = plan.build_optimizer(model)
        self.wrapped_optimizer: Any = fabric.setup_optimizers(self.optimizer)
        self.sharded = is_sharded(model)
        if self.sharded and plan.stages:
            raise TrainError(
                "a sharded model is trained in one stage: leave the stages out, or train whole "
                "models (DDP)"
            )
        self.schedule = plan.build_schedule(self.optimizer, course.steps)
        if found is not None:  # on the device that the parameters are on by now
            self._restore_optimizer(found.state)

    def run(self, on_step: Callable[[Progress, int], None] | None) -> Progress:
        """Train to the end of the plan."""
        progress, steps = self.progress, self.course.steps
        while progress.epoch < self.plan.epochs:
            if progress.step == 0 and self.course.carry == "epoch":
                self.carry = None
            batches = self._open_batches()
            for step in range(progress.step, steps):
                self._train_step(self._next_batch(batches, step), step)
                if on_step is not None:
                    on_step(progress, step)
                self._finish_step(step)
        return progress

    def _count_steps(self) -> int:
        """Return the finished steps of the whole training."""
        return self.progress.epoch * self.course.steps + self.progress.step

    def _seed(self, step: int, purpose: int) -> int:
        return derive_seed(self.course.seed, self.progress.epoch, step, purpose)

    def _open_batches(self) -> Iterator[Any]:
        """Return the epoch's batches from the step on that is next."""
        epoch, first = self.progress.epoch, self.progress.step
        if first and self.course.batches_from is not None:
            return iter(self.course.batches_from(epoch, first))
        batches = iter(self.course.batches(epoch))
        for step in range(first):
            self._next_batch(batches, step)
        return batches

    def _next_batch(self, batches: Iterator[Any], step: int) -> Any:
        with seeded(self._seed(step, DATA)):
            for batch in batches:
                return batch
        raise TrainError(
            f"epoch {self.progress.epoch} has {step} batches, Course.steps says "
            f"{self.course.steps}; they must agree"
        )

    def _train_step(self, batch: Any, step: int) -> None:
        """Add the gradient of a batch; after the last of an update, make it."""
        plan, fabric, steps = self.plan, self.fabric, self.course.steps
        first = step % plan.accumulate == 0
        last = (step + 1) % plan.accumulate == 0 or step + 1 == steps
        if first:
            self._enter_stage(self.progress.epoch * steps + step)
            self.wrapped_optimizer.zero_grad()
        at = (self.progress.epoch + step / steps) / plan.epochs
        of = (0, 1) if self.course.sharded else None  # whole, for it is this process's own
        shard = shard_batch(batch, self.course.batch_axis, fabric.device, of)
        shared = get_rank_and_world_size()[1] > 1 and not last
        with fabric.no_backward_sync(self.wrapped) if shared else nullcontext():
            again = partial(self._compute_loss, shard, at)
            with seeded(self._seed(step, LOSS)), self._explain_errors(again):
                loss, carry = again()
            mean = self._average(loss)  # where one process cannot go on, none does
            if not _is_finite(mean):
                raise TrainError(self._describe_nonfinite(again))
            if not loss.requires_grad:
                raise TrainError(
                    "the loss depends on no parameter that is trained; compute it from what "
                    "the model returns, without detach(), .item() or torch.no_grad()"
                )
            if self._count_steps() == 0:
                self.progress.first_loss = float(mean)
            begin = step - step % plan.accumulate
            fabric.backward(loss / (min(begin + plan.accumulate, steps) - begin))
        if last and not self._update():
            raise TrainError(self._describe_nonfinite(again))
        self.losses.append(loss.detach())
        self.carry = tree_map_only(Tensor, Tensor.detach, carry)
        if last and fabric.loggers:
            lr = max(group["lr"] for group in self.optimizer.param_groups)
            number = self.progress.epoch * steps + step + 1
            fabric.log_dict({"loss": float(mean), "lr": lr}, step=number)
        if last:
            self.schedule.step()

    @contextmanager
    def _explain_errors(self, again: Callable[[], Any]) -> Iterator[None]:
        try:
            yield
        except FloatingPointError as error:  # of a layer that looks itself
            raise TrainError(self._describe_nonfinite(again, "a membrane")) from error
        except ValueError as error:  # of a neuron whose parameters are out of range
            if not (grown := self._describe_growth()):
                raise
            raise TrainError(f"{growth.tell_divergence(grown)} ({error})") from error

    def _compute_loss(self, shard: Any, at: float) -> tuple[Tensor, Any]:
        if self.course.carry == "no":
            loss, carry = self.course.loss(self.wrapped, shard, at), None
        else:
            both = self.course.loss(self.wrapped, shard, at, self.carry)
            if not isinstance(both, tuple | list) or len(both) != 2:
                raise TrainError(
                    f"a loss that carries a state must return (mean loss, state), got "
                    f"{describe(both)}; or set carry to 'no'"
                )
            loss, carry = both
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            many = isinstance(loss, Tensor) and loss.numel() > 1
            cure = "its mean, loss.mean()" if many else "torch.nn.functional.cross_entropy, say"
            raise TrainError(
                "a loss must return one number, a tensor without axes, got "
                f"{describe(loss)}; return {cure}"
            )
        return loss.squeeze(), carry

    def _update(self) -> bool:
        """Make a step down the gradient; return whether the gradient is finite."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        if not _is_finite(norm):
            return False
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        factor = 1.0 if self.stage is None else self.stage.lr
        for group in groups:
            group["lr"] = group["lr"] * factor
        self.wrapped_optimizer.step()
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr
        return True

    def _enter_stage(self, step: int) -> None:
        """Freeze and thaw parameters where a stage begins."""
        stage = self.plan.find_stage(step, self.course.steps)
        if stage is self.stage:
            return
        self.stage = stage
        _freeze(self.model, self.trained, stage)
        if get_rank_and_world_size()[1] > 1:  # DDP exchanges the gradients it was made with
            del self.wrapped
            gc.collect()
            self.wrapped = self.fabric.setup_module(self.model)

    def _finish_step(self, step: int) -> None:
        """Count a step; validate and write a checkpoint where they are due."""
        progress, plan, steps = self.progress, self.plan, self.course.steps
        ends = step + 1 == steps
        progress.step = 0 if ends else step + 1
        progress.epoch += ends
        done = self._count_steps()
        every = plan.validate_every or steps
        if done % every == 0 or progress.epoch == plan.epochs:
            self._validate(step)
        updated = ends or progress.step % plan.accumulate == 0
        if ends or (updated and self._is_checkpoint_due(done)):
            self._save()

    def _validate(self, step: int) -> None:
        """Measure the model, add a row to the history, keep its weights if the plan says so."""
        progress, course = self.progress, self.course
        mean = self._average(torch.stack(self.losses).mean())
        self.losses = []
        bad = [n for n, p in self.model.named_parameters() if not _is_finite(p.detach())]
        if bad:
            raise TrainError(growth.tell_nonfinite(bad, self.plan.lr))
        if grown := self._describe_growth(growth.DIVERGED):
            raise TrainError(growth.tell_divergence(grown))
        self.model.eval()
        watch = watch_silence(self.model) if course.watched else nullcontext(set[str]())
        with seeded(self._seed(step, VALIDATION)), watch as silent:
            score = float(course.validate(self.model))
        self.model.train()
        progress.silent, progress.grown = tuple(sorted(silent)), self._describe_growth()
        if not math.isfinite(score):
            raise TrainError(
                f"the validation {course.metric} is {score}; the last good checkpoint is kept; "
                "look for samples or outputs that are not finite"
            )
        part = progress.step / course.steps
        epoch = progress.epoch + part if progress.step else progress.epoch
        row = {"epoch": epoch, "train_loss": float(mean), f"val_{course.metric}": score}
        row |= course.tally
        self._count({})
        progress.history.append(row)
        if self.fabric.loggers:
            metrics = {k: v for k, v in row.items() if k != "epoch"}
            self.fabric.log_dict(metrics, step=self._count_steps())
            for logger in self.fabric.loggers:
                logger.save()
        if self.plan.keep == "last" or course.is_better(score, progress.best):
            progress.best = score
            self.best_meta = {"epoch": epoch, "score": score, "run": self.course.run}
            weights = self._get_weights()
            if self.fabric.is_global_zero:
                save_weights(self.folder / BEST, weights, self.best_meta)

    def _count(self, counted: Mapping[str, int]) -> None:
        """Set the counters to what was counted since the last validation."""
        for name in self.course.tally:
            self.course.tally[name] = counted.get(name, 0)

    def _average(self, value: Tensor) -> Tensor:
        """Return the mean over all processes."""
        mean: Any = self.fabric.all_reduce(value.detach().clone(), reduce_op="mean")
        out: Tensor = mean
        return out

    def _describe_nonfinite(self, again: Callable[[], Any], what: str = "") -> str:
        """Return where a step stopped being finite, and the cure.

        what: is not finite; "": the gradient or the loss.
        """
        bad = [
            name
            for name, p in self.model.named_parameters()
            if p.grad is not None and not _is_finite(p.grad)
        ]
        what = what or (f"the gradient of {', '.join(bad)}" if bad else "the loss")
        name = find_nonfinite(self.model, again)
        here = " in this process" if get_rank_and_world_size()[1] > 1 else ""
        where = f"{name} is not finite" if name else f"every layer is finite{here}"
        grown = self._describe_growth()
        return (
            f"{what} is not finite: {where}; {grown and grown + '; '}the last good checkpoint "
            "is kept; lower the learning rate, or look for such numbers in the data, and train "
            "again"
        )

    def _describe_growth(self, *factor: float) -> str:
        return growth.describe_growth(self.model, self.sizes, self.plan.lr, *factor)

    def _is_checkpoint_due(self, done: int) -> bool:
        """Return whether a checkpoint is due after ``done`` steps; all processes agree."""
        plan = self.plan
        due = (
            plan.checkpoint_every is not None
            and done - self.saved_step >= plan.checkpoint_every
        )
        if plan.checkpoint_minutes is not None:
            late = time.monotonic() - self.saved_at >= 60 * plan.checkpoint_minutes
            if get_rank_and_world_size()[1] > 1:  # their clocks differ
                late = bool(self._average(torch.tensor(float(late), device=self.fabric.device)))
            due = due or late
        return due

    def _save(self) -> None:
        """Write a checkpoint; each process adds what it alone knows."""
        plain, tensors = self._flatten_carry()
        carry = {name: self._gather(tensor) for name, tensor in tensors.items()}
        losses = self._gather(torch.stack(self.losses)) if self.losses else None
        weights, optimizer = self._get_weights(), gather(self.optimizer.state_dict())
        if self.fabric.is_global_zero:
            progress = self.progress
            state = {
                "epoch": progress.epoch,
                "step": progress.step,
                "steps": self.course.steps,
                "history": progress.history,
                "first_loss": progress.first_loss,
                "silent": list(progress.silent),
                "processes": get_rank_and_world_size()[1],
                "optimizer": optimizer,
                "schedule": self.schedule.state_dict(),
                "losses": losses,
                "tally": dict(self.course.tally),
                "carry": (plain, carry),
                "seed": self.course.seed,
                "run": self.course.run,
            }
            save_checkpoint(self.folder, weights, self.best_meta, state)
        self.saved_at, self.saved_step = time.monotonic(), self._count_steps()
        self.fabric.barrier()

    def _get_weights(self) -> dict[str, Tensor]:
        """Return the weights to be written; {} in processes that neither write nor help."""
        return get_weights(self.model) if self.sharded or self.fabric.is_global_zero else {}

    def _flatten_carry(self) -> tuple[Any, dict[str, Tensor]]:
        """Return the carried state as a file holds it; it must come back from there."""
        try:
            plain, tensors = flatten(self.carry)
            unflatten(plain, tensors, self._carry_types)
        except (KeyError, TypeError) as error:
            raise TrainError(
                f"the state that the loss carries cannot be kept in a checkpoint ({error}); "
                "build it of tensors, numbers, tuples, lists and mappings, or name its named "
                "tuples and dataclasses in Course.carry_types"
            ) from error
        return plain, tensors

    def _gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes, stacked along a first axis."""
        if get_rank_and_world_size()[1] == 1:
            return tensor[None]
        every: Any = self.fabric.all_gather(tensor.detach().contiguous())
        out: Tensor = every
        return out

    def _restore(self, found: Checkpoint) -> None:
        """Go to where a checkpoint was written."""
        state, (rank, n) = found.state, get_rank_and_world_size()
        path = self.folder / LAST
        require_same_run(path, state, self.course.seed, self.course.run)
        put_weights(path, self.model, found.weights)
        if state["steps"] != self.course.steps:
            raise TrainError(
                f"{path}: written with {state['steps']} batches an epoch, now there are "
                f"{self.course.steps}; use the configuration it was trained with"
            )
        score = f"val_{self.course.metric}"
        if any(score not in row for row in state["history"]):
            raise TrainError(
                f"{path}: holds no {score} of its validations: it was written with another "
                "metric, or by an earlier version; train again in another folder (--out)"
            )
        device = self.fabric.device
        if state["losses"] is not None:
            same = state["processes"] == n
            losses = state["losses"][rank] if same else state["losses"].mean(0)
            self.losses = list(losses.to(device))
        plain, tensors = state["carry"]
        if tensors and state["processes"] != n:
            raise TrainError(
                f"{path}: holds the state that {state['processes']} processes carry from batch "
                f"to batch, now there are {n}; go on with --devices {state['processes']}"
            )
        own = {k: v[rank].to(device) for k, v in tensors.items()}
        self.carry = unflatten(plain, own, self._carry_types)
        self._count(state["tally"])
        self.best_meta = found.best_meta
        self.progress = Progress(
            epoch=state["epoch"],
            step=state["step"],
            best=self.course.worst if found.best_meta is None else found.best_meta["score"],
            history=state["history"],
            first_loss=state["first_loss"],
            silent=tuple(state["silent"]),
        )

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            shard_states(self.optimizer)
            self.schedule.load_state_dict(state["schedule"])
        except (KeyError, ValueError) as error:
            raise TrainError(
                f"{self.folder / LAST}: written with another optimizer or schedule ({error}); "
                "use the plan it was trained with"
            ) from error

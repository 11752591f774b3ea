"""The training loop, on Lightning Fabric: one CPU, a GPU, or many processes (DDP, FSDP).

The data and all random draws depend only on seed, epoch and step, and each checkpoint holds the
position in the data. A training that was killed therefore resumes, even in the middle of an
epoch, and ends bit for bit the same. Every process gets the same whole batches and takes its
shard. Batch norms and dropouts work on the whole batch, so N processes follow the loss curve of
one process.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from neuro.base.arguments import describe
from neuro.base.seeds import derive_seed, seeded
from neuro.io.pytree import flatten, unflatten
from neuro.neurons import ALIFState, GatedState, LIFState, LIState
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
from neuro.training.course import Course, Progress, TrainError
from neuro.training.diagnosis import (
    DIVERGED,
    describe_growth,
    explain_divergence,
    explain_nonfinite,
    find_nonfinite,
    measure_sizes,
    watch_silence,
)
from neuro.training.distributed import (
    gather,
    get_rank_and_world_size,
    is_sharded,
    keep_strides_of_gradients,
    shard_batch,
    shard_states,
    synchronize_layers,
)
from neuro.training.plan import Plan, Stage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

NEURON_STATES = (LIFState, ALIFState, LIState, GatedState)  # types that a loss may carry
LOSS, DATA, VALIDATION = 0, 1, 2  # purposes for which random numbers are drawn


def fit(
    model: nn.Module,
    course: Course,
    plan: Plan,
    fabric: "Fabric",
    folder: Path,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Progress:
    """Train ``model`` in place; resume from ``folder/last.safetensors`` if it exists.

    Writes ``last.safetensors`` after every epoch, or more often if the plan says so. Writes
    ``best.safetensors`` after the best validation or after each one, as the plan says. Logs to
    Fabric's loggers. From this call on, the process keeps the memory that it frees.

    Each of N processes computes the loss of its shard of a batch. Their loss curve is that of
    one process, up to the order of sums, if the loss is a mean over samples and draws its
    random numbers with :func:`neuro.training.distributed.draw_shard`.
    :mod:`neuro.training.distributed` takes care of batch norms and the dropouts of
    ``torch.nn``.

    Args:
        course: data, loss and validation.
        plan: how to train.
        fabric: already launched, with the precision of the plan.
        on_step: called after every step with the progress before that step and the step's index
            in the epoch.

    Raises:
        TrainError: the loss or a gradient is not finite; plan, data and processes do not fit
            together; or the checkpoint belongs to another run.
        StoreError: the checkpoint is damaged, or comes from an earlier version.
    """
    precision = fabric.strategy.precision.precision
    if precision != plan.precision:
        raise TrainError(
            f"the plan has precision {plan.precision}, Fabric has {precision}; create it as "
            "Fabric(precision=plan.precision)"
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
    """Let those ``trained`` parameters require gradients that the stage trains."""
    for name in trained:
        parameter = model.get_parameter(name)
        parameter.requires_grad_(stage is None or not stage.is_frozen(name))
        if not parameter.requires_grad:
            parameter.grad = None


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(gather(values)).all())


class _Training:
    """A training in progress."""

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
        self.sizes = measure_sizes(model)  # of the initial weights, even when training resumes
        self._set_tally({})
        self.losses: list[Tensor] = []  # losses since the last validation
        self.carry: Any = None
        self._carry_types = (*NEURON_STATES, *course.carry_types)
        self.best_meta: dict[str, Any] | None = None
        checkpoint = load_checkpoint(folder)
        if checkpoint is not None:
            self._restore(checkpoint)
        if fabric.is_global_zero:
            restore_best(folder, checkpoint)
        self.saved_time, self.saved_step = time.monotonic(), self._count_steps()
        self.save_seconds = 0.0  # duration of the last save
        self.stage = plan.find_stage(self._find_last_update(), course.steps)
        _freeze(model, trained, self.stage)
        self.wrapped = fabric.setup_module(model)  # may replace the model's parameters
        self.optimizer = plan.build_optimizer(model)
        self.wrapped_optimizer: Any = fabric.setup_optimizers(self.optimizer)
        self.sharded = is_sharded(model)
        if self.sharded and plan.stages:
            raise TrainError(
                "a sharded model trains in one stage: leave the stages out, or train whole "
                "models (DDP)"
            )
        self.schedule = plan.build_schedule(self.optimizer, course.steps)
        if checkpoint is not None:  # from here on the parameters are on their device
            self._restore_optimizer(checkpoint.state)

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
        """Return the number of finished steps of the whole training."""
        return self.progress.epoch * self.course.steps + self.progress.step

    def _find_last_update(self) -> int:
        """Return the first step of the last update, or 0 before the first update."""
        steps = self.course.steps
        epoch, step = divmod(max(self._count_steps() - 1, 0), steps)
        return epoch * steps + step - step % self.plan.accumulate

    def _seed(self, step: int, purpose: int) -> int:
        return derive_seed(self.course.seed, self.progress.epoch, step, purpose)

    def _open_batches(self) -> Iterator[Any]:
        """Return the epoch's batches, starting at the next step."""
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
            f"epoch {self.progress.epoch} has {step} batches, Course.steps is "
            f"{self.course.steps}; they must agree"
        )

    def _train_step(self, batch: Any, step: int) -> None:
        """Add a batch's gradient; after the last batch of an update, update the weights."""
        plan, fabric, steps = self.plan, self.fabric, self.course.steps
        first = step % plan.accumulate == 0
        last = (step + 1) % plan.accumulate == 0 or step + 1 == steps
        if first:
            self._enter_stage(self.progress.epoch * steps + step)
            self.wrapped_optimizer.zero_grad()
        at = (self.progress.epoch + step / steps) / plan.epochs
        shard_of = (0, 1) if self.course.sharded else None  # it holds only own samples already
        shard = shard_batch(batch, self.course.batch_axis, fabric.device, shard_of)
        shared = get_rank_and_world_size()[1] > 1 and not last
        with fabric.no_backward_sync(self.wrapped) if shared else nullcontext():
            compute = partial(self._compute_loss, shard, at)
            with seeded(self._seed(step, LOSS)), self._explain_errors(compute):
                loss, carry = compute()
            mean = self._average(loss)  # a mean over processes: if one cannot go on, all stop
            if not _is_finite(mean):
                raise TrainError(self._explain_nonfinite(compute))
            if not loss.requires_grad:
                raise TrainError(
                    "the loss depends on no trainable parameter; compute it from the outputs "
                    "of the model, without detach(), .item() or torch.no_grad()"
                )
            if self._count_steps() == 0:
                self.progress.first_loss = float(mean)
            begin = step - step % plan.accumulate
            fabric.backward(loss / (min(begin + plan.accumulate, steps) - begin))
        if last and not self._update():
            raise TrainError(self._explain_nonfinite(compute))
        self.losses.append(loss.detach())
        self.carry = tree_map_only(Tensor, Tensor.detach, carry)
        if last and fabric.loggers:
            lr = max(group["lr"] for group in self.optimizer.param_groups)
            number = self.progress.epoch * steps + step + 1
            fabric.log_dict({"loss": float(mean), "lr": lr}, step=number)
        if last:
            self.schedule.step()

    @contextmanager
    def _explain_errors(self, compute: Callable[[], Any]) -> Iterator[None]:
        try:
            yield
        except FloatingPointError as error:  # raised by a layer that checks its own membrane
            raise TrainError(self._explain_nonfinite(compute, "a membrane")) from error
        except ValueError as error:  # raised by a neuron whose parameters left their range
            if not (grown := self._describe_growth()):
                raise
            raise TrainError(f"{explain_divergence(grown)} ({error})") from error

    def _compute_loss(self, shard: Any, at: float) -> tuple[Tensor, Any]:
        if self.course.carry == "no":
            loss, carry = self.course.loss(self.wrapped, shard, at), None
        else:
            pair = self.course.loss(self.wrapped, shard, at, self.carry)
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TrainError(
                    f"a loss that carries a state must return (mean loss, state), got "
                    f"{describe(pair)}; or set carry to 'no'"
                )
            loss, carry = pair
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            many = isinstance(loss, Tensor) and loss.numel() > 1
            cure = "its mean, loss.mean()" if many else "torch.nn.functional.cross_entropy, say"
            raise TrainError(
                "a loss must return one number, a tensor without axes, got "
                f"{describe(loss)}; return {cure}"
            )
        return loss.squeeze(), carry

    def _update(self) -> bool:
        """Take an optimizer step; return whether the gradient was finite."""
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
        """Where a stage begins: freeze and thaw parameters, and reset moments if it says so."""
        stage = self.plan.find_stage(step, self.course.steps)
        if stage is self.stage:
            return
        self.stage = stage
        if stage is not None and stage.fresh_optimizer:
            self.optimizer.state.clear()
        _freeze(self.model, self.trained, stage)
        if get_rank_and_world_size()[1] > 1:  # DDP chooses once which gradients it exchanges
            del self.wrapped
            gc.collect()
            self.wrapped = self.fabric.setup_module(self.model)

    def _finish_step(self, step: int) -> None:
        """Count a step; validate and write a checkpoint if they are due."""
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
        """Score the model, add a row to the history, and save the best weights."""
        progress, course, plan = self.progress, self.course, self.plan
        mean = self._average(torch.stack(self.losses).mean())
        self.losses = []
        nonfinite = [n for n, p in self.model.named_parameters() if not _is_finite(p.detach())]
        if nonfinite:
            raise TrainError(explain_nonfinite(nonfinite, plan.lr))
        if grown := self._describe_growth(DIVERGED):
            raise TrainError(explain_divergence(grown))
        self.model.eval()
        watch = watch_silence(self.model) if course.watched else nullcontext(set[str]())
        with seeded(self._seed(step, VALIDATION)), watch as silent:
            score = float(course.validate(self.model))
        self.model.train()
        trained = (name for name in silent if not plan.is_untrained(name, self.stage))
        progress.silent, progress.grown = tuple(sorted(trained)), self._describe_growth()
        if not math.isfinite(score):
            raise TrainError(
                f"the validation {course.metric} is {score}; the last good checkpoint remains; "
                "look for samples or outputs that are not finite"
            )
        part = progress.step / course.steps
        epoch = progress.epoch + part if progress.step else progress.epoch
        row = {"epoch": epoch, "train_loss": float(mean), f"val_{course.metric}": score}
        row |= course.tally
        self._set_tally({})
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

    def _set_tally(self, counts: Mapping[str, int]) -> None:
        """Set the course's counters to the counts since the last validation."""
        for name in self.course.tally:
            self.course.tally[name] = counts.get(name, 0)

    def _average(self, value: Tensor) -> Tensor:
        """Return the mean over all processes."""
        return cast(Tensor, self.fabric.all_reduce(value.detach().clone(), reduce_op="mean"))

    def _explain_nonfinite(self, compute: Callable[[], Any], subject: str = "") -> str:
        """Explain which values of a step are not finite, with the cure.

        subject: names the values that are not finite; "": find them among gradient and loss.
        """
        nonfinite = [
            name
            for name, p in self.model.named_parameters()
            if p.grad is not None and not _is_finite(p.grad)
        ]
        gradient = f"the gradient of {', '.join(nonfinite)}" if nonfinite else "the loss"
        name = find_nonfinite(self.model, compute)
        here = " in this process" if get_rank_and_world_size()[1] > 1 else ""
        where = f"{name} is not finite" if name else f"every layer is finite{here}"
        grown = self._describe_growth()
        return (
            f"{subject or gradient} is not finite: {where}; {grown and grown + '; '}the last "
            "good checkpoint remains; lower the learning rate, or look for such numbers in the "
            "data, and train again"
        )

    def _describe_growth(self, *factor: float) -> str:
        return describe_growth(self.model, self.sizes, self.plan.lr, *factor)

    def _is_checkpoint_due(self, done: int) -> bool:
        """Return whether a checkpoint is due after ``done`` steps, equally in all processes."""
        plan = self.plan
        due = (
            plan.checkpoint_every is not None
            and done - self.saved_step >= plan.checkpoint_every
        )
        if plan.checkpoint_minutes is not None:
            wait = 60 * plan.checkpoint_minutes
            wait = wait and max(wait, 10 * self.save_seconds)
            late = time.monotonic() - self.saved_time >= wait
            if get_rank_and_world_size()[1] > 1:  # the clocks of the processes differ
                late = bool(self._average(torch.tensor(float(late), device=self.fabric.device)))
            due = due or late
        return due

    def _save(self) -> None:
        """Write a checkpoint; each process adds its carried state and its losses."""
        start = time.monotonic()
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
        self.saved_time, self.saved_step = time.monotonic(), self._count_steps()
        self.save_seconds = self.saved_time - start
        self.fabric.barrier()

    def _get_weights(self) -> dict[str, Tensor]:
        """Return the weights to write; {} in a process that neither writes nor gathers them."""
        return get_weights(self.model) if self.sharded or self.fabric.is_global_zero else {}

    def _flatten_carry(self) -> tuple[Any, dict[str, Tensor]]:
        """Return the carried state as a file holds it; check that it can be read back."""
        try:
            plain, tensors = flatten(self.carry)
            unflatten(plain, tensors, self._carry_types)
        except (KeyError, TypeError) as error:
            raise TrainError(
                f"a checkpoint cannot hold the state that the loss carries ({error}); "
                "build it of tensors, numbers, tuples, lists and mappings, or name its named "
                "tuples and dataclasses in Course.carry_types"
            ) from error
        return plain, tensors

    def _gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all processes, stacked along a new first axis."""
        if get_rank_and_world_size()[1] == 1:
            return tensor[None]
        return cast(Tensor, self.fabric.all_gather(tensor.detach().contiguous()))

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Restore weights and progress from a checkpoint."""
        state, (rank, n) = checkpoint.state, get_rank_and_world_size()
        path = self.folder / LAST
        require_same_run(path, state, self.course.seed, self.course.run)
        put_weights(path, self.model, checkpoint.weights)
        if state["steps"] != self.course.steps:
            raise TrainError(
                f"{path}: written with {state['steps']} batches an epoch, now there are "
                f"{self.course.steps}; use the configuration it was trained with"
            )
        score = f"val_{self.course.metric}"
        if any(score not in row for row in state["history"]):
            raise TrainError(
                f"{path}: its validations have no {score}: it comes from another metric or an "
                "earlier version; train again in another folder (--out)"
            )
        device = self.fabric.device
        if state["losses"] is not None:
            same = state["processes"] == n
            losses = state["losses"][rank] if same else state["losses"].mean(0)
            self.losses = list(losses.to(device))
        plain, tensors = state["carry"]
        if tensors and state["processes"] != n:
            raise TrainError(
                f"{path}: holds the carried states of {state['processes']} processes, now "
                f"there are {n}; continue with --devices {state['processes']}"
            )
        own = {k: v[rank].to(device) for k, v in tensors.items()}
        self.carry = unflatten(plain, own, self._carry_types)
        self._set_tally(state["tally"])
        meta = self.best_meta = checkpoint.best_meta
        self.progress = Progress(
            epoch=state["epoch"],
            step=state["step"],
            best=self.course.worst if meta is None else meta["score"],
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

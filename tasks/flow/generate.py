"""New images of a trained network, and what its state is worth.

A context says whose noisier past an image sees; noise and weights are the same. A past that is
lent comes from other noise, at the start and on the way.

    own             its own
    reset           none: the state is new at every step
    same class      that of another image of its class
    other class     that of an image of the next class
    other image     without labels: that of another image, of an unknown class

Axes: N images, C channels, Y X pixels or latents.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tasks.flow.chip import list_maps
from tasks.flow.config import FlowConfig
from tasks.flow.delta import code_deltas
from tasks.flow.loss import hide_labels
from tasks.flow.model import FlowModel
from tasks.flow.sampler import (
    SampleStep,
    Velocity,
    guide,
    iterate,
    record_states,
    replay_states,
    reset_state,
)

Context = Literal["own", "reset", "same class", "other class", "other image"]
AT_ONCE = 250  # images; their states are kept for every step


class Start(NamedTuple):
    """What images begin with. donors: noise of the images that lend their states.

    seeds: of the noise on the way, of an image and of its donor.
    """

    noise: Float[Tensor, "N C Y X"]
    donors: Float[Tensor, "N C Y X"]
    labels: Int64[Tensor, " N"]
    seeds: Int64[Tensor, "N 2"]


def list_contexts(config: FlowConfig) -> tuple[Context, ...]:
    """Return the contexts of an arm that an evaluation measures, its own first."""
    if not config.has_state:
        return ("own",)
    if not config.lent:
        return ("own", "reset")
    if not config.is_labelled:
        return ("own", "reset", "other image")
    if config.classes == 1:
        return ("own", "reset", "same class")
    return ("own", "reset", "same class", "other class")


def draw_start(config: FlowConfig, n: int, seed: int) -> Start:
    """Draw noise for n images, of classes in turn; the first ones do not depend on n."""
    rng = torch.Generator().manual_seed(seed)
    shape = (2, config.colours, config.side, config.side)
    noise = torch.stack([torch.randn(shape, generator=rng) for _ in range(n)])
    seeds = np.random.SeedSequence(seed).generate_state(2 * n).reshape(n, 2)
    labels = torch.arange(n) % config.classes
    return Start(noise[:, 0], noise[:, 1], labels, torch.from_numpy(seeds.astype(np.int64)))


@torch.no_grad()
def generate(
    config: FlowConfig,
    model: FlowModel,
    start: Start,
    context: Context = "own",
    delta: float = 0.0,
    events: list[int] | None = None,
) -> Float[Tensor, "N C Y X"]:
    """Return the images, on the CPU. For the rest see :func:`generate_path`."""
    require_start(config, model, start, context)
    parts = []
    for first in range(0, len(start.noise), AT_ONCE):
        some = Start(*(x[first : first + AT_ONCE] for x in start))
        parts.append(generate_path(config, model, some, context, delta, events)[-1].x)
    return torch.cat(parts)


@torch.no_grad()
def generate_path(
    config: FlowConfig,
    model: FlowModel,
    start: Start,
    context: Context = "own",
    delta: float = 0.0,
    events: list[int] | None = None,
) -> list[SampleStep]:
    """Return the images behind every step, on the CPU.

    delta: spiking maps are sent changes of counts between steps, where an input is that far
        from the count sent before (:mod:`tasks.flow.delta`); 0 sends all counts at every step.
    events: gets the number of events that reach the spiking maps, step by step (of "heun" call
        by call), all images together; those of lent states are not counted.

    Raises:
        ValueError: the arm has no such context, the start does not fit, or delta is below 0, or
            above it with the sampler "heun".
        TypeError: delta or events are given, and the maps have no spikes.
    """
    require_start(config, model, start, context)
    training, device = model.training, next(model.parameters()).device
    model.eval()
    velocity = make_velocity(config, model, start.labels.to(device))
    if context == "reset":
        velocity = reset_state(velocity)
    elif context != "own":
        lent = start.labels
        if context == "other class":
            lent = (lent + 1) % config.classes
        seen = list[Any]()
        donor = record_states(make_velocity(config, model, lent.to(device)), seen)
        lender = code(config, model, donor, delta, None)
        run(config, lender, start.donors.to(device), start.seeds[:, 1])
        velocity = replay_states(velocity, seen)
    coded = code(config, model, velocity, delta, events)
    steps = run(config, coded, start.noise.to(device), start.seeds[:, 0])
    model.train(training)
    return [SampleStep(t, x.cpu()) for t, x in steps]


def require_start(config: FlowConfig, model: FlowModel, start: Start, context: Context) -> None:
    """Raise a ValueError that lists what does not fit, each with its cure."""
    contexts, classes = list_contexts(config), config.classes
    dtype = model.velocity.weight.dtype
    counts = {name: len(part) for name, part in start._asdict().items()}
    problems = []
    if context not in contexts:
        problems.append(
            f'arm "{config.arm}" has no context "{context}"; give one of {", ".join(contexts)}'
        )
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{n} {name}" for name, n in counts.items())
        problems.append(f"the start has {told}; give one of each an image")
    if start.labels.numel() and not 0 <= start.labels.min() <= start.labels.max() < classes:
        found = " to ".join(str(int(k)) for k in start.labels.aminmax())
        problems.append(f"labels go from {found}; give classes 0 to {classes - 1}")
    for name, x in (("noise", start.noise), ("donors", start.donors)):
        if x.dtype != dtype:
            problems.append(f"{name} is of {x.dtype}; give {dtype}, as the weights")
        if not x.isfinite().all():
            problems.append(f"{name} holds a value that is not finite; draw it anew")
    if problems:
        raise ValueError("\n".join(f"flow: {text}" for text in problems))


def code(
    config: FlowConfig,
    model: FlowModel,
    velocity: Velocity,
    delta: float,
    events: list[int] | None,
) -> Velocity:
    """Return the velocity with delta codes; itself where there are none and no events count.

    Raises:
        ValueError, TypeError: as of :func:`generate_path`.
    """
    if not delta >= 0:
        raise ValueError(f"flow: delta is {delta}; give a number >= 0, in units of threshold")
    if delta and config.sampler == "heun":
        raise ValueError(
            f'flow: delta is {delta}, and sampler "heun" steps back between its calls; give '
            "sampler=euler, sampler=sde or delta=0"
        )
    if not delta and events is None:
        return velocity
    counted = [] if events is None else events
    return code_deltas(velocity, dict(list_maps(model)), delta, counted)


def run(
    config: FlowConfig,
    velocity: Velocity,
    noise: Float[Tensor, "N C Y X"],
    seeds: Int64[Tensor, " N"],
) -> list[SampleStep]:
    """Return the images behind every step. seeds: of the noise on the way, an image each."""
    each = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    return list(iterate(velocity, noise, config.sampler, config.steps, each))


def make_velocity(
    config: FlowConfig, model: FlowModel, labels: Int64[Tensor, " N"]
) -> Velocity:
    """Return the network's velocity for labels, guided as the configuration says."""

    def told(own: Tensor) -> Velocity:
        def velocity(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
            at = torch.full((1, len(x)), t, dtype=x.dtype, device=x.device)
            v, state = model(x[None], at, own[None], state or ())
            return v[0], state

        return velocity

    shown = hide_labels(config, labels)
    free = torch.full_like(labels, config.classes)
    return guide(told(shown), told(free), config.guidance, config.guided)

"""From noise to images: the flow as an ordinary or a stochastic differential equation.

    euler    x <- x + h v(x, t)
    heun     x <- x + h (v(x, t) + v(x + h v(x, t), t + h)) / 2
    sde      x <- x + h d(x, t) + sqrt(2 h (1 - t)) z        d(x, t) = v + (t v - x)

The drift d is v + (1 - t) score: with a diffusion of 1 - t the images have the same
distribution at every t. The last step of "sde" has length LAST and adds no noise. SiT found
this best (Ma et al. 2024, arXiv 2401.08740). A velocity takes a state and returns the next one,
so each image sees its own noisier past. In "heun" the state advances once per step: the state
that the second call returns is dropped.
Axes: B samples, C channels, Y X pixels or latents.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.flow.config import Sampler
from tasks.flow.path import scale_score

LAST = 0.04  # length of the last step of "sde"
Velocity = Callable[[Tensor, float, Any], tuple[Tensor, Any]]  # (x, t, state) -> (v, state)
Generators = torch.Generator | Sequence[torch.Generator]  # one for all images, or one per image


class SampleStep(NamedTuple):
    """Images between noise (t = 0) and the end (t = 1)."""

    t: float
    x: Float[Tensor, "B C Y X"]


def iterate(
    velocity: Velocity,
    noise: Tensor,
    sampler: Sampler,
    steps: int,
    generator: Generators,
    state: Any = None,
) -> Iterator[SampleStep]:
    """Yield the images after each of ``steps`` steps, from noise at t = 0 to images at t = 1.

    noise: B C Y X. generator: on the CPU, for "sde"; with one generator per image, an image
    does not depend on the rest of the batch. state: the state before the first step.
    """
    x = noise
    for t, length in list_steps(sampler, steps):
        v, state = velocity(x, t, state)
        if sampler == "euler":
            x = x + length * v
        elif sampler == "heun":
            ahead, _ = velocity(x + length * v, t + length, state)
            x = x + length / 2 * (v + ahead)
        else:
            x = x + length * (v + scale_score(x, v, t))
            if t + length < 1 - LAST / 2:  # not the last step
                x = x + (2 * length * (1 - t)) ** 0.5 * draw_like(x, generator)
        yield SampleStep(t + length, x)


def draw_like(x: Float[Tensor, "B C Y X"], generator: Generators) -> Float[Tensor, "B C Y X"]:
    """Draw normal noise shaped like x; with several generators, each draws for one image."""
    if isinstance(generator, torch.Generator):
        return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    own = [torch.randn(x.shape[1:], generator=one, dtype=x.dtype) for one in generator]
    return torch.stack(own).to(x.device)


def list_steps(sampler: Sampler, steps: int) -> list[tuple[float, float]]:
    """Return (t, length) of each step; in "sde" all steps but the last are equally long."""
    if sampler != "sde":
        return [(k / steps, 1 / steps) for k in range(steps)]
    if steps == 1:
        return [(0.0, 1.0)]
    length = (1 - LAST) / (steps - 1)
    return [*((k * length, length) for k in range(steps - 1)), (1 - LAST, LAST)]


def count_calls(sampler: Sampler, steps: int, guidance: float) -> int:
    """Return the number of network calls per image."""
    return steps * (2 if sampler == "heun" else 1) * (1 if guidance == 1 else 2)


def guide(conditional: Velocity, free: Velocity, weight: float, channels: int) -> Velocity:
    """Return free + weight (conditional - free) in the first ``channels``, conditional beyond.

    Each branch carries its own state. A weight of 1 returns the conditional velocity itself.
    """
    if weight == 1:
        return conditional

    def guided(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
        own, other = state or (None, None)
        v, own = conditional(x, t, own)
        base, other = free(x, t, other)
        first = base[:, :channels] + weight * (v[:, :channels] - base[:, :channels])
        return torch.cat([first, v[:, channels:]], 1), (own, other)

    return guided


def reset_state(velocity: Velocity) -> Velocity:
    """Return a velocity that starts every step with a new state."""

    def fresh(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:  # noqa: ARG001
        return velocity(x, t, None)[0], None

    return fresh


def record_states(velocity: Velocity, seen: list[Any]) -> Velocity:
    """Return a velocity that appends the state before each step to ``seen``.

    Its own state also counts the steps.
    """

    def recording(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
        at, inner = state or (0, None)
        if at == len(seen):
            seen.append(inner)
        v, inner = velocity(x, t, inner)
        return v, (at + 1, inner)

    return recording


def replay_states(velocity: Velocity, seen: list[Any]) -> Velocity:
    """Return a velocity that reads, step by step, the recorded states in ``seen``."""

    def replaying(x: Tensor, t: float, state: Any) -> tuple[Tensor, Any]:
        at = state or 0
        return velocity(x, t, seen[min(at, len(seen) - 1)])[0], at + 1

    return replaying

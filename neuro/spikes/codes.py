"""Neural codes: encoders from numbers to spikes, decoders from spikes to numbers.

Encoders take intensities 0 <= x <= 1 and return binary spikes over T ticks, on the device of
``x``; exceptions say so. Decoders take a population's output over T ticks.
"""

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from neuro.base.arguments import make_type_error, require_whole_ticks
from neuro.base.units import Ticks


def rate(x: Float[Tensor, "B *N"], ticks: Ticks) -> Float32[Tensor, "T B *N"]:
    """Return evenly spaced spikes at a rate of ``x`` per tick; deterministic.

    After t ticks there are exactly floor(x t + 1/2) spikes: x t, rounded half up.

    >>> rate(torch.tensor([0.5]), Ticks(6)).int().flatten().tolist()
    [1, 0, 1, 0, 1, 0]

    Raises:
        TypeError: ``x`` is not a tensor, or ``ticks`` not a whole number.
        ValueError: ``x`` leaves [0, 1], or ``ticks`` < 1.
    """
    _check(x, ticks)
    # In float64 the product of a float32 and a tick number is exact.
    t = torch.arange(ticks + 1, dtype=torch.float64, device=x.device)
    total = torch.floor(x.double() * t.view(-1, *[1] * x.ndim) + 0.5)
    return total.diff(dim=0).float()


def poisson(
    x: Float[Tensor, "B *N"], ticks: Ticks, generator: torch.Generator
) -> Float32[Tensor, "T B *N"]:
    """Return Bernoulli spikes: at every tick, independently, a spike with probability ``x``.

    Random numbers are drawn on the device of ``generator``, so that a seed gives the same
    spikes whatever the device of ``x``. They are at least float32: 16 bits would miss small
    rates.

    Raises:
        TypeError: ``x`` is not a tensor, ``ticks`` not a whole number, or ``generator`` not a
            torch.Generator.
        ValueError: ``x`` leaves [0, 1], or ``ticks`` < 1.
    """
    _check(x, ticks)
    if not isinstance(generator, torch.Generator):
        cure = "torch.Generator().manual_seed(0) makes one from a seed"
        raise make_type_error("generator", "a torch.Generator", generator, cure)
    u = torch.rand(
        (ticks, *x.shape), dtype=_widen(x.dtype), generator=generator, device=generator.device
    )
    return (u.to(x.device) < x).float()


def latency(x: Float[Tensor, "B *N"], ticks: Ticks) -> Float32[Tensor, "T B *N"]:
    """Return one spike per input, at tick floor((1 - x) T): the larger ``x``, the earlier.

    x = 1 spikes at tick 0, x just above 0 at tick T - 1, x = 0 never.

    >>> first_spike(latency(torch.tensor([1.0, 0.5, 0.0]), Ticks(4))).tolist()
    [0, 2, 4]

    Raises:
        TypeError: ``x`` is not a tensor, or ``ticks`` not a whole number.
        ValueError: ``x`` leaves [0, 1], or ``ticks`` < 1.
    """
    _check(x, ticks)
    spike_tick = torch.floor((1 - x.double()) * ticks).clamp(max=ticks - 1)
    t = torch.arange(ticks, device=x.device).view(-1, *[1] * x.ndim)
    return ((t == spike_tick) & (x > 0)).float()


def direct(x: Float[Tensor, "B *N"], ticks: Ticks) -> Float[Tensor, "T B *N"]:
    """Return ``x`` itself at every tick, as a view: an analog input current of any range.

    Raises:
        TypeError: ``ticks`` is not a whole number.
        ValueError: ``ticks`` < 1.
    """
    _check_ticks(ticks)
    return x.expand(ticks, *x.shape)


def delta(x: Float[Tensor, "T B *N"], threshold: float) -> Float32[Tensor, "T B *N"]:
    """Return by how many thresholds ``x`` rose (> 0) or fell (< 0) since its last event.

    The result is signed: -1, 0 or 1 while x changes by less than a threshold per tick, and
    larger counts (graded spikes) where it changes faster. The reference starts at 0, so that
    ``threshold * events.cumsum(0)`` follows x to within one threshold at every tick.

    Raises:
        ValueError: ``threshold`` is not positive and finite, or ``x`` is not finite.
    """
    if not 0 < threshold < float("inf"):
        raise ValueError(f"threshold must be > 0 and finite, got {threshold}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("the delta code takes finite values; x holds NaN or infinity")
    x = x.to(_widen(x.dtype))  # in 16 bits the sum of events would stop growing
    total = torch.zeros_like(x[0])
    out = []
    for x_t in x:
        events = torch.trunc((x_t - threshold * total) / threshold)
        total = total + events
        out.append(events)
    return torch.stack(out).float()


def count(spikes: Float[Tensor, "T B *N"]) -> Float[Tensor, "B *N"]:
    """Return the sum of spike values over ticks; for binary spikes, the spike count."""
    return spikes.sum(0)


def first_spike(spikes: Float[Tensor, "T B *N"]) -> Int64[Tensor, "B *N"]:
    """Return the tick of each neuron's first spike, or T if it has none."""
    fired = spikes != 0
    return torch.where(fired.any(0), fired.int().argmax(0), len(spikes))


def last(values: Float[Tensor, "T B *N"]) -> Float[Tensor, "B *N"]:
    """Return the values of the last tick."""
    return values[-1]


def mean(values: Float[Tensor, "T B *N"]) -> Float[Tensor, "B *N"]:
    """Return the mean over ticks."""
    return values.mean(0)


def _widen(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for a 16-bit dtype; other dtypes stay."""
    return torch.promote_types(dtype, torch.float32)


def _check(x: Tensor, ticks: Ticks) -> None:
    _check_ticks(ticks)
    if not isinstance(x, Tensor):
        raise make_type_error("intensities", "a tensor", x, "torch.from_numpy(x)")
    inside = (x >= 0) & (x <= 1)  # false for NaN
    if not bool(inside.all()):
        raise ValueError(
            f"intensities must lie in [0, 1], got {float(x[~inside][0])}; "
            "scale them (bytes: divide by 255)"
        )


def _check_ticks(ticks: Ticks) -> None:
    if require_whole_ticks("ticks", ticks) < 1:
        raise ValueError(f"a code needs at least 1 tick, got {ticks}")

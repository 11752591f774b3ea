"""Leaky integrate-and-fire, with an optional synaptic current: :class:`LIF`.

Axes: B batch, ``*N`` the population's shape.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import make_type_error
from neuro.base.units import Seconds, Ticks, ticks
from neuro.neurons.neuron import Untrained
from neuro.neurons.normal_form import (
    Coefficients,
    Dynamics,
    Param,
    Tensors,
    as_array,
    convert_like,
    freeze_parameters,
    require,
)
from neuro.neurons.parameter_names import explain_parameters
from neuro.neurons.reset import Reset, ResetLike, as_reset, reset_membrane
from neuro.neurons.surrogate import Surrogate, arctan, require_surrogate, spike

MOST_REFRACTORY = 2**24  # ticks: the state counts them, possibly in float32


class LIFState(NamedTuple):
    """Membrane after reset, and synaptic current (None without one), in weight units.

    wait: ticks for which v is still held; None if there is no refractory period.
    """

    v: Float[Tensor, "B *N"]
    i: Float[Tensor, "B *N"] | None
    wait: Float[Tensor, "B *N"] | None = None


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class LIF(Untrained):
    """Leaky integrate-and-fire: v decays with tau, input is added in full.

        i[t] = c i[t-1] + x[t]         c = exp(-dt / tau_syn); without tau_syn, i[t] = x[t]
        v[t] = a v[t-1] + i[t]         a = exp(-dt / tau)
        s[t] = 1 if v[t] >= threshold else 0
        v[t] = v[t] - threshold s[t]   (reset "soft", the default)
        v[t] = 0 where s[t] = 1        (reset "hard")

    In the ``refractory / dt`` ticks after the tick of a spike, v is held and s = 0; i continues
    to decay. No gradient passes through the spike of the reset (Zenke & Vogels 2021).

    Differences from an ALIF: time constants are in seconds, input is not scaled by the leak,
    the reset is soft, no parameter is trained. snnTorch's beta is a: tau = -dt / log(beta).

    A time of more than 1 s and more than 1,000 ticks raises a warning: it may be in
    milliseconds.

    tau: membrane time constant [s]; ``math.inf`` for no leak.
    threshold: firing threshold [weight units], > 0.
    reset: "soft" subtracts the threshold, "hard" sets the membrane to 0.
    tau_syn: time constant of the synaptic current [s]; None: no current.
    surrogate: derivative of the spike, as a function of v - threshold.
    refractory: how long a spike holds the membrane [s]; on a clock, a whole number of ticks.
    """

    fires: ClassVar[bool] = True

    tau: Param
    threshold: Param = 1.0
    reset: ResetLike = Reset.SOFT
    tau_syn: Param | None = None
    surrogate: Surrogate = arctan
    refractory: Seconds = Seconds(0.0)

    def __post_init__(self) -> None:
        own = ("tau", "threshold", "refractory")
        freeze_parameters(self, *own, trained=("threshold",))
        tau, threshold = as_array(self.tau), as_array(self.threshold)
        require(tau > 0, "LIF.tau must be > 0 s", tau, "for no leak use tau=math.inf")
        ok = (threshold > 0) & (threshold < np.inf)
        require(ok, "LIF.threshold must be > 0 and finite", threshold, "scale the weights")
        if self.tau_syn is not None:
            freeze_parameters(self, "tau_syn")
            tau_syn = as_array(self.tau_syn)
            ok = (tau_syn > 0) & (tau_syn < np.inf)
            require(ok, "LIF.tau_syn must be > 0 s and finite", tau_syn, "None: no current")
        object.__setattr__(self, "reset", as_reset("LIF.reset", self.reset))
        require_refractory("LIF", self.refractory)
        require_surrogate("LIF.surrogate", self.surrogate)

    def initial(self, x: Float[Tensor, "B *N"]) -> LIFState:
        """Return the state at rest for inputs like ``x``."""
        return make_rest_state(x, current=self.tau_syn is not None, refractory=self.refractory)

    def step(
        self, x: Float[Tensor, "B *N"], state: LIFState, dt: Seconds
    ) -> tuple[Float[Tensor, "B *N"], LIFState]:
        """Advance one tick: (spikes, next state)."""
        k = self.coefficients(dt)
        i = x if state.i is None else convert_like(k.decay_syn, x) * state.i + x
        v = convert_like(k.decay, x) * state.v + i
        threshold = convert_like(self.threshold, x)
        s = spike(v - threshold, self.surrogate)
        v = reset_membrane(v, s, threshold, self.reset)
        s, v, wait = hold_refractory(s, v, state.v, state.wait, k.refractory)
        return s, LIFState(v=v, i=None if state.i is None else i, wait=wait)

    def coefficients(self, dt: Seconds) -> Coefficients:
        """Return the normal form at ``dt`` [s].

        Raises:
            ValueError: the refractory period is not a whole number of ticks.
        """
        syn = 0.0 if self.tau_syn is None else np.exp(-dt / as_array(self.tau_syn))
        return Coefficients(
            decay=as_array(np.exp(-dt / as_array(self.tau))),
            decay_syn=as_array(syn),
            threshold=as_array(self.threshold),
            reset=Reset(self.reset),
            refractory=count_refractory_ticks("LIF", self.refractory, dt),
        )

    def tensors(self, x: Tensor, dt: Seconds) -> Tensors:
        """Return the normal form in the precision of ``x``."""
        k = self.coefficients(dt)
        return Tensors(
            decay=convert_like(k.decay, x),
            gain=convert_like(1.0, x),
            decay_syn=convert_like(k.decay_syn, x),
            threshold=convert_like(self.threshold, x),
            beta=convert_like(0.0, x),
            decay_adapt=convert_like(0.0, x),
        )

    def dynamics(self, dt: Seconds) -> Dynamics:  # noqa: ARG002
        """Return the continuous normal form, equal for every dt."""
        with np.errstate(over="ignore"):  # executors refuse an infinite rate
            rate = as_array(1 / as_array(self.tau))
            rate_syn = None if self.tau_syn is None else as_array(1 / as_array(self.tau_syn))
        return Dynamics(
            rate=rate,
            rate_syn=rate_syn,
            threshold=as_array(self.threshold),
            reset=Reset(self.reset),
            refractory=self.refractory,
        )


def make_rest_state(
    x: Float[Tensor, "B *N"], *, current: bool, refractory: Seconds
) -> LIFState:
    """Return the state at rest for inputs like ``x``. current: whether to include one."""
    zero = torch.zeros_like(x)
    return LIFState(v=zero, i=zero if current else None, wait=zero if refractory else None)


def hold_refractory(
    s: Tensor, v: Tensor, before: Tensor, wait: Tensor | None, refractory: Ticks
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return (spikes, membrane, wait) of a tick in which neurons with ``wait`` > 0 are held.

    s, v: spikes and membrane without a refractory period. before: membrane one tick ago.
    """
    if wait is None:
        return s, v, None
    free = wait == 0
    s = torch.where(free, s, 0)
    v = torch.where(free, v, before)
    return s, v, torch.where(s > 0, float(refractory), (wait - 1).clamp(min=0))


def require_refractory(model: str, refractory: Seconds) -> None:
    """Raise a TypeError or ValueError unless a period is one number, >= 0 s and finite."""
    if not isinstance(refractory, float):
        cure = "put neurons with another period into another population"
        raise make_type_error(f"{model}.refractory", "one number", refractory, cure)
    ok = np.asarray((refractory >= 0) & (refractory < np.inf))
    require(
        ok, f"{model}.refractory must be >= 0 s and finite", refractory, "0 switches it off"
    )


def count_refractory_ticks(model: str, refractory: Seconds, dt: Seconds) -> Ticks:
    """Return a refractory period in ticks; raise a ValueError that names the model."""
    try:
        wait = ticks(refractory, dt)
    except ValueError as error:
        raise ValueError(f"{model}.refractory: {error}") from None
    if wait > MOST_REFRACTORY:
        raise ValueError(
            f"{model}.refractory must be <= {MOST_REFRACTORY:,} ticks, which float32 counts "
            f"exactly, got {wait:.4g} ticks of dt = {dt} s; shorten it, or use a longer dt"
        )
    return wait


@explain_parameters
def IF(
    *,
    threshold: Param = 1.0,
    reset: ResetLike = Reset.SOFT,
    surrogate: Surrogate = arctan,
) -> LIF:
    """Return the integrate-and-fire model, a LIF that does not leak: ``LIF(tau=math.inf)``.

        v[t] = v[t-1] + x[t]
        s[t] = 1 if v[t] >= threshold else 0
        v[t] = v[t] - threshold s[t]   (reset "soft", the default)
        v[t] = 0 where s[t] = 1        (reset "hard")

    threshold: firing threshold [weight units], > 0.
    """
    return LIF(tau=math.inf, threshold=threshold, reset=reset, surrogate=surrogate)

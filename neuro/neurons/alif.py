"""LIF with a trained leak and a trained, adaptive threshold: :class:`ALIF`.

Axes: B batch, ``*N`` the population's shape.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import require_dt
from neuro.base.units import Seconds
from neuro.neurons.lif import count_refractory_ticks, hold_refractory, require_refractory
from neuro.neurons.normal_form import (
    Coefficients,
    Dynamics,
    Param,
    Tensors,
    as_array,
    convert_like,
    freeze_parameters,
    has_values,
    require,
)
from neuro.neurons.parameter_names import (
    TICK_OF_LEAK,
    explain_parameters,
    warn_of_long_tick,
    warn_of_long_time,
)
from neuro.neurons.reset import Reset, ResetLike, as_reset, reset_membrane
from neuro.neurons.surrogate import Surrogate, arctan, require_surrogate, spike


class ALIFState(NamedTuple):
    """Membrane after reset, and threshold adaptation, in weight units.

    wait: ticks for which v is still held; None if there is no refractory period.
    """

    v: Float[Tensor, "B *N"]
    a: Float[Tensor, "B *N"]
    wait: Float[Tensor, "B *N"] | None = None


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class ALIF:
    """LIF with a trained leak and threshold; with ``beta = 0``, the default, it does not adapt.

        v[t] = v[t-1] + leak (x[t] - v[t-1])
        a[t] = rho a[t-1]
        s[t] = 1 if v[t] >= threshold + a[t] else 0
        v[t] = 0 where s[t] = 1                (reset "hard", the default)
        v[t] = v[t] - (threshold + a[t]) s[t]  (reset "soft")
        a[t] = a[t] + beta s[t]

    In the ``refractory / dt`` ticks after the tick of a spike, v is held and s = 0; a continues
    to decay. No gradient passes through the spikes of the reset and of the adaptation.

    Differences from a LIF: leak and rho are per tick, for any dt; input is scaled by the leak;
    the reset is hard. The leak is trained as a sigmoid between 0 and 1; this and the reset
    follow Qiu et al. 2024 (arXiv 2406.03046). :meth:`with_tau` takes seconds. ``beta > 0`` adds
    spike-triggered adaptation (Bellec et al. 2018).

    leak: share of the distance to the input that v covers per tick, 0 < leak <= 1.
    threshold: firing threshold at rest [weight units], > 0.
    beta: rise of the threshold at a spike [weight units], >= 0.
    rho: factor by which that rise shrinks per tick, 0 <= rho <= 1. With rho = 0 the rise ends
        before the next test, as with beta = 0, and the exact clock refuses beta > 0.
    reset: "soft" subtracts the threshold, "hard" sets the membrane to 0.
    surrogate: derivative of the spike, as a function of v - threshold - a.
    refractory: how long a spike holds the membrane [s]; on a clock, a whole number of ticks.

    leak and threshold are trained in float32 and therefore kept as float32 values.
    """

    fires: ClassVar[bool] = True

    leak: Param = 0.5
    threshold: Param = 0.5
    beta: Param = 0.0
    rho: Param = 0.9
    reset: ResetLike = Reset.HARD
    surrogate: Surrogate = arctan
    refractory: Seconds = Seconds(0.0)

    def __post_init__(self) -> None:
        single, double = ("leak", "threshold"), ("beta", "rho")
        freeze_parameters(self, *single, trained=single, dtype=np.float32)
        freeze_parameters(self, *double, "refractory", trained=double)
        object.__setattr__(self, "reset", as_reset("ALIF.reset", self.reset))
        require_refractory("ALIF", self.refractory)
        require_surrogate("ALIF.surrogate", self.surrogate)
        if has_values(self.leak, self.threshold, self.beta, self.rho):
            self._require_ranges()

    def _require_ranges(self) -> None:
        """Raise a ValueError if a parameter is out of range."""
        leak, threshold = as_array(self.leak), as_array(self.threshold)
        beta, rho = as_array(self.beta), as_array(self.rho)
        require((leak > 0) & (leak <= 1), "ALIF.leak must be in (0, 1]", leak, "0.5 is usual")
        require(
            (threshold > 0) & (threshold < np.inf),
            "ALIF.threshold must be > 0 and finite",
            threshold,
            "scale the weights; where it was trained, lower the learning rate",
        )
        ok = (beta >= 0) & (beta < np.inf)
        require(ok, "ALIF.beta must be >= 0 and finite", beta, "0 switches the adaptation off")
        require((rho >= 0) & (rho <= 1), "ALIF.rho must be in [0, 1]", rho, "0.9 is usual")

    def initial(self, x: Float[Tensor, "B *N"]) -> ALIFState:
        """Return the state at rest for inputs like ``x``."""
        zero = torch.zeros_like(x)
        return ALIFState(v=zero, a=zero, wait=zero if self.refractory else None)

    def step(
        self,
        x: Float[Tensor, "B *N"],
        state: ALIFState,
        dt: Seconds,
    ) -> tuple[Float[Tensor, "B *N"], ALIFState]:
        """Advance one tick: (spikes, next state)."""
        v = convert_like(1 - _double(self.leak), x) * state.v + convert_like(self.leak, x) * x
        a = convert_like(self.rho, x) * state.a
        threshold = convert_like(self.threshold, x) + a
        s = spike(v - threshold, self.surrogate)
        v = reset_membrane(v, s, threshold, self.reset)
        refractory = count_refractory_ticks("ALIF", self.refractory, dt)
        s, v, wait = hold_refractory(s, v, state.v, state.wait, refractory)
        return s, ALIFState(v=v, a=a + convert_like(self.beta, x) * s.detach(), wait=wait)

    def coefficients(self, dt: Seconds) -> Coefficients:
        """Return the normal form; leak and rho are already per tick.

        Raises:
            ValueError: the refractory period is not a whole number of ticks.
        """
        leak = as_array(self.leak)
        return Coefficients(
            decay=as_array(1 - leak),
            gain=leak,
            threshold=as_array(self.threshold),
            beta=as_array(self.beta),
            decay_adapt=as_array(self.rho),
            reset=Reset(self.reset),
            refractory=count_refractory_ticks("ALIF", self.refractory, dt),
        )

    def tensors(self, x: Tensor, dt: Seconds) -> Tensors:  # noqa: ARG002
        """Return the normal form in the precision of ``x``."""
        return Tensors(
            decay=convert_like(1 - _double(self.leak), x),
            gain=convert_like(self.leak, x),
            decay_syn=convert_like(0.0, x),
            threshold=convert_like(self.threshold, x),
            beta=convert_like(self.beta, x),
            decay_adapt=convert_like(self.rho, x),
        )

    def dynamics(self, dt: Seconds) -> Dynamics:
        """Return the continuous normal form whose samples are the steps of ``dt`` [s].

        Raises:
            ValueError: leak = 1, which has no time constant.
        """
        leak, rho = as_array(self.leak), as_array(self.rho)
        require(
            leak < 1,
            "an ALIF in continuous time needs leak < 1",
            leak,
            "use a smaller leak, or clock=Grid()",
        )
        with np.errstate(divide="ignore"):  # rho = 0: an infinite rate
            rate_adapt = -np.log(rho) / dt
        return Dynamics(
            rate=as_array(-np.log1p(-leak) / dt),
            gain=leak,
            threshold=as_array(self.threshold),
            beta=as_array(self.beta),
            rate_adapt=as_array(rate_adapt),
            reset=Reset(self.reset),
            refractory=self.refractory,
        )

    def free(self) -> dict[str, Tensor]:
        """Return the trainable parameters.

        ``logit_leak`` is float64: its sigmoid, rounded to float32, is ``leak`` bit for bit.
        """
        leak = torch.as_tensor(as_array(self.leak))
        return {
            "logit_leak": torch.log(leak) - torch.log1p(-leak),
            "threshold": torch.as_tensor(as_array(self.threshold), dtype=torch.float32),
        }

    def bind(self, free: dict[str, Tensor]) -> "ALIF":
        """Return this model with its trainable parameters replaced."""
        leak = torch.sigmoid(free["logit_leak"].double()).float()
        return replace(self, leak=leak, threshold=free["threshold"])

    @classmethod
    def with_tau(
        cls,
        tau: Seconds,
        dt: Seconds,
        threshold: Param = 0.5,
        *,
        tau_adapt: Seconds | None = None,
        **others: Any,
    ) -> "ALIF":
        """Return the ALIF whose membrane decays with ``tau`` [s] in ticks of ``dt`` [s].

        A Spiking and a Graph with another dt refuse the model; after ``replace`` it fits ticks
        of any length.

        tau_adapt: time constant of the threshold's rise [s]; required if beta > 0.
        others: further parameters of an ALIF: beta, reset, surrogate, refractory.

        Raises:
            TypeError: a time is not a number, or leak or rho is among the parameters.
            ValueError: a time is not > 0 s and finite, or beta > 0 comes without tau_adapt.
        """
        times = {"tau": tau, "dt": dt}
        if tau_adapt is not None:
            times["tau_adapt"] = tau_adapt
        for name, value in times.items():
            require_dt(f"ALIF.with_tau: {name}", value)
        for name, source in (("leak", "tau"), ("rho", "tau_adapt")):
            if name in others:
                raise TypeError(
                    f"ALIF.with_tau computes {name} from {source}; give "
                    f"{source} [s], or write ALIF(leak=..., rho=...) per tick"
                )
        for name in ("tau", "tau_adapt"):
            if name in times:
                warn_of_long_time(f"ALIF.with_tau: {name}", times[name], dt, level=2)
        warn_of_long_tick("ALIF.with_tau: tau", tau, dt, level=2)
        if tau_adapt is not None:
            others["rho"] = math.exp(-dt / tau_adapt)
        model = cls(leak=-math.expm1(-dt / tau), threshold=threshold, **others)
        if tau_adapt is None and (as_array(model.beta) > 0).any():
            raise ValueError(
                "ALIF.with_tau: beta > 0 raises the threshold at a spike; give the time "
                "constant of its decay, such as tau_adapt=0.2 [s]"
            )
        object.__setattr__(model, TICK_OF_LEAK, dt)
        return model


def _double(p: Param) -> Param:
    """Return a parameter in float64, where 1 - p is exact, as in the normal form."""
    return p.double() if isinstance(p, Tensor) else as_array(p)

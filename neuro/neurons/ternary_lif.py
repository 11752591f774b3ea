"""A LIF with two thresholds, whose spikes are +1 and -1: :class:`TernaryLIF`.

Axes: B batch, ``*N`` the population's shape.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from neuro.base.units import Seconds
from neuro.neurons.lif import LIFState, make_rest_state
from neuro.neurons.neuron import Untrained
from neuro.neurons.normal_form import (
    Coefficients,
    Param,
    as_array,
    convert_like,
    freeze_parameters,
    require,
)
from neuro.neurons.parameter_names import explain_parameters
from neuro.neurons.reset import Reset
from neuro.neurons.surrogate import Surrogate, arctan, require_surrogate, spike


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class TernaryLIF(Untrained):
    """Leaky integrate-and-fire that fires +1 above one threshold and -1 below another.

        i[t] = c i[t-1] + x[t]         c = exp(-dt / tau_syn); without tau_syn, i[t] = x[t]
        v[t] = a v[t-1] + i[t]         a = exp(-dt / tau)
        s[t] = 1 if v[t] >= threshold, -1 if v[t] <= -lower, else 0
        v[t] = 0 where s[t] != 0

    Lava's TernaryLIF. A spike of -1 reaches the target as minus the synapse's weight.

    tau: membrane time constant [s]; ``math.inf`` for no leak.
    threshold, lower: firing thresholds [weight units], > 0; a neuron fires -1 below -lower.
    tau_syn: time constant of the synaptic current [s]; None: no current.
    surrogate: derivative of a spike, as a function of v - threshold, and of -v - lower.
    """

    fires: ClassVar[bool] = True
    stepped: ClassVar[bool] = True

    tau: Param
    threshold: Param = 1.0
    lower: Param = 1.0
    tau_syn: Param | None = None
    surrogate: Surrogate = arctan

    def __post_init__(self) -> None:
        freeze_parameters(self, "tau", "threshold", "lower", trained=("threshold", "lower"))
        tau = as_array(self.tau)
        require(tau > 0, "TernaryLIF.tau must be > 0 s", tau, "for no leak use tau=math.inf")
        for name in ("threshold", "lower"):
            value = as_array(getattr(self, name))
            ok = (value > 0) & (value < np.inf)
            require(ok, f"TernaryLIF.{name} must be > 0 and finite", value, "scale the weights")
        if self.tau_syn is not None:
            freeze_parameters(self, "tau_syn")
            tau_syn = as_array(self.tau_syn)
            ok = (tau_syn > 0) & (tau_syn < np.inf)
            what = "TernaryLIF.tau_syn must be > 0 s and finite"
            require(ok, what, tau_syn, "None: no current")
        require_surrogate("TernaryLIF.surrogate", self.surrogate)

    def initial(self, x: Float[Tensor, "B *N"]) -> LIFState:
        """Return the state at rest for inputs like ``x``."""
        return make_rest_state(x, current=self.tau_syn is not None, refractory=Seconds(0.0))

    def step(
        self, x: Float[Tensor, "B *N"], state: LIFState, dt: Seconds
    ) -> tuple[Float[Tensor, "B *N"], LIFState]:
        """Advance one tick: (spikes, next state)."""
        k = self.charge_form(dt)
        i = x if state.i is None else convert_like(k.decay_syn, x) * state.i + x
        v = convert_like(k.decay, x) * state.v + i
        above = spike(v - convert_like(self.threshold, x), self.surrogate)
        below = spike(-v - convert_like(self.lower, x), self.surrogate)
        s = above - below
        kept = v * (1 - s.detach().abs())
        return s, LIFState(v=kept, i=None if state.i is None else i)

    def charge_form(self, dt: Seconds) -> Coefficients:
        """Return the normal form at ``dt`` [s], without the lower threshold."""
        syn = 0.0 if self.tau_syn is None else np.exp(-dt / as_array(self.tau_syn))
        return Coefficients(
            decay=as_array(np.exp(-dt / as_array(self.tau))),
            decay_syn=as_array(syn),
            threshold=as_array(self.threshold),
            reset=Reset.HARD,
        )

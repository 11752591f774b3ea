"""Leaky integrator, used as a read-out or a synaptic current: :class:`LI`.

Axes: B batch, ``*N`` the population's shape.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import require_dt
from neuro.base.units import Seconds
from neuro.neurons.neuron import Untrained
from neuro.neurons.normal_form import (
    Coefficients,
    Dynamics,
    Param,
    as_array,
    convert_like,
    freeze_parameters,
    require,
)
from neuro.neurons.parameter_names import explain_parameters


class LIState(NamedTuple):
    """Membrane, in weight units."""

    v: Float[Tensor, "B *N"]


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class LI(Untrained):
    """Leaky integrator: v decays with tau, input is added times gain; it never fires or resets.

        v[t] = a v[t-1] + gain x[t]    a = exp(-dt / tau)

    The output is v, every tick: a read-out. An LI that feeds a population is one of its
    synaptic currents.

    tau: time constant [s]; with ``math.inf`` v is the sum of the input.
    gain: rise of v per unit of input; see :func:`psc_gain`.
    """

    fires: ClassVar[bool] = False

    tau: Param
    gain: Param = 1.0

    def __post_init__(self) -> None:
        freeze_parameters(self, "tau", "gain", trained=("gain",))
        tau = as_array(self.tau)
        require(tau > 0, "LI.tau must be > 0 s", tau, "for no leak use tau=math.inf")
        gain = as_array(self.gain)
        cure = "1 adds the input; where it was trained, lower the learning rate"
        require(np.isfinite(gain), "LI.gain must be finite", gain, cure)

    def initial(self, x: Float[Tensor, "B *N"]) -> LIState:
        """Return the state at rest for inputs like ``x``."""
        return LIState(v=torch.zeros_like(x))

    def step(
        self, x: Float[Tensor, "B *N"], state: LIState, dt: Seconds
    ) -> tuple[Float[Tensor, "B *N"], LIState]:
        """Advance one tick: (membrane, next state)."""
        v = (
            convert_like(self.coefficients(dt).decay, x) * state.v
            + convert_like(self.gain, x) * x
        )
        return v, LIState(v=v)

    def coefficients(self, dt: Seconds) -> Coefficients:
        """Return the normal form at ``dt`` [s]."""
        return Coefficients(
            decay=as_array(np.exp(-dt / as_array(self.tau))),
            gain=as_array(self.gain),
            threshold=as_array(np.inf),
            reset=None,
            fires=False,
        )

    def dynamics(self, dt: Seconds) -> Dynamics:  # noqa: ARG002
        """Return the continuous normal form, equal for every dt."""
        return Dynamics(
            rate=as_array(1 / as_array(self.tau)),
            gain=as_array(self.gain),
            threshold=as_array(np.inf),
            reset=None,
            fires=False,
        )


def psc_gain(tau_syn: Seconds, tau: Seconds, dt: Seconds) -> float:
    """Return the gain that makes an LI(tau_syn) the physical synaptic current of a membrane.

    The membrane has the time constant tau. With this gain tau dv/dt = -v + I holds, where I
    jumps by the weight at a spike and decays with tau_syn [s]. The gain is (a - c) / (tau /
    tau_syn - 1), with a = exp(-dt / tau) and c = exp(-dt / tau_syn).

    Raises:
        TypeError: a time constant or dt is not a number.
        ValueError: a time constant or dt is not > 0 s and finite.
    """
    for name, value in (("tau_syn", tau_syn), ("tau", tau), ("dt", dt)):
        require_dt(f"psc_gain: {name}", value)
    slower = tau / tau_syn - 1
    x = slower * dt / tau
    a = math.exp(-dt / tau)
    # a - c = -a expm1(-x), which stays precise for similar time constants.
    return a * dt / tau if x == 0 else -a * math.expm1(-x) / slower

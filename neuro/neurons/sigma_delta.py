"""Neurons that send changes as graded spikes: :class:`Delta` and :class:`SigmaDelta`.

Axes: B batch, ``*N`` the population's shape.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.units import Seconds
from neuro.neurons.neuron import Untrained
from neuro.neurons.normal_form import Param, as_array, convert_like, freeze_parameters, require
from neuro.neurons.parameter_names import explain_parameters


class ChangeState(NamedTuple):
    """The last value, the part of its changes not sent yet, and the accumulated error."""

    v: Float[Tensor, "B *N"]
    residue: Float[Tensor, "B *N"]
    error: Float[Tensor, "B *N"]


class SigmaDeltaState(NamedTuple):
    """The state of a Delta (:class:`ChangeState`), and the sum of the input."""

    v: Float[Tensor, "B *N"]
    residue: Float[Tensor, "B *N"]
    error: Float[Tensor, "B *N"]
    sigma: Float[Tensor, "B *N"]


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class Delta(Untrained):
    """Send the input's change as a graded spike as soon as it is large enough.

        d[t] = x[t] - v[t-1] + r[t-1]               v[t] = x[t]
        s[t] = d[t] where |d[t]| >= threshold, else 0
        r[t] = d[t] - s[t]

    Lava's Delta, in floats. The spikes sum to x, up to the residue r. With ``cumulative``, the
    accumulated error e = e + d is compared with the threshold instead of d (|e| >= threshold),
    and a spike sets it to 0. A gradient passes d where a spike is sent; elsewhere the residue
    carries it.

    threshold: >= 0, in units of x.
    cumulative: whether errors accumulate.
    spike_exp: from 0 to 7, spikes are rounded down to multiples of 2^-spike_exp, as Lava's
        fixed-point model sends them; r does not keep what is lost. None: not rounded.
    """

    fires: ClassVar[bool] = True
    stepped: ClassVar[bool] = True

    threshold: Param
    cumulative: bool = False
    spike_exp: int | None = None

    def __post_init__(self) -> None:
        require_threshold(self)

    def initial(self, x: Float[Tensor, "B *N"]) -> ChangeState:
        """Return the state at rest for inputs like ``x``."""
        return ChangeState(*(torch.zeros_like(x) for _ in range(3)))

    def step(
        self,
        x: Float[Tensor, "B *N"],
        state: ChangeState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "B *N"], ChangeState]:
        """Advance one tick of any length ``dt``: (graded spikes, next state)."""
        s, after = code_change(x, state, convert_like(self.threshold, x), self.cumulative)
        return round_down(s, self.spike_exp), after


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class SigmaDelta(Untrained):
    """Add up incoming changes, apply a ReLU, and send changes of the result like a Delta.

        sigma[t] = sigma[t-1] + x[t]
        y[t]     = max(sigma[t] + bias, 0)          (without relu: sigma[t] + bias)
        d[t]     = y[t] - v[t-1] + r[t-1]           v[t] = y[t]
        s[t]     = d[t] where |d[t]| >= threshold, else 0
        r[t]     = d[t] - s[t]

    Lava's SigmaDelta, in floats: a layer of a ReLU network that computes on changes alone. Its
    bias is a value, not a change that adds up, so the connection before it must have no bias.
    End such a network with ``LI(tau=math.inf)``, which sums the changes.

    threshold: >= 0, in units of y.
    bias: in units of y.
    relu, cumulative, spike_exp: see the equations above, and Delta.
    """

    fires: ClassVar[bool] = True
    stepped: ClassVar[bool] = True

    threshold: Param
    bias: Param = 0.0
    relu: bool = True
    cumulative: bool = False
    spike_exp: int | None = None

    def __post_init__(self) -> None:
        require_threshold(self)
        freeze_parameters(self, "bias", trained=("bias",))
        bias = as_array(self.bias)
        require(np.isfinite(bias), "SigmaDelta.bias must be finite", bias, "0 is none")

    def initial(self, x: Float[Tensor, "B *N"]) -> SigmaDeltaState:
        """Return the state at rest for inputs like ``x``."""
        return SigmaDeltaState(*(torch.zeros_like(x) for _ in range(4)))

    def step(
        self,
        x: Float[Tensor, "B *N"],
        state: SigmaDeltaState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "B *N"], SigmaDeltaState]:
        """Advance one tick of any length ``dt``: (graded spikes, next state)."""
        sigma = state.sigma + x
        y = sigma + convert_like(self.bias, x)
        y = torch.relu(y) if self.relu else y
        threshold = convert_like(self.threshold, x)
        s, after = code_change(y, ChangeState(*state[:3]), threshold, self.cumulative)
        return round_down(s, self.spike_exp), SigmaDeltaState(*after, sigma=sigma)


def code_change(
    y: Float[Tensor, "B *N"], state: ChangeState, threshold: Tensor, cumulative: bool
) -> tuple[Float[Tensor, "B *N"], ChangeState]:
    """Return the changes of y that are sent, and the next state."""
    d = y - state.v + state.residue
    error = state.error + d if cumulative else state.error
    s = torch.where((error if cumulative else d).abs() >= threshold, d, 0)
    error = torch.where(s == 0, error, 0)
    return s, ChangeState(v=y, residue=d - s, error=error)


def round_down(s: Float[Tensor, "B *N"], spike_exp: int | None) -> Float[Tensor, "B *N"]:
    """Return spikes as multiples of 2^-spike_exp; the gradient passes the rounding."""
    if spike_exp is None:
        return s
    steps = s.detach() * 2.0**spike_exp
    return s + (steps.floor() - steps) / 2.0**spike_exp


def require_threshold(model: Delta | SigmaDelta) -> None:
    """Raise an error unless the parameters that both models share are in range."""
    if model.spike_exp not in (None, *range(8)):
        raise ValueError(
            f"{type(model).__name__}.spike_exp is {model.spike_exp}; it must be from 0 to 7. "
            "Leave it out to send changes as they are"
        )
    freeze_parameters(model, "threshold")
    threshold = as_array(model.threshold)
    what = f"{type(model).__name__}.threshold must be >= 0 and finite"
    require((threshold >= 0) & (threshold < np.inf), what, threshold, "0 sends every change")

"""A LIF defined by its decays per tick, as in NIR and other libraries.

Axes: B batch, ``*N`` the population's shape.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.units import Seconds
from neuro.neurons.lif import (
    LIFState,
    count_refractory_ticks,
    hold_refractory,
    make_rest_state,
    require_refractory,
)
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
from neuro.neurons.reset import Reset, ResetLike, as_reset, is_hard
from neuro.neurons.surrogate import Surrogate, arctan, require_surrogate, spike


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class DiscreteLIF(Untrained):
    """Leaky integrate-and-fire in ticks; the imports of :mod:`neuro.interop` return it.

        i[t] = decay_syn i[t-1] + x[t]          without decay_syn, i[t] = x[t]
        v[t] = decay v[t-1] + gain i[t]
        s[t] = 1 if v[t] >= threshold - rest else 0          (strict: >)
        v[t] = reset_to - rest where s[t] = 1                (reset "hard")
        v[t] = v[t] - reset_by s[t]                          (reset "soft", the default)

    v is the membrane measured from ``rest``, towards which it decays and at which it starts.
    In the ``refractory / dt`` ticks after the tick of a spike, v is held and s = 0; i
    continues.

    A soft reset that acts one tick late, v[t] = decay v[t-1] + i[t] - r s[t-1] as in snnTorch,
    is ``reset_by = r / decay``: the decay of the next tick turns it into r.

    decay: factor of the membrane per tick, 0 <= decay <= 1; 1 means no leak.
    gain: rise of v per unit of current, > 0.
    decay_syn: factor of the current per tick, 0 <= decay_syn < 1; None: no current.
    threshold: firing threshold [weight units], > rest.
    strict: whether a membrane that equals its threshold stays silent. In continuous time a
        neuron fires when it reaches its threshold, whatever ``strict`` is.
    reset: "soft" subtracts, "hard" sets.
    reset_to: membrane after a hard reset, < threshold; None: rest.
    reset_by: amount that a soft reset subtracts, >= 0; None: threshold. 0: no reset.
    rest: membrane without input [weight units].
    surrogate: derivative of the spike, as a function of v - threshold.
    refractory: how long a spike holds the membrane [s]; on a clock, a whole number of ticks.
    """

    fires: ClassVar[bool] = True

    decay: Param
    gain: Param = 1.0
    decay_syn: Param | None = None
    threshold: Param = 1.0
    strict: bool = False
    reset: ResetLike = Reset.SOFT
    reset_to: Param | None = None
    reset_by: Param | None = None
    rest: Param = 0.0
    surrogate: Surrogate = arctan
    refractory: Seconds = Seconds(0.0)

    def __post_init__(self) -> None:
        given = ("decay_syn", "reset_to", "reset_by")
        optional = [name for name in given if getattr(self, name) is not None]
        freeze_parameters(self, "decay", "gain", "threshold", "rest", "refractory", *optional)
        object.__setattr__(self, "reset", as_reset("DiscreteLIF.reset", self.reset))
        object.__setattr__(self, "strict", bool(self.strict))
        require_refractory("DiscreteLIF", self.refractory)
        require_surrogate("DiscreteLIF.surrogate", self.surrogate)
        self._require_ranges()

    def _require_ranges(self) -> None:
        """Raise a ValueError if a parameter is out of range or has no effect."""
        decay, gain, rest = as_array(self.decay), as_array(self.gain), as_array(self.rest)
        threshold = as_array(self.threshold)
        own = "DiscreteLIF."
        ok = (decay >= 0) & (decay <= 1)
        require(ok, f"{own}decay must be in [0, 1]", decay, "1 is no leak; a shorter dt helps")
        ok = (gain > 0) & (gain < np.inf)
        require(ok, f"{own}gain must be > 0 and finite", gain, "change the sign of the weights")
        require(np.isfinite(rest), f"{own}rest must be finite", rest, "0 is usual")
        ok = (threshold > rest) & (threshold < np.inf)
        cure = "at rest it would fire in every tick; raise the threshold"
        require(ok, f"{own}threshold must be > rest and finite", threshold, cure)
        if self.decay_syn is not None:
            syn = as_array(self.decay_syn)
            ok = (syn >= 0) & (syn < 1)
            require(ok, f"{own}decay_syn must be in [0, 1)", syn, "None: no current")
        unused = "reset_by" if is_hard(self.reset) else "reset_to"
        if getattr(self, unused) is not None:
            raise ValueError(
                f"{own}{unused} has no effect with reset={str(self.reset)!r}; a hard reset "
                "sets v to reset_to, a soft reset subtracts reset_by"
            )
        if self.reset_to is not None:
            to = as_array(self.reset_to)
            ok = (to < threshold) & np.isfinite(to)
            cure = "else it fires in every tick; lower it"
            require(ok, f"{own}reset_to must be < threshold and finite", to, cure)
        if self.reset_by is not None:
            by = as_array(self.reset_by)
            ok = (by >= 0) & (by < np.inf)
            require(ok, f"{own}reset_by must be >= 0 and finite", by, "0: no reset")
        elif not is_hard(self.reset):  # it subtracts the threshold
            cure = "a soft reset would raise v by it; give reset_by"
            require(threshold >= 0, f"{own}threshold must be >= 0", threshold, cure)

    def initial(self, x: Float[Tensor, "B *N"]) -> LIFState:
        """Return the state at rest for inputs like ``x``."""
        return make_rest_state(
            x, current=self.decay_syn is not None, refractory=self.refractory
        )

    def step(
        self, x: Float[Tensor, "B *N"], state: LIFState, dt: Seconds
    ) -> tuple[Float[Tensor, "B *N"], LIFState]:
        """Advance one tick: (spikes, next state)."""
        k = self.coefficients(dt)
        i = x if state.i is None else convert_like(k.decay_syn, x) * state.i + x
        v = convert_like(k.decay, x) * state.v + convert_like(k.gain, x) * i
        high = convert_like(k.threshold, x)
        s = spike(v - high, self.surrogate)
        if self.strict:
            s = torch.where(
                v > high, s, s - s.detach()
            )  # 0 where v equals the threshold; the gradient stays
        fired = s.detach()
        if k.hard:
            v = torch.where(fired > 0, convert_like(k.reset_to, x), v)
        else:
            v = v - convert_like(k.subtracted, x) * fired
        s, v, wait = hold_refractory(s, v, state.v, state.wait, k.refractory)
        return s, LIFState(v=v, i=None if state.i is None else i, wait=wait)

    def coefficients(self, dt: Seconds) -> Coefficients:
        """Return the normal form; decays are already per tick.

        Raises:
            ValueError: the refractory period is not a whole number of ticks.
        """
        rest, threshold = as_array(self.rest), as_array(self.threshold)
        return Coefficients(
            decay=as_array(self.decay),
            gain=as_array(self.gain),
            decay_syn=as_array(0.0 if self.decay_syn is None else self.decay_syn),
            threshold=as_array(threshold - rest),
            strict=self.strict,
            reset=Reset(self.reset),
            reset_to=as_array(0.0 if self.reset_to is None else self.reset_to - rest),
            reset_by=threshold if self.reset_by is None else as_array(self.reset_by),
            refractory=count_refractory_ticks("DiscreteLIF", self.refractory, dt),
        )

    def dynamics(self, dt: Seconds) -> Dynamics:
        """Return the continuous normal form whose samples are the steps of ``dt`` [s].

        Raises:
            ValueError: a decay is 0 and has no time constant, or a soft reset subtracts 0, so
                that a neuron would fire without end.
        """
        k = replace(self, refractory=Seconds(0.0)).coefficients(dt)  # of any length here
        need, cure = "a DiscreteLIF in continuous time needs", "or clock=Grid()"
        require(k.decay > 0, f"{need} decay > 0", k.decay, f"use a larger one, {cure}")
        rate_syn = None
        if self.decay_syn is not None:
            require(k.decay_syn > 0, f"{need} decay_syn > 0", k.decay_syn, f"use None, {cure}")
            rate_syn = as_array(-np.log(k.decay_syn) / dt)
        ok = k.hard | (k.subtracted > 0)
        require(ok, f"{need} reset_by > 0", k.subtracted, f"use the threshold, {cure}")
        return Dynamics(
            rate=as_array(np.abs(np.log(k.decay)) / dt),
            rate_syn=rate_syn,
            gain=k.gain,
            threshold=k.threshold,
            reset=k.reset,
            reset_to=k.reset_to,
            reset_by=k.reset_by,
            refractory=self.refractory,
        )

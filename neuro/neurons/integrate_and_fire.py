"""Integrate-and-fire: :func:`IF`."""

import math

from neuro.neurons.lif import LIF
from neuro.neurons.normal_form import Param
from neuro.neurons.parameter_names import explain_parameters
from neuro.neurons.reset import Reset, ResetLike
from neuro.neurons.surrogate import Surrogate, arctan


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

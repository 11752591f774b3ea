"""Integrate-and-fire: a LIF that does not leak.

v[t] = v[t-1] + x[t]
s[t] = 1 if v[t] >= threshold else 0
v[t] = v[t] - threshold s[t]  (reset "soft"),  or 0 where s[t] = 1  (reset "hard")
"""

import math

from neuro.neurons.lif import LIF
from neuro.neurons.normal_form import Param
from neuro.neurons.reset import Reset, ResetLike
from neuro.neurons.surrogate import Surrogate, arctan


def IF(
    *,
    threshold: Param = 1.0,
    reset: ResetLike = Reset.SOFT,
    surrogate: Surrogate = arctan,
) -> LIF:
    """Return the integrate-and-fire model: ``LIF(tau=math.inf)``.

    threshold: firing threshold [weight units], > 0.
    """
    return LIF(tau=math.inf, threshold=threshold, reset=reset, surrogate=surrogate)

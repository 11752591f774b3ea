"""Leaky integrator: a read-out that never fires.

    v[t] = a v[t-1] + x[t]         a = exp(-dt / tau)

Its output is v itself. Axes: B batch, ``*N`` the population's shape.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.neurons.base import Coefficients, Param, as_array, like, require
from neuro.units import Seconds, Ticks


class LIState(NamedTuple):
    """Membrane, in weight units."""

    v: Float[Tensor, "B *N"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LI:
    """Parameters of a read-out population.

    tau: membrane time constant [s]; ``math.inf`` sums its input.
    """

    tau: Param

    def __post_init__(self) -> None:
        tau = as_array(self.tau)
        require(tau > 0, "LI.tau must be > 0 s", tau, "for no leak use tau=math.inf")

    def initial(self, x: Float[Tensor, "B *N"]) -> LIState:
        """Return the state at rest for inputs like ``x``."""
        return LIState(v=torch.zeros_like(x))

    def step(
        self, x: Float[Tensor, "B *N"], state: LIState, dt: Seconds
    ) -> tuple[Float[Tensor, "B *N"], LIState]:
        """Advance one tick: (membrane, next state)."""
        v = like(self.coefficients(dt).decay, x) * state.v + x
        return v, LIState(v=v)

    def jump(self, v: float, elapsed: Ticks, dt: Seconds) -> float:
        """Return v ``elapsed`` ticks later without input: ``step`` in closed form."""
        return float(self.coefficients(dt).decay) ** elapsed * v

    def coefficients(self, dt: Seconds) -> Coefficients:
        """Return the normal form at this dt."""
        decay = np.exp(-dt / as_array(self.tau))
        return Coefficients(
            decay=as_array(decay), threshold=as_array(np.inf), hard=False, fires=False
        )

    def free(self) -> dict[str, Tensor]:
        """Return the trainable parameters: an LI has none."""
        return {}

    def bind(self, free: dict[str, Tensor]) -> "LI":  # noqa: ARG002
        """Return this model with its trainable parameters replaced."""
        return self

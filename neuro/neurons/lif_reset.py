"""A LIF whose state returns to rest at regular intervals: :class:`LIFReset`.

Axes: B batch, ``*N`` the population's shape.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import require_whole
from neuro.base.units import Seconds, Ticks
from neuro.neurons.lif import LIF, LIFState
from neuro.neurons.normal_form import Coefficients
from neuro.neurons.parameter_names import explain_parameters


class LIFResetState(NamedTuple):
    """The state of a LIF, and the number of ticks since the last interval began."""

    v: Float[Tensor, "B *N"]
    i: Float[Tensor, "B *N"] | None
    wait: Float[Tensor, "B *N"] | None
    tick: Float[Tensor, "B *N"]


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class LIFReset(LIF):
    """A LIF whose v, i and refractory period are set to 0 every ``interval`` ticks.

        before tick t:  v = i = 0   where t mod interval = offset mod interval
        then as :class:`LIF`

    Lava's LIFReset: samples stream through a network of such neurons one after the other.

    interval: ticks from one return to rest to the next, >= 1.
    offset: tick of one return to rest, counted from 0, where a run from rest begins.
    """

    stepped: ClassVar[bool] = True

    interval: Ticks
    offset: Ticks = Ticks(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("interval", 1), ("offset", 0)):
            value = getattr(self, name)
            require_whole(f"LIFReset.{name}", value, "it counts ticks")
            if not least <= value < MOST:
                raise ValueError(
                    f"LIFReset.{name} must be from {least} to {MOST - 1}, got {value}; it "
                    "counts ticks"
                )

    def initial(self, x: Float[Tensor, "B *N"]) -> LIFResetState:  # type: ignore[override]
        """Return the state at rest for inputs like ``x``."""
        return LIFResetState(*super().initial(x), tick=torch.zeros_like(x))

    def step(  # type: ignore[override]
        self, x: Float[Tensor, "B *N"], state: LIFResetState, dt: Seconds
    ) -> tuple[Float[Tensor, "B *N"], LIFResetState]:
        """Advance one tick: (spikes, next state)."""
        clear = state.tick == self.offset % self.interval
        i, wait = (
            None if c is None else torch.where(clear, 0, c) for c in (state.i, state.wait)
        )
        before = LIFState(v=torch.where(clear, 0, state.v), i=i, wait=wait)
        s, after = super().step(x, before, dt)
        return s, LIFResetState(*after, tick=(state.tick + 1) % self.interval)

    def charge_form(self, dt: Seconds) -> Coefficients:
        """Return the normal form of the dynamics between two returns to rest."""
        return self.coefficients(dt)


MOST = 2**24  # ticks: the state counts them, possibly in float32

"""Neurons in the whole numbers of Loihi: :class:`LoihiLIF` and its read-out :class:`LoihiLI`.

Axes: B batch, ``*N`` the population's shape.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.arguments import require_whole
from neuro.base.units import Seconds, Ticks
from neuro.neurons.neuron import Untrained
from neuro.neurons.normal_form import Param, as_array, convert_like, freeze_parameters, require
from neuro.neurons.parameter_names import explain_parameters

LIMIT = 2.0**23  # of u and v
UNIT = 64.0  # units of u and v in a unit of weight


class LoihiState(NamedTuple):
    """v and u, in units of which 64 are a weight unit; ticks since an interval began."""

    v: Float[Tensor, "B *N"]
    u: Float[Tensor, "B *N"]
    tick: Float[Tensor, "B *N"] | None


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class LoihiLI(Untrained):
    """A leaky integrator in the integers of Loihi, which shows v in weight units.

        u[t] = W(T(u[t-1] (4095 - du)) + 64 x[t])
        v[t] = C(T(v[t-1] (4096 - dv)) + u[t] + 64 bias)          T(y) = y / 4096, towards 0

    W adds or subtracts 2^24 once, so that u returns to (-2^23, 2^23]; C clips to +-(2^23 - 1).
    x must be whole numbers: sums of whole weights. du = -1 and dv = 0 keep everything.

    du, dv: decays of u and v, whole numbers from -1 to 4095 and from 0 to 4096.
    bias: per tick [weight units], a whole number.
    reset_interval, reset_offset: u and v are 0 before the ticks t with t mod reset_interval =
        reset_offset mod reset_interval; 0: never.
    """

    fires: ClassVar[bool] = False
    stepped: ClassVar[bool] = True

    du: Param = 4095.0
    dv: Param = 0.0
    bias: Param = 0.0
    reset_interval: Ticks = Ticks(0)
    reset_offset: Ticks = Ticks(0)

    def __post_init__(self) -> None:
        for name in ("reset_interval", "reset_offset"):
            value = getattr(self, name)
            require_whole(f"{type(self).__name__}.{name}", value, "it counts ticks")
            if not 0 <= value < 2**24:
                raise ValueError(
                    f"{type(self).__name__}.{name} is {value}; it must be from 0 to 2^24 - 1"
                )
        self._require_registers(du=(-1, 4095), dv=(0, 4096), bias=(-8192, 8191))

    def _require_registers(self, **ranges: tuple[int, int]) -> None:
        freeze_parameters(self, *ranges)
        for name, (low, high) in ranges.items():
            value = as_array(getattr(self, name))
            what = f"{type(self).__name__}.{name} must be a whole number from {low} to {high}"
            ok = (np.rint(value) == value) & (value >= low) & (value <= high)
            require(ok, what, value, "it is a register of the chip")

    def initial(self, x: Float[Tensor, "B *N"]) -> LoihiState:
        """Return the state at rest for inputs like ``x``."""
        zero = torch.zeros_like(x)
        return LoihiState(v=zero, u=zero, tick=zero if self.reset_interval else None)

    def step(
        self,
        x: Float[Tensor, "B *N"],
        state: LoihiState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "B *N"], LoihiState]:
        """Advance one tick of any length ``dt``: (v in weight units, next state)."""
        after = _convert(self._charge(x, state), x)
        return after.v / UNIT, after

    def _charge(self, x: Tensor, state: LoihiState) -> LoihiState:
        """Return the state before any spike, in float64: products have 35 bits."""
        x, v, u, tick = x.double(), state.v.double(), state.u.double(), state.tick
        du, dv, bias = (convert_like(p, x) for p in (self.du, self.dv, self.bias))
        if tick is not None:
            clear = tick == self.reset_offset % self.reset_interval
            v, u = torch.where(clear, 0, v), torch.where(clear, 0, u)
            tick = (tick + 1) % self.reset_interval
        u = torch.trunc(u * (4095 - du) / 4096) + UNIT * x
        u = u + 2 * LIMIT * ((u <= -LIMIT).double() - (u > LIMIT).double())
        v = torch.trunc(v * (4096 - dv) / 4096) + u + UNIT * bias
        return LoihiState(v=v.clamp(1 - LIMIT, LIMIT - 1), u=u, tick=tick)


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class LoihiLIF(LoihiLI):
    """A LIF in the integers of Loihi and Lava, with hard reset to 0.

        u[t], v[t] as :class:`LoihiLI`
        s[t] = 1 if v[t] > 64 vth, else 0
        v[t] = 0 where s[t] = 1

    Imports of lava-dl return it: a Graph of such neurons computes on every clock, bit for bit,
    what its program computes on a chip.

    vth: threshold [weight units], a whole number of 17 bits.
    """

    fires: ClassVar[bool] = True

    vth: Param

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_registers(vth=(0, 2**17 - 1))

    def step(
        self,
        x: Float[Tensor, "B *N"],
        state: LoihiState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "B *N"], LoihiState]:
        """Advance one tick of any length ``dt``: (spikes, next state)."""
        after = self._charge(x, state)
        s = (after.v > UNIT * convert_like(self.vth, after.v)).double()
        return s.to(x.dtype), _convert(after._replace(v=after.v * (1 - s)), x)


def _convert(state: LoihiState, x: Tensor) -> LoihiState:
    """Return a state in the precision of the input; float32 holds its whole numbers."""
    return LoihiState(v=state.v.to(x.dtype), u=state.u.to(x.dtype), tick=state.tick)

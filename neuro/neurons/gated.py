"""Gated leaky integrator: :class:`GatedLI`.

Axes: B batch, ``*N`` the population's shape, ``*X`` the shape of x: its first axis is twice as
long.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.base.units import Seconds
from neuro.neurons.neuron import Untrained
from neuro.neurons.normal_form import Param, as_array, convert_like, freeze_parameters, require
from neuro.neurons.parameter_names import explain_parameters


class GatedState(NamedTuple):
    """Membrane, in units of the candidate value."""

    v: Float[Tensor, "B *N"]


@explain_parameters
@dataclass(frozen=True, kw_only=True, eq=False)
class GatedLI(Untrained):
    """Gated leaky integrator: its input sets how much of v is kept; it never fires or resets.

        f = floor + (1 - floor) sigmoid(x_f)    v[t] = f v[t-1] + (1 - f) x_c

    x = [x_f, x_c] has two halves along the first axis: gate and candidate. The output is v,
    every tick. With a SiLU before x_c it is the token mixer of the MatMul-free language model
    (MLGRU; Zhu et al. 2024, arXiv 2406.02528); the floor is from HGRN (Qin et al. 2023, arXiv
    2311.04823).

    floor: least share of v that a tick keeps, 0 <= floor < 1.
    """

    fires: ClassVar[bool] = False

    floor: Param = 0.0

    def __post_init__(self) -> None:
        freeze_parameters(self, "floor", trained=("floor",))
        floor = as_array(self.floor)
        ok = (floor >= 0) & (floor < 1)
        require(ok, "GatedLI.floor must be >= 0 and < 1", floor, "0 leaves the gate free")

    def initial(self, x: Float[Tensor, "B *X"]) -> GatedState:
        """Return the state at rest for inputs like ``x``."""
        return GatedState(v=torch.zeros_like(x[:, : x.shape[1] // 2]))

    def step(
        self,
        x: Float[Tensor, "B *X"],
        state: GatedState,
        dt: Seconds,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "B *N"], GatedState]:
        """Advance one tick of any length ``dt``: (membrane, next state)."""
        gate, candidate = x.chunk(2, 1)
        floor = convert_like(self.floor, x)
        keep = floor + (1 - floor) * torch.sigmoid(gate)
        v = keep * state.v + (1 - keep) * candidate
        return v, GatedState(v=v)

    def macs(self, given: tuple[int, ...]) -> int:
        """Return the multiply-accumulates per tick for an input of shape ``given``.

        There are 3 per neuron, with or without a floor: the sigmoid, counted as on a host node
        (:mod:`neuro.graph.host_ops`), and the products in v = c + f (v - c) and
        f = floor + (1 - floor) sigmoid.
        """
        return 3 * math.prod(given) // 2

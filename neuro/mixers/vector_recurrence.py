"""Mixers whose state is a vector: MLGRU and HGRN.

    f = floor + (1 - floor) sigmoid(W_f x)    h[t] = f h[t-1] + (1 - f) SiLU(W_c x)

Axes: T tokens, B samples, D channels, L layers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact, require_shape
from neuro.mixers.mixer import MakeLinear, Mixer, exact_zeros, make_linear
from neuro.mixers.scan import run_scan


class VectorState(NamedTuple):
    """The hidden state."""

    h: Float[Tensor, "B D"]


def layer_floors(free: Float[Tensor, "L D"]) -> Float[Tensor, "L D"]:
    """Return the least share of h that each layer keeps, from free parameters (zeros at first).

    It is the cumulative sum over layers of their softmax, minus its first row: 0 in layer 0,
    rising to less than 1 (HGRN; Qin et al. 2023, arXiv 2311.04823).
    """
    share = free.softmax(0)
    return share.cumsum(0) - share[0]


class _VectorMixer(Mixer):
    """MLGRU or HGRN. linear: makes the four maps (D to D). eps: of the norm."""

    def __init__(self, width: int, linear: MakeLinear, eps: float) -> None:
        super().__init__(width)
        self.forget, self.candidate = linear(width, width), linear(width, width)
        self.gate, self.output = linear(width, width), linear(width, width)
        self.norm = nn.RMSNorm(width, eps=eps)

    def initial(self, x: Float[Tensor, "T B D"]) -> VectorState:
        """Return zeros."""
        return VectorState(exact_zeros(x, x.shape[1], self.width))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 4 D^2 + 2 D."""
        return 4 * self.width**2 + 2 * self.width

    def mix(
        self,
        x: Float[Tensor, "T B D"],
        state: VectorState,
        floor: Float[Tensor, " D"] | None = None,
    ) -> tuple[Float[Tensor, "T B D"], VectorState]:
        """Return (y, state). floor: a row of :func:`layer_floors`; None is 0."""
        opens, candidate = as_exact(self.forget(x), F.silu(self.candidate(x)))
        leave = torch.sigmoid(-opens)  # 1 - f, exact where f is almost 1
        require_shape(type(self).__name__, "floor", floor, (self.width,))
        if floor is not None:
            leave = (1 - floor) * leave
        h, last = run_scan(1 - leave, leave * candidate, state.h)
        y: Tensor = self.output(self.read_out(h.to(x.dtype), self.gate(x)))
        return y, VectorState(last)

    def read_out(
        self, h: Float[Tensor, "T B D"], gate: Float[Tensor, "T B D"]
    ) -> Float[Tensor, "T B D"]:
        """Return the input of the output map."""
        raise NotImplementedError


class MLGRU(_VectorMixer):
    """Token mixer of the MatMul-free language model: y = W_o (RMSNorm(W_g x) SiLU(h)).

    It follows the published code (Zhu et al. 2024, arXiv 2406.02528) and its default eps; the
    paper writes sigmoid(h) W_g x instead.
    """

    def __init__(
        self, width: int, linear: MakeLinear = make_linear, *, eps: float = 1e-6
    ) -> None:
        super().__init__(width, linear, eps)

    def read_out(
        self, h: Float[Tensor, "T B D"], gate: Float[Tensor, "T B D"]
    ) -> Float[Tensor, "T B D"]:
        """Return RMSNorm(gate) SiLU(h)."""
        out: Tensor = self.norm(gate) * F.silu(h)
        return out


class HGRN(_VectorMixer):
    """Hierarchically gated recurrence: y = W_o (RMSNorm(h) SiLU(W_g x)).

    Qin et al. 2023, arXiv 2311.04823, with real h, as in flash-linear-attention.
    """

    def __init__(
        self, width: int, linear: MakeLinear = make_linear, *, eps: float = 1e-5
    ) -> None:
        super().__init__(width, linear, eps)

    def read_out(
        self, h: Float[Tensor, "T B D"], gate: Float[Tensor, "T B D"]
    ) -> Float[Tensor, "T B D"]:
        """Return RMSNorm(h) SiLU(gate)."""
        out: Tensor = self.norm(h) * F.silu(gate)
        return out

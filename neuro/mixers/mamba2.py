"""Mamba-2: a state space model per head, whose decay and rate depend on the token.

    S[t] = exp(-exp(A) dt) S[t-1] + dt k v^T        dt = softplus(W_dt x + b)
    y[t] = W_o RMSNorm((q S[t] + D v) SiLU(W_z x))

In its paper (Dao and Gu 2024, arXiv 2405.21060) v is x, k is B and q is C. All three pass
through a convolution over 4 tokens and a SiLU; all heads share k and q. The core is
:mod:`neuro.mixers.gla` with one decay per head.
Axes: T tokens, B samples, D channels, H heads, K channels of keys, V of values.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact
from neuro.mixers.delta_net import EPS, TAPS, DeltaState, ShortConv, draw_decays
from neuro.mixers.gla import run_gla
from neuro.mixers.mixer import (
    MakeLinear,
    Mixer,
    divide,
    exact_zeros,
    make_linear,
    require_positive,
    split_heads,
)


class Mamba2(Mixer):
    """One layer of Mamba-2, with 2 D channels of values in all heads together.

    keys: K, the size of the state space (128 as published). Initially exp(A) is uniform from 1
        to 16, softplus(b) log-uniform from 0.001 to 0.1, and D is 1 in every head.
    """

    def __init__(
        self, width: int, heads: int = 4, keys: int = 128, linear: MakeLinear = make_linear
    ) -> None:
        super().__init__(width)
        require_positive("Mamba2", heads=heads, keys=keys)
        self.heads, self.keys = heads, keys
        self.values = divide("Mamba2", "2 x width", 2 * width, heads)
        self.query, self.key = linear(width, keys), linear(width, keys)
        self.value, self.gate = linear(width, 2 * width), linear(width, 2 * width)
        self.output = linear(2 * width, width)
        self.rate = nn.Linear(width, heads, bias=False)
        self.conv = ShortConv(2 * (width + keys), TAPS, bias=True)
        self.log_strength, self.dt = draw_decays(heads, heads, 1.0)
        self.skip = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(2 * width, eps=EPS)

    def initial(self, x: Float[Tensor, "T B D"]) -> DeltaState:
        """Return zeros."""
        s = exact_zeros(x, x.shape[1], self.heads, self.keys, self.values)
        return DeltaState(s, x.new_zeros(TAPS - 1, x.shape[1], self.conv.weight.shape[1]))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 6 D^2 + 2 D K + D H for maps, 8 (D + K) for the convolution, and 6 D K."""
        maps = self.width * (6 * self.width + 2 * self.keys + self.heads)
        return maps + 2 * TAPS * (self.width + self.keys) + 6 * self.width * self.keys

    def mix(
        self, x: Float[Tensor, "T B D"], state: DeltaState
    ) -> tuple[Float[Tensor, "T B D"], DeltaState]:
        """Return (y, state)."""
        maps = torch.cat([self.query(x), self.key(x), self.value(x)], -1)
        convolved, past = self.conv(maps, state.past)
        sizes = [self.keys, self.keys, 2 * self.width]
        q, k, v, rate = as_exact(*convolved.split(sizes, -1), self.rate(x))
        dt = F.softplus(rate + self.dt).unsqueeze(-1)
        g = -self.log_strength.to(dt.dtype).exp().unsqueeze(-1) * dt
        q, k = (m.unsqueeze(2).expand(*dt.shape[:3], -1) for m in (q, k))
        v = split_heads(v, self.heads)
        y, s = run_gla(q, k, dt * v, g, state.s)
        y = (y + self.skip.unsqueeze(-1) * v).flatten(2).to(x.dtype)
        return self.output(self.norm(y * F.silu(self.gate(x)))), DeltaState(s, past)

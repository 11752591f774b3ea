"""Mixers in which each token corrects the state: DeltaNet and Gated DeltaNet.

Their core is :mod:`neuro.mixers.delta`. Queries, keys and values pass through a convolution
over 4 tokens and a SiLU; queries and keys are then normalised to length 1.
Axes: T tokens, B samples, D channels, H heads, K channels of keys, V of values, M channels of
queries, keys and values together, P the previous 3 tokens, which the convolution reads again.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact
from neuro.mixers.delta import run_delta
from neuro.mixers.mixer import (
    MakeLinear,
    Mixer,
    divide,
    exact_zeros,
    make_linear,
    require_positive,
    split_heads,
)

EPS = 1e-5
TAPS = 4
STRONGEST, DT = 16.0, (1e-3, 0.1)  # ranges of the initial decays of Gated DeltaNet


class ShortConv(nn.Module):
    """y[t] = SiLU(sum_j weight[j] x[t - taps + 1 + j]), each channel separately.

    A linear mixer needs it, or a token shift, to associate a key with the next token.
    """

    def __init__(self, channels: int, taps: int = 4) -> None:
        super().__init__()
        bound = taps**-0.5
        self.weight = nn.Parameter(torch.empty(taps, channels).uniform_(-bound, bound))

    def forward(
        self, x: Float[Tensor, "T B M"], past: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "T B M"], Float[Tensor, "P B M"]]:
        """Return (y, the last taps - 1 tokens). past: the taps - 1 tokens before x."""
        tokens = torch.cat([past.to(x.dtype), x])
        y = sum(w * tokens[j : j + len(x)] for j, w in enumerate(self.weight))
        return nn.functional.silu(y), tokens[len(x) :]


class DeltaState(NamedTuple):
    """The associations, and the last tokens for the convolution."""

    s: Float[Tensor, "B H K V"]
    past: Float[Tensor, "P B M"]


class _DeltaMixer(Mixer):
    """Base of the delta mixers. keys, values: channels per head. reach: upper bound of beta."""

    def __init__(
        self,
        width: int,
        heads: int,
        keys: int,
        values: int,
        reach: float,
        linear: MakeLinear,
    ) -> None:
        super().__init__(width)
        name = type(self).__name__
        require_positive(name, heads=heads, keys=keys, values=values)
        if reach not in (1.0, 2.0):
            raise ValueError(f"{name}.reach must be 1 or 2, got {reach}; above 2, S grows")
        self.heads, self.keys, self.values, self.reach = heads, keys, values, reach
        self.query, self.key = linear(width, heads * keys), linear(width, heads * keys)
        self.value, self.output = linear(width, heads * values), linear(heads * values, width)
        self.beta = nn.Linear(width, heads, bias=False)
        self.conv = ShortConv(heads * (2 * keys + values), TAPS)
        self.norm = nn.RMSNorm(values, eps=EPS)

    def initial(self, x: Float[Tensor, "T B D"]) -> DeltaState:
        """Return zeros."""
        s = exact_zeros(x, x.shape[1], self.heads, self.keys, self.values)
        return DeltaState(s, x.new_zeros(TAPS - 1, x.shape[1], self.conv.weight.shape[1]))

    def mix(
        self, x: Float[Tensor, "T B D"], state: DeltaState
    ) -> tuple[Float[Tensor, "T B D"], DeltaState]:
        """Return (y, state)."""
        maps = torch.cat([self.query(x), self.key(x), self.value(x)], -1)
        convolved, past = self.conv(maps, state.past)
        sizes = [self.heads * n for n in (self.keys, self.keys, self.values)]
        q, k, v = (split_heads(m, self.heads) for m in as_exact(*convolved.split(sizes, -1)))
        beta = self.reach * torch.sigmoid(as_exact(self.beta(x))[0])
        q, k = (F.normalize(m, dim=-1) for m in (q, k))
        y, s = run_delta(self.keys**-0.5 * q, k, v, beta, self.log_decay(x), state.s)
        read = self.read_out(self.norm(y.to(x.dtype)).flatten(2), x)
        return self.output(read), DeltaState(s, past)

    def log_decay(self, x: Float[Tensor, "T B D"]) -> Float[Tensor, "T B H"] | None:  # noqa: ARG002
        """Return g of each token and head, or None without decay."""
        return None

    def read_out(
        self,
        y: Float[Tensor, "T B M"],
        x: Float[Tensor, "T B D"],  # noqa: ARG002
    ) -> Float[Tensor, "T B M"]:
        """Return the input of the output map."""
        return y

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return the count for linear maps and convolution, plus 4 per entry of S."""
        channels = self.heads * (2 * self.keys + self.values)
        maps = self.width * (channels + self.heads * self.values + self.heads)
        return maps + TAPS * channels + 4 * self.heads * self.keys * self.values


class DeltaNet(_DeltaMixer):
    """Delta rule: y = W_o RMSNorm_head(q S / sqrt K), beta = reach sigmoid(W_b x) per head.

    K = V = D / H (Yang et al. 2024, arXiv 2406.06484).

    reach: 1 or 2. With 2, a token can flip the sign of the value stored under its key, which
        counting
    modulo 2 requires (Grazzi et al. 2024, arXiv 2411.12537).
    """

    def __init__(
        self, width: int, heads: int = 4, reach: float = 1.0, linear: MakeLinear = make_linear
    ) -> None:
        require_positive("DeltaNet", width=width, heads=heads)
        channels = divide("DeltaNet", "width", width, heads)
        super().__init__(width, heads, channels, channels, reach, linear)


class GatedDeltaNet(_DeltaMixer):
    """Delta rule with a decay per head: g = -exp(A) softplus(W_a x + dt).

    y = W_o (RMSNorm_head(q S / sqrt K) SiLU(W_g x)); K = 3 D / 4 H, V = 2 K
    (Yang et al. 2024, arXiv 2412.06464). Initially exp(A) is uniform from 0 to 16, softplus(dt)
    log-uniform from 0.001 to 0.1. reach: as in :class:`DeltaNet`.
    """

    def __init__(
        self, width: int, heads: int = 4, reach: float = 1.0, linear: MakeLinear = make_linear
    ) -> None:
        require_positive("GatedDeltaNet", width=width, heads=heads)
        keys = divide("GatedDeltaNet", "3 x width", 3 * width, 4 * heads)
        super().__init__(width, heads, keys, 2 * keys, reach, linear)
        self.gate = linear(width, 2 * keys * heads)
        self.strength = nn.Linear(width, heads, bias=False)
        low, high = (math.log(x) for x in DT)
        dt = torch.empty(heads).uniform_(low, high).exp()
        self.log_strength = nn.Parameter(torch.empty(heads).uniform_(1e-3, STRONGEST).log())
        self.dt = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # inverse softplus of dt

    def log_decay(self, x: Float[Tensor, "T B D"]) -> Float[Tensor, "T B H"]:
        """Return g of each token and head."""
        (rate,) = as_exact(self.strength(x))
        return -self.log_strength.to(rate.dtype).exp() * F.softplus(rate + self.dt)

    def read_out(
        self, y: Float[Tensor, "T B M"], x: Float[Tensor, "T B D"]
    ) -> Float[Tensor, "T B M"]:
        """Return y SiLU(W_g x)."""
        return y * F.silu(self.gate(x))

    def macs(self, context: int = 0) -> int:
        """Return the count of DeltaNet plus the gate and the decay."""
        return super().macs(context) + self.width * self.heads * (self.values + 1)

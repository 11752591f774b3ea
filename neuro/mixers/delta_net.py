"""Mixers in which each token corrects the state: DeltaNet, Gated DeltaNet and KDA.

Their cores are :mod:`neuro.mixers.delta` and :mod:`neuro.mixers.dplr`. Queries, keys and values
pass through a convolution over 4 tokens and a SiLU; queries and keys are then normalised to
length 1.
Axes: T tokens, B samples, D channels, H heads, K channels of keys, V of values, M channels of
queries, keys and values together, P the previous 3 tokens, which the convolution reads again.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact
from neuro.mixers.delta import run_delta
from neuro.mixers.dplr import run_kda
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
STRONGEST, DT = 16.0, (1e-3, 0.1)  # bounds of the initial decays


class ShortConv(nn.Module):
    """y[t] = SiLU(bias + sum_j weight[j] x[t - taps + 1 + j]), each channel separately.

    A linear mixer needs it, or a token shift, to associate a key with the next token.
    """

    def __init__(self, channels: int, taps: int = 4, *, bias: bool = False) -> None:
        super().__init__()
        bound = taps**-0.5
        self.weight = nn.Parameter(torch.empty(taps, channels).uniform_(-bound, bound))
        free = torch.empty(channels).uniform_(-bound, bound) if bias else None
        self.bias = None if free is None else nn.Parameter(free)

    def forward(
        self, x: Float[Tensor, "T B M"], past: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "T B M"], Float[Tensor, "P B M"]]:
        """Return (y, the last taps - 1 tokens). past: the taps - 1 tokens before x."""
        tokens = torch.cat([past.to(x.dtype), x])
        y = sum(w * tokens[j : j + len(x)] for j, w in enumerate(self.weight))
        y = y if self.bias is None else y + self.bias
        return nn.functional.silu(y), tokens[len(x) :]


def draw_decays(heads: int, rates: int, least: float) -> tuple[nn.Parameter, nn.Parameter]:
    """Return (A of each head, rates dt) as they begin in Mamba-2 and its followers.

    exp(A) is uniform from ``least`` to 16, softplus(dt) log-uniform from 0.001 to 0.1.
    """
    low, high = (math.log(x) for x in DT)
    dt = torch.empty(rates).uniform_(low, high).exp()
    log_strength = nn.Parameter(torch.empty(heads).uniform_(least, STRONGEST).log())
    return log_strength, nn.Parameter(dt + torch.log(-torch.expm1(-dt)))  # inverse softplus


class DeltaState(NamedTuple):
    """The associations, and the last tokens for the convolution."""

    s: Float[Tensor, "B H K V"]
    past: Float[Tensor, "P B M"]


class _DeltaMixer(Mixer):
    """Base of the delta mixers. keys, values: channels per head. reach: upper bound of beta."""

    CORE: Any = staticmethod(run_delta)

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
        y, s = self.CORE(self.keys**-0.5 * q, k, v, beta, self.log_decay(x), state.s)
        read = self.read_out(self.norm(y.to(x.dtype)).flatten(2), x)
        return self.output(read), DeltaState(s, past)

    def log_decay(self, x: Float[Tensor, "T B D"]) -> Float[Tensor, "T B H *K"] | None:  # noqa: ARG002
        """Return g of each token and head (or channel), or None without decay."""
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
        self.log_strength, self.dt = draw_decays(heads, heads, 1e-3)

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


class KimiDelta(_DeltaMixer):
    """Delta rule with a decay per channel (KDA): g = -exp(A) softplus(W_2 W_1 x + dt).

    y = W_o (RMSNorm_head(q S / sqrt K) sigmoid(W_4 W_3 x + b)); K = V = D / H, the rank of W_1
    and W_3 (Kimi team 2025, arXiv 2510.26692). Initially exp(A) is uniform from 1 to 16 per
    head, softplus(dt) log-uniform from 0.001 to 0.1 per channel. reach: as in
    :class:`DeltaNet`.
    """

    CORE = staticmethod(run_kda)

    def __init__(
        self, width: int, heads: int = 4, reach: float = 1.0, linear: MakeLinear = make_linear
    ) -> None:
        require_positive("KimiDelta", width=width, heads=heads)
        channels = divide("KimiDelta", "width", width, heads)
        super().__init__(width, heads, channels, channels, reach, linear)
        self.strength, self.gate = (
            nn.Sequential(
                nn.Linear(width, channels, bias=False), nn.Linear(channels, width, bias=bias)
            )
            for bias in (False, True)
        )
        self.log_strength, self.dt = draw_decays(heads, width, 1.0)

    def log_decay(self, x: Float[Tensor, "T B D"]) -> Float[Tensor, "T B H K"]:
        """Return g of each token and channel."""
        (rate,) = as_exact(self.strength(x))
        dt = split_heads(F.softplus(rate + self.dt), self.heads)
        return -self.log_strength.to(rate.dtype).exp().unsqueeze(-1) * dt

    def read_out(
        self, y: Float[Tensor, "T B M"], x: Float[Tensor, "T B D"]
    ) -> Float[Tensor, "T B M"]:
        """Return y sigmoid(W_4 W_3 x + b)."""
        return y * torch.sigmoid(self.gate(x))

    def macs(self, context: int = 0) -> int:
        """Return the count of DeltaNet plus the low-rank maps."""
        return super().macs(context) + 4 * self.width * self.keys

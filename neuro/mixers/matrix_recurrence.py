"""Mixers whose state is a decaying matrix: RetNet, GLA and HGRN-2.

Their core is :mod:`neuro.mixers.gla`. Axes: T tokens, B samples, D channels, H heads, K
channels of keys, V of values.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact, require_shape
from neuro.mixers.gla import run_gla
from neuro.mixers.mixer import (
    MakeLinear,
    MatrixState,
    Mixer,
    divide,
    exact_zeros,
    make_linear,
    require_positive,
    rotate,
    split_heads,
)

EPS = 1e-5
LEAST_OPEN = -80.0  # least input of a gate: below -88, exp(-x) is infinite in float32


class RetentionState(NamedTuple):
    """Associations, and the number of earlier tokens of each sample."""

    s: Float[Tensor, "B H K V"]
    position: Int[Tensor, " B"]


class RetNet(Mixer):
    """Retention: S decays by 1 - 2^(-5-h) per token in head h; q and k carry their positions.

    y = W_o (RMSNorm_head(q S / sqrt K) SiLU(W_g x)), q and k rotated; K = D / H, V = 2 D / H
    (Sun et al. 2023, arXiv 2307.08621).
    """

    def __init__(self, width: int, heads: int = 4, linear: MakeLinear = make_linear) -> None:
        super().__init__(width)
        require_positive("RetNet", heads=heads)
        self.heads, self.keys = heads, divide("RetNet", "width", width, 2 * heads) * 2
        self.query, self.key = linear(width, width), linear(width, width)
        self.value, self.gate = linear(width, 2 * width), linear(width, 2 * width)
        self.output = linear(2 * width, width)
        self.norm = nn.RMSNorm(2 * self.keys, eps=EPS)

    def log_decay(self, x: Tensor) -> Float[Tensor, " H"]:
        """Return the logarithm of each head's decay, on x's device."""
        head = torch.arange(self.heads, dtype=torch.float64, device=x.device)
        return torch.log1p(-(2 ** (-5 - head)))

    def initial(self, x: Float[Tensor, "T B D"]) -> RetentionState:
        """Return zeros."""
        s = exact_zeros(x, x.shape[1], self.heads, self.keys, 2 * self.keys)
        return RetentionState(s, x.new_zeros(x.shape[1], dtype=torch.int64))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 8 D^2 + 6 D^2 / H."""
        return 8 * self.width**2 + 6 * self.width * self.keys

    def mix(
        self, x: Float[Tensor, "T B D"], state: RetentionState
    ) -> tuple[Float[Tensor, "T B D"], RetentionState]:
        """Return (y, state)."""
        maps = self.query(x), self.key(x), self.value(x)
        q, k, v = as_exact(*(split_heads(m, self.heads) for m in maps))
        q, k = (rotate(m, state.position) for m in (q, k))
        g = self.log_decay(x).to(v.dtype)[:, None].expand(*v.shape[:3], 1)
        y, s = run_gla(self.keys**-0.5 * q, k, v, g, state.s)
        read = self.norm(y.to(x.dtype)).flatten(2) * F.silu(self.gate(x))
        return self.output(read), RetentionState(s, state.position + len(x))


class GLA(Mixer):
    """Gated linear attention: a decay per token and channel of the keys.

    g = logsigmoid(W_2 W_1 x + b) / 16, W_1 of rank 16;
    y = W_o (RMSNorm_head(q S / sqrt K) SiLU(W_g x)); K = D / 2 H, V = D / H
    (Yang et al. 2024, arXiv 2312.06635).
    """

    RANK, TEMPERATURE = 16, 16.0

    def __init__(self, width: int, heads: int = 4, linear: MakeLinear = make_linear) -> None:
        super().__init__(width)
        require_positive("GLA", heads=heads)
        self.heads, self.keys = heads, divide("GLA", "width", width, 2 * heads)
        self.query, self.key = linear(width, width // 2), linear(width, width // 2)
        self.value, self.gate = linear(width, width), linear(width, width)
        self.output = linear(width, width)
        self.decay = nn.Sequential(
            nn.Linear(width, self.RANK, bias=False), nn.Linear(self.RANK, width // 2)
        )
        self.norm = nn.RMSNorm(2 * self.keys, eps=EPS)

    def initial(self, x: Float[Tensor, "T B D"]) -> MatrixState:
        """Return zeros."""
        return MatrixState(exact_zeros(x, x.shape[1], self.heads, self.keys, 2 * self.keys))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 4 D^2 + 24 D + 3 D^2 / 2 H."""
        return 4 * self.width**2 + 24 * self.width + 3 * self.width * self.keys

    def mix(
        self, x: Float[Tensor, "T B D"], state: MatrixState
    ) -> tuple[Float[Tensor, "T B D"], MatrixState]:
        """Return (y, state)."""
        maps = self.query(x), self.key(x), self.value(x), self.decay(x)
        q, k, v, opens = as_exact(*(split_heads(m, self.heads) for m in maps))
        g = F.logsigmoid(opens) / self.TEMPERATURE
        y, s = run_gla(self.keys**-0.5 * q, k, v, g, state.s)
        read = self.norm(y.to(x.dtype)).flatten(2) * F.silu(self.gate(x))
        return self.output(read), MatrixState(s)


class HGRN2(Mixer):
    """HGRN with a matrix as state: the share that leaves a channel is the share written there.

    f = floor + (1 - floor) sigmoid(W_f x), g = log f, k = 1 - f, q = SiLU(W_q x);
    y = W_o RMSNorm(q S); K = V = D / H, published with 128 (Qin et al. 2024, arXiv 2404.07904).
    """

    def __init__(self, width: int, heads: int = 4, linear: MakeLinear = make_linear) -> None:
        super().__init__(width)
        require_positive("HGRN2", heads=heads)
        self.heads, self.keys = heads, divide("HGRN2", "width", width, heads)
        self.query, self.forget = linear(width, width), linear(width, width)
        self.candidate, self.output = linear(width, width), linear(width, width)
        self.norm = nn.RMSNorm(width, eps=EPS)

    def initial(self, x: Float[Tensor, "T B D"]) -> MatrixState:
        """Return zeros."""
        return MatrixState(exact_zeros(x, x.shape[1], self.heads, self.keys, self.keys))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 4 D^2 + 3 D^2 / H."""
        return 4 * self.width**2 + 3 * self.width * self.keys

    def mix(
        self,
        x: Float[Tensor, "T B D"],
        state: MatrixState,
        floor: Float[Tensor, " D"] | None = None,
    ) -> tuple[Float[Tensor, "T B D"], MatrixState]:
        """Return (y, state). floor: a row of ``layer_floors``; None is 0."""
        require_shape("HGRN2", "floor", floor, (self.width,))
        opens, q, v = as_exact(self.forget(x), F.silu(self.query(x)), self.candidate(x))
        k, g = keep_and_write(opens, floor)
        q, k, v, g = (split_heads(m, self.heads) for m in (q, k, v, g))
        y, s = run_gla(q, k, v, g, state.s)
        return self.output(self.norm(y.flatten(2).to(x.dtype))), MatrixState(s)


def keep_and_write(
    opens: Float[Tensor, "*T D"], floor: Float[Tensor, " D"] | None
) -> tuple[Float[Tensor, "*T D"], Float[Tensor, "*T D"]]:
    """Return (1 - f, log f) of f = floor + (1 - floor) sigmoid(opens).

    log f = logsigmoid(x) + log(1 + floor exp(-x)) has finite gradients, at floor 0 too.
    """
    x = opens.clamp(min=LEAST_OPEN)
    if floor is None:
        return torch.sigmoid(-x), F.logsigmoid(x)
    return (1 - floor) * torch.sigmoid(-x), F.logsigmoid(x) + torch.log1p(floor * (-x).exp())

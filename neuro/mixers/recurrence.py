"""Mixers with decaying state: a vector in MLGRU and HGRN, a matrix in RetNet, GLA and HGRN-2.

    f = floor + (1 - floor) sigmoid(W_f x)    h[t] = f h[t-1] + (1 - f) SiLU(W_c x)

The cores are :mod:`neuro.mixers.scan` and :mod:`neuro.mixers.gla`. Axes: T tokens, B samples, D
channels, L layers, H heads, K channels of keys, V of values.
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
from neuro.mixers.scan import run_scan

EPS = 1e-5
LEAST_OPEN = -80.0  # least input of a gate: below -88, exp(-x) would be infinite in float32


class VectorState(NamedTuple):
    """The hidden state."""

    h: Float[Tensor, "B D"]


def layer_floors(free: Float[Tensor, "L D"]) -> Float[Tensor, "L D"]:
    """Return the least share of h that each layer keeps; ``free`` starts at zeros.

    It is the cumulative sum over layers of the parameters' softmax, minus its first row: 0 in
    layer 0 and rising to less than 1 (HGRN; Qin et al. 2023, arXiv 2311.04823).
    """
    share = free.softmax(0)
    return share.cumsum(0) - share[0]


class _VectorMixer(Mixer):
    """Base of MLGRU and HGRN. linear: makes the four maps (D to D). eps: of the norm."""

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

    It follows the published code (Zhu et al. 2024, arXiv 2406.02528) and the code's default
    eps; the paper writes sigmoid(h) W_g x instead.
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

    Qin et al. 2023, arXiv 2311.04823, but with real h, as in flash-linear-attention.
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


class RetentionState(NamedTuple):
    """The associations, and the number of earlier tokens of each sample."""

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
    """Gated linear attention: one decay per token and channel of the keys.

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
    """HGRN with a matrix as state: each channel writes the share that decays from it.

    f = floor + (1 - floor) sigmoid(W_f x), g = log f, k = 1 - f, q = SiLU(W_q x);
    y = W_o RMSNorm(q S); K = V = D / H, which is 128 in the paper (Qin et al. 2024, arXiv
    2404.07904).
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
    """Return (1 - f, log f) for f = floor + (1 - floor) sigmoid(opens).

    log f = logsigmoid(x) + log(1 + floor exp(-x)) has finite gradients, even if floor is 0.
    """
    x = opens.clamp(min=LEAST_OPEN)
    if floor is None:
        return torch.sigmoid(-x), F.logsigmoid(x)
    return (1 - floor) * torch.sigmoid(-x), F.logsigmoid(x) + torch.log1p(floor * (-x).exp())

"""Time mixing of RWKV-7 (Goose), with the published parameter names.

    S[t] = (diag(w) - (a kk) kk^T) S[t-1] + k v^T
    y[t] = W_o ((GroupNorm_H(r S[t]) + (r . diag(u) k) v) g)

r, k, v are linear maps of mixtures x_m = x[t] + mu_m (x[t-1] - x[t]) of a token and its
predecessor; kk is k_k times k, of length 1 per head; k is then multiplied by 1 + (a - 1) k_a;
u is r_k. Low-rank maps of other mixtures give

    w = exp(-exp(-1/2) sigmoid(w0 + tanh(x_w w1) w2))        decay per channel
    a = sigmoid(a0 + x_a a1 a2)                              learning rate per channel
    g = sigmoid(x_g g1) g2                                   gate
    v = v + sigmoid(v0 + x_v v1 v2) (first - v)              in all layers but the first

where ``first`` are the values v of the first layer.
Source: Peng et al. 2025, arXiv 2503.14456. Axes: T tokens, B samples, D channels, H heads of N
channels.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact, require_shape
from neuro.mixers.dplr import run_dplr
from neuro.mixers.mixer import MakeLinear, make_linear, require_positive, split_heads
from neuro.mixers.rwkv import ShiftMixer, TimeMixState, shift_tokens

STRONGEST = math.exp(-0.5)  # bound of -log w
SHIFTS = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}  # initial exponents


def suggest_rank(width: int, factor: float) -> int:
    """Return the published rank for a width: factor x sqrt(width) in steps of 32."""
    return max(32, round(factor * width**0.5 / 32) * 32)


class RWKV7(ShiftMixer):
    """Goose: corrects what the state holds under kk before it writes, channel by channel.

    residual: whether v is drawn to the values of the stack's first layer; calls then need
        ``first``. Whole models (tasks.language.rwkv) have it in all layers but the first,
        stacks of mixers in none.
    decay_rank, rate_rank, value_rank, gate_rank: ranks of the maps for w, a, v and g; 0 takes
        the published suggestion.
    """

    GATED = False

    def __init__(  # noqa: PLR0913 - the sizes of the parts
        self,
        width: int,
        head_width: int = 64,
        layer: int = 0,
        layers: int = 1,
        linear: MakeLinear = make_linear,
        *,
        residual: bool = False,
        decay_rank: int = 0,
        rate_rank: int = 0,
        value_rank: int = 0,
        gate_rank: int = 0,
    ) -> None:
        super().__init__(width, head_width, layer, layers, linear)
        self.residual = residual
        channel = torch.arange(width)
        ramp, line = channel / width, channel / max(width - 1, 1)
        zigzag = 2 * (channel % head_width) / max(head_width - 1, 1) - 1
        zigzag = zigzag * zigzag.abs()
        for name, power in SHIFTS.items():
            self._add(f"x_{name}", 1 - ramp ** (power * self.rest))
        self._add("w0", -5.5 + 6 * line ** (1 + self.depth**0.3) + 2.5 * zigzag)
        self._add("a0", -0.19 + 0.3 * zigzag + 0.4 * (line - 0.5))
        ranks = {
            "w": decay_rank or suggest_rank(width, 2.5),
            "a": rate_rank or suggest_rank(width, 2.5),
            "g": gate_rank or suggest_rank(width, 5.0),
        }
        if residual:
            self._add("v0", 0.73 - 0.4 * (line - 0.5))
            ranks["v"] = value_rank or suggest_rank(width, 1.7)
        require_positive("RWKV7", **{f"rank of {name}": rank for name, rank in ranks.items()})
        for name, rank in ranks.items():
            self.register_parameter(f"{name}1", nn.Parameter(torch.zeros(width, rank)))
            low = nn.Parameter(torch.empty(rank, width))
            nn.init.orthogonal_(low, 0.1 * max(1.0, rank / width) ** 0.5)
            self.register_parameter(f"{name}2", low)
        self._add("k_k", 0.71 - 0.1 * (line - 0.5))
        self._add("k_a", torch.full((width,), 1.02))
        self.r_k = nn.Parameter(torch.full((self.heads, head_width), -0.04))

    def _add(self, name: str, values: Float[Tensor, " D"]) -> None:
        self.register_parameter(name, nn.Parameter(values.view(1, 1, -1)))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 4 D^2 + 5 D N, plus 2 D per rank of the low-rank maps."""
        maps = [getattr(self, f"{name}1") for name in ("wagv" if self.residual else "wag")]
        recurrence = 5 * self.width * self.head_width
        return 4 * self.width**2 + recurrence + 2 * sum(p.numel() for p in maps)

    def make_values(
        self, x: Float[Tensor, "T B D"], state: TimeMixState | None
    ) -> Float[Tensor, "T B D"]:
        """Return v without a residual; that of a stack's first layer is ``first`` for all."""
        start = self.initial(x)
        if state is not None:
            self._require_state(state, start)
        last = start.last if state is None else state.last
        shift: Any = self.x_v
        values: Tensor = self.value(x + (shift_tokens(x, last) - x) * shift)
        return values

    def mix(
        self,
        x: Float[Tensor, "T B D"],
        state: TimeMixState,
        first: Tensor | None = None,
    ) -> tuple[Float[Tensor, "T B D"], TimeMixState]:
        """Return (y, state).

        first: values of the stack's first layer (T B D, from make_values); the first
            layer itself, which has no residual, takes them in place of its own.

        Raises:
            ValueError: ``first`` has another shape, or is missing although there is a residual.
        """
        if self.residual and first is None:
            raise ValueError(
                "RWKV7: first is None; it must be the values of the stack's first layer. Pass "
                "first=layer.make_values(x, state) of that layer, or make it residual=False."
            )
        require_shape("RWKV7", "first", first, tuple(x.shape))
        change = shift_tokens(x, state.last) - x
        mixed = {m: x + change * getattr(self, f"x_{m}") for m in SHIFTS}
        r, k = self.receptance(mixed["r"]), self.key(mixed["k"])
        v = self.value(mixed["v"]) if first is None or self.residual else first
        own: Any = self  # its parameters have computed names
        if self.residual and first is not None:
            share = torch.sigmoid(own.v0 + mixed["v"] @ own.v1 @ own.v2)
            v = v + (first - v) * share
        rate = torch.sigmoid(own.a0 + mixed["a"] @ own.a1 @ own.a2)
        gate = torch.sigmoid(mixed["g"] @ own.g1) @ own.g2
        decay = own.w0 + torch.tanh(mixed["w"] @ own.w1) @ own.w2
        held, k = k * own.k_k, k * (1 + (rate - 1) * own.k_a)
        r, k, v, decay, held, rate = (
            split_heads(m, self.heads) for m in as_exact(r, k, v, decay, held, rate)
        )
        held = F.normalize(held, dim=-1)
        g = -STRONGEST * torch.sigmoid(decay)
        y, s = run_dplr(r, k, v, g, -held, rate * held, state.s)
        now = (r * k * self.r_k).sum(-1, keepdim=True) * v
        read = self.normalise(y, x) + now.flatten(2).to(x.dtype)
        return self.output(read * gate), TimeMixState(s, x[-1].clone())  # x may be overwritten

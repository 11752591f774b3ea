"""Time mixing of RWKV-5 (Eagle) and RWKV-6 (Finch), with the published parameter names.

    y[t] = W_o (GroupNorm_H(r (S[t-1] + diag(u) k v^T)) SiLU(W_g x_g))
    S[t] = diag(w) S[t-1] + k v^T

r, k, v and the gate are linear maps of mixtures x_m of a token and its predecessor (token
shift). x is the output of the block's layer norm. Source: Peng et al. 2024, arXiv 2404.05892.
Axes: T tokens, B samples, D channels, H heads of N channels.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers.arguments import as_exact
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

EPS = 64e-5
MAX_DECAY = 20.0  # exp(-exp(5)) is 0 already; above 88 a gradient would be 0 times infinity


class TimeMixState(NamedTuple):
    """The associations, and the input of the last token."""

    s: Float[Tensor, "B H N N"]
    last: Float[Tensor, "B D"]


def shift_tokens(x: Float[Tensor, "T B D"], last: Float[Tensor, "B D"]) -> Tensor:
    """Return the predecessor of each token; ``last`` precedes the first token."""
    return torch.cat([last[None].to(x.dtype), x[:-1]])


class ShiftMixer(Mixer):
    """What all versions share: heads, token shift, maps, and the norm of each head.

    layer, layers: place in the stack, for initial parameters.
    """

    GATED = True  # whether the gate is a map of full rank

    def __init__(
        self, width: int, head_width: int, layer: int, layers: int, linear: MakeLinear
    ) -> None:
        super().__init__(width)
        name = type(self).__name__
        require_positive(name, head_width=head_width, layers=layers)
        if not 0 <= layer < layers:
            raise ValueError(f"{name}.layer must be from 0 to {layers - 1}, got {layer}")
        self.head_width, self.heads = head_width, divide(name, "width", width, head_width)
        self.receptance, self.key = linear(width, width), linear(width, width)
        self.value = linear(width, width)
        if self.GATED:
            self.gate = linear(width, width)
        self.output = linear(width, width)
        self.ln_x = nn.GroupNorm(self.heads, width, eps=EPS)
        self.depth, self.rest = layer / max(layers - 1, 1), 1 - layer / layers
        nn.init.constant_(self.ln_x.weight, ((1 + layer) / layers) ** 0.7)

    def initial(self, x: Float[Tensor, "T B D"]) -> TimeMixState:
        """Return zeros."""
        s = exact_zeros(x, x.shape[1], self.heads, self.head_width, self.head_width)
        return TimeMixState(s, x.new_zeros(x.shape[1], self.width))

    def normalise(self, y: Float[Tensor, "T B H N"], like: Tensor) -> Float[Tensor, "T B D"]:
        """Return the norm of each head, in the precision and shape of ``like``."""
        norm: Tensor = self.ln_x(y.flatten(0, 1).flatten(1).to(like.dtype))
        return norm.view(like.shape)


class _TimeMix(ShiftMixer):
    """Base of RWKV-5 and 6."""

    def __init__(
        self, width: int, head_width: int, layer: int, layers: int, linear: MakeLinear
    ) -> None:
        super().__init__(width, head_width, layer, layers, linear)
        channel = torch.arange(width)
        self.ramp, n = channel / width, channel / max(width - 1, 1)
        decay = -6 + 5 * n ** (0.7 + 1.3 * self.depth)
        bonus = self.depth * (1 - n) + 0.1 * ((channel + 1) % 3 - 1)
        self.time_decay = nn.Parameter(decay.view(self.heads, head_width))
        self.time_faaaa = nn.Parameter(bonus.view(self.heads, head_width))

    def macs(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 5 D^2 + 3 D N."""
        return 5 * self.width**2 + 3 * self.width * self.head_width

    def attend(
        self, mixed: dict[str, Tensor], g: Float[Tensor, "T B D"], state: TimeMixState
    ) -> tuple[Float[Tensor, "T B D"], Tensor]:
        """Return (y, associations) for the mixtures r, k, v and g, and the log decays g."""
        maps = self.receptance(mixed["r"]), self.key(mixed["k"]), self.value(mixed["v"])
        r, k, v, g = (split_heads(m, self.heads) for m in as_exact(*maps, g))
        y, s = run_gla(r, k, v, g, state.s, self.time_faaaa.to(v.dtype))
        return self.output(self.normalise(y, mixed["r"]) * F.silu(self.gate(mixed["g"]))), s


class RWKV5(_TimeMix):
    """Eagle: x_m = mu_m x[t] + (1 - mu_m) x[t-1], constant w = exp(-exp(w0)) per channel."""

    def __init__(
        self,
        width: int,
        head_width: int = 64,
        layer: int = 0,
        layers: int = 1,
        linear: MakeLinear = make_linear,
    ) -> None:
        super().__init__(width, head_width, layer, layers, linear)
        ramp = self.ramp.view(1, 1, -1)
        self.time_mix_k = nn.Parameter(ramp**self.rest)
        self.time_mix_v = nn.Parameter(ramp**self.rest + 0.3 * self.depth)
        self.time_mix_r = nn.Parameter(ramp ** (0.5 * self.rest))
        self.time_mix_g = nn.Parameter(ramp ** (0.5 * self.rest))

    def mix(
        self, x: Float[Tensor, "T B D"], state: TimeMixState
    ) -> tuple[Float[Tensor, "T B D"], TimeMixState]:
        """Return (y, state)."""
        before = shift_tokens(x, state.last)
        mu = {m: getattr(self, f"time_mix_{m}") for m in "rkvg"}
        mixed = {m: x * share + before * (1 - share) for m, share in mu.items()}
        g = -as_exact(self.time_decay)[0].clamp(max=MAX_DECAY).exp()
        y, s = self.attend(mixed, g.view(-1).expand(x.shape), state)
        return y, TimeMixState(s, x[-1].clone())  # a view would change with x


class RWKV6(_TimeMix):
    """Finch: mixtures and decays depend on the token through low-rank maps.

    x_m = x + d (mu_m + tanh((x + d mu_x) A) B_m), d = x[t-1] - x[t];
    w = exp(-exp(w0 + tanh(x_w A_w) B_w)) per channel and token.

    mix_rank: rank of A and each B_m. decay_rank: rank of A_w and B_w. The defaults are the
        published ranks for widths up to 2560.
    """

    def __init__(  # noqa: PLR0913 - the sizes of the parts
        self,
        width: int,
        head_width: int = 64,
        layer: int = 0,
        layers: int = 1,
        linear: MakeLinear = make_linear,
        mix_rank: int = 32,
        decay_rank: int = 64,
    ) -> None:
        require_positive("RWKV6", mix_rank=mix_rank, decay_rank=decay_rank)
        super().__init__(width, head_width, layer, layers, linear)
        ramp = self.ramp.view(1, 1, -1)
        self.time_maa_x = nn.Parameter(1 - ramp**self.rest)
        self.time_maa_w = nn.Parameter(1 - ramp**self.rest)
        self.time_maa_k = nn.Parameter(1 - ramp**self.rest)
        self.time_maa_v = nn.Parameter(1 - (ramp**self.rest + 0.3 * self.depth))
        self.time_maa_r = nn.Parameter(1 - ramp ** (0.5 * self.rest))
        self.time_maa_g = nn.Parameter(1 - ramp ** (0.5 * self.rest))
        small = torch.empty(5, mix_rank, width).uniform_(-0.01, 0.01)
        self.time_maa_w1 = nn.Parameter(torch.zeros(width, 5 * mix_rank))
        self.time_maa_w2 = nn.Parameter(small)
        self.time_decay = nn.Parameter(self.time_decay.detach().view(1, 1, width))
        small = torch.empty(decay_rank, width).uniform_(-0.01, 0.01)
        self.time_decay_w1 = nn.Parameter(torch.zeros(width, decay_rank))
        self.time_decay_w2 = nn.Parameter(small)

    def macs(self, context: int = 0) -> int:
        """Return the count of RWKV-5 plus the low-rank maps."""
        low_rank = 10 * self.time_maa_w2.shape[1] + 2 * self.time_decay_w2.shape[0]
        return super().macs(context) + self.width * low_rank

    def mix(
        self, x: Float[Tensor, "T B D"], state: TimeMixState
    ) -> tuple[Float[Tensor, "T B D"], TimeMixState]:
        """Return (y, state)."""
        change = shift_tokens(x, state.last) - x
        low = torch.tanh((x + change * self.time_maa_x) @ self.time_maa_w1)
        offsets = torch.einsum(
            "tbmr,mrd->mtbd", torch.unflatten(low, -1, (5, -1)), self.time_maa_w2
        )
        mixed = {  # in the order of the published parameters
            m: x + change * (getattr(self, f"time_maa_{m}") + offset)
            for m, offset in zip("wkvrg", offsets, strict=True)
        }
        w = self.time_decay + torch.tanh(mixed["w"] @ self.time_decay_w1) @ self.time_decay_w2
        g = -as_exact(w)[0].clamp(max=MAX_DECAY).exp()
        y, s = self.attend(mixed, g, state)
        return y, TimeMixState(s, x[-1].clone())  # a view would change with x

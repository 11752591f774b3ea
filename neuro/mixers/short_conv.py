"""A causal convolution over the last few tokens, channel by channel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ShortConv(nn.Module):
    """y[t] = SiLU(sum_j weight[j] x[t - taps + 1 + j]), each channel separately.

    A linear mixer needs it, or a token shift, to bind a key to the next token.
    """

    def __init__(self, channels: int, taps: int = 4) -> None:
        super().__init__()
        bound = taps**-0.5
        self.weight = nn.Parameter(torch.empty(taps, channels).uniform_(-bound, bound))

    def forward(
        self, x: Float[Tensor, "T B M"], past: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "T B M"], Float[Tensor, "P B M"]]:
        """Return (y, the last taps - 1 tokens); past: those before x."""
        tokens = torch.cat([past.to(x.dtype), x])
        y = sum(w * tokens[j : j + len(x)] for j, w in enumerate(self.weight))
        return nn.functional.silu(y), tokens[len(x) :]

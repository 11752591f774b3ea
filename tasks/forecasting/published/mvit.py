"""The multi-channel vision transformer that the same work was published with.

    each channel   patches of 5 x 10, dense 128, a token of its class, places
                   4 layers of attention (4 heads) and of a dense layer of 256, ReLU
    all            the tokens of the classes side by side, dense 2

Sizes: Gunasekaran et al. 2025 (Nature Communications 16, 8645) and its released code; the idea
is of Hussein et al. 2022 (Biomedicines 10, 1551). Every channel has weights of its own. Patches
do not overlap, and what is left at the ends belongs to none: of 59 x 114, the last 4 frames and
bins. The released code cannot build this network: it puts parameters into a ModuleDict, which
refuses them. Axes: N windows, C channels, T frames, F bins, D width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

CLASSES = 2
PATCH = (5, 10)


class ChannelTransformer(nn.Module):
    """The token of the class of one channel: N T F to N D."""

    def __init__(self, frames: int, bins: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        count = (frames // PATCH[0]) * (bins // PATCH[1])
        self.embed = nn.Conv2d(1, width, PATCH, stride=PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, count + 1, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)

    def forward(self, x: Float[Tensor, "N T F"]) -> Float[Tensor, "N D"]:
        """Return what the token of the class has gathered."""
        patches = self.embed(x[:, None]).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        out: Tensor = self.encoder(tokens + self.places)[:, 0]
        return out


class MultichannelTransformer(nn.Module):
    """Scores of both classes, N 2, for spectrograms N 1 C T F; each row on its own."""

    def __init__(
        self,
        channels: int = 22,
        frames: int = 59,
        bins: int = 114,
        *,
        width: int = 128,
        depth: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if channels < 1 or frames < PATCH[0] or bins < PATCH[1]:
            raise ValueError(
                f"spectrograms of {channels} channels, {frames} frames and {bins} bins: give "
                f"at least 1, {PATCH[0]} and {PATCH[1]}"
            )
        self.channels = nn.ModuleList(
            ChannelTransformer(frames, bins, width, depth, dropout) for _ in range(channels)
        )
        self.classify = nn.Linear(channels * width, CLASSES)

    def forward(self, x: Float[Tensor, "N 1 C T F"]) -> Float[Tensor, "N 2"]:
        """Return the scores of the classes."""
        tokens = [net(x[:, 0, k]) for k, net in enumerate(self.channels)]
        out: Tensor = self.classify(torch.cat(tokens, 1))
        return out

"""The published networks that tell spectrograms before a seizure from others.

The convolutional network with an LSTM that Future-Guided Learning was published with.

    spectrogram 1 C 59 114
    batch norm, convolution 16 x (C/2, 5, 5) stride (1, 2, 2), ReLU, maximum over 2 x 2 x 2
    batch norm, convolution 32 x (3, 3, 3), ReLU, mean over 3 x 3 x 3 stride 2
    LSTM of three layers of 512 along the frames that are left, dense 256, dropout, dense 2

Sizes: Gunasekaran et al. 2025 (Nature Communications 16, 8645) and its released code. There the
features of a window, 1920 with 22 channels, are one step of a sequence whose steps are the rows
of the batch, so that the answer to a window depends on the rows before it. Here the LSTM runs
along the time within the window: 5 steps of 384 features, 1920 in all. Its first layer is
narrower by that; all other sizes are the published ones.

The network takes any number of channels >= 9. With 9 to 16, the convolutions leave fewer than
the three channels that the last mean takes, and it is over those: the released network stops.
Axes: N windows, C channels, T frames, F bins.

The multi-channel vision transformer that the same work was published with.

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
LEAST = (9, 23, 23)  # channels, frames and bins of which something is left


class ConvolutionalLSTM(nn.Module):
    """Scores of both classes, N 2, for spectrograms N 1 C T F; each row on its own.

    In training, batch normalisation and dropout also depend on the batch; not in evaluation.
    """

    def __init__(self, channels: int = 22, frames: int = 59, bins: int = 114) -> None:
        super().__init__()
        sizes = (channels, frames, bins)
        if any(n < least for n, least in zip(sizes, LEAST, strict=True)):
            raise ValueError(
                f"spectrograms of {channels} channels, {frames} frames and {bins} bins: give "
                f"at least {LEAST[0]}, {LEAST[1]} and {LEAST[2]}"
            )
        first = (channels // 2, 5, 5)
        shape = [(n - k) // s + 1 for n, k, s in zip(sizes, first, (1, 2, 2), strict=True)]
        shape = [n // 2 - 2 for n in shape]
        pool = (min(3, shape[0]), 3, 3)
        shape = [(n - k) // 2 + 1 for n, k in zip(shape, pool, strict=True)]
        self.steps, self.features = shape[1], 32 * shape[0] * shape[2]
        self.convolutions = nn.Sequential(
            nn.BatchNorm3d(1),
            nn.Conv3d(1, 16, first, stride=(1, 2, 2)),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.BatchNorm3d(16),
            nn.Conv3d(16, 32, 3),
            nn.ReLU(),
            nn.AvgPool3d(pool, stride=2),
        )
        self.lstm = nn.LSTM(self.features, 512, num_layers=3, batch_first=True)
        self.classify = nn.Sequential(
            nn.Linear(512, 256), nn.Dropout(0.5), nn.Linear(256, CLASSES)
        )

    def forward(self, x: Float[Tensor, "N 1 C T F"]) -> Float[Tensor, "N 2"]:
        """Return the scores of the classes, behind the last step of each window."""
        found = self.convolutions(x)  # N 32 C' T' F'
        steps = found.permute(0, 3, 1, 2, 4).flatten(2)
        out: Tensor = self.classify(self.lstm(steps)[0][:, -1])
        return out


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

"""The published network that distinguishes spectrograms before a seizure from others.

The convolutional network with an LSTM in the publication of Future-Guided Learning:

    spectrogram 1 C 59 114
    batch norm, convolution 16 x (C/2, 5, 5) stride (1, 2, 2), ReLU, maximum over 2 x 2 x 2
    batch norm, convolution 32 x (3, 3, 3), ReLU, mean over 3 x 3 x 3 stride 2
    LSTM of three layers of 512 along the remaining frames, dense 256, dropout, dense 2

Sizes: Gunasekaran et al. 2025 (Nature Communications 16, 8645) and its released code. In that
code the features of a window, 1920 with 22 channels, are one step of a sequence whose steps are
the rows of the batch, so that the answer to a window depends on the rows before it. Here the
LSTM runs along the time within the window: 5 steps of 384 features, 1920 in all. This makes its
first layer narrower; all other sizes are the published ones.

The network takes any number of channels >= 9. With 9 to 16 channels, the convolutions leave
fewer than the three that the last mean is taken over. Here the mean is then over those that are
left; the released network stops with an error.
Axes: N windows, C channels, T frames, F bins.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

CLASSES = 2
LEAST = (9, 23, 23)  # least channels, frames and bins that the convolutions do not use up


class ConvolutionalLSTM(nn.Module):
    """Maps spectrograms N 1 C T F to scores of both classes, N 2.

    In evaluation, rows are independent. In training, batch normalisation couples them.
    """

    def __init__(
        self,
        channels: int = 22,
        frames: int = 59,
        bins: int = 114,
        *,
        width: int = 512,
        depth: int = 3,
    ) -> None:
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
        self.lstm = nn.LSTM(self.features, width, num_layers=depth, batch_first=True)
        self.classify = nn.Sequential(
            nn.Linear(width, 256), nn.Dropout(0.5), nn.Linear(256, CLASSES)
        )

    def forward(self, x: Float[Tensor, "N 1 C T F"]) -> Float[Tensor, "N 2"]:
        """Return the scores of the classes after the last step of each window."""
        found = self.convolutions(x)  # N 32 C' T' F'
        steps = found.permute(0, 3, 1, 2, 4).flatten(2)
        out: Tensor = self.classify(self.lstm(steps)[0][:, -1])
        return out


class SpectrogramNetwork(nn.Module):
    """The published network as student or teacher: spectrograms 1 B L to scores 1 B 2."""

    def __init__(self, shape: tuple[int, int, int], width: int, depth: int) -> None:
        super().__init__()
        self.shape = shape  # channels, frames, bins
        self.network = ConvolutionalLSTM(*shape, width=width, depth=depth)

    def forward(
        self, x: Float[Tensor, "1 B L"], state: Any = None
    ) -> tuple[Float[Tensor, "1 B 2"], Any]:
        """Return the scores of the classes; there is no state."""
        return self.network(x.reshape(-1, 1, *self.shape))[None], state

"""The twin without spikes: the same convolutions with LeakyReLU and a Gaussian latent.

    z = m + sqrt(v) e, e ~ N(0, 1); m and log v are linear in the output of the last convolution

T = 1. Axes: B samples, C channels, H height, W width, Z numbers.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.training.distributed import draw_shard
from tasks.image_generation.config import GenerationConfig
from tasks.image_generation.latents import evaluate_mode
from tasks.image_generation.layers import KERNEL
from tasks.image_generation.losses import gaussian_kl
from tasks.image_generation.vae import Reconstruction


def convolutions(colours: int, channels: tuple[int, ...]) -> nn.Sequential:
    """Return images B C H W -> B (4 channels[-1]), for images of 2 ** (layers + 1) pixels."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((colours, *channels)):
        layers += [
            nn.Conv2d(inputs, outputs, **KERNEL),
            nn.BatchNorm2d(outputs),
            nn.LeakyReLU(),
        ]
    return nn.Sequential(*layers, nn.Flatten())


def transposed(latent: int, channels: tuple[int, ...], colours: int) -> nn.Sequential:
    """Return numbers B Z -> images B C H W in -1..1."""
    widths = (*reversed(channels), channels[0])
    layers: list[nn.Module] = [
        nn.Linear(latent, 4 * widths[0]),
        nn.Unflatten(1, (widths[0], 2, 2)),
    ]
    for inputs, outputs in pairwise(widths):
        up = nn.ConvTranspose2d(inputs, outputs, output_padding=1, **KERNEL)
        layers += [up, nn.BatchNorm2d(outputs), nn.LeakyReLU()]
    head = nn.ConvTranspose2d(widths[-1], colours, 3, padding=1)
    return nn.Sequential(*layers, head, nn.Tanh())


class GaussianVAE(nn.Module):
    """An ordinary VAE with the same layers."""

    def __init__(self, config: GenerationConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = convolutions(config.colours, config.channels)
        self.mean = nn.Linear(4 * config.channels[-1], config.latent)
        self.log_variance = nn.Linear(4 * config.channels[-1], config.latent)
        self.decoder = transposed(config.latent, config.channels, config.colours)

    def forward(self, x: Float[Tensor, "1 B C H W"], at: float = 0.0) -> Reconstruction:  # noqa: ARG002
        """Return the reconstruction; draws use torch's global generator."""
        features = self.encoder(x[0])
        mean, log_variance = self.mean(features), self.log_variance(features)
        noise = self._noise(len(x[0])).to(mean)
        image = self.decoder(mean + noise * torch.exp(log_variance / 2))
        return Reconstruction(image, gaussian_kl(mean, log_variance))

    def _noise(self, samples: int) -> Float[Tensor, "B Z"]:
        """Return e; in training, for this process's samples of the whole batch."""

        def draw(count: int) -> Tensor:
            return torch.randn(count, self.config.latent)

        return draw_shard(draw, samples) if self.training else draw(samples)

    def generate(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n C H W"]:
        """Return new images, in evaluation and without gradient."""
        z = torch.randn(n, self.config.latent, generator=generator)
        with evaluate_mode(self):
            image: Tensor = self.decoder(z.to(self.mean.weight))
            return image

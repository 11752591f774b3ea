"""The spiking VAE: images to latents of spikes and back (FSVAE, and TAID's decoders).

    image -> encoder -> posterior -> z -> decoder -> image          prior -> z: new images

Its twin without spikes has the same convolutions with LeakyReLU, T = 1 and a Gaussian latent:

    z = m + sqrt(v) e, e ~ N(0, 1); m and log v are linear in the output of the last convolution

Distances of the prior's latents from the posterior's:

    mmd = mean over T, B, Z of (s(q) - s(p))^2        s[t] = s[t-1] + (q[t] - s[t-1]) / 2
    kl  = mean over B of the sum over T, Z of
          q log((q + e) / (p + e)) + (1 - q) log((1 - q + e) / (1 - p + e)),      e = 0.01
    gaussian = mean over B of the sum over Z of (m^2 + v - log v - 1) / 2

q, p: probabilities of a bit under posterior and prior (Kamata et al. 2022); s is a postsynaptic
potential. m, v: mean and variance of the ANN's posterior, whose prior is N(0, 1).

The host combines the pixel currents X of T ticks into one image:

    membrane     x = tanh(sum_t 0.8^(T-1-t) X[t])              FSVAE (Kamata et al. 2022)
    attention    x = tanh(sum_t A[t] X[t])                     TAID (Qiu et al. 2023)
        A = sigmoid(W m), m[t] the mean of X[t] over H and W, W of T x T: as in its code
    drawn        x = tanh(sum_t w[t] a[t] X[t])
        a = sigmoid(MLP(m)), m[t] the mean over C, H and W, w T numbers: as its figure draws it

The figure shows a squeeze to one number per tick, an MLP and "a learnable matrix". We read the
MLP as T-T-T with a ReLU between, and the matrix as a factor per tick that starts at 1. The
paper weights spikes, its code the currents X of the last convolution; we follow the code.
Axes: T ticks, B samples, C channels, H height, W width, Z bits of the latent.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.neurons import LI, run_population
from neuro.nn.layers import DT
from neuro.training.distributed import draw_shard
from tasks.images.generation.config import GenerationConfig
from tasks.images.generation.latents import (
    average_copies,
    delay_by_tick,
    draw_indices,
    evaluate_mode,
    infer,
    sample,
    sample_scheduled,
)
from tasks.images.generation.layers import (
    make_bernoulli,
    make_decoder,
    make_encoder,
)
from tasks.images.metrics.autoencoder import convolutions, transposed

Currents = Float[Tensor, "T B C H W"]
Image = Float[Tensor, "B C H W"]


class Membrane(nn.Module):
    """The last value of the integrators (decay 0.8) at the end of the decoder."""

    def forward(self, currents: Currents) -> Image:
        """Return the image, in -1..1."""
        return torch.tanh(currents[-1])


class Attention(nn.Module):
    """TAID's decoding in its code: one weight per tick and channel of each sample."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self.mix = nn.Linear(ticks, ticks, bias=False)

    def weights(self, currents: Currents) -> Float[Tensor, "T B C"]:
        """Return the weights A of ticks and channels."""
        return torch.sigmoid(self.mix(currents.mean((3, 4)).movedim(0, -1)).movedim(-1, 0))

    def forward(self, currents: Currents) -> Image:
        """Return the image, in -1..1."""
        return torch.tanh((self.weights(currents)[..., None, None] * currents).sum(0))


class DrawnAttention(nn.Module):
    """TAID's decoding in its figure: one weight per tick of each sample."""

    def __init__(self, ticks: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(ticks, ticks), nn.ReLU(), nn.Linear(ticks, ticks))
        self.factor = nn.Parameter(torch.ones(ticks))

    def weights(self, currents: Currents) -> Float[Tensor, "T B"]:
        """Return the weights w a of the ticks."""
        a = torch.sigmoid(self.mlp(currents.mean((2, 3, 4)).T))
        return (self.factor * a).T

    def forward(self, currents: Currents) -> Image:
        """Return the image, in -1..1."""
        return torch.tanh((self.weights(currents)[..., None, None, None] * currents).sum(0))


def make_decoding(config: GenerationConfig) -> nn.Module:
    """Return the module that turns the currents of the decoder into images."""
    if config.model == "membrane":
        return Membrane()
    make = Attention if config.model == "attention" else DrawnAttention
    return make(config.ticks)


Distance = Callable[[Tensor, Tensor], Tensor]
FLOOR = 1e-2
SYNAPSE = LI(tau=Seconds(DT / math.log(2)), gain=0.5)


def mmd(q: Float[Tensor, "T B Z"], p: Float[Tensor, "T B Z"]) -> Float[Tensor, ""]:
    """Return the squared distance of the postsynaptic potentials."""
    return run_population(SYNAPSE, q - p, DT)[0].square().mean()


def bernoulli_kl(q: Float[Tensor, "T B Z"], p: Float[Tensor, "T B Z"]) -> Float[Tensor, ""]:
    """Return the KL divergence of the bits; the constant e keeps it finite."""
    ones = q * torch.log((q + FLOOR) / (p + FLOOR))
    zeros = (1 - q) * torch.log((1 - q + FLOOR) / (1 - p + FLOOR))
    return (ones + zeros).sum((0, 2)).mean()


def gaussian_kl(
    mean: Float[Tensor, "B Z"], log_variance: Float[Tensor, "B Z"]
) -> Float[Tensor, ""]:
    """Return the divergence of N(mean, variance) from N(0, 1)."""
    return ((mean.square() + log_variance.exp() - log_variance - 1) / 2).sum(1).mean()


DISTANCES: Mapping[str, Distance] = {"mmd": mmd, "kl": bernoulli_kl}


class Reconstruction(NamedTuple):
    """Output of a VAE.

    image: in -1..1. distance: distance between prior and posterior for these images.
    """

    image: Float[Tensor, "B C H W"]
    distance: Float[Tensor, ""]


class SpikingVAE(nn.Module):
    """The spiking VAE: encoder, posterior, prior and decoder are Stacks; a host decodes."""

    def __init__(self, config: GenerationConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config)
        self.posterior = make_bernoulli(2 * config.latent, config)
        self.prior = make_bernoulli(config.latent, config)
        self.decoder = make_decoder(config)
        # Last, so that the initial weights of the rest do not depend on it.
        self.decoding = make_decoding(config)

    def forward(self, x: Float[Tensor, "T B C H W"], at: float = 0.0) -> Reconstruction:
        """Return the reconstruction; draws use torch's global generator.

        at: share of the training done; the prior sees its own bits more often as it grows.
        """
        z, q = self.latents(x)
        past = (
            sample_scheduled(self.prior, z, 0.1 + 0.2 * at)
            if self.training
            else delay_by_tick(z).detach()
        )
        p = average_copies(self.prior(past)[0], self.config.latent)
        return Reconstruction(self.decode(z), DISTANCES[self.config.distance](q, p))

    def latents(
        self, x: Float[Tensor, "T B C H W"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "T B Z"], Float[Tensor, "T B Z"]]:
        """Return (latents of images, their probabilities)."""
        c = self.config

        def draw(samples: int) -> Tensor:
            return draw_indices(len(x), samples, c.latent, c.copies, generator)

        index = draw_shard(draw, x.shape[1], axis=1) if self.training else draw(x.shape[1])
        return infer(self.posterior, self.encoder(x)[0], index)

    def decode(self, z: Float[Tensor, "T B Z"]) -> Float[Tensor, "B C H W"]:
        """Return the images of latents."""
        image: Tensor = self.decoding(self.decoder(z)[0])
        return image

    def generate(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n C H W"]:
        """Return new images, in evaluation and without gradient.

        generator: of the CPU; None uses torch's global one.
        """
        c, like = self.config, next(self.parameters())
        index = draw_indices(c.ticks, n, c.latent, c.copies, generator)
        with evaluate_mode(self):
            return self.decode(sample(self.prior, like.new_zeros(c.ticks, n, 0), index))


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

"""The spiking VAE: images to latents of spikes and back (FSVAE, and TAID's decoders).

    image -> encoder -> posterior -> z -> decoder -> image          prior -> z: new images

Axes: T ticks, B samples, C channels, H height, W width, Z bits of the latent.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.training.distributed import draw_shard
from tasks.image_generation.config import GenerationConfig
from tasks.image_generation.decoding import make_decoding
from tasks.image_generation.latents import (
    average_copies,
    delay_by_tick,
    draw_indices,
    evaluate_mode,
    infer,
    sample,
    sample_scheduled,
)
from tasks.image_generation.layers import (
    make_bernoulli,
    make_decoder,
    make_encoder,
)
from tasks.image_generation.losses import DISTANCES


class Reconstruction(NamedTuple):
    """Output of a VAE.

    image: in -1..1. distance: of the prior from the posterior of these images.
    """

    image: Float[Tensor, "B C H W"]
    distance: Float[Tensor, ""]


class SpikingVAE(nn.Module):
    """Encoder, posterior, prior and decoder are Stacks; a host does the decoding."""

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

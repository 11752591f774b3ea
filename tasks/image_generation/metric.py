"""FAD: the distance of generated images from real ones, in the code of an autoencoder.

Published protocol (Kamata et al. 2022): 5,120 generated images in batches of 256, batch norms
in training mode, against the mean and covariance of the test part. We follow it for digits if
``$NEURO_DATA/fsvae_metrics/`` exists. On its scale the first 9,984 test digits score 0.0008;
the first 5,120, which are neater, 9.3; the first 5,120 training digits 4.6; FSVAE 35.5.
Otherwise we use our own autoencoder, as many generated images as test images, and batches of up
to 250. Axes: N images, C colours, H height, W width.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from tasks.image_generation.autoencoder import (
    Autoencoder,
    compute_codes,
    load_published,
    train_own,
)
from tasks.image_generation.config import GenerationConfig
from tasks.image_generation.frechet import Gaussian, compute_distance, fit_gaussian
from tasks.image_generation.images import part, resize_images, scale_images

SIDE = 32  # pixels of the autoencoder's images


@dataclass(frozen=True, kw_only=True)
class ReferenceImages:
    """The reference for generated images.

    autoencoder: its origin; figures of the two have different units. reference: the codes of
    real images. fakes: number of images to generate. batch: images per encoding batch.
    """

    autoencoder: Literal["published", "own"]
    model: Autoencoder
    reference: Gaussian
    fakes: int
    batch: int

    def fad(self, images: Float[Tensor, "N C H W"]) -> float:
        """Return the Frechet distance of images in -1..1 from the real ones.

        Raises:
            ValueError: the images do not fill whole batches.
        """
        codes = compute_codes(self.model, resize_images(images.cpu(), SIDE), self.batch)
        return compute_distance(fit_gaussian(codes), self.reference)


def make_metric(config: GenerationConfig) -> ReferenceImages:
    """Return the published metric of this data set if available, otherwise our own."""
    published = load_published() if config.source in ("embedded", "mnist") else None
    if published is not None:
        model, reference = published
        return ReferenceImages(
            autoencoder="published", model=model, reference=reference, fakes=5120, batch=256
        )
    splits = (part(config, split).images for split in ("train", "test"))
    train, test = (scale_images(images, SIDE) for images in splits)
    batch = min(250, len(test))
    n = len(test) // batch * batch
    model = train_own(train)
    reference = fit_gaussian(compute_codes(model, test[:n], batch))
    return ReferenceImages(
        autoencoder="own", model=model, reference=reference, fakes=n, batch=batch
    )

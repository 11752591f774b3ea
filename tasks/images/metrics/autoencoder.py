"""FAD: the distance of images from real ones in the code of an autoencoder.

Published protocol (Kamata et al. 2022): 5,120 generated images in batches of 256, batch norms
in training mode, against the mean and covariance of the test part. We follow it for digits if
``$NEURO_DATA/fsvae_metrics/`` exists. On its scale the first 9,984 test digits score 0.0008;
the first 5,120, which are neater, 9.3; the first 5,120 training digits 4.6; FSVAE 35.5.
Otherwise we use our own autoencoder, as many generated images as test images, and batches of up
to 250. Distances in the two codes have different units: never compare them.
Axes: N images, C colours, H height, W width.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drivers.folders import find_neuro_data
from neuro.base.seeds import seeded
from tasks.images.metrics.frechet import Gaussian, compute_distance, fit_gaussian
from tasks.images.metrics.sheet import resize_images

SIDE = 32  # pixels of the autoencoder's images
CHANNELS = (32, 64, 128, 256)
CODE = 64
FOLDER = "fsvae_metrics"
STEPS, BATCH, RATE = 120, 64, 2e-3  # for our own autoencoder: 15 s on one core
KERNEL: dict[str, Any] = {"kernel_size": 3, "padding": 1, "stride": 2}


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


class Autoencoder(nn.Module):
    """Maps images of 32 x 32 pixels in -1..1 to 64 numbers and back.

    Encoder: for each of 32, 64, 128, 256 channels conv 3 x 3 stride 2, batch norm, LeakyReLU;
    linear 1024 -> 64. Decoder: its mirror (Kamata et al. 2022, 918,305 parameters for one
    colour).
    """

    def __init__(self, colours: int = 1) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            convolutions(colours, CHANNELS), nn.Linear(4 * CHANNELS[-1], CODE)
        )
        self.decoder = transposed(CODE, CHANNELS, colours)

    def forward(self, x: Float[Tensor, "N C 32 32"]) -> Float[Tensor, "N C 32 32"]:
        """Return the reconstruction."""
        image: Tensor = self.decoder(self.encoder(x))
        return image


@torch.no_grad()
def compute_codes(
    model: Autoencoder, images: Float[Tensor, "N C 32 32"], batch: int
) -> Float[np.ndarray, "N 64"]:
    """Return the codes of images; batch norms use the statistics of each batch.

    The published protocol stays in training mode, and its figures depend on that: real digits
    score 4 this way and 100 with the running statistics.

    Raises:
        ValueError: the images do not fill whole batches.
    """
    if len(images) % batch:
        raise ValueError(
            f"{len(images)} images do not fill batches of {batch}, and a smaller batch has "
            f"other statistics; drop {len(images) % batch} of them"
        )
    model.train()
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    codes = [model.encoder(x).numpy() for x in torch.split(images, batch)]
    model.load_state_dict(weights)  # restores the running statistics
    return np.concatenate(codes)


def load_published() -> tuple[Autoencoder, Gaussian] | None:
    """Return the published autoencoder of MNIST and the codes of its test part.

    None if ``$NEURO_DATA/fsvae_metrics/`` lacks mnist_autoencoder_64.npz or
    mnist_test_64.npz.
    """
    data = find_neuro_data()
    folder = Path(data) / FOLDER
    files = [folder / name for name in ("mnist_autoencoder_64.npz", "mnist_test_64.npz")]
    if not data or not all(f.is_file() for f in files):
        return None
    model = Autoencoder()
    with np.load(files[0], allow_pickle=False) as arrays:
        weights = [torch.from_numpy(arrays[name]) for name in arrays.files]
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    with np.load(files[1], allow_pickle=False) as arrays:
        return model, Gaussian(arrays["mu"].astype(np.float64), arrays["sigma"])


def train_own(images: Float[Tensor, "N C 32 32"]) -> Autoencoder:
    """Train an autoencoder on images, with a fixed seed."""
    with seeded(0):
        model = Autoencoder(images.shape[1])
        adam = torch.optim.AdamW(model.parameters(), RATE)
        for _ in range(STEPS):
            x = images[torch.randint(len(images), (BATCH,))]
            loss = F.mse_loss(model(x), x)
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
    return model


@dataclass(frozen=True, kw_only=True)
class ReferenceImages:
    """The reference for generated images.

    autoencoder: its origin; the figures of different autoencoders have different units.
    reference: the codes of real images. fakes: number of images to generate.
    batch: images per encoding batch.
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


def make_published_reference(model: Autoencoder, reference: Gaussian) -> ReferenceImages:
    """Return the reference of :func:`load_published`, with the sizes of its protocol."""
    return ReferenceImages(
        autoencoder="published", model=model, reference=reference, fakes=5120, batch=256
    )


def make_own_reference(
    train: Float[Tensor, "N C 32 32"], test: Float[Tensor, "M C 32 32"]
) -> ReferenceImages:
    """Return a reference: full batches of test images, coded by our own autoencoder.

    The autoencoder is trained on the training images.
    """
    batch = min(250, len(test))
    n = len(test) // batch * batch
    model = train_own(train)
    reference = fit_gaussian(compute_codes(model, test[:n], batch))
    return ReferenceImages(
        autoencoder="own", model=model, reference=reference, fakes=n, batch=batch
    )

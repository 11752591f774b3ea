"""The autoencoder whose code the metric FAD compares images in.

Encoder: for each of 32, 64, 128, 256 channels conv 3 x 3 stride 2, batch norm, LeakyReLU;
linear 1024 -> 64. Decoder: the mirror of it (Kamata et al. 2022, 918,305 parameters on one
colour). "published" is the one that FSVAE's figures were measured with; where its file is
missing, "own" is trained here on the run's training images. Distances of the two are in
different units: never compare them.
Axes: N images, C colours, H height, W width.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drivers.folders import find_neuro_data
from neuro.seeds import seeded
from tasks.image_generation.ann import convolutions, transposed
from tasks.image_generation.frechet import Gaussian

CHANNELS = (32, 64, 128, 256)
CODE = 64
FOLDER = "fsvae_metrics"
STEPS, BATCH, RATE = 120, 64, 2e-3  # of the own one: 15 s on a core


class Autoencoder(nn.Module):
    """Images of 32 x 32 pixels in -1..1, to 64 numbers and back."""

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
    """Return the codes of images, the batch norms taking the statistics of each batch.

    The published protocol never leaves training mode, and its figures depend on that: real
    digits score 4 this way and 100 by the running statistics.

    Raises:
        ValueError: the images are no whole number of batches.
    """
    if len(images) % batch:
        raise ValueError(
            f"{len(images)} images are no whole number of batches of {batch}, and a smaller "
            "batch has other statistics; leave some out"
        )
    model.train()
    own = {k: v.clone() for k, v in model.state_dict().items()}
    found = [model.encoder(x).numpy() for x in torch.split(images, batch)]
    model.load_state_dict(own)  # whose running statistics the passes have moved
    return np.concatenate(found)


def load_published(
    environ: Mapping[str, str] | None = None,
) -> tuple[Autoencoder, Gaussian] | None:
    """Return the published autoencoder of MNIST and the codes of its test part.

    None where ``$NEURO_DATA/fsvae_metrics/`` does not hold mnist_autoencoder_64.npz and
    mnist_test_64.npz.
    """
    data = find_neuro_data(environ)
    folder = Path(data) / FOLDER
    files = [folder / name for name in ("mnist_autoencoder_64.npz", "mnist_test_64.npz")]
    if not data or not all(f.is_file() for f in files):
        return None
    model = Autoencoder()
    with np.load(files[0], allow_pickle=False) as arrays:
        given = [torch.from_numpy(arrays[name]) for name in arrays.files]
    model.load_state_dict(dict(zip(model.state_dict(), given, strict=True)))
    with np.load(files[1], allow_pickle=False) as arrays:
        return model, Gaussian(arrays["mu"].astype(np.float64), arrays["sigma"])


def train_own(images: Float[Tensor, "N C 32 32"]) -> Autoencoder:
    """Return an autoencoder trained on these images, always the same."""
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

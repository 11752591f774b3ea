"""The autoencoder in whose code FAD compares images.

Encoder: for each of 32, 64, 128, 256 channels conv 3 x 3 stride 2, batch norm, LeakyReLU;
linear 1024 -> 64. Decoder: its mirror (Kamata et al. 2022, 918,305 parameters for one colour).
FSVAE's figures used the "published" one; without its file we train our "own" on the training
images of the run. The distances of the two have different units: never compare them.
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
STEPS, BATCH, RATE = 120, 64, 2e-3  # of our own training: 15 s on a core


class Autoencoder(nn.Module):
    """Maps images of 32 x 32 pixels in -1..1 to 64 numbers and back."""

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


def load_published(
    environ: Mapping[str, str] | None = None,
) -> tuple[Autoencoder, Gaussian] | None:
    """Return the published autoencoder of MNIST and the codes of its test part.

    None without mnist_autoencoder_64.npz and mnist_test_64.npz in
    ``$NEURO_DATA/fsvae_metrics/``.
    """
    data = find_neuro_data(environ)
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

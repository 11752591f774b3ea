"""FAD, FID and inception score of generated images.

FAD is their distance from real images in the code of an autoencoder. Published protocol (Kamata
et al. 2022): 5,120 generated images in batches of 256, batch norms in training mode, against
the mean and covariance of the test part. We follow it for digits if
``$NEURO_DATA/fsvae_metrics/`` exists. On its scale the first 9,984 test digits score 0.0008;
the first 5,120, which are neater, 9.3; the first 5,120 training digits 4.6; FSVAE 35.5.
Otherwise we use our own autoencoder, as many generated images as test images, and batches of up
to 250. Distances in the two codes have different units: never compare them.

FID and inception score come from torch-fidelity and its weights, if both are available. Do not
compare them with those of FSVAE: its FID is of clean-fid, which resizes in another way, and its
IS of images in 0..255 without normalisation. We have run them only with random weights.
Axes: N images, C colours, H height, W width, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.data import Dataset

from drivers.folders import find_neuro_data
from neuro.seeds import seeded
from tasks.image_generation.config import GenerationConfig
from tasks.image_generation.images import part, resize_images, scale_images
from tasks.image_generation.vae import convolutions, transposed

SIDE = 32  # pixels of the autoencoder's images
CHANNELS = (32, 64, 128, 256)
CODE = 64
FOLDER = "fsvae_metrics"
STEPS, BATCH, RATE = 120, 64, 2e-3  # of our own training: 15 s on a core


class Gaussian(NamedTuple):
    """Mean and covariance of features, float64."""

    mean: Float[np.ndarray, " D"]
    covariance: Float[np.ndarray, "D D"]


def fit_gaussian(features: Float[np.ndarray, "N D"]) -> Gaussian:
    """Return mean and unbiased covariance of N > 1 samples."""
    x = features.astype(np.float64)
    return Gaussian(x.mean(0), np.atleast_2d(np.cov(x, rowvar=False)))


def compute_distance(a: Gaussian, b: Gaussian) -> float:
    """Return the Frechet distance of two Gaussians of means m, n and covariances S, R.

    d = |m - n|^2 + tr(S) + tr(R) - 2 tr((S^1/2 R S^1/2)^1/2)
    """
    values, vectors = np.linalg.eigh((a.covariance + a.covariance.T) / 2)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T  # rounding makes some negative
    inner = root @ b.covariance @ root
    shared = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(min=0)).sum()
    offset = np.square(a.mean - b.mean).sum()
    return float(offset + a.covariance.trace() + b.covariance.trace() - 2 * shared)


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


WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION = "inception"
SPLITS = 10  # of the images, for the spread of the inception score


class _Pixels(Dataset):
    """Images for torch-fidelity: three colours in 0..255."""

    def __init__(self, images: Float[Tensor, "N C H W"]) -> None:
        grey = ((images.cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        self.pixels = grey.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> UInt8[Tensor, "3 H W"]:
        return self.pixels[at]


def compute_scores(
    fakes: Float[Tensor, "N C H W"],
    real: Float[Tensor, "M C H W"],
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return ``fid``, ``inception_score`` and ``inception_score_sd``, or ``missing``: a cure.

    fakes, real: at least two each, in -1..1. With fewer fakes than :data:`SPLITS`, each fake is
    a split with score 1.
    """
    data = find_neuro_data(environ)
    weights = Path(data) / INCEPTION / WEIGHTS
    if find_spec("torch_fidelity") is None:
        return {"missing": "FID and IS need torch-fidelity: pip install torch-fidelity"}
    if not data or not weights.is_file():
        return {"missing": f"FID and IS need {WEIGHTS} in $NEURO_DATA/{INCEPTION}/"}
    import torch_fidelity

    scores = torch_fidelity.calculate_metrics(
        input1=_Pixels(fakes),
        input2=_Pixels(real),
        fid=True,
        isc=True,
        cuda=torch.cuda.is_available(),
        feature_extractor_weights_path=str(weights),
        isc_splits=min(SPLITS, len(fakes)),
        save_cpu_ram=True,  # the images are in memory, so load them in this process
        verbose=False,
    )
    return {
        "fid": scores["frechet_inception_distance"],
        "inception_score": scores["inception_score_mean"],
        "inception_score_sd": scores["inception_score_std"],
    }

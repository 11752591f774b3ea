"""FAD, FID and inception score of generated images.

FAD: :mod:`tasks.images.metrics.autoencoder`. FID and inception score come from torch-fidelity
and its weights, if both are available. Do not compare them with those of FSVAE: its FID comes
from clean-fid, which resizes differently, and its IS uses images in 0..255 without
normalisation. We have run FID and inception score only with random weights.
Axes: N images, C colours, H height, W width.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from drivers.folders import find_neuro_data
from tasks.images.generation.config import GenerationConfig
from tasks.images.generation.images import part
from tasks.images.metrics.autoencoder import (
    SIDE,
    ReferenceImages,
    load_published,
    make_own_reference,
    make_published_reference,
)
from tasks.images.metrics.sheet import scale_images


def make_metric(config: GenerationConfig) -> ReferenceImages:
    """Return the published metric of this data set if available, otherwise our own."""
    published = load_published() if config.source in ("embedded", "mnist") else None
    if published is not None:
        return make_published_reference(*published)
    train, test = (part(config, split).images for split in ("train", "test"))
    return make_own_reference(scale_images(train, SIDE), scale_images(test, SIDE))


WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION = "inception"
SPLITS = 10  # groups of images that give the spread of the inception score


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

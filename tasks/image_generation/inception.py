"""FID and inception score, where torch-fidelity and its weights are at hand.

torch-fidelity and not clean-fid, whose FID FSVAE published: it computes both scores, and it
takes the file of the weights, so that it never downloads. The two resize differently, and the
published IS is that of images in 0..255 without normalisation: neither figure here is to be
set beside the published ones. It has been run with random weights only.
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

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
FOLDER = "inception"
SPLITS = 10  # of the images, by whose scores the inception score has its spread


class _Pixels(Dataset):
    """Images as torch-fidelity takes them: three colours of 0..255."""

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
    """Return ``fid``, ``inception_score`` and ``inception_score_sd``; or ``missing``, a cure.

    fakes, real: two or more each, in -1..1. Fewer fakes than :data:`SPLITS` are a split each,
    whose score is 1.
    """
    data = find_neuro_data(environ)
    weights = Path(data) / FOLDER / WEIGHTS
    if find_spec("torch_fidelity") is None:
        return {"missing": "FID and IS need torch-fidelity: pip install torch-fidelity"}
    if not data or not weights.is_file():
        return {"missing": f"FID and IS need {WEIGHTS} in $NEURO_DATA/{FOLDER}/"}
    import torch_fidelity

    found = torch_fidelity.calculate_metrics(
        input1=_Pixels(fakes),
        input2=_Pixels(real),
        fid=True,
        isc=True,
        cuda=torch.cuda.is_available(),
        feature_extractor_weights_path=str(weights),
        isc_splits=min(SPLITS, len(fakes)),
        save_cpu_ram=True,  # no processes that load: the images lie in memory
        verbose=False,
    )
    return {
        "fid": found["frechet_inception_distance"],
        "inception_score": found["inception_score_mean"],
        "inception_score_sd": found["inception_score_std"],
    }

"""FID and inception score, by torch-fidelity and its weights if both are available.

Do not compare these figures with those of FSVAE: its FID is of clean-fid, which resizes in
another way, and its IS of images in 0..255 without normalisation. We have run this module only
with random weights.
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
    weights = Path(data) / FOLDER / WEIGHTS
    if find_spec("torch_fidelity") is None:
        return {"missing": "FID and IS need torch-fidelity: pip install torch-fidelity"}
    if not data or not weights.is_file():
        return {"missing": f"FID and IS need {WEIGHTS} in $NEURO_DATA/{FOLDER}/"}
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

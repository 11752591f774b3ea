"""Scores of corpora by the gradients of one language model, all methods at once.

Axes: T tokens, N documents, K corpora.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, load
from tasks.attribution.gradients import EpochModel, score_tracin
from tasks.attribution.influence import score_influence
from tasks.attribution.language_model import SourceModel
from tasks.attribution.trak import draw_projection, project_gradients, score_trak

TRACIN, COSINE, TRAK, INFLUENCE = "TracIn", "TracIn, cosine", "TRAK", "group influence"
CHANNELS = 256  # of TRAK's projection
MOST_CHECKPOINTS = 4
MOST_DOCUMENTS = 1000  # of the training, whose gradients are taken


def load_protected(config: AttributionConfig, most: int | None = None) -> Documents:
    """Return the protected documents of the language model's training, or the first of them."""
    documents = load(config, "lm_train")
    own = documents.select(documents.labels < config.protected)
    return own if most is None else own.select(torch.arange(min(most, len(own))))


def score_gradients(
    config: AttributionConfig,
    lm: SourceModel,
    checkpoints: Sequence[EpochModel],
    tokens: Int64[Tensor, "T N"],
) -> dict[str, Float64[np.ndarray, "N K"]]:
    """Return the scores of the protected corpora by each method, whatever the model has read.

    checkpoints: of its training; a few of them, evenly, are used. None: those of ``lm`` alone.

    Raises:
        ValueError: the language model has no gradients, or a corpus no document.
    """
    whole = load_protected(config)
    some = load_protected(config, MOST_DOCUMENTS)
    every = -(-len(checkpoints) // MOST_CHECKPOINTS)
    few = list(checkpoints)[::-1][:: every or 1] or [EpochModel(lm, config.lm_lr)]
    projection = draw_projection(lm, CHANNELS, config.seed_of_lm)
    trak = project_gradients(lm, tokens, some, projection)
    tracin = score_tracin(few, tokens, some, config.protected)
    found = {
        TRACIN: tracin.plain,
        COSINE: tracin.cosine,
        TRAK: score_trak([trak], some, config.protected),
        INFLUENCE: score_influence(lm, tokens, whole, config.protected),
    }
    return {name: scores.T.double().numpy() for name, scores in found.items()}

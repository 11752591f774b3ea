"""TRAK: a regression on projected gradients says what each corpus adds to a document's margin.

    tau(y, i) = phi(y) (Phi' Phi)^-1 phi_i (1 - p_i)      phi = projected gradient of the margin

The margin log p - log (1 - p) is linearised in the parameters, its gradients are projected at
random to M channels (Park et al. 2023, arXiv 2303.14186). The score of a corpus is the sum over
its documents.
Axes: T tokens, B documents of which the scores are, N of the training, P parameters, M
channels, K corpora.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tasks.attribution.documents import Documents
from tasks.attribution.gradients import ScoredOutput, iterate_gradients, split_corpora
from tasks.attribution.language_model import SourceModel


class Projected(NamedTuple):
    """Gradients of margins behind one projection.

    missed: the mean 1 - p of the tokens of each document of the training.
    """

    scored: Float[Tensor, "B M"]
    training: Float[Tensor, "N M"]
    missed: Float[Tensor, " N"]


def draw_projection(lm: SourceModel, channels: int, seed: int) -> Float[Tensor, "P M"]:
    """Return a matrix of normal numbers of variance 1 / M, which follow from the seed."""
    parameters = sum(p.numel() for p in lm.parameters())
    drawn = torch.Generator().manual_seed(seed)
    normal: Tensor = torch.randn(parameters, channels, generator=drawn) / channels**0.5
    return normal


def project_gradients(
    lm: SourceModel,
    tokens: Int64[Tensor, "T B"],
    training: Documents,
    projection: Float[Tensor, "P M"],
) -> Projected:
    """Return the projected gradients of one language model.

    Raises:
        ValueError: the language model has maps without gradients.
    """

    def project(documents: Int64[Tensor, "T b"]) -> Tensor:
        return torch.cat([g @ projection for g in iterate_gradients(lm, documents, "margin")])

    with torch.no_grad():
        p = ScoredOutput(lm).compute_log_p(training.tokens).exp()
    return Projected(project(tokens), project(training.tokens), (1 - p).mean(0))


def weigh_documents(model: Projected, damping: float) -> Float[Tensor, "B N"]:
    """Return what each document of the training adds to the margin of each scored one.

    damping: added to the squares, in units of their mean eigenvalue.
    """
    own, scored = model.training.double(), model.scored.double()
    square = own.T @ own
    ridge = damping * square.trace() / len(square)
    damped = square + ridge * torch.eye(len(square), dtype=square.dtype)
    weights: Tensor = scored @ torch.linalg.solve(damped, own.T)
    return weights


def score_trak(
    models: Sequence[Projected], training: Documents, corpora: int, damping: float = 1e-2
) -> Float[Tensor, "K B"]:
    """Return TRAK's score of each corpus for each document.

    models: of one training, or of some whose weights and misses are averaged apart.

    Raises:
        ValueError: a corpus has no document in the training.
    """
    split_corpora(training, corpora)
    weights = torch.stack([weigh_documents(model, damping) for model in models]).mean(0)
    each = weights * torch.stack([model.missed for model in models]).mean(0)
    return torch.stack([each[:, training.labels == k].sum(1) for k in range(corpora)])

"""Group influence through the read-out: a damped Gauss-Newton block, as a Kronecker product.

    I_k(y) = g(y) (A x S + damping)^-1 sum over i in D_k of g_i
    A = E[h h'],  S = E[diag p - p p']

g: gradient of a document's loss with respect to the read-out W, logits = W h; it is
sum_t (p_t - onehot) h_t'. The Gauss-Newton block E[h h' x (diag p - p p')] becomes the product
of the means (KFAC: Martens and Grosse 2015, arXiv 1503.05671; influence: Koh and Liang 2017,
arXiv 1703.04730; of groups: Koh et al. 2019, arXiv 1905.13289). Positive: training on D_k makes
y likelier.
Axes: T tokens, B documents of which the scores are, N of the training, D channels, V the
vocabulary, K corpora.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tasks.attribution.documents import Documents
from tasks.attribution.gradients import require_float, split_corpora
from tasks.attribution.language_model import SourceModel, prepend_begin

CHUNK = 250  # documents that are read at once
DAMPING = 1e-2  # of the mean eigenvalue


class ReadOut(NamedTuple):
    """What the read-out reads of documents, and what it answers, p."""

    hidden: Float[Tensor, "T B D"]
    p: Float[Tensor, "T B V"]


class KroneckerFactors(NamedTuple):
    """Means over tokens: A of the inputs, S of the curvature of the loss in the logits."""

    inputs: Float[Tensor, "D D"]
    outputs: Float[Tensor, "V V"]


@torch.no_grad()
def read_out(lm: SourceModel, tokens: Int64[Tensor, "T B"]) -> ReadOut:
    """Return inputs and answers of the read-out at each token, as float64.

    Raises:
        ValueError: the read-out rounds its weights, and has no gradient.
    """
    require_float(lm)
    hidden = lm.read(lm.embedding(prepend_begin(lm, tokens)[:-1])).hidden
    return ReadOut(hidden.double(), lm.head(hidden).double().softmax(-1))


def compute_readout_gradients(
    lm: SourceModel, tokens: Int64[Tensor, "T B"]
) -> Float[Tensor, "B V D"]:
    """Return the gradient of each document's mean loss a token, in closed form."""
    parts = []
    for part in torch.split(tokens, CHUNK, 1):
        hidden, p = read_out(lm, part)
        wrong = p.scatter_add(-1, part[..., None], torch.full_like(p[..., :1], -1.0))
        parts.append(torch.einsum("tbv,tbd->bvd", wrong, hidden) / len(part))
    return torch.cat(parts)


def compute_factors(lm: SourceModel, tokens: Int64[Tensor, "T N"]) -> KroneckerFactors:
    """Return the means over all tokens of some documents."""
    inputs = outputs = torch.zeros(())
    for part in torch.split(tokens, CHUNK, 1):
        hidden, p = (x.flatten(0, 1) for x in read_out(lm, part))
        inputs = inputs + hidden.T @ hidden / tokens.numel()
        outputs = outputs + (p.sum(0).diag() - p.T @ p) / tokens.numel()
    return KroneckerFactors(inputs, outputs)


def divide_by_curvature(
    gradients: Float[Tensor, "K V D"], factors: KroneckerFactors, damping: float
) -> Float[Tensor, "K V D"]:
    """Return (S x A + damping)^-1 g, exactly, in the basis of the eigenvectors of S and A.

    damping: in units of the mean eigenvalue of the product.
    """
    (a, from_a), (s, from_s) = (torch.linalg.eigh(x) for x in factors)
    eigenvalues = s[:, None] * a
    inside = from_s.T @ gradients @ from_a
    moved: Tensor = from_s @ (inside / (eigenvalues + damping * eigenvalues.mean())) @ from_a.T
    return moved


def score_influence(
    lm: SourceModel,
    tokens: Int64[Tensor, "T B"],
    training: Documents,
    corpora: int,
    damping: float = DAMPING,
) -> Float[Tensor, "K B"]:
    """Return the influence of the documents of each corpus, together, on each document.

    In units of a sum over documents: divided by N it is the first-order fall of y's loss [nat a
    token] if the training counted the corpus twice.

    Raises:
        ValueError: a corpus has no document, or the read-out has no gradient.
    """
    parts = split_corpora(training, corpora)
    groups = torch.stack([compute_readout_gradients(lm, x.tokens).sum(0) for x in parts])
    moved = divide_by_curvature(groups, compute_factors(lm, training.tokens), damping)
    scored = compute_readout_gradients(lm, tokens)
    return torch.einsum("bvd,kvd->kb", scored, moved)

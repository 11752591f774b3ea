"""Scores of corpora from the gradients of one language model, by every method.

Axes: T tokens, N documents, K corpora.

TracIn: products of the gradients of single documents.

To first order, a step of gradient descent on corpus k with the mean gradient G_k and a rate eta
changes the loss of a document y by -eta <g(y), G_k>. TracIn adds these up over checkpoints c of
a training, sum_c eta_c <g_c(y), G_k,c> (Pruthi et al. 2020, arXiv 2002.08484).
Axes: T tokens, B scored documents, N training documents, P parameters, K corpora.

Group influence through the read-out: a damped Gauss-Newton block, as a Kronecker product.

    I_k(y) = g(y) (A x S + damping)^-1 sum over i in D_k of g_i
    A = E[h h'],  S = E[diag p - p p']

g: gradient of a document's loss in the read-out W, where logits = W h; it is
sum_t (p_t - onehot) h_t'. The Gauss-Newton block E[h h' x (diag p - p p')] becomes the product
of the means (KFAC: Martens and Grosse 2015, arXiv 1503.05671; influence: Koh and Liang 2017,
arXiv 1703.04730; of groups: Koh et al. 2019, arXiv 1905.13289). Positive: training on D_k makes
y likelier.
Axes: T tokens, B scored documents, N training documents, D channels, V tokens of the
vocabulary, K corpora.

TRAK: a regression on projected gradients says what each corpus adds to a document's margin.

    tau(y, i) = phi(y) (Phi' Phi)^-1 phi_i (1 - p_i)      phi = projected gradient of the margin

The margin log p - log (1 - p) is linearised in the parameters, its gradients are projected at
random to M channels (Park et al. 2023, arXiv 2303.14186). The score of a corpus is the sum over
its documents.
Axes: T tokens, B scored documents, N training documents, P parameters, M channels, K corpora.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from neuro.mixers import SoftmaxAttention
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, load
from tasks.attribution.model import SourceModel, prepend_begin

SURE = 1 - 1e-6  # probability at which the margin of a token is capped
CHUNK = 50  # documents whose gradients are in memory at once
Output = Literal["loss", "margin"]


class EpochModel(NamedTuple):
    """A language model at one time of its training, and its learning rate [1] there."""

    lm: SourceModel
    lr: float


class ScoredOutput(nn.Module):
    """One number per document: its mean loss per token, or its mean margin.

    loss: -log p [nat per token]. margin: log p - log (1 - p), as TRAK linearises it.
    """

    def __init__(self, lm: SourceModel, output: Output = "loss") -> None:
        super().__init__()
        self.lm, self.output = lm, output

    def forward(self, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, " B"]:
        """Return the mean loss or margin of each document."""
        log_p = self.compute_log_p(tokens)
        if self.output == "loss":
            return -log_p.mean(0)
        margins: Tensor = log_p - torch.log1p(-log_p.exp().clamp(max=SURE))
        return margins.mean(0)

    def compute_log_p(self, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, "T B"]:
        """Return log p [nat] of each token."""
        lm = self.lm
        before = prepend_begin(lm, tokens)[:-1]
        logits = lm.head(lm.read(lm.embedding(before)).hidden)
        log_p: Tensor = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        return log_p


def require_float(lm: SourceModel) -> None:
    """Raise a ValueError if a map rounds, so that it has no gradient: ternary or spiking."""
    if not isinstance(lm.head, nn.Linear):
        raise ValueError(
            f"gradients of documents: the maps of this language model are of type "
            f"{type(lm.head).__name__}, whose rounding has no gradient; set linear=float"
        )


def compute_gradients(
    lm: SourceModel, tokens: Int64[Tensor, "T B"], output: Output = "loss"
) -> Float[Tensor, "B P"]:
    """Return the gradient of each document with respect to all parameters, in their order.

    With softmax attention, torch.func maps over the documents; the scans of other mixers take
    one document at a time.

    Raises:
        ValueError: the language model has maps without gradients.
    """
    require_float(lm)
    if not all(isinstance(block.mixer, SoftmaxAttention) for block in lm.blocks):
        return compute_gradients_singly(lm, tokens, output)
    module = ScoredOutput(lm, output)
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def find_output(own: dict[str, Tensor], document: Tensor) -> Tensor:
        out: Tensor = functional_call(module, own, (document[:, None],))
        return out[0]

    with sdpa_kernel(SDPBackend.MATH):  # which vmap can map
        found = vmap(grad(find_output), (None, 1))(parameters, tokens)
    return torch.cat([found[name].flatten(1) for name in parameters], 1)


def compute_gradients_singly(
    lm: SourceModel, tokens: Int64[Tensor, "T B"], output: Output = "loss"
) -> Float[Tensor, "B P"]:
    """Return the same by a backward pass a document: the slow twin, and for any mixer."""
    module = ScoredOutput(lm, output)
    parameters = list(module.parameters())
    rows = [
        torch.autograd.grad(module(document)[0], parameters, materialize_grads=True)
        for document in torch.split(tokens, 1, 1)
    ]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def compute_mean_gradient(lm: SourceModel, tokens: Int64[Tensor, "T N"]) -> Float[Tensor, " P"]:
    """Return the gradient of the documents' mean loss per token in all parameters."""
    module, total = ScoredOutput(lm), None
    parameters = list(module.parameters())
    for part in torch.split(tokens, 5 * CHUNK, 1):
        loss = module(part).sum() / tokens.shape[1]
        own = torch.autograd.grad(loss, parameters, materialize_grads=True)
        flat = torch.cat([g.flatten() for g in own])
        total = flat if total is None else total + flat
    if total is None:
        raise ValueError("the mean gradient of no documents; give each corpus at least one")
    return total


def iterate_gradients(
    lm: SourceModel, tokens: Int64[Tensor, "T B"], output: Output = "loss"
) -> Iterator[Float[Tensor, "b P"]]:
    """Yield the gradients of a few documents at a time."""
    yield from map(partial(compute_gradients, lm, output=output), torch.split(tokens, CHUNK, 1))


def split_corpora(documents: Documents, corpora: int) -> list[Documents]:
    """Return the pure documents of each of the first corpora.

    Raises:
        ValueError: a corpus has none.
    """
    parts = [documents.select(documents.labels == k) for k in range(corpora)]
    if empty := [str(k) for k, part in enumerate(parts) if not len(part)]:
        raise ValueError(
            f"corpora without a training document: {', '.join(empty)}; give more documents"
        )
    return parts


class TracIn(NamedTuple):
    """Scores of corpora for documents.

    plain: products of gradients, weighted by the learning rates.
    cosine: cosines of the gradients, without the rates.
    """

    plain: Float[Tensor, "K B"]
    cosine: Float[Tensor, "K B"]


def score_tracin(
    checkpoints: Sequence[EpochModel],
    tokens: Int64[Tensor, "T B"],
    training: Documents,
    corpora: int,
) -> TracIn:
    """Return TracIn's scores of each corpus for each document, by the corpus' mean gradient.

    Raises:
        ValueError: a corpus has no document, or the language model has no gradients.
    """
    parts = split_corpora(training, corpora)
    plain = cosine = torch.zeros(corpora, tokens.shape[1])
    for lm, lr in checkpoints:
        means = torch.stack([compute_mean_gradient(lm, part.tokens) for part in parts])
        rows = [
            (own @ means.T, F.normalize(own, dim=1) @ F.normalize(means, dim=1).T)
            for own in iterate_gradients(lm, tokens)
        ]
        products, cosines = (torch.cat(some).T for some in zip(*rows, strict=True))
        plain, cosine = plain + lr * products, cosine + cosines
    return TracIn(plain, cosine)


READ = 250  # documents that are read at once
DAMPING = 1e-2  # of the mean eigenvalue


class ReadOut(NamedTuple):
    """The inputs of the read-out for some documents, and its answers p."""

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
        ValueError: the read-out rounds its weights, so it has no gradient.
    """
    require_float(lm)
    hidden = lm.read(lm.embedding(prepend_begin(lm, tokens)[:-1])).hidden
    return ReadOut(hidden.double(), lm.head(hidden).double().softmax(-1))


def compute_readout_gradients(
    lm: SourceModel, tokens: Int64[Tensor, "T B"]
) -> Float[Tensor, "B V D"]:
    """Return the gradient of each document's mean loss per token, in closed form."""
    parts = []
    for part in torch.split(tokens, READ, 1):
        hidden, p = read_out(lm, part)
        wrong = p.scatter_add(-1, part[..., None], torch.full_like(p[..., :1], -1.0))
        parts.append(torch.einsum("tbv,tbd->bvd", wrong, hidden) / len(part))
    return torch.cat(parts)


def compute_factors(lm: SourceModel, tokens: Int64[Tensor, "T N"]) -> KroneckerFactors:
    """Return A and S, the means over all tokens of some documents."""
    inputs = outputs = torch.zeros(())
    for part in torch.split(tokens, READ, 1):
        hidden, p = (x.flatten(0, 1) for x in read_out(lm, part))
        inputs = inputs + hidden.T @ hidden / tokens.numel()
        outputs = outputs + (p.sum(0).diag() - p.T @ p) / tokens.numel()
    return KroneckerFactors(inputs, outputs)


def divide_by_curvature(
    gradients: Float[Tensor, "K V D"], factors: KroneckerFactors, damping: float
) -> Float[Tensor, "K V D"]:
    """Return (S x A + damping)^-1 g, computed exactly in the eigenbases of S and A.

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
    """Return the joint influence of each corpus' documents on each scored document.

    The score is a sum over documents: divided by N it is the first-order fall of y's loss [nat
    per token] if the training counted the corpus twice.

    Raises:
        ValueError: a corpus has no document, or the read-out has no gradient.
    """
    parts = split_corpora(training, corpora)
    groups = torch.stack([compute_readout_gradients(lm, x.tokens).sum(0) for x in parts])
    moved = divide_by_curvature(groups, compute_factors(lm, training.tokens), damping)
    scored = compute_readout_gradients(lm, tokens)
    return torch.einsum("bvd,kvd->kb", scored, moved)


class Projected(NamedTuple):
    """Gradients of margins, mapped by one projection.

    missed: the mean of 1 - p over the tokens of each training document.
    """

    scored: Float[Tensor, "B M"]
    training: Float[Tensor, "N M"]
    missed: Float[Tensor, " N"]


def draw_projection(lm: SourceModel, channels: int, seed: int) -> Float[Tensor, "P M"]:
    """Return a matrix of normal numbers of variance 1 / M, determined by the seed."""
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
    """Return what each training document adds to the margin of each scored document.

    damping: added to Phi' Phi, in units of its mean eigenvalue.
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

    models: from one training or several; weights and ``missed`` are averaged separately.

    Raises:
        ValueError: a corpus has no document in the training.
    """
    split_corpora(training, corpora)
    weights = torch.stack([weigh_documents(model, damping) for model in models]).mean(0)
    each = weights * torch.stack([model.missed for model in models]).mean(0)
    return torch.stack([each[:, training.labels == k].sum(1) for k in range(corpora)])


TRACIN, COSINE, TRAK, INFLUENCE = "TracIn", "TracIn, cosine", "TRAK", "group influence"
CHANNELS = 256  # of TRAK's projection
MOST_CHECKPOINTS = 4
MOST_DOCUMENTS = 1000  # training documents whose gradients are taken


def load_protected(config: AttributionConfig, most: int | None = None) -> Documents:
    """Return the protected training documents of the language model, at most ``most``."""
    documents = load(config, "lm_train")
    own = documents.select(documents.labels < config.protected)
    return own if most is None else own.select(torch.arange(min(most, len(own))))


def score_gradients(
    config: AttributionConfig,
    lm: SourceModel,
    checkpoints: Sequence[EpochModel],
    tokens: Int64[Tensor, "T N"],
) -> dict[str, Float64[np.ndarray, "N K"]]:
    """Return the scores of all protected corpora by each method, even of those never read.

    checkpoints: of the training of ``lm``; a few, evenly spaced, are used. If there are none,
    ``lm`` is the only one.

    Raises:
        ValueError: the language model has no gradients, or a corpus has no document.
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

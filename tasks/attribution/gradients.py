"""Gradients of documents, one each, and the scores that are products of them.

To first order, a step of gradient descent on corpus k with the mean gradient G_k and a rate eta
changes the loss of a document y by -eta <g(y), G_k>. TracIn adds these up over checkpoints c of
a training, sum_c eta_c <g_c(y), G_k,c> (Pruthi et al. 2020, arXiv 2002.08484).
Axes: T tokens, B documents of which the scores are, N of the training, P parameters, K corpora.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from neuro.mixers import SoftmaxAttention
from tasks.attribution.documents import Documents
from tasks.attribution.language_model import SourceModel, prepend_begin

SURE = 1 - 1e-6  # probability of a token from which on its margin does not grow
CHUNK = 50  # documents whose gradients are there at once
Output = Literal["loss", "margin"]


class EpochModel(NamedTuple):
    """A language model at one time of its training, and its learning rate [1] there."""

    lm: SourceModel
    lr: float


class ScoredOutput(nn.Module):
    """A number for each document: its mean loss a token, or its mean margin.

    loss: -log p [nat a token]. margin: log p - log (1 - p), as TRAK linearises it.
    """

    def __init__(self, lm: SourceModel, output: Output = "loss") -> None:
        super().__init__()
        self.lm, self.output = lm, output

    def forward(self, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, " B"]:
        """Return the number of each document."""
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
    """Raise a ValueError if a map has no gradient of its own: a ternary or spiking one."""
    if not isinstance(lm.head, nn.Linear):
        raise ValueError(
            f"gradients of documents: the maps of this language model are of type "
            f"{type(lm.head).__name__}, whose rounding has no gradient; set linear=float"
        )


def compute_gradients(
    lm: SourceModel, tokens: Int64[Tensor, "T B"], output: Output = "loss"
) -> Float[Tensor, "B P"]:
    """Return the gradient of each document with respect to all parameters, in their order.

    torch.func maps softmax attention over the documents; with the scans of other mixers it is
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
    """Return the gradient of the mean loss a token of documents, over all parameters."""
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

    plain: with the learning rates. cosine: both gradients divided by their length, without.
    """

    plain: Float[Tensor, "K B"]
    cosine: Float[Tensor, "K B"]


def score_tracin(
    checkpoints: Sequence[EpochModel],
    tokens: Int64[Tensor, "T B"],
    training: Documents,
    corpora: int,
) -> TracIn:
    """Return TracIn's scores of each corpus for each document, with the mean over the corpus.

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

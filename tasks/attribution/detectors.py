"""Scores of how far a document lies outside the distribution of protected ones.

    softmax       1 - max_k softmax(z)_k                      Hendrycks and Gimpel 2017
    energy        -tau log sum_k exp(z_k / tau)               Liu et al. 2020
    Mahalanobis   min_k d_k,  d_k = (x - m_k)' S^-1 (x - m_k) Lee et al. 2018
    relative      min_k d_k - d_0, d_0 of one Gaussian for all  Ren et al. 2021
    neighbours    |x - x_(k)|, the k-th nearest of the bank, both of length 1   Sun et al. 2022
    cosine        -max_i cos(x, x_i) over the bank, times |x|   Tack et al. 2020
    perplexity    exp(nats / tokens) of the language model
    zlib          nats per byte of the compressed document       Carlini et al. 2021

A larger score means further outside. The functions take arrays: the logits, features or nats of
any model.
Axes: N documents, M of the bank, D features, K corpora, T tokens.

The filter in front of the probe: a contrastive projection of its pooled states.

    z = g(x) / |g(x)|,    g(x) = W2 relu(W1 (x - m) / s + b1) + b2
    loss = -1/N sum_i 1/|P(i)| sum_(p in P(i)) log p_i(p)
    p_i(p) = exp(z_i z_p / tau) / sum_(a != i) exp(z_i z_a / tau)

x: pooled states of a crop, of mean m and deviation s over all of them. P(i): the other samples
of i's group (InfoNCE with several positives: Khosla et al. 2020, eq. 2). A group is, by kind:

    crops        a document: SimCLR (Chen et al. 2020)
    supervised   a corpus: SupCon (Khosla et al. 2020)
    shifted      a document; its crops with shuffled tokens are a further document, which repels
                 it: CSI (Tack et al. 2020, eq. 5), without that paper's classifier of shifts

This is a reconstruction. About stage B of CopyLens / Inner-Probe (arXiv 2410.04454) it is only
known that a projector learns by contrast on pooled states of the LSTM, and that documents far
from the protected ones are left out. Projector, temperature, views and kinds are ours.
Axes: V crops of a document, N documents or samples, D features, P of the projection.

Foreign documents, which a filter should find, and known ones, which it should let pass.

    free        pure documents of free corpora, of which the language model has read others
    unseen      pure documents of corpora that the language model has never read
    spliced     a protected document up to a switch and an unseen one behind it, or the reverse
    generated   the language model's own text under mixed prompts: the first half continues the
                first half of a protected document, the second half that of a free one
    fresh       a control: documents of protected corpora that the language model has not read;
                style and author are those of its training, so only memory can tell the two

All kinds are compared with the test documents of protected corpora, except for the control,
which is compared with protected documents of the language model's training.
Axes: T tokens, N documents, P tokens of a prompt.
"""

import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from neuro.base.seeds import derive_seed, seeded
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import load
from tasks.attribution.model import SourceModel, prepend_begin

NEIGHBOURS = 10


def score_softmax(logits: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """Return 1 minus the largest probability: from 0 to 1 - 1/K."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.asarray(1 - 1 / np.exp(shifted).sum(1))


def score_energy(logits: Float64[np.ndarray, "N K"]) -> Float64[np.ndarray, " N"]:
    """Return the free energy of the logits, at temperature 1."""
    most = logits.max(1)
    return np.asarray(-(most + np.log(np.exp(logits - most[:, None]).sum(1))))


@dataclass(frozen=True, eq=False)
class Gaussians:
    """One Gaussian per corpus, with a shared covariance, and one Gaussian for all features.

    mean, precision: of the corpora. all_mean, all_precision: of all features together.
    """

    mean: Float64[np.ndarray, "K D"]
    precision: Float64[np.ndarray, "D D"]
    all_mean: Float64[np.ndarray, " D"]
    all_precision: Float64[np.ndarray, "D D"]


def fit_gaussians(
    features: Float64[np.ndarray, "N D"],
    labels: Int64[np.ndarray, " N"],
    shrinkage: float | None = None,
) -> Gaussians:
    """Return the Gaussians of features. labels: 0 ... K-1, each of at least one document.

    shrinkage: s of the covariance (1 - s) S + s tr(S)/D I; None: the s of Ledoit and Wolf
        (2004), which has the least expected error.

    Raises:
        ValueError: a feature is not finite, or a corpus has no document.
    """
    _require_finite(features, "features of the bank")
    counts = np.bincount(labels)
    if not counts.all():
        raise ValueError(
            f"corpora {np.flatnonzero(counts == 0).tolist()} of {len(counts)} have no document "
            "in the bank; number the corpora 0 ... K-1 and give documents of each"
        )
    mean = np.stack([features[labels == k].mean(0) for k in range(len(counts))])
    centre = features.mean(0)
    return Gaussians(
        mean=mean,
        precision=_invert_covariance(features - mean[labels], shrinkage),
        all_mean=centre,
        all_precision=_invert_covariance(features - centre, shrinkage),
    )


def score_mahalanobis(
    fit: Gaussians, features: Float64[np.ndarray, "N D"]
) -> Float64[np.ndarray, " N"]:
    """Return the squared distance to the nearest corpus."""
    return np.asarray(
        np.min([_square(features - mean, fit.precision) for mean in fit.mean], axis=0)
    )


def score_relative(
    fit: Gaussians, features: Float64[np.ndarray, "N D"]
) -> Float64[np.ndarray, " N"]:
    """Return the squared distance to the nearest corpus minus that to the common Gaussian."""
    whole = _square(features - fit.all_mean, fit.all_precision)
    return np.asarray(score_mahalanobis(fit, features) - whole)


def score_neighbours(
    bank: Float64[np.ndarray, "M D"],
    features: Float64[np.ndarray, "N D"],
    neighbours: int = NEIGHBOURS,
) -> Float64[np.ndarray, " N"]:
    """Return the distance to the k-th nearest bank document, at length 1: from 0 to 2.

    Raises:
        ValueError: the bank has fewer than k documents.
    """
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= neighbours <= len(bank):
        raise ValueError(
            f"neighbours is {neighbours}, of a bank of {len(bank)} documents; give a whole "
            "number from 1 up to these"
        )
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(normalise(bank))
    distances, _ = nearest.kneighbors(normalise(features))
    return np.asarray(distances[:, -1], np.float64)


def score_cosine(
    bank: Float64[np.ndarray, "M D"], features: Float64[np.ndarray, "N D"], by_length: bool
) -> Float64[np.ndarray, " N"]:
    """Return the negative cosine to the nearest bank document: from -1 to 1.

    by_length: multiply by the length of the features, which is large for the documents that a
        contrastive projector has learned.
    """
    cosine = (normalise(features) @ normalise(bank).T).max(1)
    return np.asarray(-cosine * (np.linalg.norm(features, axis=1) if by_length else 1.0))


def score_perplexity(nats: Float64[np.ndarray, " N"], tokens: int) -> Float64[np.ndarray, " N"]:
    """Return the perplexity. nats: -log p of each document. tokens: length of each document."""
    return np.asarray(np.exp(nats / tokens))


def score_compressed(
    nats: Float64[np.ndarray, " N"], tokens: Int64[np.ndarray, "T N"]
) -> Float64[np.ndarray, " N"]:
    """Return the nats of each document per byte of its zlib compression.

    This takes account of how simple a document is for any compressor. All tokens take the same
    number of bytes: those of the largest token.
    """
    kind = np.min_scalar_type(int(tokens.max(initial=0)))
    packed = tokens.T.astype(kind)
    return np.asarray(nats / [len(zlib.compress(own.tobytes(), 9)) for own in packed])


def normalise(features: Float64[np.ndarray, "N D"]) -> Float64[np.ndarray, "N D"]:
    """Return the features scaled to length 1.

    Features of 0, such as those of a document without a spike, stay 0: at a distance of 1 from
    all others, and at a right angle to them.

    Raises:
        ValueError: a feature is not finite.
    """
    _require_finite(features, "features")
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(length > 0, length, 1.0))


def _invert_covariance(
    centred: Float64[np.ndarray, "N D"], shrinkage: float | None
) -> Float64[np.ndarray, "D D"]:
    from sklearn.covariance import LedoitWolf, ShrunkCovariance

    fit = (
        LedoitWolf(assume_centered=True)
        if shrinkage is None
        else ShrunkCovariance(shrinkage=shrinkage, assume_centered=True)
    )
    return np.asarray(fit.fit(centred).precision_, np.float64)


def _square(
    x: Float64[np.ndarray, "N D"], precision: Float64[np.ndarray, "D D"]
) -> Float64[np.ndarray, " N"]:
    return np.asarray(np.einsum("nd,de,ne->n", x, precision, x))


def _require_finite(features: Float64[np.ndarray, "N D"], name: str) -> None:
    if bad := int((~np.isfinite(features)).any(1).sum()):
        raise ValueError(
            f"{name}: {bad} of {len(features)} documents have a value that is not finite; the "
            "model that made them has diverged: train it with a lower lr"
        )


Kind = Literal["crops", "supervised", "shifted"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How a filter is trained: ``steps`` steps on the crops of ``batch`` documents each.

    hidden, width: channels of g. temperature: tau. crops: V per document.
    """

    hidden: int = 64
    width: int = 32
    temperature: float = 0.2
    crops: int = 3
    batch: int = 64
    steps: int = 200
    lr: float = 3e-3

    def __post_init__(self) -> None:
        least = {"hidden": 1, "width": 2, "crops": 2, "batch": 2, "steps": 1}
        problems = [
            f"{name} is {getattr(self, name)}; give a whole number >= {low}"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        problems += [
            f"{name} is {getattr(self, name)}; give a finite number > 0"
            for name in ("temperature", "lr")
            if not 0 < getattr(self, name) < np.inf
        ]
        if problems:
            raise ValueError("the contrastive filter: " + "; ".join(problems))


@dataclass(frozen=True, eq=False)
class Views:
    """Pooled states of crops of the documents that a filter is trained on.

    crops: states of the crops in the order of the text.
    shuffled: states of the same crops with their tokens in random order.
    labels: corpora of the documents.
    """

    crops: Float[Tensor, "V N D"]
    shuffled: Float[Tensor, "V N D"]
    labels: Int64[Tensor, " N"]


class Projector(nn.Module):
    """The g of the filter. mean, deviation: statistics of the states that train it."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, contrast: Contrast) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.inner = nn.Linear(features, contrast.hidden)
        self.outer = nn.Linear(contrast.hidden, contrast.width)

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N P"]:
        """Return the projections g of pooled states, not normalised in length."""
        scaled = (x - self.mean) / self.deviation
        out: Tensor = self.outer(self.inner(scaled).relu())
        return out


def compute_contrast(
    projected: Float[Tensor, "N P"], groups: Int64[Tensor, " N"], temperature: float
) -> Float[Tensor, ""]:
    """Return the contrastive loss. groups: the group of each sample; at least two samples each.

    Raises:
        ValueError: a sample is alone in its group, so that it has no positive.
    """
    z = nn.functional.normalize(projected, dim=-1)
    alone = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (groups[:, None] == groups) & ~alone
    count = positive.sum(1)
    if not bool(count.all()):
        raise ValueError(
            f"{int((count == 0).sum())} of {len(z)} samples are alone in their groups; give "
            "two crops or more of each document"
        )
    log_p = (z @ z.T / temperature).masked_fill(alone, -torch.inf).log_softmax(1)
    return -(log_p.masked_fill(~positive, 0.0).sum(1) / count).mean()


def group_views(kind: Kind, views: Views) -> tuple[Tensor, Tensor]:
    """Return the training crops of a kind, V M D, and the group of each document, M."""
    if kind == "shifted":
        both = torch.cat([views.crops, views.shuffled], 1)
        return both, torch.arange(both.shape[1], device=both.device)
    if kind == "supervised":
        return views.crops, views.labels
    return views.crops, torch.arange(len(views.labels), device=views.labels.device)


def train_filter(kind: Kind, views: Views, contrast: Contrast, seed: int) -> Projector:
    """Return a projector trained on views; the seed determines weights and batches.

    A step takes two crops of each document in a batch. Documents are drawn without repetition
    until fewer than a batch are left.
    """
    crops, groups = group_views(kind, views)
    samples = crops.shape[1]
    batch = min(contrast.batch, samples)
    with seeded(seed):
        made = Projector(crops.shape[2], contrast).to(crops.device)
        made.mean.copy_(crops.mean((0, 1)))
        made.deviation.copy_(crops.std((0, 1)).clamp(min=1e-6))
        adam = torch.optim.AdamW(made.parameters(), contrast.lr)
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(contrast.steps):
            if len(order) < batch:
                order = torch.randperm(samples)
            some, order = order[:batch].to(crops.device), order[batch:]
            pair = torch.randperm(len(crops))[:2].to(crops.device)
            x = crops[pair][:, some].flatten(0, 1)
            loss = compute_contrast(made(x), groups[some].repeat(2), contrast.temperature)
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
    return made


@torch.no_grad()
def project(
    projector: Projector, features: Float64[np.ndarray, "N D"]
) -> Float64[np.ndarray, "N P"]:
    """Return the projections of pooled states of documents."""
    x = torch.from_numpy(features).to(projector.mean)
    return np.asarray(projector(x).double().cpu().numpy())


def crop_tokens(
    tokens: Int64[Tensor, "T N"], crops: int, length: int, rng: np.random.Generator
) -> Int64[Tensor, "C V N"]:
    """Return V crops of C tokens per document, each at a random position.

    Raises:
        ValueError: a crop is longer than a document.
    """
    total, n = tokens.shape
    if not 1 <= length <= total:
        raise ValueError(
            f"a crop of {length} tokens, of documents of {total}; give 1 ... these"
        )
    first = torch.from_numpy(rng.integers(total - length + 1, size=(crops, n)))
    places = first + torch.arange(length)[:, None, None]
    return tokens[:, None].expand(total, crops, n).gather(0, places)


def shuffle_tokens(
    tokens: Int64[Tensor, "T *N"], rng: np.random.Generator
) -> Int64[Tensor, "T *N"]:
    """Return the tokens of each document in random order, drawn per document."""
    order = torch.from_numpy(rng.random(tokens.shape)).argsort(0)
    return tokens.gather(0, order)


Foreign = Literal["free", "unseen", "spliced", "generated", "fresh"]
FOREIGN: tuple[Foreign, ...] = get_args(Foreign)
SPLICE, GENERATE = 101, 102  # purposes of random draws


def list_foreign(config: AttributionConfig) -> list[Foreign]:
    """Return the kinds of foreign documents that a configuration has."""
    free, unseen = (bool(n and config.outside) for n in (config.free, config.unseen))
    there = {
        "free": free,
        "unseen": unseen,
        "spliced": unseen,
        "generated": free or unseen,
        "fresh": True,
    }
    return [kind for kind in FOREIGN if there[kind]]


def load_foreign(
    config: AttributionConfig, lm: SourceModel, kind: Foreign
) -> Int64[Tensor, "T N"]:
    """Return the documents of a kind; the same at every call."""
    if kind == "spliced":
        return _splice(config)
    if kind == "generated":
        return _generate(config, lm)
    return load(config, "test" if kind == "fresh" else kind).tokens


def load_known(config: AttributionConfig, kind: Foreign) -> Int64[Tensor, "T N"]:
    """Return the known documents that those of a kind are compared with.

    For "fresh", the number per corpus is that of the test documents (or all there are): another
    mixture would distinguish the two sides without any memory.
    """
    test = load(config, "test")
    if kind != "fresh":
        return test.tokens
    read = load(config, "lm_train")
    wanted = test.labels.bincount(minlength=config.protected).tolist()
    parts = [torch.where(read.labels == k)[0][:n] for k, n in enumerate(wanted)]
    return read.tokens[:, torch.cat(parts).sort().values]


def _splice(config: AttributionConfig) -> Int64[Tensor, "T N"]:
    """Return documents spliced from two; the switch is uniform in the middle half."""
    protected, unseen = load(config, "val").tokens, load(config, "unseen").tokens
    rng = np.random.default_rng([config.seed_of_data, SPLICE])
    tokens, n = unseen.shape
    edge = max(1, tokens // 4)
    switch = torch.from_numpy(rng.integers(edge, tokens - edge + 1, n))
    turned = torch.from_numpy(rng.random(n) < 0.5)
    from_protected = (torch.arange(tokens)[:, None] < switch) ^ turned
    partner = torch.arange(n) % protected.shape[1]
    return torch.where(from_protected, protected[:, partner], unseen)


def _generate(config: AttributionConfig, lm: SourceModel) -> Int64[Tensor, "T N"]:
    """Return generated text that continues two prompts, one per half of a document."""
    others = load(config, "free" if config.free else "unseen").tokens
    protected = load(config, "val").tokens
    half, n = config.tokens // 2, others.shape[1]
    partner = torch.arange(n) % protected.shape[1]
    drawn = torch.Generator(lm.embedding.weight.device)
    drawn.manual_seed(derive_seed(config.seed_of_data, 0, 0, GENERATE))
    first = continue_text(lm, protected[:half, partner], config.tokens - half, drawn)
    return torch.cat([first, continue_text(lm, others[:half], half, drawn)])


@torch.no_grad()
def continue_text(
    lm: SourceModel, prompt: Int64[Tensor, "P N"], tokens: int, drawn: torch.Generator
) -> Int64[Tensor, "T N"]:
    """Return the tokens that the language model samples behind prompts, without the prompts.

    The begin token, which no document contains, is never sampled.
    """
    lm.eval()
    said, state = prepend_begin(lm, prompt.to(lm.embedding.weight.device)), None
    out = list[Tensor]()
    for _ in range(tokens):
        logits, state = lm(said, state)
        shares = logits[-1, :, :-1].float().softmax(1)
        said = torch.multinomial(shares, 1, generator=drawn).T
        out.append(said)
    return torch.cat(out).cpu()

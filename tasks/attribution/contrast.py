"""The filter in front of the probe: a contrastive projection of its pooled states.

    z = g(x) / |g(x)|,    g(x) = W2 relu(W1 (x - m) / s + b1) + b2
    loss = -1/N sum_i 1/|P(i)| sum_(p in P(i)) log p_i(p)
    p_i(p) = exp(z_i z_p / tau) / sum_(a != i) exp(z_i z_a / tau)

x: pooled states of a crop, of mean m and deviation s over all of them. P(i): the other samples
of i's group (InfoNCE with several positives: Khosla et al. 2020, eq. 2). A group is, by kind:

    crops        a document: SimCLR (Chen et al. 2020)
    supervised   a corpus: SupCon (Khosla et al. 2020)
    shifted      a document; its crops with shuffled tokens are a further document, which repels
                 it: CSI (Tack et al. 2020, eq. 5), without that paper's classifier of shifts

A reconstruction: of stage B of CopyLens / Inner-Probe (arXiv 2410.04454) it is only known that
a projector learns by contrast on pooled states of the LSTM, and that documents far from the
protected ones are left out. Projector, temperature, views and kinds are ours.
Axes: V crops of a document, N documents or samples, D features, P of the projection.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from neuro.base.seeds import seeded

Kind = Literal["crops", "supervised", "shifted"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How a filter is trained: for some steps, on the crops of ``batch`` documents each.

    hidden, width: channels of g. temperature: tau. crops: V of a document.
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

    crops: in the order of the text. shuffled: of the same crops with their tokens in a random
    order. labels: corpora of the documents.
    """

    crops: Float[Tensor, "V N D"]
    shuffled: Float[Tensor, "V N D"]
    labels: Int64[Tensor, " N"]


class Projector(nn.Module):
    """The g of the filter. mean, deviation: of the states that it is trained on."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int, contrast: Contrast) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.inner = nn.Linear(features, contrast.hidden)
        self.outer = nn.Linear(contrast.hidden, contrast.width)

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N P"]:
        """Return the projections of pooled states, of any length."""
        scaled = (x - self.mean) / self.deviation
        out: Tensor = self.outer(self.inner(scaled).relu())
        return out


def compute_contrast(
    projected: Float[Tensor, "N P"], groups: Int64[Tensor, " N"], temperature: float
) -> Float[Tensor, ""]:
    """Return the loss of samples. groups: a number for each; each occurs at least twice.

    Raises:
        ValueError: a sample is alone in its group, so nothing attracts it.
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
    """Return the crops that a kind trains on, V M D, and the group of each document, M."""
    if kind == "shifted":
        both = torch.cat([views.crops, views.shuffled], 1)
        return both, torch.arange(both.shape[1], device=both.device)
    if kind == "supervised":
        return views.crops, views.labels
    return views.crops, torch.arange(len(views.labels), device=views.labels.device)


def train_filter(kind: Kind, views: Views, contrast: Contrast, seed: int) -> Projector:
    """Return a projector trained on views; weights and batches follow from the seed.

    A step takes two crops of each document of a batch; documents are drawn without repetition
    until all have been.
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
    """Return V crops of C tokens of each document, each at a random place.

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
    """Return the tokens of each document in a random order of its own."""
    order = torch.from_numpy(rng.random(tokens.shape)).argsort(0)
    return tokens.gather(0, order)

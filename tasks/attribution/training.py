"""The training of a language model: on all of its documents, or on those of some corpora.

Every document is read once per epoch, so a model of fewer corpora reads each of its documents
equally often. The order depends only on the number of documents, the epoch and
``seed_of_data``. Axes: T tokens, B documents.

Batches and losses: per token for the language model, per document for a probe.

Axes: T tokens, B documents, K corpora.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.training import Course, Plan
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, Part, count_documents, load, require_apart
from tasks.attribution.model import (
    BATCH,
    SourceModel,
    compute_log_likelihood,
    make_lm,
    prepend_begin,
    require_attribution,
)
from tasks.measures.earlier import train_alone
from tasks.runs.configuration import make_plan
from tasks.runs.task import EarlierTraining, Metric, Pair, Split


def make_lm_plan(config: AttributionConfig) -> Plan:
    """Return the plan of a language model: AdamW, a cosine schedule, the last weights kept."""
    return make_plan(config, epochs=config.lm_epochs, lr=config.lm_lr, keep="last")


def iterate_documents(
    config: AttributionConfig, documents: Documents, epoch: int
) -> Iterator[tuple[Int64[Tensor, "T B"], Int64[Tensor, " B"]]]:
    """Yield all documents and corpora in an epoch's order; the last batch may be smaller."""
    rng = np.random.default_rng([config.seed_of_data, 100, epoch])
    order = torch.from_numpy(rng.permutation(len(documents)))
    for own in torch.split(order, config.batch):
        some = documents.select(own)
        yield some.tokens, some.labels


def train_lm(
    config: AttributionConfig,
    documents: Documents,
    seed: int,
    watch: Callable[[SourceModel], None] = lambda _: None,
) -> SourceModel:
    """Return a language model trained on documents, in evaluation mode.

    seed: of the initial weights. watch: called with the model after each epoch.

    Raises:
        TrainError: the training has diverged.
        ValueError: there is no document.
    """
    if not len(documents):
        raise ValueError(
            "no document to train a language model on; take its initial weights (make_lm)"
        )
    lm = make_lm(config, seed)
    train_alone(make_lm_training(config, documents, lm, watch))
    return lm


def make_lm_training(
    config: AttributionConfig,
    documents: Documents,
    lm: SourceModel,
    watch: Callable[[SourceModel], None] = lambda _: None,
    finish: Callable[[SourceModel], None] = lambda _: None,
) -> EarlierTraining:
    """Return the training of a language model on documents; see :func:`train_lm`."""

    def validate(model: Any) -> float:
        watch(model)
        return measure_nats(config, model)

    def compute_loss(model: nn.Module, batch: Pair, at: float) -> Tensor:  # noqa: ARG001
        logits = model(prepend_begin(lm, batch[0])[:-1])[0]
        return F.cross_entropy(logits.flatten(0, 1).float(), batch[0].flatten())

    course = Course(
        batches=lambda epoch: iterate_documents(config, documents, epoch),
        steps=-(-len(documents) // config.batch),
        loss=compute_loss,
        validate=validate,
        metric=LOSS.name,
        better=LOSS.better,
        batch_axis=(1, 0),
    )
    return EarlierTraining(
        what="the language model",
        model=lm,
        course=course,
        plan=make_lm_plan(config),
        finish=lambda _: finish(lm),
    )


def measure_nats(config: AttributionConfig, lm: SourceModel) -> float:
    """Return -log p [nat per token] of the held-out documents."""
    return -float(compute_log_likelihood(lm, load(config, "lm_val")).mean()) / config.tokens


NATS = "mean negative log-likelihood of the tokens, or of a probe's answers"
LOSS = Metric(name="loss", better="lower", unit="nat", format=".4f", meaning=NATS)


def choose_part(config: AttributionConfig, split: Split) -> Part:
    """Return the part whose documents an arm reads in a split."""
    of_lm: dict[Split, Part] = {"train": "lm_train", "val": "lm_val", "test": "test"}
    return of_lm[split] if config.is_lm else split


def load_split(config: AttributionConfig, split: Split) -> Documents:
    """Return the documents of a split; arm "permuted" permutes labels except in the test.

    Each label is then equally frequent in each corpus, up to one document. A plain permutation
    would favour one label per corpus, which a probe that recognises corpora could learn.
    """
    documents = load(config, choose_part(config, split))
    if config.arm != "permuted" or split == "test":
        return documents
    rng = np.random.default_rng([config.seed_of_data, 200, split == "val"])
    labels = documents.labels.clone()
    for corpus in range(config.protected):
        (own,) = torch.where(documents.labels == corpus)
        lies = (np.arange(len(own)) + rng.integers(config.protected)) % config.protected
        labels[own] = torch.from_numpy(rng.permutation(lies))
    return Documents(documents.tokens, labels.expand_as(documents.tokens))


def batches(config: AttributionConfig, split: Split, epoch: int) -> Iterator[Pair]:
    """Yield documents T B and their corpora B; in training, each epoch has its own order."""
    documents = load_split(config, split)
    if split == "train":
        yield from iterate_documents(config, documents, epoch)
        return
    for k in range(0, len(documents), BATCH):
        yield documents.tokens[:, k : k + BATCH], documents.labels[k : k + BATCH]


def count_steps(config: AttributionConfig) -> int:
    """Return the number of batches in an epoch, including a smaller last one.

    It is called before anything is written, so corpora that cannot be read leave no run folder.

    Raises:
        RunError, FileNotFoundError, StoreError: the corpora cannot be read.
        ValueError: a document is in two parts, or the configuration is wrong.
    """
    require_apart(config)
    return -(-count_documents(config)[choose_part(config, "train")] // config.batch)


def make_dummy_batch(config: AttributionConfig) -> Pair:
    """Return a batch of zeros: the first token, labelled as the first corpus."""
    tokens = torch.zeros(config.tokens, config.batch, dtype=torch.int64)
    return tokens, torch.zeros(config.batch, dtype=torch.int64)


def loss(config: AttributionConfig, model: nn.Module, batch: Pair, at: float) -> Tensor:  # noqa: ARG001
    """Return a batch's mean loss [nat]: per token of a language model, else per document."""
    tokens, labels = batch
    if config.is_lm:
        logits = model(tokens)
        return F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten())
    return F.cross_entropy(model(tokens).mean(0).float(), labels)


def validate(config: AttributionConfig, model: nn.Module) -> float:
    """Return the loss on the validation split."""
    own = require_attribution(model)
    if config.is_lm:
        return measure_nats(config, own.lm)
    documents = load_split(config, "val")
    logits = ask_probe(model, documents).mean(0)
    return float(F.cross_entropy(logits, documents.labels))


@torch.no_grad()
def ask_probe(model: nn.Module, documents: Documents) -> Float[Tensor, "T N K"]:
    """Return the logits of each token of documents, on the CPU."""
    own, training = require_attribution(model), model.training
    own.eval()
    device = own.lm.embedding.weight.device
    found = [
        own(some.to(device)).float().cpu() for some in torch.split(documents.tokens, BATCH, 1)
    ]
    own.train(training)
    return torch.cat(found, 1)

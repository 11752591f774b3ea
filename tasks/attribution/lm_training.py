"""The training of a language model: on all of its documents, or on those of some corpora.

Every document is read once an epoch, whatever the number of documents, so a model of fewer
corpora has read each of its documents as often. The order depends on the number of documents,
the epoch and ``seed_of_data`` alone.
Axes: T tokens, B documents.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuro.training import Course, Plan, fit
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents, load
from tasks.attribution.language_model import (
    SourceModel,
    compute_log_likelihood,
    compute_token_nats,
    make_lm,
)


def make_lm_plan(config: AttributionConfig) -> Plan:
    """Return how a language model is trained: by AdamW with a cosine, to the last weights."""
    return Plan(
        epochs=config.lm_epochs,
        lr=config.lm_lr,
        warm=config.warm,
        decay=config.decay,
        clip=config.clip,
        keep="last",
    )


def iterate_documents(
    config: AttributionConfig, documents: Documents, epoch: int
) -> Iterator[tuple[Int64[Tensor, "T B"], Int64[Tensor, " B"]]]:
    """Yield all documents and their corpora in an epoch's order, the last batch smaller."""
    rng = np.random.default_rng([config.seed_of_data, 100, epoch])
    order = torch.from_numpy(rng.permutation(len(documents)))
    for own in torch.split(order, config.batch):
        some = documents.select(own)
        yield some.tokens, some.labels


def train_lm(
    config: AttributionConfig,
    documents: Documents,
    seed: int,
    watch: Callable[[SourceModel], None] | None = None,
) -> SourceModel:
    """Return a language model trained on documents, in evaluation mode.

    seed: of its initial weights. watch: called with it after each epoch; None: it is validated
    at the end alone.

    Raises:
        TrainError: the training has diverged.
        ValueError: there is no document.
    """
    from lightning_fabric import Fabric

    if not len(documents):
        raise ValueError(
            "no document to train a language model on; take its initial weights (make_lm)"
        )
    lm = make_lm(config, seed)
    plan, steps = make_lm_plan(config), -(-len(documents) // config.batch)

    def validate(_: nn.Module) -> float:
        if watch is not None:
            watch(lm)
        return measure_nats(config, lm)

    course = Course(
        batches=lambda epoch: iterate_documents(config, documents, epoch),
        steps=steps,
        loss=lambda _, batch, at: compute_token_nats(lm, batch[0]).mean(),  # noqa: ARG005
        validate=validate,
        better="lower",
        batch_axis=(1, 0),
    )
    once = replace(plan, validate_every=None if watch else steps * plan.epochs)
    with TemporaryDirectory() as folder:
        fit(lm, course, once, Fabric(accelerator="cpu", devices=1), Path(folder))
    return lm.eval()


def measure_nats(config: AttributionConfig, lm: SourceModel) -> float:
    """Return -log p [nat a token] of the held-out documents."""
    return -float(compute_log_likelihood(lm, load(config, "lm_val")).mean()) / config.tokens

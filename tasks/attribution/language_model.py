"""The language model whose texts are attributed, and the states that probes read.

A document is read behind a begin token, which is number V of V + 1.
Axes: T tokens, B documents, D channels, L layers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.mixers import layer_floors
from neuro.nn.mixer_block import NextTokenModel
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents

BATCH = 250  # documents that are read at once, without gradients


class SourceModel(NextTokenModel):
    """Tokens to the logits of the next token; state in, state out."""

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__(config, config.vocabulary + 1)


class InnerStates(NamedTuple):
    """What each layer makes of each token of a document, in the light of those before it.

    attention: what the mixer adds. unit: what the gated linear unit adds. residual: their sum
    with what came in.
    """

    attention: Float[Tensor, "L T B D"]
    unit: Float[Tensor, "L T B D"]
    residual: Float[Tensor, "L T B D"]


def make_lm(config: AttributionConfig, seed: int) -> SourceModel:
    """Return a language model with its initial weights, which follow from the seed."""
    with seeded(seed):
        return SourceModel(config)


def prepend_begin(lm: SourceModel, tokens: Int64[Tensor, "T B"]) -> Int64[Tensor, "T1 B"]:
    """Return documents behind a begin token: T + 1 tokens."""
    return F.pad(tokens, (0, 0, 1, 0), value=lm.vocabulary - 1)


def compute_token_nats(lm: SourceModel, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    """Return -log p [nat] of each token behind those before it."""
    logits, _ = lm(prepend_begin(lm, tokens)[:-1])
    nats = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="none")
    return nats.reshape(tokens.shape)


@torch.no_grad()
def compute_log_likelihood(lm: SourceModel, documents: Documents) -> Float[Tensor, " N"]:
    """Return log p [nat] of each document: the sum over its tokens."""
    device, training = lm.embedding.weight.device, lm.training
    lm.eval()
    found = [
        -compute_token_nats(lm, part.to(device)).double().sum(0).cpu()
        for part in torch.split(documents.tokens, BATCH, 1)
    ]
    lm.train(training)
    return torch.cat(found)


def read_states(lm: SourceModel, tokens: Int64[Tensor, "T B"]) -> InnerStates:
    """Return the states of the tokens, without those of the begin token."""
    lm.require_known(tokens)
    x = lm.embedding(prepend_begin(lm, tokens))
    rows = None if lm.floors is None else layer_floors(lm.floors)
    kept = list[tuple[Tensor, Tensor, Tensor]]()
    for k, block in enumerate(lm.blocks):
        mixed, _ = block.mix(x, None, None if rows is None else rows[k])  # type: ignore[operator]
        unit = block.transform(x + mixed)  # type: ignore[operator]
        x = x + mixed + unit
        kept.append((mixed[1:], unit[1:], x[1:]))
    return InnerStates(*(torch.stack(states) for states in zip(*kept, strict=True)))

"""Documents that a filter is to find, and those that it is to let pass.

    free        pure documents of free corpora; the language model has read others of them
    unseen      pure documents of corpora that it has never read
    spliced     a protected document up to a switch and an unseen one behind it, or the reverse
    generated   the language model's own text under mixed prompts: the first half continues the
                first half of a protected document, the second half that of a free one
    fresh       a control: documents of protected corpora that the language model has not read;
                style and author are those of what it has read, so only memory tells them

All but the control stand against the test documents of protected corpora; the control stands
against protected documents of the language model's training.
Axes: T tokens, N documents, P tokens of a prompt.
"""

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neuro.base.seeds import derive_seed
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import load
from tasks.attribution.language_model import SourceModel, prepend_begin

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
    """Return the documents that those of a kind stand against.

    Of what the language model has read, as many of each corpus as the test documents have, or
    all that there are: another mixture would tell both sides apart without any memory.
    """
    test = load(config, "test")
    if kind != "fresh":
        return test.tokens
    read = load(config, "lm_train")
    wanted = test.labels.bincount(minlength=config.protected).tolist()
    parts = [torch.where(read.labels == k)[0][:n] for k, n in enumerate(wanted)]
    return read.tokens[:, torch.cat(parts).sort().values]


def _splice(config: AttributionConfig) -> Int64[Tensor, "T N"]:
    """Return two documents as one; the switch is uniform in the middle half."""
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
    """Return text of the language model that continues two prompts, half a document each."""
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
    """Return tokens that the language model draws behind prompts, without these.

    The begin token, which no document holds, is never drawn.
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

"""What a chip runs of a language model, what drives it there, and what its logits are worth.

Axes: T tokens (ticks), B samples, D channels, V the vocabulary.
"""

import math
from collections.abc import Iterator, Mapping

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.nn.net import Net
from tasks.language.config import Config
from tasks.language.data import NOTHING, batches
from tasks.language.graph import EMBEDDED, make_graph, require_spiking
from tasks.task import Split, Stimulus


def chip_part(config: Config, model: nn.Module) -> Net:
    """Return the token step, from the embedding to the logits.

    Raises:
        RunError: the model is not the spiking MatMul-free one.
    """
    return Net(make_graph(require_spiking(config, model)))


def stimuli(config: Config, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield the first tokens of each lane, embedded (T B D), and the next ones (B T).

    One batch, whose streams begin at rest: those after it would need the state before them.
    """
    some = require_spiking(config, model)
    tokens, following = next(iter(batches(config, split, 0)))
    embedded = some.embedding(tokens.to(some.embedding.weight.device))
    yield Stimulus({EMBEDDED: embedded.detach().cpu()}, following.T.contiguous())


def decode(config: Config, model: nn.Module, outputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG001
    """Return the logits, B T V."""
    (logits,) = outputs.values()
    return logits.swapaxes(0, 1)


def measure(
    config: Config,  # noqa: ARG001
    answers: Float[Tensor, "B T V"],
    targets: Int64[Tensor, "B T"],
) -> dict[str, float]:
    """Return bits per token of these streams; of bytes with a tokenizer of bytes."""
    flat = answers.flatten(0, 1).double()
    nats = F.cross_entropy(flat, targets.flatten(), ignore_index=NOTHING)
    return {"bits_per_token": float(nats) / math.log(2)}

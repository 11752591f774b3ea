"""What a chip runs of attribution, and what drives it: one tick a token.

"alif"    the spiking probe; a host runs the language model, and codes its states as events
"mean"    with spiking maps: the language model itself and its read-out, from embeddings on

Nothing of another arm sends spikes. Axes: T tokens (ticks), B samples, D channels, K corpora.
"""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.io.run_folder import RunError
from neuro.nn.mixer_graph import EMBEDDED, explain_no_graph
from neuro.nn.net import Net
from tasks.attribution.config import AttributionConfig
from tasks.attribution.cost import count_lm_macs
from tasks.attribution.documents import load
from tasks.attribution.language_model import prepend_begin, read_states
from tasks.attribution.loss import LOSS
from tasks.attribution.model import require_attribution
from tasks.attribution.probes import Probe
from tasks.attribution.read_out_graph import CORPUS, make_read_out_graph
from tasks.attribution.spiking_probe import SpikingProbe
from tasks.runs.task import ACCURACY, Split, Stimulus

COMPARED = 60  # documents that every executor answers, the first ones of a split
CURE = "take a run of attribution:tiny_alif or attribution:tiny_spiking"


def explain_only_torch(config: AttributionConfig) -> str:
    """Return why only torch runs a model; "" if every executor does."""
    if config.is_spiking:
        return ""
    if config.arm != "mean":
        return f'arm "{config.arm}" sends no spikes, so only torch runs it; {CURE}'
    why = explain_no_graph(config)
    return why and f"only torch runs this language model: {why}; {CURE}"


def chip_part(config: AttributionConfig, model: nn.Module) -> nn.Module:
    """Return the network of the spiking probe, or the language model with its read-out.

    Raises:
        RunError: only torch runs the model.
    """
    if why := explain_only_torch(config):
        raise RunError(why)
    own = require_attribution(model)
    if isinstance(own.probe, SpikingProbe):
        return own.probe.network
    if not isinstance(own.probe, Probe):
        raise RunError(f'a language model without a probe, and arm "{config.arm}" has one')
    return Net(make_read_out_graph(own.lm, own.probe))


def count_host_macs(config: AttributionConfig, model: nn.Module) -> dict[str, int]:
    """Return the multiply-accumulates of the language model for a document, on a host."""
    if not config.is_spiking:
        return {}
    return {"language model": count_lm_macs(config, require_attribution(model))}


def count_ticks(config: AttributionConfig) -> int:
    """Return the tokens that the part reads of a document."""
    return config.tokens + (0 if config.is_spiking else 1)


@torch.no_grad()
def stimuli(config: AttributionConfig, model: nn.Module, split: Split) -> Iterator[Stimulus]:
    """Yield the first documents of a split and their corpora: events, or embeddings.

    Raises:
        RunError: only torch runs the model.
    """
    if why := explain_only_torch(config):
        raise RunError(why)
    own = require_attribution(model)
    documents = load(config, split)
    tokens = documents.tokens[:, :COMPARED].to(own.lm.embedding.weight.device)
    labels = documents.labels[:COMPARED]
    if isinstance(own.probe, SpikingProbe):
        events, _ = own.probe.code(read_states(own.lm, tokens))
        yield Stimulus({"input": events.cpu()}, labels)
    else:
        embedded = own.lm.embedding(prepend_begin(own.lm, tokens))
        yield Stimulus({EMBEDDED: embedded.cpu()}, labels)


def decode(
    config: AttributionConfig,
    model: nn.Module,  # noqa: ARG001
    outputs: Mapping[str, Tensor],
) -> Float[Tensor, "B K"]:
    """Return the logits of each document: the mean of the membranes over its tokens."""
    if config.is_spiking:
        (membranes,) = outputs.values()
        return membranes.mean(0)
    return outputs[CORPUS][1:].mean(0)


def measure(
    _: AttributionConfig, logits: Float[Tensor, "B K"], labels: Int64[Tensor, " B"]
) -> dict[str, float]:
    """Return the share of right answers, and the loss."""
    return {
        ACCURACY.name: float((logits.argmax(1) == labels).double().mean()),
        LOSS.name: float(F.cross_entropy(logits.double(), labels)),
    }


def describe(
    _: AttributionConfig, logits: Float[Tensor, "B K"], labels: Int64[Tensor, " B"]
) -> list[str]:
    """Return "true corpus → answer" of each document."""
    answers = logits.argmax(1).tolist()
    return [f"{true} → {own}" for true, own in zip(labels.tolist(), answers, strict=True)]

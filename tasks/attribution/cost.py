"""What an arm costs: parameters, operations and network calls of a document, documents read."""

from dataclasses import dataclass
from typing import Any

import torch

from tasks.attribution.config import AttributionConfig
from tasks.attribution.model import AttributionModel, build


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """The cost of a language model, or of a probe.

    parameters: its weights. macs: multiply-accumulates of a document. documents: that its
    training reads, each as often as it is read.
    """

    parameters: int
    macs: int
    documents: int


def count_costs(config: AttributionConfig) -> dict[str, PartCost]:
    """Return the costs of "lm" and, behind it, of "probe".

    Each is called once for a document. A probe needs no logits of its language model.
    """
    with torch.device("meta"):
        model = build(config)
    read_again = config.lm_epochs if config.is_lm or config.reads_trained_lm else 0
    costs = {
        "lm": PartCost(
            parameters=_count_weights(model.lm),
            macs=count_lm_macs(config, model),
            documents=config.documents * read_again,
        )
    }
    if model.probe is not None:
        costs["probe"] = PartCost(
            parameters=_count_weights(model.probe),
            macs=count_probe_macs(config),
            documents=config.train * config.epochs,
        )
    return costs


def count_lm_macs(config: AttributionConfig, model: AttributionModel) -> int:
    """Return the multiply-accumulates of a language model that reads a document.

    Counts mixers (``Mixer.macs``) and linear maps. A language model alone reads the begin and
    all tokens but the last one, and has the logits of each; behind a probe it reads all.
    """
    mixers: list[Any] = [block.get_submodule("mixer") for block in model.lm.blocks]
    read = config.tokens + (0 if config.is_lm else 1)
    each: list[int] = [mixer.macs(k) for mixer in mixers for k in range(read)]
    units = 3 * config.width * config.hidden * len(mixers) * read
    logits = config.width * model.lm.vocabulary * read if config.is_lm else 0
    return sum(each) + units + logits


def count_probe_macs(config: AttributionConfig) -> int:
    """Return the multiply-accumulates of a probe: weighing layers, LSTM, read-out.

    Of the spiking one: those of the same layers without spikes, at every token.
    """
    width, layers = config.width, 1 if config.reads_last_layer else len(config.layers)
    if config.is_spiking:
        inputs, hidden = 2 * layers * width, config.probe_width
        return config.tokens * hidden * (inputs + hidden + config.protected)
    token = layers * width * (3 if config.is_unique else 1)  # distances, and their weights
    if config.is_recurrent:
        token += 4 * config.probe_width * (width + config.probe_width)
        width = config.probe_width
    return config.tokens * (token + width * config.protected)


def _count_weights(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())

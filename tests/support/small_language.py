"""A small spiking language model with large embeddings, its Graph and a text."""

from typing import NamedTuple

import torch
from torch import Tensor

from neuro.base.seeds import seeded
from neuro.graph import Graph
from neuro.nn.mixer_graph import EMBEDDED, make_graph
from neuro.spikes import Events, to_events
from tasks.language.config import LanguageConfig
from tasks.language.model import LanguageModel


class Small(NamedTuple):
    """inputs: of the graph. text: its tokens. logits: of the model in float64, T B V."""

    config: LanguageConfig
    model: LanguageModel
    graph: Graph
    inputs: dict[str, Events]
    text: Tensor
    logits: Tensor


def make_small(layers: int = 2, width: int = 16, tokens: int = 12, samples: int = 3) -> Small:
    """Return a model of a vocabulary of 11 with random weights and floors."""
    config = LanguageConfig(
        stack=f"mlgru*{layers}", width=width, hidden=24, linear="spiking", vocabulary=11
    )
    with seeded(0), torch.no_grad():
        model = LanguageModel(config).double().eval()
        model.embedding.weight *= 50
        for name, parameter in model.named_parameters():
            if name.endswith(("gain", "norm.weight", "floors")):
                parameter += 0.3 * torch.randn_like(parameter)
        text = torch.randint(11, (tokens, samples))
        logits, _ = model(text)
        embedded = model.embedding(text)
    inputs = {EMBEDDED: to_events(embedded.numpy())}
    return Small(config, model, make_graph(model), inputs, text, logits)

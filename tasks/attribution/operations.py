"""Operations of a spiking probe for a document. Axes: T tokens, B documents."""

from dataclasses import dataclass

import torch

from tasks.attribution.documents import Documents
from tasks.attribution.language_model import BATCH, read_states
from tasks.attribution.model import AttributionModel
from tasks.attribution.spiking_probe import SpikingProbe


@dataclass(frozen=True, kw_only=True)
class SpikingOperations:
    """Operations for a document, on average.

    events: of states, which the network gets. spikes: of its neurons. synaptic: additions of a
    weight. updates: of neurons and of the read-out, one a token.
    """

    events: float
    spikes: float
    synaptic: float
    updates: int


@torch.no_grad()
def measure_operations(model: AttributionModel, documents: Documents) -> SpikingOperations:
    """Return the operations of a spiking probe, as the mean of documents.

    Raises:
        TypeError: the probe sends no spikes.
    """
    probe = model.probe
    if not isinstance(probe, SpikingProbe):
        raise TypeError(f"{type(probe).__name__} sends no spikes; take a model of arm alif")
    device, events, spikes = model.lm.embedding.weight.device, 0.0, 0.0
    hidden, corpora = probe.sizes
    for tokens in torch.split(documents.tokens, BATCH, 1):
        coded, _ = probe.code(read_states(model.lm, tokens.to(device)))
        events += float(coded.sum())
        spikes += float(probe.fire(coded).sum())
    events, spikes = events / len(documents), spikes / len(documents)
    return SpikingOperations(
        events=events,
        spikes=spikes,
        synaptic=events * hidden + spikes * (hidden + corpora),
        updates=len(documents.tokens) * (hidden + corpora),
    )

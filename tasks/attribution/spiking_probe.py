"""A spiking probe: the states of a language model as events, neurons that adapt, a read-out.

    e_t = [n(s_t) - r >= theta, r - n(s_t) >= theta], then r = n(s_t) where e_t is 1, else r
    events of all layers - dense - ALIF, recurrent - dense - leaky read-out of each corpus

s: what a layer of the language model puts out for a token. n: divides by the root mean square.
r: the value at the last event, 0 before the first one. A tick is a token. The answer is the
membranes of the read-out, mean over the ticks; each of them is the answer along a document.
Axes: L layers, T tokens, B documents, D channels, K corpora.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.units import Seconds
from neuro.neurons import ALIF, LI
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.nn.spiking import DT
from tasks.attribution.config import AttributionConfig
from tasks.attribution.language_model import InnerStates

GAIN = 4.0  # standard deviation of the first sums of events, if half of the channels had one
BETA = 0.2  # rise of a threshold at a spike, in thresholds


class SpikingState(NamedTuple):
    """The value of each channel at its last event, and the state of each layer."""

    reference: Float[Tensor, "B N"]
    layers: Any


class SpikingProbe(nn.Module):
    """States to the membranes of the read-out at each token. State in, state out."""

    is_unique = False

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.reads, self.theta = config.reads, config.theta
        self.network = make_network(config)

    def code(
        self, states: InnerStates, reference: Float[Tensor, "B N"] | None = None
    ) -> tuple[Float[Tensor, "T B E"], Float[Tensor, "B N"]]:
        """Return (events of all layers, the reference behind them): what a host computes.

        N is L D; E is 2 N.
        """
        read: Tensor = getattr(states, self.reads)
        values = F.rms_norm(read, read.shape[-1:]).permute(1, 2, 0, 3).flatten(2)
        return code_changes(values, self.theta, reference)

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of neurons, and K."""
        corpora, hidden = self.network.get_parameter("fc2.weight").shape
        return hidden, corpora

    def fire(self, events: Float[Tensor, "T B E"]) -> Float[Tensor, "T B H"]:
        """Return the spikes of the neurons, from rest."""
        first, hidden = (self.network.get_submodule(name) for name in ("fc1", "hidden"))
        spikes: Tensor = hidden(first(events))[0]
        return spikes

    def forward(
        self, states: InnerStates, state: SpikingState | None = None
    ) -> tuple[Float[Tensor, "T B K"], SpikingState]:
        """Return (membranes, state)."""
        before = state or SpikingState(reference=None, layers=None)  # type: ignore[arg-type]
        events, reference = self.code(states, before.reference)
        y, layers = self.network(events, before.layers)
        return y, SpikingState(reference=reference, layers=layers)


@torch.no_grad()
def code_changes(
    values: Float[Tensor, "T B N"], theta: float, reference: Float[Tensor, "B N"] | None = None
) -> tuple[Float[Tensor, "T B E"], Float[Tensor, "B N"]]:
    """Return (events, reference): where a value is theta or more away from its last event.

    The first half of the channels are rises, the second one falls. reference: the values at the
    last events; None: 0.
    """
    last = torch.zeros_like(values[0]) if reference is None else reference
    events = list[Tensor]()
    for value in values:
        moved = value - last
        rises, falls = moved >= theta, moved <= -theta
        last = torch.where(rises | falls, value, last)
        events.append(torch.cat([rises, falls], -1))
    return torch.stack(events).to(values.dtype), last


def make_network(config: AttributionConfig) -> Stack:
    """Return what a chip runs: events T B E to membranes T B K.

    Thresholds are 1 and stay so: weights have the same effect.
    """
    events, hidden = 2 * len(config.layers) * config.width, config.probe_width
    first = nn.Linear(events, hidden, bias=False)
    nn.init.normal_(first.weight, std=GAIN / math.sqrt(events / 2))
    feedback = nn.Linear(hidden, hidden, bias=False)
    nn.init.normal_(feedback.weight, std=0.5 / math.sqrt(hidden))
    keep = math.exp(-1 / config.probe_tau)
    cells = Spiking(ALIF(leak=1 - keep, threshold=1.0, beta=BETA, rho=keep))
    cells.get_parameter("threshold").requires_grad_(False)
    return Stack(
        fc1=first,
        hidden=Recurrent(cells, feedback),
        fc2=nn.Linear(hidden, config.protected, bias=False),
        readout=Spiking(LI(tau=Seconds(config.probe_tau * DT))),
    )

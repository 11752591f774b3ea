"""A language model and the probe that reads its states. Axes: T tokens, B documents, K corpora.

The language model whose texts are attributed, and the states that probes read.

Every document begins with an additional token, number V of V + 1.
Axes: T tokens, B documents, D channels, L layers.

Probes: from the states of a language model to the corpus, as CopyLens is reconstructed.

    x_t = sum_l w_l n(s_lt) u_lt     h = LSTM(x)     o_t = W h_t + b     p = softmax(mean_t o_t)

s: output of mixers, gated units or whole blocks, depending on the arm. n: divides by the root
mean square. w: softmax of one learned number per layer. u: 1, or in arm "uniqueness"
T softmax_t |n(s_lt) - c_l|, with c the mean over the training documents; the authors describe
it in words only, so this is a guess. Without an LSTM, h_t = x_t; on a spiking language model W
is then a ternary map of spike counts, without b.
Source: Ma et al. 2024, arXiv 2410.04454; their code is not public.
Axes: L layers, T tokens, B documents, D channels, K corpora.

A spiking probe: the states of a language model as events, neurons that adapt, a read-out.

    e_t = [n(s_t) - r >= theta, r - n(s_t) >= theta], then r = n(s_t) where e_t is 1, else r
    events of all layers - dense - ALIF, recurrent - dense - leaky read-out of each corpus

s: output of a layer of the language model for a token. n: divides by the root mean square.
r: the value at the last event, 0 before the first one. A tick is a token. The answer is the
mean of the read-out's membranes over the ticks; single ticks are the answer along a document.
Axes: L layers, T tokens, B documents, D channels, K corpora.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.seeds import seeded
from neuro.base.units import Seconds
from neuro.io.run_folder import RunError
from neuro.mixers import layer_floors
from neuro.neurons import ALIF, LI
from neuro.nn.layers import Recurrent, Spiking, Stack
from neuro.nn.mixer_block import NextTokenModel, make_linear
from neuro.nn.spiking import DT
from tasks.attribution.config import AttributionConfig
from tasks.attribution.documents import Documents
from tasks.runs.configuration import require_sound

BATCH = 250  # documents that are read at once, without gradients


class SourceModel(NextTokenModel):
    """Maps tokens to the logits of the next token; state in, state out."""

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__(config, config.vocabulary + 1)


class InnerStates(NamedTuple):
    """The outputs of each layer for each token, given the tokens before it.

    attention: output of the mixer. unit: output of the gated linear unit. residual: the sum of
    both and the input of the layer.
    """

    attention: Float[Tensor, "L T B D"]
    unit: Float[Tensor, "L T B D"]
    residual: Float[Tensor, "L T B D"]


def make_lm(config: AttributionConfig, seed: int) -> SourceModel:
    """Return a language model with initial weights, which the seed determines."""
    with seeded(seed):
        return SourceModel(config)


def prepend_begin(lm: SourceModel, tokens: Int64[Tensor, "T B"]) -> Int64[Tensor, "T1 B"]:
    """Return documents with a begin token in front: T + 1 tokens."""
    return F.pad(tokens, (0, 0, 1, 0), value=lm.vocabulary - 1)


def compute_token_nats(lm: SourceModel, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, "T B"]:
    """Return -log p [nat] of each token, given the tokens before it."""
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


ProbeState = tuple[Tensor, Tensor]  # of the LSTM


class Probe(nn.Module):
    """Maps states to logits per token; their mean is the answer. State in, state out."""

    centroid: Tensor

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.reads, self.is_unique = config.reads, config.is_unique
        self.first = len(config.layers) - 1 if config.arm == "last" else 0
        layers = len(config.layers) - self.first
        self.layers = nn.Parameter(torch.zeros(layers))
        width = config.probe_width if config.is_recurrent else config.width
        self.lstm = nn.LSTM(config.width, width) if config.is_recurrent else None
        self.head = (
            make_linear(config, width, config.protected)
            if config.arm == "mean" and config.linear == "spiking"
            else nn.Linear(width, config.protected)
        )
        if self.is_unique:
            self.register_buffer("centroid", torch.zeros(layers, config.width))

    def normalise(self, states: InnerStates) -> Float[Tensor, "L T B D"]:
        """Return the states that this probe reads, each with a mean square of 1."""
        read: Tensor = getattr(states, self.reads)[self.first :]
        return F.rms_norm(read, read.shape[-1:])

    def fuse(self, states: InnerStates) -> Float[Tensor, "T B D"]:
        """Return x: the weighted sum over the layers."""
        read = self.normalise(states)
        if self.is_unique:
            away = (read - self.centroid[:, None, None]).norm(dim=-1, keepdim=True)
            read = read * (read.shape[1] * away.softmax(1))
        return torch.einsum("l,ltbd->tbd", self.layers.softmax(0), read)

    def read(
        self, states: InnerStates, state: ProbeState | None = None
    ) -> tuple[Float[Tensor, "T B W"], ProbeState | None]:
        """Return (h of each token, state).

        Raises:
            ValueError: a state is given although the arm weighs each token against the whole
                document.
        """
        if self.is_unique and state is not None:
            raise ValueError(
                "uniqueness weighs a token against all of its document, so no state continues "
                "it; give the whole document"
            )
        x = self.fuse(states)
        if self.lstm is not None:
            x, state = self.lstm(x, state)
        return x, state

    def forward(
        self, states: InnerStates, state: ProbeState | None = None
    ) -> tuple[Float[Tensor, "T B K"], ProbeState | None]:
        """Return (logits of each token, state). Raises the errors of :meth:`read`."""
        hidden, state = self.read(states, state)
        logits: Tensor = self.head(hidden)
        return logits, state


GAIN = 4.0  # standard deviation of the first sums of events, if half of the channels had one
BETA = 0.2  # rise of a threshold at a spike, in thresholds


class SpikingState(NamedTuple):
    """The value of each channel at its last event, and the state of each layer."""

    reference: Float[Tensor, "B N"]
    layers: Any


class SpikingProbe(nn.Module):
    """Maps states to the read-out's membranes at each token. State in, state out."""

    is_unique = False

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.reads, self.theta = config.reads, config.theta
        self.network = make_network(config)

    def code(
        self, states: InnerStates, reference: Float[Tensor, "B N"] | None = None
    ) -> tuple[Float[Tensor, "T B E"], Float[Tensor, "B N"]]:
        """Return (events of all layers, the reference after them); a host computes this.

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
    """Return (events, reference). An event marks a value theta or more from its last event.

    The first half of the channels are rises, the second half falls. reference: the values at
    the last events; None: 0.
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
    """Return the network that a chip runs: events T B E to membranes T B K.

    Thresholds stay at 1, because weights have the same effect.
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


class AttributionModel(nn.Module):
    """A language model, alone or frozen behind a probe.

    The weights of the language model are drawn first, so they are the same in all arms.
    """

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.lm = SourceModel(config)
        kind = SpikingProbe if config.is_spiking else Probe
        self.probe = None if config.is_lm else kind(config)
        self.lm.requires_grad_(config.is_lm)

    def forward(self, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, "T B M"]:
        """Return logits per token: of the corpora, or without a probe of the next token."""
        if self.probe is None:
            logits: Tensor = self.lm(prepend_begin(self.lm, tokens)[:-1])[0]
        else:
            logits = self.probe(read_states(self.lm, tokens))[0]
        return logits


def build(config: AttributionConfig) -> AttributionModel:
    """Return a fresh model.

    Raises:
        ValueError: the configuration is wrong; lists every problem.
    """
    require_sound(config)
    return AttributionModel(config)


def require_attribution(model: nn.Module) -> AttributionModel:
    """Return the model, without the wrapper of training in several processes."""
    inner = getattr(model, "module", model)
    if not isinstance(inner, AttributionModel):
        raise RunError(
            f"{type(inner).__name__} attributes nothing; tasks.attribution builds one"
        )
    return inner

"""Probes: from the states of a language model to the corpus, as CopyLens is reconstructed.

    x_t = sum_l w_l n(s_lt) u_lt     h = LSTM(x)     o_t = W h_t + b     p = softmax(mean_t o_t)

s: what mixers, gated units or whole blocks put out, as the arm says. n: divides by the root
mean square. w: the softmax of a learned number a layer. u: 1, or in "uniqueness"
T softmax_t |n(s_lt) - c_l|, with c the mean of the training documents; the authors describe it
in words only, so this is a guess. Without an LSTM h_t = x_t;
on a spiking language model W is then a ternary map of spike counts, without b.
 Ma et al. 2024, arXiv 2410.04454; no code of theirs is public.
Axes: L layers, T tokens, B documents, D channels, K corpora.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.nn.mixer_block import make_linear
from tasks.attribution.config import AttributionConfig
from tasks.attribution.language_model import InnerStates

ProbeState = tuple[Tensor, Tensor]  # of the LSTM


class Probe(nn.Module):
    """States to the logits of each token; their mean is the answer. State in, state out."""

    centroid: Tensor

    def __init__(self, config: AttributionConfig) -> None:
        super().__init__()
        self.reads, self.is_unique = config.reads, config.is_unique
        self.first = len(config.layers) - 1 if config.reads_last_layer else 0
        layers = len(config.layers) - self.first
        self.layers = nn.Parameter(torch.zeros(layers))
        width = config.probe_width if config.is_recurrent else config.width
        self.lstm = nn.LSTM(config.width, width) if config.is_recurrent else None
        self.head = (
            make_linear(config, width, config.protected)
            if config.is_on_spikes
            else nn.Linear(width, config.protected)
        )
        if self.is_unique:
            self.register_buffer("centroid", torch.zeros(layers, config.width))

    def normalise(self, states: InnerStates) -> Float[Tensor, "L T B D"]:
        """Return the states that this probe reads, each with a mean square of 1."""
        read: Tensor = getattr(states, self.reads)[self.first :]
        return F.rms_norm(read, read.shape[-1:])

    def fuse(self, states: InnerStates) -> Float[Tensor, "T B D"]:
        """Return x: the layers as one."""
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
            ValueError: there is a state, and the arm weighs each token against the whole
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
        """Return (logits of each token, state); raises as :meth:`read` does."""
        hidden, state = self.read(states, state)
        logits: Tensor = self.head(hidden)
        return logits, state

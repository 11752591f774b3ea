"""A language model: an embedding, blocks of a mixer and a gated linear unit, and a read-out.

    x <- x + mixer(RMSNorm x)        x <- x + W_d (SiLU(W_u x') V x'),  x' = RMSNorm x

With ternary maps and MLGRU it is the MatMul-free language model (Zhu et al. 2024, arXiv
2406.02528). Axes: T tokens, B samples, D channels, V the vocabulary.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.mixers import Mixer, layer_floors
from neuro.mixers.mixer import CURE
from neuro.nn.ternary import BitLinear, SpikeCount
from tasks.language.config import LanguageConfig
from tasks.language.mixers import MIXERS

SPREAD = 0.02  # standard deviation of the first embedding, read-out and gated linear units


class LanguageModel(nn.Module):
    """Tokens to the logits of the next token; state in, state out."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.vocabulary = config.vocabulary
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        layers = len(config.layers)
        self.blocks = nn.ModuleList(MixerBlock(config, k) for k in range(layers))
        self.norm = nn.RMSNorm(config.width, eps=config.eps)
        self.head = make_linear(config, config.width, config.vocabulary)
        # One row a layer, of which those are used whose mixers have a floor.
        floored = any(MIXERS[name].has_floor for name in config.layers)
        self.floors = nn.Parameter(torch.zeros(layers, config.width)) if floored else None
        for weight in (self.embedding.weight, self.head.weight):
            nn.init.normal_(weight, std=SPREAD)

    def forward(
        self, tokens: Int64[Tensor, "T B"], state: tuple[Any, ...] | None = None
    ) -> tuple[Float[Tensor, "T B V"], tuple[Any, ...]]:
        """Return (logits, state of each layer).

        Raises:
            ValueError: a token is not of the vocabulary, or the state is of other samples.
        """
        known = tokens.numel() and not tokens.is_meta
        if known and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocabulary:
            raise ValueError(
                f"LanguageModel: tokens from {int(tokens.min())} to {int(tokens.max())}, and "
                f"its vocabulary has {self.vocabulary}; use the tokenizer it was trained with"
            )
        if state is not None and len(state) != len(self.blocks):
            raise ValueError(
                f"LanguageModel: it has {len(self.blocks)} layers, and the state is of "
                f"{len(state)}; {CURE}"
            )
        x, after = self.embedding(tokens), []
        floors = None if self.floors is None else layer_floors(self.floors)
        for k, block in enumerate(self.blocks):
            floor = None if floors is None else floors[k]
            x, own = block(x, None if state is None else state[k], floor)
            after.append(own)
        logits: Tensor = self.head(self.norm(x))
        return logits, tuple(after)


class MixerBlock(nn.Module):
    """A mixer and a gated linear unit, each behind a norm and beside a residual."""

    def __init__(self, config: LanguageConfig, layer: int) -> None:
        super().__init__()
        width, hidden, layers = config.width, config.hidden, len(config.layers)
        self.mixer_norm = nn.RMSNorm(width, eps=config.eps)
        self.mixer = make_mixer(config, layer)
        self.has_floor = MIXERS[config.layers[layer]].has_floor
        self.unit_norm = nn.RMSNorm(width, eps=config.eps)
        self.up = make_linear(config, width, 2 * hidden)
        self.down = make_linear(config, hidden, width)
        nn.init.normal_(self.up.weight, std=SPREAD)
        nn.init.normal_(self.down.weight, std=SPREAD / (2 * layers) ** 0.5)

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any, floor: Float[Tensor, " D"] | None
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (x, state of the mixer)."""
        row = {"floor": floor} if self.has_floor else {}
        mixed, state = self.mixer(self.mixer_norm(x), state, **row)
        x = x + mixed
        gate, value = self.up(self.unit_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * value), state


def make_linear(config: LanguageConfig, inputs: int, outputs: int) -> nn.Linear | BitLinear:
    """Return a linear map of the configuration's kind."""
    if config.linear == "float":
        return nn.Linear(inputs, outputs, bias=False)
    spiking = config.linear == "spiking"
    quantise = SpikeCount(config.ticks, config.threshold) if spiking else None
    return BitLinear(inputs, outputs, quantise, eps=config.eps)


def make_mixer(config: LanguageConfig, layer: int) -> Mixer:
    """Return the mixer of a layer.

    Raises:
        ValueError: the width does not suit the heads.
    """

    def linear(inputs: int, outputs: int) -> nn.Module:
        return make_linear(config, inputs, outputs)

    mixer = MIXERS[config.layers[layer]]
    values = {
        "heads": config.heads,
        "eps": config.eps,
        "limit": config.limit or None,
        "layer": layer,
        "layers": len(config.layers),
    }
    own = {name: values[name] for name in mixer.arguments}
    return mixer.make(config.width, linear=linear, **own)

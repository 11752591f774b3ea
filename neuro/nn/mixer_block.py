"""A sequence model: an embedding, blocks of mixer and gated linear unit, and a read-out.

    x <- x + mixer(RMSNorm x)        x <- x + W_d (SiLU(W_u x') V x'),  x' = RMSNorm x

Axes: T tokens, B samples, D channels, V the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.bounds import ADDED, Count, Natural, Positive
from neuro.mixers import MIXERS, BothWays, Mixer, layer_floors, parse_stack
from neuro.mixers.mixer import CURE, require_no_state
from neuro.nn.ternary import AbsMax, BitLinear, LearnedCount, SpikeCount, round_to_bytes

LinearKind = Literal["float", "ternary", "spiking", "int8"]
SPREAD = 0.02  # standard deviation of the initial weights


@dataclass(frozen=True, kw_only=True)
class BlockSizes:
    """The fields of a configuration that say what its blocks are."""

    stack: str = "mlgru*4"
    """Mixer of each block, as "mlgru*2+softmax" (neuro.mixers.parse_stack)."""
    width: Count = 128
    """Channels D of a token."""
    hidden: Count = 352
    """Channels of the gated linear unit behind each mixer."""
    heads: Count = 4
    """Heads of each mixer that has heads."""
    linear: LinearKind = "float"
    """Weights of maps: "float", "ternary" on inputs of ``bits``, ternary on "spiking" ones, or
    of 8 bits on inputs of 8 bits ("int8")."""
    bits: Annotated[int, Ge(2), Le(8)] = field(default=8, metadata=ADDED)
    """Bits of the inputs of "ternary" maps; a token's largest input has the largest number."""
    ticks: Count = 4
    """Most spikes that encode an input of a spiking map."""
    threshold: Positive = 0.75
    """Input that one spike of a spiking map stands for."""
    learns_threshold: bool = field(default=False, metadata=ADDED)
    """Whether each spiking map learns its threshold; it begins at ``threshold``."""
    eps: Positive = 1e-6
    """Number added to mean squares in the norms of blocks, ternary maps and MLGRU."""
    limit: Natural = 0
    """Most tokens that softmax attention can read, the state included; 0 sets no limit."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The mixer of each layer."""
        return parse_stack(self.stack)


class Reading(NamedTuple):
    """The output of a model for a sequence of tokens.

    hidden: output of the final norm; the read-out maps it to logits.
    layers: output of each block, the last one after the final norm; () unless requested.
    state: state of each block.
    depth: iterations that led to each token's hidden state, if the model has a recurrent core.
    """

    hidden: Float[Tensor, "T B D"]
    layers: tuple[Float[Tensor, "T B D"], ...]
    state: tuple[Any, ...]
    depth: Int64[Tensor, "T B"] | None = None


class MixerModel(nn.Module):
    """An embedding, blocks, a norm and a read-out; subclasses define what is read when.

    causal: whether no token reads a later one. If not, attention sees all tokens, each
        recurrent mixer gets a second one that reads backwards, and there is no state to
        continue from.
    block: class of the blocks; None: MixerBlock.
    """

    def __init__(
        self,
        sizes: BlockSizes,
        vocabulary: int,
        causal: bool = True,
        block: "type[MixerBlock] | None" = None,
    ) -> None:
        super().__init__()
        self.vocabulary, self.causal = vocabulary, causal
        self.embedding = nn.Embedding(vocabulary, sizes.width)
        self.blocks = make_blocks(sizes, block or MixerBlock, causal)
        self.norm = nn.RMSNorm(sizes.width, eps=sizes.eps)
        self.head = make_linear(sizes, sizes.width, vocabulary)
        self.floors = make_floors(sizes)
        for weight in (self.embedding.weight, self.head.weight):
            nn.init.normal_(weight, std=SPREAD)
        # Created last, so that weights that both kinds share are drawn alike.
        if not causal:
            for k, made in enumerate(self.blocks):
                if "causal" not in MIXERS[sizes.layers[k]].arguments:  # it reads no later token
                    made.mixer = BothWays(made.mixer, make_mixer(sizes, k))  # type: ignore[arg-type]

    def require_known(self, tokens: Int64[Tensor, "T B"]) -> None:
        """Raise a ValueError if a token is not in the vocabulary."""
        known = tokens.numel() and not tokens.is_meta
        if known and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocabulary:
            raise ValueError(
                f"{type(self).__name__}: tokens from {int(tokens.min())} to "
                f"{int(tokens.max())}, and its vocabulary has {self.vocabulary}; use the "
                "tokenizer it was trained with"
            )

    def read(
        self,
        x: Float[Tensor, "T B D"],
        state: tuple[Any, ...] | None = None,
        keep_layers: bool = False,
    ) -> Reading:
        """Run the blocks on embeddings; the state None is the start of a sequence.

        Raises:
            ValueError: the state has another number of layers or other samples, or the model is
                not causal and a state is given.
        """
        if not self.causal:
            require_no_state(type(self).__name__, state)
        if state is not None and len(state) != len(self.blocks):
            raise ValueError(
                f"{type(self).__name__}: it has {len(self.blocks)} layers, and the state is of "
                f"{len(state)}; {CURE}"
            )
        x, after, layers = run_blocks(self.blocks, self.floors, x, state, keep_layers)
        hidden = self.norm(x)
        return Reading(hidden, (*layers[:-1], hidden) if keep_layers else (), after)


class NextTokenModel(MixerModel):
    """A causal model: tokens to the logits of the next token; state in, state out."""

    def forward(
        self, tokens: Int64[Tensor, "T B"], state: tuple[Any, ...] | None = None
    ) -> tuple[Float[Tensor, "T B V"], tuple[Any, ...]]:
        """Return (logits, state of each layer).

        Raises:
            ValueError: a token is not in the vocabulary, or the state has other samples.
        """
        self.require_known(tokens)
        reading = self.read(self.embedding(tokens), state)
        logits: Tensor = self.head(reading.hidden)
        return logits, reading.state


class MixerBlock(nn.Module):
    """A mixer and a gated linear unit, each with a norm before it and a residual around it."""

    def __init__(self, sizes: BlockSizes, layer: int, causal: bool = True) -> None:
        super().__init__()
        width, hidden, layers = sizes.width, sizes.hidden, len(sizes.layers)
        self.mixer_norm = nn.RMSNorm(width, eps=sizes.eps)
        self.mixer: Mixer = make_mixer(sizes, layer, causal)
        self.has_floor = MIXERS[sizes.layers[layer]].has_floor
        self.unit_norm = nn.RMSNorm(width, eps=sizes.eps)
        self.up = make_linear(sizes, width, 2 * hidden)
        self.down = make_linear(sizes, hidden, width)
        nn.init.normal_(self.up.weight, std=SPREAD)
        nn.init.normal_(self.down.weight, std=SPREAD / (2 * layers) ** 0.5)

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any, floor: Float[Tensor, " D"] | None
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (x, state of the mixer)."""
        mixed, state = self.mix(x, state, floor)
        x = x + mixed
        return x + self.transform(x), state

    def mix(
        self, x: Float[Tensor, "T B D"], state: Any, floor: Float[Tensor, " D"] | None
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (output of the mixer for the normalised x, its state)."""
        row = {"floor": floor} if self.has_floor else {}
        out: tuple[Tensor, Any] = self.mixer(self.mixer_norm(x), state, **row)
        return out

    def transform(self, x: Float[Tensor, "T B D"]) -> Float[Tensor, "T B D"]:
        """Return the output of the gated linear unit for the normalised x."""
        gate, value = self.up(self.unit_norm(x)).chunk(2, -1)
        out: Tensor = self.down(F.silu(gate) * value)
        return out


def make_blocks(
    sizes: BlockSizes, block: type[MixerBlock], causal: bool = True
) -> nn.ModuleList:
    """Return the blocks of a stack; for ``causal`` see :class:`MixerModel`."""
    return nn.ModuleList(block(sizes, k, causal) for k in range(len(sizes.layers)))


def make_floors(sizes: BlockSizes) -> nn.Parameter | None:
    """Return one row of floors per layer, or None if no mixer has a floor."""
    floored = any(MIXERS[name].has_floor for name in sizes.layers)
    return nn.Parameter(torch.zeros(len(sizes.layers), sizes.width)) if floored else None


def run_blocks(
    blocks: nn.ModuleList,
    floors: Float[Tensor, "L D"] | None,
    x: Float[Tensor, "T B D"],
    state: Sequence[Any] | None,
    keep_layers: bool = False,
) -> tuple[Float[Tensor, "T B D"], tuple[Any, ...], tuple[Float[Tensor, "T B D"], ...]]:
    """Return (output of the last of L blocks, states of all, outputs of all if kept)."""
    after, layers = list[Any](), list[Tensor]()
    rows = None if floors is None else layer_floors(floors)
    for k, block in enumerate(blocks):
        row = None if rows is None else rows[k]
        x, own = block(x, None if state is None else state[k], row)
        after.append(own)
        if keep_layers:
            layers.append(x)
    return x, tuple(after), tuple(layers)


def list_linear_problems(sizes: BlockSizes) -> list[str]:
    """Return the fields that maps of this kind do not read, each with its cure."""
    fields = (
        ("learns_threshold", sizes.learns_threshold, False, "spiking"),
        ("bits", sizes.bits, 8, "ternary"),
    )
    return [
        f"{name} is {value}; it must be {none} for linear {sizes.linear!r}. Use --set "
        f"{name}={none}, or linear={kind}."
        for name, value, none, kind in fields
        if value != none and sizes.linear != kind
    ]


def make_linear(sizes: BlockSizes, inputs: int, outputs: int) -> nn.Linear | BitLinear:
    """Return a linear map of the configuration's kind."""
    if sizes.linear == "float":
        return nn.Linear(inputs, outputs, bias=False)
    if sizes.linear == "int8":
        return BitLinear(inputs, outputs, eps=sizes.eps, rounding=round_to_bytes)
    count = LearnedCount if sizes.learns_threshold else SpikeCount
    spiking = sizes.linear == "spiking"
    quantise = count(sizes.ticks, sizes.threshold) if spiking else AbsMax(sizes.bits)
    return BitLinear(inputs, outputs, quantise, eps=sizes.eps)


def make_mixer(sizes: BlockSizes, layer: int, causal: bool = True) -> Mixer:
    """Return the mixer of a layer; ``causal`` matters only to mixers that can do without.

    Raises:
        ValueError: the heads do not divide the width, or the width does not suit the mixer.
    """

    def linear(inputs: int, outputs: int) -> nn.Module:
        return make_linear(sizes, inputs, outputs)

    mixer = MIXERS[sizes.layers[layer]]
    values = {
        "heads": sizes.heads,
        "eps": sizes.eps,
        "limit": sizes.limit or None,
        "layer": layer,
        "layers": len(sizes.layers),
        "causal": causal,
    }
    own = {name: values[name] for name in mixer.arguments}
    return mixer.make(sizes.width, linear=linear, **own)

"""RWKV-5 (Eagle), 6 (Finch) and 7 (Goose) as language models that load published checkpoints.

    x = ln0(emb)
    each block: x += att(ln1(x)), x += ffn(ln2(x))
    logits = head(ln_out(x))

Sources: Peng et al. 2024, arXiv 2404.05892, and 2025, arXiv 2503.14456. All tensors have the
names and shapes of the files at huggingface.co/BlinkDL (RWKV-5 World: version 5.2).
Axes: T tokens, B samples, D channels, C words of the vocabulary.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuro.base.arguments import describe
from neuro.io.store import read_json
from neuro.mixers import RWKV5, RWKV6, RWKV7, TimeMixState
from neuro.mixers.mixer import CURE, require_positive
from neuro.mixers.rwkv import shift_tokens
from tasks.language.generate import read_parts
from tasks.language.rwkv_names import (
    TAKE,
    UNUSED,
    find_version,
    rename_huggingface,
    require_dense,
)
from tasks.language.tensor_files import (
    DAMAGE,
    list_misfits,
    read_tensor_file,
    read_tensors,
)

TIME_MIX: Mapping[int, Any] = {5: RWKV5, 6: RWKV6, 7: RWKV7}
OF_FIRST = (("decay", "w"), ("rate", "a"), ("gate", "g"))  # low-rank maps of every layer
SHIFT = {5: "time_mix", 6: "time_maa", 7: "x"}  # how names of token shifts begin


@dataclass(frozen=True, kw_only=True)
class RWKVSizes:
    """Sizes of a model.

    hidden: channels inside a channel mixing, published as 3.5 width, in version 7 as 4 width.
    ranks: of the low-rank maps of versions 6 and 7, by the names of the arguments of
        :class:`neuro.mixers.RWKV6` and ``RWKV7``; those without an entry have the default.
    """

    version: int
    vocabulary: int
    width: int
    layers: int
    hidden: int
    head_width: int = 64
    ranks: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.version not in TIME_MIX:
            raise ValueError(f"RWKVSizes.version must be 5, 6 or 7, got {self.version}")
        sizes = {k: v for k, v in vars(self).items() if k not in ("version", "ranks")}
        require_positive("RWKVSizes", **sizes, **self.ranks)


class BlockState(NamedTuple):
    """State of a block: that of its time mixing, and the last input of its channel mixing."""

    att: TimeMixState
    ffn: Float[Tensor, "B D"]


State = tuple[BlockState, ...]


class ChannelMix(nn.Module):
    """y = sigmoid(W_r x_r) (W_v relu(W_k x_k)^2), x_k and x_r shifted as in time mixing.

    Version 7 leaves out the sigmoid.
    """

    def __init__(self, sizes: RWKVSizes, layer: int) -> None:
        super().__init__()
        self.version = sizes.version
        ramp, rest = torch.arange(sizes.width) / sizes.width, 1 - layer / sizes.layers
        power = {5: rest, 6: rest**3, 7: rest**4}[self.version]
        mix = ramp**power if self.version == 5 else 1 - ramp**power
        for name in "k" if self.version == 7 else "kr":
            shift = f"{SHIFT[self.version]}_{name}"
            self.register_parameter(shift, nn.Parameter(mix.view(1, 1, -1)))
        self.key = nn.Linear(sizes.width, sizes.hidden, bias=False)
        if self.version != 7:
            self.receptance = nn.Linear(sizes.width, sizes.width, bias=False)
        self.value = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(
        self, x: Float[Tensor, "T B D"], last: Float[Tensor, "B D"]
    ) -> tuple[Float[Tensor, "T B D"], Float[Tensor, "B D"]]:
        """Return (y, x of the last token)."""
        before = shift_tokens(x, last)

        def shift(name: str) -> Tensor:
            mu = getattr(self, f"{SHIFT[self.version]}_{name}")
            mu = mu if self.version == 5 else 1 - mu  # share of the current token
            return x * mu + before * (1 - mu)

        y = self.value(self.key(shift("k")).relu().square())
        if self.version != 7:
            y = torch.sigmoid(self.receptance(shift("r"))) * y
        return y, x[-1]


class RWKVBlock(nn.Module):
    """Time and channel mixing, each after a layer norm; block 0 begins with one more norm."""

    def __init__(self, sizes: RWKVSizes, layer: int) -> None:
        super().__init__()
        d, head = sizes.width, sizes.head_width
        if layer == 0:
            self.ln0 = nn.LayerNorm(d)
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        more = {"residual": layer > 0} if sizes.version == 7 else {}
        self.att = TIME_MIX[sizes.version](d, head, layer, sizes.layers, **more, **sizes.ranks)
        self.ffn = ChannelMix(sizes, layer)

    def forward(
        self,
        x: Float[Tensor, "T B D"],
        state: BlockState | None,
        first: Float[Tensor, "T B D"] | None,
    ) -> tuple[Float[Tensor, "T B D"], BlockState, Float[Tensor, "T B D"] | None]:
        """Return (y, state, values of the first layer's time mixing in version 7)."""
        x = self.ln0(x) if hasattr(self, "ln0") else x
        normal, own = self.ln1(x), None if state is None else state.att
        options = {}
        if isinstance(self.att, RWKV7):
            first = self.att.make_values(normal, own) if first is None else first
            options = {"first": first}
        y, att = self.att(normal, own, **options)
        x = x + y
        last = x.new_zeros(x.shape[1:]) if state is None else state.ffn
        y, ffn = self.ffn(self.ln2(x), last)
        return x + y, BlockState(att, ffn), first


class RWKV(nn.Module):
    """A language model: logits, state = model(tokens, state)."""

    def __init__(self, sizes: RWKVSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.emb = nn.Embedding(sizes.vocabulary, sizes.width)
        self.blocks = nn.ModuleList(RWKVBlock(sizes, layer) for layer in range(sizes.layers))
        self.ln_out = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)

    def forward(
        self, tokens: Int[Tensor, "T B"], state: State | None = None
    ) -> tuple[Float[Tensor, "T B C"], State]:
        """Return (logits of the next token, state).

        Raises:
            ValueError: there is no token, the vocabulary lacks a token, or the state belongs to
                another model or another number of samples.
        """
        words = self.sizes.vocabulary
        if not len(tokens):
            raise ValueError("RWKV: give at least one token")
        if (
            tokens.device.type != "meta"
            and not 0 <= int(tokens.min()) <= int(tokens.max()) < words
        ):
            raise ValueError(
                f"RWKV: tokens are from 0 to {words - 1}, got {int(tokens.min())} to "
                f"{int(tokens.max())}; the tokenizer is of another vocabulary"
            )
        if state is not None and len(state) != len(self.blocks):
            raise ValueError(
                f"RWKV: its state has {len(self.blocks)} blocks, got {len(state)}; {CURE}"
            )
        x, after, first = self.emb(tokens), [], None
        for block, own in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, new, first = block(x, own, first)
            after.append(new)
        return self.head(self.ln_out(x)), tuple(after)

    def state_size(self) -> int:
        """Return the number of values in the state of a sample, after any number of tokens."""
        att: Any = self.blocks[0].att
        return self.sizes.layers * (int(att.state_size()) + self.sizes.width)


@torch.no_grad()
def initialise(model: RWKV) -> None:
    """Set all matrices to the published initial values; vectors already have theirs.

    Every block at first adds 0 to the residual stream.
    """
    words, width = model.head.weight.shape
    nn.init.uniform_(model.emb.weight, -1e-4, 1e-4)
    nn.init.orthogonal_(model.head.weight, gain=0.5 * max(1.0, words / width) ** 0.5)
    for block in model.blocks:
        att: Any = block.att
        ffn: Any = block.ffn
        for weight in (att.output.weight, ffn.value.weight):
            nn.init.zeros_(weight)
        if model.sizes.version != 7:
            nn.init.zeros_(ffn.receptance.weight)
        gates = [(att.gate.weight, 0.1)] if att.GATED else []
        for weight, gain in (
            (att.key.weight, 0.1),
            *gates,
            (att.receptance.weight, 1.0),
            (att.value.weight, 1.0),
            (ffn.key.weight, 1.0),
        ):
            nn.init.orthogonal_(weight, gain=gain)


def load_rwkv(path: str | Path) -> RWKV:
    """Return the model of a published checkpoint in float32.

    path: a file, ``.pth`` or ``.safetensors``, or a folder of Hugging Face with a config.json.

    Raises:
        ValueError: the file is damaged, or not a checkpoint of RWKV-5.2, 6 or 7.
        StoreError: the folder's config.json is missing or no JSON.
    """
    path = Path(path)
    if path.is_dir():
        values = read_json(path / "config.json")
        kind = values.get("model_type") if isinstance(values, Mapping) else None
        tensors = read_tensors(path)
        try:
            return make_rwkv(rename_huggingface(tensors, str(kind)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        tensors = read_tensor_file(path)
    except DAMAGE as error:
        raise ValueError(
            f"{path}: no checkpoint that can be read ({error}); give a whole file as RWKV is "
            "published (.pth), or one with the same tensors (.safetensors)"
        ) from error
    try:
        if not isinstance(tensors, Mapping):
            raise ValueError(f"holds {describe(tensors)}, and not tensors by name; {TAKE}")
        return make_rwkv(tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def make_rwkv(tensors: Mapping[Any, Any]) -> RWKV:
    """Return the model with the tensors of a checkpoint, given by name, in float32.

    Raises:
        ValueError: the tensors do not fit RWKV-5.2, 6 or 7; the message names those that are
            missing, unknown, of another shape, not dense, not floating-point, or not finite.
    """
    require_dense(tensors)
    sizes = read_sizes(tensors)
    if sizes.version == 7:
        tensors = {n: t for n, t in tensors.items() if n not in UNUSED}
    with torch.device("meta"):
        model = RWKV(sizes)
    if wrong := list_misfits(model, tensors):
        raise ValueError(f"not the tensors of RWKV-{sizes.version}: {'; '.join(wrong[:9])}")
    model.load_state_dict({n: t.float() for n, t in tensors.items()}, assign=True)
    return model.requires_grad_(False)


def read_sizes(tensors: Mapping[str, Tensor]) -> RWKVSizes:
    """Derive the sizes of a model from the tensors of a checkpoint.

    Raises:
        ValueError: a tensor that determines a size is missing or has another number of axes, or
            blocks are not numbered consecutively.
    """

    def shape(name: str, axes: int) -> Sequence[int]:
        shape = getattr(tensors.get(name), "shape", None)
        if shape is None or len(shape) != axes:
            what = "has none" if shape is None else f"has shape {tuple(shape)}"
            raise ValueError(
                f"a checkpoint of RWKV-5.2, 6 or 7 has a tensor {name} of {axes} axes; this "
                f"{what}: {TAKE}"
            )
        return tuple(shape)

    version, att = find_version(tensors), "blocks.0.att"
    words, width = shape("emb.weight", 2)
    layers = {int(m[1]) for n in tensors if (m := re.match(r"blocks\.(\d{1,9})\.", n))}
    if layers != set(range(len(layers))):
        gap = min(set(range(len(layers))) - layers)
        raise ValueError(
            f"a checkpoint of RWKV has its blocks from 0 on without gaps; this has block "
            f"{max(layers)} and no block {gap}: take a whole file, as it is published"
        )
    ranks: dict[str, int] = {}
    if version == 6:
        ranks["mix_rank"] = shape(f"{att}.time_maa_w2", 3)[1]
        ranks["decay_rank"] = shape(f"{att}.time_decay_w2", 2)[0]
    elif version == 7:
        ranks = {f"{m}_rank": shape(f"{att}.{n}2", 2)[0] for m, n in OF_FIRST}
        if len(layers) > 1:
            ranks["value_rank"] = shape("blocks.1.att.v2", 2)[0]
    return RWKVSizes(
        version=version,
        vocabulary=words,
        width=width,
        layers=len(layers),
        hidden=shape("blocks.0.ffn.key.weight", 2)[0],
        head_width=shape(f"{att}.{'r_k' if version == 7 else 'time_faaaa'}", 2)[1],
        ranks=ranks,
    )


def generate(
    model: RWKV,
    prompt: Sequence[int],
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Continue a prompt: yield token after token, without end, in constant memory.

    temperature: divides the logits; 0 takes the most probable token.
    generator: draws the tokens; None uses torch's global one.

    Raises:
        ValueError: the temperature is negative, the prompt is empty, the vocabulary lacks one
            of its tokens, or the logits are not finite.
    """
    if not temperature >= 0:
        raise ValueError(f"temperature must be >= 0, got {temperature}; 1 is usual")
    tokens, state = torch.tensor(list(prompt), dtype=torch.int64)[:, None], None
    while True:
        last, state = read_parts(model, tokens, state)
        if temperature:
            share = (last / temperature).softmax(-1)
            token = int(torch.multinomial(share, 1, generator=generator))
        else:
            token = int(last.argmax())
        yield token
        tokens = torch.tensor([[token]])

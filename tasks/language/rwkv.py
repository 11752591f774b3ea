"""RWKV-5 (Eagle) and RWKV-6 (Finch) as language models; published checkpoints load by name.

    x = ln0(emb)
    each block: x += att(ln1(x)), x += ffn(ln2(x))
    logits = head(ln_out(x))

Source: Peng et al. 2024, arXiv 2404.05892. All tensors have the names and shapes of the files
at huggingface.co/BlinkDL (RWKV-5 World: version 5.2).
Axes: T tokens, B samples, D channels, C words of the vocabulary.
"""

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from neuro.base.arguments import describe
from neuro.mixers import RWKV5, RWKV6, TimeMixState
from neuro.mixers.mixer import CURE, require_positive
from neuro.mixers.rwkv import shift_tokens
from tasks.language.generate import read_parts

TAKE = "take a file named RWKV-5-World or RWKV-x060"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
DAMAGE = (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError, SafetensorError)


@dataclass(frozen=True, kw_only=True)
class RWKVSizes:
    """Sizes of a model.

    hidden: channels inside a channel mixing, published as 3.5 width.
    mix_rank, decay_rank: ranks of the low-rank maps of version 6.
    """

    version: int
    vocabulary: int
    width: int
    layers: int
    hidden: int
    head_width: int = 64
    mix_rank: int = 32
    decay_rank: int = 64

    def __post_init__(self) -> None:
        if self.version not in (5, 6):
            raise ValueError(f"Sizes.version must be 5 or 6, got {self.version}")
        sizes = {k: v for k, v in vars(self).items() if k != "version"}
        require_positive("RWKVSizes", **sizes)


class BlockState(NamedTuple):
    """State of a block: that of its time mixing, and the last input of its channel mixing."""

    att: TimeMixState
    ffn: Float[Tensor, "B D"]


State = tuple[BlockState, ...]


class ChannelMix(nn.Module):
    """y = sigmoid(W_r x_r) (W_v relu(W_k x_k)^2), x_k and x_r shifted as in time mixing."""

    def __init__(self, sizes: RWKVSizes, layer: int) -> None:
        super().__init__()
        self.eagle = sizes.version == 5
        ramp, rest = torch.arange(sizes.width) / sizes.width, 1 - layer / sizes.layers
        mix = ramp**rest if self.eagle else 1 - ramp ** (rest**3)
        self.prefix = "time_mix" if self.eagle else "time_maa"
        for name in "kr":
            self.register_parameter(f"{self.prefix}_{name}", nn.Parameter(mix.view(1, 1, -1)))
        self.key = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.receptance = nn.Linear(sizes.width, sizes.width, bias=False)
        self.value = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(
        self, x: Float[Tensor, "T B D"], last: Float[Tensor, "B D"]
    ) -> tuple[Float[Tensor, "T B D"], Float[Tensor, "B D"]]:
        """Return (y, x of the last token)."""
        before = shift_tokens(x, last)
        k, r = (getattr(self, f"{self.prefix}_{name}") for name in "kr")
        k, r = (mu if self.eagle else 1 - mu for mu in (k, r))  # share of the current token
        x_k, x_r = (x * mu + before * (1 - mu) for mu in (k, r))
        y = torch.sigmoid(self.receptance(x_r)) * self.value(self.key(x_k).relu().square())
        return y, x[-1]


class RWKVBlock(nn.Module):
    """Time and channel mixing, each after a layer norm; block 0 begins with one more norm."""

    def __init__(self, sizes: RWKVSizes, layer: int) -> None:
        super().__init__()
        d, head = sizes.width, sizes.head_width
        if layer == 0:
            self.ln0 = nn.LayerNorm(d)
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        if sizes.version == 5:
            self.att: RWKV5 | RWKV6 = RWKV5(d, head, layer, sizes.layers)
        else:
            self.att = RWKV6(
                d,
                head,
                layer,
                sizes.layers,
                mix_rank=sizes.mix_rank,
                decay_rank=sizes.decay_rank,
            )
        self.ffn = ChannelMix(sizes, layer)

    def forward(
        self, x: Float[Tensor, "T B D"], state: BlockState | None
    ) -> tuple[Float[Tensor, "T B D"], BlockState]:
        """Return (y, state)."""
        x = self.ln0(x) if hasattr(self, "ln0") else x
        y, att = self.att(self.ln1(x), None if state is None else state.att)
        x = x + y
        last = x.new_zeros(x.shape[1:]) if state is None else state.ffn
        y, ffn = self.ffn(self.ln2(x), last)
        return x + y, BlockState(att, ffn)


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
        x, after = self.emb(tokens), []
        for block, own in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, new = block(x, own)
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
        for weight in (att.output.weight, ffn.value.weight, ffn.receptance.weight):
            nn.init.zeros_(weight)
        for weight, gain in (
            (att.key.weight, 0.1),
            (att.gate.weight, 0.1),
            (att.receptance.weight, 1.0),
            (att.value.weight, 1.0),
            (ffn.key.weight, 1.0),
        ):
            nn.init.orthogonal_(weight, gain=gain)


def load_rwkv(path: str | Path) -> RWKV:
    """Return the model of a published checkpoint, ``.pth`` or ``.safetensors``, in float32.

    Raises:
        ValueError: the file is damaged, or not a checkpoint of RWKV-5.2 or 6.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
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
        ValueError: the tensors do not fit RWKV-5.2 or 6; the message names those that are
            missing, unknown, of another shape, not dense, not floating-point, or not finite.
    """
    _require_dense(tensors)
    sizes = read_sizes(tensors)
    with torch.device("meta"):
        model = RWKV(sizes)
    need = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    shapes = {name: tuple(p.shape) for name, p in tensors.items()}
    wrong = [f"{n} is missing" for n in need if n not in shapes]
    wrong += [f"{n} is unknown" for n in shapes if n not in need]
    wrong += [f"{n} is {shapes[n]}, not {s}" for n, s in need.items() if shapes.get(n, s) != s]
    wrong += [f"{n} is not finite" for n, t in tensors.items() if not t.isfinite().all()]
    if wrong:
        raise ValueError(f"not the tensors of RWKV-{sizes.version}: {'; '.join(wrong[:9])}")
    model.load_state_dict({n: t.float() for n, t in tensors.items()}, assign=True)
    return model.requires_grad_(False)


def _require_dense(tensors: Mapping[Any, Any]) -> None:
    """Raise unless a checkpoint maps names to dense tensors of floating-point numbers.

    Raises:
        ValueError: names the entries that are something else.
    """
    wrong = []
    for name, t in tensors.items():
        if not isinstance(name, str) or not isinstance(t, Tensor):
            wrong.append(f"{name!r} is {describe(t)}")
        elif t.is_meta or t.is_nested or t.layout is not torch.strided:
            wrong.append(f"{name} has no values" if t.is_meta else f"{name} is not dense")
        elif t.dtype not in FLOATS:
            wrong.append(f"{name} holds {t.dtype}")
    if wrong:
        raise ValueError(
            f"not the tensors of RWKV, dense, of 16, 32 or 64 bits: {'; '.join(wrong[:9])}"
        )


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
                f"a checkpoint of RWKV-5.2 or 6 has a tensor {name} of {axes} axes; this "
                f"{what}: {TAKE}"
            )
        return tuple(shape)

    words, width = shape("emb.weight", 2)
    att, ranks = "blocks.0.att", {}
    finch = f"{att}.time_maa_x" in tensors
    if finch:
        ranks = {
            "mix_rank": shape(f"{att}.time_maa_w2", 3)[1],
            "decay_rank": shape(f"{att}.time_decay_w2", 2)[0],
        }
    layers = {int(m[1]) for n in tensors if (m := re.match(r"blocks\.(\d{1,9})\.", n))}
    if layers != set(range(len(layers))):
        gap = min(set(range(len(layers))) - layers)
        raise ValueError(
            f"a checkpoint of RWKV has its blocks from 0 on without gaps; this has block "
            f"{max(layers)} and no block {gap}: take a whole file, as it is published"
        )
    return RWKVSizes(
        version=6 if finch else 5,
        vocabulary=words,
        width=width,
        layers=len(layers),
        hidden=shape("blocks.0.ffn.key.weight", 2)[0],
        head_width=shape(f"{att}.time_faaaa", 2)[1],
        **ranks,
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

"""The network: from noisy images, times and labels to velocities; arflow carries a state.

    h = x + a(c) attention(norm(x), c)        y = h + b(c) mlp(norm(h))
    norm(x) = LayerNorm(x) (1 + scale(c)) + shift(c)        c = time + label

Gates a and b start at zero, so a fresh block returns its input and a fresh network returns
zeros (Peebles and Xie 2023, arXiv 2212.09748; SiT: Ma et al. 2024, arXiv 2401.08740).
Axes: I images of a sequence, B samples, C channels, Y X pixels, N tokens, P values of a patch,
D channels of a token, H heads, K channels of a head.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.nn.ternary import BitLinear, SpikeCount
from tasks.flow.attention import CURE, attend_inside, run_hybrid
from tasks.flow.config import FlowConfig
from tasks.runs.configuration import require_sound

SPREAD = 0.7  # sqrt(D) x deviation of initial embedding weights: 0.02 for 1,152 channels
FREQUENCIES = 256  # numbers that encode a time
EPS = 1e-6
TEMPERATURE = 16.0  # divides the logarithm of the decay

State = tuple[Tensor, ...]  # B H K K per block; () for networks without a state


class ImageAttention(nn.Module):
    """Softmax attention inside each image: y = W_o softmax(q k^T / sqrt K) v."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.heads, self.keys = config.heads, config.width // config.heads
        self.qkv = make_map(config, config.width, 3 * config.width)
        self.output = make_map(config, config.width, config.width)

    def forward(
        self,
        x: Float[Tensor, "I B N D"],
        c: Float[Tensor, "I B D"],  # noqa: ARG002
        state: Tensor | None,  # noqa: ARG002
    ) -> tuple[Float[Tensor, "I B N D"], None]:
        """Return (y, None)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        y = attend_inside(q, self.keys**-0.5 * k, v)
        return self.output(y.flatten(-2)), None


class HybridAttention(nn.Module):
    """Softmax inside an image, a decaying matrix across images.

    q, k, v: linear maps of x, each divided by its root mean square over all channels; k is also
    divided by sqrt K. g = logsigmoid(W_g (x + c)) / 16.
    y = W_o (RMSNorm_head(attention) SiLU(W_s x)).
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.keys = config.heads, width // config.heads
        self.qkv = make_map(config, width, 3 * width)
        self.output = make_map(config, width, width)
        self.decay = nn.Linear(width, config.heads, bias=False)
        self.gate = make_map(config, width, width, bias=False)
        self.norm = nn.RMSNorm(self.keys, eps=EPS)

    def forward(
        self,
        x: Float[Tensor, "I B N D"],
        c: Float[Tensor, "I B D"],
        state: Tensor | None,
    ) -> tuple[Float[Tensor, "I B N D"], Float[Tensor, "B H K K"]]:
        """Return (y, state after the last image)."""
        y, state = run_hybrid(*self.project(x, c), state)
        return self.output(self.norm(y).flatten(-2) * F.silu(self.gate(x))), state

    def project(
        self, x: Float[Tensor, "I B N D"], c: Float[Tensor, "I B D"]
    ) -> tuple[Tensor, Tensor, Tensor, Float[Tensor, "I B N H"]]:
        """Return (q, k, v, g); q, k and v have the axes I B N H K."""
        parts = (
            F.rms_norm(part, part.shape[-1:], eps=EPS) for part in self.qkv(x).chunk(3, -1)
        )
        q, k, v = (split_heads(part, self.heads) for part in parts)
        g = F.logsigmoid(self.decay(x + c[:, :, None])) / TEMPERATURE
        return q, self.keys**-0.5 * k, v, g


class FlowBlock(nn.Module):
    """Attention and an MLP, each after a norm that time and label scale and shift."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.attention: ImageAttention | HybridAttention
        self.attention = (HybridAttention if config.has_state else ImageAttention)(config)
        self.up = make_map(config, width, config.hidden)
        self.down = make_map(config, config.hidden, width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(
        self,
        x: Float[Tensor, "I B N D"],
        c: Float[Tensor, "I B D"],
        state: Tensor | None,
    ) -> tuple[Float[Tensor, "I B N D"], Float[Tensor, "B H K K"] | None]:
        """Return (x, state)."""
        set_by = self.modulation(F.silu(c))[:, :, None].chunk(6, -1)
        shift, scale, opens, unit_shift, unit_scale, unit_opens = set_by
        y, state = self.attention(modulate(x, shift, scale), c, state)
        x = x + opens * y
        inner = F.gelu(self.up(modulate(x, unit_shift, unit_scale)), approximate="tanh")
        return x + unit_opens * self.down(inner), state


class FlowModel(nn.Module):
    """Predicts the velocities of noisy images and carries a state from image to image."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        values = config.colours * config.patch**2
        self.tokens = nn.Linear(values, width)
        self.time = nn.Sequential(
            nn.Linear(FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.labels = nn.Embedding(config.classes + 1, width)  # the last row means no label
        self.blocks = nn.ModuleList(FlowBlock(config) for _ in range(config.depth))
        self.last_modulation = nn.Linear(width, 2 * width)
        self.velocity = nn.Linear(width, values * (2 if config.two_outputs else 1))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        spread = SPREAD / self.config.width**0.5
        for layer in (self.time[0], self.time[2], self.labels):
            nn.init.normal_(layer.weight, std=spread)  # type: ignore[arg-type]
        closed = [m for name, m in self.named_modules() if name.endswith("modulation")]
        for layer in (*closed, self.velocity):
            nn.init.zeros_(layer.weight)

    def forward(
        self,
        x: Float[Tensor, "I B _ _ _"],
        t: Float[Tensor, "I B"],
        labels: Int64[Tensor, "I B"],
        state: State = (),
    ) -> tuple[Float[Tensor, "I B C Y X"], State]:
        """Return (velocities, state after the last image).

        x: noisy images. t: 0 is noise, 1 an image. labels: ``config.classes`` means no label.
        state: () before the first image.

        Raises:
            ValueError: the images have another shape, or the state belongs to another network
                or another number of samples.
        """
        own = (self.config.colours, self.config.side, self.config.side)
        if tuple(x.shape[2:]) != own:
            raise ValueError(
                f"flow: images have shape {tuple(x.shape[2:])}, and the network takes {own}; "
                "use the data that it was made for"
            )
        if len(state) not in (0, len(self.blocks)):
            raise ValueError(
                f"flow: the network has {len(self.blocks)} blocks, and the state is of "
                f"{len(state)}; {CURE}"
            )
        c = self.time(embed_time(t)) + self.labels(labels)
        h = self.tokens(split_patches(x, self.config.patch)) + embed_places(self.config, x)
        after = list[Tensor]()
        for k, block in enumerate(self.blocks):
            h, own_state = block(h, c, state[k] if state else None)
            if own_state is not None:
                after.append(own_state)
        shift, scale = self.last_modulation(F.silu(c))[:, :, None].chunk(2, -1)
        y = self.velocity(modulate(h, shift, scale))
        if self.config.two_outputs:
            y = y.chunk(2, -1)[0]
        return join_patches(y, self.config), tuple(after)


def make_map(config: FlowConfig, inputs: int, outputs: int, bias: bool = True) -> nn.Module:
    """Return a linear map of tokens; spiking maps have no bias."""
    if config.maps == "float":
        return nn.Linear(inputs, outputs, bias=bias)
    return BitLinear(inputs, outputs, SpikeCount(config.ticks, config.threshold))


def modulate(
    x: Float[Tensor, "I B N D"],
    shift: Float[Tensor, "I B 1 D"],
    scale: Float[Tensor, "I B 1 D"],
) -> Float[Tensor, "I B N D"]:
    """Return LayerNorm(x) (1 + scale) + shift."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


def split_heads(x: Float[Tensor, "I B N D"], heads: int) -> Float[Tensor, "I B N H K"]:
    """Split the channels of tokens into heads."""
    return x.reshape(*x.shape[:-1], heads, -1)


def embed_time(t: Float[Tensor, "*B"]) -> Float[Tensor, "*B 256"]:
    """Return cosines and sines of t at frequencies from 1 down to 1e-4."""
    half = FREQUENCIES // 2
    steps = torch.arange(half, device=t.device, dtype=t.dtype)
    angle = t[..., None] * (-math.log(1e4) * steps / half).exp()
    return torch.cat([angle.cos(), angle.sin()], -1)


def embed_places(config: FlowConfig, like: Tensor) -> Float[Tensor, "N D"]:
    """Return the position embedding: sines and cosines of each token's row and column."""
    n, quarter = config.side // config.patch, config.width // 4
    steps = torch.arange(quarter, device=like.device, dtype=like.dtype)
    angle = (
        torch.arange(n, device=like.device)[:, None] * (-math.log(1e4) * steps / quarter).exp()
    )
    line = torch.cat([angle.sin(), angle.cos()], -1)
    rows, columns = line[:, None].expand(n, n, -1), line[None].expand(n, n, -1)
    return torch.cat([columns, rows], -1).flatten(0, 1)


def split_patches(x: Float[Tensor, "I B C Y X"], patch: int) -> Float[Tensor, "I B N P"]:
    """Return the values of each patch, row by row."""
    images, samples, channels, height, width = x.shape
    rows, columns = height // patch, width // patch
    parts = x.reshape(images, samples, channels, rows, patch, columns, patch)
    return parts.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)


def join_patches(y: Float[Tensor, "I B N P"], config: FlowConfig) -> Float[Tensor, "I B C Y X"]:
    """Join patches into images: the inverse of :func:`split_patches`."""
    n, p = config.side // config.patch, config.patch
    parts = y.reshape(*y.shape[:2], n, n, config.colours, p, p)
    return parts.permute(0, 1, 4, 2, 5, 3, 6).flatten(5).flatten(3, 4)


def build(config: FlowConfig) -> FlowModel:
    """Return a fresh model.

    Raises:
        ValueError: the configuration is wrong; the message lists every problem.
    """
    require_sound(config)
    return FlowModel(config)

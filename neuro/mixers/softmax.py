"""Softmax attention as a core and as a mixer; its state is all tokens so far.

    y[t] = sum_s w[s] v[s]        w = softmax over s <= t of q[t].k[s]

Without ``causal`` the softmax is over all s, so each token also reads later ones. Callers scale
q, for example by 1 / sqrt(K).
Axes: T tokens, P earlier tokens, B samples, H heads, K channels of keys, V of values.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuro.mixers.arguments import require_heads, require_shape
from neuro.mixers.mixer import (
    MakeLinear,
    Mixer,
    divide,
    make_linear,
    require_no_state,
    require_positive,
    rotate,
    split_heads,
)


class KeysValues(NamedTuple):
    """Keys and values of all tokens so far."""

    k: Float[Tensor, "P B H K"]
    v: Float[Tensor, "P B H V"]


def run_softmax_recurrence(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    state: KeysValues | None = None,
    causal: bool = True,
) -> tuple[Float[Tensor, "T B H V"], KeysValues]:
    """Return (y, all keys and values), token by token: the reference for run_softmax."""
    _require_shapes(q, k, v, state)
    after = _append(k, v, state)
    first, out = len(after.k) - len(k), []
    for t in range(len(q)):
        read = first + t + 1 if causal else len(after.k)
        keys, values = (x[:read] for x in after)
        weight = (keys * q[t]).sum(-1, keepdim=True).softmax(0)
        out.append((weight * values).sum(0))
    return torch.stack(out), after


def run_softmax(
    q: Float[Tensor, "T B H K"],
    k: Float[Tensor, "T B H K"],
    v: Float[Tensor, "T B H V"],
    state: KeysValues | None = None,
    causal: bool = True,
) -> tuple[Float[Tensor, "T B H V"], KeysValues]:
    """Return (y, all keys and values), using torch's scaled-dot-product attention.

    Without a state, the second value is the arguments k and v themselves.
    causal: whether no token reads a later one.
    """
    _require_shapes(q, k, v, state)
    after = _append(k, v, state)
    before, mask = len(after.k) - len(k), None
    hidden = causal and len(k) > 1  # some tokens may not read some others
    if before and hidden:
        shape = len(k), len(after.k)
        mask = torch.ones(shape, dtype=torch.bool, device=q.device).tril(before)
    q, keys, values = (x.permute(1, 2, 0, 3) for x in (q, *after))
    if q.is_meta and mask is None:  # the general path would allocate all scores
        y, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, keys, values, 0.0, hidden, scale=1.0
        )
        return y.permute(2, 0, 1, 3), after
    y = F.scaled_dot_product_attention(
        q, keys, values, attn_mask=mask, is_causal=hidden and mask is None, scale=1.0
    )
    return y.permute(2, 0, 1, 3), after


def _require_shapes(q: Tensor, k: Tensor, v: Tensor, state: KeysValues | None) -> None:
    _, samples, heads, keys, values = require_heads("softmax", q, k, v)
    if state is not None:
        before = len(state.k)
        require_shape("softmax", "k of the state", state.k, (before, samples, heads, keys))
        require_shape("softmax", "v of the state", state.v, (before, samples, heads, values))


def _append(k: Tensor, v: Tensor, state: KeysValues | None) -> KeysValues:
    if state is None:
        return KeysValues(k, v)
    return KeysValues(torch.cat([state.k, k]), torch.cat([state.v, v]))


class SoftmaxAttention(Mixer):
    """Attention: y = W_o softmax(q k / sqrt K) v, q and k rotated; K = D / H.

    The state is all keys and values so far.

    limit: largest number of tokens; None: unlimited.
    causal: whether no token reads a later one. If not, all tokens are read at once, and there
        is no state (None).
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        limit: int | None = None,
        linear: MakeLinear = make_linear,
        *,
        causal: bool = True,
    ) -> None:
        super().__init__(width)
        self.causal = causal
        optional = {} if limit is None else {"limit": limit}
        require_positive("SoftmaxAttention", heads=heads, **optional)
        half = divide("SoftmaxAttention", "width", width, 2 * heads)  # rotation pairs channels
        self.heads, self.keys, self.limit = heads, 2 * half, limit
        self.query, self.key = linear(width, width), linear(width, width)
        self.value, self.output = linear(width, width), linear(width, width)

    def initial(self, x: Float[Tensor, "T B D"]) -> KeysValues:
        """Return empty keys and values."""
        empty = x.new_zeros(0, x.shape[1], self.heads, self.keys)
        return KeysValues(empty, empty)

    def fits(self, shape: torch.Size, expected: torch.Size) -> bool:
        """Say whether keys or values have the expected samples, with any number of tokens."""
        return len(shape) == len(expected) and shape[1:] == expected[1:]

    def state_size(self, context: int = 0) -> int:
        """Return 2 D per token so far, or 0 if there is no state."""
        return 2 * self.width * context * self.causal

    def macs(self, context: int = 0) -> int:
        """Return 4 D^2, plus 2 D per token that is read, including the current one.

        context: number of earlier tokens, or of all other tokens if attention is not causal.
        """
        return 4 * self.width**2 + 2 * self.width * (context + 1)

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any = None, **options: Any
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (y, state), see :class:`neuro.mixers.Mixer`; without ``causal``, (y, None).

        Raises:
            ValueError: attention is not causal, and a state is given.
        """
        if self.causal:
            return super().forward(x, state, **options)
        require_no_state("SoftmaxAttention", state)
        y, _ = super().forward(x, None, **options)
        return y, None

    def mix(
        self, x: Float[Tensor, "T B D"], state: KeysValues
    ) -> tuple[Float[Tensor, "T B D"], KeysValues]:
        """Return (y, state).

        Raises:
            ValueError: there are more tokens than the limit, or keys and values differ in
                number.
        """
        before = len(state.k)
        if len(state.v) != before:
            raise ValueError(
                f"SoftmaxAttention: its state has {before} keys and {len(state.v)} values"
            )
        if self.limit is not None and before + len(x) > self.limit:
            raise ValueError(
                f"SoftmaxAttention: {before} + {len(x)} tokens exceed the limit of "
                f"{self.limit}; shorten the sequence, or raise the limit"
            )
        q, k, v = (split_heads(m(x), self.heads) for m in (self.query, self.key, self.value))
        first = torch.full((x.shape[1],), before, device=x.device)
        q, k = rotate(q, first), rotate(k, first)
        y, after = run_softmax(self.keys**-0.5 * q, k, v, state, self.causal)
        return self.output(y.flatten(2)), after

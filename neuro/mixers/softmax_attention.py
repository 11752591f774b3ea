"""Softmax attention with rotary positions, the mixer whose state grows."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuro.mixers.mixer import (
    MakeLinear,
    Mixer,
    divide,
    make_linear,
    require_positive,
    split_heads,
)
from neuro.mixers.rotary import rotate
from neuro.mixers.softmax import KeysValues, run_softmax


class SoftmaxAttention(Mixer):
    """Causal attention: y = W_o softmax(q k / sqrt K) v, q and k rotated; K = D / H.

    The state is all keys and values so far. limit: largest number of tokens; None: unlimited.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        limit: int | None = None,
        linear: MakeLinear = make_linear,
    ) -> None:
        super().__init__(width)
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
        """Say whether keys or values have these samples and any number of tokens."""
        return len(shape) == len(expected) and shape[1:] == expected[1:]

    def state_size(self, context: int = 0) -> int:
        """Return 2 D per token so far."""
        return 2 * self.width * context

    def macs(self, context: int = 0) -> int:
        """Return 4 D^2, plus 2 D per token that it reads, the present one included."""
        return 4 * self.width**2 + 2 * self.width * (context + 1)

    def mix(
        self, x: Float[Tensor, "T B D"], state: KeysValues
    ) -> tuple[Float[Tensor, "T B D"], KeysValues]:
        """Return (y, state).

        Raises:
            ValueError: the tokens exceed the limit, or keys and values differ in number.
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
        y, after = run_softmax(self.keys**-0.5 * q, k, v, state)
        return self.output(y.flatten(2)), after

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

    Its state is all keys and values so far. limit: how many tokens these may be; None: any.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        limit: int | None = None,
        linear: MakeLinear = make_linear,
    ) -> None:
        super().__init__(width)
        given = {} if limit is None else {"limit": limit}
        require_positive("SoftmaxAttention", heads=heads, **given)
        half = divide("SoftmaxAttention", "width", width, 2 * heads)  # rotation pairs channels
        self.heads, self.keys, self.limit = heads, 2 * half, limit
        self.query, self.key = linear(width, width), linear(width, width)
        self.value, self.output = linear(width, width), linear(width, width)

    def initial(self, x: Float[Tensor, "T B D"]) -> KeysValues:
        """Return keys and values of no token."""
        none = x.new_zeros(0, x.shape[1], self.heads, self.keys)
        return KeysValues(none, none)

    def fits(self, have: torch.Size, need: torch.Size) -> bool:
        """Say whether keys or values are of these samples, for any number of tokens."""
        return len(have) == len(need) and have[1:] == need[1:]

    def state_size(self, context: int = 0) -> int:
        """Return 2 D for each token so far."""
        return 2 * self.width * context

    def macs(self, context: int = 0) -> int:
        """Return 4 D^2, and 2 D for each token that is read, the present one too."""
        return 4 * self.width**2 + 2 * self.width * (context + 1)

    def mix(
        self, x: Float[Tensor, "T B D"], state: KeysValues
    ) -> tuple[Float[Tensor, "T B D"], KeysValues]:
        """Return (y, state).

        Raises:
            ValueError: there are more tokens than the limit; or as many keys as values are not.
        """
        before = len(state.k)
        if len(state.v) != before:
            raise ValueError(
                f"SoftmaxAttention: its state has {before} keys and {len(state.v)} values"
            )
        if self.limit is not None and before + len(x) > self.limit:
            raise ValueError(
                f"SoftmaxAttention: {before} + {len(x)} tokens are more than its limit, "
                f"{self.limit}; shorten the sequence, or give a larger limit"
            )
        q, k, v = (split_heads(m(x), self.heads) for m in (self.query, self.key, self.value))
        first = torch.full((x.shape[1],), before, device=x.device)
        q, k = rotate(q, first), rotate(k, first)
        y, after = run_softmax(self.keys**-0.5 * q, k, v, state)
        return self.output(y.flatten(2)), after

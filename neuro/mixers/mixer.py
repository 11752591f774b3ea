"""The interface of all sequence mixers: ``y, state = mixer(x, state)``.

Axes: T tokens, B samples, D channels of the model (its width).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.arguments import describe, is_whole, make_type_error

MakeLinear = Callable[[int, int], nn.Module]  # of the numbers of inputs and of outputs
ANEW = "go on with the samples and the mixer of the run before, or begin anew: state=None"


class MatrixState(NamedTuple):
    """Associations of keys (rows) with values (columns) in each head."""

    s: Float[Tensor, "B H K V"]


def make_linear(given: int, made: int) -> nn.Module:
    """Return a linear layer without a bias, as all mixers have by default."""
    return nn.Linear(given, made, bias=False)


class Mixer(nn.Module, ABC):
    """Carries information from token to token; x and y have axes T B D.

    State in, state out: a NamedTuple of tensors, None before the first token. A run in parts
    is one run, and a run of one token is a step of generation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        require_positive(type(self).__name__, width=width)
        self.width = width

    @abstractmethod
    def initial(self, x: Float[Tensor, "T B D"]) -> Any:
        """Return the state before the first token, for samples like those of x."""

    @abstractmethod
    def mix(self, x: Float[Tensor, "T B D"], state: Any) -> tuple[Tensor, Any]:
        """Return (y, state after the last token); both given are known to fit."""

    @abstractmethod
    def macs(self, context: int = 0) -> int:
        """Return the multiply-accumulates for one token after ``context`` others.

        These are those of linear maps and convolutions, and of the recurrence: 2 a channel of a
        scan, 3 an entry of a matrix that decays (decay, write, read) and 4 of one that also
        corrects. Elementwise gates, token shifts, norms and rotations are not counted.
        """

    def state_size(self, context: int = 0) -> int:  # noqa: ARG002 - the same for any
        """Return how many numbers the state of a sample holds after ``context`` tokens."""
        return sum(part.numel() for part in self.initial(torch.zeros(1, 1, self.width)))

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any = None, **given: Any
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (y, state after the last token).

        given: what a mixer takes besides, such as the floor of an HGRN.

        Raises:
            TypeError: x is no tensor, or the state that of another kind of mixer.
            ValueError: x has no token or sample, another width or no floating-point numbers; or
                the state is of other samples or sizes.
        """
        self._require_tokens(x)
        start = self.initial(x)
        if state is None:
            return self.mix(x, start, **given)
        self._require_state(state, start)
        return self.mix(x, state, **given)

    def _require_tokens(self, x: Any) -> None:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise make_type_error(f"x of {name}", "a tensor", x, "its axes are T B D")
        if x.dim() != 3 or 0 in x.shape or x.shape[2] != self.width:
            raise ValueError(
                f"{name}: x has axes (tokens, samples, {self.width}), at least one token and "
                f"sample, got shape {tuple(x.shape)}"
            )
        if not x.is_floating_point():
            raise ValueError(f"{name}: x must hold floating-point numbers, got {x.dtype}")

    def _require_state(self, state: Any, start: Any) -> None:
        name = type(self).__name__
        if type(state) is not type(start):
            wanted = f"a {type(start).__name__}"
            raise make_type_error(f"the state of {name}", wanted, state, ANEW)
        for field, need in start._asdict().items():
            have = getattr(state, field)
            if not isinstance(have, Tensor) or not self.fits(have.shape, need.shape):
                raise ValueError(
                    f"{name}: {field} of the state is {describe(have)}, and x asks for "
                    f"shape {tuple(need.shape)}; {ANEW}"
                )

    def fits(self, have: torch.Size, need: torch.Size) -> bool:
        """Say whether a tensor of a state may have a shape."""
        return have == need


def require_positive(name: str, **sizes: int) -> None:
    """Raise unless all sizes are whole numbers >= 1.

    Raises:
        TypeError: one is no whole number.
        ValueError: one is < 1.
    """
    for what, size in sizes.items():
        if not is_whole(size):
            raise make_type_error(f"{name}.{what}", "a whole number", size, "64 is one")
        if size < 1:
            raise ValueError(f"{name}.{what} must be >= 1, got {size}")


def divide(name: str, what: str, total: int, parts: int) -> int:
    """Return total / parts, which must be whole.

    Raises:
        ValueError: it is not.
    """
    if total % parts:
        raise ValueError(
            f"{name}: {what} {total} is no multiple of {parts}; choose another width or "
            "number of heads"
        )
    return total // parts


def split_heads(x: Float[Tensor, "T B M"], heads: int) -> Float[Tensor, "T B H K"]:
    """Return channels as heads times channels."""
    return torch.unflatten(x, -1, (heads, -1))


def exact_zeros(x: Tensor, *shape: int) -> Tensor:
    """Return zeros on x's device, in its precision, but in no less than 32 bits."""
    short = x.dtype in (torch.float16, torch.bfloat16)
    return x.new_zeros(shape, dtype=torch.float32 if short else x.dtype)

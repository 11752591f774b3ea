"""The interface of sequence mixers, ``y, state = mixer(x, state)``, and parts they share.

Axes: T tokens, B samples, D channels of the model (its width).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neuro.base.arguments import describe, is_whole, make_type_error

MakeLinear = Callable[[int, int], nn.Module]  # (number of inputs, number of outputs) -> layer
BASE = 10_000.0  # base of the rotary positions' frequencies
CURE = "continue with the samples and mixer of the previous run, or start with state=None"


class MatrixState(NamedTuple):
    """Associations between keys (rows) and values (columns) in each head."""

    s: Float[Tensor, "B H K V"]


def make_linear(inputs: int, outputs: int) -> nn.Module:
    """Return a linear layer without a bias, the default of all mixers."""
    return nn.Linear(inputs, outputs, bias=False)


class Mixer(nn.Module, ABC):
    """A layer that carries information from token to token; x and y have axes T B D.

    State in, state out: a NamedTuple of tensors, or None before the first token. Running a text
    in parts equals one run; a run of one token is a step of generation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        require_positive(type(self).__name__, width=width)
        self.width = width

    @abstractmethod
    def initial(self, x: Float[Tensor, "T B D"]) -> Any:
        """Return the state before the first token, for as many samples as x has."""

    @abstractmethod
    def mix(self, x: Float[Tensor, "T B D"], state: Any) -> tuple[Tensor, Any]:
        """Return (y, state after the last token); x and state have already been checked."""

    @abstractmethod
    def macs(self, context: int = 0) -> int:
        """Return the multiply-accumulates for a token that follows ``context`` tokens.

        It counts linear maps, convolutions and the recurrence: 2 per channel of a scan, 3 per
        entry of a decaying matrix (decay, write, read), 4 per entry of a matrix that also
        corrects, and 5 if it corrects under another key than it writes. It leaves out
        elementwise gates, token shifts, norms and rotations.
        """

    def state_size(self, context: int = 0) -> int:  # noqa: ARG002 - constant by default
        """Return the number of values in a sample's state after ``context`` tokens."""
        return sum(part.numel() for part in self.initial(torch.zeros(1, 1, self.width)))

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any = None, **options: Any
    ) -> tuple[Float[Tensor, "T B D"], Any]:
        """Return (y, state after the last token).

        options: additional arguments of the mixer, such as the floor of an HGRN.

        Raises:
            TypeError: x is not a tensor, or the state belongs to another kind of mixer.
            ValueError: x is empty, has another width or holds integers; or the state has other
                samples or sizes.
        """
        self._require_tokens(x)
        start = self.initial(x)
        if state is None:
            return self.mix(x, start, **options)
        self._require_state(state, start)
        return self.mix(x, state, **options)

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
            kind = f"a {type(start).__name__}"
            raise make_type_error(f"the state of {name}", kind, state, CURE)
        for field, initial in start._asdict().items():
            values = getattr(state, field)
            if not isinstance(values, Tensor) or not self.fits(values.shape, initial.shape):
                raise ValueError(
                    f"{name}: {field} of the state is {describe(values)}, x needs shape "
                    f"{tuple(initial.shape)}; {CURE}"
                )

    def fits(self, shape: torch.Size, expected: torch.Size) -> bool:
        """Say whether a tensor of a state may have this shape."""
        return shape == expected


def require_no_state(name: str, state: Any) -> None:
    """Raise a ValueError if a mixer that reads in both directions is given a state."""
    if state is not None:
        raise ValueError(
            f"{name}: it reads both ways, so that no state leads on, and got "
            f"{describe(state)}; give all tokens at once, with state=None"
        )


def require_positive(name: str, **sizes: int) -> None:
    """Raise a TypeError or ValueError unless all sizes are whole numbers >= 1."""
    for parameter, size in sizes.items():
        if not is_whole(size):
            raise make_type_error(f"{name}.{parameter}", "a whole number", size, "such as 64")
        if size < 1:
            raise ValueError(f"{name}.{parameter} must be >= 1, got {size}")


def divide(name: str, what: str, total: int, parts: int) -> int:
    """Return total / parts; raise a ValueError if it is not a whole number."""
    if total % parts:
        raise ValueError(
            f"{name}: {what} {total} is not a multiple of {parts}; choose another width or "
            "number of heads"
        )
    return total // parts


def split_heads(x: Float[Tensor, "T B M"], heads: int) -> Float[Tensor, "T B H K"]:
    """Split the channels into heads."""
    return torch.unflatten(x, -1, (heads, -1))


def exact_zeros(x: Tensor, *shape: int) -> Tensor:
    """Return zeros on x's device in its precision, or in float32 if that has fewer bits."""
    return x.new_zeros(shape, dtype=torch.promote_types(x.dtype, torch.float32))


def rotate(x: Float[Tensor, "T B H K"], first: Int[Tensor, " B"]) -> Float[Tensor, "T B H K"]:
    """Return x with channels j and j + K/2 rotated by position * BASE^(-2 j / K).

    first: position of each sample's first token.
    """
    half = x.shape[-1] // 2
    # In float64, because at a position of 1e6 float32 gives wrong angles.
    speeds = BASE ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    position = first + torch.arange(len(x), device=x.device)[:, None]
    angle = position[..., None, None] * speeds
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first_half, second_half = torch.split(x, half, -1)
    return torch.cat(
        [first_half * cos - second_half * sin, second_half * cos + first_half * sin], -1
    )

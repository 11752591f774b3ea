"""Reading in both directions: one mixer from the first token, another from the last one.

    y = forwards(x) + flip(backwards(flip(x)))

So each token reads all others, which a recurrent mixer cannot do in one direction. The two
mixers have separate weights: with shared weights a network could not tell a text from its
mirror image. Parameters and multiply-accumulates are the sums over both. Axes: T tokens, B
samples, D channels.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from neuro.mixers.mixer import Mixer, require_no_state


class BothWays(Mixer):
    """Two mixers of the same width, one per direction; they have no state (None).

    Raises:
        ValueError: the widths differ.
    """

    def __init__(self, forwards: Mixer, backwards: Mixer) -> None:
        super().__init__(forwards.width)
        if backwards.width != forwards.width:
            raise ValueError(
                f"BothWays: the widths are {forwards.width} and {backwards.width}; give two "
                "mixers of one width"
            )
        self.forwards, self.backwards = forwards, backwards

    def initial(self, x: Float[Tensor, "T B D"]) -> None:
        """Return None: there is no state."""

    def state_size(self, context: int = 0) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def macs(self, context: int = 0) -> int:
        """Return the sum over both mixers."""
        return self.forwards.macs(context) + self.backwards.macs(context)

    def forward(
        self, x: Float[Tensor, "T B D"], state: Any = None, **options: Any
    ) -> tuple[Float[Tensor, "T B D"], None]:
        """Return (y, None). options: passed to both mixers.

        Raises:
            ValueError: a state is given.
        """
        require_no_state("BothWays", state)
        return self.mix(x, None, **options)

    def mix(
        self, x: Float[Tensor, "T B D"], state: None, **options: Any
    ) -> tuple[Float[Tensor, "T B D"], None]:
        """Return (y, None)."""
        y, _ = self.forwards(x, state, **options)
        back, _ = self.backwards(x.flip(0), state, **options)
        return y + back.flip(0), None

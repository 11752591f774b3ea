"""A ReLU for networks that will be converted to spikes: :class:`CountedReLU`."""

import math

import torch
from torch import Tensor, nn

from neuro.base.arguments import require_whole
from neuro.graph import Pointwise
from neuro.graph.host_ops import count_levels


class CountedReLU(nn.Module):
    """y = scale / levels * floor(clip(levels x / scale + 1/2, 0, levels)), the scale learned.

    This is what an integrate-and-fire neuron of threshold ``scale``, which starts at half of
    it, shows after ``levels`` ticks of the input x. A network trained with it loses least by
    conversion (:mod:`neuro.graph.convert`). The gradient to x is 1 from -scale / (2 levels) to
    scale - scale / (2 levels), and 0 elsewhere.

    levels: number of steps, >= 1; 4 or 8 are usual.
    scale: largest output at the start of the training, > 0. The logarithm is what is trained,
        so it stays > 0; ``log_scale`` holds it.

    Source: QCFS, T. Bu et al., "Optimal ANN-SNN conversion", ICLR 2022.
    """

    def __init__(self, levels: int = 8, scale: float = 3.0) -> None:
        super().__init__()
        require_whole("CountedReLU.levels", levels, "8 is usual")
        if levels < 1 or not 0 < scale < math.inf:
            raise ValueError(
                f"CountedReLU: levels must be >= 1 and scale > 0 and finite, got {levels} and "
                f"{scale}; levels=8, scale=3.0 suit inputs behind a batch norm"
            )
        self.levels = levels
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Tensor:
        """The largest output."""
        return self.log_scale.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Return the counted values of x, of any shape."""
        return count_levels(x, self.levels, self.scale)

    def frozen(self) -> Pointwise:
        """Return the node with the current scale."""
        return Pointwise(function="relu", levels=self.levels, scale=self.scale.item())

    def extra_repr(self) -> str:
        """Describe levels and scale."""
        return f"levels={self.levels}, scale={self.scale.item():.4g}"

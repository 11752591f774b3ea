"""Training with less memory: what a module computed inside a chunk of ticks is not kept."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuro.layers import Temporal
from neuro.units import Ticks


class Checkpointed(Temporal):
    """``module``, some ticks at a time; what is kept for the way back are the states between.

    Outputs, states and gradients are those of the module alone. It computes all but the last
    chunk twice. Of T ticks in chunks of c it keeps the states of T / c moments and all of the c
    ticks of one chunk: least for c near the square root of T, and then four times the ticks
    take twice the memory. Input and output are kept whole. Random numbers (dropout) are drawn
    again as they were. To trace a network, trace the module inside.

    module: a Temporal, for example a Stack. ticks: of a chunk, >= 1.

    >>> from neuro.layers import Spiking, Stack
    >>> from neuro.neurons import LIF
    >>> net = Checkpointed(Stack(nn.Linear(4, 2), Spiking(LIF(tau=0.02))), Ticks(10))
    >>> spikes, state = net(torch.ones(100, 1, 4))
    >>> spikes.shape
    torch.Size([100, 1, 2])
    """

    def __init__(self, module: Temporal, ticks: Ticks) -> None:
        super().__init__()
        if ticks < 1:
            raise ValueError(
                f"Checkpointed.ticks must be >= 1, got {ticks}; the square root of all ticks "
                "of a run needs least memory"
            )
        self.module = module
        self.ticks = ticks

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return what the module returns.

        Raises:
            ValueError: a batch norm is trained. It takes all ticks of a run as one batch, and
                would count what is computed twice twice.
        """
        names = [name for name, m in self.module.named_modules() if _learns_statistics(m)]
        if names:
            raise ValueError(
                f"Checkpointed cannot train the batch norms {', '.join(names)}: they take all "
                "ticks of a run as one batch; set them to eval(), or leave Checkpointed out"
            )
        outs = []
        for part in torch.split(x, self.ticks):
            if torch.is_grad_enabled():
                y, state = checkpoint(self.module, part, state, use_reentrant=False)
            else:
                y, state = self.module(part, state)
            outs.append(y)
        return torch.cat(outs), state


def _learns_statistics(module: nn.Module) -> bool:
    return module.training and isinstance(module, nn.modules.batchnorm._NormBase)

"""Training with less memory: the backward pass computes a module again, chunk by chunk."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuro.arguments import make_type_error, require_whole, require_whole_ticks
from neuro.nn.binomial_checkpoint import run_in_chunks
from neuro.nn.spiking import Temporal, require_module, require_stimulus
from neuro.units import Ticks


class Checkpointed(Temporal):
    """``module`` in chunks of ticks; the backward pass keeps only the states between them.

    Outputs, states and gradients are those of the module alone. For T ticks in n chunks, the
    backward pass holds the stored states and all values of the ticks of one chunk. With

        states = None   all n states are stored, and each chunk is computed twice;
        states = S      at most S are stored, for any T, and each chunk is computed at most
                        r + 1 times, for the least r with n < C(S + r, S) = (S + r)! / (S! r!).

    So 4 states reverse 14 chunks with r = 2, 34 with 3 and 69 with 4. states = None needs least
    memory for chunks near the square root of T; four times the ticks then take twice the
    memory. Input, output and their gradients stay whole. Random numbers (dropout) repeat. The
    Graph is that of the inner module; gradients of gradients need states = None.

    module: a Temporal, for example a Stack. ticks: of a chunk, >= 1. states: >= 1, or None.
    Source: Griewank and Walther 2000, Algorithm 799: revolve, ACM TOMS 26, 19-45.

    >>> from neuro.nn.layers import Spiking, Stack
    >>> from neuro.neurons import LIF
    >>> net = Checkpointed(Stack(nn.Linear(4, 2), Spiking(LIF(tau=0.02))), Ticks(10), states=3)
    >>> spikes, state = net(torch.ones(100, 1, 4))
    >>> spikes.shape
    torch.Size([100, 1, 2])
    """

    def __init__(self, module: Temporal, ticks: Ticks, states: int | None = None) -> None:
        super().__init__()
        require_module("Checkpointed.module", module)
        if not isinstance(module, Temporal):
            cure = "Stack(module) makes one"
            raise make_type_error(
                "Checkpointed.module", "a Stack, or another Temporal", module, cure
            )
        require_whole_ticks("Checkpointed.ticks", ticks)
        if states is not None:
            require_whole("Checkpointed.states", states, "None keeps one for each chunk")
        problems = []
        if ticks < 1:
            problems.append(
                f"ticks must be >= 1, got {ticks}; the square root of all ticks of a run needs "
                "least memory"
            )
        if states is not None and states < 1:
            problems.append(f"states must be >= 1, got {states}; None keeps one for each chunk")
        if problems:
            raise ValueError("; ".join(f"Checkpointed.{problem}" for problem in problems))
        self.module = module
        self.ticks = ticks
        self.states = states

    def extra_repr(self) -> str:
        """Return the ticks of a chunk and the number of states."""
        return f"ticks={self.ticks}, states={self.states}"

    def forward(self, x: Float[Tensor, "T B *N"], state: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs and the state of the module.

        Raises:
            ValueError: a batch norm is trained, which needs all ticks of a run as one batch and
                would count each chunk twice; or, with a number of states, the module uses a
                trained tensor that is neither x, nor in the state, nor a parameter.
        """
        require_stimulus(self, x)
        names = [name for name, m in self.module.named_modules() if _trains_statistics(m)]
        if names:
            raise ValueError(
                f"Checkpointed cannot train the batch norms {', '.join(names)}: they take all "
                "ticks of a run as one batch; set them to eval(), or leave Checkpointed out"
            )
        if self.states is not None and torch.is_grad_enabled():
            return run_in_chunks(self.module, self.ticks, self.states, x, state)
        outs = []
        for part in torch.split(x, self.ticks):
            if torch.is_grad_enabled():
                y, state = checkpoint(self.module, part, state, use_reentrant=False)
            else:
                y, state = self.module(part, state)
            outs.append(y)
        return torch.cat(outs), state


def _trains_statistics(module: nn.Module) -> bool:
    return module.training and isinstance(module, nn.modules.batchnorm._NormBase)

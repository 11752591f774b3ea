"""Nodes that torch computes: values in, values out, every tick.

Axes: S samples, L ticks of a stretch, N values that a node puts out.
"""

from dataclasses import dataclass

import numpy as np
import torch

from neuro.events.grid.kernels import Buffer
from neuro.events.grid.updates import Rows, V
from neuro.graph import Hosted
from neuro.neurons import GatedLI, GatedState, run_population
from neuro.units import Seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Valued:
    """A host node, or a GatedLI.

    rest: of the buffer with what it gets, all at one place (1 C). given, shape: of what it
    gets and of what it puts out. macs: its operations a tick.
    """

    node: Hosted
    rest: np.ndarray
    given: tuple[int, ...]
    shape: tuple[int, ...]
    macs: int


@torch.no_grad()
def compute(
    part: Valued, inbox: Buffer, rows: Rows, state: np.ndarray | None, outbox: Buffer
) -> None:
    """Advance a node over ``rows``; ``state`` (4 S N) of a GatedLI changes in place."""
    here = slice(rows.start, rows.stop)
    hit = inbox.hit[:, here, :, None]
    x = torch.from_numpy(np.where(hit, inbox.values[:, here], inbox.rest))
    x = x.reshape(*x.shape[:2], *part.given)
    if isinstance(part.node, GatedLI):
        y = _integrated(part.node, x.swapaxes(0, 1), state, part.shape).swapaxes(0, 1)
    else:
        y = part.node.run(x.flatten(0, 1))
    out = outbox.values[:, here]
    out[:] = y.numpy().reshape(out.shape)
    outbox.hit[:, here] = True


def _integrated(
    node: GatedLI, x: torch.Tensor, state: np.ndarray | None, shape: tuple[int, ...]
) -> torch.Tensor:
    """Return the membranes (L, S, *shape) for inputs (L, S, *given)."""
    if state is None:
        raise TypeError("a GatedLI needs its state")
    v = torch.from_numpy(state[V].reshape(-1, *shape))
    y, _ = run_population(node, x, Seconds(1.0), GatedState(v=v))  # the gate knows ticks alone
    state[V] = y[-1].flatten(1).numpy()
    return y

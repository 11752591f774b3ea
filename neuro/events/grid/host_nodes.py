"""Host nodes: torch computes their values in every tick.

Axes: S samples, L ticks of a stretch, N output values of a node.
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
class CompiledHost:
    """A host node, or a GatedLI.

    rest: of its input buffer, which has one place (1 C). input_shape, shape: of input and
    output. macs: multiply-accumulates per tick.
    """

    node: Hosted
    rest: np.ndarray
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    macs: int


@torch.no_grad()
def compute_values(
    part: CompiledHost, inputs: Buffer, rows: Rows, state: np.ndarray | None, outputs: Buffer
) -> None:
    """Compute a node over ``rows`` and write its values to ``outputs``.

    state: of a GatedLI (4 S N), changed in place.
    """
    here = slice(rows.start, rows.stop)
    hit = inputs.hit[:, here, :, None]
    x = torch.from_numpy(np.where(hit, inputs.values[:, here], inputs.rest))
    x = x.reshape(*x.shape[:2], *part.input_shape)
    if isinstance(part.node, GatedLI):
        if state is None:
            raise TypeError("a GatedLI needs its state")
        v = torch.from_numpy(state[V].reshape(-1, *part.shape))
        # Any dt: its ticks have no length.
        y, _ = run_population(part.node, x.swapaxes(0, 1), Seconds(1.0), GatedState(v=v))
        state[V] = y[-1].flatten(1).numpy()
        y = y.swapaxes(0, 1)
    else:
        y = part.node.run(x.flatten(0, 1))
    out = outputs.values[:, here]
    out[:] = y.numpy().reshape(out.shape)
    outputs.hit[:, here] = True

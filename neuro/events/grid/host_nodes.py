"""Host nodes and neurons without a normal form, whose values torch computes at every tick.

Axes: S samples, L ticks of a stretch, N output values of a node.
"""

from dataclasses import dataclass

import numpy as np
import torch

from neuro.base.units import Seconds
from neuro.events.grid.kernels import Buffer
from neuro.events.grid.updates import Rows
from neuro.graph import Hosted
from neuro.neurons import Neuron, SteppedNeuron, is_neuron, run_population


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledHost:
    """A host node, a GatedLI or a SteppedNeuron.

    rest: of its input buffer, which has one place (1 C).
    input_shape, shape: shapes of input and output.
    macs: multiply-accumulates per tick, on a host.
    dt: length of a tick [s].
    """

    node: Hosted | SteppedNeuron
    rest: np.ndarray
    input_shape: tuple[int, ...]
    shape: tuple[int, ...]
    macs: int
    dt: Seconds

    @property
    def fires(self) -> bool:
        """Whether its values are spikes."""
        return getattr(self.node, "fires", False)


@torch.no_grad()
def compute_values(
    part: CompiledHost, inputs: Buffer, rows: Rows, state: np.ndarray | None, outputs: Buffer
) -> None:
    """Compute a node over ``rows`` and write its values to ``outputs``.

    state: state of a neuron (4 S N), changed in place.
    """
    here = slice(rows.start, rows.stop)
    hit = inputs.hit[:, here, :, None]
    x = torch.from_numpy(np.where(hit, inputs.values[:, here], inputs.rest))
    x = x.reshape(*x.shape[:2], *part.input_shape)
    if not is_neuron(part.node):
        y = part.node.run(x.flatten(0, 1))  # type: ignore[union-attr]
    elif state is None:
        raise TypeError(f"a {type(part.node).__name__} needs its state")
    else:
        y = _run_neurons(part.node, x.swapaxes(0, 1), part, state).swapaxes(0, 1)
    out = outputs.values[:, here]
    out[:] = y.numpy().reshape(out.shape)
    outputs.hit[:, here] = True


def _run_neurons(
    neuron: Neuron, x: torch.Tensor, part: CompiledHost, state: np.ndarray
) -> torch.Tensor:
    """Return the outputs of neurons for inputs (L S *X); ``state`` changes in place."""
    rest = neuron.initial(x[0, :1])
    before = [
        None if cell is None else torch.from_numpy(row.reshape(-1, *part.shape).copy())
        for cell, row in zip(rest, state, strict=False)
    ]
    y, after = run_population(neuron, x, part.dt, type(rest)(*before))
    for row, cell in zip(state, after, strict=False):
        if cell is not None:
            row[:] = cell.flatten(1).numpy()
    return y

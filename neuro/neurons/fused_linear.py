"""A linear layer with the population it feeds, ready to run some ticks at a time.

For inference: no gradient is asked for. A population hears the rows of weights of what is not
zero in one pass, so that its input is never written down; its state moves on in place.
Spikes and states are those of the two one after the other, bit for bit.
Axes: T ticks, B samples, J inputs, O neurons.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.neurons import fused_kernels as kernels
from neuro.neurons.alif import ALIFState
from neuro.neurons.fused import NOT_POOLED, fits, moved, read
from neuro.neurons.fused_kernels import Cells
from neuro.neurons.lif import LIFState
from neuro.ops.sparse_linear import Lay, active_in, laid
from neuro.units import Seconds


def suits(linear: nn.Linear, neuron: object, state: Any) -> bool:
    """Say whether the two can run together: what the layer gives are neurons in one axis."""
    return fits(neuron, linear.weight) and state.v.dim() == 2


class Fed:
    """Neurons behind a linear layer, from a moment on.

    linear, neuron: as they are now, a LIF or ALIF. state: where the neurons start, B O.
    lay: as of :func:`neuro.ops.sparse_linear.linear`.
    """

    def __init__(
        self,
        linear: nn.Linear,
        neuron: Any,
        state: LIFState | ALIFState,
        dt: Seconds,
        lay: Lay = laid,
    ) -> None:
        self.linear, self.lay = linear, lay
        cells, self.form = read(neuron, state, dt)
        self.cells = Cells(*(c.copy() for c in cells))
        dtype, bias = self.cells.v.dtype, linear.bias
        self.bias = np.empty(0, dtype) if bias is None else bias.detach().numpy()
        after = (torch.from_numpy(c) if c.size else None for c in self.cells)
        self.state = moved(state, after)
        self.room = np.empty((0, *state.v.shape), dtype)

    def __call__(self, x: Float[Tensor, "T B J"]) -> Float[Tensor, "T B O"]:
        """Return the spikes of T more ticks; ``state`` moves on with them.

        They are valid until the next call, which writes over them.
        """
        (ticks, samples), weight = x.shape[:2], self.linear.weight
        folded = x.flatten(0, 1)
        if len(self.room) < ticks:
            self.room = np.empty((ticks, samples, len(weight)), self.room.dtype)
        out = self.room[:ticks]
        active = active_in(folded, weight)
        if active is None:
            y = F.linear(folded, weight, self.linear.bias).view(out.shape).numpy()
            kernels.forward(y, self.cells, self.form, (0, samples), NOT_POOLED, out)
        else:
            kernels.feed(active, self.lay(weight), self.bias, self.cells, self.form, out)
        return torch.from_numpy(out)


class Ready(NamedTuple):
    """What is made ready once where modules run one after the other again and again.

    lay: remembers how it laid weights. fed: linear layers with their populations, by place.
    """

    lay: Lay = laid
    fed: Mapping[int, Fed] = {}

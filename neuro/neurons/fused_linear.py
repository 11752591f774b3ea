"""A linear layer and the population after it as one operator that runs some ticks per call.

For inference: it computes no gradients. It adds the weight rows of non-zero inputs for one
chunk of the population at a time and never writes the population's input to memory. The state
changes in place. Spikes and states equal those of layer and population run separately, bit for
bit.
Axes: T ticks, B samples, J inputs, O neurons.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuro.base.units import Seconds
from neuro.neurons import fused_kernels as kernels
from neuro.neurons.fused import (
    NOT_POOLED,
    FusedForm,
    make_fused_form,
    read_arrays,
    replace_cells,
)
from neuro.neurons.fused_kernels import StateArrays
from neuro.neurons.neuron import Neuron
from neuro.ops.sparse_linear import ArrangeWeights, arrange_weights, find_active
from neuro.ops.threads import can_read


def fused_linear(
    linear: nn.Linear,
    neuron: Neuron,
    state: Any,
    dt: Seconds,
    arrange: ArrangeWeights = arrange_weights,
) -> "FusedLinear | None":
    """Return the operator for a layer and a population, or None if they cannot run as one.

    They can if the population has one axis and the fused operator supports it.

    state: initial state of the population, B O.
    arrange: as in :func:`neuro.ops.sparse_linear.apply_linear`.
    """
    weight = linear.weight
    if state.v.dim() != 2 or not can_read(weight) or weight.dtype != state.v.dtype:
        return None
    form = make_fused_form(neuron, state.v, dt)
    return None if form is None else FusedLinear(linear, form, state, arrange)


class FusedLinear:
    """A linear layer and its population, with the parameters they have at construction.

    state: state of the population, B O; the constructor copies its argument.
    """

    def __init__(
        self, linear: nn.Linear, form: FusedForm, state: Any, arrange: ArrangeWeights
    ) -> None:
        self.linear, self.arrange = linear, arrange
        cells, self.form = read_arrays(form, state)
        self.cells = StateArrays(*(c.copy() for c in cells))
        dtype, bias = self.cells.v.dtype, linear.bias
        self.bias = np.empty(0, dtype) if bias is None else bias.detach().numpy()
        after = (torch.from_numpy(c) if c.size else None for c in self.cells)
        self.state = replace_cells(state, after)
        self.buffer = np.empty((0, *state.v.shape), dtype)

    def __call__(self, x: Float[Tensor, "T B J"]) -> Float[Tensor, "T B O"]:
        """Return the spikes of T more ticks; ``state`` changes in place.

        The spikes stay valid until the next call, which overwrites them.
        """
        (ticks, samples), weight = x.shape[:2], self.linear.weight
        folded = x.flatten(0, 1)
        if len(self.buffer) < ticks:
            self.buffer = np.empty((ticks, samples, len(weight)), self.buffer.dtype)
        out = self.buffer[:ticks]
        active = find_active(folded, weight)
        if active is None:
            y = F.linear(folded, weight, self.linear.bias).view(out.shape).numpy()
            kernels.run_forward(y, self.cells, self.form, 0, samples, NOT_POOLED, out)
        else:
            rows = self.arrange(weight)
            kernels.run_on_spikes(active, rows, self.bias, self.cells, self.form, out)
        return torch.from_numpy(out)

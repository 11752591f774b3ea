"""A population as a torch module that runs over time and hands its state in and out.

Axes: T ticks, B batch, ``*N`` the population's shape, ``*X`` that of its input, ``*P`` that of
the output: ``*N``, or that of the means of a pool.
"""

from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuro.neurons import NO_CONTEXT, FusedContext, Neuron, run_population
from neuro.neurons.normal_form import to_number
from neuro.units import Seconds

DT = Seconds(1e-3)


class Temporal(nn.Module):
    """A module whose forward is ``(x, state) -> (y, state)``."""


class Spiking(Temporal):
    """A population over time; its model's free parameters are trained.

    model: LIF, ALIF, LI or GatedLI. dt: length of a tick [s].
    """

    def __init__(self, model: Neuron, dt: Seconds = DT) -> None:
        super().__init__()
        self.model = model
        self.dt = dt
        for name, value in model.free().items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(
        self, x: Float[Tensor, "T B *X"], state: Any = None
    ) -> tuple[Float[Tensor, "T B *N"], Any]:
        """Return (spikes, or the membrane of a LI or GatedLI; next state)."""
        return self.run_in_context(NO_CONTEXT, x, state)

    def run_in_context(
        self, context: FusedContext, x: Float[Tensor, "T B *X"], state: Any = None
    ) -> tuple[Float[Tensor, "_ B *P"], Any]:
        """Return the same with what is before and behind the population; calls no hook."""
        if x.dtype in (torch.float16, torch.bfloat16):  # from autocast; membranes are float32
            x = x.float()
        return run_population(self.bound(), x, self.dt, state, context)

    def frozen(self) -> Neuron:
        """Return the model with the present values of its parameters, as numbers."""
        model: Any = self.bound()
        numbers = {
            f.name: to_number(value)
            for f in fields(model)
            if isinstance(value := getattr(model, f.name), Tensor)
        }
        out: Neuron = replace(model, **numbers)
        return out

    def bound(self) -> Neuron:
        """Return the model with its parameters as tensors that keep gradients."""
        return self.model.bind(dict(self.named_parameters()))

    def _apply(self, fn: Any, recurse: bool = True) -> "Spiking":
        """Move as asked, but leave the free parameters in the precision they are defined in.

        In another one the neuron would be another neuron: a logit in float32 does not give
        the leak back.
        """
        exact = {name: p.detach().clone() for name, p in self.named_parameters()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, p in self.named_parameters():
            if p.dtype != exact[name].dtype:
                p.data = exact[name].to(p.device)
                p.grad = None
        return self

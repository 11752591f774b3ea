"""A linear layer whose delays are trained together with its weights: :class:`DelayedLinear`."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuro.base.arguments import require_ticks, require_whole
from neuro.base.units import Ticks
from neuro.nn.layers import start_past
from neuro.nn.spiking import LayerError, Temporal, require_stimulus

PER_UNIT = 100  # ticks per unit of ``late``, so that Adam moves delays 100 times as fast
LAST_WIDTH = 0.5  # standard deviation of the soft kernel at its end [ticks]
HARD_WIDTH = 1.0  # ... of the kernel whose gradient the hard phase takes [ticks]


class DelayedLinear(Temporal):
    """y[t] = bias + sum over j of weight[:, j] x_j[t - delay], with trained delays.

    In evaluation, and in a Graph, delays are the whole numbers of :meth:`ticks`. During the
    first ``soft_steps`` training calls, an input is spread over all delays by a normal
    distribution around the trained position, whose standard deviation falls exponentially from
    most / 2 to 1/2. After that the values are those of evaluation, and only the gradient of the
    delays comes from a normal distribution of standard deviation 1. So the weights have the
    second part of the training to adapt to whole delays.

    inputs, outputs: number of values.
    most: longest delay [ticks], >= 1.
    soft_steps: training calls in the first phase; half of the whole training is usual. The
        layer cannot know the length of the training. 0: whole delays from the start.
    kind: "axonal", one delay per input, or "synaptic", one per weight.
    bias: whether there is a bias, which does not wait. EventProp needs bias=False.

    late: the delays / 100, within [0, most / 100]; drawn uniformly. It has one axis (of
        synaptic delays output by output), because weight decay, which would shorten the delays,
        leaves such parameters out.
    steps: training calls so far. It is part of the state_dict, so a resumed training goes on in
        its phase.

    For constant delays: soft_steps=0, and ``layer.late.requires_grad_(False)``.

    Source: I. Hammouamri et al., "Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings", ICLR 2024; rounding during the second half is ours.
    """

    bias: nn.Parameter | None
    steps: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        most: Ticks,
        *,
        soft_steps: int,
        kind: Literal["axonal", "synaptic"] = "axonal",
        bias: bool = True,
    ) -> None:
        super().__init__()
        require_ticks("DelayedLinear.most", most, "use nn.Linear for no delays")
        whole = {"inputs": inputs, "outputs": outputs, "soft_steps": soft_steps}
        for name, number in whole.items():
            require_whole(f"DelayedLinear.{name}", number, "give its number")
        if min(inputs, outputs) < 1 or soft_steps < 0:
            raise ValueError(
                f"DelayedLinear: inputs, outputs and soft_steps are {inputs}, {outputs} and "
                f"{soft_steps}; they must be >= 1, >= 1 and >= 0. Use half of the training's "
                "steps for soft_steps"
            )
        if kind not in ("axonal", "synaptic"):
            raise ValueError(
                f"DelayedLinear.kind is {kind!r}; it must be 'axonal' or 'synaptic'. 'axonal' "
                "has one delay per input"
            )
        self.inputs, self.outputs, self.most = inputs, outputs, most
        self.soft_steps, self.kind = soft_steps, kind
        bound = 1 / math.sqrt(inputs)  # as nn.Linear
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        own = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None
        self.register_parameter("bias", own)
        count = inputs if kind == "axonal" else inputs * outputs
        self.late = nn.Parameter(torch.empty(count).uniform_(0, most / PER_UNIT))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.inputs}, {self.outputs}, most={self.most}, soft_steps={self.soft_steps}, "
            f"kind={self.kind!r}, bias={self.bias is not None}"
        )

    @property
    def delays(self) -> Float[Tensor, " _"]:
        """The trained positions [ticks], with their gradient; not rounded."""
        return PER_UNIT * self.late

    def ticks(self) -> Int64[Tensor, "..."]:
        """Return the delays in whole ticks: (in,), or of synaptic delays (out, in).

        This is the only place where delays are rounded. It computes in float64, so that a copy
        of the layer in float64 has the same delays.
        """
        exact = PER_UNIT * self.late.detach().double()
        whole = exact.round().clamp(0, self.most).long()
        return whole if self.kind == "axonal" else whole.view(self.outputs, self.inputs)

    def forward(
        self, x: Float[Tensor, "T B *N"], state: Float[Tensor, "D B in"] | None = None
    ) -> tuple[Float[Tensor, "T B out"], Float[Tensor, "D B in"]]:
        """Return (y, the last ``most`` ticks of x).

        Raises:
            LayerError: ``x`` or the state has a shape or precision that does not fit.
        """
        self._require_fit(x)
        both = torch.cat([start_past(self, x, self.most, state), x])
        if self.training and torch.is_grad_enabled():
            self.keep_in_range()
            kernel = self._spread()
            self.steps += 1
        else:
            kernel = self._place(x.dtype)
        taps = kernel.flip(-1)  # a convolution multiplies them from the oldest tick on
        if self.kind == "axonal":
            # Ticks and samples are rows and columns of one image, channels last: the layout
            # of both, so nothing is copied, and torch has its fastest kernels for it.
            image = both.unsqueeze(0).permute(0, 3, 1, 2)  # 1 in T B
            waited = F.conv2d(image, taps[:, None, :, None], groups=self.inputs)
            y = F.linear(waited.permute(0, 2, 3, 1).squeeze(0), self.weight, self.bias)
        else:
            taps = taps.view(self.outputs, self.inputs, -1) * self.weight[..., None]
            y = F.conv1d(both.permute(1, 2, 0), taps, self.bias).permute(2, 0, 1)
        return y, both[len(x) :]

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Move delays that an optimizer's step left outside [0, most] to the nearer bound."""
        self.late.clamp_(0, self.most / PER_UNIT)

    def _place(self, dtype: torch.dtype) -> Tensor:
        """Return 1 at each delay in whole ticks, and 0 elsewhere: (delays, most + 1)."""
        taps = torch.arange(self.most + 1, device=self.late.device)
        return (taps == self.ticks().view(-1, 1)).to(dtype)

    def _spread(self) -> Tensor:
        """Return the kernel of this training call: (delays, most + 1).

        Without a branch on ``steps``, so that a meta device can run it.
        """
        taps = torch.arange(self.most + 1, device=self.late.device)
        done = self.steps.to(self.late.dtype) / max(self.soft_steps, 1)
        hard = self.steps >= self.soft_steps
        widest = self.most / 2
        width = torch.where(hard, HARD_WIDTH, widest * (LAST_WIDTH / widest) ** done)
        distance = (taps - self.delays[:, None]) / width
        soft = torch.softmax(-0.5 * distance.square(), -1)
        value = torch.where(hard, self._place(soft.dtype), soft.detach())
        return value + (soft - soft.detach())  # adds an exact 0, and the gradient

    def _require_fit(self, x: Tensor) -> None:
        require_stimulus(self, x)
        if x.dim() != 3 or x.shape[2] != self.inputs:
            raise LayerError(
                self,
                f"takes (ticks, samples, {self.inputs}), got {tuple(x.shape)}; put a Flatten "
                "before it, or change inputs",
            )
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            cure = f"use x.to({self.weight.dtype}), or net.double() for float64"
            raise LayerError(
                self, f"its weights are {self.weight.dtype}, x is {x.dtype}; {cure}"
            )

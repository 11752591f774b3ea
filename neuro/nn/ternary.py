"""Linear layers with ternary weights and quantised inputs, with gradients or packed.

    n = gain x / sqrt(mean x^2 + eps)         y = quantise(n) W_q^T
    W_q = s clamp(round(W / s), -1, 1)        s = max(mean |W|, 1e-5)

Gradients pass both roundings unchanged (straight-through).
Axes: ``*T`` any (tokens, samples), N inputs, M outputs.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from neuro.base.units import Seconds
from neuro.neurons import IF
from neuro.ops.ternary import map_packed, multiply_packed, pack_ternary

EPS = 1e-6  # as in the published fused layers (Zhu et al. 2024, 2406.02528)
LEAST = 1e-5  # smallest scale allowed
LEVELS = 127


@runtime_checkable
class Quantise(Protocol):
    """A quantiser: it maps inputs to signed whole numbers of at most 8 bits, times a scale."""

    def __call__(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (whole numbers, scale of each token); their product approximates n."""
        ...


class AbsMax:
    """8-bit quantiser: a token's largest input maps to 127 (Zhu et al. 2024, 2406.02528)."""

    def __call__(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (whole numbers from -128 to 127, scale)."""
        scale = n.abs().amax(-1, keepdim=True).clamp(min=LEAST) / LEVELS
        return (n / scale).round().clamp(-LEVELS - 1, LEVELS), scale


class SpikeCount:
    """Signed spike counts: sign(n) min(D, floor((|n| + theta / 2) / theta)).

    An integrate-and-fire neuron with soft reset fires this many spikes in D ticks if it starts
    at theta / 2 and receives |n| at the first tick, see :meth:`fire`. Each spike adds a weight.

    ticks: D, 1 to 127.
    threshold: theta, 2^k or 3 2^k, in units of which float32 counts exactly.

    Raises:
        ValueError: ``ticks`` or ``threshold`` is out of range.
    """

    def __init__(self, ticks: int = 4, threshold: float = 0.75) -> None:
        mantissa = math.frexp(threshold)[0] if threshold > 0 else 0.0
        if not 1 <= ticks <= LEVELS or mantissa not in (0.5, 0.75):
            raise ValueError(
                f"SpikeCount: ticks must be from 1 to {LEVELS} and threshold 2^k or 3 2^k, got "
                f"{ticks} and {threshold}; ticks=4, threshold=0.75 is a good start"
            )
        self.ticks, self.threshold = ticks, threshold

    def __call__(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (signed counts, threshold)."""
        counts = ((n.abs() + self.threshold / 2) / self.threshold).floor().clamp(max=self.ticks)
        return counts.copysign(n), torch.full_like(n[..., :1], self.threshold)

    def fire(self, n: Float[Tensor, "*T N"]) -> Int8[Tensor, "D *T N"]:
        """Return the neuron's spikes at each tick: -1, 0 or 1."""
        neuron = IF(threshold=self.threshold)
        size = n.detach().abs()
        state = neuron.initial(size)._replace(v=torch.full_like(size, self.threshold / 2))
        out = []
        for tick in range(self.ticks):
            spikes, state = neuron.step(size if tick == 0 else 0 * size, state, Seconds(1.0))
            out.append(spikes.copysign(n).to(torch.int8))
        return torch.stack(out)


class BitLinear(nn.Module):
    """A linear layer with ternary weights and normalised, quantised inputs; no bias.

    weight: M N, float.
    gain: N.
    quantise: quantiser of the inputs.
    eps: added to the mean square of a token's inputs.

    One autograd function keeps only x and computes the other values again.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        quantise: Quantise | None = None,
        *,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.gain = nn.Parameter(torch.ones(inputs))
        self.quantise = quantise or AbsMax()
        self.eps = eps
        nn.init.xavier_uniform_(self.weight, gain=2**-2.5)

    def forward(self, x: Float[Tensor, "*T N"]) -> Float[Tensor, "*T M"]:
        """Return the linear map of x, with ternary weights and quantised inputs."""
        apply: Any = _Fused.apply  # torch annotates it in some versions only
        out: Tensor = apply(x, self.weight, self.gain, self.quantise, self.eps)
        return out


def round_weights(weight: Float[Tensor, "M N"]) -> tuple[Float[Tensor, "M N"], Tensor]:
    """Return (weights of -1, 0 or 1, their scale); the scale is the mean absolute weight."""
    scale = weight.abs().mean().clamp(min=LEAST)
    return (weight / scale).round().clamp(-1, 1), scale


def _invert_size(x: Float[Tensor, "*T N"], eps: float) -> Float[Tensor, "*T 1"]:
    """Return 1 / sqrt(mean x^2 + eps) in x's precision; squares in 16 bits would overflow."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps).to(x.dtype)


def _as_rows(x: Float[Tensor, "*T N"]) -> Float[Tensor, "_ N"]:
    return x.reshape(-1, x.shape[-1])


class _Fused(torch.autograd.Function):
    """The function of BitLinear; for the backward pass it keeps x and one number per token."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, gain: Tensor, quantise: Quantise, eps: float
    ) -> Tensor:
        inverse = _invert_size(x, eps)
        whole, scale = quantise(x * inverse * gain)
        signs, size = round_weights(weight)
        ctx.save_for_backward(x, weight, gain, inverse)
        ctx.quantise = quantise
        sums = whole @ signs.T  # whole numbers: exact in float32
        return sums * (size * scale).to(sums.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, gain, inverse = ctx.saved_tensors
        unit = x * inverse
        whole, scale = ctx.quantise(unit * gain)
        signs, size = round_weights(weight)
        dy = dy.to(weight.dtype)
        dn = dy @ (signs * size)
        dw = _as_rows(dy).T @ _as_rows(whole * scale)
        dgain = _as_rows(dn * unit).sum(0)
        du = dn * gain
        dx = inverse * (du - unit * (du * unit).mean(-1, keepdim=True))
        return dx, dw, dgain, None, None


class PackedLinear(nn.Module):
    """A BitLinear with two bits per weight, for a CPU and without gradients.

    packed: four weights per byte (:mod:`neuro.ops.ternary`).
    scale: scale of the weights.
    eps: the BitLinear's.

    Products are exact whole numbers that are scaled once, so that outputs equal the BitLinear's
    bit for bit. The constructor leaves the values unset; :func:`pack_layer` sets them.
    """

    packed: Tensor
    scale: Tensor
    gain: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        quantise: Quantise | None = None,
        *,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        self.inputs, self.eps = inputs, eps
        packed = torch.empty(outputs, -(-inputs // 4), dtype=torch.uint8)
        self.register_buffer("packed", packed)
        self.register_buffer("scale", torch.empty(()))
        self.register_buffer("gain", torch.empty(inputs))
        self.quantise = quantise or AbsMax()

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "*T N"]) -> Float[Tensor, "*T M"]:
        """Return y, which has no gradient.

        Raises:
            ValueError: x has a wrong number of channels.
        """
        if x.shape[-1] != self.inputs:
            raise ValueError(
                f"PackedLinear: x must have {self.inputs} channels, got {x.shape[-1]}; use the "
                "inputs of the layer before packing"
            )
        inverse = _invert_size(x, self.eps)
        how = self._describe_quantise()
        if how is not None and x.dtype is torch.float32:
            y = map_packed(
                self.packed.numpy(),
                x.reshape(-1, self.inputs).contiguous().numpy(),
                inverse.flatten().numpy(),
                self.gain.numpy(),
                float(self.scale),
                *how,
            )
            return torch.from_numpy(y).view(*x.shape[:-1], -1)
        normal = x * inverse * self.gain
        whole, scale = self.quantise(normal)
        rows = _as_rows(whole).to(torch.int8)
        sums = torch.from_numpy(multiply_packed(self.packed.numpy(), rows.numpy()))
        return (sums.view(*x.shape[:-1], -1) * (self.scale * scale)).to(x.dtype)

    def _describe_quantise(self) -> tuple[int, float] | None:
        """Return (ticks, threshold) for the compiled map; None if it lacks this quantiser."""
        if type(self.quantise) is AbsMax:
            return 0, 1.0
        if type(self.quantise) is SpikeCount:
            return self.quantise.ticks, self.quantise.threshold
        return None


def pack_layer(layer: BitLinear) -> PackedLinear:
    """Return a layer with two bits per weight and the same outputs."""
    outputs, inputs = layer.weight.shape
    out = PackedLinear(inputs, outputs, layer.quantise, eps=layer.eps)
    signs, scale = round_weights(layer.weight.detach())
    out.packed = torch.from_numpy(pack_ternary(signs.to("cpu", torch.int8).numpy()))
    out.scale, out.gain = scale.cpu(), layer.gain.detach().cpu().clone()
    return out


def pack_model(
    model: nn.Module, pack: Callable[[BitLinear], nn.Module] = pack_layer
) -> nn.Module:
    """Return a copy of a model with packed BitLinear layers, for inference on a CPU.

    pack: function that packs one layer.

    Raises:
        ValueError: the model has no BitLinear.
    """
    layers = [m for m in model.modules() if isinstance(m, BitLinear)]
    if not layers:
        raise ValueError(
            f"pack_model: {type(model).__name__} has no BitLinear; pass a model with ternary "
            "layers"
        )
    # deepcopy takes the packed layers from this memo, so that it copies no weights before
    # packing.
    return copy.deepcopy(model, {id(layer): pack(layer) for layer in layers}).eval()

"""Linear layers with ternary weights and quantised inputs, with gradients or packed.

    n = gain x / sqrt(mean x^2 + eps)         y = quantise(n) W_q^T
    W_q = s clamp(round(W / s), -1, 1)        s = max(mean |W|, 1e-5)

Gradients pass both roundings unchanged (straight-through). A threshold can be learned, and a
layer can have weights of 8 bits instead.
Axes: ``*T`` any (tokens, samples), N inputs, M outputs.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
FINEST, COARSEST = -8, 4  # exponents of learned thresholds, so that 24 bits hold them
BETWEEN = math.log2(1.5) / 2, (math.log2(1.5) + 1) / 2  # bounds of 1, 1.5 and 2 in log2


@runtime_checkable
class Quantise(Protocol):
    """A quantiser: it maps inputs to signed whole numbers of at most 8 bits, times a scale."""

    def __call__(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (whole numbers, scale of each token); their product approximates n."""
        ...


class AbsMax:
    """Quantiser: a token's largest input maps to 2^(bits - 1) - 1.

    bits: 2 to 8; 8 is published (Zhu et al. 2024, 2406.02528).
    """

    def __init__(self, bits: int = 8) -> None:
        if not 2 <= bits <= 8:
            raise ValueError(
                f"AbsMax: bits is {bits}; it must be from 2 to 8. Use 8, as published"
            )
        self.levels = 2 ** (bits - 1) - 1

    def __call__(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (whole numbers from -levels to levels, scale)."""
        scale = n.abs().amax(-1, keepdim=True).clamp(min=LEAST) / self.levels
        return (n / scale).round().clamp(-self.levels, self.levels), scale


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


class LearnedCount(nn.Module):
    """A SpikeCount whose threshold is learned: the nearest 2^k or 3 2^(k-1) to 2^log_threshold.

    Nearest is meant on the scale of log_threshold. Training sees the same rounded threshold as
    evaluation, chips and packed layers; the gradient passes the rounding unchanged. The
    gradient for log_threshold is that of Esser et al. 2020 (LSQ, arXiv 1902.08153): the error
    of a count that is below ``ticks``, and the whole value of a count that is clipped.

    ticks, threshold: as for SpikeCount; training begins at this threshold.
    """

    def __init__(self, ticks: int = 4, threshold: float = 0.75) -> None:
        super().__init__()
        self.ticks = SpikeCount(ticks, threshold).ticks
        self.log_threshold = nn.Parameter(torch.tensor(math.log2(threshold)))

    @property
    def threshold(self) -> Tensor:
        """The rounded threshold."""
        log = self.log_threshold.detach().clamp(FINEST, COARSEST)
        whole = log.floor()
        part, ones = log - whole, torch.ones_like(log)
        mantissa = torch.where(part < BETWEEN[0], 1.0, torch.where(part < BETWEEN[1], 1.5, 2.0))
        return torch.ldexp(mantissa * ones, whole)

    def forward(
        self, n: Float[Tensor, "*T N"]
    ) -> tuple[Float[Tensor, "*T N"], Float[Tensor, "*T 1"]]:
        """Return (signed counts, threshold)."""
        threshold = self.threshold.to(n.dtype)
        counts = ((n.abs() + threshold / 2) / threshold).floor().clamp(max=self.ticks)
        return counts.copysign(n), threshold.expand(n.shape[:-1])[..., None]

    def fix(self) -> SpikeCount:
        """Return the same counts with the threshold as a number."""
        return SpikeCount(self.ticks, float(self.threshold))


class BitLinear(nn.Module):
    """A linear layer with ternary weights and normalised, quantised inputs; no bias.

    weight: M N, float.
    gain: N.
    quantise: quantiser of the inputs.
    eps: added to the mean square of a token's inputs.
    rounding: weights -> (whole numbers, their scale); by default -1, 0 and 1.

    One autograd function keeps only x and computes the other values again.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        quantise: Quantise | None = None,
        *,
        eps: float = EPS,
        rounding: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.gain = nn.Parameter(torch.ones(inputs))
        self.quantise = quantise or AbsMax()
        self.eps, self.rounding = eps, rounding or round_weights
        nn.init.xavier_uniform_(self.weight, gain=2**-2.5)

    def forward(self, x: Float[Tensor, "*T N"]) -> Float[Tensor, "*T M"]:
        """Return the linear map of x, with ternary weights and quantised inputs."""
        apply: Any = _Fused.apply  # torch annotates it in some versions only
        log_threshold = getattr(self.quantise, "log_threshold", None)
        out: Tensor = apply(x, self.weight, self.gain, log_threshold, self)
        return out

    @property
    def fixed_quantise(self) -> Quantise:
        """The quantiser, with a learned threshold as a number."""
        return self.quantise.fix() if isinstance(self.quantise, LearnedCount) else self.quantise


def round_weights(weight: Float[Tensor, "M N"]) -> tuple[Float[Tensor, "M N"], Tensor]:
    """Return (weights of -1, 0 or 1, their scale); the scale is the mean absolute weight."""
    scale = weight.abs().mean().clamp(min=LEAST)
    return (weight / scale).round().clamp(-1, 1), scale


def round_to_bytes(weight: Float[Tensor, "M N"]) -> tuple[Float[Tensor, "M N"], Tensor]:
    """Return (weights from -127 to 127, their scale); the largest weight maps to 127."""
    scale = weight.abs().max().clamp(min=LEAST) / LEVELS
    return (weight / scale).round(), scale


@contextmanager
def watch_inputs(model: nn.Module) -> Iterator[list[tuple[BitLinear, Tensor, Tensor]]]:
    """Yield a list to which each BitLinear adds (itself, normalised inputs, whole inputs)."""
    seen = list[tuple[BitLinear, Tensor, Tensor]]()

    def add(layer: Any, given: tuple[Tensor]) -> None:
        n = given[0] * _invert_size(given[0], layer.eps) * layer.gain
        seen.append((layer, n, layer.quantise(n.detach())[0]))

    hooks = [
        module.register_forward_pre_hook(add)
        for module in model.modules()
        if isinstance(module, BitLinear)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def average_counts(seen: Sequence[tuple[BitLinear, Tensor, Tensor]]) -> Tensor:
    """Return the mean |count| of all inputs, each weighted by its fan-out, with a gradient.

    The gradient passes the rounding of counts that are not 0, and reaches the threshold.
    """
    total, weights = torch.zeros(()), 0
    for layer, n, counts in seen:
        threshold: Any = layer.quantise.threshold  # type: ignore[attr-defined]
        if isinstance(layer.quantise, LearnedCount):
            log = layer.quantise.log_threshold
            threshold = threshold * torch.exp2(log - log.detach())
        size = counts.abs()
        most = layer.quantise.ticks + 0.5  # type: ignore[attr-defined]
        smooth = n.abs() / threshold
        smooth = smooth * ((size > 0) & (smooth < most))
        each = (smooth + (size - smooth).detach()).sum(-1).mean()
        total = total.to(each) + each * layer.weight.shape[0]
        weights += layer.weight.numel()
    return total / weights


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
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gain: Tensor,
        log_threshold: Tensor | None,
        layer: BitLinear,
    ) -> Tensor:
        inverse = _invert_size(x, layer.eps)
        whole, scale = layer.quantise(x * inverse * gain)
        signs, size = layer.rounding(weight)
        ctx.save_for_backward(x, weight, gain, inverse, log_threshold)
        ctx.layer = layer
        sums = whole @ signs.T  # whole numbers: exact in float32
        return sums * (size * scale).to(sums.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gain, inverse, log_threshold = ctx.saved_tensors
        unit = x * inverse
        whole, scale = ctx.layer.quantise(unit * gain)
        signs, size = ctx.layer.rounding(weight)
        dy = dy.to(weight.dtype)
        dn = dy @ (signs * size)
        quantised = whole * scale
        dw = _as_rows(dy).T @ _as_rows(quantised)
        dgain = _as_rows(dn * unit).sum(0)
        dlog = None
        if log_threshold is not None:
            n, most = unit * gain, (ctx.layer.quantise.ticks + 0.5) * scale
            slope = quantised - torch.where(n.abs() < most, n, 0)
            dlog = math.log(2) * (dn * slope).sum().to(log_threshold)
        du = dn * gain
        dx = inverse * (du - unit * (du * unit).mean(-1, keepdim=True))
        return dx, dw, dgain, dlog, None


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
        if type(self.quantise) is AbsMax and self.quantise.levels == LEVELS:
            return 0, 1.0
        if type(self.quantise) is SpikeCount:
            return self.quantise.ticks, self.quantise.threshold
        return None


def pack_layer(layer: BitLinear) -> PackedLinear:
    """Return a layer with two bits per weight and the same outputs."""
    outputs, inputs = layer.weight.shape
    out = PackedLinear(inputs, outputs, layer.fixed_quantise, eps=layer.eps)
    signs, scale = layer.rounding(layer.weight.detach())
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

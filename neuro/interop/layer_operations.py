"""Handlers of torch functions on recorded values: sums, factors, and layers.

A handler takes one call and returns what each result holds, or None if a Graph cannot hold it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.base.arguments import to_numpy
from neuro.graph import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    MaxPool2d,
    Node,
    Pointwise,
    Softmax,
    Upsample,
    Weighted,
)
from neuro.graph.connections import as_pair
from neuro.graph.scaling import make_scale_node, narrow
from neuro.interop.recording import (
    Applied,
    Lost,
    Operation,
    RecordedConstant,
    RecordedLayer,
    Series,
    Shape,
    Symbol,
    Total,
)
from neuro.neurons import ALIF
from neuro.nn.trace import as_axes, fold

Handler = Callable[[Operation], Any]
PADDED_MAXIMUM = "max_pool2d of padded spikes"  # the kind of a layer that only takes spikes


def digest(*parts: Any) -> str:
    """Return a key for arrays and plain values; it is equal for equal ones."""
    h = hashlib.sha256()
    for part in parts:
        h.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
        h.update(repr(getattr(part, "shape", "")).encode())
    return h.hexdigest()


def per_sample(x: Any, shape: Shape) -> np.ndarray | None:
    """Return a constant as values of ``shape``, or None if it differs between samples."""
    data = to_numpy(x.double()) if isinstance(x, Tensor) else np.asarray(float(x))
    while data.ndim > len(shape):
        if len(data) == 0 or (data != data[:1]).any():
            return None
        data = data[0]
    try:
        return np.broadcast_to(data, shape)
    except ValueError:
        return None


def lift(value: Symbol, make: Callable[[Symbol], Symbol | None]) -> Symbol | None:
    """Apply ``make`` to a value, or to each part of a series."""
    if not isinstance(value, Series):
        return make(value)
    return _join_parts(value, [make(part) for part in value.parts])


def _join_parts(like: Series, made: list[Symbol | None]) -> Series | None:
    parts = tuple(part for part in made if part is not None)
    if len(parts) < len(made) or not parts:
        return None
    return replace(like, shape=parts[0].shape, parts=parts)


def apply_layer(op: Operation, layer: RecordedLayer, value: Symbol, shape: Shape) -> Symbol:
    """Return the output of a layer that takes one value."""
    return Applied(shape=shape, layer=layer, sources=(value,), where=op.recorder.where())


def _remember(
    op: Operation, key: tuple[Any, ...], make: Callable[[], RecordedLayer | None]
) -> Any:
    """Return the layer of a call; equal tensors and settings give the same object."""
    tensors = [x for x in key if isinstance(x, Tensor)]
    place = tuple(id(x) if isinstance(x, Tensor) else x for x in key)
    known, then = op.recorder.layers.get(place, (None, []))
    # A tensor's version does not count what is written to its ``data``.
    if known is None or not all(map(torch.equal, tensors, then)):
        op.recorder.keep(*tensors)
        known = make()
        op.recorder.layers[place] = (known, [x.clone() for x in tensors])
    return known


# Sums and factors.


def _add(op: Operation, sign: float = 1.0) -> Symbol | None:
    one, other = op.args[0], op.argument(1, "other")
    alpha = float(op.kwargs.get("alpha", 1.0)) * sign
    a, b = op.value(one), op.value(other)
    if a is None:  # constant + value
        if alpha != 1.0:
            b = _scaled(op, b, alpha)
        return None if b is None else _shifted(op, b, one)
    if b is None:
        return _shifted(op, a, other if alpha == 1.0 else other * alpha)
    if alpha != 1.0:
        b = _scaled(op, b, alpha)
    return None if b is None else _sum(op, a, b)


def _sum(op: Operation, a: Symbol, b: Symbol) -> Symbol | None:
    if isinstance(a, Series) and isinstance(b, Series):
        if (a.axis, a.merged, len(a.parts)) != (b.axis, b.merged, len(b.parts)):
            return None
        pairs = zip(a.parts, b.parts, strict=True)
        return _join_parts(a, [_sum(op, x, y) for x, y in pairs])
    if isinstance(a, Series) or isinstance(b, Series):
        series, single = (a, b) if isinstance(a, Series) else (b, a)
        if not isinstance(series, Series) or series.merged or series.axis != 0:
            return None
        return lift(series, lambda part: _sum(op, part, single))
    if isinstance(a, Lost) or isinstance(b, Lost):
        return a if isinstance(a, Lost) else b
    return Total(shape=a.shape, terms=(a, b)) if a.shape == b.shape else None


def _shifted(op: Operation, value: Symbol, shift: Any) -> Symbol | None:
    def make(part: Symbol) -> Symbol | None:
        constant = per_sample(shift, part.shape)
        if constant is None:
            return None
        if not constant.any():
            return part
        return affine(op, part, np.ones(()), constant)

    return lift(value, make)


def _scaled(op: Operation, value: Symbol | None, scale: Any) -> Symbol | None:
    def make(part: Symbol) -> Symbol | None:
        constant = per_sample(scale, part.shape)
        return None if constant is None else affine(op, part, constant, None)

    return None if value is None else lift(value, make)


def affine(
    op: Operation, value: Symbol, scale: np.ndarray, shift: np.ndarray | None
) -> Symbol | None:
    """Return scale value + shift, folded if possible into the layer that makes the value."""
    if isinstance(value, Lost):
        return value
    if isinstance(value, RecordedConstant):
        made = value.data * torch.as_tensor(scale)
        return RecordedConstant(
            shape=value.shape, data=made if shift is None else made + torch.as_tensor(shift)
        )
    if shift is None and (np.asarray(scale) == 1).all():
        return value
    if isinstance(value, Applied) and value.layer.foldable is not None:
        layer = _fold_affine(value.layer, value.shape, scale, shift)
        if layer is not None:
            return Applied(
                shape=value.shape, layer=layer, sources=value.sources, where=value.where
            )
    node = make_scale_node(value.shape, scale, shift)
    if node is None:
        return None
    name = op.recorder.name("scale")
    key = (name, digest("scale", scale, shift))
    layer = RecordedLayer(name=name, kind="scale", nodes=(node,), key=key, foldable=0)
    return apply_layer(op, layer, value, value.shape)


def _fold_affine(
    layer: RecordedLayer, shape: Shape, scale: np.ndarray, shift: np.ndarray | None
) -> RecordedLayer | None:
    (node,) = layer.nodes
    if not isinstance(node, Weighted):
        return None
    rows = []
    for x in (scale, np.zeros(()) if shift is None else shift):
        flat = np.broadcast_to(x, shape).reshape(shape[0], -1)
        if (flat != flat[:, :1]).any():
            return None
        rows.append(flat[:, 0].astype(np.float64))
    axis, own = layer.foldable or 0, np.asarray(node.weight, np.float64)
    weight = own * rows[0].reshape(-1, *[1] * (own.ndim - 1 - axis))
    bias = (
        rows[1] if node.bias is None else np.asarray(node.bias, np.float64) * rows[0] + rows[1]
    )
    plain = node.bias is None and shift is None
    return RecordedLayer(
        name=layer.name,
        kind=layer.kind,
        nodes=(node.with_weight(narrow(weight), None if plain else narrow(bias)),),
        foldable=layer.foldable,
        key=(*layer.key, digest(*rows)),
    )


def _mul(op: Operation) -> Symbol | None:
    one, other = op.args[0], op.argument(1, "other")
    a, b = op.value(one), op.value(other)
    if a is not None and b is not None:
        return op.lose("of two values that depend on the stimulus has no node in a Graph")
    return _scaled(op, a, other) if b is None else _scaled(op, b, one)


def _div(op: Operation) -> Symbol | None:
    value, other = op.value(op.args[0]), op.argument(1, "other")
    if value is None or op.value(other) is not None or op.kwargs.get("rounding_mode"):
        return None
    return _scaled(op, value, 1 / other)


def _rsub(op: Operation) -> Symbol | None:
    value, other = op.value(op.args[0]), op.argument(1, "other")
    negative = _scaled(op, value, -1.0)
    if negative is None or op.kwargs.get("alpha", 1) != 1:
        return None
    theirs = op.value(other)
    return _shifted(op, negative, other) if theirs is None else _sum(op, theirs, negative)


def _subtract(op: Operation) -> Any:
    return _add(op, -1.0)


def _negative(op: Operation) -> Any:
    return _scaled(op, op.value(op.args[0]), -1.0)


# Layers.


def _layer(op: Operation, function: str, make: Callable[[str, Symbol], Any]) -> Symbol | None:
    """Apply a layer to the first argument, or to each tick if ticks are in the batch.

    make: takes the name of the node and one value; returns (kind, nodes, foldable, extra key).
    """
    value = op.recorder.get_or_constant(op.argument(0, "input"))
    weighted = function in ("linear", "conv1d", "conv2d", "conv_transpose2d")
    after = "takes what has no node in a Graph; let it act in every tick, and decode its output"
    if isinstance(value, Lost):
        return op.lose(after, weighted=weighted)
    name = op.recorder.name(function)
    before = 1
    if isinstance(value, Series) and not value.merged:
        free = function in ("linear", *_POINTWISE)  # allows additional axes in front
        if not free or value.axis == op.result.dim() - 1:
            return op.lose("takes one tick, and gets several; loop over ticks")
        before = 2
    shape = tuple(op.result.shape[before:])

    def apply(part: Symbol) -> Symbol | None:
        if isinstance(part, Lost):
            return op.lose(after, weighted=weighted)
        made = make(name, part)
        return (
            made
            if made is None or isinstance(made, Lost)
            else apply_layer(op, made, part, shape)
        )

    return lift(value, apply)


def _weighted(op: Operation, function: str, make: Callable[[Any, Any], Node | str]) -> Any:
    weight, bias = op.argument(1, "weight"), op.argument(2, "bias")
    if op.value(weight) is not None or op.value(bias) is not None:
        return op.lose("has weights that depend on the stimulus")
    settings = repr(
        [a for a in (*op.args[3:], *op.kwargs.items()) if not isinstance(a, Tensor)]
    )
    axis = int(function == "conv_transpose2d")

    def build(name: str, part: Symbol) -> Any:
        if function == "linear" and len(part.shape) != 1:
            return op.lose(f"takes {part.shape}, the Graph's (N,); put a Flatten before it")

        def node() -> Any:
            own = narrow(weight), None if bias is None else narrow(bias)
            made = make(*own)
            if isinstance(made, str):
                return op.lose(made)
            key = (name, function, settings, digest(*own))
            return RecordedLayer(
                name=name, kind=function, nodes=(made,), key=key, foldable=axis
            )

        return _remember(op, (function, name, settings, weight, bias), node)

    return _layer(op, function, build)


def _linear(op: Operation) -> Any:
    return _weighted(op, "linear", lambda w, b: Dense(weight=w, bias=b))


def _convolution(function: str) -> Handler:
    def handle(op: Operation) -> Any:
        def make(weight: np.ndarray, bias: np.ndarray | None) -> Node | str:
            stride, padding = op.argument(3, "stride", 1), op.argument(4, "padding", 0)
            if isinstance(padding, str):
                return f"with padding={padding!r}; write it as numbers"
            if function == "conv_transpose2d":
                far, groups = op.argument(5, "output_padding", 0), op.argument(6, "groups", 1)
                dilation = op.argument(7, "dilation", 1)
                if groups != 1 or as_pair(dilation) != (1, 1):
                    return "with groups or dilation; use Upsample and a Conv2d that has them"
                return ConvTranspose2d(
                    weight=weight,
                    bias=bias,
                    stride=as_pair(stride),
                    padding=as_pair(padding),
                    output_padding=as_pair(far),
                )
            dilation, groups = op.argument(5, "dilation", 1), op.argument(6, "groups", 1)
            steps = {"stride": stride, "padding": padding, "dilation": dilation}
            if function == "conv1d":
                whole = {
                    k: as_axes(v if isinstance(v, int) else tuple(v))[0]
                    for k, v in steps.items()
                }
                return Conv1d(weight=weight, bias=bias, groups=groups, **whole)
            pairs = {k: as_pair(v) for k, v in steps.items()}
            node: Node = Conv2d(weight=weight, bias=bias, groups=groups, **pairs)
            return node

        return _weighted(op, function, make)

    return handle


def _batch_norm(op: Operation) -> Any:
    mean, var = op.argument(1, "running_mean"), op.argument(2, "running_var")
    if op.argument(5, "training", False) or mean is None:
        return op.lose("uses the statistics of the batch; import it with running statistics")
    norm = SimpleNamespace(
        running_mean=mean,
        running_var=var,
        weight=op.argument(3, "weight"),
        bias=op.argument(4, "bias"),
        eps=op.argument(7, "eps", 1e-5),
    )
    value = op.value(op.argument(0, "input"))
    if isinstance(value, Series) and not value.merged:
        return op.lose("takes one tick, and gets several; loop over ticks")

    def make(part: Symbol) -> Symbol | None:
        if isinstance(part, Lost):
            return part
        scale, shift = fold(np.ones(len(to_numpy(mean))), None, norm, 0)
        wide = (-1, *[1] * (len(part.shape) - 1))
        return affine(op, part, scale.reshape(wide), shift.reshape(wide))

    return None if value is None else lift(value, make)


def _avg_pool(op: Operation) -> Any:
    size = as_pair(op.argument(1, "kernel_size"))
    stride = op.argument(2, "stride")
    padding, ceil = op.argument(3, "padding", 0), op.argument(4, "ceil_mode", False)
    if as_pair(padding) != (0, 0) or ceil or op.argument(6, "divisor_override") is not None:
        return op.lose("with padding, ceil_mode or divisor_override; use the plain one")
    step = size if stride is None or stride == [] else as_pair(stride)
    return apply_plain(op, "avg_pool2d", AvgPool2d(kernel=size, stride=step))


def _max_pool(op: Operation) -> Any:
    size = as_pair(op.argument(1, "kernel_size"))
    stride, padding = op.argument(2, "stride"), op.argument(3, "padding", 0)
    dilation, ceil = op.argument(4, "dilation", 1), op.argument(5, "ceil_mode", False)
    if as_pair(dilation) != (1, 1) or ceil or op.argument(6, "return_indices", False):
        return op.lose("with ceil_mode, dilation or indices; use the plain one")
    step = size if stride is None or stride == [] else as_pair(stride)
    if as_pair(padding) != (0, 0):
        return _padded_max_pool(op, size, step, as_pair(padding))
    return apply_plain(op, "max_pool2d", MaxPool2d(kernel=size, stride=step))


def _padded_max_pool(
    op: Operation, size: tuple[int, int], step: tuple[int, int], padding: tuple[int, int]
) -> Any:
    """Convert a maximum of spikes over padded windows to: is their sum 1 or more?

    This is not a maximum for other values, for which it is refused when the Graph is made.
    """

    def make(name: str, part: Symbol) -> RecordedLayer:
        channels = part.shape[0]
        count = Conv2d(
            weight=np.ones((channels, 1, *size), np.float32),
            stride=step,
            padding=padding,
            groups=channels,
        )
        cell = ALIF(leak=1.0, threshold=0.5, reset="hard")
        key = (name, size, step, padding)
        return RecordedLayer(name=name, kind=PADDED_MAXIMUM, nodes=(count, cell), key=key)

    return _layer(op, "max_pool2d", make)


def _adaptive_avg_pool(op: Operation) -> Any:
    (old, new) = (tuple(x.shape[-2:]) for x in (op.argument(0, "input"), op.result))
    if old == new:
        return op.value(op.argument(0, "input"))
    if all(a % b == 0 for a, b in zip(old, new, strict=True)):
        size = (old[0] // new[0], old[1] // new[1])
        return apply_plain(op, "adaptive_avg_pool2d", AvgPool2d(kernel=size, stride=size))
    if all(b % a == 0 for a, b in zip(old, new, strict=True)):
        grown = (new[0] // old[0], new[1] // old[1])
        return apply_plain(op, "adaptive_avg_pool2d", Upsample(scale=grown))
    return op.lose(f"from {old} to {new} has windows of unequal size; use sizes that divide")


def apply_plain(op: Operation, function: str, node: Node) -> Any:
    """Return the output of a node that takes one value. function: for its name."""

    def make(name: str, part: Symbol) -> RecordedLayer:
        if len(part.shape) != 3 and function.endswith("2d"):
            return op.lose(f"takes images (C, H, W), and gets {part.shape}")  # type: ignore[return-value]
        return RecordedLayer(name=name, kind=function, nodes=(node,), key=(name, repr(node)))

    return _layer(op, function, make)


def _pointwise(function: str) -> Handler:
    return lambda op: apply_plain(op, function, Pointwise(function=function))


def _softmax(op: Operation) -> Any:
    dim = op.argument(1, "dim")
    if dim is None or dim == 0:
        return op.lose("must run along an axis of one sample; use dim=1")
    return apply_plain(op, "softmax", Softmax(axis=dim - (dim > 0)))


def _interpolate(op: Operation) -> Any:
    scale, mode = op.argument(2, "scale_factor"), op.argument(3, "mode", "nearest")
    whole = scale is not None and all(float(s).is_integer() for s in as_axes(scale))
    if mode != "nearest" or not whole:
        return op.lose("must be nearest, by a whole scale_factor")
    high, wide = as_axes(scale)[0], as_axes(scale)[-1]
    return apply_plain(op, "upsample2d", Upsample(scale=(int(high), int(wide))))


def _dropout(op: Operation) -> Any:
    p, training = op.argument(1, "p", 0.5), op.argument(2, "training", True)
    if training and p:
        return op.lose("in training mode is random; F.dropout needs training=self.training")
    return op.value(op.args[0])


_POINTWISE = ("sigmoid", "tanh", "silu", "relu")


LAYER_OPERATIONS: Mapping[str, Handler] = {
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), _add),
    **dict.fromkeys(("sub", "sub_", "subtract", "__sub__", "__isub__"), _subtract),
    **dict.fromkeys(("rsub", "__rsub__"), _rsub),
    **dict.fromkeys(("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"), _mul),
    **dict.fromkeys(("div", "div_", "divide", "true_divide"), _div),
    **dict.fromkeys(("__truediv__", "__itruediv__"), _div),
    **dict.fromkeys(("neg", "negative", "__neg__"), _negative),
    "linear": _linear,
    **{name: _convolution(name) for name in ("conv1d", "conv2d", "conv_transpose2d")},
    "batch_norm": _batch_norm,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_avg_pool,
    "max_pool2d": _max_pool,
    **{name: _pointwise(name) for name in _POINTWISE},
    "softmax": _softmax,
    "interpolate": _interpolate,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), _dropout),
}

"""Handlers of torch functions on recorded values: ticks of a series, and other shapes.

A handler takes one call and returns what each result holds, or None if a Graph cannot hold it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.graph import Concat, Flatten, Node, Unflatten
from neuro.interop.layer_operations import Handler, apply_layer, lift
from neuro.interop.recording import (
    GONE,
    Applied,
    Lost,
    Operation,
    RecordedConstant,
    RecordedLayer,
    Series,
    Shape,
    Symbol,
)


def reshape(op: Operation, value: Symbol, old: Shape, new: Shape) -> Symbol | None:
    """Return a value after its tensor is reshaped from ``old`` to ``new`` in C order."""
    if isinstance(value, Lost):
        return value
    if isinstance(value, Series):
        return _reshape_series(op, value, old, new)
    if new[:1] == old[:1]:
        return _reshape_sample(op, value, new[1:])
    if new == (1, *old):
        return Series(shape=value.shape, parts=(value,))
    return None


def _reshape_series(op: Operation, value: Series, old: Shape, new: Shape) -> Symbol | None:
    def parts(shape: Shape, axis: int, *, merged: bool) -> Symbol | None:
        made = lift(value, lambda part: _reshape_sample(op, part, shape))
        if not isinstance(made, Series):
            return None
        return Series(shape=shape, parts=made.parts, axis=axis, merged=merged)

    if value.axis > 1:
        return value if new == old else None
    ticks, every = len(value.parts), value.merged
    pair = (
        old[:2]
        if not every
        else ((ticks, old[0] // ticks) if value.axis == 0 else (old[0] // ticks, ticks))
    )
    if new[:1] == (pair[0] * pair[1],) and (every or new[:2] != pair):
        return parts(new[1:], value.axis, merged=True)
    if new[:2] == pair:
        return parts(new[2:], value.axis, merged=False)
    if ticks == 1 and value.axis == 0 and new[:1] == pair[1:]:
        return _reshape_sample(op, value.parts[0], new[1:])
    return None


def _reshape_sample(op: Operation, value: Symbol, shape: Shape) -> Symbol:
    if value.shape == shape or isinstance(value, Lost):
        return value
    if isinstance(value, RecordedConstant):
        return RecordedConstant(shape=shape, data=value.data.reshape(-1, *shape))
    nodes: tuple[Node, ...] = (Flatten(),) if len(value.shape) > 1 else ()
    if len(shape) != 1:
        nodes = (*nodes, Unflatten(shape=shape))
    kind = "flatten" if len(shape) == 1 else "unflatten"
    name = op.recorder.name(kind)
    layer = RecordedLayer(name=name, kind=kind, nodes=nodes, key=(name, shape))
    return apply_layer(op, layer, value, shape)


def _reshaped(op: Operation) -> Any:
    x = op.args[0]
    if op.result.dtype != x.dtype:
        return op.lose(f"reads the bits of a value as {op.result.dtype}; use its value")
    value = op.value(x)
    return None if value is None else reshape(op, value, tuple(x.shape), tuple(op.result.shape))


def _permuted(op: Operation) -> Any:
    """Move the axis of a series; any other permutation of axes makes the value lost."""
    x = op.args[0]
    value = op.value(x)
    if value is None or isinstance(value, Lost):
        return value
    probe = op.func(torch.empty(tuple(range(2, 2 + x.dim()))), *op.args[1:], **op.kwargs)
    order = [n - 2 for n in probe.shape]
    if order == sorted(order):
        return value
    if not isinstance(value, Series) or value.merged:
        return op.lose("exchanges axes of a sample or of the batch, which has no node")
    rest = [n for n in order if n != value.axis]
    if rest != sorted(rest):
        return op.lose("exchanges axes of a sample or of the batch, which has no node")
    return Series(shape=value.shape, parts=value.parts, axis=order.index(value.axis))


# Ticks.


def _get(op: Operation) -> Any:
    value = op.value(op.args[0])
    if value is None or isinstance(value, Lost):
        return value
    if op.args[1] is None:
        return _reshaped(op)
    return index(value, op.args[0].dim(), op.args[1])


def index(value: Symbol, axes: int, place: Any) -> Symbol | None:
    """Return what ``x[place]`` holds."""
    places = list(place) if isinstance(place, tuple) else [place]
    if any(p is Ellipsis for p in places):
        at = next(k for k, p in enumerate(places) if p is Ellipsis)
        places[at : at + 1] = [slice(None)] * (axes - len(places) + 1)
    places += [slice(None)] * (axes - len(places))
    if len(places) != axes:
        return None
    axis = value.axis if isinstance(value, Series) and not value.merged else -1
    if any(p != slice(None) for k, p in enumerate(places) if k != axis and not _is_number(p)):
        return None
    if any(_is_number(p) for k, p in enumerate(places) if k != axis):
        return None
    if not isinstance(value, Series) or axis < 0:
        return value
    chosen = places[axis]
    if isinstance(chosen, slice):
        return Series(shape=value.shape, parts=value.parts[chosen], axis=axis)
    return value.parts[int(chosen)] if _is_number(chosen) else None


def _is_number(p: Any) -> bool:
    whole = isinstance(p, int | np.integer) and not isinstance(p, bool)
    return whole or (isinstance(p, Tensor) and p.dim() == 0 and not p.is_floating_point())


def _set(op: Operation) -> Any:
    """Write one tick into a tensor that holds all ticks."""
    base, place, new = op.args
    value, given = op.value(base), op.value(new)
    if value is None:
        axis = 1 if isinstance(place, tuple) and place[:1] == (slice(None),) else 0
        pieces = base.detach().unbind(axis)
        shape = tuple(pieces[0].shape[1:])
        value = Series(
            shape=shape,
            axis=axis,
            parts=tuple(RecordedConstant(shape=shape, data=p.clone()) for p in pieces),
        )
    if not isinstance(value, Series) or value.merged or not base.is_floating_point():
        return None
    places: list[Any] = list(place) if isinstance(place, tuple) else [place]
    at: Any = places.pop(value.axis) if len(places) > value.axis else None
    if not _is_number(at) or any(p != slice(None) and p is not Ellipsis for p in places):
        return None
    if given is None:
        data = torch.as_tensor(new).expand(base.select(value.axis, int(at)).shape)
        given = RecordedConstant(shape=value.shape, data=data.clone())
    if isinstance(given, Series) or given.shape != value.shape:
        return None
    parts = list(value.parts)
    parts[int(at)] = given
    return Series(shape=given.shape, parts=tuple(parts), axis=value.axis)


def _unbind(op: Operation) -> Any:
    value, axis = op.value(op.args[0]), op.argument(1, "dim", 0) % op.args[0].dim()
    if isinstance(value, Series) and not value.merged and value.axis == axis:
        return list(value.parts)
    if isinstance(value, Series) and value.axis == 1 and axis == 0:
        return op.lose("takes samples one by one; keep them in one batch")
    return None


def _split(op: Operation) -> Any:
    value, axis = op.value(op.args[0]), op.argument(2, "dim", 0) % op.args[0].dim()
    if not isinstance(value, Series) or value.merged or value.axis != axis:
        return None
    pieces, first = [], 0
    for piece in op.result:
        last = first + piece.shape[axis]
        pieces.append(Series(shape=value.shape, parts=value.parts[first:last], axis=axis))
        first = last
    return pieces


def _select(op: Operation) -> Any:
    value, x = op.value(op.args[0]), op.args[0]
    axis, at = op.argument(1, "dim") % x.dim(), op.argument(2, "index")
    if value is None:
        return None
    return index(value, x.dim(), (*[slice(None)] * axis, at))


def _stack(op: Operation) -> Any:
    tensors = list(op.argument(0, "tensors"))
    axis = op.argument(1, "dim", 0) % op.result.dim()
    values = [op.recorder.get_or_constant(x) for x in tensors]
    if any(isinstance(v, Series) for v in values):
        return None
    return Series(shape=values[0].shape, parts=tuple(values), axis=axis)


def _cat(op: Operation) -> Any:
    tensors = list(op.argument(0, "tensors"))
    axis = op.argument(1, "dim", 0) % op.result.dim()
    if len(tensors) == 1:
        return op.value(tensors[0])
    values = [op.recorder.get_or_constant(x) for x in tensors]
    series = [v for v in values if isinstance(v, Series)]
    if not series:
        return _join(op, values, tuple(op.result.shape[1:])) if axis == 1 else None
    one = series[0]
    alike = all((v.axis, v.merged) == (one.axis, one.merged) for v in series)
    if len(series) < len(values) or not alike:
        return None
    if axis == one.axis and not one.merged:
        parts = tuple(part for v in series for part in v.parts)
        return Series(shape=one.shape, parts=parts, axis=axis)
    if len({len(v.parts) for v in series}) > 1 or axis != (1 if one.merged else 2):
        return None
    joined = [
        _join(op, list(ticks), (sum(v.shape[0] for v in ticks), *ticks[0].shape[1:]))
        for ticks in zip(*(v.parts for v in series), strict=True)
    ]
    return Series(shape=joined[0].shape, parts=tuple(joined), axis=one.axis, merged=one.merged)


def _join(op: Operation, values: list[Symbol], shape: Shape) -> Symbol:
    name = op.recorder.name("cat")
    layer = RecordedLayer(name=name, kind="cat", nodes=(Concat(),), key=(name,))
    return Applied(shape=shape, layer=layer, sources=tuple(values), where=op.recorder.where())


def _repeated(op: Operation) -> Any:
    """Repeat one image over ticks; samples and their axes stay unchanged."""
    x = op.args[0]
    value = op.value(x)
    if value is None or isinstance(value, Lost):
        return value
    old, new = tuple(x.shape), tuple(op.result.shape)
    if old == new:
        return value
    if not isinstance(value, Series) and new[1:] == old:
        return Series(shape=value.shape, parts=(value,) * new[0])
    if not isinstance(value, Series) or value.merged or value.axis != 0:
        return None
    once = len(value.parts) == 1 and new[1:] == old[1:]
    return replace(value, parts=value.parts * new[0]) if once else None


def _same(op: Operation) -> Any:
    """Return the argument's value, unless it is rounded to integers or broadcast."""
    plain = op.result.is_floating_point() and op.result.shape == op.args[0].shape
    return op.value(op.args[0]) if plain else None


def _copy(op: Operation) -> Any:
    plain = op.args[0].is_floating_point() and op.args[0].shape == op.args[1].shape
    return op.recorder.get_or_constant(op.args[1]) if plain else None


def _gone(op: Operation) -> Any:
    del op
    return GONE


_SAME = (
    *("detach", "detach_", "clone", "contiguous", "to", "double", "type", "type_as", "cpu"),
    *("cuda", "requires_grad_", "alias", "positive", "data", "expand_as"),
)

_SHAPES = ("view", "reshape", "flatten", "unflatten", "ravel", "view_as", "reshape_as")
_MOVES = ("permute", "transpose", "movedim", "swapaxes", "swapdims", "t")

TICK_OPERATIONS: Mapping[str, Handler] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys((*_SHAPES, "squeeze", "unsqueeze"), _reshaped),
    **dict.fromkeys(_MOVES, _permuted),
    "__getitem__": _get,
    "__setitem__": _set,
    "unbind": _unbind,
    "split": _split,
    "chunk": _split,
    "select": _select,
    **dict.fromkeys(("repeat", "expand", "tile", "broadcast_to"), _repeated),
    "stack": _stack,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "copy_": _copy,
    **dict.fromkeys(("zero_", "fill_"), _gone),
}

"""How a module forms its answers from the output of every tick, found in one recorded run.

    scores[b, k] = sum_t sum_j weights[t, j, k] y[t, b, j] + bias[k]

This covers sums, means, selected ticks, votes, heads with weights, signs and permuted classes.
The only other decoding is the largest value over all ticks. Weights are gradients of what the
module returned; they are accepted only if they reproduce the returned values of every sample.
Axes: T ticks, B samples, J values of the output, K of an answer.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuro.interop.recording import Applied, Lost, RecordedRun, Result, Series, Symbol, Total

SUM, MAXIMUM = "sum", "maximum"  # over ticks
MOST = 2**24  # most weights of a decoding
EXACT = 1e-9  # relative to the largest score: float64 sums in another order may differ by this
FINAL: Mapping[str, Callable[[Tensor], Tensor]] = {
    "": lambda scores: scores,
    "softmax": lambda scores: scores.softmax(1),
    "log_softmax": lambda scores: scores.log_softmax(1),
    "argmax": lambda scores: scores.argmax(1),
}


class DecodingError(ValueError):
    """What a module returns is neither a weighted sum over ticks nor a maximum."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoding:
    """Computes scores from the output of every tick; the highest score is the answer.

    weights: (T J) if each value counts for itself, or (T J K).
    bias: (K).
    over_ticks: ``SUM`` or ``MAXIMUM`` of the weighted values.
    final: last operation of the module on its scores, a key of ``FINAL``; it keeps their order.
    axis: axis of the samples in what the module returns; ticks come before it.
    """

    weights: np.ndarray
    bias: np.ndarray
    over_ticks: str = SUM
    final: str = ""
    axis: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether the scores are plain sums over ticks, one per value."""
        used = self.weights[self.weights.reshape(len(self.weights), -1).any(1)]
        even = used.size > 0 and bool(used.flat[0] > 0 and (used == used.flat[0]).all())
        return self.over_ticks == SUM and used.ndim == 2 and even

    @property
    def products(self) -> int:
        """Number of multiply-accumulates per sample; ticks of equal weights are added first."""
        if self.is_plain or self.over_ticks == MAXIMUM:
            return 0
        return int(np.count_nonzero(np.unique(self.weights, axis=0)))

    def score(self, y: Any) -> np.ndarray:
        """Return the scores (B K) for the output (T B *N).

        Raises:
            ValueError: the output has another number of ticks or values than the decoding.
        """
        y = np.asarray(y, np.float64)
        y = y.reshape(*y.shape[:2], -1)
        if (len(y), y.shape[2]) != self.weights.shape[:2]:
            raise ValueError(
                f"the output has {len(y)} ticks of {y.shape[2]} values, and its decoding is of "
                f"{self.weights.shape[0]} ticks of {self.weights.shape[1]}; run as many"
            )
        if self.over_ticks == MAXIMUM:
            return np.asarray((y * self.weights[:, None]).max(0))
        slices, which = np.unique(self.weights, axis=0, return_inverse=True)
        scores: np.ndarray = np.tile(self.bias, (y.shape[1], 1)).astype(np.float64)
        for k, weight in enumerate(slices):  # sums of spikes are exact
            total = y[which.reshape(-1) == k].sum(0)
            scores += total * weight if weight.ndim == 1 else total @ weight
        return scores

    def answer(self, y: Any) -> np.ndarray:
        """Return what the module returns for the output (T B *N)."""
        return np.asarray(FINAL[self.final](torch.from_numpy(self.score(y))).double())

    def describe(self) -> str:
        """Describe the decoding in words."""
        ticks, values = self.weights.shape[:2]
        if self.over_ticks == MAXIMUM:
            return f"the highest value of each output over all {ticks:,} ticks"
        used = np.flatnonzero(self.weights.reshape(ticks, -1).any(1))
        if not len(used):
            return "the output has no part in what the module returns"
        first, last = used[0], used[-1]
        where = f"ticks {first} to {last}" if last > first else f"tick {last}"
        if len(used) == ticks:
            where = f"all {ticks:,} ticks"
        elif len(used) <= last - first:
            where = f"{len(used):,} of the {where}"
        if self.is_plain:
            return f"the sum of the output over {where}"
        how = "" if self.weights.ndim == 2 else f", of {values:,} values to {len(self.bias):,}"
        return f"a weighted sum of the output over {where}{how}"

    def count_others(self, y: Any, answers: np.ndarray) -> int:
        """Count the answers (B) that differ from those of the output without a tie."""
        scores = self.score(y)
        best = scores.max(1)
        near = EXACT * np.maximum(1.0, np.abs(scores).max(1))
        return int((scores[np.arange(len(best)), answers] < best - near).sum())


def make_count(ticks: int, values: int) -> Decoding:
    """Return the sum over all ticks, used if the source does not say otherwise."""
    return Decoding(weights=np.ones((ticks, values)), bias=np.zeros(values))


def find_answer(returned: Any) -> Tensor:
    """Return the tensor that is a module's answer: the first one in a tuple or mapping.

    The values of a list are taken as ticks, which become the first axis.

    Raises:
        DecodingError: there is no such tensor.
    """
    match returned:
        case Tensor():
            return returned
        case Mapping() if returned:
            return find_answer(next(iter(returned.values())))
        case list() if returned:
            ticks = [find_answer(value) for value in returned]
            if len({x.shape for x in ticks}) == 1:
                return torch.stack(ticks)
        case tuple() if returned:
            return find_answer(returned[0])
    raise DecodingError(
        "the module returns no tensor, or ticks of several shapes; return the output of every "
        "tick as one tensor"
    )


def sum_ticks(answer: Any, axis: int) -> Any:
    """Return the scores (B K) that a module returned. axis: of the samples, as in Decoding."""
    scores = answer if axis == 0 else answer.sum(0)
    return scores.reshape(len(scores), -1) if scores.ndim > 1 else scores


def find_decoding(
    record: RecordedRun, outputs: Sequence[Sequence[Symbol]], factor: np.ndarray
) -> Decoding:
    """Return how the module decoded its output in a run of at least two samples.

    outputs: for each tick, what was computed from the output.
    factor: value of an output spike in the source; broadcasts to (J).

    Raises:
        DecodingError: the module decodes in a way that a :class:`Decoding` cannot describe.
    """
    places: dict[Any, _Place] = {}  # the first tensor that held each value
    for x, value in record.tensors:
        places.setdefault(_key(value), _Place(x, lambda x: x))
        if isinstance(value, Series):
            for k, part in enumerate(value.parts):
                places.setdefault(_key(part), _Place(x, partial(_take_tick, value=value, k=k)))
    y, sources = _read_outputs(outputs, places)
    symbols = {id(x): value for x, value in record.tensors}
    answer, final, where = _peel(find_answer(record.returned), record)
    why: DecodingError | str = ""
    unit = np.broadcast_to(np.asarray(factor, np.float64).reshape(-1), y.shape[2:])
    if isinstance(record.returned, tuple) and len(record.returned) == len(y):
        raise DecodingError("the module returns a tuple of ticks; return them as a list")
    axis = 0 if answer.dim() == 2 else 1  # axes after that of the samples may be ticks
    if answer.dim() > 1 and answer.shape[axis] == y.shape[1] and answer.requires_grad:
        scores = sum_ticks(answer, axis)
        try:
            found = _find_weights(scores, y, sources)
        except DecodingError as error:
            found, why = _find_maximum(symbols.get(id(answer)), outputs, scores, y), error
        if found is not None:
            factors = unit if found.weights.ndim == 2 else unit[:, None]
            return replace(found, weights=found.weights * factors, final=final, axis=axis)
    raise DecodingError(
        "what the module returns is neither a weighted sum nor the maximum of its output over "
        f"ticks{where}{why and f': {why}'}; return the output of every tick, or such a sum"
    )


class _Place(NamedTuple):
    """A tensor, and how to take the values of one tick (B *N) from it."""

    tensor: Tensor
    take: Callable[[Tensor], Tensor]


def _key(value: Symbol) -> Any:
    if isinstance(value, Result):
        return value.neuron.name, value.key, value.neuron.tick
    return id(value)


def _take_tick(x: Tensor, value: Series, k: int) -> Tensor:
    if value.merged:
        ticks = len(value.parts)
        x = x.reshape(*((ticks, -1), (-1, ticks))[value.axis], *x.shape[1:])
    return x.select(value.axis, k)


def _read_outputs(
    outputs: Sequence[Sequence[Symbol]], tensors: Mapping[Any, _Place]
) -> tuple[Tensor, list[list[_Place]]]:
    """Return the output (T B J), and for each tick the places of its values."""

    def list_places(value: Symbol) -> list[_Place]:
        """Return the places whose sum is a value."""
        if _key(value) in tensors:
            return [tensors[_key(value)]]
        terms = value.terms if isinstance(value, Total) else ()
        return [place for term in terms for place in list_places(term)]

    found = [[p for value in tick if (p := list_places(value))] for tick in outputs]
    values = [
        sum(take(x).detach().flatten(1) for x, take in copies[0]) if copies else None
        for copies in found
    ]
    known = next((v for v in values if isinstance(v, Tensor)), None)
    if known is None:
        raise DecodingError("the module returns nothing of the network's output")
    y = torch.stack([v if isinstance(v, Tensor) else torch.zeros_like(known) for v in values])
    # A sum changes as much as any of its terms.
    return y, [[places[0] for places in copies] for copies in found]


def _peel(answer: Tensor, record: RecordedRun) -> tuple[Tensor, str, str]:
    """Return the scores before a last order-preserving operation, its name and its place."""
    place = next((k for k, (x, _) in enumerate(record.tensors) if x is answer), None)
    value = None if place is None else record.tensors[place][1]
    if not isinstance(value, Lost | Applied):
        return answer, "", ""
    name = value.what.partition("(")[0] if isinstance(value, Lost) else value.layer.kind
    where = f" ({name}() at {value.where})"
    before = [x for x, v in record.tensors[:place] if v in value.sources]
    if name in FINAL and before and before[-1].dim() == 2:
        made = FINAL[name](before[-1].detach())
        if made.shape == answer.shape and torch.equal(made, answer.detach()):
            return before[-1], name, where
    return answer, "", where


def _walk_back(scores: Tensor, sources: Iterable[_Place]) -> list[Tensor]:
    """Return what leads to the scores, besides the sources, by sums, factors and moves.

    Raises:
        DecodingError: another operation leads to them; names it.
    """
    own = {id(x) for x, _ in sources}
    ends = {x.grad_fn for x, _ in sources}
    waiting: list[Any] = [scores.grad_fn]
    seen, others = set[Any]({None}), list[Tensor]()
    while waiting:
        node = waiting.pop()
        if node in seen or node in ends:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of a leaf: the output of a neuron
        if variable is not None:
            others += [] if id(variable) in own else [variable]
            continue
        name = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
        before = [following for following, _ in node.next_functions if following is not None]
        if name not in _LINEAR and not (name in _PRODUCTS and len(before) == 1):
            raise DecodingError(f"{name} is no weighted sum")
        waiting += before
    return others


def _find_weights(scores: Tensor, y: Tensor, sources: list[list[_Place]]) -> Decoding | None:
    """Return the weighted sum that gives the scores (B K), or None if there is none."""
    places = [place for tick in sources for place in tick if place.tensor.requires_grad]
    if not places:
        return None
    others = _walk_back(scores, places)
    by = torch.linspace(0.5, 1.5, scores.numel(), dtype=scores.dtype).view_as(scores)
    # For example ticks that were left out: they lead to a score only with a factor of 0.
    if any(g.any() for g in _differentiate(scores, others, by).values()):
        return None

    def weigh(by: Tensor) -> Tensor:
        """Return the gradient of the scores, weighted (B K), by the output (T B J)."""
        gradients = _differentiate(scores, [x for x, _ in places], by)
        out = torch.zeros_like(y)
        for tick, copies in enumerate(sources):
            for x, take in copies:
                if id(x) in gradients:
                    out[tick] += take(gradients[id(x)]).flatten(1)
        return out

    if weigh(torch.cat([by[:1], torch.zeros_like(by[1:])]))[:, 1:].any():
        return None  # a score depends on other samples
    weights = _read_weights(weigh, by, y)
    if weights is None:
        return None
    found = Decoding(weights=weights, bias=np.zeros(scores.shape[1]))
    rest = scores.detach().numpy() - found.score(y)
    near = EXACT * max(1.0, float(scores.detach().abs().max()))
    if np.abs(rest - rest[:1]).max() > near:
        return None
    return replace(found, bias=np.where(np.abs(rest[0]) > near, rest[0], 0.0))


def _differentiate(scores: Tensor, tensors: list[Tensor], by: Tensor) -> dict[int, Tensor]:
    """Return the gradient of weighted scores by each tensor that contributes to them."""
    if not tensors:
        return {}
    found = torch.autograd.grad(scores, tensors, by, retain_graph=True, allow_unused=True)
    return {id(x): g for x, g in zip(tensors, found, strict=True) if g is not None}


def _read_weights(
    weigh: Callable[[Tensor], Tensor], by: Tensor, y: Tensor
) -> np.ndarray | None:
    """Return (T J) if each value counts for itself, else (T J K), or None if too many."""
    samples, classes = by.shape
    if classes == y.shape[2]:
        each = weigh(by) / by
        if torch.allclose(each, each[:, :1].expand_as(each), rtol=EXACT, atol=0):
            return weigh(torch.ones_like(by))[:, 0].numpy()
    if len(y) * y.shape[2] * classes > MOST:
        return None
    ones = torch.eye(classes, dtype=by.dtype)
    return torch.stack([weigh(one.expand(samples, -1))[:, 0] for one in ones], -1).numpy()


def _find_maximum(
    value: Symbol | None, outputs: Sequence[Sequence[Symbol]], scores: Tensor, y: Tensor
) -> Decoding | None:
    """Return the maximum over ticks if the scores (B K) are that. value: of the scores."""
    most_of = isinstance(value, Lost) and value.what.startswith(("max(", "amax("))
    series = value.sources[0] if most_of else None  # type: ignore[union-attr]
    parts = series.parts if isinstance(series, Series) else ()
    every = [_key(part) for part in parts] == [_key(tick[0]) for tick in outputs if tick]
    most = y.amax(0)
    if not every or most.shape != scores.shape or not torch.equal(scores.detach(), most):
        return None
    return replace(make_count(*y.shape[::2]), over_ticks=MAXIMUM)


# Steps of autograd, without "Backward0", that preserve sums and factors.
_LINEAR = frozenset(
    {
        *("Add", "Sub", "Neg", "Sum", "Mean", "Cumsum", "Stack", "Cat", "Repeat", "Expand"),
        *("Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Index", "IndexSelect"),
        *("View", "UnsafeView", "ReshapeAlias", "AsStrided", "Permute", "Transpose", "T"),
        *("Unsqueeze", "Squeeze", "Flip", "Roll", "Unfold", "CopySlices", "Copy", "ToCopy"),
        *("Clone", "Alias", "ConstantPadNd", "IndexAdd", "AvgPool2D", "AdaptiveAvgPool2D"),
    }
)
_PRODUCTS = frozenset(
    {"Mul", "Div", "Mm", "Addmm", "Bmm", "Mv", "Linear", "Convolution", "NativeBatchNorm"}
)

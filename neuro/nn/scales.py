"""Measures an ANN for its conversion: the scale of each ReLU, and what each conversion costs.

Axes: T ticks, B samples, C channels, ``*N`` the shape of a node, K outputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from neuro.graph import Graph, Pointwise
from neuro.graph.convert import Scale, list_activations
from neuro.neurons.normal_form import as_array
from neuro.nn.net import Net

By = Literal["layer", "channel"]
Values = Mapping[str, Shaped[np.ndarray, "B ..."]]  # of one tick, by Input
AT_ONCE = 2**24  # values of all nodes that a batch holds at a time


class ErrorParts(NamedTuple):
    """What separates spikes from the ReLU of their own mean input; the sum is the difference.

    clipped: the input exceeds the scale. quantisation: T ticks show T + 1 values.
    unevenness: spikes too many or too few, because inputs arrived in another order than evenly;
        the layers before cause it.
    """

    clipped: Any
    quantisation: Any
    unevenness: Any


@dataclass(frozen=True, kw_only=True)
class ConvertedLayer:
    """What a layer loses by conversion at its own input; errors inherited are not included.

    scale: mean over channels [units of the ANN].
    clipped, quantisation, unevenness: mean absolute parts, see :class:`ErrorParts`; total: mean
        absolute difference. All are shares of the layer's mean ReLU.
    rate: spikes per neuron and tick.
    first_spike: the tick in which the first of all its neurons fires, from 1; 0: none does.
    """

    name: str
    scale: float
    clipped: float
    quantisation: float
    unevenness: float
    total: float
    rate: float
    first_spike: int

    @property
    def own_error(self) -> float:
        """The larger of the parts that its own scale causes: clipped and quantisation."""
        return max(self.clipped, self.quantisation)


@dataclass(frozen=True, kw_only=True)
class MeasuredConversion:
    """A conversion, measured on samples. logits: (B K), per number of ticks."""

    layers: Sequence[ConvertedLayer]
    logits: Mapping[int, np.ndarray]


@torch.no_grad()
def find_scales(
    graph: Graph, inputs: Values, percentile: float = 99.9, by: By = "channel"
) -> dict[str, Scale]:
    """Return the scale of each ReLU of an ANN: a percentile of its outputs on samples.

    Args:
        graph: the ANN, see :func:`neuro.graph.convert.convert`.
        inputs: samples, one array B *N for each Input.
        percentile: exact, of all outputs of the layer, > 0 and <= 100, where it is the maximum.
        by: one scale for each "channel", or for each "layer", which needs longer runs. A
            channel whose percentile is 0 gets that of the layer. ReLUs with levels keep their
            own scale.

    Raises:
        ValueError: ``percentile`` is out of range, or a layer's percentile is 0; lists all.
    """
    if not 0 < percentile <= 100:
        raise ValueError(
            f"percentile is {percentile:g}; it must be > 0 and <= 100. Use 99.9, or 100 for "
            "the maximum"
        )
    require_samples(inputs)
    kept: dict[str, list[np.ndarray]] = {name: [] for name in list_measured(graph)}
    net = Net(graph).double()
    for batch in split_batches(graph, inputs):
        activity, _ = net(batch)
        for name, parts in kept.items():
            parts.append(activity[name][0, ..., None].flatten(2).float().numpy())  # B C _
    scales, silent = dict[str, Scale](), list[str]()
    for name in kept:
        values = np.concatenate(kept[name])
        whole = float(np.percentile(values, percentile))
        if not whole > 0:
            silent.append(name)
        each = np.percentile(values.swapaxes(0, 1).reshape(values.shape[1], -1), percentile, 1)
        scales[name] = whole if by == "layer" else np.where(each > 0, each, whole)
    if silent:
        raise ValueError(
            f"{', '.join(silent)}: the {percentile:g}th percentile of the outputs is 0 on "
            "these samples, so there is no scale; give other samples, or --percentile 100"
        )
    return scales


def require_samples(inputs: Values) -> None:
    """Raise a ValueError unless there is at least one sample."""
    if min(map(len, inputs.values()), default=0) < 1:
        raise ValueError("there are no samples; give at least one for each Input")


def list_measured(graph: Graph) -> list[str]:
    """Return the ReLUs without a scale of their own."""
    nodes = {name: graph.nodes[name] for name in list_activations(graph)}
    return [n for n, node in nodes.items() if isinstance(node, Pointwise) and not node.levels]


def split_batches(graph: Graph, inputs: Values) -> Iterator[dict[str, Tensor]]:
    """Yield batches of one tick (1 B *N) in float64 that memory holds."""
    size = max(1, AT_ONCE // max(1, sum(map(graph.size, graph.nodes))))
    samples = len(next(iter(inputs.values())))
    for i in range(0, samples, size):
        yield {
            n: torch.from_numpy(np.float64(x[None, i : i + size])) for n, x in inputs.items()
        }


def split_error(mean: Tensor, spikes: Tensor, scale: Tensor, ticks: int) -> ErrorParts:
    """Return the parts of scale spikes / ticks - relu(mean), value by value.

    mean: mean input over the ticks. spikes: their number. scale: of the neuron.
    """
    wanted = mean.clamp(min=0)
    clipped = wanted.minimum(scale)
    count = (ticks * mean / scale + 0.5).floor().clamp(0, ticks)
    return ErrorParts(
        clipped=clipped - wanted,
        quantisation=scale * count / ticks - clipped,
        unevenness=scale * (spikes - count) / ticks,
    )


class _Sums:
    """Sums of a layer over all samples. clips: whether the ANN clips at the scale, too."""

    def __init__(self, node: Any, *, clips: bool) -> None:
        self.scale = torch.from_numpy(np.array(as_array(node.threshold), np.float64))
        self.clips = clips
        self.parts = np.zeros(4)  # absolute: those of ErrorParts, and the total
        self.wanted = self.spikes = 0.0
        self.values = self.first = 0

    def add(self, mean: Tensor, spikes: Tensor, ticks: int) -> None:
        """Add samples; see :func:`split_error`."""
        own = mean.minimum(self.scale) if self.clips else mean
        parts = split_error(own, spikes, self.scale, ticks)
        every = (*parts, parts.clipped + parts.quantisation + parts.unevenness)
        self.parts += [float(part.abs().sum()) for part in every]
        self.wanted += float(own.clamp(min=0).sum())
        self.spikes += float(spikes.sum())
        self.values += spikes.numel()

    def summarise(self, name: str, ticks: int) -> ConvertedLayer:
        """Return what the layer loses."""
        shares = map(float, self.parts / (self.wanted or 1.0))
        return ConvertedLayer(
            name=name,
            scale=float(self.scale.mean()),
            **dict(zip((*ErrorParts._fields, "total"), shares, strict=True)),
            rate=self.spikes / (self.values * ticks),
            first_spike=self.first,
        )


@torch.no_grad()
def measure_conversion(
    graph: Graph, converted: Graph, inputs: Values, ticks: int, until: Sequence[int]
) -> MeasuredConversion:
    """Run a converted network on constant inputs; return what each layer loses in ``ticks``.

    Args:
        graph: the ANN. A ReLU with levels is trained to be clipped, which is then no error.
        converted: what :func:`neuro.graph.convert.convert` made of it.
        inputs: samples, one array B *N for each Input.
        ticks: length of the run after which the layers are measured.
        until: numbers of ticks at which the logits are kept; the run ends at the last.

    Raises:
        ValueError: there are no samples, or a number of ticks is not >= 1.
    """
    require_samples(inputs)
    for t in (ticks, *until):
        if t < 1:
            raise ValueError(f"ticks and until are {ticks} and {[*until]}; all must be >= 1")
    layers, open_ended = list_activations(graph), list_measured(graph)
    sums = {n: _Sums(converted.nodes[n], clips=n not in open_ended) for n in layers}
    logits: dict[int, list[np.ndarray]] = {t: [] for t in until}
    (output,) = converted.outputs
    net = Net(converted).double()
    for batch in split_batches(converted, inputs):
        state = None
        inputs_of: dict[str, Any] = dict.fromkeys(layers, 0.0)
        spikes_of: dict[str, Any] = dict.fromkeys(layers, 0.0)
        for t in range(1, max(ticks, *until) + 1):
            activity, state = net(batch, state)
            if t in logits:
                logits[t].append(activity[output][0].flatten(1).numpy() / t)
            if t > ticks:
                continue
            for name in layers:
                inputs_of[name] += sum(activity[e.source][0] for e in converted.into(name))
                spikes_of[name] += activity[name][0]
                if bool(activity[name].any()):  # batches run one after the other
                    sums[name].first = min(sums[name].first or t, t)
        for name in layers:
            sums[name].add(inputs_of[name] / ticks, spikes_of[name], ticks)
    return MeasuredConversion(
        layers=[sums[name].summarise(name, ticks) for name in layers],
        logits={t: np.concatenate(parts) for t, parts in logits.items()},
    )

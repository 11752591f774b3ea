"""A bound on the effect of rounding on membranes, which explains differing spikes.

Two runs of one Graph in float32 (torch, ``Grid(dtype=np.float32)``) add the same numbers in
different orders. As long as their spikes are equal, both approximate the same computation in
real numbers, and each membrane is within the bound computed here, for any order of its sums. So
the first spike that differs belongs to a membrane within the bound of its threshold; later
spikes may differ by any amount.

With u = eps / 2, K roundings and a sum of magnitudes m, the error of a sum is at most
K u / (1 - K u) m (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2).
Earlier errors pass through the same operations with the absolute values of the weights.

Axes: T ticks, B samples, ``*N`` a node's shape.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from neuro.graph import Concat, Connection, Graph, Input
from neuro.graph.connections import get_bias, get_weight
from neuro.graph.sparse import unroll_delays
from neuro.io.graph_digest import list_foreign_record
from neuro.neurons import Coefficients, LinearNeuron, has_normal_form
from neuro.neurons.normal_form import charge_membrane, reset_membrane, rest_membrane
from neuro.neurons.reset import SOFT_OR_HARD
from neuro.nn.net import record_activity
from neuro.spikes import Events, to_raster
from neuro.spikes.record import Record

OPERATIONS = 4  # roundings of a product, a sum and a coefficient, and terms of second order


class MembraneBound(NamedTuple):
    """Margins and bounds of a spiking population, along the spikes of a record.

    margin: v - threshold before the reset; -inf in a refractory period; a strict threshold
        fires above 0.
    bound: largest change of the margin by rounding; 0 in a refractory period.
    """

    margin: Float64[np.ndarray, "T B N"]
    bound: Float64[np.ndarray, "T B N"]


class FirstDifference(NamedTuple):
    """Where the spikes of a sample first differ, and how far rounding reaches there."""

    sample: int
    tick: int
    name: str
    neuron: int
    margin: float
    bound: float

    @property
    def is_rounding(self) -> bool:
        """Whether rounding explains the difference."""
        return abs(self.margin) <= self.bound


class _Values(NamedTuple):
    """The output of a node (T B *N): ``value``, with its ``error`` and number of ``terms``.

    magnitude: sum of the terms' magnitudes, to which rounding errors are proportional.
    """

    value: Tensor
    magnitude: Tensor
    error: Tensor
    terms: int

    @property
    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return all fields except ``terms``."""
        return self.value, self.magnitude, self.error


def bound_rounding(
    graph: Graph, record: Record, dtype: type[np.float32 | np.float64] = np.float32
) -> dict[str, MembraneBound]:
    """Return margins along the spikes of a record, and how far ``dtype`` can move them.

    Raises:
        ValueError: a node is not a connection, an LI, or a LIF or ALIF with soft or hard reset
            (lists all such nodes); or the record belongs to another graph.
    """
    if foreign := list_foreign_record(graph, record):
        raise ValueError(f"the record does not belong to this graph: {foreign[0]}")
    wrong = find_unbounded(graph)
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: bounds exist for connections, LIs, and neurons with a normal "
            "form and a soft or hard reset; cut the graph before these nodes"
        )
    return _Bounds(unroll_delays(graph).graph, record, dtype).find(graph.firing)


def find_unbounded(graph: Graph) -> list[str]:
    """List the nodes that :func:`bound_rounding` does not support."""
    return [n for n, node in graph.nodes.items() if not _is_bounded(node, graph)]


def _is_bounded(node: object, graph: Graph) -> bool:
    if isinstance(node, Input | Connection):
        return True
    if not has_normal_form(node):
        return False
    return not node.fires or node.coefficients(graph.dt).reset in SOFT_OR_HARD


def find_first_differences(
    graph: Graph,
    first: Record,
    second: Record,
    dtype: type[np.float32 | np.float64] = np.float32,
) -> list[FirstDifference]:
    """Return the first difference of each sample whose spikes differ.

    dtype: dtype of the run with the lower precision.

    Raises:
        ValueError: as in :func:`bound_rounding`.
    """
    apart = {n: to_raster(first.spikes[n]) != to_raster(second.spikes[n]) for n in graph.firing}
    if not any(differ.any() for differ in apart.values()):
        return []
    bounds, differences = bound_rounding(graph, first, dtype), []
    in_order = [name for name in graph.order if name in apart]
    each = np.stack([differ.any(2) for differ in apart.values()])
    any_apart = np.asarray(each.any(0))  # axes T B
    for sample in np.flatnonzero(any_apart.any(0)).tolist():
        tick = int(np.argmax(any_apart[:, sample]))
        name = next(n for n in in_order if apart[n][tick, sample].any())
        at = (tick, sample, int(np.argmax(apart[name][tick, sample])))
        margin, bound = (float(column[at]) for column in bounds[name])
        differences.append(FirstDifference(sample, tick, name, at[2], margin, bound))
    return differences


class _Bounds:
    """Values and errors of all nodes of a graph, given the spikes of a record."""

    def __init__(self, graph: Graph, record: Record, dtype: type) -> None:
        self.graph, self.record = graph, record
        rounded = np.finfo(dtype).eps + np.finfo(np.float64).eps  # margins are rounded too
        self.unit = float(rounded) / 2
        self.known: dict[str, _Values] = {}

    @torch.no_grad()
    def find(self, names: tuple[str, ...]) -> dict[str, MembraneBound]:
        """Return the bounds of firing populations."""
        return {name: self._follow_membrane(name)[0] for name in names}

    def _find_output(self, name: str) -> _Values:
        if name not in self.known:
            self.known[name] = self._compute_output(name)
        return self.known[name]

    def _compute_output(self, name: str) -> _Values:
        node = self.graph.nodes[name]
        if isinstance(node, Connection):
            return self._apply(node, self._find_input(name))
        if isinstance(node, Input) or name in self.graph.firing:
            raster = torch.as_tensor(to_raster(self.record.spikes[name])).double()
            value = raster.reshape(*raster.shape[:2], *self.graph.shapes[name])
            return _Values(value, value.abs(), torch.zeros_like(value), 1)
        return self._follow_membrane(name)[1]

    def _find_input(self, name: str) -> _Values:
        """Return the combined value of all edges into a node."""
        edges = self.graph.into(name)
        arriving = [_delay(self._find_output(e.source), e.delay) for e in edges]
        columns = zip(*(x.columns for x in arriving), strict=True)
        if isinstance(self.graph.nodes[name], Concat):
            axis = -len(self.graph.shapes[name])
            joined = (torch.cat(column, axis) for column in columns)
            return _make_values(joined, max(x.terms for x in arriving))
        added = (torch.stack(column).sum(0) for column in columns)
        return _make_values(added, sum(x.terms for x in arriving))

    def _apply(self, node: Connection, x: _Values) -> _Values:
        weight, bias = get_weight(node, torch.float64), get_bias(node, torch.float64)
        large, base = (None if p is None else p.abs() for p in (weight, bias))
        ones = None if weight is None else torch.ones_like(weight)
        fan_in = node.divisor * node.apply(torch.ones_like(x.value[0, :1]), ones).max()
        flat = [column.flatten(0, 1) for column in x.columns]
        value = node.apply(flat[0], weight, bias)
        magnitude, error = node.apply(flat[1], large, base), node.apply(flat[2], large)
        shape = (*x.value.shape[:2], *value.shape[1:])
        columns = (column.reshape(shape) for column in (value, magnitude, error))
        return _make_values(columns, x.terms + int(fan_in) + OPERATIONS)

    def _follow_membrane(self, name: str) -> tuple[MembraneBound, _Values]:
        """Return the bounds of a population, or the output of an LI."""
        neuron: LinearNeuron = self.graph.nodes[name]  # type: ignore[assignment]
        x = self._find_input(name)
        share = x.terms * self.unit / (1 - x.terms * self.unit)
        off = x.error * (1 + share) + share * x.magnitude
        fired = self._find_output(name).value.numpy() if neuron.fires else None
        k = neuron.coefficients(self.graph.dt)
        v, errors, bounds = integrate_membranes(
            k, x.value.numpy(), fired, off.numpy(), OPERATIONS * self.unit
        )
        value = torch.as_tensor(v)
        return bounds, _Values(value, value.abs(), torch.as_tensor(errors), 1)


def integrate_membranes(
    k: Coefficients,
    x: np.ndarray,
    fired: np.ndarray | None,
    off: np.ndarray | float = 0.0,
    unit: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, MembraneBound]:
    """Return membranes before their reset and their errors (T B *N), and the bounds.

    x: input, whose errors are ``off``.
    fired: spikes, which reset the membranes; None for a read-out.
    unit: relative error of one operation.
    """
    after = rest_membrane(*x.shape[1:])
    off_i, off_v, off_a = np.zeros((3, *x.shape[1:]))
    values, errors, margin, bound = (np.empty_like(x) for _ in range(4))
    for t, (x_t, off_x) in enumerate(zip(x, np.broadcast_to(off, x.shape), strict=True)):
        free, state = after.free, charge_membrane(k, after, x_t, k.decay * after.v)
        off_i = k.decay_syn * off_i + off_x + unit * (k.decay_syn * abs(after.i) + abs(x_t))
        moved = k.decay * off_v + k.gain * off_i
        moved += unit * (k.decay * abs(after.v) + k.gain * abs(state.i))
        off_v = np.where(free, moved, off_v)
        off_a = k.decay_adapt * off_a + unit * state.a
        values[t], errors[t] = state.v, off_v
        if fired is None:
            after = state
            continue
        high = k.threshold + state.a
        margin[t] = np.where(free, state.v - high, -np.inf)
        bound[t] = np.where(free, off_v + off_a + unit * high, 0)
        s = fired[t] > 0
        by = abs(k.subtracted) + state.a
        after_reset = off_v + off_a + unit * (by + abs(state.v))
        off_v = np.where(s, unit * abs(k.reset_to) if k.hard else after_reset, off_v)
        off_a = off_a + unit * (state.a + k.beta) * s
        after = reset_membrane(k, state, s)
    flat = (*x.shape[:2], -1)
    return values, errors, MembraneBound(margin.reshape(flat), bound.reshape(flat))


def _delay(x: _Values, ticks: int) -> _Values:
    """Return the values delayed by ``ticks`` ticks."""
    return _make_values((delay_ticks(column, ticks) for column in x.columns), x.terms)


def delay_ticks(x: Tensor, ticks: int) -> Tensor:
    """Return T ticks of which the first are 0, and the others ``ticks`` late."""
    return torch.cat([torch.zeros_like(x[:ticks]), x])[: len(x)]


def _make_values(columns: Iterable[Tensor], terms: int) -> _Values:
    value, magnitude, error = columns
    return _Values(value, magnitude, error, terms)


def count_near(bounds: Mapping[str, MembraneBound]) -> dict[str, int]:
    """Count, by population, membranes nearer to the threshold than their rounding bound."""
    return {n: int((abs(b.margin) <= b.bound).sum()) for n, b in bounds.items()}


def compute_margins(
    graph: Graph, inputs: Mapping[str, Events], name: str
) -> Float64[np.ndarray, "T B N"]:
    """Return v - threshold of a spiking population at every tick before its reset (float64).

    In a refractory period it is minus infinity. A strict threshold fires above 0, others at 0.

    Raises:
        ValueError: ``name`` is not a spiking population with a normal form and a soft or hard
            reset.
    """
    neuron = graph.nodes[name]
    if not has_normal_form(neuron) or not neuron.fires:
        raise ValueError(
            f"{name}: a {type(neuron).__name__} has no threshold; use the name of a LIF or an "
            "ALIF"
        )
    if (reset := neuron.coefficients(graph.dt).reset) not in SOFT_OR_HARD:
        raise ValueError(
            f"{name}: margins exist for soft and hard resets, got {str(reset)!r}; use one of "
            "them"
        )
    activity = record_activity(graph, inputs)
    currents = [delay_ticks(activity[e.source], e.delay) for e in graph.into(name)]
    x = torch.stack(currents).sum(0).numpy()
    k, fired = neuron.coefficients(graph.dt), activity[name].numpy()
    _, _, bounds = integrate_membranes(k, x, fired)
    return bounds.margin

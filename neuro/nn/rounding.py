"""How far rounding may move a membrane: what spikes that differ between two runs are judged by.

Two runs of one Graph in float32 (torch, ``Grid(dtype=np.float32)``) add the same numbers in
other orders. As long as their spikes are equal, both follow one and the same computation in
real numbers, and each membrane of theirs is as near to that as the bound computed here,
whatever the order of its sums. So the first spike that differs is one whose membrane stood
within the bound of its threshold; what follows from it may lie anywhere.

With u = eps / 2, K roundings and a sum of magnitudes m, a sum is off by K u / (1 - K u) m at
most (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2). Errors that
are there already go through the same operations, with weights taken absolutely.

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
from neuro.neurons import LinearNeuron, has_normal_form
from neuro.neurons.membrane import charge_membrane, reset_membrane, rest_membrane
from neuro.neurons.reset import SOFT_OR_HARD
from neuro.record import Record
from neuro.spikes import to_raster

OPERATIONS = 4  # roundings of a product and a sum, those of a coefficient and of second order


class MembraneBound(NamedTuple):
    """Of a population that fires. margin: v - threshold before the reset, along given spikes.

    bound: how far rounding may move that. In a refractory period -inf and 0.
    """

    margin: Float64[np.ndarray, "T B N"]
    bound: Float64[np.ndarray, "T B N"]


class FirstDifference(NamedTuple):
    """Where the spikes of a sample first differ, and what rounding may do there."""

    sample: int
    tick: int
    name: str
    neuron: int
    margin: float
    bound: float

    @property
    def is_rounding(self) -> bool:
        """Say whether rounding explains it."""
        return abs(self.margin) <= self.bound


class _Values(NamedTuple):
    """What a node puts out (T B *N): ``value``, off by ``error`` and ``terms`` roundings.

    magnitude: the sum of the magnitudes of what was added; a rounding is a share of it.
    """

    value: Tensor
    magnitude: Tensor
    error: Tensor
    terms: int

    @property
    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return all but ``terms``."""
        return self.value, self.magnitude, self.error


def bound_rounding(
    graph: Graph, record: Record, dtype: type[np.float32 | np.float64] = np.float32
) -> dict[str, MembraneBound]:
    """Return margins along the spikes of a record, and how far ``dtype`` may move them.

    Raises:
        ValueError: a node is no connection, LI, or LIF or ALIF with soft or hard reset; lists
            all of them. Or the record is of another graph.
    """
    if foreign := list_foreign_record(graph, record):
        raise ValueError(f"the record does not belong to this graph: {foreign[0]}")
    wrong = find_unbounded(graph)
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: how rounding acts is known of connections, LIs, and neurons "
            "of the normal form with a soft or hard reset; end the graph before"
        )
    return _Bounds(unroll_delays(graph).graph, record, dtype).find(graph.firing)


def find_unbounded(graph: Graph) -> list[str]:
    """Return the nodes of which :func:`bound_rounding` knows nothing."""
    return [n for n, node in graph.nodes.items() if not _is_bounded(node, graph)]


def _is_bounded(node: object, graph: Graph) -> bool:
    if isinstance(node, Input | Connection):
        return True
    if not has_normal_form(node):
        return False
    return not node.fires or node.coefficients(graph.dt).reset in SOFT_OR_HARD


def find_first_differences(
    graph: Graph,
    one: Record,
    other: Record,
    dtype: type[np.float32 | np.float64] = np.float32,
) -> list[FirstDifference]:
    """Return, for each sample whose spikes differ, where they do first.

    dtype: of the run that rounds more.

    Raises:
        ValueError: as :func:`bound_rounding`.
    """
    apart = {n: to_raster(one.spikes[n]) != to_raster(other.spikes[n]) for n in graph.firing}
    if not any(differ.any() for differ in apart.values()):
        return []
    bounds, found = bound_rounding(graph, one, dtype), []
    in_order = [name for name in graph.order if name in apart]
    any_apart = np.stack([differ.any(2) for differ in apart.values()]).any(0)  # T B
    for sample in np.flatnonzero(any_apart.any(0)).tolist():
        tick = int(np.argmax(any_apart[:, sample]))
        name = next(n for n in in_order if apart[n][tick, sample].any())
        at = (tick, sample, int(np.argmax(apart[name][tick, sample])))
        margin, bound = (float(column[at]) for column in bounds[name])
        found.append(FirstDifference(sample, tick, name, at[2], margin, bound))
    return found


class _Bounds:
    """Values and errors of the nodes of a graph, its spikes being those of a record."""

    def __init__(self, graph: Graph, record: Record, dtype: type) -> None:
        self.graph, self.record = graph, record
        rounded = np.finfo(dtype).eps + np.finfo(np.float64).eps  # the margins are rounded too
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
        """Return what the edges into a node bring."""
        edges = self.graph.into(name)
        given = [_delay(self._find_output(e.source), e.delay) for e in edges]
        columns = zip(*(g.columns for g in given), strict=True)
        if isinstance(self.graph.nodes[name], Concat):
            axis = -len(self.graph.shapes[name])
            joined = (torch.cat(column, axis) for column in columns)
            return _make_values(joined, max(g.terms for g in given))
        added = (torch.stack(column).sum(0) for column in columns)
        return _make_values(added, sum(g.terms for g in given))

    def _apply(self, node: Connection, x: _Values) -> _Values:
        weight, bias = get_weight(node, torch.float64), get_bias(node, torch.float64)
        large, base = (None if p is None else p.abs() for p in (weight, bias))
        ones = None if weight is None else torch.ones_like(weight)
        fan_in = node.divisor * node.apply(torch.ones_like(x.value[0, :1]), ones).max()
        flat = [column.flatten(0, 1) for column in x.columns]
        value = node.apply(flat[0], weight, bias)
        magnitude, error = node.apply(flat[1], large, base), node.apply(flat[2], large)
        shape = (*x.value.shape[:2], *value.shape[1:])
        made = (column.reshape(shape) for column in (value, magnitude, error))
        return _make_values(made, x.terms + int(fan_in) + OPERATIONS)

    def _follow_membrane(self, name: str) -> tuple[MembraneBound, _Values]:
        """Return the bounds of a population, and what an LI puts out."""
        neuron: LinearNeuron = self.graph.nodes[name]  # type: ignore[assignment]
        x = self._find_input(name)
        share = x.terms * self.unit / (1 - x.terms * self.unit)
        off = x.error * (1 + share) + share * x.magnitude
        fired = self._find_output(name).value.numpy() if neuron.fires else None
        v, errors, found = self._integrate(neuron, x.value.numpy(), off.numpy(), fired)
        value = torch.as_tensor(v)
        return found, _Values(value, value.abs(), torch.as_tensor(errors), 1)

    def _integrate(
        self, neuron: LinearNeuron, x: np.ndarray, off: np.ndarray, fired: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, MembraneBound]:
        """Return v and its errors before resets, which ``fired`` makes, and the bounds."""
        k, some = neuron.coefficients(self.graph.dt), OPERATIONS * self.unit
        state = rest_membrane(*x.shape[1:])
        off_i, off_v, off_a = (np.zeros(x.shape[1:]) for _ in range(3))
        values, errors, margin, bound = (np.empty_like(x) for _ in range(4))
        for t, (x_t, off_x) in enumerate(zip(x, off, strict=True)):
            before, state = state, charge_membrane(k, state, x_t, k.decay * state.v)
            v, i, a, _ = state
            off_i = k.decay_syn * off_i + off_x
            off_i += some * (k.decay_syn * abs(before.i) + abs(x_t))
            moved = k.decay * off_v + k.gain * off_i
            moved += some * (k.decay * abs(before.v) + k.gain * abs(i))
            off_v = np.where(state.free, moved, off_v)
            off_a = k.decay_adapt * off_a + some * a
            values[t], errors[t] = v, off_v
            if fired is None:
                continue
            high = k.threshold + a
            margin[t] = np.where(state.free, v - high, -np.inf)
            bound[t] = np.where(state.free, off_v + off_a + some * high, 0)
            s = fired[t] > 0
            off_v = np.where(s, 0 if k.hard else off_v + off_a + some * (high + abs(v)), off_v)
            off_a = off_a + some * (a + k.beta) * s
            state = reset_membrane(k, state, s)
        flat = (*x.shape[:2], -1)
        return values, errors, MembraneBound(margin.reshape(flat), bound.reshape(flat))


def _delay(x: _Values, ticks: int) -> _Values:
    """Return what arrives so many ticks later."""
    late = (torch.cat([torch.zeros_like(c[:ticks]), c])[: len(c)] for c in x.columns)
    return _make_values(late, x.terms)


def _make_values(columns: Iterable[Tensor], terms: int) -> _Values:
    value, magnitude, error = columns
    return _Values(value, magnitude, error, terms)


def count_near(bounds: Mapping[str, MembraneBound]) -> dict[str, int]:
    """Return how many membranes of each population lie within the bound of their threshold."""
    return {n: int((abs(b.margin) <= b.bound).sum()) for n, b in bounds.items()}

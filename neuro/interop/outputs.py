"""Follows what a module returns back to the values of one tick.

A Graph outputs values at every tick. If a module combines several ticks, for example in a sum
or a mean, that is its decoding (:mod:`neuro.interop.decoding`). Axes: ``*N`` of one tick of one
sample.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from neuro.graph import Weighted
from neuro.interop.recording import (
    Applied,
    Lost,
    RecordedConstant,
    RecordedLayer,
    Result,
    Series,
    StimulusTick,
    Symbol,
    Total,
)

MIN_TICKS = 3  # needed to see what is passed on from tick to tick


def follow_outputs(values: Iterable[Symbol]) -> "ModuleOutputs":
    """Return what is known about the values that a module returned."""
    returned = list(values)
    found = ModuleOutputs(every_tick=len({find_tick(value) for value in returned}) > 1)
    last = max(map(find_tick, returned), default=0)
    for value in returned:
        # A sum of several ticks before the last is one of the running sums: the last sum has
        # all.
        if find_tick(value) == last or len({*map(find_tick, _list_terms(value))}) == 1:
            found.visit(value)
    return found


@dataclass
class ModuleOutputs:
    """The values of one tick that a module returns.

    every_tick: whether the visited value is one of the values of many ticks.
    early: sums and layers of ticks before the last.
    parts: the same, and those of the last tick.
    notes: what the module does with the values.
    weights: layers that take several ticks, which only a decoding can hold, each with a cure.
    """

    every_tick: bool
    values: dict[tuple[object, str], Symbol] = field(default_factory=dict)
    early: list[Symbol] = field(default_factory=list)
    parts: list[Symbol] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)

    def visit(self, value: Symbol) -> None:
        """Follow a returned value to the values of one tick."""
        several = _list_added_ticks(value, every_tick=self.every_tick)
        if several:
            self._visit_ticks(several)
            return
        match value:
            case Series():
                self._visit_ticks(value.parts)
            case Lost():
                if value.weighted:
                    self.weights.append(f"{value.where}: {value.what}")
                for source in value.sources:
                    self.visit(source)
            case Applied() if what := self._find_several(value):
                self._take_apart(value, what)
            case Applied() if value.layer.kind in _MOVES:
                self.visit(value.sources[0])
            case Result():
                self.values.setdefault((value.neuron.name, value.key), value)
            case Applied() | Total():
                self.values[id(value), ""] = value
                self.parts.append(value)

    def _visit_ticks(self, parts: Iterable[Symbol]) -> None:
        """Follow all values of the last tick, and keep earlier ones for comparison."""
        before, self.every_tick = self.every_tick, True
        ticks = [(find_tick(part), part) for part in parts]
        last = max((tick for tick, _ in ticks), default=0)
        ends = [part for tick, part in ticks if tick == last]
        if not any(_find_added(part, every_tick=True) for part in ends):  # which has them all
            early = [_skip_moves(part) for tick, part in ticks if tick < last]
            self.early += [part for part in early if isinstance(part, Applied | Total)]
            self.parts += early
        for part in ends:
            self.visit(part)
        self.every_tick = before

    def _find_several(self, value: Applied) -> str:
        """Describe the several ticks that a layer takes; "" if it takes one tick."""
        if _find_added(value, every_tick=self.every_tick):
            return "a sum over several ticks"
        lost = next((v for v in list_leaves(value) if isinstance(v, Lost)), None)
        return f"what {lost.what.partition(' ')[0]} made of several ticks" if lost else ""

    def _take_apart(self, value: Applied, what: str) -> None:
        """Follow a layer that takes several ticks to each of them."""
        if not _keeps_order(value.layer):
            self.weights.append(
                f"{value.where}: {value.layer.name} takes {what}, which a Graph cannot hold; "
                "let it act in every tick, and decode its output"
            )
        for source in value.sources:
            self.visit(source)

    def note_factors(self, factors: Iterable[str]) -> None:
        """Note the neurons whose spikes the module returns with other values than 1."""
        for value in self.values.values():
            if isinstance(value, Result) and value.neuron.name in factors:
                what = f"{value.neuron.name}: factor"
                self.notes[what] = "of the output, left out: a spike is 1"


_MOVES = ("flatten", "unflatten")


def _skip_moves(value: Symbol) -> Symbol:
    """Return what a value was before its shape changed."""
    while isinstance(value, Applied) and value.layer.kind in _MOVES:
        value = value.sources[0]
    return value


def _keeps_order(layer: RecordedLayer) -> bool:
    """Say whether a layer has no weights, or one factor > 0 and one bias for all values."""
    for node in layer.nodes:
        if isinstance(node, Weighted):
            factor, bias = np.unique(node.weight), node.bias
            if layer.kind != "scale" or len(factor) != 1 or factor[0] <= 0:
                return False
            if bias is not None and len(np.unique(bias)) != 1:
                return False
    return True


def _list_added_ticks(value: Symbol, *, every_tick: bool) -> list[Symbol]:
    """Return the ticks of a sum over ticks; [] if the value is something else.

    every_tick: whether it is one value of many ticks; a sum over ticks then starts at the
        first.
    """
    if not isinstance(value, Total):
        return []
    ticks: dict[int, list[Symbol]] = {}
    for term in _list_terms(value):
        if not isinstance(term, RecordedConstant):
            ticks.setdefault(find_tick(term), []).append(term)
    last = max(ticks, default=0)
    whole = last >= MIN_TICKS - 1 and sorted(ticks) == list(range(last + 1))
    if len(ticks) < 2 or (every_tick and not whole):
        return []
    return [
        terms[0] if len(terms) == 1 else Total(shape=value.shape, terms=tuple(terms))
        for _, terms in sorted(ticks.items())
    ]


def _list_terms(value: Symbol) -> Iterator[Symbol]:
    """Yield the terms of a sum; nested sums are expanded."""
    if isinstance(value, Total):
        for term in value.terms:
            yield from _list_terms(term)
    else:
        yield value


def _find_added(value: Symbol, *, every_tick: bool) -> bool:
    """Say whether a value is a sum over ticks, or a layer that takes one."""
    if isinstance(value, Applied):
        return any(_find_added(v, every_tick=every_tick) for v in value.sources)
    return bool(_list_added_ticks(value, every_tick=every_tick))


def list_leaves(value: Symbol) -> Iterator[Symbol]:
    """Yield the results, stimuli and lost values from which a value is made."""
    match value:
        case Applied():
            parts: tuple[Symbol, ...] = value.sources
        case Total():
            parts = value.terms
        case Series():
            parts = value.parts
        case _:
            yield value
            return
    for part in parts:
        yield from list_leaves(part)


def find_tick(value: Symbol) -> int:
    """Return the tick in which a value is computed: the latest of its sources."""
    ticks = [
        leaf.neuron.tick if isinstance(leaf, Result) else leaf.tick or 0
        for leaf in list_leaves(value)
        if isinstance(leaf, Result | StimulusTick)
    ]
    return max(ticks, default=0)

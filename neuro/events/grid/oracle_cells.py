"""Plain Python neurons without a normal form, for the oracle of the grid.

Each is written directly from its model's equation, one number at a time. ``step`` advances one
tick and returns the value of the spike, or 0 without a spike.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from neuro.neurons import Delta, LIFReset, SigmaDelta, TernaryLIF
from neuro.neurons.normal_form import as_array

Pick = Callable[[Any], float]  # returns a neuron's parameter, given its population's


@runtime_checkable  # tests check types
class Cell(Protocol):
    """One neuron."""

    def step(self, x: float) -> float:
        """Advance one tick with the input x; return the spike."""


class TernaryCell:
    """A neuron of a TernaryLIF."""

    def __init__(self, node: TernaryLIF, pick: Pick, dt: float) -> None:
        self.keep = math.exp(-dt / pick(node.tau))
        self.keep_current = 0.0 if node.tau_syn is None else math.exp(-dt / pick(node.tau_syn))
        self.upper, self.lower = pick(node.threshold), pick(node.lower)
        self.v = self.i = 0.0

    def step(self, x: float) -> float:
        """Advance one tick."""
        self.i = self.keep_current * self.i + x
        self.v = self.keep * self.v + self.i
        fired = float(self.v >= self.upper) - float(self.v <= -self.lower)
        if fired:
            self.v = 0.0
        return fired


class ResettingCell:
    """A neuron of a LIFReset."""

    def __init__(self, node: LIFReset, pick: Pick, dt: float) -> None:
        self.keep = math.exp(-dt / pick(node.tau))
        self.keep_current = 0.0 if node.tau_syn is None else math.exp(-dt / pick(node.tau_syn))
        self.threshold, self.hard = pick(node.threshold), node.reset == "hard"
        self.period, self.interval = round(node.refractory / dt), node.interval
        self.offset = node.offset % node.interval
        self.v = self.i = 0.0
        self.tick = self.wait = 0

    def step(self, x: float) -> float:
        """Advance one tick."""
        if self.tick % self.interval == self.offset:
            self.v, self.i, self.wait = 0.0, 0.0, 0
        self.tick += 1
        self.i = self.keep_current * self.i + x
        if self.wait:
            self.wait -= 1
            return 0.0
        self.v = self.keep * self.v + self.i
        if self.v < self.threshold:
            return 0.0
        self.v = 0.0 if self.hard else self.v - self.threshold
        self.wait = self.period
        return 1.0


class DeltaCell:
    """A neuron of a Delta, or of a SigmaDelta."""

    def __init__(self, node: Delta | SigmaDelta, pick: Pick, dt: float) -> None:  # noqa: ARG002
        self.node, self.threshold = node, pick(node.threshold)
        self.adds_up = isinstance(node, SigmaDelta)
        self.bias = pick(node.bias) if isinstance(node, SigmaDelta) else 0.0
        self.rectifies = isinstance(node, SigmaDelta) and node.relu
        self.sigma = self.value = self.residue = self.error = 0.0

    def step(self, x: float) -> float:
        """Advance one tick."""
        self.sigma = self.sigma + x if self.adds_up else x
        y = self.sigma + self.bias
        if self.rectifies and y < 0:
            y = 0.0
        change = y - self.value + self.residue
        self.value = y
        self.error += change
        large = abs(self.error if self.node.cumulative else change) >= self.threshold
        sent = change if large else 0.0
        self.residue = change - sent
        if sent:
            self.error = 0.0
        if self.node.spike_exp is None:
            return sent
        return math.floor(sent * 2**self.node.spike_exp) / 2**self.node.spike_exp


CELLS: Mapping[type, Callable[[Any, Pick, float], Cell]] = {
    TernaryLIF: TernaryCell,
    LIFReset: ResettingCell,
    Delta: DeltaCell,
    SigmaDelta: DeltaCell,
}


def make_cells(node: Any, shape: tuple[int, ...], dt: float) -> list[Cell]:
    """Return the neurons of a population, in C order.

    Raises:
        TypeError: this model has no plain form here.
    """
    make = CELLS.get(type(node))
    if make is None:
        raise TypeError(f"the oracle has no plain neuron of a {type(node).__name__}")

    def pick(place: tuple[int, ...], parameter: Any) -> float:
        return float(np.broadcast_to(as_array(parameter), shape)[place])

    return [make(node, partial(pick, place), dt) for place in np.ndindex(*shape)]

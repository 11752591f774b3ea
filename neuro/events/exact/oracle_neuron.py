"""One neuron in continuous time, from its analytic solution, for the oracle.

    dv/dt = -rate v + push + sum_k unit_k y_k       dy_k/dt = -rate_k y_k + drive_k

Between events v is a sum of exponentials. A sum of n exponentials has at most n - 1 zeros, and
they lie between the zeros of a sum of n - 1 (Rolle): so the first crossing is found by
bisection between all extrema, and none is missed.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

Arithmetic = Any  # a module with exp and expm1: math or mpmath
Number = Any  # what it computes with
Terms = list[tuple[Number, list[Number]]]  # (rate, p): the sum of p(t) exp(-rate t)


def passed(m: Arithmetic, one: Number, other: Number, h: Number) -> Number:
    """Return the integral over s from 0 to h of exp(-one (h - s)) exp(-other s)."""
    gap = abs(one - other)
    ratio = h if gap == 0 else -m.expm1(-gap * h) / gap
    return m.exp(-min(one, other) * h) * ratio


def each_tick(m: Arithmetic, rate: Number, dt: Number) -> Number:
    """Return the push [1/s] that equals, at the ends of ticks, an addition of 1 every tick."""
    return rate / -m.expm1(-rate * dt) if rate else 1 / dt


class Current:
    """A synaptic current or an LI: y [weight units] at ``since`` [s]; bias: added a tick."""

    def __init__(
        self, m: Arithmetic, rate: Number, gain: Number, bias: Number, dt: Number
    ) -> None:
        self.m, self.rate, self.gain = m, rate, gain
        self.drive = gain * bias * each_tick(m, rate, dt)
        self.y = self.since = 0 * dt

    def value(self, t: Number) -> Number:
        """Return y at time t."""
        h = t - self.since
        kept = self.y * self.m.exp(-self.rate * h)
        return kept + self.drive * passed(self.m, self.rate, 0, h)

    def jump(self, t: Number, x: Number) -> None:
        """Receive x at time t."""
        self.y, self.since = self.value(t) + self.gain * x, t


class Cell:
    """One LIF or ALIF at time ``since`` [s].

    k: its :class:`neuro.neurons.normal_form.Dynamics`, a number a field. free: end of its
    refractory
    period. alarm: when something happens to it by itself; crosses: that is a crossing.
    """

    def __init__(
        self, m: Arithmetic, k: Mapping[str, Number], bias: Number, dt: Number
    ) -> None:
        self.m, self.k, self.dt = m, k, dt
        self.v = self.adapt = self.since = 0 * dt
        self.free = self.alarm = -math.inf
        self.crosses = False
        self.push = 0 * dt
        self.currents: list[tuple[Number, Current]] = []
        self.own: Current | None = None
        if "rate_syn" in k:
            self.own = Current(m, k["rate_syn"], 1 + 0 * dt, bias, dt)
            self.listen(self.own)
        else:
            self.push = k["gain"] * bias * each_tick(m, k["rate"], dt)

    def listen(self, current: Current) -> None:
        """Be pushed by a current, so much that on the grid it adds y to v every tick."""
        rate, other = self.k["rate"], current.rate
        decayed = passed(self.m, rate, other, self.dt)  # (a - c) / (other - rate)
        self.currents.append((self.k["gain"] / decayed, current))

    def move(self, t: Number) -> None:
        """Go to time t, before which nothing happens to it."""
        h = t - self.since
        if self.free <= self.since:
            self.v = self.membrane(h, self.pushes())
        self.adapt = self.adaptation(h)
        self.since = t

    def receive(self, x: Number) -> None:
        """Receive x now; a refractory membrane ignores it."""
        if self.own is not None:
            self.own.jump(self.since, x)
        elif self.free <= self.since:
            self.v += self.k["gain"] * x

    def fires(self) -> bool:
        """Fire if that is due now, and say so."""
        bar = self.k["threshold"] + self.adapt
        if self.free > self.since or self.v < bar:
            return False
        self.v = 0 * bar if self.k["reset"] else self.v - bar
        if math.isfinite(self.k["rate_adapt"]):
            self.adapt += self.k["beta"]
        self.free = self.since + self.k["refractory"]
        return True

    def look_ahead(self, stop: Number) -> None:
        """Set the alarm: the end of the refractory period, or the first crossing."""
        self.crosses = self.free <= self.since
        self.alarm = (
            self.crossing(stop - self.since) + self.since if self.crosses else self.free
        )

    def pushes(self) -> list[tuple[Number, Number]]:
        """Return (rate, size now) of all that pushes v; a constant has rate 0."""
        found = [(0 * self.dt, self.push)]
        for unit, current in self.currents:
            rest = current.drive / current.rate if current.drive else 0
            found.append((0 * self.dt, unit * rest))
            found.append((current.rate, unit * (current.value(self.since) - rest)))
        return [(rate, size) for rate, size in found if size]

    def membrane(self, h: Number, pushes: list[tuple[Number, Number]]) -> Number:
        """Return v in h seconds."""
        rate, m = self.k["rate"], self.m
        gained = (size * passed(m, rate, other, h) for other, size in pushes)
        return self.v * m.exp(-rate * h) + sum(gained)

    def adaptation(self, h: Number) -> Number:
        """Return the rise of the threshold in h seconds."""
        return self.adapt * self.m.exp(-self.k["rate_adapt"] * h) if self.adapt else self.adapt

    def crossing(self, horizon: Number) -> Number:
        """Return in how many seconds, ``horizon`` at most, v reaches the threshold, or inf."""
        pushes, bar = self.pushes(), self.k["threshold"]

        def distance(h: Number) -> Number:
            return self.membrane(h, pushes) - bar - self.adaptation(h)

        extrema = zeros(self.m, slope(self.terms(pushes)), horizon)
        for low, high in pairwise([0 * horizon, *extrema, horizon]):
            if distance(high) >= 0:
                return bisect(distance, low, high)
        return math.inf

    def terms(self, pushes: list[tuple[Number, Number]]) -> Terms:
        """Return v less the threshold as a sum of exponentials."""
        rate = self.k["rate"]
        found = {rate: [self.v, 0]}
        found.setdefault(0, [0, 0])[0] -= self.k["threshold"]
        if self.adapt:
            found.setdefault(self.k["rate_adapt"], [0, 0])[0] -= self.adapt
        for other, size in pushes:
            if other == rate:
                found[rate][1] += size
                continue
            found[rate][0] += size / (other - rate)
            found.setdefault(other, [0, 0])[0] -= size / (other - rate)
        return sorted(found.items())


def slope(terms: Terms) -> Terms:
    """Return the derivative of a sum of exponentials."""
    out = []
    for rate, p in terms:
        rises = [*(k * c for k, c in enumerate(p) if k), 0]
        out.append((rate, [up - rate * c for up, c in zip(rises, p, strict=True)]))
    return out


def zeros(m: Arithmetic, terms: Terms, end: Number) -> list[Number]:
    """Return where between 0 and ``end`` a sum of exponentials changes its sign, in order."""
    some = [(rate, p) for rate, p in terms if any(p)]
    signs = {c > 0 for _, p in some for c in p if c}
    if len(signs) < 2:
        return []
    slowest = some[0][0]
    level = [(rate - slowest, p) for rate, p in some]  # the same zeros, one term constant
    cuts = [0 * end, *zeros(m, slope(level), end), end]

    def value(t: Number) -> Number:
        return sum(
            m.exp(-rate * t) * sum(c * t**k for k, c in enumerate(p)) for rate, p in level
        )

    found = []
    for low, high in pairwise(cuts):
        rises = value(high) >= 0
        if rises != (value(low) >= 0):
            found.append(bisect(value, low, high, rises=rises))
    return found


def bisect(
    f: Callable[[Number], Number], low: Number, high: Number, *, rises: bool = True
) -> Number:
    """Return to the last digit where between low and high f rises to >= 0, or falls below."""
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if (f(middle) >= 0) == rises:
            high = middle
        else:
            low = middle

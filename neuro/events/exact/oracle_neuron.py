"""One neuron in continuous time, from its analytic solution, for the oracle.

    dv/dt = -rate v + drive + sum_k unit_k (y_k - rest_k)       dy_k/dt = -rate_k (y_k - rest_k)

Biases hold y_k at rest_k; the drive includes each rest_k's effect on v. Between events v is a
sum of exponentials. A sum of n exponentials has at most n - 1 zeros, which are separated by the
zeros of a sum of n - 1 exponentials (Rolle). So bisection between all extrema finds the first
crossing and misses none.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from neuro.events.grid.oracle import no_type_check

MARGIN = 1e-14  # a sum of weights this close below the threshold counts as reaching it
LEAST_RATE = 1e-4  # [1/tick]: with a slower leak, a membrane stays far from its rest

Arithmetic = Any  # a module with exp and expm1: math or mpmath
Number = Any  # a number of that module
Terms = list[tuple[Number, list[Number]]]  # (rate, p): the sum of p(t) exp(-rate t)


@no_type_check
def integrate_product(m: Arithmetic, rate: Number, rate_syn: Number, h: Number) -> Number:
    """Return the integral over s from 0 to h of exp(-rate (h - s)) exp(-rate_syn s)."""
    gap = abs(rate - rate_syn)
    ratio = h if gap == 0 else -m.expm1(-gap * h) / gap
    return m.exp(-min(rate, rate_syn) * h) * ratio


@no_type_check
def convert_to_drive(m: Arithmetic, rate: Number) -> Number:
    """Return the drive [1/tick] equivalent, at the ends of ticks, to an input of 1 per tick."""
    return rate / -m.expm1(-rate) if rate else 1 + 0 * rate


@no_type_check
class OracleCurrent:
    """A synaptic current or an LI: y [weight units] at ``time``. bias: input in every tick."""

    def __init__(self, m: Arithmetic, rate: Number, gain: Number, bias: Number) -> None:
        self.m, self.rate, self.gain = m, rate, gain
        self.steady = gain * bias * convert_to_drive(m, rate)
        self.y = self.time = 0 * rate

    def compute_y(self, t: Number) -> Number:
        """Return y at time t."""
        h = t - self.time
        kept = self.y * self.m.exp(-self.rate * h)
        return kept + self.steady * integrate_product(self.m, self.rate, 0, h)

    def receive(self, t: Number, x: Number) -> None:
        """Receive x at time t."""
        self.y, self.time = self.compute_y(t) + self.gain * x, t


@no_type_check
class OracleNeuron:
    """One LIF or ALIF at time ``time`` [ticks].

    k: its :class:`neuro.neurons.normal_form.Dynamics`, one number per field, with rates in
        1/tick and the refractory period in ticks.
    free_at: end of its refractory period.
    next_check: time at which, without input, it crosses its threshold (if ``crosses``) or its
        refractory period ends.
    """

    def __init__(self, m: Arithmetic, k: Mapping[str, Number], bias: Number) -> None:
        self.m, self.k, self.zero = m, k, 0 * k["rate"]
        self.v = self.adapt = self.time = self.zero
        self.free_at = self.next_check = -math.inf
        self.crosses = False
        self.drive = self.zero
        self.currents: list[tuple[Number, OracleCurrent]] = []
        self.own: OracleCurrent | None = None
        if "rate_syn" in k:
            self.own = OracleCurrent(m, k["rate_syn"], 1 + self.zero, bias)
            self.add_current(self.own)
        else:
            self.drive = k["gain"] * bias * convert_to_drive(m, k["rate"])

    def add_current(self, current: OracleCurrent) -> None:
        """Add a current as input, scaled so that on the grid it adds y to v every tick."""
        rate, rate_syn = self.k["rate"], current.rate
        # Equals (a - c) / (rate_syn - rate).
        decayed = integrate_product(self.m, rate, rate_syn, 1 + self.zero)
        self.currents.append((self.k["gain"] / decayed, current))

    def advance(self, t: Number) -> None:
        """Move to time t; the caller makes sure that no event reaches the neuron before."""
        h = t - self.time
        if self.free_at <= self.time:
            self.v = self.compute_v(h, self.list_drives())
        self.adapt = self.compute_adapt(h)
        self.time = t

    def receive(self, x: Number) -> None:
        """Receive x now; a refractory membrane ignores it."""
        if self.own is not None:
            self.own.receive(self.time, x)
        elif self.free_at <= self.time:
            self.v += self.k["gain"] * x

    def try_fire(self) -> bool:
        """Fire if the neuron is above threshold and free; say whether it fired."""
        threshold = self.k["threshold"] + self.adapt
        if self.free_at > self.time or self.v < threshold - self.compute_margin():
            return False
        less = self.v - (self.k["reset_by"] + self.adapt)
        self.v = self.k["reset_to"] if self.k["reset"] else less
        self.adapt += self.k["beta"]
        self.free_at = self.time + self.k["refractory"]
        return True

    def compute_margin(self) -> Number:
        """Return how far rounded parameters can leave a membrane below its threshold."""
        drive = sum(size for rate, size in self.list_drives() if rate == 0)
        rest = drive / max(self.k["rate"], LEAST_RATE) if self.k["rate"] else 0
        return MARGIN * (self.k["threshold"] + abs(rest))

    def predict(self, stop: Number) -> None:
        """Set next_check: the end of the refractory period, or the first crossing."""
        self.crosses = self.free_at <= self.time
        self.next_check = (
            self.find_crossing(stop - self.time) + self.time if self.crosses else self.free_at
        )

    def list_drives(self) -> list[tuple[Number, Number]]:
        """Return (rate, current size) of all inputs of v; a constant has rate 0."""
        drives = [(self.zero, self.drive)]
        for unit, current in self.currents:
            rest = current.steady / current.rate if current.steady else 0
            drive = self.k["gain"] * rest * convert_to_drive(self.m, self.k["rate"])
            drives.append((self.zero, drive))
            drives.append((current.rate, unit * (current.compute_y(self.time) - rest)))
        return [(rate, size) for rate, size in drives if size]

    def compute_v(self, h: Number, drives: list[tuple[Number, Number]]) -> Number:
        """Return v after h ticks."""
        rate, m = self.k["rate"], self.m
        gained = (size * integrate_product(m, rate, own_rate, h) for own_rate, size in drives)
        return self.v * m.exp(-rate * h) + sum(gained)

    def compute_adapt(self, h: Number) -> Number:
        """Return the rise of the threshold after h ticks."""
        return self.adapt * self.m.exp(-self.k["rate_adapt"] * h) if self.adapt else self.adapt

    def find_crossing(self, horizon: Number) -> Number:
        """Return the ticks, at most ``horizon``, until v reaches the threshold, or inf."""
        drives, threshold = self.list_drives(), self.k["threshold"]

        def distance(h: Number) -> Number:
            return self.compute_v(h, drives) - threshold - self.compute_adapt(h)

        extrema = find_zeros(self.m, differentiate(self.list_terms(drives)), horizon)
        for low, high in pairwise([0 * horizon, *extrema, horizon]):
            if distance(high) >= 0:
                return bisect(distance, low, high)
        return math.inf

    def list_terms(self, drives: list[tuple[Number, Number]]) -> Terms:
        """Return v minus the threshold as a sum of exponentials."""
        rate = self.k["rate"]
        terms = {rate: [self.v, 0]}
        terms.setdefault(0, [0, 0])[0] -= self.k["threshold"]
        if self.adapt:
            terms.setdefault(self.k["rate_adapt"], [0, 0])[0] -= self.adapt
        for own_rate, size in drives:
            if own_rate == rate:
                terms[rate][1] += size
                continue
            terms[rate][0] += size / (own_rate - rate)
            terms.setdefault(own_rate, [0, 0])[0] -= size / (own_rate - rate)
        return sorted(terms.items())


@no_type_check
def differentiate(terms: Terms) -> Terms:
    """Return the derivative of a sum of exponentials."""
    out = []
    for rate, p in terms:
        rises = [*(k * c for k, c in enumerate(p) if k), 0]
        out.append((rate, [up - rate * c for up, c in zip(rises, p, strict=True)]))
    return out


@no_type_check
def find_zeros(m: Arithmetic, terms: Terms, end: Number) -> list[Number]:
    """Return the times from 0 to ``end`` at which a sum of exponentials changes its sign."""
    nonzero = [(rate, p) for rate, p in terms if any(p)]
    signs = {c > 0 for _, p in nonzero for c in p if c}
    if len(signs) < 2:
        return []
    slowest = nonzero[0][0]
    level = [(rate - slowest, p) for rate, p in nonzero]  # same zeros, one term constant
    cuts = [0 * end, *find_zeros(m, differentiate(level), end), end]

    def value(t: Number) -> Number:
        return sum(
            m.exp(-rate * t) * sum(c * t**k for k, c in enumerate(p)) for rate, p in level
        )

    zeros = []
    for low, high in pairwise(cuts):
        rises = value(high) >= 0
        if rises != (value(low) >= 0):
            zeros.append(bisect(value, low, high, rises=rises))
    return zeros


@no_type_check
def bisect(
    f: Callable[[Number], Number], low: Number, high: Number, *, rises: bool = True
) -> Number:
    """Return where between low and high f rises to >= 0, or falls below 0 (rises=False).

    The result is correct to the last digit.
    """
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high
        if (f(middle) >= 0) == rises:
            high = middle
        else:
            low = middle

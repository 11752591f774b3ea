"""One sample through a network in continuous time.

Axes: T ticks, N neurons of a node, n cells of a component.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from neuro.events.clock import Exact
from neuro.events.exact.blocks import run_blocks
from neuro.events.exact.calendar import Plan, in_order
from neuro.events.exact.cells import Cells
from neuro.events.exact.compile import Component, Network, Readout
from neuro.events.exact.drive import Machine, run_windows
from neuro.events.exact.heap import run_heap
from neuro.events.exact.held import ROOM, SPARE, SPIKE, WATCHES, Fast
from neuro.events.exact.pack import pack
from neuro.events.exact.papers import Sent
from neuro.events.exact.readout import sample_values
from neuro.events.exact.trains import Train, by_name, deliveries, gather
from neuro.events.exact.wiring import Arrivals, Wiring


class Sample(NamedTuple):
    """What one sample did, by name of node or component.

    trains: spikes. values: LIs that are kept, T N. neurons: end states, 4 N. pending: what is
    under way, its times since the end. events, events_all: synaptic events, non-zero and all.
    updates: arrivals at neurons. held: whether the budget held; if not, the rest is left out.
    """

    trains: dict[str, Train]
    values: dict[str, np.ndarray]
    neurons: dict[str, np.ndarray]
    pending: dict[str, Arrivals]
    events: dict[str, int]
    events_all: dict[str, int]
    updates: dict[str, int]
    held: bool


def run_sample(
    network: Network,
    inputs: Mapping[str, Train],
    before: Mapping[str, np.ndarray],
    pending: Mapping[str, Arrivals],
    clock: Exact,
    kept: tuple[int, tuple[str, ...]],
) -> Sample:
    """Run one sample.

    before: the state of each population, 4 N. pending: by component. kept: T, and the LIs whose
    values are kept.
    """
    ticks, _ = kept
    stop = ticks * network.graph.dt
    done = Sample(dict(inputs), {}, {}, {}, {}, {}, {}, True)
    for c in network.components:
        cells = _cells(c, before)
        outside = gather(c.sources, c.outside, done.trains)
        under_way = pending[c.name]
        plan = _plan(network, c, clock, stop)
        sent, left, held = _run(c, cells, outside, under_way, plan, clock)
        _take(c, cells, sent, done, stop)
        both = Sent(*(np.concatenate(x) for x in zip(outside, sent, strict=True)))
        _count(c, deliveries(c.wiring, both, under_way, left), done)
        done.pending[c.name] = left._replace(time=left.time - stop)
        if not held:
            return done._replace(held=False)
    for r in network.readouts:
        _sample_readout(network, r, before, pending, done, kept)
    return done


def _cells(c: Component, before: Mapping[str, np.ndarray]) -> Cells:
    """Return the cells of a component in a state."""
    cell = c.template.copy().view(np.recarray)
    current = np.zeros(c.rate_syn.shape)
    for name, first in c.offsets.items():
        v, i, adapt, wait = before[name]
        here = slice(first, first + v.size)
        cell.v[here], cell.adapt[here] = v, adapt
        cell.free[here] = np.where(wait > 0, wait, -np.inf)
        for own in c.currents[name]:
            state = i if own.name == name else before[own.name][0]
            current[here, own.port] = state * own.unit - own.idle
    return Cells(cell, current, c.rate_syn)


def _plan(network: Network, c: Component, clock: Exact, stop: float) -> Plan:
    """Return windows a little shorter than the least delay in a loop, else as long as a tick.

    The difference is more than rounding can move a spike: none arrives in its own window.
    """
    loop = 0 < c.least < np.inf
    length = c.least * (1 - 1e-6) if loop else network.graph.dt
    length = min(length, clock.window or np.inf)
    return Plan(stop, length, max(c.longest, length), clock.budget)


def _run(
    c: Component, cells: Cells, outside: Sent, pending: Arrivals, plan: Plan, clock: Exact
) -> tuple[Sent, Arrivals, bool]:
    """Run a component with the driver that fits."""
    n = cells.cell.size
    fast = Fast(
        modes=np.zeros((cells.current.shape[1] + 1, n)),
        lists=np.zeros((WATCHES + 1, n), np.int64),
        origin=np.zeros(1),
        marks=np.zeros(n, np.bool_),
        until=np.zeros(c.edges.size),
    )
    room = np.empty(ROOM * n + SPARE * c.edges.size, SPIKE).view(np.recarray)
    machine = Machine(c.family, cells, fast, c.wiring, room, c.edges)
    if c.least == 0 or clock.driver == "heap":
        return run_heap(machine, outside, pending, plan)
    pack(c.family, cells, fast, c.edges)
    run = run_blocks if c.edges.size > 2 else run_windows
    return run(machine, outside, pending, plan)


def _take(c: Component, cells: Cells, sent: Sent, done: Sample, stop: float) -> None:
    """Keep the spikes and end states of the populations of a component."""
    for name, first in c.offsets.items():
        last = first + c.sizes[name]
        mine = (
            slice(None)
            if len(c.offsets) == 1
            else (sent.source >= first) & (sent.source < last)
        )
        neuron = (sent.source[mine] - first).astype(np.int32)
        done.trains[name] = Train(sent.time[mine], neuron, sent.value[mine])
        cell: Any = cells.cell[first:last]
        i = np.zeros(last - first)
        for own in c.currents[name]:
            state = (cells.current[first:last, own.port] + own.idle) / own.unit
            if own.name == name:
                i = state
            else:
                rest = np.zeros(last - first)
                done.neurons[own.name] = np.stack([state, rest, rest, rest])
        wait = np.maximum(cell.free - stop, 0.0)
        done.neurons[name] = np.stack([cell.v, i, cell.adapt, wait])


def _count(part: Component | Readout, times: np.ndarray, done: Sample) -> None:
    """Count what the synapses of a part served; those of a current once, for the LI."""
    synapses = part.wiring.bounds[:, -1] - part.wiring.bounds[:, 0]
    served, fed = part.names
    done.events.update(by_name(served, times * part.wiring.nonzero))
    done.events_all.update(by_name(served, times * synapses))
    done.updates.update(by_name(fed, times * synapses))


def _sample_readout(
    network: Network,
    r: Readout,
    before: Mapping[str, np.ndarray],
    pending: Mapping[str, Arrivals],
    done: Sample,
    kept: tuple[int, tuple[str, ...]],
) -> None:
    """Keep values, end state and pending of an LI."""
    ticks, names = kept
    dt = network.graph.dt
    sent = gather(r.sources, tuple(r.sources), done.trains)
    arrivals = all_arrivals(r.wiring, sent, pending[r.name])
    until = int(np.searchsorted(arrivals.time, (ticks + 1e-9) * dt, side="right"))
    left = Arrivals(*(column[until:] for column in arrivals))
    _count(r, deliveries(r.wiring, sent, pending[r.name], left), done)
    done.pending[r.name] = left._replace(time=left.time - ticks * dt)
    if r.name in names or r.name not in done.neurons:
        state = before[r.name][0].copy()
        values = sample_values(state, r.rate, r.push, r.wiring, arrivals, (ticks, dt))
        if r.name in names:
            done.values[r.name] = values
        rest = np.zeros(state.size)
        done.neurons.setdefault(r.name, np.stack([state, rest, rest, rest]))


def all_arrivals(wiring: Wiring, sent: Sent, pending: Arrivals) -> Arrivals:
    """Return what spikes send, and what was under way, in order of time."""
    first, last = wiring.groups[sent.source], wiring.groups[sent.source + 1]
    number = last - first
    which = np.repeat(np.arange(sent.time.size), number)
    group = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    group += first[which]
    time = sent.time[which] + wiring.delay[group]
    columns = zip((time, group, sent.value[which]), pending, strict=True)
    return in_order(Arrivals(*(np.concatenate(c) for c in columns)))

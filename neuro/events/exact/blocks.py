"""The window driver for one large network: blocks of cells side by side, one thread each.

Every thread walks all arrivals over the synapses of its own targets, and all wait for each
other at the end of a window. So every spike is bit for bit the same for any number of threads.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from neuro.events.exact.calendar import Plan, leftover, number_of_windows, turn
from neuro.events.exact.drive import (
    Machine,
    Sent,
    in_order,
    open_book,
    origin_for,
    post,
    some,
    span_of,
    window,
)
from neuro.events.exact.held import Span, room_of
from neuro.events.exact.pack import unpack
from neuro.events.exact.wiring import Arrivals


def run_blocks(
    machine: Machine, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Do as :func:`neuro.events.exact.drive.run_windows`, one thread a block of the machine."""
    book, wiring, edges = open_book(pending, plan), machine.wiring, machine.edges.tolist()
    parts = [Sent(np.zeros(0), np.zeros(0, np.int64), np.zeros(0))]
    heard, fired, origin, stop, held = 0, 0, 0.0, 0.0, True
    with ThreadPoolExecutor(len(edges) - 1) as pool:
        for w in range(number_of_windows(plan)):
            start, stop = span_of(plan, w)
            origin = origin_for(machine, origin, start, stop)
            until = heard + int(np.searchsorted(outside.time[heard:], stop, side="right"))
            book = post(book, wiring, some(outside, heard, until), w, plan)
            heard = until
            spans = [
                Span(edges[p], edges[p + 1], p, start, stop, origin)
                for p in range(len(edges) - 1)
            ]
            outs = [room_of(machine.room, span) for span in spans]
            counts = list(pool.map(partial(window, machine, turn(book, w)), spans, outs))
            if sum(counts) == 0:
                continue
            sent = _merged(outs, counts)
            fired += sent.time.size
            held = sum(counts) == sent.time.size and fired <= plan.budget
            book = post(book, wiring, sent, w + 1, plan)
            parts.append(sent)
            if not held:
                break
    span = Span(0, edges[-1], 0, origin, stop, origin)
    unpack(machine.family, machine.cells, machine.fast, span, machine.room)
    sent = Sent(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return sent, leftover(book), held


def _merged(outs: list[np.ndarray], counts: list[int]) -> Sent:
    """Return the spikes of all blocks, in order; those beyond the room of a block are lost."""
    found = [out[1 : 1 + count] for out, count in zip(outs, counts, strict=True)]
    spikes = np.concatenate([outs[0][:1], *found])
    return in_order(spikes, spikes.size - 1)

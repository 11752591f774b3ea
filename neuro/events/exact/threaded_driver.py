"""The window driver for one large network: blocks of cells side by side, one thread each.

Every thread walks all arrivals over the synapses of its own targets, and all wait for each
other at the end of a window. So every spike is bit for bit the same for any number of threads.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from neuro.events.exact.delay_queue import (
    ENTRIES,
    FIRED,
    NOTHING,
    WINDOW,
    Papers,
    Plan,
    Sent,
    collect,
    hear,
    leftover,
    more,
    number_of_windows,
    papers_of,
    send,
    turn,
)
from neuro.events.exact.scaled_state import unpack
from neuro.events.exact.step_general import Span, room_of
from neuro.events.exact.synapse_table import Arrivals
from neuro.events.exact.window_driver import Machine, begin, following, window


def run_blocks(
    machine: Machine, outside: Sent, pending: Arrivals, plan: Plan
) -> tuple[Sent, Arrivals, bool]:
    """Do as :func:`~neuro.events.exact.window_driver.run_windows`, one thread per block."""
    papers, wiring, edges = papers_of(pending, plan), machine.wiring, machine.edges.tolist()
    blocks, stop, held = range(len(edges) - 1), 0.0, True
    with ThreadPoolExecutor(len(blocks)) as pool:
        while held and papers.at[WINDOW] < number_of_windows(plan):
            while not hear(papers, wiring, outside, plan):
                papers = more(papers, ENTRIES)
            arrivals = turn(papers.book, papers.at[WINDOW], papers.desk)
            start, stop, origin = begin(machine, papers.at[WINDOW], plan)
            spans = [Span(edges[p], edges[p + 1], p, start, stop, origin) for p in blocks]
            counts = list(pool.map(partial(window, machine, papers.desk, arrivals), spans))
            if sum(counts) > 0:
                outs = [room_of(machine.room, span) for span in spans]
                papers = _sent(papers, machine, outs, plan)
                full = any(count >= out.size for count, out in zip(counts, outs, strict=True))
                held = not full and bool(papers.at[FIRED] <= plan.budget)
            papers.at[WINDOW] = following(machine, outside, papers, plan)
    unpack(machine.family, machine.cells, machine.fast, stop, machine.room)
    fired = papers.at[FIRED]
    sent = Sent(papers.time[:fired], papers.cell[:fired], np.ones(fired))
    return sent, leftover(papers.book), held


def _sent(papers: Papers, machine: Machine, outs: list[np.ndarray], plan: Plan) -> Papers:
    """Send the spikes of all blocks; return the papers, with room for them."""
    lacking = ENTRIES
    while lacking != NOTHING:
        spikes = 0
        for out in outs:
            spikes = collect(papers.desk, spikes, out)
        lacking = send(papers, machine.wiring, spikes, plan)
        if lacking != NOTHING:
            papers = more(papers, lacking)
    return papers

"""The delay queue of a run in windows: arrivals in a ring of look-ahead windows.

An arrival in window w waits in slot w mod (number of slots), unsorted. When the window begins,
its slot is emptied into a buffer and sorted by (time, group). The ring has more slots than the
longest delay has windows, so a slot holds one window only. Everything that arrives after the
run counts as the window after its last one, so that a long delay needs no more slots than the
run has windows. (NEST and SpiNNaker have such ring buffers of ticks; here a slot keeps exact
times within its window.)
"""

import math
from typing import NamedTuple

import numpy as np

from neuro.events.exact.synapse_table import GroupArrivals, SourceSpikes, SynapseTable
from neuro.ops.jit import bare, kernel

WORK_PER_STEP = 16
CAPACITY = 1024  # initial room for entries and spikes; it doubles as needed


class WindowBuffer(NamedTuple):
    """Room for the entries of one window: time [ticks], key (group or neuron) and value.

    sorted_time, sorted_key, sorted_value, bucket: scratch space of :func:`sort_buffer`.
    """

    time: np.ndarray
    key: np.ndarray
    value: np.ndarray
    sorted_time: np.ndarray
    sorted_key: np.ndarray
    sorted_value: np.ndarray
    bucket: np.ndarray


class WindowPlan(NamedTuple):
    """A run from 0 to ``stop`` [ticks] in windows of ``length`` [ticks].

    longest_delay: longest delay of all arrivals [ticks].
    quantum: quantum of instants, also of length and stop, see
        :mod:`~neuro.events.exact.membrane`.
    budget: most spikes.
    pause: amount of work after which a run returns to Python, which handles Ctrl-C; a neuron
        and a synaptic event count 1, a window and an arrival count WORK_PER_STEP.
    """

    stop: float
    length: float
    longest_delay: float
    quantum: float
    budget: int
    pause: int


class DelayQueue(NamedTuple):
    """A ring of slots, one per window; the entries of a slot form a linked list.

    head: first entry of each slot, or -1.
    time [ticks], group, value: by entry.
    next_entry: next entry in the same slot, or in the list of unused entries, which starts at
        first_free[0].
    used: one element, the number of entries in use.
    """

    head: np.ndarray
    time: np.ndarray
    group: np.ndarray
    value: np.ndarray
    next_entry: np.ndarray
    first_free: np.ndarray
    used: np.ndarray


class WindowRun(NamedTuple):
    """The state of a run in windows, which changes in place.

    queue: future arrivals.
    buffer: room for one window, as large as the queue.
    time [ticks], neuron: all spikes so far.
    progress: see WINDOW below.
    """

    queue: DelayQueue
    buffer: WindowBuffer
    time: np.ndarray
    neuron: np.ndarray
    progress: np.ndarray


# Entries of ``progress``: the next window; whether it has been run and its spikes wait to be
# sent; the number of queued spikes from outside; the number of spikes of the neurons; whether
# that exceeds the budget; the number of arrivals in the next window; and what all threads do
# next.
WINDOW, WAS_RUN, RECEIVED, FIRED, OVER_BUDGET, ARRIVALS, STEP = range(7)

# Is there room for the next step? Enough; too little in queue or buffer; too little for all
# spikes of the run. PAUSED: enough, but the run must return to Python. READY: run the next
# window.
ENOUGH, QUEUE_FULL, SPIKES_FULL, PAUSED, READY = range(5)


@bare
def count_windows(plan: WindowPlan) -> int:
    """Return the number of windows of a run."""
    return max(1, math.ceil(plan.stop / plan.length))


@bare
def count_slots(plan: WindowPlan) -> int:
    """Return the number of windows in the ring of a run."""
    return min(int(plan.longest_delay / plan.length) + 3, count_windows(plan) + 1)


@bare
def find_bounds(plan: WindowPlan, w: int) -> tuple[float, float]:
    """Return start and stop of a window; the last window ends with the run."""
    last = w + 1 == count_windows(plan)
    return w * plan.length, plan.stop if last else (w + 1) * plan.length


@bare
def find_window(t: float, plan: WindowPlan) -> int:
    """Return the window (start, stop] that contains time t; the last one may be shorter.

    Times and length are multiples of a quantum, so t / length rounds to a whole number only if
    it is a whole number.
    """
    window = math.ceil(t / plan.length) - 1
    return window if t <= plan.stop else max(window, count_windows(plan))


@kernel
def make_queue(slots: int, capacity: int) -> DelayQueue:
    """Return an empty queue."""
    next_entry = np.arange(1, capacity + 1)
    next_entry[-1] = -1
    return DelayQueue(
        np.full(slots, -1),
        np.empty(capacity),
        np.empty(capacity, np.int64),
        np.empty(capacity),
        next_entry,
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
    )


@kernel
def enlarge_queue(old: DelayQueue) -> DelayQueue:
    """Return a queue with the same entries and twice the room."""
    capacity = old.time.size
    new = make_queue(old.head.size, 2 * capacity)
    copy_entries(old.head, new.head)
    copy_entries(old.time, new.time)
    copy_entries(old.group, new.group)
    copy_entries(old.value, new.value)
    copy_entries(old.next_entry, new.next_entry)
    new.next_entry[-1] = old.first_free[0]
    new.first_free[0], new.used[0] = capacity, old.used[0]
    return new


@bare
def push_arrival(
    queue: DelayQueue, group: int, t: float, value: float, earliest: int, plan: WindowPlan
) -> None:
    """Queue one arrival at time t in its window's slot, but not before window ``earliest``."""
    e = queue.first_free[0]
    queue.first_free[0] = queue.next_entry[e]
    queue.used[0] += 1
    window = min(max(find_window(t, plan), earliest), count_windows(plan))
    slot = window % queue.head.size
    queue.time[e], queue.group[e], queue.value[e] = t, group, value
    queue.next_entry[e] = queue.head[slot]
    queue.head[slot] = e


@bare
def push_spike(
    queue: DelayQueue,
    table: SynapseTable,
    t: float,
    source: int,
    value: float,
    earliest: int,
    plan: WindowPlan,
) -> None:
    """Queue all arrivals of a spike in their windows' slots, not before window ``earliest``."""
    for g in range(table.group_indptr[source], table.group_indptr[source + 1]):
        push_arrival(queue, g, t + table.delay[g], value * table.gain[g], earliest, plan)


@bare
def has_room(queue: DelayQueue, table: SynapseTable, source: int) -> bool:
    """Say whether the queue has room for all arrivals of a spike of this source."""
    arrivals = table.group_indptr[source + 1] - table.group_indptr[source]
    return queue.used[0] + arrivals <= queue.time.size


@bare
def pop_window(queue: DelayQueue, window: int, buffer: WindowBuffer) -> int:
    """Move a window's arrivals to the buffer, sorted by (time, group); return their number.

    The buffer has as much room as the queue.
    """
    slot = window % queue.head.size
    entries, e = 0, queue.head[slot]
    while e >= 0:
        entries += 1
        e = queue.next_entry[e]
    e, k = queue.head[slot], entries
    while e >= 0:  # the list starts with the entry pushed last
        k -= 1
        buffer.time[k], buffer.key[k] = queue.time[e], queue.group[e]
        buffer.value[k] = queue.value[e]
        following = queue.next_entry[e]
        queue.next_entry[e] = queue.first_free[0]
        queue.first_free[0] = e
        e = following
    queue.head[slot] = -1
    queue.used[0] -= entries
    sort_buffer(buffer, entries)
    return entries


@kernel
def list_pending(queue: DelayQueue) -> GroupArrivals:
    """Return all arrivals in the queue."""
    time, group = np.empty(queue.used[0]), np.empty(queue.used[0], np.int64)
    value, k = np.empty(queue.used[0]), 0
    for head in queue.head:
        e = head
        while e >= 0:
            time[k], group[k], value[k] = queue.time[e], queue.group[e], queue.value[e]
            k += 1
            e = queue.next_entry[e]
    return sort_arrivals(GroupArrivals(time, group, value))


@kernel
def make_buffer(capacity: int) -> WindowBuffer:
    """Return a buffer for ``capacity`` entries."""
    return WindowBuffer(
        np.empty(capacity),
        np.empty(capacity, np.int64),
        np.empty(capacity),
        np.empty(capacity),
        np.empty(capacity, np.int64),
        np.empty(capacity),
        np.empty(capacity + 2, np.int64),
    )


@kernel
def sort_arrivals(a: GroupArrivals) -> GroupArrivals:
    """Return arrivals in order of (time, group)."""
    entries = a.time.size
    buffer = make_buffer(entries)
    copy_entries(a.time, buffer.time)
    copy_entries(a.group, buffer.key)
    copy_entries(a.value, buffer.value)
    sort_buffer(buffer, entries)
    return GroupArrivals(buffer.time, buffer.key, buffer.value)


@bare
def sort_buffer(b: WindowBuffer, entries: int) -> None:
    """Sort the first ``entries`` entries of a buffer by (time, key).

    First they are sorted into buckets of equal duration, one per entry; then Shell's sort runs
    with gaps that start at the size of the largest bucket, which bounds how far an entry is
    from its place.
    """
    low, high, ordered = np.inf, -np.inf, True
    for k in range(entries):
        t = b.time[k]
        ordered &= k == 0 or not is_later(b, k - 1, t, b.key[k])
        low, high = min(low, t), max(high, t)
    if ordered:
        return
    scale = entries / (high - low) if (high - low) * 1e300 > entries else 0.0
    largest, gap = sort_buckets(b, entries, low, scale), 1
    while 9 * gap < largest:
        gap = 3 * gap + 1
    while gap > 0:
        insert_entries(b, entries, gap)
        gap //= 3


@bare
def is_later(b: WindowBuffer, k: int, t: float, key: int) -> bool:
    """Say whether entry k comes after (t, key)."""
    return b.time[k] > t or (b.time[k] == t and b.key[k] > key)


@bare
def sort_buckets(b: WindowBuffer, entries: int, low: float, scale: float) -> int:
    """Sort by bucket (time - low) * scale, by counting; return the largest bucket's size."""
    bucket, largest = b.bucket, 0
    bucket[: entries + 2] = 0
    for k in range(entries):
        b.sorted_time[k], b.sorted_key[k] = b.time[k], b.key[k]
        b.sorted_value[k] = b.value[k]
        own = int((b.time[k] - low) * scale)
        bucket[own + 1] += 1
        largest = max(largest, bucket[own + 1])
    for k in range(entries):
        bucket[k + 1] += bucket[k]
    for k in range(entries):
        own = int((b.sorted_time[k] - low) * scale)
        m = bucket[own]
        bucket[own] += 1
        b.time[m], b.key[m], b.value[m] = b.sorted_time[k], b.sorted_key[k], b.sorted_value[k]
    return largest


@bare
def insert_entries(b: WindowBuffer, entries: int, gap: int) -> None:
    """Sort, by insertion, the entries at distances of ``gap``: one pass of Shell's sort."""
    for k in range(gap, entries):
        t, key, value, m = b.time[k], b.key[k], b.value[k], k
        while m >= gap and is_later(b, m - gap, t, key):
            b.time[m], b.key[m] = b.time[m - gap], b.key[m - gap]
            b.value[m] = b.value[m - gap]
            m -= gap
        b.time[m], b.key[m], b.value[m] = t, key, value


@kernel
def start_run(pending: GroupArrivals, plan: WindowPlan) -> WindowRun:
    """Return a run whose queue holds the ``pending`` arrivals."""
    queue = make_queue(count_slots(plan), CAPACITY)
    while queue.time.size < pending.time.size:
        queue = enlarge_queue(queue)
    for k in range(pending.time.size):
        push_arrival(queue, pending.group[k], pending.time[k], pending.value[k], 0, plan)
    buffer, progress = make_buffer(queue.time.size), np.zeros(7, np.int64)
    return WindowRun(queue, buffer, np.empty(CAPACITY), np.empty(CAPACITY, np.int64), progress)


@kernel
def enlarge_run(run: WindowRun, lacking: int) -> WindowRun:
    """Return the run with twice the room in its full part (QUEUE_FULL or SPIKES_FULL)."""
    if lacking == QUEUE_FULL:
        queue = enlarge_queue(run.queue)
        return WindowRun(
            queue, make_buffer(queue.time.size), run.time, run.neuron, run.progress
        )
    time, neuron = enlarge_array(run.time), enlarge_array(run.neuron)
    return WindowRun(run.queue, run.buffer, time, neuron, run.progress)


@kernel
def enlarge_array(a: np.ndarray) -> np.ndarray:
    """Return a copy of an array with twice the room."""
    out = np.empty(2 * a.size, a.dtype)
    copy_entries(a, out)
    return out


@bare
def copy_entries(a: np.ndarray, out: np.ndarray) -> None:
    """Copy ``a`` to the start of ``out``.

    For ``out[: a.size] = a``, Numba would also compile the text of an error, which takes
    seconds.
    """
    for k in range(a.size):
        out[k] = a[k]


@bare
def receive_spikes(
    run: WindowRun, table: SynapseTable, outside: SourceSpikes, plan: WindowPlan
) -> bool:
    """Queue the spikes from outside up to the end of the next window.

    Returns whether there was room; if not, enlarge the run and call again.
    """
    _, stop = find_bounds(plan, run.progress[WINDOW])
    for k in range(run.progress[RECEIVED], outside.time.size):
        if outside.time[k] > stop:
            break
        if not has_room(run.queue, table, outside.source[k]):
            return False
        t, source, value = outside.time[k], outside.source[k], outside.value[k]
        push_spike(run.queue, table, t, source, value, run.progress[WINDOW], plan)
        run.progress[RECEIVED] = k + 1
    return True


@bare
def copy_spikes(buffer: WindowBuffer, first: int, out: np.ndarray) -> int:
    """Copy the spikes of a block (SPIKE) to the buffer, starting at index ``first``.

    Returns the next index. Spikes that do not fit into the buffer are only counted.
    """
    stop = first + min(out[0].neuron, out.size - 1)
    if stop <= buffer.time.size:
        for k in range(first, stop):
            spike = out[k - first + 1]
            buffer.time[k], buffer.key[k], buffer.value[k] = spike.time, spike.neuron, 1.0
    return stop


@bare
def send_spikes(run: WindowRun, table: SynapseTable, spikes: int, plan: WindowPlan) -> int:
    """Queue and keep the first ``spikes`` entries of the buffer, sorted.

    Returns ENOUGH, or the full part (QUEUE_FULL or SPIKES_FULL), in which case nothing was
    sent.
    """
    queue, buffer, progress = run.queue, run.buffer, run.progress
    if spikes > buffer.time.size:
        return QUEUE_FULL
    if progress[FIRED] + spikes > run.time.size:
        return SPIKES_FULL
    entries = queue.used[0]
    for k in range(spikes):
        entries += table.group_indptr[buffer.key[k] + 1] - table.group_indptr[buffer.key[k]]
    if entries > queue.time.size:
        return QUEUE_FULL
    sort_buffer(buffer, spikes)
    for k in range(spikes):
        t, j = buffer.time[k], buffer.key[k]
        run.time[progress[FIRED] + k], run.neuron[progress[FIRED] + k] = t, j
        push_spike(queue, table, t, j, 1.0, progress[WINDOW] + 1, plan)
    progress[FIRED] += spikes
    return ENOUGH

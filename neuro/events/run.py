"""Some samples on their way through a program.

Spikes are queued, never their deliveries: a source puts its spikes into the mail of its wires,
and a target scatters those that arrive. Nodes outside loops run over a whole stretch of ticks
in one go, layer by layer; a loop runs in windows of the least delay inside it, in which nothing
that it emits can come back to it.

Axes: T ticks of the run, L ticks of a stretch, S samples, N neurons, P places, C channels.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from neuro.events import kernels
from neuro.events.kernels import Span, Train
from neuro.events.neurons import Neurons, fire, integrate
from neuro.events.program import Linear, Program, Wire
from neuro.events.state import Batch, EngineState, to_batch, to_events
from neuro.neurons import LI
from neuro.record import Counts, Record
from neuro.spikes import Events


class Buffer(NamedTuple):
    """What a node gets in a stretch, by value (L S N), and in the layout that its kernel fills.

    total: the sum. hit: whether a spike arrived. sums: ``total`` again, but L S P C under a
    Conv2d. marks: ``hit`` again, but one a place (L S P) where a spike hits all its channels.
    """

    total: np.ndarray
    hit: np.ndarray
    sums: np.ndarray
    marks: np.ndarray


class Rows(NamedTuple):
    """Ticks ``origin + start`` to ``origin + stop``: rows of the buffers of a stretch."""

    origin: int
    start: int
    stop: int


class Run:
    """Samples that run together; ``advance`` once, then read ``record`` and ``state``."""

    def __init__(
        self, program: Program, inputs: Mapping[str, Events], state: EngineState | None
    ) -> None:
        self.program, self.graph, self.inputs = program, program.graph, inputs
        self.ticks, self.samples, _ = next(iter(inputs.values())).shape
        self.counts = {name: np.zeros(4, np.int64) for name in self.graph.nodes}
        self.buffers: dict[str, Buffer] = {}
        self.mail: dict[Wire, list[Batch]] = {wire: [] for wire in program.wires}
        self.fired: dict[str, list[Batch]] = {}
        self.values: dict[str, np.ndarray] = {}
        self.neurons: dict[str, np.ndarray] = {}
        for name in self.graph.populations:
            shape = (self.samples, self.graph.size(name))
            self.neurons[name] = np.zeros((3, *shape), program.dtype)
            if isinstance(self.graph.nodes[name], LI):
                self.values[name] = np.empty((self.ticks, *shape), program.dtype)
            else:
                self.fired[name] = []
        if state is not None:
            self._restore(state)
        for name, events in inputs.items():
            self.counts[name][0] = events.tick.size
            self._send(name, to_batch(events, 0, program.dtype))

    def _restore(self, state: EngineState) -> None:
        for name, neurons in self.neurons.items():
            neurons[:] = state.neurons[name]
        for wire, mail in self.mail.items():
            delay = wire.edge.delay
            if delay > 0:
                mail.append(to_batch(state.pending[wire.edge], -delay, self.program.dtype))

    def advance(self, stretch: int) -> None:
        """Run all ticks, ``stretch`` at a time."""
        self.buffers = {
            name: self._buffer(part, stretch) for name, part in self.program.parts.items()
        }
        for origin in range(0, self.ticks, stretch):
            end = min(stretch, self.ticks - origin)
            for group, window in self.program.groups:
                step = window or end
                for start in range(0, end, step):
                    rows = Rows(origin, start, min(start + step, end))
                    for name in group:
                        self._node(name, rows)

    def _buffer(self, part: Linear | Neurons, stretch: int) -> Buffer:
        size = part.size if isinstance(part, Linear) else part.decay.size
        places = part.places if isinstance(part, Linear) else size
        rows = (stretch, self.samples)
        sums = total = np.empty((*rows, size), self.program.dtype)
        marks = hit = np.empty((*rows, size), np.bool_)
        if isinstance(part, Linear) and part.channels_last:
            sums = np.empty((*rows, places, size // places), total.dtype)
        if places < size:
            marks = np.empty((*rows, places), np.bool_)
        return Buffer(total, hit, sums, marks)

    def _node(self, name: str, rows: Rows) -> None:
        part = self.program.parts[name]
        if isinstance(part, Linear):
            self._connection(name, part, rows)
        elif name in self.fired:
            self._firing(name, part, rows)
        else:
            self._read_out(name, part, rows)

    def _connection(self, name: str, part: Linear, rows: Rows) -> None:
        buffer = self.buffers[name]
        total, hit, sums, marks = (b[rows.start : rows.stop] for b in buffer)
        sums[:], marks[:] = 0, False
        for wire in self.program.into(name):
            for span, train in self._arrivals(wire, rows):
                served = part.scatter(buffer.sums, buffer.marks, span, train)
                self.counts[name][1:3] += served
        if part.channels_last:
            by_channel = sums.transpose(0, 1, 3, 2)
            total.reshape(by_channel.shape)[:] = by_channel
        if part.area > 1:
            total /= part.area
        if part.bias is not None:
            total += part.bias
        if part.places < part.size:
            hit.reshape(*hit.shape[:2], -1, part.places)[:] = marks[:, :, None]
        if any(not wire.buffered for wire in self.program.out_of(name)):
            train = kernels.collect(buffer.total, rows.start, rows.stop)
            self._send(name, self._batch(rows, train))

    def _firing(self, name: str, part: Neurons, rows: Rows) -> None:
        x, hit = self._input(name, rows)
        train, updates = fire(x, hit, (rows.start, rows.stop), self.neurons[name], part)
        batch = self._batch(rows, train)
        self.fired[name].append(batch)
        self._send(name, batch)
        self.counts[name] += (train.sample.size, 0, 0, updates)

    def _read_out(self, name: str, part: Neurons, rows: Rows) -> None:
        x, hit = self._input(name, rows)
        out = self.values[name][rows.origin :]
        integrate(x, (rows.start, rows.stop), self.neurons[name], part, out)
        self.counts[name][3] += np.count_nonzero(hit[rows.start : rows.stop])

    def _input(self, name: str, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return (total, hit) of a population: its one source's buffer, or the sum of all."""
        wires = self.program.into(name)
        if len(wires) == 1 and wires[0].buffered:
            source = self.buffers[wires[0].edge.source]
            return source.total, source.hit
        total, hit, _, _ = self.buffers[name]
        here = slice(rows.start, rows.stop)
        total[here], hit[here] = 0, False
        for wire in wires:
            if wire.buffered:
                source = self.buffers[wire.edge.source]
                total[here] += source.total[here]
                hit[here] |= source.hit[here]
            for span, train in self._arrivals(wire, rows):
                served = kernels.add(total, hit, span, train)
                if wire.counted:
                    self.counts[name][1:3] += served
        return total, hit

    def _batch(self, rows: Rows, train: Train) -> Batch:
        return Batch(rows.origin + rows.start, rows.stop - rows.start, train)

    def _send(self, name: str, batch: Batch) -> None:
        for wire in self.program.out_of(name):
            if not wire.buffered:
                self.mail[wire].append(batch)

    def _arrivals(self, wire: Wire, rows: Rows) -> Iterator[tuple[Span, Train]]:
        """Yield what arrives in ``rows``; throw away what has arrived by then."""
        delay, kept = wire.edge.delay, []
        for batch in self.mail[wire]:
            shift = rows.origin - delay - batch.first
            start, stop = max(rows.start, -shift), min(rows.stop, batch.ticks - shift)
            if start < stop:
                yield Span(start, stop, shift), batch.train
            if batch.ticks - shift > rows.stop:
                kept.append(batch)
        self.mail[wire] = kept

    def record(self) -> Record:
        """Return what happened."""
        fired = {
            name: to_events(batches, 0, self._shape(name, self.ticks), self.program.dtype)
            for name, batches in self.fired.items()
        }
        names = ("spikes", "synaptic_events", "synaptic_events_all", "updates")
        return Record(
            executor="events",
            ticks=self.ticks,
            samples=self.samples,
            spikes={**self.inputs, **fired},
            values=self.values,
            counts={
                node: Counts(**dict(zip(names, map(int, counts), strict=True)))
                for node, counts in self.counts.items()
            },
        )

    def state(self) -> EngineState:
        """Return where the run stopped."""
        pending = {}
        for wire, batches in self.mail.items():
            source, _, delay = wire.edge
            if delay > 0:
                shape = self._shape(source, delay)
                first = self.ticks - delay
                pending[wire.edge] = to_events(batches, first, shape, self.program.dtype)
        return EngineState(self.neurons, pending)

    def _shape(self, name: str, ticks: int) -> tuple[int, int, int]:
        return ticks, self.samples, self.graph.size(name)

"""Some samples on their way through a program.

Spikes are queued, never their deliveries: a source puts its spikes into the mail of its wires,
and a target scatters those that arrive. Nodes outside loops run over a whole stretch of ticks
in one go, layer by layer; a loop runs in windows of the least delay inside it, in which nothing
that it emits can come back to it.

Axes: T ticks of the run, L ticks of a stretch, S samples, N neurons, P places, C channels.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from neuro.events.grid import kernels
from neuro.events.grid.aligned import empty, zeros
from neuro.events.grid.batches import Batch, to_batch, to_events
from neuro.events.grid.compile import Cells, Layout, Linear, Part, Program, Wire
from neuro.events.grid.host_nodes import Valued, compute
from neuro.events.grid.kernels import Buffer, Span, Train
from neuro.events.grid.state import EngineState
from neuro.events.grid.updates import CURRENT, Rows, Sleep, fire, integrate, wake
from neuro.events.recording import Recording
from neuro.record import Counts, Record


class Run:
    """Samples that run together: exhaust ``advance``, then read ``record`` and ``state``."""

    def __init__(
        self,
        program: Program,
        inputs: Mapping[str, Batch],
        state: EngineState | None,
        recording: Recording,
    ) -> None:
        self.program, self.graph = program, program.graph
        self.inputs, self.recording = inputs, recording
        some = next(iter(inputs.values()))
        self.ticks, self.samples, self.now = some.ticks, len(some.train.at), 0
        self.counts = {name: [0, 0, 0, 0, 0] for name in self.graph.nodes}
        self.mail: dict[Wire, list[Batch]] = {
            wire: [] for wires in program.into.values() for wire in wires if wire.scatter
        }
        self.fired: dict[str, list[Batch]] = {}
        self.values: dict[str, np.ndarray] = {}
        self.neurons: dict[str, np.ndarray] = {}
        self.sleep: dict[str, Sleep] = {}
        self.states: dict[int, dict[str, np.ndarray]] = {}
        self.layouts: dict[str, Layout] = {}
        for name in self.graph.populations:
            self._set_up(name, program.parts[name])
        if state is not None:
            self._restore(state)
        for name, batch in inputs.items():
            at = batch.train.at
            self.counts[name][0] = int(at[-1, -1] - at[0, 0])
            self._send(name, batch)

    def _set_up(self, name: str, part: Part) -> None:
        layout = part.layout if isinstance(part, Cells) else (1, self.program.sizes[name])
        self.layouts[name] = places, channels = layout
        self.neurons[name] = zeros((4, self.samples * places, channels), self.program.dtype)
        if isinstance(part, Cells) and part.fires:
            total = self.samples * places
            self.sleep[name] = Sleep(np.zeros(total, np.int64), np.zeros(total, np.uint8))
            if self.recording.keeps_spikes(name):
                self.fired[name] = []
        elif self.recording.keeps_values(self.graph, name):
            shape = self._shape(name, self.ticks)
            self.values[name] = np.zeros(shape, self.program.dtype)

    def _restore(self, state: EngineState) -> None:
        for name, neurons in self.neurons.items():
            places, channels = self.layouts[name]
            given = state.neurons[name].reshape(4, self.samples, channels, places)
            neurons[:] = given.swapaxes(2, 3).reshape(neurons.shape)
        for wire, mail in self.mail.items():
            if wire.delay > 0:
                pending = state.pending[wire.edge]
                batch, _ = to_batch(pending, -pending.shape[0], self.program.dtype)
                mail.append(batch)

    def advance(self, stretch: int) -> Iterator[int]:
        """Run all ticks, ``stretch`` at a time; yield the spikes emitted by the end of each."""
        boxes = {name: self._buffers(part, stretch) for name, part in self._boxed()}
        self.inbox = {name: inbox for name, (inbox, _) in boxes.items()}
        self.outbox = {name: outbox for name, (_, outbox) in boxes.items()}
        stops = {*range(stretch, self.ticks, stretch), self.ticks}
        stops |= {tick + 1 for tick in self.recording.states}
        for origin, stop in pairwise([0, *sorted(stops)]):
            for buffer in self.inbox.values():
                buffer.hit.fill(False)
            for group, window in self.program.groups:
                step = window or stop - origin
                for start in range(0, stop - origin, step):
                    rows = Rows(origin, start, min(start + step, stop - origin))
                    for name in group:
                        self._node(name, rows)
            self.now = stop
            if self.now - 1 in self.recording.states:
                self.states[self.now - 1] = self._neurons()
            yield sum(self.counts[name][0] for name in self.sleep)

    def _boxed(self) -> list[tuple[str, Part]]:
        """Return the parts that have buffers of their own."""
        parts = self.program.parts.items()
        return [(n, p) for n, p in parts if not isinstance(p, Linear) or p.fills == n]

    def _buffers(self, part: Part, stretch: int) -> tuple[Buffer, Buffer]:
        """Return what spikes are added to, and what holds what the node puts out."""
        if isinstance(part, Valued):
            none = np.zeros((1, math.prod(part.shape)), part.rest.dtype)
            inbox = self._buffer((1, part.rest.size), part.rest, stretch)
            return inbox, self._buffer((1, none.size), none, stretch)
        inbox = self._buffer(part.layout, part.rest, stretch)
        if isinstance(part, Linear) or part.fires:
            return inbox, inbox
        return inbox, self._buffer(part.layout, np.zeros_like(part.rest), stretch)

    def _buffer(self, layout: Layout, rest: np.ndarray, stretch: int) -> Buffer:
        places, channels = layout
        shape = (self.samples, stretch, places)
        values = empty((*shape, channels), self.program.dtype)
        return Buffer(values, np.empty(shape, np.bool_), rest)

    def _node(self, name: str, rows: Rows) -> None:
        part = self.program.parts[name]
        filled = part.fills if isinstance(part, Linear) else name
        inbox, counts = self.inbox[filled], self.counts[name]
        for wire in self.program.into[name]:
            if wire.scatter is None:
                kernels.pour(self.outbox[wire.edge.source], inbox, rows.start, rows.stop)
                continue
            for span, train in self._arrivals(wire, rows):
                served, served_all = wire.scatter(inbox, span, train)
                counts[1] += int(served)
                counts[2] += int(served_all)
        if isinstance(part, Linear):
            if part.area > 1:
                kernels.divide(inbox, rows.start, rows.stop, part.area)
            if filled == name:
                self._put_out(name, rows)
        elif isinstance(part, Valued):
            self._computing(name, part, rows)
        elif part.fires:
            self._firing(name, part, rows)
        else:
            self._integrating(name, part, rows)

    def _firing(self, name: str, part: Cells, rows: Rows) -> None:
        state, sleep = self.neurons[name], self.sleep[name]
        train, updates = fire(self.inbox[name], rows, state, sleep, part.neurons)
        batch = self._batch(rows, train)
        if name in self.fired:
            self.fired[name].append(batch)
        self._send(name, batch)
        self.counts[name][0] += train.neuron.size
        self.counts[name][3] += int(updates)

    def _integrating(self, name: str, part: Cells, rows: Rows) -> None:
        inbox, outbox = self.inbox[name], self.outbox[name]
        integrate(inbox, rows, self.neurons[name], part.neurons, outbox)
        here = slice(rows.start, rows.stop)
        self.counts[name][3] += np.count_nonzero(inbox.hit[:, here]) * part.layout[1]
        self._put_out(name, rows)

    def _computing(self, name: str, part: Valued, rows: Rows) -> None:
        outbox, cases = self.outbox[name], self.samples * (rows.stop - rows.start)
        compute(part, self.inbox[name], rows, self.neurons.get(name), outbox)
        if name in self.neurons:
            self.counts[name][3] += cases * self.program.sizes[name]
        self.counts[name][4] += cases * part.macs
        self._put_out(name, rows)

    def _put_out(self, name: str, rows: Rows) -> None:
        """Record values that are asked for; send those that are not read from the buffer."""
        if name in self.values:
            here = slice(rows.start, rows.stop)
            start, stop = rows.origin + rows.start, rows.origin + rows.stop
            by_channel = self.outbox[name].values[:, here].transpose(1, 0, 3, 2)
            self.values[name][start:stop] = by_channel.reshape(stop - start, self.samples, -1)
        if any(wire.scatter for wire in self.program.out_of[name]):
            train = kernels.collect(self.outbox[name], rows.start, rows.stop)
            self._send(name, self._batch(rows, train))

    def _batch(self, rows: Rows, train: Train) -> Batch:
        return Batch(rows.origin + rows.start, rows.stop - rows.start, train)

    def _send(self, name: str, batch: Batch) -> None:
        for wire in self.program.out_of[name]:
            if wire.scatter:
                self.mail[wire].append(batch)

    def _arrivals(self, wire: Wire, rows: Rows) -> Iterator[tuple[Span, Train]]:
        """Yield what arrives in ``rows``; throw away what no later run could need."""
        kept = []
        for batch in self.mail[wire]:
            shift = rows.origin - wire.delay - batch.first
            start, stop = max(rows.start, -shift), min(rows.stop, batch.ticks - shift)
            if start < stop:
                yield Span(start, stop, shift), batch.train
            if batch.ticks - shift > rows.stop:
                kept.append(batch)
        self.mail[wire] = kept

    def record(self) -> Record:
        """Return what happened so far, without the inputs."""
        fired = {
            name: to_events(batches, 0, self._shape(name, self.now), self.program.dtype)
            for name, batches in self.fired.items()
        }
        return Record(
            executor="events",
            ticks=self.now,
            samples=self.samples,
            spikes=fired,
            values={name: values[: self.now] for name, values in self.values.items()},
            counts={
                name: Counts(
                    spikes=spikes,
                    synaptic_events=served,
                    synaptic_events_all=served_all,
                    updates=updates,
                    macs=macs,
                )
                for name, (spikes, served, served_all, updates, macs) in self.counts.items()
            },
            states=self.states,
        )

    def partial_record(self) -> Record:
        """Return what happened so far, inputs included."""
        record, dtype = self.record(), self.program.dtype
        given = {}
        for name, batch in self.inputs.items():
            if not self.recording.keeps_spikes(name):
                continue
            at = np.ascontiguousarray(batch.train.at[:, : self.now + 1])
            seen = Batch(0, self.now, batch.train._replace(at=at))
            given[name] = to_events([seen], 0, self._shape(name, self.now), dtype)
        return replace(record, spikes={**given, **record.spikes})

    def state(self) -> EngineState:
        """Return where the run stopped."""
        pending = {}
        for wire in sorted(self.mail, key=lambda wire: wire.delay):  # the latest holds most
            if wire.delay > 0:
                shape = self._shape(wire.edge.source, wire.delay)
                first, dtype = self.ticks - wire.delay, self.program.dtype
                pending[wire.edge] = to_events(self.mail[wire], first, shape, dtype)
        return EngineState(self._neurons(), pending)

    def _neurons(self) -> dict[str, np.ndarray]:
        """Return the states of all populations after ``now`` ticks, 4 S N."""
        found = {}
        for name, neurons in self.neurons.items():
            part = self.program.parts[name]
            if isinstance(part, Cells) and part.fires:
                wake(part.rest, self.now, neurons, self.sleep[name], part.neurons)
            by_place = neurons.reshape(4, self.samples, *self.layouts[name])
            found[name] = by_place.swapaxes(2, 3).reshape(4, self.samples, -1).copy()
            if isinstance(part, Cells) and not part.current:
                found[name][CURRENT] = 0
        return found

    def _shape(self, name: str, ticks: int) -> tuple[int, int, int]:
        return ticks, self.samples, self.program.sizes[name]

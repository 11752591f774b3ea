"""A run of some samples through a compiled program.

A source appends its spikes to the delay queues of its wires, one entry for all synapses of a
spike; a target adds the weights of arriving spikes. Nodes outside loops are computed for a
whole stretch of ticks at a time, in the order of the graph. A loop is computed in look-ahead
windows of the least delay inside it: a spike in one window arrives in a later window.

Axes: T ticks of the run, L ticks of a stretch, S samples, N neurons, P places, C channels.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import numpy as np

from neuro.events.grid import kernels
from neuro.events.grid.batches import SpikeBatch, to_batch, to_events
from neuro.events.grid.compile import (
    CompiledConnection,
    CompiledPopulation,
    Layout,
    Part,
    Program,
    Wire,
)
from neuro.events.grid.host_nodes import CompiledHost, compute_values
from neuro.events.grid.kernels import Buffer, RowSpan, Train, make_empty, make_zeros
from neuro.events.grid.loops import LoopRun
from neuro.events.grid.state import EngineState
from neuro.events.grid.updates import (
    CURRENT,
    Rows,
    SkipState,
    advance_firing,
    advance_integrator,
    catch_up_all,
)
from neuro.events.settings import Recording
from neuro.graph import Edge
from neuro.graph.poisson import find_tables
from neuro.io.graph_digest import digest_graph
from neuro.ops.jit import view_read_only
from neuro.ops.poisson import Span, draw_spikes
from neuro.spikes import Events
from neuro.spikes.record import Counts, Record


class GridRun:
    """A run of samples together: exhaust ``advance``, then read ``record`` and ``state``."""

    def __init__(  # noqa: PLR0913 - a run, and its extent
        self,
        program: Program,
        inputs: Mapping[str, SpikeBatch],
        state: EngineState | None,
        recording: Recording,
        span: Span,
        stretch: int,
        threads: int = 1,
    ) -> None:
        self.program, self.graph = program, program.graph
        self.inputs, self.recording = inputs, recording
        self.stretch, self.threads = stretch, threads
        self.span, self.ticks, self.samples, self.now = span, span.ticks, span.samples, 0
        self.counts = {name: Counter[str]() for name in self.graph.nodes}
        self.queues: dict[Wire, list[SpikeBatch]] = {
            wire: [] for wires in program.into.values() for wire in wires if wire.queues
        }
        self.fired: dict[str, list[SpikeBatch]] = {
            name: [] for name in self.graph.poisson if recording.keeps_spikes(name)
        }
        self.values: dict[str, np.ndarray] = {}
        self.neurons: dict[str, np.ndarray] = {}
        self.skip: dict[str, SkipState] = {}
        self.states: dict[int, dict[str, np.ndarray]] = {}
        self.layouts: dict[str, Layout] = {}
        self.loops = {
            group.names: LoopRun(
                group.loop,
                self.samples,
                stretch,
                any(name in program.buffered for name in group.names),
                threads,
            )
            for group in program.groups
            if group.loop
        }
        for name in self.graph.populations:
            self._set_up(name, program.parts[name])
        if state is not None:
            self._restore(state)
        for name, batch in inputs.items():
            at = batch.train.at
            self.counts[name]["spikes"] = int(at[-1, -1] - at[0, 0])
            self._send(name, batch)

    def _set_up(self, name: str, part: Part) -> None:
        """Allocate a population's state, at rest, and its recording."""
        layout = (1, self.program.sizes[name])
        in_loop = [run for run in self.loops.values() if name in run.loop.populations]
        if not in_loop and isinstance(part, CompiledPopulation):
            layout = part.layout
        self.layouts[name] = places, channels = layout
        total = self.samples * places
        if not in_loop:
            self.neurons[name] = make_zeros((4, total, channels), self.program.dtype)
            if isinstance(part, CompiledPopulation) and part.fires:
                next_tick, activity = np.zeros(total, np.int64), np.zeros(total, np.uint8)
                self.skip[name] = SkipState(next_tick, activity)
        if name in self.graph.firing:
            if self.recording.keeps_spikes(name):
                self.fired[name] = []
        elif self.recording.keeps_values(self.graph, name):
            self.values[name] = np.zeros(self._shape(name, self.ticks), self.program.dtype)

    def _restore(self, state: EngineState) -> None:
        """Continue from the state of an earlier run."""
        for run in self.loops.values():
            for name in run.loop.populations:
                run.write_cells(name, state.neurons[name])
        for name, neurons in self.neurons.items():
            places, channels = self.layouts[name]
            by_channel = state.neurons[name].reshape(4, self.samples, channels, places)
            neurons[:] = by_channel.swapaxes(2, 3).reshape(neurons.shape)
        for wire, queue in self.queues.items():
            if wire.delay > 0 and (pending := state.pending[wire.edge]).tick.size:
                # Only up to the last tick with spikes, because a batch has an index of all its
                # ticks.
                first, last = pending.tick.min(), pending.tick.max()
                ticks, samples, size = pending.shape
                shape = (int(last - first) + 1, samples, size)
                train = pending._replace(tick=pending.tick - first, shape=shape)
                batch, _ = to_batch(train, int(first) - ticks, self.program.dtype)
                queue.append(batch)
        for run in self.loops.values():
            run.restore(state.pending)

    def advance(self) -> Iterator[int]:
        """Run all ticks, one stretch at a time.

        After each stretch, yield the number of spikes of all populations so far.
        """
        shared = self.loops and self.threads > 1
        with ThreadPoolExecutor(self.threads) if shared else nullcontext() as pool:
            yield from self._advance(pool)

    def _advance(self, pool: ThreadPoolExecutor | None) -> Iterator[int]:
        parts = {name: self.program.parts[name] for name in self.program.buffered}
        buffers = {
            name: self._make_buffers(part, self.stretch)
            for name, part in parts.items()
            if not isinstance(part, CompiledConnection) or part.fills == name
        }
        self.input_buffers = {name: inputs for name, (inputs, _) in buffers.items()}
        self.output_buffers = {name: outputs for name, (_, outputs) in buffers.items()}
        stops = {*range(self.stretch, self.ticks, self.stretch), self.ticks}
        stops |= {tick + 1 for tick in self.recording.states}
        for origin, stop in pairwise([0, *sorted(stops)]):
            for buffer in self.input_buffers.values():
                buffer.hit.fill(False)
            self._draw_sources(origin, stop)
            for names, window, loop in self.program.groups:
                if loop is not None:
                    self._run_loop(names, Rows(origin, 0, stop - origin), pool)
                    continue
                step = window or stop - origin
                for start in range(0, stop - origin, step):
                    rows = Rows(origin, start, min(start + step, stop - origin))
                    for name in names:
                        if name in parts:
                            self._run_node(name, rows)
            self.now = stop
            if self.now - 1 in self.recording.states:
                self.states[self.now - 1] = self._read_states()
            yield sum(self.counts[name]["spikes"] for name in self.graph.firing)

    def _draw_sources(self, start: int, stop: int) -> None:
        """Draw the spikes of Poisson nodes in these ticks, record them and send them."""
        span = self.span._replace(first_tick=self.span.first_tick + start, ticks=stop - start)
        for name in self.graph.poisson:
            drawn = draw_spikes(
                *find_tables(self.graph, name), span, np.zeros(0, self.program.dtype)
            )
            self._record_spikes(name, SpikeBatch(start, span.ticks, Train(*drawn)))

    def _make_buffers(self, part: Part, stretch: int) -> tuple[Buffer, Buffer]:
        """Return the input and output buffers of a node; they may be the same buffer."""
        if isinstance(part, CompiledHost):
            none = np.zeros((1, math.prod(part.shape)), part.rest.dtype)
            inputs = self._make_buffer((1, part.rest.size), part.rest, stretch)
            return inputs, self._make_buffer((1, none.size), none, stretch)
        inputs = self._make_buffer(part.layout, part.rest, stretch)
        if isinstance(part, CompiledConnection) or part.fires:
            return inputs, inputs
        return inputs, self._make_buffer(part.layout, np.zeros_like(part.rest), stretch)

    def _make_buffer(self, layout: Layout, rest: np.ndarray, stretch: int) -> Buffer:
        """Return a buffer for ``stretch`` ticks whose values and hits are not initialised."""
        places, channels = layout
        shape = (self.samples, stretch, places)
        values = make_empty((*shape, channels), self.program.dtype)
        return Buffer(values, np.empty(shape, np.bool_), view_read_only(rest))

    def _run_loop(
        self, names: tuple[str, ...], rows: Rows, pool: ThreadPoolExecutor | None
    ) -> None:
        """Run a loop over ``rows``; record and send the spikes of its populations."""
        run = self.loops[names]
        for name in names:
            if any(not wire.in_loop for wire in self.program.into[name]):
                self._add_arrivals(name, rows)
        for name in run.loop.populations:
            if name in self.input_buffers:
                run.read_input(name, self.input_buffers[name], rows)
            computed = self.samples * (rows.stop - rows.start) * self.program.sizes[name]
            self.counts[name]["updates"] += computed
        for name, train in run.advance(rows, pool):
            self._record_spikes(name, self._make_batch(rows, train))
        for wire in self.queues:
            if wire.in_loop:
                self._drop_arrived(wire, rows.origin + rows.stop)

    def _add_arrivals(self, name: str, rows: Rows) -> Buffer:
        """Add a node's arrivals to the buffer that it fills; return the buffer."""
        part = self.program.parts[name]
        filled = part.fills if isinstance(part, CompiledConnection) else name
        inputs, counts = self.input_buffers[filled], self.counts[name]
        for wire in self.program.into[name]:
            if wire.in_loop:
                continue
            if wire.scatter is None:
                kernels.add_buffer(
                    self.output_buffers[wire.edge.source], inputs, rows.start, rows.stop
                )
                continue
            for span, train in self._take_arrivals(wire, rows):
                served, served_all = wire.scatter(inputs, span, train)
                counts["synaptic_events"] += int(served)
                counts["synaptic_events_all"] += int(served_all)
        return inputs

    def _run_node(self, name: str, rows: Rows) -> None:
        """Add a node's arrivals, compute it over ``rows``, and send its output."""
        part, inputs = self.program.parts[name], self._add_arrivals(name, rows)
        if isinstance(part, CompiledConnection):
            if part.area > 1:
                kernels.divide_sums(inputs, rows.start, rows.stop, part.area)
            if part.fills == name:
                self._record_and_send(name, rows)
        elif isinstance(part, CompiledHost):
            self._run_host(name, part, rows)
        elif part.fires:
            self._run_firing(name, part, rows)
        else:
            self._run_integrator(name, part, rows)

    def _run_firing(self, name: str, part: CompiledPopulation, rows: Rows) -> None:
        """Compute a firing population over ``rows``; record and send its spikes."""
        state, skip = self.neurons[name], self.skip[name]
        train, updates = advance_firing(
            self.input_buffers[name], rows, state, skip, part.neurons
        )
        self._record_spikes(name, self._make_batch(rows, train))
        self.counts[name]["updates"] += int(updates)

    def _record_spikes(self, name: str, batch: SpikeBatch) -> None:
        """Count and send a population's spikes; record them if they are kept."""
        if name in self.fired:
            self.fired[name].append(batch)
        self._send(name, batch)
        self.counts[name]["spikes"] += batch.train.neuron.size

    def _run_integrator(self, name: str, part: CompiledPopulation, rows: Rows) -> None:
        """Compute an LI over ``rows``; record and send its membranes."""
        inputs, outputs = self.input_buffers[name], self.output_buffers[name]
        advance_integrator(inputs, rows, self.neurons[name], part.neurons, outputs)
        here = slice(rows.start, rows.stop)
        computed = np.count_nonzero(inputs.hit[:, here]) * part.layout[1]
        self.counts[name]["updates"] += int(computed)
        self._record_and_send(name, rows)

    def _run_host(self, name: str, part: CompiledHost, rows: Rows) -> None:
        """Let torch compute a node over ``rows``; record and send its values or spikes."""
        outputs, cases = self.output_buffers[name], self.samples * (rows.stop - rows.start)
        compute_values(part, self.input_buffers[name], rows, self.neurons.get(name), outputs)
        if name in self.neurons:
            self.counts[name]["updates"] += cases * self.program.sizes[name]
        self.counts[name]["macs"] += cases * part.macs
        if part.fires:
            train = kernels.collect_spikes(outputs, rows.start, rows.stop)
            self._record_spikes(name, self._make_batch(rows, train))
        else:
            self._record_and_send(name, rows)

    def _record_and_send(self, name: str, rows: Rows) -> None:
        """Record a node's output if it is kept; send it over the wires with queues."""
        if name in self.values:
            here = slice(rows.start, rows.stop)
            start, stop = rows.origin + rows.start, rows.origin + rows.stop
            by_channel = self.output_buffers[name].values[:, here].transpose(1, 0, 3, 2)
            self.values[name][start:stop] = by_channel.reshape(stop - start, self.samples, -1)
        if any(wire.scatter for wire in self.program.out_of[name]):
            train = kernels.collect_spikes(self.output_buffers[name], rows.start, rows.stop)
            self._send(name, self._make_batch(rows, train))

    def _make_batch(self, rows: Rows, train: Train) -> SpikeBatch:
        """Return the spikes of ``rows`` as a batch."""
        return SpikeBatch(rows.origin + rows.start, rows.stop - rows.start, train)

    def _send(self, name: str, batch: SpikeBatch) -> None:
        """Append spikes to the delay queues of the wires that leave a node."""
        for wire in self.program.out_of[name]:
            if wire.queues:
                self.queues[wire].append(batch)

    def _take_arrivals(self, wire: Wire, rows: Rows) -> Iterator[tuple[RowSpan, Train]]:
        """Yield the spikes that arrive in ``rows``, and remove batches that have arrived."""
        for batch in self.queues[wire]:
            shift = rows.origin - wire.delay - batch.first
            if -shift >= rows.stop:  # batches are in order of time: all others are later
                break
            start, stop = max(rows.start, -shift), min(rows.stop, batch.ticks - shift)
            if start < stop:
                yield RowSpan(start, stop, shift), batch.train
        self._drop_arrived(wire, rows.origin + rows.stop)

    def _drop_arrived(self, wire: Wire, now: int) -> None:
        """Remove the batches of a queue that have arrived before tick ``now``."""
        queue = self.queues[wire]
        while queue and queue[0].first + queue[0].ticks + wire.delay <= now:
            del queue[0]

    def record(self) -> Record:
        """Return the record so far, without the spikes of Inputs."""
        return Record(
            executor="events",
            ticks=self.now,
            samples=self.samples,
            spikes={
                name: to_events(batches, 0, self._shape(name, self.now), self.program.dtype)
                for name, batches in self.fired.items()
            },
            values={name: values[: self.now] for name, values in self.values.items()},
            counts={name: Counts(**counts) for name, counts in self._count().items()},
            states=self.states,
            digest=digest_graph(self.graph),
        )

    def _count(self) -> dict[str, Counter[str]]:
        """Return the counts so far, including the synaptic events of loops."""
        counts = {name: Counter(own) for name, own in self.counts.items()}
        pending = self._list_pending() if self.loops else {}
        for run in self.loops.values():
            events = run.count_events(pending).tolist()
            for path, (used, every) in zip(run.loop.paths, events, strict=True):
                own = counts[path.edge.target]
                own.update(synaptic_events=used, synaptic_events_all=every)
        return counts

    def partial_record(self) -> Record:
        """Return the record so far, including the spikes of Inputs."""
        record, dtype = self.record(), self.program.dtype
        inputs = {}
        for name, batch in self.inputs.items():
            if not self.recording.keeps_spikes(name):
                continue
            at = np.ascontiguousarray(batch.train.at[:, : self.now + 1])
            past = SpikeBatch(0, self.now, batch.train._replace(at=at))
            inputs[name] = to_events([past], 0, self._shape(name, self.now), dtype)
        return replace(record, spikes={**inputs, **record.spikes})

    def state(self) -> EngineState:
        """Return the state after the last tick."""
        done = self.span.first_tick + self.now
        own = self._read_states(), self._list_pending(), digest_graph(self.graph)
        return EngineState(*own, ticks=done)

    def _list_pending(self) -> dict[Edge, Events]:
        """Return the spikes that are still on their way after ``now`` ticks."""
        pending = {}
        # The queue with an edge's longest delay comes last and also holds the other queues'
        # spikes.
        for wire in sorted(self.queues, key=lambda wire: wire.delay):
            if wire.delay > 0:
                shape = self._shape(wire.edge.source, wire.delay)
                first, dtype = self.now - wire.delay, self.program.dtype
                pending[wire.edge] = to_events(self.queues[wire], first, shape, dtype)
        return pending

    def _read_states(self) -> dict[str, np.ndarray]:
        """Return the states of all populations after ``now`` ticks, 4 S N."""
        states = {}
        for name, neurons in self.neurons.items():
            part = self.program.parts[name]
            if name in self.skip:
                rest = self.input_buffers[name].rest
                catch_up_all(rest, self.now, neurons, self.skip[name], part.neurons)  # type: ignore[union-attr]
            by_place = neurons.reshape(4, self.samples, *self.layouts[name])
            states[name] = by_place.swapaxes(2, 3).reshape(4, self.samples, -1).copy()
        for run in self.loops.values():
            states |= {name: run.read_cells(name) for name in run.loop.populations}
        for name, own in states.items():
            part = self.program.parts[name]
            if isinstance(part, CompiledPopulation) and not part.current:
                own[CURRENT] = 0
        return states

    def _shape(self, name: str, ticks: int) -> tuple[int, int, int]:
        """Return the shape (T, S, N) of ``ticks`` ticks of a node."""
        return ticks, self.samples, self.program.sizes[name]

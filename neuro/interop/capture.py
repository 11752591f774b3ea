"""Runs another library's torch module once and makes a Graph of what it computes.

A library's file (snntorch, norse, spikingjelly) implements
:class:`neuro.interop.neuron_reader.NeuronReader` and calls :func:`import_with_reader`. This
module copies the network, finds out in which way it takes ticks, records it
(:mod:`neuro.interop.recording`), and folds the recorded ticks into one
(:mod:`neuro.interop.one_tick`).

Why it records a concrete run: torch.fx cannot iterate over a Proxy, so it fails at every ``for
x_t in x`` and at states that start as None. torch.export unrolls loops, but splits neurons into
aten operations, in which resets and decays cannot be recognised. Here real tensors flow,
neurons are called as a whole, and only what depends on the stimulus is followed.

Axes: T ticks, B samples, ``*N`` the shape of a node.
"""

import copy
import re
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.graph import Graph
from neuro.interop.decoding import (
    Decoding,
    DecodingError,
    find_answer,
    find_decoding,
)
from neuro.interop.imported import ImportedNetwork, OwnPrecision, SourceRun
from neuro.interop.layer_operations import LAYER_OPERATIONS, digest
from neuro.interop.neuron_reader import (
    CannotRunError,
    CaptureError,
    NeuronCall,
    NeuronNodes,
    NeuronReader,
    SourceState,
)
from neuro.interop.one_tick import Folded, fold_ticks
from neuro.interop.outputs import MIN_TICKS, follow_outputs
from neuro.interop.parameters import list_unknown, require_readable
from neuro.interop.recording import (
    MOST_RECORDED,
    RecordedRun,
    Recorder,
    Series,
    StimulusTick,
    list_tensors,
)
from neuro.interop.tick_operations import TICK_OPERATIONS
from neuro.io.graph_digest import digest_graph

Run = Callable[[nn.Module, Tensor], Any]  # runs a module on all ticks of x (T B *N)
WIDTHS = re.compile(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")
# Errors of torch that differ by way, in the number of samples.
BATCH = re.compile(r"expected input\[\d+")
OPERATIONS = {**LAYER_OPERATIONS, **TICK_OPERATIONS}
TICKS, LONGER, MOST_TICKS, SAMPLES = 6, 64, 1024, 2


@dataclass(frozen=True)
class Way:
    """A way in which a module takes ticks. static: its own loop shows one image every tick."""

    words: str
    run: Run
    static: bool = False


AT_ONCE = Way("all ticks at once, x of (T, B, ...)", lambda module, x: module(x))
EACH_TICK = Way("one tick a call, x of (B, ...)", lambda module, x: [*map(module, x)])
STATIC = Way("one image in every tick, x of (B, ...)", lambda module, x: module(x), static=True)


def import_with_reader(
    module: nn.Module,
    input_shape: tuple[int, ...],
    reader: NeuronReader,
    *,
    run: Run | Way | None = None,
    ticks: int | None = None,
    dt: Seconds = Seconds(1e-3),
) -> ImportedNetwork:
    """Return the Graph of a module, with everything needed to compare both.

    Args:
        module: stays unchanged; a copy runs in float64 and in evaluation mode.
        input_shape: shape of one tick of one sample, without the axes of ticks and samples.
        reader: reader for the library of its neurons.
        run: how the module runs on all ticks of x (T B *N), such as a loop that calls it and
            passes states on. None tries the three usual ways: ``module(x)`` with all ticks;
            ``module(x_t)`` at each tick, with states inside; ``module(image)`` with one image
            that an inner loop shows at every tick.
        ticks: number of ticks to record; None: 6, or more if the module's own loop needs more.
        dt: length of a tick [s].

    Raises:
        CaptureError: the module does something that a Graph cannot hold; lists everything, with
            file, line and cures.
        GraphError: the parts do not fit together.
    """
    try:
        return _import_module(module, input_shape, reader, run, ticks, dt)
    except CaptureError as error:  # a neuron without a node may have caused the others
        unknown = list_unknown(module, reader)
        if not unknown:
            raise
        raise CaptureError([*dict.fromkeys([*unknown, *error.problems])]) from error


def _import_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    reader: NeuronReader,
    run: Run | Way | None,
    ticks: int | None,
    dt: Seconds,
) -> ImportedNetwork:
    """As :func:`import_with_reader`; neurons without a node are not listed first."""
    require_readable(module)
    if ticks is not None and not MIN_TICKS <= ticks <= MOST_RECORDED:
        raise CaptureError(
            [
                f"ticks is {ticks}; it must be from {MIN_TICKS} to {MOST_RECORDED:,}. Use "
                f"--set ticks={LONGER}, or ticks={LONGER} in Python"
            ]
        )
    source, own = copy_module(module).double(), copy_module(module)
    shape = tuple(input_shape)
    ways: tuple[Way, ...] = (AT_ONCE, STATIC, EACH_TICK)
    if run is not None:
        ways = (run if isinstance(run, Way) else Way("your run", run),)
    failed: dict[str, list[str]] = {}  # ways by the error of the user's code
    refused: CaptureError | None = None
    for way in ways:
        try:
            record = _record(source, reader, way, shape, ticks)
            if way is STATIC and record.ticks == 1 and EACH_TICK in ways:
                continue  # a module of one tick
            if record.whole and way is AT_ONCE:
                continue  # as above: its neurons take one tick
            return _Capture(source, reader, way, shape, dt).build(record, own)
        except _CannotRun as error:
            told = rf"a layer takes \2 values, and gets \1 (the stimulus: {shape} per tick)"
            words = BATCH.sub("expected input[B", WIDTHS.sub(told, str(error)))
            failed.setdefault(words, []).append(way.words)
        except CaptureError as error:  # some of the reasons may follow from the way
            if refused is None or set(error.problems) < set(refused.problems):
                refused = error
    if refused is not None:
        raise refused
    raise CannotRunError([f"{error} (tried: {'; '.join(w)})" for error, w in failed.items()])


@dataclass(frozen=True)
class _Capture:
    """A module, and the way in which it ran successfully."""

    source: nn.Module
    reader: NeuronReader
    way: Way
    shape: tuple[int, ...]
    dt: Seconds

    def fold(self, record: RecordedRun) -> Folded:
        """Return the Graph that a recording shows."""
        return fold_ticks(record, self.reader, self.shape, self.dt)

    def build(self, record: RecordedRun, own: nn.Module) -> ImportedNetwork:
        """Return the imported network of a recording. own: the module in its own precision."""
        folded = self.fold(record)
        second = _record_again(self.source, self.reader, self.way, self.shape, record)
        _require_equal(folded.graph, self.fold(second).graph)
        choices, classes = {"ticks": self.way.words, **folded.notes}, None
        try:
            decoding = _find_decoding(record, folded)
            classes = len(decoding.bias)
            choices["answers"] = decoding.describe()
        except DecodingError as error:
            if folded.weights:
                raise CaptureError([*folded.weights, str(error)]) from error
            choices["answers"] = f"not decoded: {error}"
        integrators = folded.graph.integrators
        runs = _Source(self.source, self.reader, self.way, folded.names, integrators)
        return ImportedNetwork(
            graph=folded.graph,
            library=self.reader.library,
            mapping=folded.mapping,
            choices=choices,
            run_source=runs,
            ticks=record.ticks if second.ticks == record.ticks else None,
            static=self.way.static,
            find_decoding=cache(partial(self.find_decoding, folded.graph)),
            classes=classes,
            own=_describe_precision(replace(runs, module=own), record),
        )

    def find_decoding(self, graph: Graph, ticks: int) -> Decoding:
        """Return how the module forms its answers when it runs for ``ticks`` ticks.

        Raises:
            CaptureError: in such a run the module does not compute the Graph.
            DecodingError: there is no decoding.
        """
        if not MIN_TICKS <= ticks <= MOST_RECORDED:
            raise DecodingError(
                f"a run of {ticks:,} ticks is not recorded, so nobody knows how the module "
                f"makes its answers; give a stimulus of {MIN_TICKS} to {MOST_RECORDED:,} ticks"
            )
        record = _record(self.source, self.reader, self.way, self.shape, ticks)
        folded = self.fold(record)
        _require_equal(graph, folded.graph)
        return _find_decoding(record, folded)


def _find_decoding(record: RecordedRun, folded: Folded) -> Decoding:
    """Return the decoding that a recording shows.

    Raises:
        DecodingError: there is no decoding.
    """
    if not folded.outputs:
        names = ", ".join(folded.graph.outputs)
        raise DecodingError(f"the network has several outputs ({names}); return one of them")
    return find_decoding(record, folded.outputs, folded.factor)


def _describe_precision(run: "_Source", record: RecordedRun) -> OwnPrecision:
    """Return how the module computes when it is not widened to float64."""
    tensors = [*run.module.parameters(), *run.module.buffers()]
    kinds = {x.dtype: None for x in tensors if x.is_floating_point()} or {torch.float32: None}
    widest = max(torch.finfo(kind).bits for kind in kinds)
    casts = [
        f"{_name(kind)} at {where}"
        for kind, where in record.casts.items()
        if torch.finfo(kind).bits < widest
    ]
    return OwnPrecision(
        name=" and ".join(map(_name, kinds)),
        casts=tuple(casts),
        run=replace(run, dtypes=tuple(dict.fromkeys([*kinds, torch.float32])), widen=False),
    )


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


class _CannotRun(Exception):
    """The module raised its own error."""


@dataclass(frozen=True)
class _Source:
    """Runs the source, each time from rest.

    names: names of the populations, by name of the recorded neuron.
    integrators: populations that output their membrane.
    dtypes: dtypes of the stimulus, in the order in which they are tried.
    widen: whether everything runs in float64.
    """

    module: nn.Module
    reader: NeuronReader
    way: Way
    names: Mapping[str, str]
    integrators: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...] = (torch.float64,)
    widen: bool = True

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> SourceRun:
        x = torch.as_tensor(inputs["input"])
        if self.way.static:
            if (x != x[:1]).any():
                raise ValueError("the source shows one image in every tick; give it such a one")
            x = x[0]
        first: RuntimeError | None = None
        for dtype in self.dtypes:
            try:
                return self._run(x.to(dtype))
            except RuntimeError as error:  # a layer takes another precision
                first = first or error
        raise RuntimeError(describe_error(first)) from first  # type: ignore[arg-type]

    def _run(self, x: Tensor) -> SourceRun:
        network = copy.deepcopy(self.module)
        recorder = Recorder(network, self.reader, OPERATIONS, follow=False, widen=self.widen)
        with self.reader.running(network), recorder.recording() as record:
            returned = self.way.run(network, x)
        runs = {self.names[n]: s for n, s in record.states.items() if n in self.names}
        outputs, membranes, currents = (_join(runs, field) for field in SourceState._fields)
        values = {name: x for name, x in membranes.items() if name in self.integrators}
        answer = None
        with suppress(DecodingError):
            answer = find_answer(returned).double().cpu().numpy()
        return SourceRun({**outputs, **values}, membranes, currents, answer)


def _join(runs: Mapping[str, list[SourceState]], field: str) -> dict[str, np.ndarray]:
    """Join the ticks of one field of each population (T B *N)."""
    joined = {}
    for name, chunks in runs.items():
        pieces = [getattr(chunk, field) for chunk in chunks]
        if all(piece is not None for piece in pieces):
            joined[name] = torch.cat(pieces).double().cpu().numpy()
    return joined


def copy_module(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, without gradients.

    States that a module keeps after training belong to an autograd graph, which deepcopy
    refuses; the copy gets their values.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in list_tensors([*vars(part).values(), *part._buffers.values()]):
            if value.grad_fn is not None:
                memo[id(value)] = value.detach().clone()
    own = copy.deepcopy(_unwrap(module), memo).eval().requires_grad_(False)
    for part in list(own.modules()):
        for name, child in list(part.named_children()):
            setattr(part, name, _unwrap(child))
    return own


def _unwrap(module: nn.Module) -> nn.Module:
    """Return the module inside the result of torch.compile, or the module itself."""
    compiled = type(module).__name__ == "OptimizedModule"
    return module.get_submodule("_orig_mod") if compiled else module


def _record(
    source: nn.Module, reader: NeuronReader, way: Way, shape: tuple[int, ...], ticks: int | None
) -> RecordedRun:
    """Record a run of ``ticks`` ticks; None: as many as the module turns out to need."""
    count = TICKS if ticks is None else ticks
    first: Exception | None = None
    while True:
        record, error = _record_once(source, reader, way, shape, count)
        # An IndexError means that more ticks are needed. Too few ticks may also cause other
        # errors, or no output, for example from a module that leaves out its first ticks.
        if error is None and follow_outputs(record.outputs).values:
            return record
        first = first or error
        count = 2 * count if isinstance(error, IndexError) else max(LONGER, count + 1)
        most = MOST_TICKS if isinstance(error, IndexError) else LONGER
        if ticks is not None or way.static or count > most:
            if first is None or error is None:
                return record
            raise _CannotRun(describe_error(first)) from first


def _record_once(
    source: nn.Module,
    reader: NeuronReader,
    way: Way,
    shape: tuple[int, ...],
    ticks: int,
    samples: int = SAMPLES,
) -> tuple[RecordedRun, Exception | None]:
    network = copy.deepcopy(source)
    recorder = Recorder(network, reader, OPERATIONS, follow=True)
    like = next(network.parameters(), torch.zeros(0))
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(ticks, samples, *shape, generator=draw) < 0.5).to(
        like.device, torch.float64
    )
    recorder.keep(x)
    if way.static:
        x = x[0]
        recorder.put(x, StimulusTick(shape=shape, tick=None))
    else:
        parts = tuple(StimulusTick(shape=shape, tick=k) for k in range(ticks))
        recorder.put(x, Series(shape=shape, parts=parts))
    with reader.running(network), recorder.recording() as record:
        try:
            returned = way.run(network, x)
        except CaptureError:
            raise
        except Exception as error:
            return record, error
        record.outputs += [v for y in list_tensors(returned) if (v := recorder.get(y))]
        record.returned, record.tensors = returned, recorder.list_followed()
    return record, None


def describe_error(error: Exception) -> str:
    """Return an error of the user's code together with its file and line."""
    frames = list(traceback.extract_tb(error.__traceback__))
    ends = [k for k, frame in enumerate(frames) if frame.name == "__torch_function__"]
    inside = ("site-packages", str(Path(__file__).parent))
    users = [
        frame
        for frame in frames[: ends[0] if ends else None]
        if not any(part in frame.filename for part in inside)
    ]
    place = f"{users[-1].filename}:{users[-1].lineno}: " if users else ""
    return f"{place}{type(error).__name__}: {error}"


def _record_again(
    source: nn.Module,
    reader: NeuronReader,
    way: Way,
    shape: tuple[int, ...],
    record: RecordedRun,
) -> RecordedRun:
    """Record a run with another batch size, and with one more tick if the module supports it.

    Raises:
        CaptureError: the module cannot run like this, or not for as many ticks as before.
    """
    if not way.static:
        longer, error = _record_once(source, reader, way, shape, record.ticks + 1, SAMPLES + 1)
        if error is None and longer.ticks == record.ticks + 1:
            return longer
    again, error = _record_once(source, reader, way, shape, record.ticks, SAMPLES + 1)
    if error is not None:
        raise CaptureError([f"with a batch of {SAMPLES + 1} samples: {describe_error(error)}"])
    if again.ticks != record.ticks:
        raise CaptureError(
            [
                f"of {record.ticks} ticks the module runs {again.ticks}; let it run all that "
                "it is given, or a number of its own"
            ]
        )
    return again


def _require_equal(graph: Graph, other: Graph) -> None:
    """Raise a CaptureError unless two runs gave equal Graphs."""
    if digest_graph(graph) == digest_graph(other):
        return
    names = [*dict.fromkeys([*graph.nodes, *other.nodes])]
    parts = [(_cut_out(graph, n), _cut_out(other, n)) for n in names]
    changed = [name for name, (one, two) in zip(names, parts, strict=True) if one != two]
    raise CaptureError(
        [
            f"{', '.join(changed)}: in a second run, of another number of ticks or samples, "
            "other weights, sources or delays; take no weight or factor from these numbers, "
            "draw none at random, and keep sums over ticks in a neuron"
        ]
    )


def _cut_out(graph: Graph, name: str) -> tuple[str, ...]:
    """Return the properties by which a node differs from a node of another Graph."""
    node = graph.nodes.get(name)
    values = () if node is None else [getattr(node, field.name) for field in fields(node)]
    into = sorted(repr(edge) for edge in graph.edges if edge.target == name)
    return (digest(type(node).__name__, *values), *into)


__all__ = [
    "CaptureError",
    "NeuronCall",
    "NeuronNodes",
    "NeuronReader",
    "Run",
    "SourceState",
    "import_with_reader",
]

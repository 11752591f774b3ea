"""Records what a torch module computes while it runs: who passes what to whom, tick by tick.

Tensors that depend on the stimulus are followed by identity. Each has a :class:`Symbol`, which
says where it comes from: a tick of the stimulus, the result of a neuron, a layer of other
values. What no Graph can hold is a :class:`Lost` value, which is refused only if it reaches a
neuron. The run is in float64, whatever precision the module requests, unless the caller wants
its own precision. Gradients lead from what the module returns to its neurons' outputs.
Axes: T ticks, B samples, ``*N`` of one tick of one sample.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from neuro.graph import Node, Softmax
from neuro.interop.neuron_reader import CaptureError, NeuronReader, SourceState
from neuro.interop.unsupported import COMPARISONS, RANDOM, READS, explain_function, find_encoder

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Symbol:
    """Where a tensor comes from. shape: shape of one tick of one sample."""

    shape: Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class StimulusTick(Symbol):
    """The stimulus at one tick; None: one image that is shown at every tick."""

    tick: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedConstant(Symbol):
    """A tensor that does not depend on the stimulus, with its values when it was used."""

    data: Tensor

    @property
    def is_zero(self) -> bool:
        """Whether all values are 0."""
        return not bool(self.data.any())


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedLayer:
    """A stateless operation.

    nodes: its nodes, one after the other. key: equal for the same operation in every tick.
    foldable: axis of the weight along which a factor of the output channels is folded in; None:
        there is no such axis.
    """

    name: str
    kind: str
    nodes: tuple[Node, ...]
    key: tuple[Any, ...]
    foldable: int | None = None

    def compare_weights(self, expected: "RecordedLayer") -> str:
        """Describe this layer, whose weights differ from the expected ones."""
        for node, other in zip(self.nodes, expected.nodes, strict=False):
            own, its = getattr(node, "weight", None), getattr(other, "weight", None)
            if own is None or its is None or own.shape != its.shape or not its.any():
                continue
            factor = float((own * its).sum() / (its * its).sum())
            if not np.isclose(factor, 1) and np.allclose(own, factor * its):
                return f"{factor:.4g} times {self.name}"
        return f"{self.name} with other weights"

    @property
    def silent(self) -> bool:
        """Whether its output is 0 if its input is 0."""
        return not any(
            getattr(node, "bias", None) is not None
            or isinstance(node, Softmax)
            or getattr(node, "function", "") == "sigmoid"
            for node in self.nodes
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Applied(Symbol):
    """The output of a layer. sources: one value; several in a concatenation."""

    layer: RecordedLayer
    sources: tuple[Symbol, ...]
    where: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Total(Symbol):
    """A sum of values."""

    terms: tuple[Symbol, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series(Symbol):
    """Values in one tensor, usually of all ticks. shape: shape of each value.

    axis: of the values, 0 for (T B *N). merged: whether it and the axis of samples are one.
    """

    parts: tuple[Symbol, ...]
    axis: int = 0
    merged: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Lost(Symbol):
    """A value that a Graph cannot hold.

    what: the operation, and a cure; "" if the problems of the run have it already.
    sources: values that it used.
    weighted: whether it is a layer with weights, which must not be left out as a decoding.
    unsupported: whether the operation has no node whatever it takes.
    """

    what: str
    where: str
    sources: tuple[Symbol, ...] = ()
    weighted: bool = False
    unsupported: bool = False


@dataclass(kw_only=True, eq=False)
class NeuronTick:
    """A tick of a neuron module. states: before it; None if not given. shape: of its output."""

    name: str
    module: nn.Module
    tick: int
    current: Symbol
    states: Mapping[str, Symbol | None]
    shape: Shape
    where: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Symbol):
    """What a neuron returned or kept in a tick. key: the reader's name for it."""

    neuron: NeuronTick
    key: str


@dataclass(kw_only=True)
class RecordedRun:
    """Everything that a run did.

    neurons: the ticks of each neuron module, by its name. outputs: what the module returned.
    problems: reasons why the record is unsound.
    whole: whether a neuron of one tick got all ticks at once.
    states: what each neuron computed (T B *N), if the run was to keep it.
    returned: what the module returned, with gradients by the outputs of its neurons.
    tensors: all tensors that were followed, in order of creation, and what they hold.
    casts: casts to less than float64, each with the first line that requests it.
    """

    neurons: dict[str, list[NeuronTick]] = field(default_factory=dict)
    outputs: list[Symbol] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    whole: bool = False
    states: dict[str, list[SourceState]] = field(default_factory=dict)
    returned: Any = None
    tensors: list[tuple[Tensor, Symbol]] = field(default_factory=list)
    casts: dict[torch.dtype, str] = field(default_factory=dict)

    @property
    def ticks(self) -> int:
        """Number of ticks of the neuron that has the most."""
        return max((len(ticks) for ticks in self.neurons.values()), default=0)


class Recorder:
    """Records a run inside the context of :meth:`recording`.

    operations: functions from a call to the value of its result, by name of a torch function.
    follow: whether to follow values, or only record states.
    widen: whether everything runs in float64; False keeps the module's precision.
    """

    def __init__(
        self,
        network: nn.Module,
        reader: NeuronReader,
        operations: Mapping[str, Callable[["Operation"], Any]],
        *,
        follow: bool,
        widen: bool = True,
    ) -> None:
        self.reader, self.operations, self.follow = reader, operations, follow
        self.widen = widen
        self.names = {id(m): name for name, m in network.named_modules()}
        self.record = RecordedRun()
        self.modules: list[nn.Module] = []
        self.layers: dict[Any, tuple[Any, list[Tensor]]] = {}  # and the tensors it was made of
        self.samples = 0
        self._values: dict[int, Symbol] = {}
        self._alive: list[Any] = []
        self._inside = False  # whether a neuron runs, whose operations are its own
        self._caller: Any = None  # the frame that called a module or a torch function

    def get(self, x: Any) -> Symbol | None:
        """Return what a tensor holds, or None if it does not depend on the stimulus."""
        return self._values.get(id(x))

    def get_or_constant(self, x: Tensor) -> Symbol:
        """Return what a tensor holds, which may be a constant."""
        value = self.get(x)
        return (
            RecordedConstant(shape=tuple(x.shape[1:]), data=x.detach().clone())
            if value is None
            else value
        )

    def put(self, x: Tensor, value: Symbol | None) -> None:
        """Note what a tensor holds."""
        self._alive.append(x)
        if value is None:
            self._values.pop(id(x), None)
        else:
            self._values[id(x)] = value

    def list_followed(self) -> list[tuple[Tensor, Symbol]]:
        """Return all tensors that are followed, in the order in which they were made."""
        tensors = {id(x): x for x in self._alive if isinstance(x, Tensor)}
        return [(x, self._values[key]) for key, x in tensors.items() if key in self._values]

    def keep(self, *anything: Any) -> None:
        """Keep objects alive, so that no other object gets their id."""
        self._alive += anything

    def name(self, function: str) -> str:
        """Return the node name for a function: its layer's name, alone or joined with it."""
        for module in reversed(self.modules):
            path = self.names.get(id(module))
            if path is not None:
                own = isinstance(module, _ONE_FUNCTION)
                return "_".join([*path.split("."), *([] if own else [function])]).strip("_")
        return function

    def where(self) -> str:
        """Return file and line of the user's code that is running, else of the library's."""
        frame, theirs = self._caller, "?"
        while frame is not None:
            path = frame.f_code.co_filename
            place = f"{path.removeprefix(os.getcwd() + os.sep)}:{frame.f_lineno}"
            if path.startswith(_HERE) and path != __file__:
                break  # this is what started the run
            if not path.startswith(_NOT_USERS):
                if "site-packages" not in path:
                    return place
                theirs = place if theirs == "?" else theirs
            frame = frame.f_back
        return theirs

    @contextmanager
    def recording(self) -> Iterator[RecordedRun]:
        """Record what runs inside."""
        original, own = nn.Module.__call__, self

        class Mode(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                del types
                if not own._inside:
                    own._caller = sys._getframe(1)
                return own._run_function(func, args, kwargs or {})

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if own._inside:
                return original(module, *args, **kwargs)
            own._caller = sys._getframe(1)
            if own.reader.is_neuron(module):
                return own._call_neuron(module, original, args, kwargs)
            own.modules.append(module)
            try:
                return original(module, *args, **kwargs)
            finally:
                own.modules.pop()

        nn.Module.__call__ = call  # type: ignore[method-assign]
        try:
            with torch.set_grad_enabled(self.follow), Mode():
                yield self.record
        finally:
            nn.Module.__call__ = original  # type: ignore[method-assign]
            self._caller = None

    def _run_function(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run a torch function, in float64 unless the module keeps its precision."""
        name = (resolve_name(func) or getattr(func, "__name__", str(func))).rpartition(".")
        short = name[2] if name[2] != "__get__" else name[0].rpartition(".")[2]
        writes = (short.endswith("_") and not short.endswith("__")) or short.startswith("__i")
        self._note_casts(short, (*args, *kwargs.values()))
        if not self.widen:
            return func(*args, **kwargs)
        if short in _NARROWING:
            func, short = Tensor.double, "double"
        args, kwargs = _widen(args, kept=writes), _widen(kwargs, kept=writes)
        if not self.follow or self._inside:
            return _widen(func(*args, **kwargs), kept=writes)
        return self._follow(short, func, args, kwargs, writes)

    def _follow(
        self, short: str, func: Any, args: Any, kwargs: dict[str, Any], writes: bool
    ) -> Any:
        """Run a torch function and note what its result holds."""
        given = _list_tensors((args, kwargs))
        sources = [v for x in given if (v := self.get(x)) is not None]
        versions = [x._version for x in given] if sources else []
        if sources and (short in _READS or (short in _SIZES and any(map(_is_sized, sources)))):
            read = f"{short.strip('_')}() {READS}"
            self.record.problems.append(f"{self.where()}: {find_encoder(self._caller) or read}")
        if short in _READS:  # torch warns about it if there are gradients
            args = tuple(x.detach() if isinstance(x, Tensor) else x for x in args)
        if short in _ENDS and sources:
            func, args = Tensor.view_as, (args[0], args[0])
        plain = (writes or short == "__setitem__") and _is_end(args[0])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not plain):
            result = _widen(func(*args, **kwargs), kept=writes)
        if not (sources or short in RANDOM or short in _WEIGHTED):
            return result
        if short not in _SHAPES_ONLY:
            op = Operation(self, short, func, args, kwargs, result, tuple(sources))
            self._note(op)
            for x, version in zip(given, versions, strict=False):
                if x._version != version:
                    self._break_aliases(x, op)
        return result

    def _note_casts(self, function: str, arguments: tuple[Any, ...]) -> None:
        """Note a precision below float64 that the module itself requests."""
        if self._inside:
            return
        asked = [x for x in arguments if isinstance(x, torch.dtype) and x in _NARROW]
        asked += [_NARROWING[function]] if function in _NARROWING else []
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                asked.append(torch.get_autocast_dtype(device))
        for dtype in asked:
            if dtype not in self.record.casts:
                self.record.casts[dtype] = self.where()

    def _note(self, op: "Operation") -> None:
        """Note what the result of an operation holds."""
        handler = self.operations.get(op.name)
        tensors = _list_tensors(op.result)
        if op.name == "__setitem__":
            tensors = [op.args[0]]
        if not tensors:
            return
        made = None if handler is None else handler(op)
        if op.name in RANDOM:
            made = op.lose()
        values = made if isinstance(made, list) else [made] * len(tensors)
        for x, value in zip(tensors, values, strict=True):
            self.put(x, op.lose() if value is None else None if value is GONE else value)

    def _break_aliases(self, x: Tensor, op: "Operation") -> None:
        """Mark as lost the other tensors that share the memory of one that was written to."""
        place = x.untyped_storage().data_ptr()
        shared = [
            other
            for other in {id(y): y for y in self._alive if isinstance(y, Tensor)}.values()
            if other is not x and id(other) in self._values
            if other.untyped_storage().data_ptr() == place
        ]
        for other in shared:
            self.put(other, op.lose("writes into memory that another tensor shares"))

    def _call_neuron(
        self, module: nn.Module, original: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a neuron module as a whole, and note its arguments and results."""
        kind, where = type(module).__name__, self.where()
        path = self.names.get(id(module))
        name = "_".join((path or "").split(".")) or kind.lower()
        if path is None:
            self.record.problems.append(
                f"{where}: a {kind} that is no part of the module; assign it to self in "
                "__init__, several as nn.ModuleList"
            )
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
            self.record.problems.append(
                f"{name}: {kind} has hooks or a forward of its own; remove them"
            )
        self._inside = True
        try:
            with torch.no_grad():  # gradients end at a neuron, and start anew after it
                call = self.reader.read_call(module, args, kwargs)
                result = original(module, *args, **kwargs)
                results = self.reader.read_results(module, result)
            state = None if self.follow else self.reader.read_state(module, call, results)
            if state is not None:
                ticks = [None if x is None or call.all_ticks else x[None] for x in state]
                chunk = SourceState(*ticks) if not call.all_ticks else state  # type: ignore[arg-type]
                self.record.states.setdefault(name, []).append(chunk)
            else:
                self._note_neuron(module, name, call, results, where)
        finally:
            self._inside = False
        return result

    def _note_neuron(
        self, module: nn.Module, name: str, call: Any, results: Mapping[str, Tensor], where: str
    ) -> None:
        current = self.get_or_constant(call.current)
        ticks = self.record.neurons.setdefault(name, [])
        if len(ticks) >= MOST_RECORDED:
            raise CaptureError(
                [
                    f"{where}: {name} runs more than {MOST_RECORDED:,} ticks, which an import "
                    "does not record; let the loop of the module run fewer for the import"
                ]
            )
        states = {
            k: None if x is None else self.get_or_constant(x) for k, x in call.states.items()
        }
        if not ticks and not self.reader.is_at_rest(module, call.states):
            self.record.problems.append(
                f"{where}: {name} begins with a state other than rest; begin with its "
                "own initial state"
            )
        currents: tuple[Symbol, ...]
        if not call.all_ticks:
            currents = (current,)
            if isinstance(current, Series):
                self.record.whole = True
                self.record.problems.append(
                    f"{where}: {name} takes one tick, and gets all at once; loop over ticks"
                )
        elif isinstance(current, Series) and (current.axis, current.merged) == (0, False):
            currents = current.parts
        else:
            lost = (
                current
                if isinstance(current, Lost)
                else Lost(
                    shape=current.shape[1:],
                    what=f"{name} takes all ticks on the first axis, and gets something else",
                    where=where,
                    sources=(current,),
                )
            )
            currents = (lost,) * len(call.current)
        one = next(iter(results.values()))
        several = call.all_ticks and one.dim() == call.current.dim()
        shape = tuple(one.shape[1 + several :])
        new = []
        for value in currents:
            tick = NeuronTick(
                name=name,
                module=module,
                tick=len(ticks),
                current=value,
                states=states,
                shape=shape,
                where=where,
            )
            new.append(tick)
            ticks.append(tick)
            states = {k: Result(shape=shape, neuron=tick, key=k) for k in states}
        for key, x in results.items():
            if torch.is_grad_enabled() and x.is_floating_point() and not x.is_inference():
                x.requires_grad_()
            made = [Result(shape=shape, neuron=tick, key=key) for tick in new]
            series = call.all_ticks and x.dim() == call.current.dim()
            self.put(x, Series(shape=shape, parts=tuple(made)) if series else made[-1])


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of a torch function that takes a followed value."""

    recorder: Recorder
    name: str
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    sources: tuple[Symbol, ...]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by its position or its name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def value(self, x: Any) -> Symbol | None:
        """Return what an argument holds, or None if it does not depend on the stimulus."""
        return self.recorder.get(x)

    def lose(self, why: str = "", *, weighted: bool = False) -> Lost:
        """Return a Lost value for a result that a Graph cannot hold."""
        where, encoder = self.recorder.where(), find_encoder(self.recorder._caller)
        if encoder:
            self.recorder.record.problems.append(f"{where}: {encoder}")
        return Lost(
            shape=(),
            what="" if encoder else f"{self.name}() {why or explain_function(self.name)}",
            where=where,
            sources=self.sources,
            weighted=weighted,
            unsupported=not (self.name in self.recorder.operations or self.name in COMPARISONS),
        )


MOST_RECORDED = 4096  # ticks: some 15 s, and all tensors stay in memory

GONE = RecordedConstant(
    shape=(), data=torch.zeros(())
)  # a result that does not depend on the stimulus

_ONE_FUNCTION = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.AvgPool2d, nn.MaxPool2d),
    *(nn.Flatten, nn.Unflatten, nn.Upsample, nn.BatchNorm1d, nn.BatchNorm2d),
    *(nn.Softmax, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.SiLU),
)
_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)
_NOT_USERS = (_TORCH, str(Path(__file__).parent), "<")
_NARROWING = {"float": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}
_NARROW = frozenset({torch.float32, torch.float16, torch.bfloat16})
_READS = frozenset(
    {
        *("__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__"),
        *("item", "tolist", "numpy", "__array__", "equal", "allclose", "is_nonzero"),
    }
)
_ENDS = frozenset({"detach", "data"})  # these end gradients, which must lead on
_SIZES = frozenset({"shape", "size", "numel", "__len__"})
_OF_VALUES = ("nonzero(", "argwhere(", "masked_select(", "unique(")  # sizes depend on values
_WEIGHTED = frozenset({"linear", "conv1d", "conv2d", "conv_transpose2d"})  # even of zeros
_SHAPES_ONLY = frozenset(
    {
        *("zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones"),
        *("new_full", "new_empty", "new_tensor"),
    }
)


def _list_tensors(x: Any) -> list[Tensor]:
    """Return the tensors in nested lists, tuples and mappings."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, Mapping):
        return [t for value in x.values() for t in _list_tensors(value)]
    if isinstance(x, list | tuple):
        return [t for value in x for t in _list_tensors(value)]
    return []


list_tensors = _list_tensors


def _is_sized(value: Symbol) -> bool:
    """Say whether the size of what a value holds depends on the stimulus."""
    return isinstance(value, Lost) and value.what.startswith(_OF_VALUES)


def _is_end(x: Any) -> bool:
    """Say whether gradients end at a tensor's memory, to which nothing may be written."""
    if not isinstance(x, Tensor):
        return False
    base = x if x._base is None else x._base
    return base.is_leaf and base.requires_grad


def _widen(x: Any, *, kept: bool) -> Any:
    """Return arguments in float64. kept: tensors stay, because the function writes to one."""
    if x is torch.float32 or x is torch.float16 or x is torch.bfloat16:
        return torch.float64
    if isinstance(x, Tensor):
        return x.double() if not kept and x.dtype in _NARROW and x.is_floating_point() else x
    if isinstance(x, dict):
        return {k: _widen(v, kept=kept) for k, v in x.items()}
    if type(x) in (list, tuple):
        return type(x)(_widen(v, kept=kept) for v in x)
    return x

# ruff: noqa: ARG002
"""Imports networks of Norse as Graphs: :func:`import_module`."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro.base.extras import require_extra
from neuro.base.units import Seconds
from neuro.interop.capture import Run, Way, import_with_reader
from neuro.interop.imported import ImportedNetwork
from neuro.interop.neuron_reader import CaptureError, NeuronCall, NeuronNodes, SourceState
from neuro.interop.norse_neurons import (
    CELLS,
    CURE,
    OVER_TIME,
    REASONS,
    convert_cell,
    find_start,
    list_dts,
    list_states,
    widen,
)
from neuro.interop.parameters import (
    find_library_class,
    require_known,
    require_readable,
)

_KNOWN = frozenset({*CELLS, *OVER_TIME})
# Modules that only call others; their code is recorded like the user's own.
_CONTAINERS = frozenset(
    {
        *("SequentialState", "RecurrentSequential", "Lift", "ConvNet", "ConvNet4", "VGG"),
        *("MobileNetV2", "ConvBNReLU", "InvertedResidual"),
    }
)


def import_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    run: Run | None = None,
    ticks: int | None = None,
) -> ImportedNetwork:
    """Return the Graph of a module with Norse's neurons, with all it takes to compare them.

    The length of a tick is the ``dt`` of the cells.

    Args:
        module: stays unchanged; a copy runs in float64 and in evaluation mode. Its forward
            takes all ticks, or one tick and a state, as a SequentialState of cells does.
        input_shape: shape of one tick of one sample, without the axes of ticks and samples.
        run: how the module runs on all ticks of x (T B *N); None tries the usual ways.
        ticks: number of ticks to record; None: the usual number.

    Raises:
        RuntimeError: Norse is not installed; says how to install it.
        CaptureError: the module does something that a Graph cannot hold; lists everything, with
            file, line and cures.
        GraphError: the parts do not fit together.
    """
    with require_extra("peers", "a network of Norse needs Norse"):
        import norse  # noqa: F401
    require_readable(module)
    dts = list_dts(module)
    if len(dts) > 1:
        found = ", ".join(f"{dt:g}" for dt in dts)
        raise CaptureError([f"cells have different dt, {found} s; give all the same"])
    way: Run | Way | None = run
    if run is None and _takes_one_tick(module):
        way = Way("one tick a call, x of (B, ...) and the state before", run_with_states)
    dt = Seconds(dts[0] if dts else 1e-3)
    return import_with_reader(module, input_shape, NorseReader(), run=way, ticks=ticks, dt=dt)


def run_with_states(module: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of all ticks of a module (x, state) -> (y, state) of one tick."""
    state, outputs = None, []
    for x_t in x:
        y, state = module(x_t, state)
        outputs.append(y)
    return torch.stack(outputs)


def _takes_one_tick(module: nn.Module) -> bool:
    """Say whether a module passes its states on from tick to tick, as cells do."""
    if "state" not in inspect.signature(module.forward).parameters:
        return False
    kinds = {kind.__name__ for part in module.modules() if (kind := _find_class(part))}
    return not kinds & {*OVER_TIME, "Lift"}


def _find_class(module: nn.Module) -> type | None:
    return find_library_class(module, "norse")[0]


class _Step(NamedTuple):
    """What a cell computed in one tick; states by name, before and after."""

    x: Tensor
    weights: tuple[Tensor, ...]  # input and recurrent weights of a recurrent cell
    before: Mapping[str, Tensor]
    out: Tensor
    after: Mapping[str, Tensor]


class NorseReader:
    """How cells of Norse are called, what they compute and where their state is.

    A cell, and also a module over time, computes a tick in its attribute ``activation``. In a
    run of the copy, this attribute is wrapped to show the states of every tick.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []  # of the last call

    @property
    def library(self) -> str:
        """Name and version."""
        return f"norse {version('norse')}"

    def is_neuron(self, module: nn.Module) -> bool:
        """Say whether a module belongs to Norse and does more than call other modules."""
        kind = _find_class(module)
        return kind is not None and kind.__name__ not in _CONTAINERS

    def require_known(self, module: nn.Module) -> str:
        """Return the name of a cell's class; raise a CaptureError if it has no node."""
        return require_known(module, "norse", _KNOWN, REASONS, CURE)

    @contextmanager
    def running(self, network: nn.Module) -> Iterator[None]:
        """Record the states of every tick, and widen everything but parameters to float64."""
        every: list[Any] = [m for m in network.modules() if self.is_neuron(m)]
        for cell in every:
            for name, value in vars(cell).items():
                if isinstance(value, Tensor) and value.is_floating_point():
                    setattr(cell, name, value.detach().double())
            if hasattr(cell, "p"):
                cell.p = widen(cell.p)
        cells = [cell for cell in every if hasattr(cell, "activation")]
        plain = [cell.activation for cell in cells]
        for cell in cells:
            cell.activation = self._wrap(cell.activation)
        try:
            yield
        finally:
            for cell, activation in zip(cells, plain, strict=True):
                cell.activation = activation

    def _wrap(self, activation: Callable[..., Any]) -> Callable[..., Any]:
        def compute(x: Tensor, state: Any, *rest: Any) -> Any:
            out, after = activation(x, state, *rest)
            weights = tuple(w for w in rest if isinstance(w, Tensor))
            self._steps.append(_Step(x, weights, _flatten(state), out, _flatten(after)))
            return out, after

        return compute

    def read_call(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NeuronCall:
        """Return the input of a call, and its states."""
        self._steps = []
        given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        current = next(iter(given.values()))
        states = _flatten(given["state"]) if given.get("state") is not None else {}
        kind = _find_class(module)
        over_time = kind is not None and kind.__name__ in OVER_TIME
        held = {name: states.get(name) for name in list_states(module)}
        return NeuronCall(current, held, all_ticks=over_time)

    def read_results(self, module: nn.Module, result: Any) -> Mapping[str, Tensor]:
        """Return the output of a call, and its states."""
        if not isinstance(result, tuple):  # a module without a state, which is refused
            return {"out": result} if isinstance(result, Tensor) else {}
        out, state = result
        states = _flatten(state)
        own = any(x is out for x in states.values())
        return states if own else {**states, "out": out}

    def is_at_rest(self, module: nn.Module, states: Mapping[str, Tensor | None]) -> bool:
        """Say whether a cell starts at its leak voltage, without current and spikes."""
        cell: Any = module
        rest = {"v": find_start(cell)}
        return all(
            state is None or bool((state == rest.get(name, 0.0)).all())
            for name, state in states.items()
        )

    def read_state(
        self,
        module: nn.Module,
        call: NeuronCall,
        results: Mapping[str, Tensor],
    ) -> SourceState:
        """Return spikes and membranes measured from rest; for an integrator its values."""
        if not self._steps:  # an LILinearCell, which has no activation
            return SourceState(results["v"], membrane=results["v"])
        cell: Any = module
        outputs, membranes, currents = [], [], []
        for step in self._steps:
            outputs.append(step.out)
            membranes.append(step.after["v"] - find_start(cell))
            # Norse adds the input before it computes the membrane.
            current = step.x
            if step.weights:
                current = F.linear(step.x, step.weights[0])
                current = current + F.linear(step.before["z"], step.weights[1])
            currents.append(current + step.before.get("i", 0.0))
        if not call.all_ticks:
            return SourceState(outputs[0], membranes[0], currents[0])
        return SourceState(*(torch.stack(values) for values in (outputs, membranes, currents)))

    def convert(
        self, module: nn.Module, shape: tuple[int, ...], used: frozenset[str], dt: Seconds
    ) -> NeuronNodes:
        """Return the nodes of a cell."""
        return convert_cell(module, self.require_known(module), shape)


def _flatten(state: Any) -> dict[str, Tensor]:
    """Return the tensors of a state by name; a refractory cell's state contains another."""
    flat: dict[str, Tensor] = {}
    for name, value in state._asdict().items() if hasattr(state, "_asdict") else ():
        flat.update({name: value} if isinstance(value, Tensor) else _flatten(value))
    return flat

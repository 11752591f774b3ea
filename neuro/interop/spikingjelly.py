"""Imports networks of SpikingJelly as Graphs: :func:`import_module`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from neuro.base.extras import require_extra
from neuro.base.units import Seconds
from neuro.interop.capture import EACH_TICK, Run, Way, import_with_reader
from neuro.interop.imported import ImportedNetwork
from neuro.interop.neuron_reader import CaptureError, NeuronCall, NeuronNodes, SourceState
from neuro.interop.parameters import (
    find_library_class,
    require_known,
)
from neuro.interop.spikingjelly_neurons import (
    CURE,
    NEURONS,
    REASONS,
    convert_neuron,
    describe_neuron,
    make_readout,
    never_fires,
)

# Layers that keep a state or draw random numbers; others are recorded as torch functions.
_REFUSED = (
    *("SynapseFilter", "NeuNorm", "DropConnectLinear", "TemporalEffective", "ThroughTime"),
    "Encoder",
)


def import_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    run: Run | None = None,
    ticks: int | None = None,
    dt: Seconds = Seconds(1e-3),
) -> ImportedNetwork:
    """Return the Graph of a module with SpikingJelly's neurons, and what compares both.

    Args:
        module: in step mode "s" or "m"; it stays unchanged. A copy runs in float64 and in
            evaluation mode, starting from ``functional.reset_net``.
        input_shape: shape of one tick of one sample, without the axes of ticks and samples.
        run: how the module runs on all ticks of x (T B *N); None tries the usual ways.
        ticks: number of ticks to record; None: the usual number.
        dt: length of a tick [s], which SpikingJelly does not define.

    Raises:
        RuntimeError: SpikingJelly is not installed; says how to install it.
        CaptureError: the module does something that a Graph cannot hold; lists everything, with
            file, line and cures.
        GraphError: the parts do not fit together.
    """
    with require_extra("peers", "a network of SpikingJelly needs SpikingJelly"):
        import spikingjelly  # noqa: F401
    reader = SpikingJellyReader()
    more: dict[str, Any] = {"ticks": ticks, "dt": dt}
    try:
        return import_with_reader(module, input_shape, reader, run=run, **more)
    except CaptureError:
        if run is None and reader.takes_one_tick(module):
            with suppress(CaptureError):  # otherwise the first reasons are more helpful
                way = Way(EACH_TICK.words, run_ticks)
                return import_with_reader(module, input_shape, reader, run=way, **more)
        raise


def run_ticks(module: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs of all ticks of a module that takes one tick and keeps its states."""
    return torch.stack([module(x_t) for x_t in x])


class SpikingJellyReader:
    """How neurons of SpikingJelly are called, what they compute and where their state is."""

    def __init__(self) -> None:
        self._membranes: list[Tensor] = []  # ticks of the last call, without v_seq

    @property
    def library(self) -> str:
        """Name and version."""
        return f"spikingjelly {version('spikingjelly')}"

    def is_neuron(self, module: nn.Module) -> bool:
        """Say whether a module is a neuron of SpikingJelly, or a layer with a state."""
        kind, _ = find_library_class(module, "spikingjelly")
        if kind is None:
            return False
        return ".neuron" in kind.__module__ or any(n in kind.__name__ for n in _REFUSED)

    def require_known(self, module: nn.Module) -> str:
        """Return the name of a neuron's class; raise a CaptureError if it has no node."""
        return require_known(module, "spikingjelly", NEURONS, REASONS, CURE)

    def takes_one_tick(self, network: nn.Module) -> bool:
        """Say whether all neurons are in step mode "s"."""
        nodes: list[Any] = [m for m in network.modules() if self.is_neuron(m)]
        return all(getattr(node, "step_mode", "m") == "s" for node in nodes)

    @contextmanager
    def running(self, network: nn.Module) -> Iterator[None]:
        """Start at rest, and keep the membranes of every tick."""
        from spikingjelly.activation_based import functional

        functional.reset_net(network)
        nodes: list[Any] = [m for m in network.modules() if self.is_neuron(m)]
        kept = [node for node in nodes if hasattr(node, "store_v_seq")]
        before = [node.store_v_seq for node in kept]
        for node in kept:
            node.store_v_seq = node.step_mode == "m"
        for node in nodes:
            if not hasattr(node, "store_v_seq") and hasattr(node, "single_step_forward"):
                node.single_step_forward = self._keep_membrane(node, node.single_step_forward)
        try:
            yield
        finally:
            for node, value in zip(kept, before, strict=True):
                node.store_v_seq = value
            for node in nodes:
                vars(node).pop("single_step_forward", None)
            functional.reset_net(network)

    def _keep_membrane(self, node: Any, step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a step that notes the membrane; a SimpleLIFNode calls it at every tick."""

        def compute(x: Tensor) -> Tensor:
            spikes = step(x)
            self._membranes.append(node.v)
            return spikes

        return compute

    def read_call(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NeuronCall:
        """Return the input of a call, and the states that the neuron keeps as attributes."""
        node: Any = module
        self._membranes = []
        current = args[0] if args else next(iter(kwargs.values()))
        states = {name: x for name, x in getattr(node, "_memories", {}).items()}
        tensors = {n: x if isinstance(x, Tensor) else None for n, x in states.items()}
        return NeuronCall(current, tensors, all_ticks=getattr(node, "step_mode", "s") == "m")

    def read_results(self, module: nn.Module, result: Any) -> Mapping[str, Tensor]:
        """Return the spikes of a call, and the states that the neuron keeps."""
        node: Any = module
        kept = {**getattr(node, "_memories", {}), "v_seq": getattr(node, "v_seq", None)}
        found = {name: x for name, x in kept.items() if isinstance(x, Tensor)}
        return {**found, "out": result} if isinstance(result, Tensor) else found

    def is_at_rest(self, module: nn.Module, states: Mapping[str, Tensor | None]) -> bool:
        """Say whether a neuron starts as ``functional.reset_net`` leaves it."""
        node: Any = module
        rest = getattr(node, "_memories_rv", {})
        return all(x is None or bool(torch.all(x == rest[n])) for n, x in states.items())

    def read_state(
        self, module: nn.Module, call: NeuronCall, results: Mapping[str, Tensor]
    ) -> SourceState:
        """Return spikes, and membranes measured from rest."""
        # What functional.reset_net sets: the neuron rests there.
        rest = torch.as_tensor(module._memories_rv["v"], dtype=torch.float64)  # type: ignore[index]
        if not call.all_ticks:
            return SourceState(results["out"], results["v"] - rest, results.get("c"))
        membranes = torch.stack(self._membranes) if self._membranes else results["v_seq"]
        return SourceState(results["out"], membranes - rest)

    def convert(
        self, module: nn.Module, shape: tuple[int, ...], used: frozenset[str], dt: Seconds
    ) -> NeuronNodes:
        """Return the nodes of a neuron."""
        kind = self.require_known(module)
        node, source = convert_neuron(module, kind, shape), describe_neuron(module, kind)
        if never_fires(module) and used in ({"v"}, {"v_seq"}):
            return replace(make_readout(node, shape, dt, *used), source=source)
        return NeuronNodes(node=node, emits="out", source=source)

"""Imports networks of snnTorch as Graphs: Leaky, Synaptic, RLeaky, RSynaptic and Lapicque.

This is what snnTorch 1.0 computes, according to its source: a neuron fires if mem > threshold,
beta and alpha are clamped to [0, 1], and with ``reset_delay=True`` (the default) a spike acts
on the membrane one tick later:
    "subtract"   mem[t] = beta mem[t-1] + x[t] - threshold s[t-1]
    "zero"       Leaky: mem[t-1] := 0 before the decay; all others: mem[t] := 0, input included
    "none"       nothing

Axes: B samples, ``*N`` the shape of a node.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuro.base.arguments import to_numpy
from neuro.base.extras import require_extra
from neuro.base.units import Seconds
from neuro.graph import Conv2d, Dense, Node
from neuro.graph.scaling import make_scale_node, narrow
from neuro.interop.capture import Run, import_with_reader
from neuro.interop.imported import ImportedNetwork
from neuro.interop.neuron_reader import CaptureError, NeuronCall, NeuronNodes, SourceState
from neuro.interop.parameters import ParameterReader
from neuro.neurons import DiscreteLIF

# The states of each class, in the order of its forward's arguments.
STATES: Mapping[str, tuple[str, ...]] = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "Synaptic": ("syn", "mem"),
    "RLeaky": ("spk", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
}
CURES: Mapping[str, str] = {
    "LeakyParallel": "its RNN rectifies the membrane; use a Linear and a Leaky",
    "Alpha": "its membrane is the difference of two currents; use Synaptic",
    "SLSTM": "it is an LSTM; use RSynaptic",
    "SConv2dLSTM": "it is an LSTM; use RSynaptic",
}
RESETS: Mapping[str, str] = {
    "_base_sub": "subtract",
    "_base_zero": "zero",
    "_base_int": "none",
}


def import_module(
    module: nn.Module,
    input_shape: tuple[int, ...],
    *,
    run: Run | None = None,
    ticks: int | None = None,
    dt: Seconds = Seconds(1e-3),
) -> ImportedNetwork:
    """Return the Graph of a network of snnTorch, with all it takes to compare them.

    Args:
        module: contains neurons of snnTorch; it may loop over ticks itself, or run one tick per
            call.
        input_shape: shape of one tick of one sample, such as (784,) or (1, 28, 28).
        run: how the module runs on all ticks of x (T B *N), if it cannot be called with all
            ticks, with one image, or tick by tick: a function such as the tutorials'
            ``forward_pass``.
        ticks: number of ticks to record, T of x; None: as many as are needed.
        dt: length of a tick [s], which snnTorch does not define.

    Raises:
        CaptureError: something has no exact counterpart; lists everything, with cures.
        RuntimeError: snnTorch is not installed.
    """
    with require_extra("peers", "the import of a network of snnTorch needs it"):
        import snntorch
    reader = SnnTorchReader(snntorch.__version__)
    return import_with_reader(module, input_shape, reader, run=run, ticks=ticks, dt=dt)


@dataclass(frozen=True)
class SnnTorchReader:
    """Reads the neurons of snnTorch; a :class:`neuro.interop.neuron_reader.NeuronReader`."""

    version: str

    @property
    def library(self) -> str:
        """Name and version."""
        return f"snntorch {self.version}"

    def is_neuron(self, module: nn.Module) -> bool:
        """Say whether a module is a neuron of snnTorch, or extends one."""
        from snntorch import SpikingNeuron

        names = {kind.__name__ for kind in type(module).__mro__ if _is_theirs(kind)}
        parallel = bool(names & {"LeakyParallel", "LeakyKernel"})
        return parallel or isinstance(module, SpikingNeuron)

    def require_known(self, module: nn.Module) -> str:
        """Return a neuron's class; raise a CaptureError if it has no node or is extended."""
        kind = type(module).__name__
        if kind not in STATES or not _is_theirs(type(module)):
            bases = [k.__name__ for k in type(module).__mro__ if _is_theirs(k)]
            cure = CURES.get(kind, f"use one of {', '.join(STATES)} as it is")
            what = f"extends {bases[0]}" if not _is_theirs(type(module)) else "has no node"
            raise CaptureError([f"{kind} {what}; {cure}"])
        return kind

    @contextmanager
    def running(self, network: nn.Module) -> Iterator[None]:
        """Start at rest; ``utils.reset`` finds only the neurons of this network."""
        from snntorch import SpikingNeuron

        neurons = [m for m in network.modules() if isinstance(m, SpikingNeuron)]
        for neuron in neurons:
            for name in STATES.get(type(neuron).__name__, ()):
                neuron._buffers[name] = neuron._buffers[name].new_zeros(0)
        others = SpikingNeuron.instances
        SpikingNeuron.instances = neurons
        try:
            yield
        finally:
            SpikingNeuron.instances = others

    def read_call(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> NeuronCall:
        """Return input and states; states that differ from the input in shape are at rest."""
        current = args[0] if args else kwargs["input_"]
        states: dict[str, Tensor | None] = {}
        for place, name in enumerate(STATES.get(type(module).__name__, ()), 1):
            given = args[place] if len(args) > place else kwargs.get(name)
            state = getattr(module, name) if given is None else given
            states[name] = state if state.shape == current.shape else None
        return NeuronCall(current, states)

    def read_results(self, module: nn.Module, result: Any) -> Mapping[str, Tensor]:
        """Return spikes and states."""
        spikes = result[0] if isinstance(result, tuple) else result
        names = STATES.get(type(module).__name__, ())
        return {"spk": spikes, **{n: getattr(module, n) for n in names if n != "spk"}}

    def is_at_rest(self, module: nn.Module, states: Mapping[str, Tensor | None]) -> bool:
        """Say whether all states are 0."""
        del module
        return not any(state is not None and bool(state.any()) for state in states.values())

    def read_state(
        self, module: nn.Module, call: NeuronCall, results: Mapping[str, Tensor]
    ) -> SourceState:
        """Return spikes, the membrane after a DiscreteLIF's reset, and the current."""
        del call
        neuron: Any = module
        fired = (results["spk"] != 0).double()
        mem = results["mem"]
        reset = _find_reset(neuron)
        if reset == "subtract":
            mem = mem - fired * neuron.threshold / _find_decay(neuron)
        elif reset == "zero":
            mem = mem * (1 - fired)
        return SourceState(fired, mem, results.get("syn"))

    def convert(
        self, module: nn.Module, shape: tuple[int, ...], used: frozenset[str], dt: Seconds
    ) -> NeuronNodes:
        """Return a DiscreteLIF, or an LI if only a membrane that never resets is used."""
        neuron: Any = module
        self.require_known(neuron)
        problems = _list_problems(neuron)
        if problems:
            raise CaptureError(problems)
        factor = np.asarray(to_numpy(neuron.graded_spikes_factor.double()))
        recurrent, source = _find_recurrent(neuron, shape), _describe(neuron)
        if used == {"mem"} and _find_reset(neuron) == "none" and recurrent is None:
            read = ParameterReader(shape)
            alpha = read("alpha", neuron.alpha.clamp(0, 1)) if hasattr(neuron, "alpha") else 0.0
            decay, gain = read("beta", _find_decay(neuron)), read("R", _find_gain(neuron))
            return replace(read.make_readout(decay, gain, alpha, dt, "mem"), source=source)
        node = _make_node(neuron, dt)
        return NeuronNodes(
            node=node, emits="spk", factor=factor, recurrent=recurrent, source=source
        )


def _is_theirs(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "snntorch"


def _find_reset(neuron: Any) -> str:
    """Return the reset that the forward applies."""
    return RESETS[neuron.state_function.__name__]


def _find_decay(neuron: Any) -> Tensor:
    """Return the membrane's decay, computed as in the forward."""
    if type(neuron).__name__ == "Lapicque":
        # Torch rounds only the ratio of integers to float32, here and in the gain.
        leak: Tensor = neuron.time_step / (neuron.R * neuron.C)
        return 1 - leak.double()
    return neuron.beta.clamp(0, 1)


def _find_gain(neuron: Any) -> Tensor:
    """Return the membrane's rise per unit of input, computed as in the forward."""
    if type(neuron).__name__ == "Lapicque":
        per_time: Tensor = 1 / (neuron.R * neuron.C)
        gain: Tensor = neuron.R.double() * per_time.double() * neuron.time_step
        return gain
    return torch.ones(())


def _make_node(neuron: Any, dt: Seconds) -> DiscreteLIF:
    """Return the population that fires as the neuron does."""
    kind, reset = type(neuron).__name__, _find_reset(neuron)
    decay, threshold = (to_numpy(x.double()) for x in (_find_decay(neuron), neuron.threshold))
    how: dict[str, Any] = {"reset": "soft", "reset_by": 0.0}
    if reset == "subtract":
        how = {"reset": "soft", "reset_by": threshold / decay}
    elif reset == "zero":
        late = kind != "Leaky" and getattr(neuron, "reset_delay", True)
        how = {"reset": "hard", "refractory": Seconds(dt if late else 0.0)}
    if "Synaptic" in kind:
        how["decay_syn"] = to_numpy(neuron.alpha.clamp(0, 1).double())
    gain = to_numpy(_find_gain(neuron))
    return DiscreteLIF(decay=decay, gain=gain, threshold=threshold, strict=True, **how)


def _find_recurrent(neuron: Any, shape: tuple[int, ...]) -> Node | None:
    """Return the connection from a neuron's own spikes of the previous tick, or None."""
    recurrent = getattr(neuron, "recurrent", None)
    if recurrent is None:
        return None
    if type(recurrent) is nn.Linear or type(recurrent) is nn.Conv2d:
        bias = None if recurrent.bias is None else narrow(recurrent.bias)
        if isinstance(recurrent, nn.Linear):
            return Dense(weight=narrow(recurrent.weight), bias=bias)
        padding: Any = recurrent.padding
        return Conv2d(weight=narrow(recurrent.weight), bias=bias, padding=padding)
    node = make_scale_node(shape, to_numpy(recurrent.V.double()), None)
    if node is None:
        raise CaptureError(["V differs within a channel; give one value to each channel"])
    return node


def _list_problems(neuron: Any) -> list[str]:
    """List why a neuron of a known class has no exact node, each reason with its cure."""
    kind, problems = type(neuron).__name__, []
    reset = _find_reset(neuron)
    if neuron.inhibition:
        problems.append("inhibition=True lets only the largest membrane fire; use False")
    if neuron.state_quant:
        problems.append("state_quant rounds its states; use False")
    own = RESETS_BY_VALUE[int(neuron.reset_mechanism_val)]
    if own != reset:
        problems.append(
            f'reset_mechanism is "{own}" and snnTorch computes "{reset}", that of its '
            "construction; construct it with the one that you want"
        )
    if not getattr(neuron, "reset_delay", True):
        problems += _list_problems_of_reset(kind, reset)
    if reset == "subtract" and bool((_find_decay(neuron) == 0).any()):
        problems.append(
            'beta 0 with reset_mechanism="subtract" takes a spike off the next input; use '
            '"zero"'
        )
    if not bool((neuron.graded_spikes_factor != 0).all()):
        problems.append("graded_spikes_factor 0 silences it; remove it, or use another value")
    elif kind.startswith("R") and bool((neuron.graded_spikes_factor != 1).any()):
        cure = "scale its weights instead"
        problems.append(f"graded_spikes_factor acts on its recurrence; {cure}")
    if used := _find_odd_step(neuron):
        problems.append(used)
    return problems


def _list_problems_of_reset(kind: str, reset: str) -> list[str]:
    if kind == "RSynaptic":
        return ["RSynaptic does not apply reset_delay=False; use True"]
    if reset == "subtract":
        return [
            'reset_delay=False with "subtract" skips resets of a membrane that stays above its '
            'threshold; use reset_delay=True or reset_mechanism="zero"'
        ]
    return []


def _find_odd_step(neuron: Any) -> str:
    """Explain why a surrogate's forward is not a step above 0; "" if it is."""
    z = torch.tensor([-math.inf, -1.0, -0.1, -1e-9, 0.0, 1e-9, 0.1, 1.0, math.inf]).double()
    step = (z > 0).double()
    for _ in range(4):  # some surrogates are random
        if not torch.equal(neuron.spike_grad(z.clone()).double(), step):
            return (
                "spike_grad does not put out 1 above the threshold and 0 elsewhere; use a "
                "surrogate such as surrogate.atan()"
            )
    return ""


def _describe(neuron: Any) -> str:
    """Return a neuron as its user would write it."""
    values = {"alpha": getattr(neuron, "alpha", None), "beta": _find_decay(neuron)}
    values["threshold"] = neuron.threshold
    words = [
        f"{name}={x.item():g}" if x.numel() == 1 else f"{name} of {tuple(x.shape)}"
        for name, x in values.items()
        if isinstance(x, Tensor)
    ]
    words.append(f'reset_mechanism="{_find_reset(neuron)}"')
    if not getattr(neuron, "reset_delay", True):
        words.append("reset_delay=False")
    return f"snntorch.{type(neuron).__name__}({', '.join(words)})"


RESETS_BY_VALUE = ("subtract", "zero", "none")

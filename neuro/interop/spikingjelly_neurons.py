"""Neurons of SpikingJelly as populations of a Graph.

With r = 1 / tau, or r = sigmoid(w) in a ParametricLIFNode, one tick of a LIF is, in this order
(``spikingjelly._ops.lif.reference``),

    v[t] = v[t-1] - r (v[t-1] - v_rest) + r x[t]        decay_input=False: + x[t]
    s[t] = 1 if v[t] >= v_threshold else 0
    v[t] = v_reset where s[t] = 1, or v[t] - v_threshold s[t] with v_reset=None

v_rest is v_reset, or 0 with v_reset=None, and v starts there. An IF has no leak. So each of
them is one :class:`neuro.neurons.DiscreteLIF`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuro.base.units import Seconds
from neuro.interop.neuron_reader import CaptureError, NeuronNodes
from neuro.interop.parameters import ParameterReader, Shape, Value, describe, show_parameter
from neuro.interop.unsupported import ENCODES
from neuro.neurons import DiscreteLIF
from neuro.neurons.normal_form import as_array


def convert_neuron(node: Any, kind: str, shape: Shape) -> DiscreteLIF:
    """Return the neuron that one of SpikingJelly's modules computes per tick.

    Args:
        node: the module.
        kind: name of its class, a key of ``NEURONS``.
        shape: shape of the population.

    Raises:
        CaptureError: a parameter has no counterpart, or does not fit the shape.
    """
    return NEURONS[kind](node, shape)


def _convert_if(node: Any, shape: Shape) -> DiscreteLIF:
    read = ParameterReader(shape)
    start = _read_start(node, read)  # without leak any start is a rest
    return _make(node, read, decay=1.0, rest=start)


def _convert_lif(node: Any, shape: Shape) -> DiscreteLIF:
    read = ParameterReader(shape)
    return _make_lif(node, 1 / read("tau", node.tau), read)


def _convert_plif(node: Any, shape: Shape) -> DiscreteLIF:
    read = ParameterReader(shape)
    return _make_lif(node, read("w", node.w.detach().double().sigmoid()), read)


def _make_lif(node: Any, rate: Value, read: ParameterReader) -> DiscreteLIF:
    rest = 0.0 if node.v_reset is None else read("v_reset", node.v_reset)
    _require_start(node, rest, read)
    return _make(node, read, decay=1 - rate, gain=rate if node.decay_input else 1.0, rest=rest)


def _convert_simple_lif(node: Any, shape: Shape) -> DiscreteLIF:
    if node.v_reset is None:
        raise CaptureError(
            ["a SimpleLIFNode with v_reset=None fails in SpikingJelly itself; use a LIFNode"]
        )
    return _convert_lif(node, shape)


def _convert_cuba(node: Any, shape: Shape) -> DiscreteLIF:
    read = ParameterReader(shape)
    _require_start(node, 0.0, read)
    v_decay, c_decay = read("v_decay", node.v_decay), read("c_decay", node.c_decay)
    return _make(node, read, decay=v_decay, decay_syn=c_decay)


def _convert_activation_aware(node: Any, shape: Shape) -> DiscreteLIF:
    read = ParameterReader(shape)
    high = read("v_threshold", _spread(node.v_threshold, node.channel_dim, shape))
    offset = read("v_offset", _spread(node.v_offset, node.channel_dim, shape))
    subtracts = {} if node.v_reset is not None else {"reset_by": high}
    start = _read_start(node, read)
    return _make(node, read, decay=1.0, rest=start, threshold=high - offset, **subtracts)


def _make(node: Any, read: ParameterReader, **parameters: Any) -> DiscreteLIF:
    """Return the neuron for a node, with the node's threshold and reset."""
    strict = _find_strictness(node.surrogate_function, read)
    if getattr(node, "_neuron_precision", None) is not None:
        read.problems.append("its precision is set for a GPU; take the module before that")
    # A read-out has an infinite threshold; a DiscreteLIF takes the largest finite one instead.
    high = np.minimum(read("v_threshold", node.v_threshold), np.finfo(float).max)
    parameters.setdefault("threshold", high)
    if node.v_reset is None and never_fires(node):
        read.problems.append(
            "v_threshold is inf and v_reset is None: SpikingJelly subtracts 0 * inf, which is "
            "NaN; use v_reset=0.0"
        )
    if node.v_reset is None:
        parameters.update(reset="soft")
    else:
        parameters.update(reset="hard", reset_to=read("v_reset", node.v_reset))
    return read.make(lambda: DiscreteLIF(strict=strict, **parameters))


def never_fires(node: Any) -> bool:
    """Say whether a node is a read-out, which has an infinite threshold."""
    return isinstance(node.v_threshold, float) and node.v_threshold == math.inf


def make_readout(neuron: DiscreteLIF, shape: Shape, dt: Seconds, emits: str) -> NeuronNodes:
    """Return the nodes that integrate as a neuron that never fires does.

    emits: name of its membrane.

    Raises:
        CaptureError: its rest is not 0.
    """
    read = ParameterReader(shape)
    if np.any(neuron.rest):
        read.problems.append(
            f"an LI of neuro rests at 0, and v_reset is {show_parameter(neuron.rest)}; use "
            "v_reset=0.0 and add it to the values that are read"
        )
    decay, gain = as_array(neuron.decay), as_array(neuron.gain)
    decay_syn = as_array(0.0 if neuron.decay_syn is None else neuron.decay_syn)
    return read.make_readout(decay, gain, decay_syn, dt, emits)


def _find_strictness(surrogate: Any, read: ParameterReader) -> bool:
    """Say whether a surrogate does not fire at the threshold; note one that is not a step."""
    probes = torch.tensor([-9.0, -1.0, -1e-9, 1e-9, 1.0, 9.0, 0.0], dtype=torch.float64)
    with torch.no_grad():
        spikes = surrogate(probes)
    if not torch.equal(spikes[:-1], (probes[:-1] > 0).to(spikes)):
        read.problems.append(
            f"surrogate_function {type(surrogate).__name__} does not emit 1 above the "
            "threshold and 0 below it; use one with spiking=True, such as surrogate.ATan()"
        )
    return bool(spikes[-1] == 0)


def _read_start(node: Any, read: ParameterReader) -> Value:
    """Return the membrane after ``functional.reset_net``."""
    return read("the start of v", node._memories_rv["v"])


def _require_start(node: Any, rest: Value, read: ParameterReader) -> None:
    """Note a membrane that does not start at its rest."""
    start = _read_start(node, read)
    if np.any(start != rest):
        read.problems.append(
            f"v starts at {show_parameter(start)} and decays towards {show_parameter(rest)}; "
            "set v_reset when the neuron is made, and no other reset value"
        )


def _spread(parameter: Tensor, channel_dim: int, shape: Shape) -> Tensor:
    """Return a parameter per channel in a shape that broadcasts to the population."""
    if parameter.ndim == 0:
        return parameter
    sizes = [1] * (1 + len(shape))  # including the batch
    sizes[channel_dim] = -1
    return parameter.reshape(sizes)


def describe_neuron(node: Any, kind: str) -> str:
    """Describe a module in words, with its parameters."""
    names = ("tau", "decay_input", "v_decay", "c_decay", "v_offset", "v_threshold", "v_reset")
    shown = {name: getattr(node, name) for name in names if hasattr(node, name)}
    if kind == "ParametricLIFNode":
        shown = {"tau": 1 / node.w.detach().double().sigmoid(), **shown}
    return describe(kind, shown)


Convert = Callable[[Any, Shape], DiscreteLIF]
# By name of the class in spikingjelly.activation_based.neuron.
NEURONS: Mapping[str, Convert] = {
    "IFNode": _convert_if,
    "SimpleIFNode": _convert_if,
    "HalfThresholdIFNode": _convert_if,
    "ActivationAwareIFNode": _convert_activation_aware,
    "LIFNode": _convert_lif,
    "SimpleLIFNode": _convert_simple_lif,
    "ParametricLIFNode": _convert_plif,
    "CUBALIFNode": _convert_cuba,
}
# Why other classes cannot be imported, by a part of their names.
REASONS: Mapping[str, str] = {
    "PSN": "it computes all ticks at once, none from its state a tick ago",
    "GatedLIF": "its decay and its reset change from tick to tick",
    "KLIF": "a ReLU acts on its membrane",
    "ComplementaryLIF": "its reset depends on the spikes before",
    "LIAF": "it puts out other values than 0 and 1",
    "ILIF": "it puts out other values than 0 and 1",
    "DSR": "it puts out other values than 0 and 1",
    "FewSpike": "it puts out other values than 0 and 1",
    "HGNode": "it puts out other values than 0 and 1",
    "Ternary": "it puts out -1, too",
    "STBIF": "it puts out -1, too",
    "QIF": "its membrane is quadratic",
    "Izhikevich": "its membrane is quadratic and adapts",
    "EIF": "its membrane rises exponentially near the threshold",
    "RAF": "its membrane oscillates",
    "MPBN": "a batch norm acts on its membrane",
    "NonSpiking": "it puts out a list, or one value of all ticks",
    "ILC": "weights of its own couple its neurons",
    "Noisy": "it draws noise",
    "Encoder": ENCODES,
    "SynapseFilter": "its decay depends on its input",
    "NeuNorm": "it subtracts the spikes of all channels in the ticks before",
    "DropConnect": "it draws weights whenever it runs, in evaluation too",
    "ThroughTime": "its numbers change from tick to tick",
    "TemporalEffective": "its scale changes from tick to tick",
}
CURE = "use an IFNode, LIFNode, ParametricLIFNode or CUBALIFNode, and train with it"

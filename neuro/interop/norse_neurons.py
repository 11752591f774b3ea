"""Neurons of Norse as populations of a Graph.

Norse steps its equations by forward Euler (``norse.torch.functional``). With
k = dt tau_mem_inv and c = dt tau_syn_inv a tick of a LIF is, in this order,

    i[t] = (1 - c) i[t-1] + x[t]          Norse keeps (1 - c) i[t]; "box" models: i[t] = x[t]
    v[t] = (1 - k) v[t-1] + k (v_leak + i[t])
    z[t] = 1 if v[t] > v_th else 0
    v[t] = v_reset where z[t] = 1

and v starts at v_leak. In a recurrent cell x[t] = W x[t] + R z[t-1]. An IAF computes
v[t] = v[t-1] + x[t], starting at v_reset. So each of them is one
:class:`neuro.neurons.DiscreteLIF`, and an LI is one or two :class:`neuro.neurons.LI`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from neuro.base.units import Seconds
from neuro.graph import Dense
from neuro.graph.scaling import narrow
from neuro.interop.neuron_reader import CaptureError, NeuronNodes
from neuro.interop.parameters import (
    ParameterReader,
    Shape,
    Value,
    describe,
    show_parameter,
)
from neuro.interop.unsupported import ENCODES
from neuro.neurons import DiscreteLIF
from neuro.neurons.normal_form import as_array

# Surrogates of norse.torch.functional.threshold, all of which fire if x > 0.
_METHODS = ("heaviside", "super", "triangle", "tanh", "circ", "heavi_erfc")


def convert_cell(cell: Any, kind: str, shape: Shape) -> NeuronNodes:
    """Return the nodes for what one of Norse's neuron modules computes per tick.

    Args:
        cell: the module.
        kind: name of its class, a key of ``CELLS`` or ``OVER_TIME``.
        shape: shape of the population.

    Raises:
        CaptureError: a parameter has no counterpart, or does not fit the shape.
    """
    nodes = {**CELLS, **OVER_TIME}[kind](cell, shape)
    p = {**cell.p._asdict(), **(cell.p.lif._asdict() if hasattr(cell.p, "lif") else {})}
    names = ("tau_mem_inv", "tau_syn_inv", "v_leak", "v_th", "v_reset", "rho_reset")
    shown = {name: p[name] for name in names if name in p}
    if "reset_method" in p:
        shown["reset_method"] = p["reset_method"].__name__
    emits = PUTS_OUT.get(kind, nodes.emits)
    return replace(nodes, emits=emits, source=describe(kind, {**shown, "dt": cell.dt}))


def list_states(cell: Any) -> tuple[str, ...]:
    """Return the names of the states of one of Norse's modules; none if it is unknown."""
    p = getattr(cell, "p", None)
    lif = getattr(p, "lif", p)
    has = {
        "v": hasattr(lif, "v_leak") or hasattr(lif, "v_reset"),
        "i": hasattr(lif, "tau_syn_inv"),
        "z": hasattr(cell, "recurrent_weights"),
        "rho": lif is not p,
    }
    return tuple(name for name, held in has.items() if held)


def find_start(cell: Any) -> Any:
    """Return the membrane of a cell at rest."""
    p = getattr(cell, "p", None)
    lif = getattr(p, "lif", p)
    return getattr(lif, "v_leak", getattr(lif, "v_reset", 0.0))


def widen(parameters: Any) -> Any:
    """Return a cell's parameters with their tensors in float64.

    Norse rounds dt tau_mem_inv to their precision, and a module's ``double()`` does not widen
    them.
    """
    if isinstance(parameters, Tensor):
        return parameters.detach().double()
    if hasattr(parameters, "_replace"):
        return parameters._replace(**{k: widen(v) for k, v in parameters._asdict().items()})
    return parameters


def list_dts(module: nn.Module) -> list[float]:
    """Return the distinct tick lengths [s] of the cells in a module."""
    cells: list[Any] = [m for m in module.modules() if hasattr(m, "p") and hasattr(m, "dt")]
    return sorted({float(cell.dt) for cell in cells})


def _convert_lif(cell: Any, shape: Shape) -> NeuronNodes:
    """Return a neuron, which waits and has weights of its own where the cell does."""
    waits = hasattr(cell.p, "rho_reset")
    node = _make_refractory(cell, shape) if waits else _make_lif(cell.p, cell.dt, shape)
    if not hasattr(cell, "recurrent_weights"):
        return NeuronNodes(node=node, emits="out")
    into, back = (Dense(weight=narrow(w)) for w in (cell.input_weights, cell.recurrent_weights))
    return NeuronNodes(node=node, emits="out", recurrent=back, before=(("input", into),))


def _make_refractory(cell: Any, shape: Shape) -> DiscreteLIF:
    rho = np.unique(as_array(cell.p.rho_reset))
    if rho.size > 1:
        raise CaptureError(
            [
                f"rho_reset differs from neuron to neuron, {show_parameter(rho)}; give all "
                "neurons of a cell one, or make a cell for each"
            ]
        )
    # rho falls by 1 per tick and holds the membrane while it is > 0.
    return _make_lif(cell.p.lif, cell.dt, shape, ticks=max(0, math.ceil(rho.item())))


def _make_lif(p: Any, dt: float, shape: Shape, ticks: int = 0) -> DiscreteLIF:
    read = ParameterReader(shape)
    k = dt * read("tau_mem_inv", p.tau_mem_inv)
    c = dt * read("tau_syn_inv", p.tau_syn_inv)
    rest, high, low = (read(n, getattr(p, n)) for n in ("v_leak", "v_th", "v_reset"))
    _require_method(p.method, read)
    return read.make(
        lambda: DiscreteLIF(
            decay=1 - k,
            gain=k,
            decay_syn=1 - c if np.any(1 - c) else None,
            threshold=high,
            strict=True,
            reset="hard",
            reset_to=low,
            rest=rest,
            refractory=Seconds(ticks * dt),
        )
    )


def _convert_box(cell: Any, shape: Shape) -> NeuronNodes:
    p, read = cell.p, ParameterReader(shape)
    k = cell.dt * read("tau_mem_inv", p.tau_mem_inv)
    rest, high, low = (read(n, getattr(p, n)) for n in ("v_leak", "v_th", "v_reset"))
    _require_method(p.method, read)
    hard = _is_reset("reset_value", p.reset_method)
    if not hard and not _is_reset("reset_subtract", p.reset_method):
        name = getattr(p.reset_method, "__name__", repr(p.reset_method))
        read.problems.append(
            f"reset_method {name} is not one of Norse; use reset_value or reset_subtract"
        )
    reset: dict[str, Any] = {"reset": "soft", "reset_by": high}
    if hard:
        reset = {"reset": "hard", "reset_to": low}
    neuron = read.make(
        lambda: DiscreteLIF(
            decay=1 - k, gain=k, threshold=high, strict=True, rest=rest, **reset
        )
    )
    return NeuronNodes(node=neuron, emits="out")


def _convert_iaf(cell: Any, shape: Shape) -> NeuronNodes:
    p, read = cell.p, ParameterReader(shape)
    high, low = read("v_th", p.v_th), read("v_reset", p.v_reset)
    _require_method(p.method, read)
    neuron = read.make(
        lambda: DiscreteLIF(decay=1.0, threshold=high, strict=True, reset="hard", rest=low)
    )
    return NeuronNodes(node=neuron, emits="out")


def _convert_li(cell: Any, shape: Shape) -> NeuronNodes:
    read, kept = ParameterReader(shape), 0.0
    if hasattr(cell.p, "tau_syn_inv"):
        kept = 1 - cell.dt * read("tau_syn_inv", cell.p.tau_syn_inv)
    nodes = _make_membrane(cell, read, kept)
    if not hasattr(cell, "input_weights"):
        return nodes
    into = Dense(weight=narrow(cell.input_weights))
    return replace(nodes, before=(("input", into), *nodes.before))


def _make_membrane(cell: Any, read: ParameterReader, decay_syn: Value) -> NeuronNodes:
    k = cell.dt * read("tau_mem_inv", cell.p.tau_mem_inv)
    if np.any(read("v_leak", cell.p.v_leak)):
        read.problems.append(
            "an LI of neuro rests at 0, and v_leak is not 0; use v_leak=0 and add it to the "
            "values that are read"
        )
    return read.make_readout(1 - k, k, decay_syn, cell.dt, "out")


def _require_method(method: str, read: ParameterReader) -> None:
    """Note a surrogate that may change the spikes."""
    if method not in _METHODS:
        known = ", ".join(_METHODS)
        read.problems.append(f"method {method!r} is none of {known}; use method='super'")


def _is_reset(name: str, method: Any) -> bool:
    from norse.torch.functional import reset

    return method is getattr(reset, name)


Convert = Callable[[Any, Shape], NeuronNodes]
# Cells take one tick per call, modules over time all ticks; classes of norse.torch by name.
CELLS: Mapping[str, Convert] = {
    "LIFCell": _convert_lif,
    "LIFRecurrentCell": _convert_lif,
    "LIFRefracCell": _convert_lif,
    "LIFRefracRecurrentCell": _convert_lif,
    "LIFBoxCell": _convert_box,
    "IAFCell": _convert_iaf,
    "LICell": _convert_li,
    "LILinearCell": _convert_li,
    "LIBoxCell": _convert_li,
}
OVER_TIME: Mapping[str, Convert] = {
    "LIF": _convert_lif,
    "LIFRecurrent": _convert_lif,
    "LIFRefracRecurrent": _convert_lif,
    "IAF": _convert_iaf,
    "LI": _convert_li,
}
# The state that a cell outputs, if its output is a state.
PUTS_OUT: Mapping[str, str] = {
    **dict.fromkeys(("LIFRecurrentCell", "LIFRefracRecurrentCell"), "z"),
    **dict.fromkeys(("LICell", "LILinearCell", "LIBoxCell"), "v"),
}
# Why other classes cannot be imported, by a part of their names.
REASONS: Mapping[str, str] = {
    "LSNN": "its threshold adapts and it has a current, and no neuron here has both",
    "AdEx": "its membrane rises exponentially near the threshold, and adapts",
    "LIFEx": "its membrane rises exponentially near the threshold",
    "Izhikevich": "its membrane is quadratic",
    "CobaLIF": "its synapses change conductances, which multiply the membrane",
    "LIFMC": "weights of its own couple its membranes",
    "Correlation": "its synapses learn while it runs",
    "Regularization": "it counts spikes for a loss; leave it out of what is imported",
    "Encoder": ENCODES,
    "SpikesToTimes": "it decodes spikes; import what is before it",
    "ExpFilter": "it filters with a state that it does not show; use an LIBoxCell",
    "LConv2d": "it is a convolution in 3 axes; use Lift(nn.Conv2d(...)), the same map",
    "ReceptiveField": "its kernels are made when it runs; use an nn.Conv2d with its weights",
}
CURE = "use LIFCell, LIFBoxCell, LIFRefracCell, LIFRecurrentCell, IAFCell or LICell"

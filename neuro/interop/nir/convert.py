"""Conversion of each kind of NIR node to nodes of a Graph."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neuro.base.units import Seconds, Ticks, ticks
from neuro.graph import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    Dense,
    Flatten,
    Input,
    Node,
    Pointwise,
    Sparse,
    Unflatten,
)
from neuro.interop.nir.nodes import FIRING, NEURONS, NirNode, find_lost
from neuro.interop.nir.shapes import Shape, get_steps
from neuro.interop.nir.steps import NirDecays, NirStep, find_decays, find_rest
from neuro.neurons import LI, DiscreteLIF

NOTHING = 800.0  # exp(-NOTHING) is 0 in float64
LONGEST_DELAY = 2**31 - 1  # ticks: the range of int32


def convert_node(node: NirNode, step: NirStep, taken: Shape, given: Shape) -> list[Node] | str:
    """Return the Graph nodes for a NIR node in their order, or a text of what is wrong.

    The list is empty for a node that only hands values on.

    Args:
        node: the NIR node.
        step: length and rules of a tick.
        taken: shape of the node's input.
        given: shape of the node's output.

    Raises:
        ValueError: no model of neuro takes a parameter; the message names it and the cure.
    """
    kind, values = node.kind, node.values
    if kind == "Input" and not node.inside:
        return [Input(shape=given)]
    if kind in ("Input", "Output"):
        return []
    if kind in NEURONS:
        return _convert_neuron(node, step, taken)
    if kind in ("Affine", "Linear"):
        return _convert_linear(values, taken, given)
    if kind == "Scale":
        return _convert_scale(values["scale"], taken)
    if kind == "Delay":
        wait = count_waits(node, step)
        if len(set(wait)) == 1:  # all values wait equally long: the edges delay them
            return []
        return _pass_on(taken, delay=np.array(wait, np.int32))
    if kind == "Flatten":
        if given == taken:
            return []
        return [Flatten()] if len(given) == 1 else [Flatten(), Unflatten(shape=given)]
    return _convert_windows(node, taken)


def count_waits(node: NirNode, step: NirStep) -> list[Ticks]:
    """Return the delays of a Delay [ticks]; raise a ValueError for a fraction or overflow."""
    waits = [ticks(Seconds(float(d)), Seconds(step.dt)) for d in node.values["delay"].flat]
    if max(waits) > LONGEST_DELAY:
        raise ValueError(
            f"a delay is {max(waits)} steps of dt = {step.dt:g}; it must be <= "
            f"{LONGEST_DELAY}. Shorten it, or read with a longer dt"
        )
    return waits


def _pass_on(shape: Shape, **fields: np.ndarray) -> list[Node]:
    """Return nodes that pass each value on, each value with its own delay or bias."""
    size = math.prod(shape)
    each = np.arange(size)
    line = Sparse.from_coo(each, each, np.ones(size), shape=(size, size), **fields)
    return _wrap(line, shape, shape)


def _convert_neuron(node: NirNode, step: NirStep, shape: Shape) -> list[Node] | str:
    decays = find_decays(node, step)
    if isinstance(decays, str):
        return decays
    if problem := _find_misfit(node, decays):
        return problem
    values = node.values
    decay, gain = _compress(decays.decay, shape), _compress(decays.gain, shape)
    syn = None if decays.decay_syn is None else _compress(decays.decay_syn, shape)
    currents: list[Node] = [] if syn is None else [LI(tau=find_tau(syn, step.tick))]
    if node.kind not in FIRING:
        return [*currents, LI(tau=find_tau(decay, step.tick), gain=gain)]
    reset = _convert_reset(values, step, decays, shape)
    if isinstance(reset, str):
        return reset
    threshold = values["threshold" if node.kind == "Threshold" else "v_threshold"]
    if node.inclusive:  # v > x equals v >= the next number after x
        threshold = np.nextafter(threshold, np.inf)
    rest = find_rest(node)
    left = values.get("v_leak", rest) - rest
    driven = bool(left.any())
    cell = DiscreteLIF(
        decay=decay,
        gain=gain,
        decay_syn=None if driven else syn,
        threshold=_compress(threshold, shape),
        strict=not node.inclusive,
        rest=_compress(rest, shape),
        **reset,
    )
    if not driven:
        return [cell]
    # The rest of v_leak acts as a bias: it drives the membrane in every tick.
    drive = np.broadcast_to((1 - decays.decay) * left / decays.gain, shape)
    shown = [*currents, Pointwise(function="identity")] if currents else []
    return [*shown, *_pass_on(shape, bias=drive.ravel()), cell]


def _find_misfit(node: NirNode, decays: NirDecays) -> str:
    """Return how a neuron differs from every Graph, with a cure; "" if it does not differ."""
    if lost := find_lost(decays.gain):
        return f"scales its input by {lost:g} in a tick, 0 in float32; raise r, lower weights"
    leak = node.values.get("v_leak", np.zeros(()))
    if node.kind not in FIRING and (leak != 0).any():
        return (
            "puts out v, which a v_leak other than 0 shifts, and an LI counts from 0; set "
            "v_leak to 0 and add it to what reads v"
        )
    if "v_leak" in node.values and (leak == node.values.get("v_threshold")).any():
        return (
            "v_leak is v_threshold, so that rounding decides whether it fires without input; "
            "raise or lower v_leak"
        )
    return ""


def _convert_reset(
    values: Mapping[str, np.ndarray], step: NirStep, decays: NirDecays, shape: Shape
) -> dict[str, Any] | str:
    """Return the reset arguments of DiscreteLIF, or a text of what is wrong."""
    if "v_reset" not in values:  # a Threshold keeps no membrane beyond its tick
        return {"reset": "hard"}
    if step.reset == "hard":
        return {"reset": "hard", "reset_to": _compress(values["v_reset"], shape)}
    by = values["v_threshold"] - values["v_reset"]
    if step.reset == "delayed":
        if (decays.decay == 0).any():
            return "keeps no membrane for a delayed reset; read with another reset"
        by = by / decays.decay
    return {"reset": "soft", "reset_by": _compress(by, shape)}


def _compress(values: np.ndarray, shape: Shape) -> Any:
    """Return equal parameters as one number; else shorten each axis of equal values to 1."""
    whole = np.array(np.broadcast_to(values, shape if np.size(values) > 1 else values.shape))
    for axis in range(whole.ndim):
        one = whole.take([0], axis)
        if (whole == one).all():
            whole = one
    return float(whole.ravel()[0]) if whole.size == 1 else whole


def find_tau(decay: Any, tick: Seconds) -> Any:
    """Return the time constant [s] of this decay per tick."""
    with np.errstate(divide="ignore"):
        rate = np.minimum(np.abs(np.log(decay)), NOTHING)
        return tick / rate


def _wrap(node: Node, taken: Shape, given: Shape) -> list[Node]:
    """Return a node that computes on vectors, between a Flatten and an Unflatten if needed."""
    before: list[Node] = [] if len(taken) == 1 else [Flatten()]
    after: list[Node] = [] if len(given) == 1 else [Unflatten(shape=given)]
    return [*before, node, *after]


def _convert_linear(values: Mapping[str, Any], taken: Shape, given: Shape) -> list[Node]:
    weight, bias = values["weight"], values.get("bias")
    if bias is not None:
        bias = bias.ravel() if bias.any() else None
    if weight.ndim == 2:
        return [Dense(weight=weight, bias=bias)]
    outputs, inputs = weight.shape[-2:]
    blocks = weight.reshape(-1, outputs, inputs)
    block, out, into = np.indices(blocks.shape).reshape(3, -1)
    many = Sparse.from_coo(
        block * inputs + into,
        block * outputs + out,
        blocks.ravel(),
        shape=(len(blocks) * outputs, len(blocks) * inputs),
        bias=bias,
    )
    return _wrap(many, taken, given)


def _convert_scale(scale: np.ndarray, shape: Shape) -> list[Node]:
    own = np.asarray(_compress(scale, shape))
    if len(shape) == 3 and own.size in (1, shape[0]) and own.shape in ((), (shape[0], 1, 1)):
        weight = np.broadcast_to(own, (shape[0], 1, 1)).reshape(-1, 1, 1, 1)
        return [Conv2d(weight=np.array(weight), groups=shape[0])]
    size = math.prod(shape)
    each = np.arange(size)
    values = np.array(np.broadcast_to(scale, shape if np.size(scale) > 1 else (size,))).ravel()
    return _wrap(Sparse.from_coo(each, each, values, shape=(size, size)), shape, shape)


def _convert_windows(node: NirNode, taken: Shape) -> list[Node]:
    """Return the Graph node of a convolution or a pool."""
    values, axes = node.values, len(taken) - 1
    steps = get_steps(node, axes)
    if "weight" in values:
        weight, bias = values["weight"], values["bias"]
        groups = int(np.ravel(values["groups"])[0])
        bias = None if bias is None or not bias.any() else bias
    else:
        kernel, groups, bias = steps["kernel"], taken[0], None
        if node.kind == "AvgPool2d" and not np.any(steps["padding"]):
            return [AvgPool2d(kernel=kernel, stride=steps["stride"])]
        one = 1.0 / math.prod(kernel) if node.kind == "AvgPool2d" else 1.0
        weight = np.full((taken[0], 1, *kernel), one)
    weight, padding, dilation = _make_symmetric(weight, steps)
    if axes == 1:
        return [
            Conv1d(
                weight=weight,
                bias=bias,
                stride=steps["stride"][0],
                padding=padding[0],
                dilation=dilation[0],
                groups=groups,
            )
        ]
    return [
        Conv2d(
            weight=weight,
            bias=bias,
            stride=steps["stride"],
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
    ]


def _make_symmetric(
    weight: np.ndarray, steps: Mapping[str, tuple[Any, ...]]
) -> tuple[np.ndarray, tuple[Any, ...], tuple[Any, ...]]:
    """Return weight, padding and dilation, with equal padding on both sides.

    Where the padding behind is one wider, both sides get the wider padding and the kernel gets
    a row of zeros in front.
    """
    padding, dilation = [], []
    for axis, ((before, after), d) in enumerate(
        zip(steps["padding"], steps["dilation"], strict=True), 2
    ):
        if after != before:
            kernel = weight.shape[axis]
            wide = np.zeros(
                (*weight.shape[:axis], (kernel - 1) * d + 2, *weight.shape[axis + 1 :]),
                weight.dtype,
            )
            places = [slice(None)] * weight.ndim
            places[axis] = slice(1, None, d)
            wide[tuple(places)] = weight
            weight, d = wide, 1
        padding.append(after)
        dilation.append(d)
    return weight, tuple(padding), tuple(dilation)

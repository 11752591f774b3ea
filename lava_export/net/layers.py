"""Layers of a ``.net`` file as a LoihiProgram, in one of two times.

"slayer" is the time in which SLAYER trains: all layers share a tick, a layer rests, its bias
included, until its own tick 0, and a delay belongs to what a layer sends. "lava" is the time of
netx on Lava: a spike takes a tick through each layer, a bias acts from the first tick, and a
delay belongs to what a layer receives. A tick of "lava" is a step of Lava.
"""

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from lava_export.net.read import NEVER, NetFile, NetLayer, NetNeurons
from lava_export.population import BIAS_MANTISSA_BITS, NO_MEMORY
from lava_export.program import (
    WEIGHTS,
    LoihiConnection,
    LoihiProgram,
    Population,
    as_int32,
)

Time = Literal["slayer", "lava"]
INPUT = "input"  # name of the stimulus
BIAS_EXPONENT = 6  # biases are in weight units, which are 64 units of v
IMAGE_BITS = BIAS_MANTISSA_BITS + 1  # of a pixel, which stands for a bias


class NetProgramError(ValueError):
    """Layers without a form in a time; ``problems`` lists each with its cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the layers have no program:", *problems]))
        self.problems = problems


def make_program(net: NetFile, time: Time, reset_interval: int = 0) -> LoihiProgram:
    """Return the program of a file.

    reset_interval: ticks after which all states return to 0, as in netx; 0: never. In the time
        "lava" the k-th layer with neurons, from 0, does so before each tick t with
        t mod interval = k mod interval; in "slayer" all do at the beginning of an interval.

    Raises:
        NetProgramError: lists everything without a form in this time, each with its cure.
        ValueError: there is no such time.
    """
    if time not in get_args(Time):
        raise ValueError(f"time is {time!r}; it must be slayer or lava. Use --set time=slayer")
    if reset_interval < 0:
        raise ValueError(
            f"reset_interval is {reset_interval}; it must be >= 0. Use 0 for no reset"
        )
    problems = list_problems(net, time)
    if problems:
        raise NetProgramError(problems)
    head, *others = net.layers
    coded = head.neuron is not None
    populations = [_make_input(head)]
    connections: list[LoihiConnection] = []
    source, waits, step = INPUT, None, int(time == "slayer")
    if coded:
        populations.append(_make_population(head, time, 1, reset_interval, 0))
        connections.append(_connect_image(head))
        source = head.name
    for layer in (layer for layer in others if layer.neuron is not None):
        lag = populations[-1].lag + step
        k = len(populations) - 1
        populations.append(_make_population(layer, time, lag, reset_interval, k))
        late = {"delays_out": layer.delay} if time == "lava" else {"delays_in": waits}
        connections += _connect(layer, source, layer.name, layer.weight, late)
        if layer.weight_rec.size:
            own = late if time == "lava" else {}
            connections += _connect(layer, layer.name, layer.name, layer.weight_rec, own)
        source, waits = layer.name, layer.delay
    return LoihiProgram(populations=tuple(populations), connections=tuple(connections))


def list_problems(net: NetFile, time: Time) -> list[str]:
    """Return what has no form in a time, each with its cure."""
    problems = []
    *inner, last = [layer for layer in net.layers if layer.neuron is not None]
    for layer in inner:
        if layer.neuron is not None and layer.neuron.never:
            problems.append(
                f"{layer.name}: never fires, so that nothing reaches the layers behind it; "
                f"--set layers={layer.index + 1} ends the network there"
            )
    if time == "slayer" and last.delay is not None and last.delay.any():
        problems.append(
            f"{last.name}: the last layer has delays, which in SLAYER's time shift only what "
            "leaves the network; use --set time=lava, or train its last layer without delays"
        )
    limit = 2**BIAS_MANTISSA_BITS
    for layer in (*inner, last):
        vth = _flatten(layer.neuron).vth
        if vth.max() > NEVER > vth.min():
            problems.append(
                f"{layer.name}: vThMant {vth.max()} beside {vth.min()} has more than 17 bits; "
                f"write {NEVER} at most"
            )
        bias = np.zeros(1, np.int64) if layer.bias is None else layer.bias
        wide = bias[(bias < -limit) | (bias >= limit)]
        if wide.size:
            problems.append(
                f"{layer.name}: bias {wide[0]} has more than 13 bits, from {-limit} to "
                f"{limit - 1}; train with a smaller scale"
            )
    return problems


def _make_input(head: NetLayer) -> Population:
    """Return the stimulus: spikes, or the images that coding neurons take as their bias."""
    bits = 0 if head.neuron is None else IMAGE_BITS
    return Population(name=INPUT, kind="input", shape=head.shape, message_bits=bits)


def _make_population(
    layer: NetLayer, time: Time, lag: int, reset_interval: int, k: int
) -> Population:
    """Return the neurons of a layer, the k-th with neurons."""
    neuron = _flatten(layer.neuron)
    registers = {name: as_int32(value) for name, value in vars(neuron).items()}
    if layer.type == "input" and time == "lava":
        registers["du"] = as_int32(4095)  # the image is a bias, which no current delays
    if neuron.never:
        kind: Any = "li"
        registers["vth"] = as_int32(0)
    else:
        one = all(value.size == 1 for value in registers.values())
        kind = "lif" if one and registers["dv"][0] < NO_MEMORY else "alif"
    return Population(
        name=layer.name,
        kind=kind,
        shape=layer.shape,
        lag=lag,
        **registers,
        **({} if layer.bias is None else _split_bias(layer.bias)),
        reset_interval=reset_interval,
        reset_offset=k if time == "lava" and reset_interval else 0,
    )


def _flatten(neuron: NetNeurons | None) -> NetNeurons:
    """Return neurons whose registers hold one value where all neurons have the same."""
    if neuron is None:
        raise TypeError("a layer without neurons is no population; leave it out")
    same = {
        name: value[:1] for name, value in vars(neuron).items() if (value == value[0]).all()
    }
    return replace(neuron, **same)


def _split_bias(bias: np.ndarray) -> dict[str, np.ndarray]:
    """Return mantissa and exponent of a bias in weight units."""
    return {"bias_mant": as_int32(bias), "bias_exp": as_int32(BIAS_EXPONENT)}


def _connect_image(head: NetLayer) -> LoihiConnection:
    """Return the connection by which each pixel reaches its coding neuron."""
    return LoihiConnection(
        name=f"{INPUT}>{head.name}",
        source=INPUT,
        target=head.name,
        kind="identity",
        weight=as_int32(np.ones(head.size)),
        sign_mode="excitatory",
    )


def _connect(
    layer: NetLayer, source: str, target: str, weight: np.ndarray, late: dict[str, Any]
) -> list[LoihiConnection]:
    """Return the connections of a layer; a dense one with odd weights of both signs takes two.

    With mixed signs it would keep even weights only, so a second one adds 1 where they are odd.
    """
    first = LoihiConnection(
        name=f"{source}>{target}",
        source=source,
        target=target,
        kind="dense",
        weight=as_int32(weight),
        **{k: as_int32(v) for k, v in late.items() if v is not None and v.any()},
    )
    if layer.type == "conv":
        names = ("stride", "padding", "dilation", "groups")
        kernel = {name: getattr(layer, name) for name in names}
        return [replace(first, kind="conv", shape=layer.image, **kernel)]
    if not (weight % 2).any():
        return [first]
    for mode in ("excitatory", "inhibitory"):
        low, high = WEIGHTS[mode]
        if low <= weight.min() and weight.max() <= high:
            return [replace(first, sign_mode=mode)]
    odd = as_int32(weight % 2)
    more = replace(first, name=f"{first.name} odd", weight=odd, sign_mode="excitatory")
    return [replace(first, weight=as_int32(weight - odd)), more]

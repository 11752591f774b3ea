"""A LoihiProgram as a ``.net`` file (HDF5), which netx of lava-dl loads into Lava.

netx builds a chain: one input, then dense and convolution layers with Lava's own LIF. A layer
is a group ``layer/I``; its spikes run behind the input by the population's lag in steps. The
loader (lava-dl 0.6) reads a file like this:

- ``du = iDecay - 1``, ``dv = vDecay``, ``vth = vThMant``; a bias counts in weight units.
- Images are (x, y, channel). The loader rotates kernels by 180 degrees: a file has torch's.
- A bias starts at step 1, before the layer's own tick 0. A reset at tick 0 undoes it: with
  ``reset_offset=1``, layer k (from 0) is reset at step k + 2 and every ``reset_interval`` steps
  from there. :func:`describe_loading` writes this call.
- Dense layers have a delay in steps; the loader ignores delays of convolutions.
- A read-out has the largest threshold, as slayer writes it, and never fires; its v is
  ``network.layers[-1].neuron.v``.
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lava_export.checks import list_wide_integers
from lava_export.program import (
    BIAS_MANTISSA_BITS,
    NO_MEMORY,
    WEIGHT_BITS,
    LoihiConnection,
    LoihiProgram,
    Population,
    require_program,
)
from lava_export.rules import HARD
from neuro.base.extras import require_extra
from neuro.io.store import write_bytes

BIAS_UNIT = 64  # the loader sets bias_exp = 6
LONGEST_DELAY = 62
NEVER = 2**18 - 1  # slayer's threshold of a layer that only integrates: v stays below
LARGEST_MATRIX = 2**26  # entries of a matrix made from a list of synapses


class NetxError(ValueError):
    """A program that netx cannot hold; ``problems`` lists each reason and cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["the program cannot be written for netx:", *problems]))
        self.problems = problems


def write_net(path: str | Path, program: LoihiProgram) -> Path:
    """Write a program as a ``.net`` file; return its path.

    Raises:
        TypeError: ``program`` is no LoihiProgram.
        NetxError: lists everything that netx cannot hold, each with its cure.
        RuntimeError: h5py is not installed.
    """
    problems = list_problems(program)
    if problems:
        raise NetxError(problems)
    with require_extra("interop", "writing .net files needs h5py"):
        import h5py
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for i, layer in enumerate(_list_layers(program)):
            group = file.create_group(f"layer/{i}")
            for key, value in layer.items():
                group.create_dataset(key, data=value)
    write_bytes(path, held.getvalue())
    return Path(path)


def describe_loading(path: str | Path, program: LoihiProgram) -> str:
    """Return the Python call that loads the file, with a reset before each sample if possible.

    netx resets do not follow layers whose spikes wait for a delay, and take back biases of
    layers without lags, which act from step 1: build the network anew for each sample.
    """
    reset = f", reset_interval={program.ticks or 'TICKS'}, reset_offset=1"
    if any(c.longest_wait for c in program.connections) or not program.latency:
        reset = ""
    return f"lava.lib.dl.netx.hdf5.Network(net_config={str(path)!r}{reset})"


def list_problems(program: LoihiProgram) -> list[str]:
    """Return everything that netx cannot hold of a program, each with its cure."""
    require_program(program)
    problems = [*list_wide_integers(program), *_check_chain(program)]
    for p in program.populations:
        if p.kind != "input":
            problems += [f"{p.name}: {problem}" for problem in _check_neurons(program, p)]
    for c in program.connections:
        problems += [f"{c.name}: {problem}" for problem in _check_synapses(program, c)]
    return problems


def _list_layers(program: LoihiProgram) -> Iterator[dict[str, Any]]:
    """Yield the contents of each layer of the file, by place in its group."""
    here = next(p.name for p in program.populations if p.kind == "input")
    after = {c.source: c for c in program.connections}
    yield {"type": _word("input"), "shape": _find_shape(program, here)}
    while here in after:
        c = after[here]
        if c.kind != "conv" and len(_find_shape(program, here)) == 3:
            yield {"type": _word("flatten")}
        p, here = program[c.target], c.target
        shape = _find_shape(program, here)
        layer = {"shape": shape} | _describe_synapses(c) | _describe_neurons(p)
        bias = p.bias // BIAS_UNIT
        if bias.any():
            filled = np.broadcast_to(bias, (p.size,)).reshape(shape)
            layer["bias"] = filled.T if c.kind == "conv" else filled
        yield layer


def _describe_synapses(c: LoihiConnection) -> dict[str, Any]:
    """Return the contents of a layer that describe its connection."""
    if c.kind == "conv":
        return {
            "type": _word("conv"),
            "inChannels": c.shape[0],
            "outChannels": c.weight.shape[0],
            "kernelSize": np.array(c.weight.shape[2:]),
            "stride": np.array(c.stride),
            "padding": np.array(c.padding),
            "dilation": np.array(c.dilation),
            "groups": c.groups,
            "weight": c.weight,
        }
    weight = _fill_matrix(c)
    dense = {
        "type": _word("dense"),
        "inFeatures": weight.shape[1],
        "outFeatures": weight.shape[0],
        "weight": weight,
    }
    waits = np.full(len(weight), c.extra) + (0 if c.delays_out is None else c.delays_out)
    return dense | ({"delay": waits} if waits.any() else {})


def _describe_neurons(p: Population) -> dict[str, Any]:
    """Return the contents of a layer that describe its neurons."""
    values = {
        "type": _word("CUBA"),
        "iDecay": int(p.du[0]) + 1,
        "vDecay": int(p.dv[0]),
        "vThMant": NEVER if p.kind == "li" else int(p.vth[0]),
        "refDelay": 1,
        "gradedSpike": False,
    }
    return {f"neuron/{key}": value for key, value in values.items()}


def _check_chain(program: LoihiProgram) -> Iterator[str]:
    """Yield where a program is not one chain from a single input."""
    inputs = [p.name for p in program.populations if p.kind == "input"]
    if len(inputs) > 1:
        yield f"{', '.join(inputs)}: netx has one input; join them into one Input"
    if not program.connections:
        yield "it has no layer; add a population"
    for p in program.populations:
        below = _find_reached(program, p.name)
        loops = [c for c in program.into(p.name) if c.source in below]
        for c in loops:
            yield (
                f"{c.name}: recurrence from {c.source} to {p.name}, a layer of the chain "
                "feeds the next only; leave the loop out, or run the program on Lava itself"
            )
        incoming = [c for c in program.into(p.name) if c not in loops]
        if len(incoming) > 1:
            names = ", ".join(c.name for c in incoming)
            yield (
                f"{p.name}: {len(incoming)} connections end here ({names}), a layer has one; "
                "leave one out, or run the program on Lava itself"
            )
        if not incoming and p.kind != "input":
            yield f"{p.name}: nothing before it feeds it; connect it to the layer before"
        onward = {c.target for c in program.connections if c.source == p.name}
        targets = sorted(t for t in onward if p.name not in _find_reached(program, t) | {t})
        if len(targets) > 1:
            yield (
                f"{p.name}: sends to {', '.join(targets)}, a layer of the chain feeds one; "
                "write each branch as a graph of its own"
            )


def _find_reached(program: LoihiProgram, name: str) -> set[str]:
    """Return the populations that spikes of ``name`` reach; itself only through a loop."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        new = {c.target for c in program.connections if c.source == here} - reached
        reached |= new
        waiting += new
    return reached


def _check_neurons(program: LoihiProgram, p: Population) -> Iterator[str]:
    """Yield what Lava's own LIF, as netx sets it, cannot do for a population."""
    if p.kind not in ("lif", "alif", "li"):
        yield f"no layer is written for the kind {p.kind}; run the program on Lava itself"
        return
    fires = p.fires
    if p.refractory:
        yield (
            f"a refractory period of {p.refractory} ticks, Lava's integers have none; use "
            "refractory=0"
        )
    if p.reset_interval:
        yield (
            f"returns to rest every {p.reset_interval} ticks, netx lets all layers do so; use "
            "a LIF, and reset_interval of the call that loads the file"
        )
    if fires and not p.hard:
        yield f"soft reset, netx's neurons set v to 0; train with {HARD}"
    if fires and p.hard and p.reset_to is not None and p.reset_to.any():
        yield "its reset sets v to a value, netx's neurons set v to 0; use reset_to=None"
    if fires and p.beta.any():
        yield "beta > 0 adapts the threshold, netx's loader has no such neuron; use beta=0"
    for register, meaning in {
        "du": "tau_syn",
        "dv": "tau",
        **({"vth": "threshold"} if fires else {}),
    }.items():
        values = getattr(p, register)
        if np.ptp(values):
            yield (
                f"{register} goes from {values.min()} to {values.max()}, a layer has one for "
                f"all; give its neurons the same {meaning}"
            )
    if (p.dv >= NO_MEMORY).any():
        yield "its membrane keeps nothing, and the register of dv ends at 4095; use leak < 1"
    yield from _check_bias(program, p)


def _check_bias(program: LoihiProgram, p: Population) -> Iterator[str]:
    """Yield the part of a bias that a layer cannot hold, or applies at another tick."""
    bias = p.bias
    if not bias.any():
        return
    odd = bias[bias % BIAS_UNIT != 0]
    if odd.size:
        yield (
            f"a bias of {odd[0] / BIAS_UNIT:g} weight units, a layer holds whole ones; in the "
            f"graph, round bias x gain to multiples of 1/{p.scale:g}"
        )
    limit = 2**BIAS_MANTISSA_BITS
    if (bias >= limit * BIAS_UNIT).any() or (bias < -limit * BIAS_UNIT).any():
        yield (
            f"its bias reaches {np.abs(bias).max() / BIAS_UNIT:g} weight units, a layer holds "
            f"{limit - 1}; lower the bias"
        )
    if p.bias_after:
        yield (
            f"its bias sets in after {p.bias_after} ticks, that of a layer at once; put the "
            "delay before the layer with the bias"
        )
    if program.latency and any(c.longest_wait for c in program.connections):
        yield (
            "it has a bias, which sets in at step 1, and spikes of the network wait for "
            "delays, where no reset of netx takes it back; leave out the delays or the bias"
        )


def _check_synapses(program: LoihiProgram, c: LoihiConnection) -> Iterator[str]:
    """Yield what a layer of netx cannot hold of a connection."""
    if program[c.source].message_bits:
        yield f"{c.source} sends graded spikes, a layer binary ones; use an Input"
    if c.weight_exp or c.sign_mode != "mixed" or c.weight_bits != WEIGHT_BITS:
        yield (
            "has a weight_exp, a sign_mode or weight_bits of its own, and the loader chooses "
            "them anew; leave them out"
        )
    yield from _check_waits(c)
    if c.kind == "conv":
        if len(program.into(c.source)) < 2 and _find_shape(program, c.source) != c.shape:
            yield (
                f"a convolution over {c.shape}, and {c.source} is a layer of shape "
                f"{_find_shape(program, c.source)}, which netx does not lay out anew; put a "
                "convolution or the input before it"
            )
        return
    if c.kind in ("sparse", "identity") and c.in_size * math.prod(c.out_shape) > LARGEST_MATRIX:
        yield (
            f"a matrix of {math.prod(c.out_shape)} x {c.in_size} weights, which netx needs of "
            "a list of synapses, is too large; use a convolution, or smaller populations"
        )
        return
    # Without a synapse at every place, the matrix of the file also holds zeros.
    full = c.kind == "dense" or c.weight.size == c.in_size * math.prod(c.out_shape)
    most = int(c.weight.max(initial=-(2**30) if full else 0))
    least = int(c.weight.min(initial=0))
    if most <= 0 and least == 0:
        yield "all its weights are 0, at which the loader fails; leave the layer out"
    elif most <= 0 and -least & (-least - 1) == 0:
        yield (
            f"no weight is positive, and the loader scales the lowest, {least}, to -256 and "
            "cuts it off at -255; lower(graph, largest_weight=...) so that it is no power of 2"
        )


def _check_waits(c: LoihiConnection) -> Iterator[str]:
    """Yield the delays that a layer of netx cannot hold."""
    if c.delays_in is not None:
        yield "each source has a delay, a layer one for each target; import it with time=lava"
    if c.kind == "conv" and c.longest_wait:
        yield (
            f"a spike waits {c.longest_wait} steps before a convolution, whose delay the "
            "loader does not read; leave the delay out, or put it before a Dense"
        )
    elif c.longest_wait > LONGEST_DELAY:
        yield (
            f"a spike waits {c.longest_wait} steps, the loader cuts at {LONGEST_DELAY}; "
            "shorten the delay"
        )


def _find_shape(program: LoihiProgram, name: str) -> tuple[int, ...]:
    """Return the shape of neurons in the file: (C, H, W) at a convolution's ends, else (N,)."""
    if program[name].kind != "input":
        incoming = program.into(name)
        return incoming[0].out_shape if incoming else ()
    for c in program.connections:
        if c.source == name:
            return c.shape if c.kind == "conv" else (c.in_size,)
    return ()


def _fill_matrix(c: LoihiConnection) -> np.ndarray:
    """Return the weights (out, in) of a connection that is not a convolution."""
    if c.kind == "dense":
        return c.weight
    if c.kind == "identity":
        return np.diag(c.weight)
    matrix = np.zeros(c.sizes, np.int32)
    matrix[tuple(c.places)] = c.weight
    return matrix


def _word(text: str) -> np.ndarray:
    """Return a word as slayer stores it: one string of ten bytes."""
    return np.array([text.encode()], "S10")

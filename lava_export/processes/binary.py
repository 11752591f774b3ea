"""The Lava Processes of a LoihiProgram: neurons, lines of delays, and a sink of spikes.

The neurons follow the equation in ``lava_export.program``.
"""

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

LIMIT = 2**23


class Membranes(AbstractProcess):
    """Membranes that integrate sums of weights.

    The dict ``steps`` holds ints: "rest", steps before their first tick; "bias", steps before
    their bias acts; "interval" and "offset": before the steps t with t mod interval = offset
    all states become 0 (interval 0: never). The other parameters are int arrays of ``shape``.
    """

    def __init__(self, *, shape: tuple, steps: dict, **parameters: Any) -> None:
        super().__init__()
        self.a_in = InPort(shape=shape)
        self.rest_steps = Var(shape=(1,), init=steps["rest"])
        self.bias_after = Var(shape=(1,), init=steps["bias"])
        self.interval = Var(shape=(1,), init=steps["interval"])
        self.offset = Var(shape=(1,), init=steps["offset"])
        for name, values in {"u": 0, "v": 0, **parameters}.items():
            setattr(self, name, Var(shape=shape, init=values))


class PyMembranes(PyLoihiProcessModel):
    """Fixed-point model of a membrane."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    rest_steps: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_after: np.ndarray = LavaPyType(np.ndarray, np.int32)
    interval: np.ndarray = LavaPyType(np.ndarray, np.int32)
    offset: np.ndarray = LavaPyType(np.ndarray, np.int32)
    u: np.ndarray = LavaPyType(np.ndarray, np.int32)
    v: np.ndarray = LavaPyType(np.ndarray, np.int32)
    du: np.ndarray = LavaPyType(np.ndarray, np.int32)
    dv: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def clears(self) -> bool:
        """Return whether all states become 0 before this step."""
        every = int(self.interval[0])
        return every > 0 and self.time_step % every == self.offset[0]

    def charge(self, x: np.ndarray) -> Any:
        """Return u and v after the weighted sums x of a step, before any spike."""
        u = decay_state(self.u, self.du + 1) + (x.astype(np.int64) << 6)
        u = np.where(u > LIMIT, u - 2 * LIMIT, np.where(u <= -LIMIT, u + 2 * LIMIT, u))
        bias = (self.bias_mant << self.bias_exp) * (self.time_step > self.bias_after)
        v = decay_state(self.v, self.dv) + u + bias
        return u, np.clip(v, 1 - LIMIT, LIMIT - 1)


def decay_state(state: np.ndarray, decay: np.ndarray) -> np.ndarray:
    """Return state (4096 - decay) / 4096, rounded towards zero."""
    product = state.astype(np.int64) * (4096 - decay)
    return np.asarray(np.sign(product) * (np.abs(product) >> 12))


class Li(Membranes):
    """Leaky integrators: they never fire, and send their membrane v every step."""

    def __init__(self, *, shape: tuple, **parameters: Any) -> None:
        super().__init__(shape=shape, **parameters)
        self.v_out = OutPort(shape=shape)


@implements(proc=Li, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyLi(PyMembranes):
    """Fixed-point model."""

    v_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def run_spk(self) -> None:
        """Advance one step."""
        x = self.a_in.recv()
        if self.clears():
            self.u[:], self.v[:] = 0, 0
        if self.time_step > self.rest_steps[0]:
            self.u[:], self.v[:] = self.charge(x)
        self.v_out.send(self.v.copy())


class Alif(Membranes):
    """Adaptive LIF neurons.

    hard: whether a spike sets v to reset_to; otherwise it subtracts reset_by.
    refractory: steps after the step of a spike, in which v is held.
    """

    def __init__(self, *, shape: tuple, hard: int, refractory: int, **parameters: Any) -> None:
        super().__init__(shape=shape, a=0, wait=0, **parameters)
        self.s_out = OutPort(shape=shape)
        self.hard = Var(shape=(1,), init=hard)
        self.refractory = Var(shape=(1,), init=refractory)


@implements(proc=Alif, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyAlif(PyMembranes):
    """Fixed-point model."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    hard: np.ndarray = LavaPyType(np.ndarray, np.int32)
    refractory: np.ndarray = LavaPyType(np.ndarray, np.int32)
    wait: np.ndarray = LavaPyType(np.ndarray, np.int32)
    a: np.ndarray = LavaPyType(np.ndarray, np.int32)
    da: np.ndarray = LavaPyType(np.ndarray, np.int32)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int32)
    beta: np.ndarray = LavaPyType(np.ndarray, np.int32)
    reset_to: np.ndarray = LavaPyType(np.ndarray, np.int32)
    reset_by: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Advance one step."""
        x = self.a_in.recv()
        if self.time_step <= self.rest_steps[0]:
            self.s_out.send(np.zeros(x.shape, np.int32))
            return
        if self.clears():
            self.u[:], self.v[:], self.a[:], self.wait[:] = 0, 0, 0, 0
        u, v = self.charge(x)
        a = decay_state(self.a, self.da)
        threshold = (self.vth << 6) + a
        free = self.wait == 0
        v = np.where(free, v, self.v)
        s = (v > threshold) & free
        self.wait[:] = np.where(s, self.refractory, np.maximum(self.wait - 1, 0))
        self.u[:] = u
        self.v[:] = np.where(s, self.reset_to if self.hard[0] else v - (self.reset_by + a), v)
        self.a[:] = np.minimum(a + s * (self.beta << 6), LIMIT - 1)
        self.s_out.send(s.astype(np.int32))


class Waits(AbstractProcess):
    """A delay of its own for each value. shape: (N,); waits: steps of each, >= 0."""

    def __init__(self, *, shape: tuple, waits: np.ndarray) -> None:
        super().__init__()
        self.a_in = InPort(shape=shape)
        self.a_out = OutPort(shape=shape)
        self.waits = Var(shape=shape, init=waits)
        self.ring = Var(shape=(int(waits.max()) + 1, *shape), init=0)


@implements(proc=Waits, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyWaits(PyLoihiProcessModel):
    """Fixed-point model."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    waits: np.ndarray = LavaPyType(np.ndarray, np.int32)
    ring: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Store the values of this step, then send those that are due."""
        self.ring[self.time_step % len(self.ring)] = self.a_in.recv()
        due = (self.time_step - self.waits) % len(self.ring)
        self.a_out.send(self.ring[due, np.arange(len(due))])


class PackedSink(AbstractProcess):
    """Sink that stores the spikes of a run, 16 per integer.

    Lava reads a variable out element by element, about 50,000 per second. Packed, the spikes of
    an image network come out 16 times faster than from Lava's own RingBuffer.

    shape: (N,) of the spikes; steps: length of the run.
    """

    def __init__(self, *, shape: tuple, steps: int) -> None:
        super().__init__()
        self.a_in = InPort(shape=shape)
        self.words = Var(shape=(steps, -(-shape[0] // 16)), init=0)


@implements(proc=PackedSink, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyPackedSink(PyLoihiProcessModel):
    """Fixed-point model."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    words: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Store the spikes of one step."""
        bits = np.zeros(16 * self.words.shape[1], np.uint8)
        spikes = self.a_in.recv()
        bits[: spikes.size] = spikes
        self.words[self.time_step - 1] = np.packbits(bits).view(np.uint16)


def unpack_spikes(words: np.ndarray, n: int) -> np.ndarray:
    """Return the spikes (steps, n), 0 or 1, from the result of ``words.get()``."""
    return np.unpackbits(words.astype(np.uint16).view(np.uint8), axis=1)[:, :n]

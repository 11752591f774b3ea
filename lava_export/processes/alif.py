"""An adaptive LIF as a Lava Process: soft or hard reset, bias, parameters for each neuron.

The equation is that of ``lava_export.program``.
"""

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
from membrane import LIMIT, charge, decay_state  # type: ignore[import-not-found]


class Alif(AbstractProcess):
    """Adaptive LIF neurons.

    hard: reset to 0, else the threshold is subtracted. rest_steps: steps before its first tick.
    bias_after: steps before its bias sets in. parameters: int arrays of ``shape``.
    """

    def __init__(self, *, shape, hard, rest_steps, bias_after, **parameters):  # type: ignore[no-untyped-def]
        super().__init__()
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.a = Var(shape=shape, init=0)
        self.hard = Var(shape=(1,), init=hard)
        self.rest_steps = Var(shape=(1,), init=rest_steps)
        self.bias_after = Var(shape=(1,), init=bias_after)
        self.du = Var(shape=shape, init=parameters["du"])
        self.dv = Var(shape=shape, init=parameters["dv"])
        self.da = Var(shape=shape, init=parameters["da"])
        self.vth = Var(shape=shape, init=parameters["vth"])
        self.beta = Var(shape=shape, init=parameters["beta"])
        self.bias_mant = Var(shape=shape, init=parameters["bias_mant"])
        self.bias_exp = Var(shape=shape, init=parameters["bias_exp"])


@implements(proc=Alif, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyAlif(PyLoihiProcessModel):
    """Fixed-point model."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    u: np.ndarray = LavaPyType(np.ndarray, np.int32)
    v: np.ndarray = LavaPyType(np.ndarray, np.int32)
    a: np.ndarray = LavaPyType(np.ndarray, np.int32)
    hard: np.ndarray = LavaPyType(np.ndarray, np.int32)
    rest_steps: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_after: np.ndarray = LavaPyType(np.ndarray, np.int32)
    du: np.ndarray = LavaPyType(np.ndarray, np.int32)
    dv: np.ndarray = LavaPyType(np.ndarray, np.int32)
    da: np.ndarray = LavaPyType(np.ndarray, np.int32)
    vth: np.ndarray = LavaPyType(np.ndarray, np.int32)
    beta: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Advance one step."""
        x = self.a_in.recv().astype(np.int64)
        if self.time_step <= self.rest_steps[0]:
            self.s_out.send(np.zeros(x.shape, np.int32))
            return
        u, v = charge(self, x)
        a = decay_state(self.a, self.da)
        threshold = (self.vth << 6) + a
        s = v > threshold
        self.u[:] = u
        self.v[:] = np.where(s, 0 if self.hard[0] else v - threshold - 64, v)
        self.a[:] = np.minimum(a + s * (self.beta << 6), LIMIT - 1)
        self.s_out.send(s.astype(np.int32))

"""A leaky integrator as a Lava Process: never fires, sends its membrane v every step.

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
from membrane import charge  # type: ignore[import-not-found]


class Li(AbstractProcess):
    """Leaky integrators.

    rest_steps: steps before its first tick. bias_after: steps before its bias sets in.
    parameters: int arrays of ``shape``.
    """

    def __init__(self, *, shape, rest_steps, bias_after, **parameters):  # type: ignore[no-untyped-def]
        super().__init__()
        self.a_in = InPort(shape=shape)
        self.v_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.rest_steps = Var(shape=(1,), init=rest_steps)
        self.bias_after = Var(shape=(1,), init=bias_after)
        self.du = Var(shape=shape, init=parameters["du"])
        self.dv = Var(shape=shape, init=parameters["dv"])
        self.bias_mant = Var(shape=shape, init=parameters["bias_mant"])
        self.bias_exp = Var(shape=shape, init=parameters["bias_exp"])


@implements(proc=Li, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyLi(PyLoihiProcessModel):
    """Fixed-point model."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    v_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    u: np.ndarray = LavaPyType(np.ndarray, np.int32)
    v: np.ndarray = LavaPyType(np.ndarray, np.int32)
    rest_steps: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_after: np.ndarray = LavaPyType(np.ndarray, np.int32)
    du: np.ndarray = LavaPyType(np.ndarray, np.int32)
    dv: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_exp: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Advance one step."""
        x = self.a_in.recv().astype(np.int64)
        if self.time_step > self.rest_steps[0]:
            self.u[:], self.v[:] = charge(self, x)
        self.v_out.send(self.v.copy())

"""A delay line as a Lava Process: what comes in leaves a fixed number of steps later."""

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


class DelayLine(AbstractProcess):
    """A delay line. shape: (N,) of the spikes; steps: how long they wait, >= 1."""

    def __init__(self, *, shape, steps):  # type: ignore[no-untyped-def]
        super().__init__()
        self.s_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.ring = Var(shape=(steps, *shape), init=0)


@implements(proc=DelayLine, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyDelay(PyLoihiProcessModel):
    """Fixed-point model."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    ring: np.ndarray = LavaPyType(np.ndarray, np.int32)

    def run_spk(self) -> None:
        """Send the oldest spikes, then keep the new ones: a loop through here never waits."""
        slot = self.time_step % len(self.ring)
        self.s_out.send(self.ring[slot].copy())
        self.ring[slot] = self.s_in.recv()

"""A stage of a GradedProgram as a Lava Process: the microcode of all groups of one lag.

The stage takes weighted sums from the synapses before it, and values from the stage before,
which wait one step, as the sums do. It sends counts to the synapses behind it.
"""

from typing import Any

import fixed_point as arithmetic  # type: ignore[import-not-found]
import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

PORTS = 4  # inputs, and outputs


class StageProcess(AbstractProcess):
    """The groups of one lag.

    groups: namespaces with the fields of a NeuronGroup.
    receives: (name, size) of each port that brings weighted sums, or the input.
    takes, gives: (name, size) of the values from the stage before, and for the next stage.
    sends: (name, size) of each port that leads to synapses or a read-out.
    """

    def __init__(self, *, groups, receives, takes, sends, gives):  # type: ignore[no-untyped-def]
        super().__init__(
            groups=groups, receives=receives, takes=takes, sends=sends, gives=gives
        )
        for k in range(PORTS):
            setattr(self, f"in{k}", InPort(shape=shape_port(receives, k)))
            setattr(self, f"out{k}", OutPort(shape=shape_port(sends, k)))
        self.carry_in = InPort(shape=(max(1, sum(size for _, size in takes)),))
        self.carry_out = OutPort(shape=(max(1, sum(size for _, size in gives)),))


def shape_port(parts: list, k: int) -> tuple[int]:
    """Return the shape of port k; an unused port has one element."""
    return (parts[k][1],) if k < len(parts) else (1,)


@implements(proc=StageProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyStage(PyLoihiProcessModel):
    """Fixed-point model."""

    in0: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    in1: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    in2: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    in3: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out0: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    out1: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    out2: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    out3: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    carry_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    carry_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params):  # type: ignore[no-untyped-def]
        super().__init__(proc_params)
        self.parts = {
            k: proc_params[k] for k in ("groups", "receives", "takes", "sends", "gives")
        }
        self.states = {
            g.name: np.zeros(g.size, np.int64)
            for g in self.parts["groups"]
            if g.kind == "gated"
        }
        self.held = np.zeros(max(1, sum(size for _, size in self.parts["takes"])), np.int64)

    def run_spk(self) -> None:
        """Advance one step."""
        values, start = {}, 0
        for name, size in self.parts["takes"]:
            values[name] = self.held[start : start + size]
            start += size
        self.held = self.carry_in.recv().astype(np.int64)
        for k, (name, _) in enumerate(self.parts["receives"]):
            values[name] = getattr(self, f"in{k}").recv().astype(np.int64)
        for g in self.parts["groups"]:
            given = [values[s] for s in g.sources]
            x = np.concatenate(given) if g.kind == "join" else sum(given[1:], given[0])
            values[g.name] = self.compute(g, x)
            if np.abs(values[g.name]).max() >= arithmetic.LIMIT:
                raise ValueError(f"{g.name}: a value needs more than 24 bits")
        for k, (name, _) in enumerate(self.parts["sends"]):
            getattr(self, f"out{k}").send(values[name].astype(np.int32))
        gives = [values[name] for name, _ in self.parts["gives"]] or [np.zeros(1, np.int64)]
        self.carry_out.send(np.concatenate(gives).astype(np.int32))

    def compute(self, g: Any, x: np.ndarray) -> np.ndarray:
        """Return the output of a group for its input x; a gate keeps its state."""
        if g.kind != "gated":
            return np.asarray(arithmetic.compute(g.kind, x, g.numbers, g.array))
        state = arithmetic.advance_gate(x, self.states[g.name], g.array.astype(np.int64))
        if np.abs(state).max() >= arithmetic.LIMIT:
            raise ValueError(f"{g.name}: a state needs more than 24 bits")
        self.states[g.name] = state
        return np.asarray(arithmetic.read_gate(state))

"""Training on the integers of Xylo: the value of the chip, the gradient of the floats."""

from collections.abc import Mapping
from typing import Any

from lava_export.training import ChipRun, IntegerNet
from lava_export.xylo.lower import Shifts, lower_to_xylo
from lava_export.xylo.program import XyloProgram
from lava_export.xylo.reference import trace_xylo
from neuro.graph import Graph
from neuro.nn.net import Net
from neuro.spikes import Events


class XyloNet(IntegerNet):
    """A Net in the integers of Xylo.

    Where a neuron fires several times in a tick, the gradient is that of its first spike.

    Args:
        net: as of an :class:`IntegerNet`.
        ticks, shifts: see :func:`lower_to_xylo`; shifts stay as they are while weights change.
    """

    chip = "Xylo"

    def __init__(self, net: Net, ticks: int, shifts: Shifts) -> None:
        self.setting: Mapping[str, Any] = {"ticks": ticks, "shifts": shifts}
        super().__init__(net)

    def lower(self, graph: Graph) -> XyloProgram:
        """Return the program of a graph."""
        return lower_to_xylo(graph, **self.setting)

    def trace(self, inputs: Mapping[str, Events], ticks: int) -> Mapping[str, ChipRun]:
        """Run the present program from rest, and return the run of every population."""
        found = {}
        for name, (i, v, n, _) in trace_xylo(self._program, inputs, ticks).items():
            threshold = self._program[name].threshold
            fires = self._program[name].kind != "readout"
            found[name] = ChipRun(v + (n - 1) * threshold + 1, n) if fires else ChipRun(i)
        return found

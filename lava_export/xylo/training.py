"""Training on the integers of Xylo: the value of the chip, the gradient of the floats."""

from collections.abc import Mapping

from lava_export.training import ChipRun, IntegerNet
from lava_export.xylo.lower import lower_to_xylo
from lava_export.xylo.program import Shifts, XyloProgram
from lava_export.xylo.reference import trace_xylo
from neuro.nn.net import Net
from neuro.spikes import Events


class XyloNet(IntegerNet):
    """A Net in the integers of Xylo.

    Where a neuron fires several times in a tick, the gradient is that of its first spike.

    Args:
        net: as of an :class:`IntegerNet`.
        ticks, shifts: see :func:`lower_to_xylo`; shifts stay as they are while weights change.
    """

    def __init__(self, net: Net, ticks: int, shifts: Shifts) -> None:
        super().__init__(net, "Xylo", lower_to_xylo, _trace, ticks=ticks, shifts=shifts)


def _trace(
    program: XyloProgram, inputs: Mapping[str, Events], ticks: int
) -> dict[str, ChipRun]:
    found = {}
    for name, (i, v, n, _) in trace_xylo(program, inputs, ticks).items():
        threshold = program[name].threshold
        fires = program[name].kind != "readout"
        found[name] = ChipRun(v + (n - 1) * threshold + 1, n) if fires else ChipRun(i)
    return found

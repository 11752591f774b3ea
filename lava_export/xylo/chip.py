"""A XyloProgram as a program for a chip: bit-shift decays and 16-bit states."""

from dataclasses import dataclass, replace
from typing import Any

from lava_export.contract import ChipProgram, Stimulus, count_ticks
from lava_export.excess import Excess
from lava_export.parity import Parity
from lava_export.run import LavaMissing
from lava_export.xylo.lower import choose_shifts, lower_to_xylo
from lava_export.xylo.program import XyloProgram
from lava_export.xylo.reference import require_xylo_run, run_xylo
from lava_export.xylo.report import list_xylo_breaches, make_xylo_scaling_table
from neuro.energy import OneCoreChip
from neuro.graph import Graph
from neuro.spikes.record import Record


@dataclass(frozen=True)
class XyloChipProgram(ChipProgram):
    """Program in Xylo's integers, held as a XyloProgram."""

    program: XyloProgram
    kind = "xylo_program"
    integers = XyloProgram

    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ProgramError if the program cannot run a stimulus."""
        require_xylo_run(self.program, inputs, count_ticks(inputs))

    def run_with_excess(self, inputs: Stimulus) -> tuple[Record, dict[str, Excess]]:
        """Return the run, and by population its excess over the float network's rules."""
        record, excess = run_xylo(self.program, inputs, count_ticks(inputs))
        scale = {p.name: p.scale for p in self.program.populations}
        values = {k: v / scale[k] for k, v in record.values.items()}
        return replace(record, values=values), excess

    def calibrate(self, graph: Graph, inputs: Stimulus) -> "XyloChipProgram":
        """Return the program with the largest shifts at which no state of a run saturates."""
        found = run_xylo(self.program, inputs, count_ticks(inputs)).excess
        shifts = choose_shifts(self.program, {name: x.peak for name, x in found.items()})
        return replace(
            self, program=lower_to_xylo(graph, ticks=self.program.ticks, shifts=shifts)
        )

    def compare_with_lava(self, inputs: Stimulus) -> Parity:  # noqa: ARG002 - Lava's
        """Raise a LavaMissing: Lava cannot run a program for Xylo."""
        raise LavaMissing(
            "Lava runs no programs for Xylo; a test of neuro compares the reference with "
            "SynSense's xylosim, state for state, where that is installed"
        )

    def list_breaches(self, chip: OneCoreChip) -> list[str]:
        """Return the rules of a chip that the program breaks."""
        return list_xylo_breaches(self.program, chip)

    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return one row per layer: the rounding from the floats of its graph to integers."""
        return make_xylo_scaling_table(graph, self.program)

    def list_net_problems(self) -> list[str]:
        """Return why netx of lava-dl cannot hold the program."""
        return ["a program for Xylo, and netx builds networks for Loihi; leave out --net"]

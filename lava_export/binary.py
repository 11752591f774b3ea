"""A LoihiProgram as a program for a chip: Loihi's integers with binary spikes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lava_export import netx
from lava_export.checks import require_run
from lava_export.contract import ChipProgram, Stimulus, count_ticks, make_parity
from lava_export.excess import Excess
from lava_export.integers import run_counting_clips, run_integers
from lava_export.parity import Parity
from lava_export.program import LoihiProgram
from lava_export.reference import to_float
from lava_export.report import compare, make_scaling_table
from lava_export.rules import list_breaches
from lava_export.run import run
from neuro.energy import Chip
from neuro.graph import Graph
from neuro.spikes.record import Record


@dataclass(frozen=True)
class BinaryChipProgram(ChipProgram):
    """Program with binary spikes, held as a LoihiProgram."""

    program: LoihiProgram
    kind = "program"
    integers = LoihiProgram

    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ProgramError if the program cannot run a stimulus."""
        require_run(self.program, inputs, count_ticks(inputs))

    def run_with_excess(self, inputs: Stimulus) -> tuple[Record, dict[str, Excess]]:
        """Return the run, and by population how often a measured bound was exceeded."""
        ticks = count_ticks(inputs)
        record, clipped = run_counting_clips(self.program, inputs, ticks)
        values = {k: to_float(self.program, k, v) for k, v in record.values.items()}
        spikes = {
            name: e._replace(value=e.value / self.program[name].message_unit)
            for name, e in record.spikes.items()
        }
        excess = {
            name: Excess(clipped=n, of=record.samples * ticks * self.program[name].size)
            for name, n in clipped.items()
        }
        return replace(record, values=values, spikes=spikes), excess

    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Return how a run on the reference and a run on Lava agree for a stimulus."""
        ticks = count_ticks(inputs)
        lava = run(self.program, inputs, ticks)
        differences = compare(run_integers(self.program, inputs, ticks), lava, self.program)
        return make_parity(lava, differences)

    def list_breaches(self, chip: Chip) -> list[str]:
        """Return the rules of a chip that the program breaks."""
        return list_breaches(self.program, chip)

    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return one row per layer: the rounding from the floats of its graph to integers."""
        return make_scaling_table(graph, self.program)

    def list_net_problems(self) -> list[str]:
        """Return why netx of lava-dl cannot hold the program; empty if it can."""
        return netx.list_problems(self.program)

    def write_net(self, path: Path) -> str:
        """Write the program for netx of lava-dl; return the Python call that loads it."""
        return netx.describe_loading(netx.write_net(path, self.program), self.program)

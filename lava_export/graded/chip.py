"""A GradedProgram as a program for a chip: fixed point with graded spikes."""

from dataclasses import dataclass
from typing import Any

from lava_export.contract import ChipProgram, Stimulus, make_parity
from lava_export.decode import decode_program
from lava_export.excess import Excess
from lava_export.graded.program import GradedProgram
from lava_export.graded.reference import quantise_input, run_graded, to_floats
from lava_export.graded.report import list_graded_breaches, make_graded_scaling_table
from lava_export.graded.run import run_graded_on_lava
from lava_export.parity import Parity
from lava_export.report import compare
from neuro.energy import Chip
from neuro.graph import Graph
from neuro.io.store import Arrays
from neuro.spikes import Events, of_sample
from neuro.spikes.record import Record

GRADED_TICKS = 8  # that Lava runs, of one sample: each stage is a process


@dataclass(frozen=True)
class GradedChipProgram(ChipProgram):
    """Program with graded spikes, held as a GradedProgram."""

    program: GradedProgram
    kind = "graded_program"
    integers = GradedProgram

    def require_run(self, inputs: Stimulus) -> None:
        """Raise a ValueError if the program cannot run a stimulus."""
        quantise_input(self.program, inputs)

    def run_with_excess(self, inputs: Stimulus) -> tuple[Record, dict[str, Excess]]:
        """Return the run of the reference; a state beyond its bits is an error of the run."""
        return to_floats(run_graded(self.program, inputs)), {}

    def compare_with_lava(self, inputs: Stimulus) -> Parity:
        """Return how reference and Lava agree on the first GRADED_TICKS of one sample."""
        inputs = {k: _cut_ticks(of_sample(e, 0), GRADED_TICKS) for k, e in inputs.items()}
        record = run_graded(self.program, inputs)  # runs first: its error names the wide value
        lava = run_graded_on_lava(self.program, inputs)
        return make_parity(lava, compare(record, lava), ticks=lava.ticks)

    def list_breaches(self, chip: Chip) -> list[str]:
        """Return the rules of a chip that the program breaks."""
        return list_graded_breaches(self.program, chip)

    def tabulate_rounding(self, graph: Graph) -> list[dict[str, Any]]:
        """Return one row per layer: the rounding from the floats of its graph to integers."""
        return make_graded_scaling_table(graph, self.program)

    def list_net_problems(self) -> list[str]:
        """Return why netx of lava-dl cannot hold the program."""
        return ["its spikes are graded, a layer sends binary ones; run it on Lava itself"]

    @classmethod
    def decode(cls, arrays: Arrays, plain: dict[str, Any]) -> "GradedChipProgram":
        """Return the program from the contents of a file."""
        return cls(decode_program(GradedProgram, arrays, plain, int32=False))


def _cut_ticks(e: Events, most: int) -> Events:
    """Return a spike train cut off after its first ``most`` ticks."""
    early = e.tick < most
    sample, tick, neuron, value = (column[early] for column in e[:4])
    return Events(sample, tick, neuron, value, (min(most, e.shape[0]), *e.shape[1:]))

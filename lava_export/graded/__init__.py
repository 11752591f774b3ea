"""Graphs with graded spikes in fixed point: norms, gates and counts as microcode of Loihi 2."""

from lava_export.graded.lower import is_graded, lower_graded
from lava_export.graded.program import GradedProgram, NeuronGroup
from lava_export.graded.reference import RangeError, run_graded, to_floats
from lava_export.graded.report import list_graded_breaches, make_graded_scaling_table
from lava_export.graded.run import run_graded_on_lava

__all__ = [
    "GradedProgram",
    "NeuronGroup",
    "RangeError",
    "is_graded",
    "list_graded_breaches",
    "lower_graded",
    "make_graded_scaling_table",
    "run_graded",
    "run_graded_on_lava",
    "to_floats",
]

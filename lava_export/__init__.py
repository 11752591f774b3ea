"""Lowering of a Graph to Loihi's integers, a run on real Lava, and a comparison of both."""

from lava_export.chip_program import load_program, lower_graph, save_program
from lava_export.contract import ChipProgram
from lava_export.lower import LowerError, lower
from lava_export.program import LoihiConnection, LoihiProgram, Population, ProgramError
from lava_export.reference import to_float
from lava_export.report import compare, make_scaling_table
from lava_export.rules import RuleBreach, check, list_breaches
from lava_export.run import LavaFailed, LavaMissing, available, run

__all__ = [
    "ChipProgram",
    "LavaFailed",
    "LavaMissing",
    "LoihiConnection",
    "LoihiProgram",
    "LowerError",
    "Population",
    "ProgramError",
    "RuleBreach",
    "available",
    "check",
    "compare",
    "list_breaches",
    "load_program",
    "lower",
    "lower_graph",
    "make_scaling_table",
    "run",
    "save_program",
    "to_float",
]

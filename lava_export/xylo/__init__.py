"""Graphs in the integers of Xylo: bit-shift decays, 8-bit weights, 16-bit states."""

from lava_export.xylo.lower import lower_to_xylo
from lava_export.xylo.program import XyloConnection, XyloPopulation, XyloProgram
from lava_export.xylo.reference import XyloRun, run_xylo
from lava_export.xylo.report import list_xylo_breaches, make_xylo_scaling_table

__all__ = [
    "XyloConnection",
    "XyloPopulation",
    "XyloProgram",
    "XyloRun",
    "list_xylo_breaches",
    "lower_to_xylo",
    "make_xylo_scaling_table",
    "run_xylo",
]

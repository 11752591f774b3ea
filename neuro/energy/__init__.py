"""The energy of a run: operations counted from spikes, chips as data, mapping, joules."""

from neuro.energy.chip import Bounds, Chip, Constant, Hardware, Interval, Range
from neuro.energy.chip_file import ChipError, find_chip, load_chips, read_chip
from neuro.energy.conventions import horowitz45
from neuro.energy.count import (
    count,
    count_host_macs,
    count_macs,
    require_record_of,
    restrict_to_chip,
)
from neuro.energy.cuts import (
    AER,
    BITMAP,
    Crossing,
    CutError,
    Division,
    LinkCode,
    Partition,
    choose_cuts,
    list_units,
    price_partition,
)
from neuro.energy.estimate import (
    Estimate,
    JoinedEstimate,
    NetworkRuns,
    estimate,
    estimate_chips,
    find_chips,
    find_hardware,
    join_estimates,
)
from neuro.energy.latency import CoreLoad, Latency
from neuro.energy.mapping import Placement, place, place_as_given
from neuro.energy.one_core import OneCoreChip, load_one_core_chips
from neuro.energy.report import (
    add_host_macs,
    as_json,
    compare_mappings,
    make_chip_table,
    tabulate_constants,
)
from neuro.energy.search import MappingError, SearchedMapping, search_mapping
from neuro.energy.splits import GOALS, Goal

__all__ = [
    "AER",
    "BITMAP",
    "GOALS",
    "Bounds",
    "Chip",
    "ChipError",
    "Constant",
    "CoreLoad",
    "Crossing",
    "CutError",
    "Division",
    "Estimate",
    "Goal",
    "Hardware",
    "Interval",
    "JoinedEstimate",
    "Latency",
    "LinkCode",
    "MappingError",
    "NetworkRuns",
    "OneCoreChip",
    "Partition",
    "Placement",
    "Range",
    "SearchedMapping",
    "add_host_macs",
    "as_json",
    "choose_cuts",
    "compare_mappings",
    "count",
    "count_host_macs",
    "count_macs",
    "estimate",
    "estimate_chips",
    "find_chip",
    "find_chips",
    "find_hardware",
    "horowitz45",
    "join_estimates",
    "list_units",
    "load_chips",
    "load_one_core_chips",
    "make_chip_table",
    "place",
    "place_as_given",
    "price_partition",
    "read_chip",
    "require_record_of",
    "restrict_to_chip",
    "search_mapping",
    "tabulate_constants",
]

"""What a run costs: counts from spikes, chips as data, mapping, joules per inference."""

from neuro.energy.chips import CHIPS, Chip, loihi1, loihi1_sanafe, loihi2
from neuro.energy.constants import Constant, Interval
from neuro.energy.conventions import horowitz45
from neuro.energy.count import count, macs
from neuro.energy.estimate import Estimate, estimate, estimates
from neuro.energy.host import host_macs, on_chip
from neuro.energy.mapping import Placement, place
from neuro.energy.report import as_json, constants_table

__all__ = [
    "CHIPS",
    "Chip",
    "Constant",
    "Estimate",
    "Interval",
    "Placement",
    "as_json",
    "constants_table",
    "count",
    "estimate",
    "estimates",
    "horowitz45",
    "host_macs",
    "loihi1",
    "loihi1_sanafe",
    "loihi2",
    "macs",
    "on_chip",
    "place",
]

"""Series of numbers over time, generated from equations; no data set is read."""

from drivers.series.epileptor import generate_patient
from drivers.series.events import EventTable, find_events
from drivers.series.lorenz import generate_lorenz
from drivers.series.mackey_glass import generate_mackey_glass

__all__ = [
    "EventTable",
    "find_events",
    "generate_lorenz",
    "generate_mackey_glass",
    "generate_patient",
]

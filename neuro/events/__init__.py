"""The event engine, which runs a network spike by spike instead of tick by tick."""

from neuro.events.checks import Runaway
from neuro.events.engine import simulate
from neuro.events.exact.state import ExactState, make_rest_state
from neuro.events.grid.oracle import simulate_slowly
from neuro.events.grid.state import EngineState
from neuro.events.settings import Clock, Exact, Grid, Recording

__all__ = [
    "Clock",
    "EngineState",
    "Exact",
    "ExactState",
    "Grid",
    "Recording",
    "Runaway",
    "make_rest_state",
    "simulate",
    "simulate_slowly",
]

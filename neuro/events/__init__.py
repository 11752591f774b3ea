"""The event engine: networks driven by spikes instead of by a clock."""

from neuro.events.checks import Runaway
from neuro.events.clock import Clock, Exact, Grid
from neuro.events.engine import simulate
from neuro.events.exact.state import ExactState, exactly_at_rest
from neuro.events.grid.oracle import simulate_slowly
from neuro.events.grid.state import EngineState
from neuro.events.recording import Recording

__all__ = [
    "Clock",
    "EngineState",
    "Exact",
    "ExactState",
    "Grid",
    "Recording",
    "Runaway",
    "exactly_at_rest",
    "simulate",
    "simulate_slowly",
]

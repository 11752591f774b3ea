"""The event engine: networks driven by spikes instead of by a clock."""

from neuro.events.checks import Runaway
from neuro.events.clock import Clock, Exact, Grid
from neuro.events.engine import simulate
from neuro.events.oracle import simulate_slowly
from neuro.events.recording import Recording
from neuro.events.state import EngineState

__all__ = [
    "Clock",
    "EngineState",
    "Exact",
    "Grid",
    "Recording",
    "Runaway",
    "simulate",
    "simulate_slowly",
]

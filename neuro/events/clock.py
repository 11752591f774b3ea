"""The two clocks of the event engine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """Whole ticks of the graph's dt: tick for tick the network that was trained."""


@dataclass(frozen=True)
class Exact:
    """Continuous time: every threshold crossing of the model between ticks.

    :func:`neuro.events.simulate` refuses it so far; grid mode is what runs today.
    """


Clock = Grid | Exact

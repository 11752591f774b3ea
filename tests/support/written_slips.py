"""What is written by mistake, and that it is told with what was given and the cure."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from lava_export import lower
from neuro import (
    LIF,
    Dense,
    Edge,
    Graph,
    Input,
    Spiking,
    Stack,
    to_events,
)
from neuro.events import simulate
from neuro.units import Seconds


class Slip(NamedTuple):
    """What is written, the error that it raises, what that says was given, and the cure."""

    write: Callable[[], Any]
    error: type[Exception]
    given: str
    cure: str


DT = Seconds(1e-3)
RASTER = np.ones((4, 2, 3), np.float32)
X = torch.ones(4, 2, 3)
GRAPH = Graph(
    nodes={
        "input": Input(shape=(3,)),
        "fc": Dense(weight=np.ones((2, 3))),
        "out": LIF(tau=0.02),
    },
    edges=(Edge("input", "fc"), Edge("fc", "out")),
    dt=DT,
)
STIMULUS = {"input": to_events(RASTER)}
RECORD, STATE = simulate(GRAPH, STIMULUS)
PROGRAM = lower(GRAPH, ticks=4)
CELLS = Spiking(LIF(tau=0.02))


def net() -> Any:
    return Stack(fc=nn.Linear(3, 2), cells=Spiking(LIF(tau=0.02)))


def graph(**changes: Any) -> Graph:
    given: Any = {"nodes": GRAPH.nodes, "edges": GRAPH.edges, "dt": DT, **changes}
    return Graph(**given)


def call(function: Any, *given: Any, **named: Any) -> Callable[[], Any]:
    return lambda: function(*given, **named)


def require_told(slip: Slip) -> None:
    """Raise unless a slip is told as it says."""
    with pytest.raises(slip.error) as told:
        slip.write()
    assert slip.given in str(told.value)
    assert slip.cure in str(told.value)

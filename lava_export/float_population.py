"""Populations before rounding, and what all lowerings of them share.

A message is a spike with a value; its unit is how many of its whole numbers are one unit of the
float network, a power of 2. Axes: N neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lava_export.program import LoihiConnection, Population, as_int32
from neuro.graph.paths import Route
from neuro.neurons import Coefficients, Neuron

ROUNDING = 1e-6  # of an integer: a float error


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatPopulation:
    """A population before rounding; arrays have shape (N,).

    neuron, shape: its model, and how its neurons lie. c: the normal form; of neurons that code
        changes, only what they have of one.
    incoming: the routes that end here. bias: per tick, gain included, from tick
        ``bias_after`` on.
    """

    name: str
    neuron: Neuron
    shape: tuple[int, ...]
    c: Coefficients
    incoming: list[Route]
    bias: Float[np.ndarray, " N"]
    bias_after: int


class Setting(NamedTuple):
    """What the lowering of a population needs of the whole network.

    lag: steps behind the input, by name. messages: the least and the largest spike, by name.
    units: the exponent of the unit of a message, by name: 2^unit whole numbers are 1.0.
    ticks: of the longest run; None: of any. largest: the largest weight to use.
    """

    lag: Mapping[str, int]
    messages: Mapping[str, tuple[int, int]]
    units: Mapping[str, int]
    ticks: int | None
    largest: int


class LoweredLayer(NamedTuple):
    """A population in integers and the connections that end there."""

    population: Population
    incoming: tuple[LoihiConnection, ...]


def round_to_even_integers(
    weight: Float[np.ndarray, "..."], scale: float
) -> Float[np.ndarray, "..."]:
    """Return weight x scale, rounded to even integers."""
    return np.asarray(2 * np.rint(weight * (scale / 2)))


def round_up(x: np.ndarray) -> np.ndarray:
    """Round up, but take what a float error puts just above an integer for that integer."""
    return np.asarray(np.ceil(x - ROUNDING))


def shorten(values: np.ndarray) -> np.ndarray:
    """Return the values as int32, as one number where all are equal."""
    return as_int32(values[:1] if np.ptp(values) == 0 else values)


def find_largest_weight(routes: list[Route]) -> float:
    """Return the largest weight of some routes, without its sign; 0 where there is none."""
    return max((float(np.abs(r.weight).max(initial=0)) for r in routes), default=0.0)


def make_connection(
    r: Route, lag: Mapping[str, int], scale: float, exponent: int = 0
) -> LoihiConnection:
    """Return a route in integers; a kernel is stored plain, zeros for dilation and groups.

    scale: integers that one unit of weight becomes, before the shift by ``exponent``.
    """
    weight = r.conv.plain().weight if r.kind == "conv" else r.weight
    return LoihiConnection(
        name=r.name,
        source=r.source,
        target=r.target,
        kind=r.kind,
        weight=as_int32(round_to_even_integers(weight, scale)),
        shape=r.shape,
        stride=r.stride,
        padding=r.padding,
        places=as_int32(r.places),
        sizes=r.sizes,
        extra=lag[r.target] - lag[r.source] + r.delay - 1,
        weight_exp=exponent,
    )

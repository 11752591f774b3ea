"""Populations before rounding, and functions that all lowerings share.

A message is a spike with a value. Its unit is the power of 2 of whole numbers that stand for
1.0 of the float network. Axes: N neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lava_export.program import LoihiConnection, Population, as_int32
from neuro.graph.paths import Route
from neuro.neurons import Coefficients, Neuron

ROUNDING = 1e-6  # float error that rounding to an integer forgives


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatPopulation:
    """A population before rounding; arrays have shape (N,).

    neuron: its model.
    shape: the axes along which its neurons lie.
    c: the normal form; neurons that code changes have only some of its fields.
    incoming: the routes that end at the population.
    bias: bias per tick, gain included, from tick ``bias_after`` on.
    """

    name: str
    neuron: Neuron
    shape: tuple[int, ...]
    c: Coefficients
    incoming: list[Route]
    bias: Float[np.ndarray, " N"]
    bias_after: int


class Setting(NamedTuple):
    """What the lowering of a population needs from the whole network.

    lag: steps that a population runs behind the input, by name.
    messages: the least and the largest spike, by name.
    units: exponents of the units of messages, by name: 2^unit whole numbers stand for 1.0.
    ticks: length of the longest run; None: any length.
    largest: the largest weight to use.
    bounds: largest |v| to expect in units of the float network, by name, where measured.
    """

    lag: Mapping[str, int]
    messages: Mapping[str, tuple[int, int]]
    units: Mapping[str, int]
    ticks: int | None
    largest: int
    bounds: Mapping[str, float]


class LoweredLayer(NamedTuple):
    """A population in integers and the connections that end at it."""

    population: Population
    incoming: tuple[LoihiConnection, ...]


def round_to_even_integers(
    weight: Float[np.ndarray, "..."], scale: float
) -> Float[np.ndarray, "..."]:
    """Return weight x scale, rounded to even integers."""
    return np.asarray(2 * np.rint(weight * (scale / 2)))


def round_up(x: np.ndarray) -> np.ndarray:
    """Return x rounded up; a value just above an integer, by float error, rounds to it."""
    return np.asarray(np.ceil(x - ROUNDING))


def shorten(values: np.ndarray) -> np.ndarray:
    """Return values as int32, or one number if all are equal."""
    return as_int32(values[:1] if np.ptp(values) == 0 else values)


def find_largest_weight(routes: list[Route]) -> float:
    """Return the largest absolute weight of some routes; 0 if they have none."""
    return max((float(np.abs(r.weight).max(initial=0)) for r in routes), default=0.0)


def make_connection(
    r: Route, lag: Mapping[str, int], scale: float, exponent: int = 0
) -> LoihiConnection:
    """Return a route in integers.

    scale: integers per unit of weight, before the shift by ``exponent``.
    """
    return LoihiConnection(
        name=r.name,
        source=r.source,
        target=r.target,
        kind=r.kind,
        weight=as_int32(round_to_even_integers(r.weight, scale)),
        shape=r.shape,
        stride=r.stride,
        padding=r.padding,
        dilation=r.dilation,
        groups=r.groups,
        places=as_int32(r.places),
        sizes=r.sizes,
        extra=lag[r.target] - lag[r.source] + r.delay - 1,
        weight_exp=exponent,
    )

"""A tick of the normal form in NumPy, before and after the threshold, for measures of a run.

Executors and their oracles have separate code. Axes: ``...`` any; the last ones are those of
the population.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from neuro.neurons.normal_form import Coefficients


class MembraneState(NamedTuple):
    """v, the current i, the rise of the threshold a, and the remaining refractory ticks."""

    v: np.ndarray
    i: np.ndarray
    a: np.ndarray
    wait: np.ndarray

    @property
    def free(self) -> Bool[np.ndarray, "..."]:
        """True where v is not in a refractory period."""
        return np.asarray(self.wait == 0)


def rest_membrane(*shape: int) -> MembraneState:
    """Return the state of a population at rest."""
    return MembraneState(*np.zeros((4, *shape)))


def charge_membrane(
    k: Coefficients, state: MembraneState, x: Float[np.ndarray, "..."], kept: np.ndarray
) -> MembraneState:
    """Return the state before the test of the threshold. kept: v after its leak."""
    i = k.decay_syn * state.i + x
    v = np.where(state.free, kept + k.gain * i, state.v)
    return MembraneState(v, i, k.decay_adapt * state.a, state.wait)


def reset_membrane(
    k: Coefficients, state: MembraneState, fired: Bool[np.ndarray, "..."]
) -> MembraneState:
    """Return the state after the spikes of the tick."""
    v = np.where(fired, 0 if k.hard else state.v - (k.threshold + state.a), state.v)
    wait = np.where(fired, k.refractory, np.maximum(state.wait - 1, 0))
    return MembraneState(v, state.i, state.a + k.beta * fired, wait)

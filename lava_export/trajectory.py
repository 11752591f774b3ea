"""The input with which neurons in floats follow the membranes of a chip.

Axes: T ticks, B samples, N neurons.
"""

import numpy as np
from jaxtyping import Float, Int

from neuro.neurons import Coefficients
from neuro.ops.jit import kernel


def find_inputs(
    k: Coefficients, above: Int[np.ndarray, "T B N"], unit: float
) -> tuple[Float[np.ndarray, "T B N"], Float[np.ndarray, "T B N"]]:
    """Return inputs (float64) of neurons that fire, and the spikes (float32).

    k: the normal form of N neurons.
    above: how far they shall stand above their threshold before a reset, in integers; 1 is the
        least that fires. unit: the integer for 1 in floats.
    """
    after = k.reset_to if k.hard else k.subtracted
    numbers = np.stack(
        [k.decay, k.gain, k.decay_syn, k.threshold, k.decay_adapt, k.beta, after]
    )
    out = np.empty(above.shape), np.empty(above.shape, np.float32)
    _follow(above, unit, numbers, (k.hard, int(k.refractory)), out)
    return out


@kernel
def _follow(
    above: np.ndarray,
    unit: float,
    numbers: np.ndarray,
    reset: tuple[bool, int],
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    """Write inputs and spikes: one tick of :class:`Coefficients`, solved for the input."""
    decay, gain, decay_syn, threshold, decay_adapt, beta, after = numbers
    (hard, refractory), (inputs, spikes) = reset, out
    cells = np.empty((4, above.shape[2]))
    v, i, a, wait = cells[0], cells[1], cells[2], cells[3]
    for b in range(above.shape[1]):
        cells[:] = 0
        for t in range(above.shape[0]):
            for n in range(above.shape[2]):
                a[n] *= decay_adapt[n]
                # Halfway between integers: no rounding of floats makes or loses a spike.
                charged = (above[t, b, n] - 0.5) / unit + threshold[n] + a[n]
                current = (charged - decay[n] * v[n]) / gain[n]
                inputs[t, b, n] = current - decay_syn[n] * i[n]
                i[n] = current
                s = wait[n] == 0 and above[t, b, n] > 0
                spikes[t, b, n] = s
                if wait[n] == 0:
                    v[n] = charged
                wait[n] = max(wait[n] - 1, 0)
                if s:
                    v[n] = after[n] if hard else charged - after[n] - a[n]
                    a[n] += beta[n]
                    wait[n] = refractory

"""Sigma-delta neurons in Lava's integers: they send changes as graded spikes.

One tick of Lava's Delta, SigmaDelta and Sigma in their fixed-point models, with x the sum of
weights times messages, e = spike_exp and k = state_exp; >> is a floor:

    delta         y = x << (e + k)
    sigma_delta   sigma = sigma + x        y = max(sigma + b, 0)      (not relu: sigma + b)
    both          d = y - act + residue    act = y
                  m = d where |d| >= vth, else 0                      residue = d - m
                  sends m >> k
    sigma         sigma = sigma + x, which it shows

With ``cumulative``, error = error + d decides instead (|error| >= vth) and is 0 where m is not
0. Messages have units of 2^-e, states of 2^-(e + k). Lava does not check their bits;
:func:`require_bits` does. Axes: B samples, N neurons.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lava_export.population import STATE_LIMIT, Population, ProgramError

Ints = Int[np.ndarray, "B N"]


class CoderState(NamedTuple):
    """The states of a population, in its units."""

    sigma: Ints
    act: Ints
    residue: Ints
    error: Ints


def step_sigma(
    p: Population,
    state: CoderState,
    x: Ints,
    biased: bool,  # noqa: ARG001
) -> tuple[Ints, CoderState]:
    """Return what a read-out shows and its state, after a tick of its sum."""
    sigma = require_bits(p, "sigma", state.sigma + x)
    return sigma, state._replace(sigma=sigma)


def step_delta(
    p: Population,
    state: CoderState,
    x: Ints,
    biased: bool,  # noqa: ARG001
) -> tuple[Ints, CoderState]:
    """Return messages and state after a tick of a Delta, which codes its changes."""
    return _code(p, state, x << (p.spike_exp + p.state_exp))


def step_sigma_delta(
    p: Population, state: CoderState, x: Ints, biased: bool
) -> tuple[Ints, CoderState]:
    """Return messages and state after a tick of a SigmaDelta, which sums and codes changes."""
    sigma = require_bits(p, "sigma", state.sigma + x)
    y = sigma + p.bias * biased
    return _code(p, state._replace(sigma=sigma), np.maximum(y, 0) if p.relu else y)


def _code(p: Population, state: CoderState, y: Ints) -> tuple[Ints, CoderState]:
    """Return the changes of y that reach the threshold, and the state."""
    d = require_bits(p, "the difference", y - state.act + state.residue)
    error = require_bits(p, "the error", state.error + d * p.cumulative)
    m = np.where(np.abs(error if p.cumulative else d) >= p.vth, d, 0)
    error = np.where(m == 0, error, 0)
    sent = require_messages(p, m >> p.state_exp)
    return sent, CoderState(state.sigma, require_bits(p, "act", y), d - m, error)


def require_bits(p: Population, what: str, values: Ints, limit: int = STATE_LIMIT) -> Ints:
    """Return values unchanged; raise a ProgramError if one reaches the limit."""
    if np.abs(values).max(initial=0) < limit:
        return values
    b, n = map(int, np.argwhere(np.abs(values) >= limit)[0])
    raise ProgramError(
        f"{p.name}: {what} of neuron {n}, sample {b}, is {int(values[b, n])}, which is not "
        f"below 2^{limit.bit_length() - 1}; use smaller spike_exp and state_exp, smaller "
        "weights, or a smaller stimulus"
    )


def require_messages(p: Population, values: Int[np.ndarray, "... N"]) -> np.ndarray:
    """Return the spikes of a population unchanged; raise a ProgramError if one is too wide."""
    low, high = p.messages
    wide = values[(values < low) | (values > high)]
    if not wide.size:
        return values
    raise ProgramError(
        f"{p.name}: {wide.size} spikes like {int(wide[0])} need more than their "
        f"{p.message_bits} bits, which hold {low} to {high}; raise message_bits, or lower "
        "spike_exp"
    )

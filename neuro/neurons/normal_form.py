"""What the neuron models share: parameters that broadcast, and one linear normal form.

Axes: B batch, ``*N`` the shape of the population. A parameter is one number, or an array that
broadcasts to ``*N`` (for example ``C 1 1``: one value a channel).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuro.neurons.reset import Reset, is_hard
from neuro.units import Seconds, Ticks

Param = float | np.ndarray | Tensor


class Coefficients(NamedTuple):
    """The normal form of a neuron that is linear between its spikes; a tick is, in this order,

        i = decay_syn * i + x          v = decay * v + gain * i
        a = decay_adapt * a            s = v >= threshold + a
        v = 0 (hard) or v - (threshold + a) s (soft)          a = a + beta * s

    For ``refractory`` ticks after that of a spike v is held where the reset left it, and
    nothing is tested (s = 0); i and a continue.

    All arrays are float64 and broadcast to the population's shape. A read-out has
    ``fires = False``: its ``v`` is the output and never reset (reset None).
    """

    decay: np.ndarray
    threshold: np.ndarray
    reset: Reset | None
    fires: bool = True
    gain: np.ndarray = np.ones(())
    decay_syn: np.ndarray = np.zeros(())
    beta: np.ndarray = np.zeros(())
    decay_adapt: np.ndarray = np.zeros(())
    refractory: Ticks = Ticks(0)

    @property
    def hard(self) -> bool:
        """Say whether the reset is hard, for executors that know the hard and the soft one.

        Raises:
            ValueError: it is another.
        """
        return self.reset is not None and is_hard(self.reset)


class Tensors(NamedTuple):
    """Parameters of :class:`Coefficients` for one precision and device; they keep gradients."""

    decay: Tensor
    gain: Tensor
    decay_syn: Tensor
    threshold: Tensor
    beta: Tensor
    decay_adapt: Tensor


class Dynamics(NamedTuple):
    """The normal form in continuous time, of which :class:`Coefficients` are the samples.

    rate: 1 / tau of v [1/s], 0 without leak. rate_syn: of its own current; None without one.
    gain: jump of v per unit of input, of the current where there is one.
    threshold: at rest. beta: its rise at a spike, which decays with rate_adapt [1/s], infinite
    where it has no effect. refractory: for how long v is held after a spike [s].
    reset, fires: as in the sampled form.

    All arrays are float64 and broadcast to the population's shape.
    """

    rate: np.ndarray
    threshold: np.ndarray
    reset: Reset | None
    fires: bool = True
    gain: np.ndarray = np.ones(())
    rate_syn: np.ndarray | None = None
    beta: np.ndarray = np.zeros(())
    rate_adapt: np.ndarray = np.full((), np.inf)
    refractory: Seconds = Seconds(0.0)

    @property
    def hard(self) -> bool:
        """Say whether the reset is hard, as in the sampled form."""
        return self.reset is not None and is_hard(self.reset)


def as_array(p: Param) -> np.ndarray:
    """Return a parameter as float64."""
    if isinstance(p, Tensor):
        p = p.detach().cpu().numpy()
    return np.asarray(p, np.float64)


def convert_like(p: Param, x: Tensor) -> Tensor:
    """Return a parameter with the dtype and device of ``x``; a tensor keeps its gradient."""
    if isinstance(p, Tensor):
        return p.to(dtype=x.dtype, device=x.device)
    return torch.as_tensor(p, dtype=x.dtype, device=x.device)


def to_number(p: Param) -> float | np.ndarray:
    """Return a parameter as a float, or as a read-only float32 array."""
    if isinstance(p, Tensor):
        p = p.detach().cpu().numpy()
    if isinstance(p, np.ndarray):
        if p.ndim == 0:
            return float(p)
        p = p.astype(np.float32)
        p.setflags(write=False)
        return p
    return float(p)


def require(ok: np.bool_ | np.ndarray, what: str, value: Param, cure: str) -> None:
    """Raise a ValueError that names parameter, value and cure, unless all ``ok``."""
    if not np.all(ok):
        shown = value if np.ndim(value) == 0 else np.asarray(value)[~np.asarray(ok)].ravel()[0]
        raise ValueError(f"{what}, got {shown}; {cure}")

"""Parameters of neuron models, their linear normal form, and one tick of it in NumPy.

Axes: B batch, ``*N`` the population's shape. A parameter is one number, or an array that
broadcasts to ``*N`` (for example ``C 1 1``: one value per channel).
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neuro.base.arguments import as_numbers, make_type_error
from neuro.base.units import Seconds, Ticks
from neuro.neurons.reset import Reset, is_hard

Param = float | np.ndarray | Tensor


class Coefficients(NamedTuple):
    """The normal form of a neuron that is linear between spikes. One tick is, in this order,

        i = decay_syn * i + x          v = decay * v + gain * i
        a = decay_adapt * a            s = v >= threshold + a       (strict: >)
        v = reset_to where s = 1 (hard), or v - (reset_by + a) s (soft)        a = a + beta * s

    For ``refractory`` ticks after the tick of a spike, v keeps its value after the reset and
    s = 0; i and a continue. ``reset_by`` None stands for the threshold.

    All arrays are float64 and broadcast to the population's shape. A read-out has
    ``fires = False`` and no reset (None): its ``v`` is the output.
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
    strict: bool = False
    reset_to: np.ndarray = np.zeros(())
    reset_by: np.ndarray | None = None

    @property
    def hard(self) -> bool:
        """Whether the reset is hard; raises a ValueError if it is neither hard nor soft."""
        return self.reset is not None and is_hard(self.reset)

    @property
    def subtracted(self) -> np.ndarray:
        """Amount that a soft reset subtracts, without the adaptation."""
        return self.threshold if self.reset_by is None else self.reset_by

    def spread(self, shape: tuple[int, ...]) -> "Coefficients":
        """Return the form with one value per neuron of a population, in C order."""
        single = ("reset", "fires", "refractory", "strict")
        arrays: dict[str, Any] = {
            name: np.broadcast_to(p, shape).ravel()
            for name, p in self._asdict().items()
            if name not in single and p is not None
        }
        return self._replace(**arrays)

    def least_firing(self, dtype: type[np.floating] = np.float64) -> np.ndarray:
        """Return, for a dtype, the least membrane at which a neuron at rest fires (v >= it)."""
        threshold = self.threshold.astype(dtype)
        above = np.nextafter(threshold, dtype(np.inf)) if self.strict else threshold
        return np.asarray(above)


class Tensors(NamedTuple):
    """Parameters of :class:`Coefficients` for one precision and device; they keep gradients."""

    decay: Tensor
    gain: Tensor
    decay_syn: Tensor
    threshold: Tensor
    beta: Tensor
    decay_adapt: Tensor


class Dynamics(NamedTuple):
    """The normal form in continuous time; :class:`Coefficients` are its samples.

    rate: 1 / tau of v [1/s], 0 without leak.
    rate_syn: 1 / tau of the current [1/s], or None without one.
    gain: jump of v, or of the current, per unit of input.
    threshold: firing threshold at rest.
    beta: rise of the threshold at a spike.
    rate_adapt: decay rate of that rise [1/s], infinite if the rise has no effect.
    refractory: how long v is held after a spike [s].
    reset, reset_to, reset_by, fires: as in the sampled form.

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
    reset_to: np.ndarray = np.zeros(())
    reset_by: np.ndarray | None = None

    @property
    def hard(self) -> bool:
        """Say whether the reset is hard, as in the sampled form."""
        return self.reset is not None and is_hard(self.reset)

    @property
    def subtracted(self) -> np.ndarray:
        """Amount that a soft reset subtracts, without the adaptation."""
        return self.threshold if self.reset_by is None else self.reset_by


def as_array(p: Param) -> np.ndarray:
    """Return a parameter as float64."""
    if isinstance(p, Tensor):
        p = p.detach().cpu().double().numpy()
    return np.asarray(p, np.float64)


def convert_like(p: Param, x: Tensor) -> Tensor:
    """Return a parameter with the dtype and device of ``x``; a tensor keeps its gradient."""
    if isinstance(p, Tensor):
        return p.to(dtype=x.dtype, device=x.device)
    return torch.tensor(p, dtype=x.dtype, device=x.device)


def has_values(*parameters: Param) -> bool:
    """Say whether all parameters have values; tensors on torch's device "meta" have none."""
    return not any(isinstance(p, Tensor) and p.is_meta for p in parameters)


def to_number(what: str, p: Any, dtype: type[np.floating] = np.float64) -> float | np.ndarray:
    """Return a parameter as a float, or as a read-only array, rounded to the dtype.

    An array with a single value becomes a float too, so that equal parameters print alike.

    Raises:
        TypeError: the parameter does not hold real numbers; names ``what``.
    """
    numbers = as_numbers(what, p)
    if numbers.dtype == np.bool_:
        raise make_type_error(what, "numbers", p, "True and False are not")
    with np.errstate(over="ignore"):  # range checks refuse infinity
        copy = np.array(numbers, dtype)
    if copy.size == 1:
        return float(copy.item())
    copy.setflags(write=False)
    return copy


def freeze_parameters(
    model: object, *names: str, trained: tuple[str, ...] = (), dtype: type = np.float64
) -> None:
    """Replace a model's parameters, in its constructor, by values that cannot change.

    A tensor that requires a gradient and a tensor without values are kept.

    Args:
        model: a frozen dataclass.
        names: names of the parameters.
        trained: names of the parameters through which gradients pass.
        dtype: dtype of the values, see :func:`to_number`.

    Raises:
        TypeError: a parameter does not hold real numbers.
        ValueError: a parameter requires a gradient but is not in ``trained``.
    """
    for name in names:
        value, what = getattr(model, name), f"{type(model).__name__}.{name}"
        if not has_values(value):
            continue
        if isinstance(value, Tensor) and value.requires_grad:
            if name in trained:
                continue
            raise ValueError(
                f"{what} passes no gradient, got a tensor that requires one; give "
                "tensor.detach(), and train an ALIF, whose leak and threshold are"
            )
        object.__setattr__(model, name, to_number(what, value, dtype))


def require(ok: np.bool_ | np.ndarray, what: str, value: Param, cure: str) -> None:
    """Raise a ValueError that names parameter, value and cure, unless all ``ok`` are true."""
    if not np.all(ok):
        shown = value if np.ndim(value) == 0 else np.asarray(value)[~np.asarray(ok)].ravel()[0]
        raise ValueError(f"{what}, got {shown}; {cure}")


class MembraneState(NamedTuple):
    """Membrane v, current i, rise of the threshold a, and remaining refractory ticks.

    Measurements of a run use it; executors and their oracles have their own code.
    """

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
    """Return the state just before the threshold test. kept: v after its leak."""
    i = k.decay_syn * state.i + x
    v = np.where(state.free, kept + k.gain * i, state.v)
    return MembraneState(v, i, k.decay_adapt * state.a, state.wait)


def reset_membrane(
    k: Coefficients, state: MembraneState, fired: Bool[np.ndarray, "..."]
) -> MembraneState:
    """Return the state after the spikes of the tick."""
    after = k.reset_to if k.hard else state.v - (k.subtracted + state.a)
    v = np.where(fired, after, state.v)
    wait = np.where(fired, k.refractory, np.maximum(state.wait - 1, 0))
    return MembraneState(v, state.i, state.a + k.beta * fired, wait)

"""The interfaces between neuron models and executors.

A :class:`Neuron` is trained and replayed on torch's clock, tick by tick. A
:class:`LinearNeuron` also has a normal form, which event engine, chips and exports run. A
:class:`FusedNeuron` also runs in the fused operator. A :class:`SteppedNeuron` has no normal
form; the event engine calls its ``step``. An executor refuses a model that lacks a method it
needs.
GatedLI.
"""

from dataclasses import fields
from functools import cache
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar, runtime_checkable

from torch import Tensor

from neuro.base.units import Seconds
from neuro.neurons.normal_form import Coefficients, Dynamics, Tensors
from neuro.neurons.reset import ResetLike
from neuro.neurons.surrogate import Surrogate

Model = TypeVar("Model")


class Untrained:
    """The part of :class:`Neuron` that concerns training, for models that train nothing."""

    def free(self) -> dict[str, Tensor]:
        """Return the trainable parameters: none."""
        return {}

    def bind(self: Model, free: dict[str, Tensor]) -> Model:  # noqa: ARG002
        """Return this model."""
        return self


@runtime_checkable
class Neuron(Protocol):
    """A frozen dataclass; its numbers, arrays and tensors are parameters that broadcast to *N.

    fires: whether its outputs are spikes (0 or 1; any value for a SteppedNeuron); otherwise
        they are its membrane at every tick.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    fires: ClassVar[bool]

    def initial(self, x: Tensor) -> Any:
        """Return the state at rest for inputs like ``x`` (B *X): a NamedTuple of tensors.

        ``v`` is its membrane. A FusedNeuron may add ``i``, a current, and ``a``, an adaptation
        (B *N each), or None for either.
        """

    def step(self, x: Tensor, state: Any, dt: Seconds) -> tuple[Tensor, Any]:
        """Advance one tick of ``dt`` [s]: (outputs B *N, next state)."""

    def free(self) -> dict[str, Tensor]:
        """Return the trainable parameters, in the form in which they are trained."""

    def bind(self, free: dict[str, Tensor]) -> "Neuron":
        """Return this model with its trainable parameters replaced."""


@runtime_checkable
class SteppedNeuron(Neuron, Protocol):
    """A neuron without a normal form, which the event engine runs in every tick by ``step``.

    Its spikes may have any value. Its state is a NamedTuple of at most four tensors B *N (or
    None), all 0 at rest.
    """

    stepped: ClassVar[bool]


@runtime_checkable
class LinearNeuron(Neuron, Protocol):
    """A neuron that is linear between its spikes, and therefore has the normal form."""

    def coefficients(self, dt: Seconds) -> Coefficients:
        """Return the normal form at steps of ``dt`` [s].

        Raises:
            ValueError: the model has no normal form at this dt; names model and parameter.
        """

    def dynamics(self, dt: Seconds) -> Dynamics:
        """Return the continuous normal form whose samples are the steps of ``dt`` [s].

        Raises:
            ValueError: the model has no continuous form; names model and parameter.
        """


@runtime_checkable
class FusedNeuron(LinearNeuron, Protocol):
    """A firing neuron whose normal form keeps gradients, so that the fused operator runs it."""

    @property
    def reset(self) -> ResetLike:
        """The effect of a spike on the membrane."""

    @property
    def surrogate(self) -> Surrogate:
        """The derivative of the spike, as a function of v - threshold."""

    @property
    def refractory(self) -> Seconds:
        """How long a spike holds the membrane [s]."""

    def tensors(self, x: Tensor, dt: Seconds) -> Tensors:
        """Return the normal form in the precision of ``x``, with its gradients."""


def is_neuron(node: Any) -> TypeGuard[Neuron]:
    """Say whether an object is a neuron model."""
    kind = type(node)  # isinstance of a Protocol is slower
    return all(hasattr(kind, name) for name in ("fires", "initial", "step", "free", "bind"))


def has_normal_form(node: Any) -> TypeGuard[LinearNeuron]:
    """Say whether an object is a neuron model with a normal form.

    A class that overrides only ``step`` inherits the normal form of another neuron; it counts
    as having none.
    """
    return is_neuron(node) and _defines_with_step(type(node), "coefficients", "dynamics")


def is_stepped(node: Any) -> TypeGuard[SteppedNeuron]:
    """Say whether an object is a neuron model that fires and runs by its ``step`` alone."""
    kind = type(node)
    return getattr(kind, "stepped", False) and is_neuron(node) and not has_normal_form(node)


def is_leaky_integrator(node: Any) -> TypeGuard[LinearNeuron]:
    """Say whether an object is a neuron model like LI: a normal form without spikes."""
    return has_normal_form(node) and not node.fires


def has_tensors(node: Any) -> TypeGuard[FusedNeuron]:
    """Say whether an object is a neuron model whose normal form keeps gradients."""
    return has_normal_form(node) and _defines_with_step(type(node), "tensors")


def find_misfit(model: Neuron, shape: tuple[int, ...]) -> str:
    """Describe a parameter whose shape does not fit the population's; "" if all fit."""
    for name in (f.name for f in fields(model)):
        own = tuple(getattr(getattr(model, name), "shape", ()))
        pairs = zip(own[::-1], shape[::-1], strict=False)
        if len(own) > len(shape) or any(n not in (1, m) for n, m in pairs):
            return (
                f"{type(model).__name__}.{name} of shape {own} does not broadcast to "
                f"{shape}; use one number, or one per channel as (C, 1, 1)"
            )
    return ""


@cache
def _defines_with_step(model: type, *names: str) -> bool:
    """Say whether a class has all these attributes and none is inherited from behind ``step``.

    An attribute must be defined in the class that defines ``step``, or in a subclass of it.
    """
    order = model.__mro__
    definers = {
        name: next((k for k, cls in enumerate(order) if name in vars(cls)), len(order))
        for name in ("step", *names)
    }
    return all(definers[name] <= definers["step"] for name in names)

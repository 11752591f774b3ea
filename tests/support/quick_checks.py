"""Check types at a sixth of the time where no annotation names axes.

jaxtyping binds the arguments of every call, so that axes of one name have one size in it. A
function whose annotations name none needs beartype alone.
"""

import inspect
import typing
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ForwardRef, Literal

import jaxtyping

Checker = Callable[[Any], Any]
_jaxtyped = jaxtyping.jaxtyped


def install() -> None:
    """Have jaxtyping's import hook, from now on, leave to beartype what needs no axes."""
    jaxtyping.jaxtyped = jaxtyped  # type: ignore[assignment]


def jaxtyped(*, typechecker: Checker) -> Checker:
    """Return the decorator that the import hook puts on functions and classes."""

    def decorate(given: Any) -> Any:
        if inspect.isfunction(given) and not names_axes(given.__annotations__.values()):
            return _switch(given, typechecker(given))
        return _jaxtyped(given, typechecker=typechecker)

    return decorate


def names_axes(annotations: Iterable[Any]) -> bool:
    """Say whether annotations hold a type of jaxtyping, or a string, which may name one."""
    for one in annotations:
        if isinstance(one, str | ForwardRef) or type(one).__module__.startswith("jaxtyping"):
            return True
        if isinstance(one, list):  # the arguments of a Callable
            parts = one
        else:
            parts = () if typing.get_origin(one) is Literal else typing.get_args(one)
        if names_axes(parts):
            return True
    return False


def _switch(plain: Any, checked: Any) -> Any:
    """Return the checked function, which is the plain one while checks are disabled."""
    if checked is plain:
        return plain

    @wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (plain if jaxtyping.config.jaxtyping_disable else checked)(*args, **kwargs)

    return call

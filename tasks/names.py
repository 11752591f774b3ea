"""Names that a user types, and the nearest to one that does not exist."""

from collections.abc import Sequence
from difflib import get_close_matches


class UnknownName(ValueError):
    """A verb, task or configuration that does not exist; suggests the nearest."""


def require_one_of(name: str, names: Sequence[str], what: str) -> str:
    """Return ``name`` if it is one of ``names``.

    Raises:
        UnknownName: it is not.
    """
    if name in names:
        return name
    near = get_close_matches(name, names, 1) or get_close_matches(name.lower(), names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise UnknownName(f"no {what} {name!r}; {hint}")

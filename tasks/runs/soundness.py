"""What does not hold together in a configuration, told at once."""

from collections.abc import Mapping, Sequence
from typing import Any

LIST = "the configuration does not hold together:"


def refuse_problems(problems: Sequence[str]) -> None:
    """Raise a ValueError that lists all problems, each with its cure, if there are any."""
    if problems:
        raise ValueError("\n".join([LIST, *problems]))


def list_low_fields(config: Any, least: Mapping[str, int]) -> list[str]:
    """Return a problem for each field of a configuration that is below its least number."""
    return [
        f"{name} is {getattr(config, name)}; give a whole number >= {low}"
        for name, low in least.items()
        if getattr(config, name) < low
    ]

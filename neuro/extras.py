"""Optional packages: an error that names the extra of pyproject.toml which brings them.

neuro is installed from a clone (``drivers`` and ``tasks`` are generic names for an index of
packages), and so are its extras.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Extra = Literal["lava", "driving", "language", "cluster", "peers"]


def name_install_command(extra: Extra) -> str:
    """Return what to type in a clone of neuro to install the packages of an extra.

    >>> name_install_command("peers")
    "pip install -e '.[peers]'"
    """
    return f"pip install -e '.[{extra}]'"


def describe_cure(extra: Extra) -> str:
    """Return how to get the packages of an extra, for the end of a message.

    >>> describe_cure("driving")
    "pip install -e '.[driving]' in a clone of neuro brings it"
    """
    return f"{name_install_command(extra)} in a clone of neuro brings it"


@contextmanager
def require_extra(extra: Extra, need: str) -> Iterator[None]:
    """Run a block that imports packages of an extra.

    need: what needs which package, as the message begins: "nuScenes needs its devkit".

    Raises:
        RuntimeError: one is not installed; says which, and the cure.
    """
    try:
        yield
    except ImportError as error:
        raise RuntimeError(f"{need} ({error}); {describe_cure(extra)}") from error

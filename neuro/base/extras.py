"""Optional packages: the error names the extra of pyproject.toml that installs them.

neuro and its extras are installed from a clone: ``drivers`` and ``tasks`` are too generic as
names for a package index.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

Extra = Literal[
    "driving", "eeg", "language", "cluster", "peers", "interop", "connectome", "events"
]
# Packages that declare less than they run with, and are installed without what they declare.
ALONE: Mapping[Extra, str] = {"driving": "nuscenes-devkit==1.2.0"}


def name_install_command(extra: Extra) -> str:
    """Return the command that installs an extra; it runs in a clone of neuro.

    >>> name_install_command("peers")
    "pip install -e '.[peers]'"
    """
    alone = f" && pip install --no-deps {ALONE[extra]}" if extra in ALONE else ""
    return f"pip install -e '.[{extra}]'{alone}"


def describe_cure(extra: Extra) -> str:
    """Return the end of a message: how to install the packages of an extra.

    >>> describe_cure("language")
    "pip install -e '.[language]' in a clone of neuro brings it"
    """
    return f"{name_install_command(extra)} in a clone of neuro brings it"


@contextmanager
def require_extra(extra: Extra, need: str) -> Iterator[None]:
    """Run a block that imports packages of an extra.

    Args:
        extra: the extra that installs the packages.
        need: start of the message, such as "nuScenes needs its devkit".

    Raises:
        RuntimeError: a package is not installed; the message names it and the cure.
    """
    try:
        yield
    except ImportError as error:
        raise RuntimeError(f"{need} ({error}); {describe_cure(extra)}") from error

"""Find data sets, and read their text files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def find_neuro_data(environ: Mapping[str, str] | None = None) -> str:
    """Return ``$NEURO_DATA``, or "" if unset. environ: None means the process environment."""
    return (os.environ if environ is None else environ).get("NEURO_DATA", "")


def in_neuro_data(
    names: Sequence[str], environ: Mapping[str, str] | None = None
) -> Path | None:
    """Return the first of the folders ``names`` that is in ``$NEURO_DATA``, or None.

    environ: None means the process environment.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is set, but not a folder.
    """
    root = find_neuro_data(environ)
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileNotFoundError(
            f"NEURO_DATA={root} is not a folder; create it with {names[0]}/ inside, "
            "or unset NEURO_DATA"
        )
    return next((p for name in names if (p := Path(root) / name).is_dir()), None)


def require_in_neuro_data(names: Sequence[str], what: str, cure: str) -> Path:
    """Return the first of the folders ``names`` that is in ``$NEURO_DATA``.

    what: name of the data, and cure: how to get them, both for the message.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is not set, is no folder, or has none of the names.
    """
    folder = in_neuro_data(names)
    if folder is None:
        root = find_neuro_data()
        where = f"{root} has no {' or '.join(f'{n}/' for n in names)}" if root else "is not set"
        raise FileNotFoundError(
            f"{what} must be in $NEURO_DATA/{names[0]}/, and NEURO_DATA {where}; {cure}"
        )
    return folder


def found_in(folder: Path) -> str:
    """Return the first eight names in ``folder``, or "nothing", for messages."""
    there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(there[:8]) or "nothing"


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether a link leads a path below ``folder`` to a place outside it."""
    return not path.resolve().is_relative_to(folder.resolve())


def read_text(path: Path, cure: str) -> str:
    """Return the text of a file.

    Raises:
        ValueError: the file is not UTF-8; the message names the offset.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: no text: {error.reason} at offset {error.start}; {cure}"
        ) from error

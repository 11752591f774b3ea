"""Find data sets, and list the files of their classes."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuro.base.text import shorten_list

Entry = tuple[Path, int]  # a file and its label


def find_neuro_data(environ: Mapping[str, str] | None = None) -> str:
    """Return ``$NEURO_DATA``, "" if it is not set. environ: None is that of the process."""
    return (os.environ if environ is None else environ).get("NEURO_DATA", "")


def in_neuro_data(
    names: Sequence[str], environ: Mapping[str, str] | None = None
) -> Path | None:
    """Return the first folder of these ``names`` in ``$NEURO_DATA``, or None.

    environ: None is that of the process.

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
    """Return the first folder of these ``names`` in ``$NEURO_DATA``.

    what: what it holds, and cure: how to get it, for the message.

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
    """List the first names in ``folder``, for messages."""
    there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(there[:8]) or "nothing"


def leads_out(path: Path, folder: Path) -> bool:
    """Say whether a file below a folder lies outside it, because of a link on the way."""
    return not path.resolve().is_relative_to(folder.resolve())


def by_class(root: Path, classes: Sequence[str], suffix: str, cure: str) -> list[Entry]:
    """Return the files ending in ``suffix`` from one folder per class: by class, then by name.

    The label of a file is the index of its folder's name in ``classes``. Hidden folders do not
    count.

    Raises:
        FileNotFoundError: ``root`` is not a folder.
        ValueError: a class has no folder or no file, or a folder has no class.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is no folder; found {found_in(root.parent)} beside; {cure}"
        )
    folders = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")}
    files = {name: sorted((root / name).glob(f"*{suffix}")) for name in classes}
    wrong = {
        "folders of no class": sorted(folders - set(classes)),
        "missing classes": [name for name in classes if name not in folders],
        f"classes without a {suffix} file": [
            name for name in classes if name in folders and not files[name]
        ],
    }
    problems = [
        f"{what}: {', '.join(shorten_list(own, 12))}" for what, own in wrong.items() if own
    ]
    if problems:
        raise ValueError(
            f"{root}: {'; '.join(problems)}; expected one folder for each of the "
            f"{len(classes)} classes {', '.join(classes)}; {cure}"
        )
    return [(path, label) for label, name in enumerate(classes) for path in files[name]]


def read_text(path: Path, cure: str) -> str:
    """Return the text of a file.

    Raises:
        ValueError: it is not text; the message names the offset.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: no text: {error.reason} at offset {error.start}; {cure}"
        ) from error

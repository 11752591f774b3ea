"""Folders of data: where a data set is, and which files of which class it holds."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

Entry = tuple[Path, int]  # a file and its label


def find_neuro_data(environ: Mapping[str, str] | None = None) -> str:
    """Return ``$NEURO_DATA``, "" where it is not set. environ: None is the process's own."""
    return (os.environ if environ is None else environ).get("NEURO_DATA", "")


def in_neuro_data(
    names: Sequence[str], environ: Mapping[str, str] | None = None
) -> Path | None:
    """Return the first folder of these ``names`` in ``$NEURO_DATA``, None where there is none.

    environ: None is the process's own.

    Raises:
        FileNotFoundError: ``$NEURO_DATA`` is set and no folder.
    """
    root = find_neuro_data(environ)
    if not root:
        return None
    if not Path(root).is_dir():
        raise FileNotFoundError(
            f"NEURO_DATA={root} is not a folder; make it one that holds {names[0]}/, "
            "or unset NEURO_DATA"
        )
    return next((p for name in names if (p := Path(root) / name).is_dir()), None)


def found_in(folder: Path) -> str:
    """Return the first names in ``folder`` in words, for messages."""
    there = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(there[:8]) or "nothing"


def by_class(root: Path, classes: Sequence[str], suffix: str, cure: str) -> list[Entry]:
    """Return the files ending in ``suffix`` of one folder a class: by class, then by name.

    The label of a file is the place of its folder's name in ``classes``. Hidden folders do not
    count.

    Raises:
        FileNotFoundError: ``root`` is no folder.
        ValueError: a class has no folder or no file, or a folder is of no class.
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
    problems = [f"{what}: {', '.join(names[:12])}" for what, names in wrong.items() if names]
    if problems:
        raise ValueError(
            f"{root}: {'; '.join(problems)}; expected one folder for each of the "
            f"{len(classes)} classes {', '.join(classes)}; {cure}"
        )
    return [(path, label) for label, name in enumerate(classes) for path in files[name]]


def read_text(path: Path, cure: str) -> str:
    """Return the text of a file.

    Raises:
        ValueError: it is no text; says at which byte.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: no text: {error.reason} at offset {error.start}; {cure}"
        ) from error

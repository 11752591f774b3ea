"""What is read of a data set, within bounds: names of files, their bytes, JSON, numbers."""

import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any

# [bytes], of a file; the largest table of v1.0-trainval, sample_data, has about 1.5 GB.
LARGEST_TABLE, LARGEST_FILE = 4 << 30, 256 << 20
LARGEST = 1e18  # magnitude of any number: times [us] stay in 64 bits, squares of lengths finite


def describe_escape(name: str) -> str:
    """Return why a ``name``, from the root of a data set, names no file of it; "" if it may.

    It must stay below the root: no absolute path, no "..". Links are followed: parts of a data
    set may lie on another disk.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return "leads out of the folder of the data set"
    return "" if is_text(name) and "\0" not in name else "is no name of a file"


def read_bytes(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return what is in a file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no regular file, has more than ``largest`` bytes, or cannot be read;
            says which, as what follows its name in a sentence.
    """
    require_file(path, largest)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def require_file(path: Path, largest: int = LARGEST_FILE) -> None:
    """Raise as :func:`read_bytes`, without reading: pipes and devices may never end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is no regular file")
    if status.st_size > largest:
        raise ValueError(f"has {status.st_size:,} bytes, more than {largest:,}")


def read_json(path: Path, largest: int = LARGEST_FILE) -> Any:
    """Return the value in a file of JSON.

    Raises:
        FileNotFoundError: there is none.
        ValueError: as :func:`read_bytes`, or it is no JSON.
    """
    data = read_bytes(path, largest)
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("is no JSON: nested too deeply") from None


def is_number(value: object) -> bool:
    """Say whether a value of JSON is a finite number, of 1e18 at most."""
    # bool is an int to Python, and not to nuScenes
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -LARGEST <= value <= LARGEST  # type: ignore[operator]


def are_numbers(value: object, n: int) -> bool:
    """Say whether a value of JSON is a list of ``n`` such numbers."""
    return isinstance(value, list) and len(value) == n and all(map(is_number, value))


def is_text(value: str) -> bool:
    """Say whether a string is text: JSON may hold half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

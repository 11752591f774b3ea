"""Read files of a data set with limits: names, bytes, JSON, numbers."""

import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

# [bytes] per file. The largest table of v1.0-trainval, sample_data, has about 1.5 GB.
LARGEST_TABLE, LARGEST_FILE = 4 << 30, 256 << 20
LONGEST_PATH, LONGEST_NAME = 2048, 255  # [bytes]; Linux' other half is left for the root
LARGEST = 1e18  # largest number, so that times [us] fit in 64 bits and squares stay finite


def describe_escape(name: str) -> str:
    """Explain why ``name`` cannot be a file's path below the root; returns "" if it can.

    Absolute paths and ".." are refused, because files must lie below the root of the data set.
    Links are allowed, because parts of a data set may be on another disk.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return "leads out of the folder of the data set"
    sound = is_text(name) and "\0" not in name and len(name.encode()) <= LONGEST_PATH
    sound = sound and all(len(part.encode()) <= LONGEST_NAME for part in path.parts)
    return "" if sound else "is no name of a file"


def read_bytes(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes of a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a regular file, has more than ``largest`` bytes, or is
            unreadable. The message continues a sentence that starts with the file's name.
    """
    require_file(path, largest)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def require_file(path: Path, largest: int = LARGEST_FILE) -> None:
    """Raise the errors of :func:`read_bytes` without reading: pipes may never end."""
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
        FileNotFoundError: there is no such file.
        ValueError: as in :func:`read_bytes`, or the content is not JSON.
    """
    data = read_bytes(path, largest)
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("is no JSON: nested too deeply") from None


def is_number(value: object) -> bool:
    """Return whether a JSON value is a finite number with a magnitude of at most 1e18."""
    # bool is an int in Python, but not in nuScenes
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -LARGEST <= value <= LARGEST  # type: ignore[operator]


def are_numbers(value: object, n: int) -> bool:
    """Return whether a JSON value is a list of ``n`` numbers as :func:`is_number` accepts."""
    return isinstance(value, list) and len(value) == n and all(map(is_number, value))


def are_strings(value: object) -> TypeGuard[list[str]]:
    """Return whether a JSON value is a list of strings."""
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def is_text(value: str) -> bool:
    """Return whether a string is valid text; JSON may contain half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

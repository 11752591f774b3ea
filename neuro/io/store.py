"""Files without pickle: arrays and tensors as safetensors, the rest as JSON in the metadata.

A file is written under a temporary name and renamed, so that a killed process leaves either the
old file or the complete new one. A file holds exactly the fields of its kind and version: a new
field raises the version of its kind. A temporary file is named after the process that makes it;
later processes on this machine remove the files that a killed process left.
"""

import json
import math
import os
import platform
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from neuro.io.schema import make_object

VERSIONS = {  # by kind of file
    **{"graph": 3, "record": 4, "program": 5, "graded_program": 3, "xylo_program": 1},
    **{"chunk": 5, "state": 4},
    **{"weights": 2, "checkpoint": 2, "packed": 1},
    "cached_window": 1,
}
NUMBERS = "biuf"  # kinds of dtype that a file may hold
PROGRAMS = ("program", "graded_program", "xylo_program")  # kinds of chip programs
READERS = {  # by kind of file
    "graph": "neuro.io.graph_file.load_graph",
    "record": "neuro.io.record_file.load_record",
    **dict.fromkeys(PROGRAMS, "lava_export.load_program"),
    "chunk": "neuro.events.to_disk.open_stream",
    "state": "neuro.events.to_disk.read_state",
    "weights": "neuro.training.load_weights",
    "checkpoint": "neuro.training.checkpoint.load_checkpoint",
    "packed": "neuro generate",
    "cached_window": "drivers.nuscenes.cache",
}
WRITERS = {  # of kinds that users write; other files are parts of a run or a stream
    "graph": "neuro.io.graph_file.save_graph",
    "record": "neuro.io.record_file.save_record",
    **dict.fromkeys(PROGRAMS, "lava_export.save_program"),
    "packed": "neuro pack",
}
ZIP = "file of NumPy's or of an earlier version"  # these wrote npz
# Errors of safetensors and JSON, and of a header with another structure.
DAMAGE = (SafetensorError, ValueError, KeyError, TypeError, OSError)
SPECIAL = {  # what a path may be instead of a regular file
    **{stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"},
    **{stat.S_IFCHR: "device", stat.S_IFBLK: "device"},
}
NARROW = (np.uint8, np.int16, np.int32)  # dtypes in which whole numbers are written if they fit
Arrays = dict[str, np.ndarray]
T = TypeVar("T")


class StoreError(ValueError):
    """A file cannot be read as its kind, or cannot be written; the message says the cure."""


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically: temporary name, then rename.

    Raises:
        StoreError: the file cannot be written; an existing file stays unchanged.
    """
    with _write_temporary(Path(path), data) as temporary:
        temporary.replace(path)


def write_new_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically, unless a file exists there, which stays unchanged.

    If several processes do so at once, one of them writes.

    Raises:
        StoreError: the file cannot be written.
    """
    with _write_temporary(Path(path), data) as temporary, suppress(FileExistsError):
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links, such as exFAT
            with Path(path).open("xb") as file:
                file.write(data)


@contextmanager
def _write_temporary(path: Path, data: bytes) -> Iterator[Path]:
    """Write ``data`` to a temporary file beside ``path``, yield its path, and remove it."""
    temporary = path.with_name(name_own(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_once(path.parent.resolve())
        temporary.write_bytes(data)
        yield temporary
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@cache
def _remove_stale_once(folder: Path) -> None:
    """Remove the files that killed processes left in a folder, at the first call only."""
    remove_stale(folder)


def require_writable(folder: str | Path) -> None:
    """Create a folder if necessary; raise a StoreError unless files can be written there."""
    folder = Path(folder)
    probe = folder / name_own("probe")
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file, and not a folder; name another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)  # threads use the same name
    except OSError as error:
        raise _unwritable(folder, error) from error


def require_utf_8(path: str | Path) -> None:
    """Raise a StoreError unless the bytes of a path are UTF-8, which safetensors requires."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError as error:
        raise StoreError(
            f"{path}: its name is not UTF-8, and safetensors can neither write nor read it; "
            "choose another name"
        ) from error


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot be written ({error.strerror or error}); make room or give yourself "
        "the right to write there, or choose another folder"
    )


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinity raise a ValueError."""
    write_bytes(path, to_json_bytes(value))


def to_json_bytes(value: object) -> bytes:
    """Return ``value`` as indented JSON; NaN and infinity raise a ValueError."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raise a StoreError that names the file if it is damaged.

    NaN, infinity and a repeated key of an object count as damage.
    """
    return parse_json(path, read_text(Path(path)))


def parse_json(path: str | Path, text: str, line: int = 0) -> Any:
    """Parse a JSON text.

    path: path of its file, for messages.
    line: line number of the text in the file; 0: the text is the whole file.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=make_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_finite,
        )
    except (ValueError, RecursionError) as error:
        reason = str(error)
        if line and isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg}: column {error.colno}"
        where = f"line {line}: " if line else ""
        raise StoreError(f"{path}: {where}cannot be read as JSON ({reason})") from error


def read_text(path: Path) -> str:
    """Return the text of a file, or raise a StoreError that names it."""
    try:
        return read_bytes(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read as JSON ({error})") from error


def read_bytes(path: str | Path, largest: int | None = None) -> bytes:
    """Return the bytes of a regular file; reading a pipe or a device might never end.

    Args:
        path: path of the file, or of a link to it.
        largest: most bytes that the file may have; None: any number.

    Raises:
        OSError: the file is missing or cannot be read.
        StoreError: it is not a regular file, or is larger.
    """
    path = Path(path)
    _require_regular(path)
    if largest is not None and (size := path.stat().st_size) > largest:
        raise StoreError(
            f"{path}: has {size:,} bytes; it must have <= {largest:,}. Run the verb that made "
            "it again"
        )
    return path.read_bytes()


def _require_regular(path: Path) -> None:
    """Raise a StoreError if a path is anything but a regular file or missing."""
    try:
        special = SPECIAL.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):  # missing, or not a path: reading it says so
        return
    if special:
        raise StoreError(
            f"{path}: is a {special}; it must be a regular file. Name another file, or restore "
            "this one from a copy"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _parse_finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text:.60} is too large")
    return number


def save_arrays(
    path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], meta: Any
) -> None:
    """Write named arrays, and ``meta`` as JSON, in the way :func:`save_tensors` does.

    Whole numbers are stored in the fewest bytes that hold them; the header keeps the dtypes.

    Raises:
        StoreError: an array holds complex numbers, text or objects, or the file cannot be
            written.
    """
    whole = {name: np.asarray(array) for name, array in arrays.items()}
    odd = [f"{name} ({a.dtype})" for name, a in whole.items() if a.dtype.kind not in NUMBERS]
    if odd:
        raise StoreError(f"{path}: {', '.join(odd)}: only numbers and truth values are written")
    native = {name: a.astype(a.dtype.newbyteorder("="), "C") for name, a in whole.items()}
    tensors = {name: torch.from_numpy(_narrow(a)) for name, a in native.items()}
    dtypes = {name: str(a.dtype) for name, a in native.items()}
    save_tensors(path, kind, tensors, {"dtypes": dtypes, "meta": meta})


def _narrow(array: np.ndarray) -> np.ndarray:
    """Return an array in the first smaller dtype of :data:`NARROW` that loses nothing."""
    for dtype in NARROW:
        if np.dtype(dtype).itemsize < array.itemsize:
            with np.errstate(invalid="ignore"):
                narrow = array.astype(dtype)
            if narrow.astype(array.dtype).tobytes() == array.tobytes():
                return narrow
    return array


def load_arrays(path: str | Path, kind: str) -> tuple[Arrays, Any]:
    """Read what :func:`save_arrays` wrote: (arrays, meta).

    Raises:
        StoreError: as :func:`load_tensors`.
    """
    tensors, header = load_tensors(path, kind)
    with _reading(Path(path), kind):
        dtypes = {name: np.dtype(header["dtypes"][name]) for name in tensors}
        odd = [f"{k} ({d})" for k, d in dtypes.items() if d.kind not in NUMBERS]
        if odd:
            raise ValueError(f"arrays that hold no numbers: {', '.join(odd)}")
        # A copy: the tensors are views of the file, which another process may change.
        arrays = {
            k: np.array(tensor.numpy()).astype(dtypes[k], copy=False)
            for k, tensor in tensors.items()
        }
        return arrays, header["meta"]


def load_value(
    path: str | Path,
    kind: str,
    decode: Callable[[Arrays, Any], T],
    encode: Callable[[T], tuple[Mapping[str, np.ndarray], Any]],
) -> T:
    """Read a value that :func:`save_arrays` wrote; the file must hold nothing else.

    Args:
        path: the file.
        kind: as in :func:`save_arrays`.
        decode: (arrays, meta) -> value; raises a ValueError for wrong contents, a KeyError for
            a missing array.
        encode: value -> (arrays, meta), as a file holds them.

    Raises:
        StoreError: as :func:`load_arrays`; or a field is missing, unknown, or differs in form,
            for example in its dtype.
    """
    arrays, meta = load_arrays(path, kind)
    try:
        value = decode(arrays, meta)
        again, plain = encode(value)
    except (KeyError, ValueError) as error:
        lacks = "it lacks " if isinstance(error, KeyError) else ""
        raise StoreError(f"{path}: no whole {kind}: {lacks}{error}") from error
    problems = _compare(arrays, again, meta, json.loads(json.dumps(plain)))
    if problems:
        raise StoreError(f"{path}: is not as a {kind} is written: {'; '.join(problems)}")
    return value


def _compare(
    arrays: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], meta: Any, plain: Any
) -> list[str]:
    """List how a file differs from a new file with the same value."""
    problems = [f"{name} has no meaning" for name in arrays if name not in again]
    problems += [f"{name} is missing" for name in again if name not in arrays]
    for name in arrays.keys() & again.keys():
        a, b = arrays[name], np.asarray(again[name])
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            problems.append(f"{name} is {a.dtype} {a.shape}, and not {b.dtype} {b.shape}")
        elif a.tobytes() != b.tobytes():
            problems.append(f"{name} has other values")
    return problems or ([] if meta == plain else ["its header"])


def save_tensors(path: str | Path, kind: str, tensors: Mapping[str, Tensor], meta: Any) -> None:
    """Write named tensors, and ``meta`` as JSON, to a safetensors file.

    Any reader of safetensors can open it; its metadata holds ``meta`` and a checksum.

    Raises:
        StoreError: the file cannot be written.
    """
    require_utf_8(path)
    whole: dict[str, Tensor] = {}
    storages = set()
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()  # tied weights: the format needs copies
        whole[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    header = {"kind": kind, "version": VERSIONS[kind], "meta": meta}
    header["checksum"] = _checksum(whole, header)
    # One key, since the order of several is random: equal tensors make equal files.
    write_bytes(path, save(whole, {"neuro": json.dumps(header)}))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`save_tensors` wrote: (tensors on the CPU, meta).

    Raises:
        StoreError: the file is missing, truncated, damaged, or has another kind or version.
    """
    path = Path(path)
    require_utf_8(path)
    with _reading(path, kind), safe_open(path, "pt") as file:
        header = _read_header(path, kind, file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = header.pop("checksum")
        if checksum != _checksum(tensors, header):
            raise ValueError("its checksum is another")
    return tensors, header["meta"]


def load_meta(path: str | Path, kind: str) -> Any:
    """Return the ``meta`` that :func:`save_tensors` wrote, without reading tensors or checksum.

    Raises:
        StoreError: the file is missing, truncated, or has another kind or version.
    """
    path = Path(path)
    require_utf_8(path)
    with _reading(path, kind), safe_open(path, "pt") as file:
        return _read_header(path, kind, file.metadata())["meta"]


def _read_header(path: Path, kind: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the header of a file: kind, version, meta and checksum."""
    text = (metadata or {})["neuro"]
    header: dict[str, Any] = json.loads(text, object_pairs_hook=make_object)
    found, version = header["kind"], header["version"]
    if READERS.get(found) != READERS[kind]:
        raise StoreError(_say_other_kind(path, kind, found))
    if version != VERSIONS[found]:
        raise StoreError(
            f"{path}: written in format {version}, this is format {VERSIONS[found]}; "
            "delete it and run the verb that made it again"
        )
    return header


def _checksum(tensors: Mapping[str, Tensor], header: Any) -> int:
    """Return the CRC-32 of a file's tensors and header: safetensors itself stores none."""
    total = zlib.crc32(json.dumps(header).encode())
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode(), total)
        if tensor.numel():  # an empty NumPy array has a stride of 0, which view refuses
            total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return total


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Raise a StoreError if the file is missing or is not a file of this kind."""
    _require_regular(path)
    if not path.is_file():
        writer = WRITERS.get(kind)
        cure = f"{writer} writes one" if writer else "this run has not got that far"
        raise StoreError(f"{path}: no such file; {cure}")
    try:
        yield
    except StoreError:
        raise
    except DAMAGE as error:
        other = recognize(path)
        if other and READERS.get(other) != READERS[kind]:
            raise StoreError(_say_other_kind(path, kind, other)) from error
        raise StoreError(
            f"{path}: damaged or cut short ({path.stat().st_size} bytes: {error}); "
            "restore it from a copy, or delete it and run the verb that made it again"
        ) from error


def recognize(path: Path) -> str | None:
    """Return a file's kind if it is ours, or the name of another format; None if unknown."""
    if zipfile.is_zipfile(path):
        return ZIP
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get("neuro")
            return str(json.loads(header)["kind"]) if header else "file of safetensors"
    except DAMAGE:
        return None


def _say_other_kind(path: Path, kind: str, other: str) -> str:
    reader = READERS.get(other)
    again = "take another file, or delete it and run the verb that made it again"
    cure = f"read it with {reader}" if reader else again
    return f"{path}: holds a {other}, expected a {kind}; {cure}"


PATTERN = re.compile(r".*\.(?P<host>[^.]*)-(?P<pid>\d+)\.tmp[^.]*")


def is_free(path: Path) -> bool:
    """Return whether a path is free for a new folder: nothing or an empty folder is there."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


@contextmanager
def rename_when_whole(path: Path) -> Iterator[Path]:
    """Yield a folder beside a path; rename it to the path at the end if the path is still free.

    After an error or a kill, nothing is left at the path.

    Raises:
        StoreError: the parent folder cannot be written.
    """
    require_writable(path.parent)
    remove_stale(path.parent, path.name)
    part = path.with_name(name_own(path.name))
    try:
        yield part
        if is_free(path):
            shutil.rmtree(path, ignore_errors=True)
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def name_own(name: str) -> str:
    """Return a temporary name of this process; a suffix without a dot may follow it."""
    host = platform.node().replace(".", "-")
    return f".{name}.{host}-{os.getpid()}.tmp"


def remove_stale(folder: Path, name: str = "") -> None:
    """Remove the temporary files and folders that dead processes left in ``folder``.

    name: only those for this file name; "": all. Files of living processes and of other
        machines, which may share the folder, stay; so do files that this user may not remove.
    """
    own = PATTERN.fullmatch(name_own(""))
    with suppress(OSError):  # the folder cannot be read
        for path in folder.glob(f".{name}*.tmp*"):
            match = PATTERN.fullmatch(path.name)
            if match and own and match["host"] == own["host"] and _is_dead(int(match["pid"])):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                    continue
                with suppress(OSError):
                    path.unlink()


def _is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it lives, and belongs to another user
        return False
    return False

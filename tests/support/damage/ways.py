"""How to damage a file at random: its bytes, or the values in it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save

from neuro.io.store import load_tensors, save_tensors

Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A file and its reader.

    make: writes the file, whole, into a folder and returns its path. damage: changes it, and
    says whether a checksum must tell. read: path -> what it holds, as text or bytes. slow: one
    in so many cases is tried. names_file: whether a refusal must.
    """

    make: Callable[[Path], Path]
    damage: Callable[[Path, Rng], bool]
    read: Callable[[Path], Any]
    slow: int = 1
    names_file: bool = True


def damage_bytes(path: Path, rng: Rng) -> None:
    """Flip bits, cut off, insert, remove, repeat or overwrite bytes, once or twice."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 3)):
        size = len(data)
        at, n = (int(k) for k in rng.integers(0, [size + 1, 1 + min(64, size)]))
        noise = rng.integers(0, 256, n, np.uint8).tobytes()
        match rng.integers(7):
            case 0 | 1:
                for k in rng.integers(0, max(size, 1), 1 + int(n) % 4) if size else ():
                    data[k] ^= 1 << int(rng.integers(8))
            case 2:
                del data[at:]
            case 3:
                data[at:at] = noise
            case 4:
                del data[at : at + n]
            case 5:
                data[at:at] = data[at : at + n]
            case _:
                data[at : at + n] = noise[: len(data[at : at + n])]
    path.write_bytes(bytes(data))


def by_bytes(path: Path, rng: Rng, *, checked: bool = False) -> bool:
    damage_bytes(path, rng)
    return checked


def of_bytes(checked: bool = False) -> Callable[[Path, Rng], bool]:
    return partial(by_bytes, checked=checked)


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**70, 0.5, -2.5, 1e300, "", "x", "[/b]", [], {}),
    *([1], [[]], {"a": 1}, ["x", 2, 0.5], "nan"),
)


def list_places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) inside a value of JSON."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(pairs):
        yield value, key
        if isinstance(part, dict | list):
            yield from list_places(part)


def damage_json(value: Any, rng: Rng) -> Any:
    """Return JSON with a part replaced, removed, renamed, added or exchanged with another."""
    places = list(list_places(value)) if isinstance(value, dict | list) else []
    if not places or rng.random() < 0.03:
        return VALUES[rng.integers(len(VALUES))]
    holder, key = places[rng.integers(len(places))]
    other, second = places[rng.integers(len(places))]
    new = VALUES[rng.integers(len(VALUES))]
    match rng.integers(6):
        case 0 | 1:
            holder[key] = new
        case 2:
            del holder[key]
        case 3 if isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        case 4 if isinstance(holder, list):
            holder.insert(key, new)
        case 4:
            holder["added"] = new
        case _:
            one = json.loads(json.dumps(holder[key]))
            holder[key] = json.loads(json.dumps(other[second]))
            if second in other if isinstance(other, dict) else second < len(other):
                other[second] = one
    return value


def damage_array(array: np.ndarray, rng: Rng) -> np.ndarray:
    """Return an array of another dtype, shape, length, or with another value."""
    match rng.integers(6):
        case 0:
            kinds = ("i8", "f4", "f8", "i2", "u1", "?", "f2", ">f4")
            with np.errstate(all="ignore"):
                return array.astype(kinds[rng.integers(len(kinds))])
        case 1:
            return array.reshape(-1)
        case 2:
            return array[None]
        case 3:
            return array.reshape(-1)[: rng.integers(array.size + 1)]
        case 4:
            return array.T.copy()
        case _:
            out = array.copy().reshape(-1)
            odd: tuple[float, ...] = (np.nan, np.inf, -1, 10**6)
            if array.dtype.kind == "i":
                odd = tuple(min(x, np.iinfo(array.dtype).max) for x in (-1, 10**6, 2**30))
            if out.size and out.dtype.kind in "fi":
                out[rng.integers(out.size)] = odd[rng.integers(len(odd))]
            return out.reshape(array.shape)


def damage_arrays(arrays: dict[str, np.ndarray], rng: Rng) -> None:
    """Change, remove, add, rename or exchange arrays."""
    names = list(arrays)
    if not names:
        return
    one, other = (names[k] for k in rng.integers(0, len(names), 2))
    match rng.integers(6):
        case 0:
            del arrays[one]
        case 1:
            arrays[f"{one}x"] = arrays.pop(one)
        case 2:
            arrays["more"] = arrays[one]
        case 3:
            arrays[one], arrays[other] = arrays[other], arrays[one]
        case _:
            arrays[one] = damage_array(arrays[one], rng)


def of_tensors(path: Path, rng: Rng, *, kind: str) -> bool:
    """Damage the bytes of a file, or its content with the old checksum or a right one."""
    way = rng.integers(3)
    if way == 0:
        damage_bytes(path, rng)
        return True
    tensors, meta = load_tensors(path, kind)
    arrays = {name: tensor.numpy().copy() for name, tensor in tensors.items()}
    with safe_open(path, "np") as file:
        header = json.loads(file.metadata()["neuro"])
    if rng.random() < 0.5:
        damage_arrays(arrays, rng)
    elif way == 1:
        header = damage_json(header, rng)
    else:
        meta = damage_json(meta, rng)
    if way == 1:
        path.write_bytes(save(arrays, {"neuro": json.dumps(header)}))
        return True
    native = {k: a.astype(a.dtype.newbyteorder("="), "C") for k, a in arrays.items()}
    save_tensors(path, kind, {k: torch.from_numpy(a) for k, a in native.items()}, meta)
    return False


def of_json(path: Path, rng: Rng) -> bool:
    """Damage the bytes or the values of a JSON file, or of one with a value a line."""
    if rng.random() < 0.3:
        damage_bytes(path, rng)
    elif path.suffix == ".jsonl":
        rows = damage_json([json.loads(line) for line in path.read_text().splitlines()], rng)
        lines = rows if isinstance(rows, list) else [rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    else:
        path.write_text(json.dumps(damage_json(json.loads(path.read_text()), rng)))
    return False


def of_lines(path: Path, rng: Rng) -> bool:
    """Damage the bytes, the lines or the words of a text."""
    if rng.random() < 0.4:
        damage_bytes(path, rng)
        return False
    lines = path.read_text().splitlines()
    at = int(rng.integers(len(lines)))
    words = ("-1", "nan", "1e999", "inf", "true", "[]", "{}", '"x"', "0", "2024-01-01")
    word = words[rng.integers(len(words))]
    match rng.integers(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[rng.integers(len(lines))])
        case 2:
            head, sign, _ = lines[at].partition("=")
            lines[at] = f"{head}{sign} {word}"
        case _:
            parts = lines[at].split(",")
            parts[rng.integers(len(parts))] = word
            lines[at] = ",".join(parts)
    path.write_text("\n".join(lines) + "\n")
    return False


def fresh(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

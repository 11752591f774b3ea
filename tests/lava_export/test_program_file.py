"""A program's file holds exactly its fields: all else is refused, by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import program, same

from lava_export.program_file import load_program, save_program
from neuro.io.store import StoreError, load_arrays, save_arrays


def test_a_program_comes_back_from_a_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "program.safetensors"
    save_program(path, program())
    assert same(load_program(str(path)), program())
    assert load_program(path).ticks is None
    save_program(path, replace(program(), ticks=12))
    assert load_program(path).ticks == 12
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing temporary stays


@pytest.mark.parametrize("kept", [0, 10, 300, 0.5, 0.99])
def test_a_file_cut_short_is_named_with_the_cure(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "program.safetensors"
    save_program(path, program())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept if kept > 1 else kept * len(whole))])
    with pytest.raises(StoreError, match=r"program.*: damaged or cut short.*run the verb"):
        load_program(path)


def test_another_file_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(StoreError, match="holds a file of NumPy's or of an earlier version"):
        load_program(path)
    with pytest.raises(StoreError, match="no such file"):
        load_program(tmp_path / "nothing.safetensors")


def put(part: str, index: int, **values: Any) -> Callable[..., None]:
    return lambda _, meta: meta[part][index].update(values)


CHANGES: dict[str, tuple[Callable[..., object], str]] = {
    "no decay": (lambda a, _: a.pop("p1.dv"), "it lacks 'p1.dv'"),
    "no weight": (lambda a, _: a.pop("c0.weight"), "it lacks 'c0.weight'"),
    "no lag": (lambda _, m: m["populations"][1].pop("lag"), "p1.lag: is missing"),
    "no ticks": (lambda _, m: m.pop("ticks"), "ticks: is missing"),
    "half a tick": (lambda _, m: m.update(ticks=0.5), "ticks: is 0.5, expected a whole"),
    "no connections": (
        lambda _, m: m.pop("connections"),
        "connections: is None, expected a list",
    ),
    "unknown field": (put("populations", 0, tau=3), "p0.tau: there is no such field"),
    "unknown array": (lambda a, _: a.update(more=np.ones(1)), "more has no meaning"),
    "array of a part that is not there": (
        lambda a, _: a.update({"p3.dv": np.ones(1, np.int32)}),
        "p3.dv has no meaning",
    ),
    "float weights": (
        lambda a, _: a.update({"c1.weight": a["c1.weight"].astype(float)}),
        "c1.weight is float64",
    ),
    "text scale": (put("populations", 1, scale="x"), "p1.scale: is 'x', expected a number"),
    "scale 0": (put("populations", 1, scale=0), "scale 0.0 > 0 and finite"),
    "negative lag": (put("populations", 2, lag=-1), "lag -1 and bias_after"),
    "no neurons": (put("populations", 1, shape=[2, 0, 2]), "must be >= 1"),
    "kind": (put("populations", 1, kind="relu"), "p1.kind: is 'relu', expected one of"),
    "hard is 1": (put("populations", 1, hard=1), "p1.hard: is 1, expected true or false"),
    "stride 0": (put("connections", 0, stride=[1, 0]), "no kernel of shape"),
    "negative padding": (put("connections", 0, padding=[-1, 0]), "no kernel of shape"),
    "an image of one axis": (put("connections", 0, shape=[9]), "no kernel of shape"),
    "ragged stride": (put("connections", 0, stride=[1]), "c0.stride: is .*a list of 2"),
    "negative delay": (put("connections", 1, extra=-4), "extra = -4 with lags"),
    "parts that are no list": (lambda _, m: m.update(populations={}), "populations: is {}"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_holds_exactly_its_fields(tmp_path: Path, name: str) -> None:
    path = tmp_path / "program.safetensors"
    save_program(path, program())
    arrays, meta = load_arrays(path, "program")
    change, told = CHANGES[name]
    change(arrays, meta)
    save_arrays(path, "program", arrays, meta)
    with pytest.raises(StoreError, match=rf"(?s)program.safetensors: .*{told}"):
        load_program(path)

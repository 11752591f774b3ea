"""A record's file holds exactly its fields, and arrays that fit together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.base.units import Seconds
from neuro.io.record_file import load_record, save_record
from neuro.io.store import VERSIONS, StoreError, load_arrays, save_arrays
from neuro.spikes import to_events, to_times
from neuro.spikes.record import Counts, Record


def record() -> Record:
    rng = np.random.default_rng(0)
    spikes = to_events(rng.random((4, 2, 3)) < 0.5)
    return Record(
        executor="events",
        ticks=4,
        samples=2,
        spikes={"a": spikes},
        values={"out": rng.normal(size=(4, 2, 5))},
        times={"a": to_times(spikes, Seconds(1e-3))},
        states={3: {"a": rng.normal(size=(4, 2, 3))}},
        counts={"a": Counts(spikes=3)},
        digest="0123456789abcdef",
    )


def drop(name: str) -> Callable[..., object]:
    return lambda arrays, _: arrays.pop(name)


def put(name: str, value: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    def change(arrays: dict[str, np.ndarray], _: Any) -> None:
        arrays[name] = value(arrays[name])

    return change


def put_meta(name: str, value: Any) -> Callable[..., None]:
    return lambda _, meta: meta.update({name: value})


CHANGES: dict[str, tuple[Callable[..., object], str]] = {
    "no column": (drop("spikes/a/tick"), "it lacks 'spikes/a/tick'"),
    "no values": (drop("values/out"), "it lacks 'values/out'"),
    "no state": (drop("states/3/a"), "it lacks 'states/3/a'"),
    "no times": (lambda _, m: m.pop("times"), "times: is missing"),
    "no digest": (lambda _, m: m.pop("digest"), "digest: is missing"),
    "no states": (lambda _, m: m.pop("states"), "states: is missing"),
    "unknown key": (put_meta("dt", 1e-3), "dt: there is no such field"),
    "unknown array": (
        lambda a, _: a.update({"values/more": np.zeros((4, 2, 1))}),
        "values/more has no meaning",
    ),
    "ragged": (put("spikes/a/neuron", lambda a: a[:-1]), "columns of different length"),
    "a tick too late": (put("spikes/a/tick", lambda a: a + 4), "spikes/a: tick 4 of event"),
    "a negative neuron": (put("spikes/a/neuron", lambda a: a - 9), "spikes/a: neuron -8"),
    "ticks that are floats": (
        put("spikes/a/tick", lambda a: a + 0.5),
        "spikes/a/tick is float64",
    ),
    "negative times": (put("times/a/time", lambda a: -a), "times/a: time -0.001 s"),
    "values that are no number": (put("spikes/a/value", lambda a: a * np.nan), "not finite"),
    "values of fewer ticks": (put("values/out", lambda a: a[:3]), r"out: is \(3, 2, 5\)"),
    "values of one axis": (put("values/out", lambda a: a.ravel()), r"values/out: is \(40,\)"),
    "values of four axes": (
        put("values/out", lambda a: a[..., None]),
        r"values/out: is \(4, 2, 5, 1\)",
    ),
    "states of more samples": (
        put("states/3/a", lambda a: np.concatenate([a, a], 1)),
        r"states/3/a: is \(4, 4, 3\), not of 2 samples",
    ),
    "other ticks": (put_meta("ticks", 5), r"spikes/a: is \(4, 2, 3\), not \(5, 2\)"),
    "ticks in words": (put_meta("ticks", "four"), "ticks: is 'four', expected a whole number"),
    "a shape of two": (put_meta("shapes", {"a": [4, 2]}), "shapes.a: .*a list of 3"),
    "counts": (
        lambda _, m: m["counts"]["a"].pop("macs"),
        "counts.a.macs: is missing",
    ),
    "half a spike": (
        lambda _, m: m["counts"]["a"].update(spikes=0.5),
        "counts.a.spikes: is 0.5, expected a whole number",
    ),
    "state of no tick": (put_meta("states", {"last": ["a"]}), "states: 'last' are no ticks"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_holds_exactly_its_fields(tmp_path: Path, name: str) -> None:
    path = tmp_path / "r.safetensors"
    save_record(path, record())
    arrays, meta = load_arrays(path, "record")
    change, told = CHANGES[name]
    change(arrays, meta)
    save_arrays(path, "record", arrays, meta)
    with pytest.raises(StoreError, match=rf"(?s)r.safetensors: .*{told}"):
        load_record(path)


def test_a_record_of_an_earlier_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    save_record(path, record())
    assert load_record(path).digest == "0123456789abcdef"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VERSIONS, "record", 3)
        save_record(path, record())
    with pytest.raises(StoreError, match="written in format 3, this is format 4; delete it"):
        load_record(path)


def test_a_path_may_be_text(tmp_path: Path) -> None:
    save_record(f"{tmp_path}/r.safetensors", record())
    assert load_record(f"{tmp_path}/r.safetensors").counts == {"a": Counts(spikes=3)}

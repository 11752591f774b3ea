import contextlib
import errno
import math
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from builders import same
from hypothesis import given, settings, strategies as st
from written_graphs import chain, wire

from neuro.base.units import Seconds
from neuro.graph import (
    AvgPool2d,
    Concat,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    Dense,
    Flatten,
    Graph,
    Input,
    Sparse,
    Upsample,
)
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.record_file import load_record, save_record
from neuro.io.store import (
    VERSIONS,
    StoreError,
    load_arrays,
    load_meta,
    load_tensors,
    load_value,
    read_bytes,
    read_json,
    require_writable,
    save_arrays,
    save_tensors,
    write_json,
)
from neuro.neurons import ALIF, LI, LIF
from neuro.neurons.surrogate import triangle
from neuro.nn import replay
from neuro.spikes import to_events, to_ticks, to_times
from neuro.spikes.record import Counts, Record


def graph(seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    return wire(
        "x>conv conv>alif alif>pool pool>flat flat>fc:2 fc>lif lif>rec:1 rec>lif lif>list "
        "list>current current>cell lif>out cell>both:1 lif>both both>late",
        {
            "x": Input(shape=(1, 6, 6)),
            "conv": Conv2d(weight=rng.normal(size=(2, 1, 3, 3)), stride=(1, 1), padding=(1, 1)),
            "alif": ALIF(leak=rng.uniform(0.1, 1, (2, 1, 1)).astype(np.float32), beta=0.1),
            "pool": AvgPool2d(kernel=(2, 2), stride=(2, 2)),
            "flat": Flatten(),
            "fc": Dense(weight=rng.normal(size=(3, 18)), bias=rng.normal(size=3)),
            "lif": LIF(tau=math.inf, tau_syn=0.005, reset="hard", surrogate=triangle),
            "rec": Dense(weight=rng.normal(size=(3, 3))),
            "list": Sparse.from_coo(
                rng.integers(0, 3, 7),
                rng.integers(0, 3, 7),
                rng.normal(size=7).astype(np.float32),
                shape=(3, 3),
                delay=rng.integers(0, 3, 7),
                bias=rng.normal(size=3),
            ),
            "current": LI(tau=0.005, gain=0.3),
            "cell": LIF(tau=0.02, refractory=2e-3),
            "both": Concat(),
            "late": LIF(tau=0.02),
            "out": LI(tau=0.02),
        },
    )


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_a_graph_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path = tmp_path_factory.mktemp("store") / "graph.safetensors"
    save_graph(path, graph(seed))
    assert same(load_graph(path), graph(seed))


def test_every_other_linear_node_comes_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 1, 2, 2))
    nodes = {
        "x": Input(shape=(2, 2, 2)),
        "up": Upsample(scale=(2, 1)),
        "paint": ConvTranspose2d(weight=weight, stride=(2, 2), output_padding=(1, 0)),
        "cells": LIF(tau=torch.tensor(0.02)),  # any number is stored by its value
        "y": Input(shape=(2, 5)),
        "line": Conv1d(weight=rng.normal(size=(3, 2, 2)), bias=rng.normal(size=3), padding=1),
        "more": LIF(tau=0.02),
    }
    g = wire("x>up up>paint paint>cells y>line line>more", nodes)
    save_graph(tmp_path / "g.safetensors", g)
    assert same(load_graph(tmp_path / "g.safetensors"), g)


def test_a_record_comes_back_bit_for_bit(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((8, 3, 36)) < 0.5
    record = replay(graph(), {"x": to_events(x)})
    record = replace(record, counts={"conv": Counts(synaptic_events=7)})
    save_record(tmp_path / "r.safetensors", record)
    back = load_record(tmp_path / "r.safetensors")
    assert back.counts == record.counts
    assert (back.executor, back.ticks, back.samples) == ("torch", 8, 3)
    assert np.array_equal(back.values["out"], record.values["out"])
    for name, events in record.spikes.items():
        assert all(np.array_equal(a, b) for a, b in zip(back.spikes[name], events, strict=True))


def test_times_and_states_come_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = to_times(to_events(rng.random((8, 3, 4)) < 0.5), Seconds(1e-3))
    states = {3: {"a": rng.normal(size=(4, 3, 4))}, 8: {"a": rng.normal(size=(4, 3, 4))}}
    record = Record(
        executor="events",
        ticks=8,
        samples=3,
        spikes={"a": to_ticks(times, Seconds(1e-3))},
        values={},
        times={"a": times},
        states=states,
    )
    save_record(tmp_path / "r.safetensors", record)
    back = load_record(tmp_path / "r.safetensors")
    assert back.times.keys() == {"a"}
    assert all(np.array_equal(a, b) for a, b in zip(back.times["a"], times, strict=True))
    assert {k: v.keys() for k, v in back.states.items()} == {3: {"a"}, 8: {"a"}}
    assert all(np.array_equal(back.states[k]["a"], states[k]["a"]) for k in states)


@given(keep=st.integers(0, 400))
def test_a_file_cut_short_is_named_and_never_half_read(
    tmp_path_factory: pytest.TempPathFactory, keep: int
) -> None:
    path = tmp_path_factory.mktemp("store") / "a.safetensors"
    save_arrays(path, "weights", {"w": np.arange(9.0)}, {})
    data = path.read_bytes()
    path.write_bytes(data[: min(keep, len(data) - 1)])
    with pytest.raises(StoreError, match=r"a.safetensors: damaged or cut short"):
        load_arrays(path, "weights")


def test_another_kind_or_version_or_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(StoreError, match="no such file"):
        load_arrays(path, "graph")
    save_arrays(path, "weights", {}, {})
    monkeypatch.setitem(VERSIONS, "weights", 3)
    with pytest.raises(StoreError, match="written in format 2, this is format 3"):
        load_arrays(path, "weights")


def test_writing_leaves_no_temporary_file_and_replaces_the_old(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    write_json(tmp_path / "a.json", {"a": 2})
    assert read_json(tmp_path / "a.json") == {"a": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_a_surrogate_without_a_name_cannot_be_stored(tmp_path: Path) -> None:
    g = chain(x=Input(shape=(1,)), s=LIF(tau=0.01, surrogate=lambda x: x))
    with pytest.raises(StoreError, match=r"surrogate <lambda> has no name.*arctan, triangle"):
        save_graph(tmp_path / "g.safetensors", g)


SIZES = {  # values, dtype, and the bytes of a value in a file
    "bytes": ([0, 255], "int64", 1),
    "a sign": ([-1, 32767], "int64", 2),
    "too large for 16 bits": ([-(2**31), 40_000], "int64", 4),
    "too large for 32 bits": ([2**40], "int64", 8),
    "unsigned": ([65_535], "uint16", 2),
    "whole floats": ([1.0, 3.0], "float64", 1),
    "a negative zero": ([-0.0, 1.0], "float64", 8),
    "not finite": ([math.nan, math.inf, 1.0], "float64", 8),
    "fractions": ([0.5], "float32", 4),
    "truth values": ([True, False], "bool", 1),
    "nothing": ([], "float64", 1),
    "a single number": (3, "int32", 1),
}


@pytest.mark.parametrize(("values", "dtype", "size"), SIZES.values(), ids=SIZES)
def test_whole_numbers_lie_in_as_few_bytes_as_hold_them(
    tmp_path: Path, values: object, dtype: str, size: int
) -> None:
    array = np.array(values, dtype)
    save_arrays(path := tmp_path / "x", "record", {"a": array}, {"b": 1})
    arrays, meta = load_arrays(path, "record")
    assert (arrays["a"].dtype, arrays["a"].shape, meta) == (array.dtype, array.shape, {"b": 1})
    assert arrays["a"].tobytes() == array.tobytes()
    tensors, _ = load_tensors(path, "record")
    assert tensors["a"].element_size() == size


def test_a_header_without_dtypes_is_damage(tmp_path: Path) -> None:
    save_tensors(
        path := tmp_path / "x", "record", {"a": torch.ones(2)}, {"dtypes": {}, "meta": 1}
    )
    with pytest.raises(StoreError, match="x: damaged or cut short"):
        load_arrays(path, "record")


@pytest.mark.parametrize("dtype", ["S6", "U2", "O", "M8[s]", []])
def test_arrays_hold_numbers_whatever_a_header_says(tmp_path: Path, dtype: object) -> None:
    header = {"dtypes": {"a": dtype}, "meta": 1}
    save_tensors(path := tmp_path / "x", "xylo_program", {"a": torch.ones(2)}, header)
    with pytest.raises(StoreError, match="x: damaged or cut short"):
        load_arrays(path, "xylo_program")


TENSORS = {
    "w": torch.arange(6.0).view(2, 3),
    "n": torch.tensor(3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.empty(0, 4),
    "mask": torch.tensor([True, False]),
}


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    meta = {"epoch": 3, "score": 0.1, "rows": [1, "a", None]}
    save_tensors(path, "weights", TENSORS, meta)
    back, found = load_tensors(path, "weights")
    assert found == meta
    assert back.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_tensors_that_share_memory_and_strided_ones_are_stored_by_value(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    shared = {"a": base, "tied": base, "row": base[1], "turned": base.t()}
    save_tensors(tmp_path / "t.safetensors", "weights", shared, {})
    back, _ = load_tensors(tmp_path / "t.safetensors", "weights")
    assert all(torch.equal(back[name], tensor) for name, tensor in shared.items())


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_of_tensors_is_told_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("store") / "t.safetensors"
    save_tensors(path, "weights", TENSORS, {"epoch": 3})
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(bytes(data))
    with contextlib.suppress(StoreError):
        back, meta = load_tensors(path, "weights")
        assert meta == {"epoch": 3}
        assert back.keys() == TENSORS.keys()
        assert all(torch.equal(back[name], tensor) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    "changed", [{"v": TENSORS["w"]}, {"w": TENSORS["w"].view(3, 2)}], ids=["name", "shape"]
)
def test_tensors_of_another_name_or_shape_are_refused(
    tmp_path: Path, changed: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(path, "weights", {"w": TENSORS["w"]}, {})
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    path.write_bytes(safetensors.torch.save(changed, metadata))
    with pytest.raises(StoreError, match="its checksum is another"):
        load_tensors(path, "weights")


def test_a_full_disk_names_the_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "a.json", 1)
    write = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        write(path, data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(StoreError, match=r"a.json: cannot be written \(No space left"):
        write_json(tmp_path / "a.json", 2)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert read_json(tmp_path / "a.json") == 1


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(tmp_path / "new" / "one")
    assert [*(tmp_path / "new").rglob("*")] == [tmp_path / "new" / "one"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file: is a file, and not a folder"):
        require_writable(tmp_path / "file")
    with pytest.raises(StoreError, match=r"below: cannot be written \(Not a directory"):
        require_writable(tmp_path / "file" / "below")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied\); make room"):
        require_writable(tmp_path)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", "[" * 10**5])
def test_what_is_never_written_as_json_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StoreError, match=r"a.json: cannot be read as JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ['{"seed": 0, "seed": 1}', '[{"a": {"seed": 0, "seed": 0}}]'])
def test_a_key_that_stands_twice_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    said = (
        r"config\.json: cannot be read as JSON \(the key 'seed' stands there twice; remove one"
    )
    with pytest.raises(StoreError, match=said):
        read_json(tmp_path / "config.json")


def test_equal_keys_of_two_objects_are_no_key_twice(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": 2, "b": {"a": 3}}]')
    assert read_json(tmp_path / "a.json") == [{"a": 1}, {"a": 2, "b": {"a": 3}}]


def test_a_key_twice_in_the_header_of_a_file_of_tensors_is_named(tmp_path: Path) -> None:
    save_tensors(tmp_path / "w.safetensors", "weights", {}, {"dt": 1})
    with safetensors.safe_open(tmp_path / "w.safetensors", "pt") as tensors:
        told = tensors.metadata()["neuro"].replace('{"dt"', '{"dt": 2, "dt"')
    safetensors.torch.save_file({}, tmp_path / "w.safetensors", {"neuro": told})
    with pytest.raises(StoreError, match=r"w\.safetensors: .*the key 'dt' stands there twice"):
        load_tensors(tmp_path / "w.safetensors", "weights")


def test_a_file_of_another_kind_says_its_kind_and_its_reader(tmp_path: Path) -> None:
    save_graph(tmp_path / "g.safetensors", graph())
    save_tensors(tmp_path / "w.safetensors", "weights", TENSORS, {})
    np.savez(tmp_path / "numpy.npz", w=np.zeros(3))
    safetensors.torch.save_file({"w": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(StoreError, match=r"holds a graph, expected a record; read it with"):
        load_record(tmp_path / "g.safetensors")
    with pytest.raises(StoreError, match=r"holds a weights, expected a graph; read it with"):
        load_graph(tmp_path / "w.safetensors")
    with pytest.raises(StoreError, match=r"holds a graph, expected a weights; read it with"):
        load_tensors(tmp_path / "g.safetensors", "weights")
    with pytest.raises(StoreError, match="of NumPy's or of an earlier version, expected a"):
        load_graph(tmp_path / "numpy.npz")
    with pytest.raises(StoreError, match="holds a file of safetensors, expected a weights"):
        load_tensors(tmp_path / "other.safetensors", "weights")
    with pytest.raises(StoreError, match=r": is a folder"):
        load_graph(tmp_path)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros(2, complex), r"w \(complex128\)"),
        (np.array(["a"]), r"w \(<U1\)"),
        (np.array([None]), r"w \(object\)"),
    ],
)
def test_only_numbers_are_written(tmp_path: Path, array: np.ndarray, told: str) -> None:
    with pytest.raises(StoreError, match=rf"{told}: only numbers and truth values"):
        save_arrays(tmp_path / "a.safetensors", "weights", {"w": array}, {})


def test_a_value_that_would_be_written_with_other_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    arrays = {"w": np.array([2.0, -0.0, math.nan]), "kept": np.array([1.0])}
    save_arrays(path, "weights", arrays, {"a": 1})
    keep, _ = load_value(path, "weights", lambda a, m: (a, m), lambda value: value)
    assert keep["w"].tobytes() == arrays["w"].tobytes()
    for change in (np.sort, lambda w: w + 0.0):  # -0.0 becomes 0.0
        with pytest.raises(StoreError) as e:
            load_value(
                path,
                "weights",
                lambda a, m, change=change: ({n: change(w) for n, w in a.items()}, m),
                lambda value: value,
            )
        assert str(e.value) == f"{path}: is not as a weights is written: w has other values"


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # nobody ever writes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "socket", "device"):
        told = f"{name}: is a {name}; it must be a regular file. Name another"
        for read in (read_bytes, read_json, load_graph):
            with pytest.raises(StoreError, match=told):
                read(tmp_path / name)
    (tmp_path / "a").write_bytes(b"\x00four")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_bytes(tmp_path / "link", 5) == read_bytes(str(tmp_path / "a")) == b"\x00four"
    with pytest.raises(StoreError, match=r"a: has 5 bytes; it must have <= 4\. Run the verb"):
        read_bytes(tmp_path / "a", 4)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreError, match=r"loop: cannot be read as JSON \(.*symbolic links"):
        read_json(tmp_path / "loop")


KEYS = ", ".join(f'"{k}": 0' for k in (*range(30_000), 29_999))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{'9' * 400}.0", f"{'9' * 60} is too large"),
        (f'{{"{"k" * 5000}": 0, "{"k" * 5000}": 1}}', f"'{'k' * 59} stands there twice"),
        (f"{{{KEYS}}}", "the key '29999' stands there twice"),
    ],
)
def test_a_message_quotes_the_beginning_of_what_is_long(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StoreError, match=told) as error:
        read_json(tmp_path / "a.json")
    assert len(str(error.value).removeprefix(str(tmp_path))) < 160


def test_the_header_of_a_file_is_read_without_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_tensors(path, "weights", TENSORS, {"epoch": 3})
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert load_meta(path, "weights") == {"epoch": 3}
    with pytest.raises(StoreError, match="its checksum is another"):
        load_tensors(path, "weights")
    with pytest.raises(StoreError, match="holds a weights, expected a graph"):
        load_meta(path, "graph")

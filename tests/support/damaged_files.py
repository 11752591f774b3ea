"""Files that neuro reads, how to damage them at random, and how each is read."""

import importlib.util
import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from clips import random_clip
from nuscenes_files import LOCATION, write_data_set
from programs import program

from drivers import cifar, idx, mnist
from drivers.event_camera import dvs_gesture
from drivers.event_camera.files import (
    read_aedat2,
    read_aedat3,
    read_records,
    write_aedat2,
    write_aedat3,
    write_records,
)
from lava_export.program_file import load_program, save_program
from neuro.energy import chip_file
from neuro.events import simulate
from neuro.events.to_disk import cut, open_stream, read_state, simulate_to_disk
from neuro.graph import Dense, Edge, Graph, Input
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.pytree import digest
from neuro.io.record_file import load_record, save_record
from neuro.io.run_folder import Run, begin_run, open_run
from neuro.io.store import load_arrays, load_tensors, save_arrays, save_tensors
from neuro.neurons import ALIF, LI, LIF
from neuro.spikes import Events, to_events
from neuro.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from neuro.units import Seconds, Ticks

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


# Damage of bytes.


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


# Damage of values.

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
            odd = (np.nan, np.inf, -1, 10**6) if array.dtype.kind == "f" else (-1, 10**6, 2**30)
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


def of_npz(path: Path, rng: Rng, *, kind: str) -> bool:
    """Damage the bytes of a file, its members, or its content with a right checksum."""
    way = rng.integers(3)
    if way == 0:
        damage_bytes(path, rng)
        return True
    if way == 1:
        with zipfile.ZipFile(path) as file:
            members = {name: file.read(name) for name in file.namelist()}
        if rng.random() < 0.3:
            header = damage_json(json.loads(members["header.json"]), rng)
            members["header.json"] = json.dumps(header).encode()
        else:
            arrays = {k: np.load(io.BytesIO(v)) for k, v in members.items() if "json" not in k}
            damage_arrays(arrays, rng)
            packed = {k: io.BytesIO() for k in arrays}
            for k, file_ in packed.items():
                np.save(file_, arrays[k])
            members = {k: v for k, v in members.items() if "json" in k}
            members |= {k: v.getvalue() for k, v in packed.items()}
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        return True
    arrays, meta = load_arrays(path, kind)
    if rng.random() < 0.5:
        damage_arrays(arrays, rng)
    else:
        meta = damage_json(meta, rng)
    save_arrays(path, kind, arrays, meta)
    return False


def of_tensors(path: Path, rng: Rng, *, kind: str) -> bool:
    """Damage the bytes of a file, or its metadata with a right checksum."""
    if rng.random() < 0.5:
        damage_bytes(path, rng)
        return True
    tensors, meta = load_tensors(path, kind)
    if rng.random() < 0.3:
        del tensors[list(tensors)[rng.integers(len(tensors))]]
    save_tensors(path, kind, tensors, damage_json(meta, rng))
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


# The files.


def fresh(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@cache
def graph() -> Graph:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(6,)),
        "fc": Dense(weight=rng.normal(size=(5, 6)), bias=rng.normal(size=5)),
        "alif": ALIF(leak=rng.uniform(0.1, 1, 5), beta=0.1),
        "rec": Dense(weight=rng.normal(size=(5, 5))),
        "lif": LIF(tau=0.02, tau_syn=0.005),
        "out": LI(tau=0.02),
    }
    edges = (
        Edge("x", "fc"), Edge("fc", "alif"), Edge("alif", "rec", Ticks(2)), Edge("rec", "alif"),
        Edge("alif", "lif"), Edge("lif", "out"),
    )  # fmt: skip
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


@cache
def stimulus() -> Events:
    return to_events(np.random.default_rng(0).random((8, 2, 6)) < 0.4)


def make_graph(folder: Path) -> Path:
    save_graph(fresh(folder) / "graph.npz", graph())
    return folder / "graph.npz"


def read_graph(path: Path) -> bytes:
    again = path.with_name("again.npz")
    save_graph(again, load_graph(path))
    return again.read_bytes()


def make_record(folder: Path) -> Path:
    record, _ = simulate(graph(), {"x": stimulus()})
    save_record(fresh(folder) / "record.npz", record)
    return folder / "record.npz"


def read_record(path: Path) -> bytes:
    again = path.with_name("again.npz")
    save_record(again, load_record(path))
    return again.read_bytes()


def make_program(folder: Path) -> Path:
    save_program(fresh(folder) / "program.npz", program())
    return folder / "program.npz"


def read_program(path: Path) -> bytes:
    again = path.with_name("again.npz")
    save_program(again, load_program(path))
    return again.read_bytes()


def make_stream(folder: Path, name: str) -> Path:
    simulate_to_disk(graph(), cut({"x": stimulus()}, Ticks(4), graph().dt), fresh(folder))
    return folder / name


def read_chunks(path: Path) -> list[str]:
    return [digest(record) for record in open_stream(path.parent)]


def make_checkpoint(folder: Path) -> Path:
    import torch

    weights, best = {"w": torch.arange(6.0), "n": torch.tensor(3)}, {"epoch": 1, "score": 0.5}
    save_weights(fresh(folder) / "best.safetensors", weights, best)
    state: dict[str, Any] = {
        "epoch": 1,
        "step": 2,
        "steps": 3,
        "history": [{"epoch": 1, "train_loss": 0.5, "val_score": 0.5}],
        "processes": 1,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        "schedule": {"last_epoch": 3},
        "losses": torch.zeros(1, 2),
        "carry": ({"tuple": []}, {}),
    }
    save_checkpoint(folder, weights, best, state)
    return folder / "last.safetensors"


def read_checkpoint(path: Path) -> str:
    found = load_checkpoint(path.parent)
    return digest(vars(found)) if found else "none"


def read_weights(path: Path) -> str:
    return digest(load_tensors(path, "weights"))


@dataclass(frozen=True)
class Config:
    epochs: int = 3
    lr: float = 0.1
    channels: tuple[int, int] = (1, 2)
    code: str | None = None


def make_config(folder: Path) -> Path:
    run = Run(folder=fresh(folder), task="digits", name="small", seed=1, config=Config())
    begin_run(run)
    return folder / "config.json"


def read_config(path: Path) -> str:
    run = open_run(path.parent, lambda _: {"small": Config})
    return repr(replace(run, folder=Path()))  # which is another for each case


def make_events(folder: Path, write: Any) -> Path:
    path, clip = fresh(folder) / "events", random_clip(3, 60)
    write(path, replace(clip, time=np.sort(clip.time) - clip.start, start=0, stop=5000))
    return path


def read_events(path: Path, read: Any) -> str:
    return digest(tuple(read(path, 6)))


def make_idx(folder: Path, suffix: str) -> Path:
    path = fresh(folder) / f"images{suffix}"
    idx.write(path, np.random.default_rng(0).integers(0, 256, (3, 5, 5), np.uint8))
    return path


def read_idx(path: Path) -> str:
    return digest(idx.read(path, axes=3))


def make_mnist(folder: Path) -> Path:
    mnist.fake(fresh(folder), 3)
    return folder / "t10k-labels-idx1-ubyte.gz"


def read_mnist(path: Path) -> str:
    return digest(mnist.load(path.parent, "test").labels)


def make_cifar(folder: Path) -> Path:
    cifar.fake(fresh(folder), "cifar10", 2)
    return folder / "test_batch.bin"


def read_cifar(path: Path) -> str:
    found = cifar.load(path.parent, "test")
    return digest((found.images, found.labels))


def make_gestures(folder: Path) -> Path:
    path = fresh(folder) / "user00_test_labels.csv"
    rows = [f"{k},{1000 * k},{1000 * k + 500}" for k in range(1, 12)]
    path.write_text("\n".join([dvs_gesture.TITLE, *rows]) + "\n")
    (folder / "user00_test.aedat").write_bytes(b"")
    (folder / "trials_to_test.txt").write_text("user00_test.aedat\n")
    return path


def read_gestures(path: Path) -> list[int]:
    labels: list[int] = dvs_gesture.load(path.parent, "test").labels.tolist()
    return labels


def make_nuscenes(folder: Path, name: str) -> Path:
    return write_data_set(fresh(folder), 3, ["scene-0061"]) / name


def of_table(path: Path, rng: Rng) -> bool:
    """Damage one of the tables in a folder."""
    tables = sorted(path.iterdir())
    return of_json(tables[rng.integers(len(tables))], rng)


def read_nuscenes(path: Path) -> str:
    from drivers.nuscenes.windows import Grid, ImageSize, WindowSettings, open_windows

    root = next(folder for folder in path.parents if (folder / "v1.0-mini").exists())
    settings = WindowSettings(
        grid=Grid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=1.0),
        image=ImageSize(height=64, width=160, scale=1.0, crop=26),
        past=1,
        future=2,
    )
    with warnings.catch_warnings():
        # A map that is no whole one is mended with a warning.
        warnings.filterwarnings("ignore", "maps/expansion/.*", UserWarning)
        return digest(vars(open_windows(root, settings)[0]))


def make_chip(folder: Path) -> Path:
    text = (chip_file.FOLDER / "loihi1.toml").read_text()
    (fresh(folder) / "mine.toml").write_text(text)
    return folder / "mine.toml"


def read_chip(path: Path) -> str:
    return repr(chip_file.read_chip(path))


@cache
def _load_report_tests() -> Any:
    """Return the module whose ``finish`` fills a run with what every verb leaves behind."""
    path = Path(__file__).parents[1] / "tasks" / "report" / "test_report.py"
    spec: Any = importlib.util.spec_from_file_location("report_tests", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_results(folder: Path, name: str) -> Path:
    fresh(folder)
    for path, data in _finish_run().items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    return folder / name


@cache
def _finish_run() -> dict[str, bytes]:
    """Return the files of a run where every verb has been, by their paths in its folder."""
    tests = _load_report_tests()
    with TemporaryDirectory() as folder:
        run = tests.begun(Path(folder) / "run")
        tests.finish(run)
        add_what_some_runs_have(run)
        files = [path for path in run.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(run.folder)): path.read_bytes() for path in files}


def add_what_some_runs_have(run: Run) -> None:
    """Add to the results of a run what only some tasks, trainings and chips leave behind."""
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    run.write_lines(
        "metrics.jsonl", [{**json.loads(line), "spikes": 900, "raised": 3} for line in lines]
    )
    (run.folder / "seen.png").write_bytes(b"\x89PNG")
    found = {
        verb: run.read(f"{verb}.json") for verb in ("eval", "simulate", "verify", "energy")
    }
    found["eval"] |= {
        "metrics": {"accuracy": {"better": "higher", "unit": "", "format": ".2%"}},
        "notes": {"accuracy": "of them"},
        "tables": [{"title": "By class", "head": ["class", "n"], "rows": [["one", 12]],
                    "caption": "Counted."}],
        "pictures": [{"file": "seen.png", "title": "Seen", "caption": "All."}],
    }  # fmt: skip
    for node in found["simulate"]["per_sample"].values():
        node["macs"] = 12.0
    for layer in found["verify"]["torch_events"]["layers"].values():
        layer["rounding"] = 1e-7
    for layer in found["verify"]["reference_lava"]["layers"].values():
        layer |= {"mismatches": 1, "first": {"tick": 1, "sample": 0, "neuron": 2, "cause": "x"}}
    for chip in ("loihi1", "loihi2"):
        found["energy"][chip]["misfits"] = ["too few cores"]
        for layer in found["energy"][chip]["layers"].values():
            layer["synaptic_events"] = 4321.5
    found["energy"]["host"] = [{"node": "lift", "macs": 1230}]
    found["energy"]["conventional45nm"] |= {
        "host": 2.4e-8,
        "published": [
            {"low": 0, "high": 0.7, "unit": "spikes", "statement": "a", "source": "b"}
        ],
    }
    for verb, result in found.items():
        run.write(f"{verb}.json", result)


def read_results(path: Path) -> str:
    from tasks.find import open_folder
    from tasks.report.report import write_report

    return write_report(open_folder(path.parent)).read_text()


def make_stimulus(folder: Path) -> Path:
    path = fresh(folder) / "stimulus.npz"
    np.savez(path, **dict(zip(Events._fields[:4], stimulus()[:4], strict=True)))
    return path


def of_stimulus(path: Path, rng: Rng) -> bool:
    with np.load(path) as file:
        arrays = dict(file)
    damage_arrays(arrays, rng)
    np.savez(path, **(dict(zip(Events._fields, stimulus(), strict=True)) | arrays))
    return False


def run_stimulus(path: Path) -> str:
    """Return what a network does with spikes, whatever the arrays that claim to be some."""
    with np.load(path) as file:
        columns = {k: file[k] for k in Events._fields[:4]}
    record, _ = simulate(graph(), {"x": Events(**columns, shape=stimulus().shape)})
    return digest(record.values)


def of_bytes(checked: bool = False) -> Callable[[Path, Rng], bool]:
    return partial(by_bytes, checked=checked)


SUBJECTS: dict[str, Subject] = {
    "records": Subject(
        make=partial(make_events, write=write_records),
        damage=of_bytes(),
        read=partial(read_events, read=read_records),
    ),
    "aedat2": Subject(
        make=partial(make_events, write=write_aedat2),
        damage=of_bytes(),
        read=partial(read_events, read=read_aedat2),
    ),
    "aedat3": Subject(
        make=partial(make_events, write=partial(write_aedat3, packet=20)),
        damage=of_bytes(),
        read=partial(read_events, read=read_aedat3),
    ),
    "gestures": Subject(make=make_gestures, damage=of_lines, read=read_gestures),
    "idx": Subject(make=partial(make_idx, suffix=""), damage=of_bytes(), read=read_idx),
    "idx.gz": Subject(
        make=partial(make_idx, suffix=".gz"), damage=of_bytes(checked=True), read=read_idx
    ),
    "mnist": Subject(make=make_mnist, damage=of_bytes(checked=True), read=read_mnist),
    "cifar": Subject(make=make_cifar, damage=of_bytes(), read=read_cifar),
    "graph": Subject(make=make_graph, damage=partial(of_npz, kind="graph"), read=read_graph),
    "record": Subject(
        make=make_record, damage=partial(of_npz, kind="record"), read=read_record
    ),
    "program": Subject(
        make=make_program, damage=partial(of_npz, kind="program"), read=read_program
    ),
    "chunk": Subject(
        make=partial(make_stream, name="chunk-000001.npz"),
        damage=partial(of_npz, kind="chunk"),
        read=read_chunks,
    ),
    "state": Subject(
        make=partial(make_stream, name="state.npz"),
        damage=partial(of_npz, kind="state"),
        read=lambda path: digest(read_state(path.parent)),
    ),
    "stream": Subject(
        make=partial(make_stream, name="stream.json"), damage=of_json, read=read_chunks
    ),
    "weights": Subject(
        make=lambda folder: make_checkpoint(folder).with_name("best.safetensors"),
        damage=partial(of_tensors, kind="weights"),
        read=read_weights,
    ),
    "checkpoint": Subject(
        make=make_checkpoint,
        damage=partial(of_tensors, kind="checkpoint"),
        read=read_checkpoint,
    ),
    "stimulus": Subject(
        make=make_stimulus, damage=of_stimulus, read=run_stimulus, names_file=False
    ),
    **{
        name: Subject(
            make=partial(make_nuscenes, name=name),
            damage=damage,
            read=read_nuscenes,
            slow=10,
            names_file=False,  # but the record of a table
        )
        for name, damage in {
            "v1.0-mini": of_table,
            f"maps/expansion/{LOCATION}.json": of_json,
            "can_bus/scene-0061_pose.json": of_json,
        }.items()
    },
    "config": Subject(make=make_config, damage=of_json, read=read_config),
    "chip": Subject(make=make_chip, damage=of_lines, read=read_chip),
    **{
        name: Subject(
            make=partial(make_results, name=name), damage=of_json, read=read_results, slow=10
        )
        for name in (
            *("eval.json", "simulate.json", "verify.json", "export.json", "energy.json"),
            *("metrics.jsonl", "environment.json"),
        )
    },
}

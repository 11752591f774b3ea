"""Files that neuro reads, how to damage each at random, and how it is read."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from class_files import write_latent_cache
from corpus_files import write_corpus_folders, write_pile
from eeg_files import make_noise, write_chb_mit, write_edf
from fake_data_sets import (
    write_cifar,
    write_dvs_gesture,
    write_idx,
    write_mnist,
    write_nmnist,
    write_shd,
    write_ssc,
)
from nuscenes_files import LOCATION, open_windows, write_data_set
from PIL import Image
from programs import program
from safetensors import safe_open
from safetensors.numpy import save
from scipy.io import savemat
from toy_puzzles import write_gsm8k, write_implicit, write_prosqa
from written_graphs import chain, read_edges
from xylo_programs import draw_program

from drivers import cifar, idx, mnist
from drivers.class_folders import read_moments, read_square_image
from drivers.eeg.chb_mit import parse_summary
from drivers.eeg.edf import read_edf
from drivers.eeg.kaggle import read_segments
from drivers.event_camera import load as load_events
from drivers.event_camera.tonic_sets import SETS
from drivers.nuscenes.images import read_image, read_lidar
from drivers.nuscenes.windows import GroundGrid, ImageSize, WindowSettings
from drivers.puzzles import read_items
from drivers.text import load, load_world, read_folders, read_pile
from lava_export.chip_program import load_program, save_program
from lava_export.graded import lower_graded
from lava_export.openformat import write_program
from neuro.base.units import Seconds, Ticks
from neuro.energy import chip_file
from neuro.events import simulate
from neuro.events.to_disk import cut, open_stream, read_state, simulate_to_disk
from neuro.graph import CountSpikes, Dense, Graph, Input, RMSNorm
from neuro.io.graph_digest import digest_graph
from neuro.io.graph_file import load_graph, save_graph
from neuro.io.pytree import digest
from neuro.io.record_file import load_record, save_record
from neuro.io.run_folder import Run, begin_run, open_run
from neuro.io.store import load_tensors, save_tensors
from neuro.neurons import ALIF, LI, LIF, DiscreteLIF
from neuro.spikes import Events, to_events
from neuro.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from tasks.imported.stimulus import make_stimulus, read_arrays
from tasks.language.config import LanguageConfig
from tasks.language.packed import load_packed, make_empty, save_packed

Rng = np.random.Generator
Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Subject:
    """A file and its reader.

    make: writes the file, whole, into a folder and returns its path. damage: changes it, and
    says whether a checksum must tell. read: path -> what it holds, as text or bytes. slow: one
    in so many cases is tried. names_file: whether a refusal must.
    """

    make: Make
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


def of_bytes(path: Path, rng: Rng) -> bool:
    damage_bytes(path, rng)
    return False


def of_packed_bytes(path: Path, rng: Rng) -> bool:
    damage_bytes(path, rng)
    return True  # gzip has a checksum


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


def of_arrays(path: Path, rng: Rng) -> bool:
    """Damage the bytes or the arrays of a file of NumPy's."""
    if rng.random() < 0.5:
        return of_bytes(path, rng)
    with np.load(path) as file:
        arrays = dict(file)
    damage_arrays(arrays, rng)
    np.savez(path, **arrays)
    return False


def of_table(path: Path, rng: Rng) -> bool:
    """Damage one of the tables in a folder."""
    tables = sorted(path.iterdir())
    return of_json(tables[rng.integers(len(tables))], rng)


def at(name: str, write: Callable[[Path], object]) -> Make:
    """Return what writes files into an empty folder, and the path of one of them."""

    def make(folder: Path) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder)
        return folder / name

    return make


def again(save: Callable[[Path, Any], None], load: Callable[[Path], Any]) -> Any:
    """Return what reads a file by writing what it holds once more."""

    def read(path: Path) -> bytes:
        save(path.with_name("again.safetensors"), load(path))
        return path.with_name("again.safetensors").read_bytes()

    return read


def read_first_clip(name: Any, path: Path) -> str:
    root = next(p for p in path.parents if (p / SETS[name].title).is_dir())
    return digest(vars(load_events(name, "test", {"NEURO_DATA": str(root)})[0]))


def read_nuscenes(path: Path) -> str:
    root = next(folder for folder in path.parents if (folder / "v1.0-mini").exists())
    settings = WindowSettings(
        grid=GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=1.0),
        image=ImageSize(height=64, width=160, scale=1.0, crop=26),
        past=1,
        future=2,
    )
    with warnings.catch_warnings():
        # A map that is no whole one is mended with a warning.
        warnings.filterwarnings("ignore", "maps/expansion/.*", UserWarning)
        return digest(vars(open_windows(root, settings)[0]))


def write_vocabulary(folder: Path) -> None:
    lines = [f"{k + 1} {bytes([k])!r} 1\n" for k in range(256)] + ["257 'é b' 4\n"]
    (folder / "world.txt").write_text("".join(lines))


def write_packed_pile(folder: Path) -> None:
    whole = write_pile(folder / "00.jsonl", ["a", "b"], each=2).read_bytes()
    (folder / "a.zst").write_bytes(zstandard.ZstdCompressor().compress(whole))


def write_segment(folder: Path) -> None:
    fields = {"data": np.sin(np.arange(80.0)).reshape(2, 40), "data_length_sec": 10.0}
    names = {"channels": np.array(["a", "bc"], object), "sampling_frequency": 4.0}
    struct = {"preictal_segment_1": fields | names | {"sequence": 1.0}}
    savemat(folder / "Dog_1_preictal_segment_0001.mat", struct)


def write_image(name: str) -> Make:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return at(name, lambda folder: Image.fromarray(pixels).save(folder / name))


CORPORA = partial(write_corpus_folders, names=["a", "b"], each=2, words=5)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 5), np.uint8)
POINTS = np.arange(20, dtype="<f4").reshape(4, 5)
CHB = ([("a.edf", "23:00:00", 2), ("b.edf", "1:00:00", 2)], {"b.edf": [(0, 1)]}, ["x"])


@cache
def graph() -> Graph:
    rng = np.random.default_rng(0)
    nodes = {
        "x": Input(shape=(6,)),
        "fc": Dense(weight=rng.normal(size=(5, 6)), bias=rng.normal(size=5)),
        "alif": ALIF(leak=rng.uniform(0.1, 1, 5), beta=0.1),
        "rec": Dense(weight=rng.normal(size=(5, 5))),
        "lif": LIF(tau=0.02, tau_syn=0.005),
        "own": DiscreteLIF(decay=rng.uniform(0.5, 1, 5), strict=True, reset_by=0.5),
        "out": LI(tau=0.02),
    }
    edges = read_edges("x>fc fc>alif alif>rec:2 rec>alif alif>lif lif>own own>out")  # fmt: skip
    return Graph(nodes=nodes, edges=edges, dt=Seconds(1e-3))


@cache
def stimulus() -> Events:
    return to_events(np.random.default_rng(0).random((8, 2, 6)) < 0.4)


def write_record(folder: Path) -> None:
    record, _ = simulate(graph(), {"x": stimulus()})
    save_record(folder / "a.safetensors", record)


def write_graded_program(folder: Path) -> None:
    counted = chain(
        x=Input(shape=(2,)),
        norm=RMSNorm(gain=np.ones(2), eps=1e-6),
        spikes=CountSpikes(ticks=4, threshold=0.75),
        w=Dense(weight=np.array([[1.0, 0.0], [-1.0, 1.0]])),
        y=LI(tau=1e-9, gain=0.5),
    )
    save_program(folder / "a.safetensors", lower_graded(counted))


def write_xylo_program(folder: Path) -> None:
    save_program(folder / "a.safetensors", draw_program(np.random.default_rng(0), "any"))


def write_stream(folder: Path) -> None:
    simulate_to_disk(graph(), cut({"x": stimulus()}, Ticks(4), graph().dt), folder)


def read_chunks(path: Path) -> list[str]:
    return [digest(record) for record in open_stream(path.parent)]


def write_checkpoint(folder: Path) -> None:
    weights = {"w": torch.arange(6.0), "n": torch.tensor(3)}
    best = {"epoch": 1, "score": 0.5, "run": "ab"}
    save_weights(folder / "best.safetensors", weights, best)
    state: dict[str, Any] = {
        **{"epoch": 1, "step": 2, "steps": 3, "first_loss": 0.75, "silent": ["hidden"]},
        "history": [{"epoch": 1, "train_loss": 0.5, "val_score": 0.5}],
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        **{"schedule": {"last_epoch": 3}, "losses": torch.zeros(1, 2), "processes": 1},
        **{"carry": ({"tuple": []}, {}), "tally": {"raised": 2}, "seed": 0, "run": "ab"},
    }
    save_checkpoint(folder, weights, best, state)


def read_checkpoint(path: Path) -> str:
    found = load_checkpoint(path.parent)
    return digest(vars(found)) if found else "none"


def write_packed(folder: Path) -> None:
    config = LanguageConfig(stack="mlgru+rwkv5", width=8, hidden=6, heads=2, linear="ternary")
    model = make_empty(config).to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.fill_(0.5 if tensor.is_floating_point() else 0b10010001)
    save_packed(folder / "a.safetensors", model, config)


def read_packed(path: Path) -> str:
    model, config = load_packed(path)
    return digest((dict(model.state_dict()), repr(config)))


def write_arrays(folder: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(folder / "a.npz", x=rng.random((8, 2, 6)) < 0.4, labels=rng.integers(0, 5, 2))


def read_stimulus(path: Path) -> str:
    found = make_stimulus(graph(), path, read_arrays(path))
    return digest((dict(found.inputs), found.labels))


def write_nir(folder: Path) -> None:
    import nir
    from nir_graphs import chain as chain_nir

    leak, three = np.array([0.0, 0.5, 3.0]), np.full(3, 2.0)
    cells = nir.LIF(tau=2 * three, v_threshold=three, v_leak=leak, r=np.ones(3))
    weight = np.array([[1.5, 0.25], [0.5, 2.0], [0.75, 1.0]])
    fc = nir.Affine(weight, np.array([0.0, 0.5, 0.25]))
    nir.write(folder / "a.nir", chain_nir(fc, nir.Delay(three), cells, inputs=[2], outputs=[3]))


def write_net(folder: Path) -> None:
    import net_files

    net_files.write(folder / "a.net", net_files.draw(np.random.default_rng([57, 2])))


def read_net(path: Path) -> str:
    from neuro.interop.lava_dl import read

    return digest_graph(read(path, time="lava").graph)


def read_nir(path: Path) -> str:
    from neuro.interop.nir import read

    return digest_graph(read(path, dt=1.0).graph)


@dataclass(frozen=True)
class Config:
    epochs: int = 3
    lr: float = 0.1
    channels: tuple[int, int] = (1, 2)
    code: str | None = None


def write_config(folder: Path) -> None:
    begin_run(Run(folder=folder, task="digits", name="small", seed=1, config=Config()))


def read_config(path: Path) -> str:
    run = open_run(path.parent, lambda _: {"small": Config})
    return repr(replace(run, folder=Path()))  # which is another for each case


TENSORS: dict[str, tuple[Callable[[Path], object], str, Callable[[Path], Any]]] = {
    "graph": (
        lambda f: save_graph(f / "a.safetensors", graph()), "a", again(save_graph, load_graph)
    ),
    "record": (write_record, "a", again(save_record, load_record)),
    "graded_program": (write_graded_program, "a", again(save_program, load_program)),
    "xylo_program": (write_xylo_program, "a", again(save_program, load_program)),
    "program": (
        lambda f: save_program(f / "a.safetensors", program()),
        "a",
        again(save_program, load_program),
    ),
    "chunk": (write_stream, "chunk-000001", read_chunks),
    "state": (write_stream, "state", lambda path: digest(read_state(path.parent))),
    "weights": (write_checkpoint, "best", lambda path: digest(load_tensors(path, "weights"))),
    "checkpoint": (write_checkpoint, "last", read_checkpoint),
    "packed": (write_packed, "a", read_packed),
}  # fmt: skip
NUSCENES = {
    "v1.0-mini": of_table,
    f"maps/expansion/{LOCATION}.json": of_json,
    "can_bus/scene-0061_pose.json": of_json,
}
EVENTS: dict[str, tuple[Callable[..., None], str]] = {
    "nmnist": (write_nmnist, "NMNIST/Test/0/00001.bin"),
    "dvs_gesture": (write_dvs_gesture, "DVSGesture/ibmGestureTest/user01_led/0.npy"),
    "shd": (write_shd, "SHD/shd_test.h5"),
    "ssc": (write_ssc, "SSC/ssc_test.h5"),
}
QUESTIONS = {
    "prosqa_train.json": (write_prosqa, of_json),
    "train.jsonl": (write_gsm8k, of_json),
    "train.txt": (write_implicit, of_bytes),
}
SUBJECTS: dict[str, Subject] = {
    "corpus.txt": Subject(
        at("a/000.txt", CORPORA), of_bytes, lambda p: repr(read_folders(p.parents[1]))
    ),
    "corpus.jsonl": Subject(
        at("b/all.jsonl", CORPORA), of_json, lambda p: repr(read_folders(p.parents[1]))
    ),
    "pile": Subject(
        at("a.jsonl", lambda f: write_pile(f / "a.jsonl", ["a", "b"], each=2)),
        of_json,
        lambda p: repr(read_pile(p)),
    ),
    "pile.zst": Subject(at("a.zst", write_packed_pile), of_bytes, lambda p: repr(read_pile(p))),
    "text": Subject(
        at("a.txt", lambda f: (f / "a.txt").write_text("a line of café\nand one more\n")),
        of_bytes,
        lambda p: load(p).digest,
    ),
    "vocabulary": Subject(
        at("world.txt", write_vocabulary),
        of_lines,
        lambda p: load_world(p).decode(range(1, 258)),
    ),
    "latents": Subject(
        at("train/n01/n01_0.npz", partial(write_latent_cache, each=1, channels=1, side=2)),
        of_arrays,
        lambda p: digest(read_moments(p, 1, 2)),
    ),
    "png": Subject(write_image("a.png"), of_bytes, lambda p: digest(read_square_image(p, 9))),
    "jpeg": Subject(write_image("a.jpg"), of_bytes, lambda p: read_image(p).tobytes()),
    "lidar": Subject(
        at("a.bin", lambda f: POINTS.tofile(f / "a.bin")),
        of_bytes,
        lambda p: digest(read_lidar(p)),
    ),
    "segment": Subject(
        at("Dog_1_preictal_segment_0001.mat", write_segment),
        of_bytes,
        lambda p: digest(
            [getattr(read_segments([p])[0], k) for k in ("data", "channels", "rate")]
        ),
        slow=5,
    ),
    **{
        name: Subject(
            at(name, partial(write, **{count: 2})), damage, lambda p: repr(read_items(p))
        )
        for (name, (write, damage)), count in zip(
            QUESTIONS.items(), ("train", "items", "items"), strict=True
        )
    },
    **{
        name: Subject(at(file, write), of_bytes, partial(read_first_clip, name), slow=3)
        for name, (write, file) in EVENTS.items()
    },
    "edf": Subject(
        at(
            "a.edf",
            lambda f: write_edf(f / "a.edf", make_noise(2, 3, 0, rate=8), "abc", rate=8),
        ),
        of_bytes,
        lambda p: digest(read_edf(p).read([0, 1, 2], 0, 16)),
    ),
    "summary": Subject(
        at("chb01/chb01-summary.txt", lambda f: write_chb_mit(f / "chb01", *CHB)),
        of_lines,
        lambda p: digest(tuple(parse_summary(p))),
    ),
    "idx": Subject(
        at("a", lambda f: write_idx(f / "a", IMAGES)),
        of_bytes,
        lambda p: digest(idx.read(p, axes=3)),
    ),
    "idx.gz": Subject(
        at("a.gz", lambda f: write_idx(f / "a.gz", IMAGES)),
        of_packed_bytes,
        lambda p: digest(idx.read(p, axes=3)),
    ),
    "mnist": Subject(
        at("t10k-labels-idx1-ubyte.gz", partial(write_mnist, n=3)),
        of_packed_bytes,
        lambda p: digest(mnist.load(p.parent, "test").labels),
    ),
    "cifar": Subject(
        at("test_batch.bin", partial(write_cifar, n=2)),
        of_bytes,
        lambda p: digest(cifar.load(p.parent, "test").images),
    ),
    **{
        name: Subject(
            at(name, lambda f: write_data_set(f, 3, ["scene-0061"])),
            damage,
            read_nuscenes,
            slow=10,
            names_file=False,  # but the record of a table
        )
        for name, damage in NUSCENES.items()
    },
    **{
        kind: Subject(at(f"{name}.safetensors", write), partial(of_tensors, kind=kind), read)
        for kind, (write, name, read) in TENSORS.items()
    },
    "neuro-program": Subject(
        at("a.neup", lambda f: write_program(f / "a.neup", program())),
        of_bytes,
        again(save_program, load_program),
    ),
    "stream": Subject(at("stream.json", write_stream), of_json, read_chunks),
    "stimulus": Subject(at("a.npz", write_arrays), of_arrays, read_stimulus),
    "nir": Subject(at("a.nir", write_nir), of_bytes, read_nir),
    "net": Subject(at("a.net", write_net), of_bytes, read_net),
    "config": Subject(at("config.json", write_config), of_json, read_config),
    "chip": Subject(
        at(
            "mine.toml",
            lambda f: shutil.copy(chip_file.FOLDER / "loihi1.toml", f / "mine.toml"),
        ),
        of_lines,
        lambda p: repr(chip_file.read_chip(p)),
    ),
}
